"""A mount is never a way around keys, presets, manifest, allow or deny: each way is tried at each mount and host."""

from __future__ import annotations

import base64
from typing import Any, get_args

import pytest
from peers import BY_NAME, KEY, MOUNTS, OTHER_KEY, SALT, Mount, b64u, mac

from proxy.config import Config
from proxy.config import ServedDialect as NameOfDialect
from proxy.dialects.mounts import SERVED
from proxy.dialects.signatures import SIGNED
from proxy.errors import MirrorError
from proxy.policy import Policy
from proxy.signing import Signer
from proxy.web.targets.plans import Plan, Plans

NOW = 1_800_000_000.0
SOURCE, OTHER = "http://h.example/a.png", "http://h.example/b.png"
DENIED = "http://denied.example/a.png"
WRAPPED = "https://wsrv.nl/?url=denied.example%2Fa.png"
AROUND = "https://denied-wrapper.example/?http://h.example/a.png"
ALL_KEYS = {mount.name: {"keys": [mount.key, mount.other_key]} for mount in MOUNTS if mount.has_keys}
NATIVE_KEY = "a native key of enough characters"
BOTH = ("mount", "root")

with_keys = pytest.mark.parametrize(
    "mount", [mount for mount in MOUNTS if mount.has_keys], ids=lambda m: m.name
)
each = pytest.mark.parametrize("mount", MOUNTS, ids=lambda mount: mount.name)
sized = pytest.mark.parametrize("mount", [mount for mount in MOUNTS if mount.sized], ids=lambda m: m.name)
at = pytest.mark.parametrize("place", BOTH)


def plans(manifest: frozenset[str] | None = None, **tables: Any) -> Plans:
    hosts = {f"{mount.name}.example": mount.name for mount in MOUNTS}
    config = Config.model_validate({"hosts": hosts, **tables})
    policy = Policy(config.sources, any_transform=config.any_transform, manifest=manifest)
    return Plans(config, policy, Signer(config.sources.keys) if config.sources.keys else None)


def asked(plans: Plans, mount: Mount, address: str, place: str, *, now: float = NOW) -> Plan:
    if place == "mount":
        return plans.make(address, now=now)
    return plans.make(
        mount.at_root(address), now=now, root=plans.root_of(f"{mount.name.upper()}.Example.:8080")
    )


def outcome(plans: Plans, mount: Mount, address: str, place: str, *, now: float = NOW) -> str:
    """Return the code of the refusal, or the source that is admitted."""
    try:
        return asked(plans, mount, address, place, now=now).source.url
    except MirrorError as error:
        return error.code


def test_every_served_dialect_is_tried() -> None:
    """The tables of this file, the configuration and the code name the same dialects."""
    assert {mount.name for mount in MOUNTS} == set(SERVED) == set(get_args(NameOfDialect))
    assert {mount.name for mount in MOUNTS if mount.has_keys} == set(SIGNED) == set(ALL_KEYS)
    assert all(SERVED[mount.name].mount == mount.path for mount in MOUNTS)


@at
@each
def test_open_service_answers_each_mount(mount: Mount, place: str) -> None:
    found = asked(plans(), mount, mount.any(SOURCE), place)
    assert (found.source.url, found.dialect) == (SOURCE, mount.name)


@at
@with_keys
def test_keys_close_their_dialect(mount: Mount, place: str) -> None:
    """Unsigned forms, a key that is not ours, and a signature of something else."""
    closed = plans(dialects=ALL_KEYS)
    assert outcome(closed, mount, mount.any(SOURCE), place) in ("signature_missing", "signature_mismatch")
    assert outcome(closed, mount, mount.any_signed(SOURCE, "not this one"), place) == "signature_mismatch"
    swapped = mount.any_signed(SOURCE).replace(mount_text(mount, SOURCE), mount_text(mount, OTHER))
    assert swapped != mount.any_signed(SOURCE)
    assert outcome(closed, mount, swapped, place) == "signature_mismatch"


def mount_text(mount: Mount, source: str) -> str:
    """Return the source as written in the addresses of a mount."""
    written = {"imgproxy": b64u(source), "camo": source.encode().hex(), "miniflux": b64u(source).rstrip("=")}
    return written.get(mount.name) or (
        source if mount.name == "imageproxy" else source.rsplit("/", maxsplit=1)[-1]
    )


@at
@with_keys
def test_every_key_of_a_dialect_admits(mount: Mount, place: str) -> None:
    """So keys can be changed one by one."""
    closed = plans(dialects=ALL_KEYS)
    for key in (KEY, OTHER_KEY):
        assert outcome(closed, mount, mount.any_signed(SOURCE, key), place) == SOURCE


@at
@each
def test_keys_of_one_dialect_leave_the_others_as_they_were(mount: Mount, place: str) -> None:
    others = {name: keys for name, keys in ALL_KEYS.items() if name != mount.name}
    assert outcome(plans(dialects=others), mount, mount.any(SOURCE), place) == SOURCE


@pytest.mark.parametrize("word", ["unsafe", "insecure", "_", "plain"])
def test_words_for_no_signature_are_refused_as_missing(word: str) -> None:
    closed = plans(dialects=ALL_KEYS)
    address = f"/imgproxy/{word}/w:40/{b64u(SOURCE)}"
    assert outcome(closed, BY_NAME["imgproxy"], address, "mount") == "signature_missing"


@at
@pytest.mark.parametrize("name", ["imgproxy", "thumbor", "imagor", "imageproxy"])
def test_options_changed_after_signing_are_refused(name: str, place: str) -> None:
    closed, mount = plans(dialects=ALL_KEYS), BY_NAME[name]
    assert mount.signed_sized is not None
    good = mount.signed_sized(SOURCE, KEY)
    assert outcome(closed, mount, good, place) == SOURCE
    changed = good.replace("w:40", "w:41").replace("40x", "41x")
    assert outcome(closed, mount, changed, place) == "signature_mismatch"


@at
@pytest.mark.parametrize("options", ["40x,", "320x,", "q50,", "40x,q50,"])
def test_signature_over_the_source_alone_admits_no_options(options: str, place: str) -> None:
    """This excludes even a width that presets admit, because a client that copies an address could ask for all of
    them."""
    closed, mount = plans(dialects=ALL_KEYS), BY_NAME["imageproxy"]
    signature = b64u(mac("sha256", KEY, SOURCE))
    assert outcome(closed, mount, f"/imageproxy/s{signature}/{SOURCE}", place) == SOURCE
    assert (
        outcome(closed, mount, f"/imageproxy/{options}s{signature}/{SOURCE}", place) == "source_not_allowed"
    )


@pytest.mark.parametrize("signed", ["", "x30,", "40x20,", "40x20,q50,"])
@pytest.mark.parametrize(
    "added", ["webp", "gif", "jpg", "png", "fit", "sc", "trim", "scaleUp", "r90", "fv", "q3", "vu9999999999", "10x10",
              "7x", "x7", "7", "7px", "auto", "7.5", "040x020", "webp,gif"]
)  # fmt: skip
def test_no_option_can_be_added_to_what_imageproxy_signed(signed: str, added: str) -> None:
    """Anything added before or after the signed options is refused, or has no effect."""
    closed, mount = plans(dialects=ALL_KEYS), BY_NAME["imageproxy"]
    canonical = ",".join(
        ["0x30" if signed == "x30," else "40x20" if signed else "0x0", *(["q50"] if "q50" in signed else [])]
    )
    signature = b64u(mac("sha256", KEY, f"{SOURCE}#{canonical}"))
    wanted = asked(closed, mount, f"/imageproxy/{signed}s{signature}/{SOURCE}", "mount").transform
    for options in (
        f"{added},{signed}s{signature}",
        f"{signed}{added},s{signature}",
        f"{signed}s{signature},{added}",
    ):
        address = f"/imageproxy/{options}/{SOURCE}"
        refusal = outcome(closed, mount, address, "mount")
        if refusal == SOURCE:
            assert asked(closed, mount, address, "mount").transform == wanted, options
        else:
            assert refusal in ("signature_mismatch", "invalid_transform"), options


@at
@each
def test_deny_ends_every_mount(mount: Mount, place: str) -> None:
    """`deny` applies to the source, to the source inside a wrapper, and to each wrapper on the way."""
    denying = plans(
        sources={"deny": ["denied.example", "denied-wrapper.example"]},
        rewrite={"wrappers": ["https://denied-wrapper.example/?"]},
        dialects=ALL_KEYS,
    )
    build = mount.any_signed if mount.has_keys else mount.any
    assert outcome(denying, mount, build(SOURCE), place) == SOURCE
    for source in (DENIED, DENIED.replace("/a", "/%61"), WRAPPED, AROUND):
        assert outcome(denying, mount, build(source), place) == "source_not_allowed", source


@at
@each
def test_wrappers_inside_are_unwrapped(mount: Mount, place: str) -> None:
    """This works as in our own addresses. A form at an unlisted host is not a wrapper."""
    found = asked(plans(), mount, mount.any("http://wsrv.nl/?url=h.example%2Fa.png"), place)
    assert found.source.url == SOURCE
    assert [step.split()[0] for step in found.steps] == ["weserv"]
    unknown = "http://nobody.example/cdn-cgi/image/width=3/http://h.example/a.png"
    assert asked(plans(), mount, mount.any(unknown), place).source.url == unknown


@at
@each
def test_circles_of_wrappers_are_refused(mount: Mount, place: str) -> None:
    nested = SOURCE
    for _ in range(6):
        nested = f"http://cors.zfour.workers.dev/?{nested}"
    assert outcome(plans(), mount, mount.any(nested), place) == "invalid_source"


@at
@each
def test_allow_and_manifest_bind_every_mount(mount: Mount, place: str) -> None:
    build = mount.any_signed if mount.has_keys else mount.any
    allowing = plans(sources={"allow": ["h.example"]}, dialects=ALL_KEYS)
    listing = plans(manifest=frozenset({SOURCE}), dialects=ALL_KEYS)
    for closed, other in ((allowing, "http://x.example/a.png"), (listing, OTHER)):
        assert outcome(closed, mount, build(SOURCE), place) == SOURCE
        assert outcome(closed, mount, build(other), place) == "source_not_allowed"


@at
@each
def test_native_keys_leave_unsigned_mounts_what_the_worker_form_has(mount: Mount, place: str) -> None:
    """Only sources that the manifest or `allow` names, and no options of their own."""
    sources = {"keys": [NATIVE_KEY]}
    assert outcome(plans(sources=sources), mount, mount.any(SOURCE), place) == "source_not_allowed"
    listing = plans(manifest=frozenset({SOURCE}), sources=sources)
    if mount.plain:
        assert outcome(listing, mount, mount.plain(SOURCE), place) == SOURCE
        assert outcome(listing, mount, mount.plain(OTHER), place) == "source_not_allowed"
    if mount.sized:
        assert outcome(listing, mount, mount.sized(SOURCE), place) == "source_not_allowed"


@at
@with_keys
def test_signature_of_a_dialect_admits_as_ours_does(mount: Mount, place: str) -> None:
    """Beside keys of our own too, with the options that it covers."""
    both = plans(sources={"keys": [NATIVE_KEY]}, dialects=ALL_KEYS)
    assert outcome(both, mount, mount.any_signed(SOURCE), place) == SOURCE
    if mount.signed_sized:
        assert asked(both, mount, mount.signed_sized(SOURCE, KEY), place).kind == "variant"


@at
@sized
def test_presets_only_binds_unsigned_mounts(mount: Mount, place: str) -> None:
    """A width of `rewrite.widths` and nothing else."""
    assert mount.sized is not None
    for widths, expected in (((41,), "source_not_allowed"), ((40,), SOURCE)):
        bound = plans(sources={"transforms": "presets"}, rewrite={"widths": widths})
        bounded = mount.name not in ENLARGING | {"next"}
        assert outcome(bound, mount, mount.sized(SOURCE), place) == (
            expected if bounded else "source_not_allowed"
        )


@at
def test_presets_only_admits_presets_of_imgproxy(place: str) -> None:
    bound, mount = plans(sources={"transforms": "presets"}), BY_NAME["imgproxy"]
    assert outcome(bound, mount, f"/imgproxy/_/pr:headimg/{b64u(SOURCE)}", place) == SOURCE
    assert outcome(bound, mount, f"/imgproxy/_/pr:headimg/q:3/{b64u(SOURCE)}", place) == "source_not_allowed"
    assert outcome(bound, mount, f"/imgproxy/_/pr:nosuch/{b64u(SOURCE)}", place) == "invalid_transform"


def test_signature_survives_what_proxies_do_to_an_address() -> None:
    """Folded slashes and an escaped colon: imgproxy repairs both before it looks at the signature."""
    closed, mount = plans(dialects=ALL_KEYS), BY_NAME["imgproxy"]
    path = f"/w:40/plain/{SOURCE}"
    signature = b64u(mac("sha256", KEY, bytes.fromhex(SALT).decode() + path))
    for written in (path, path.replace("://", ":/"), path.replace("w:40", "w%3A40")):
        assert outcome(closed, mount, f"/imgproxy/{signature}{written}", "mount") == SOURCE
    assert outcome(closed, mount, f"/imgproxy/{signature}{path}?x=1", "mount") == SOURCE
    assert outcome(closed, mount, f"/imgproxy/{signature}{path}%3Fx=1", "mount") == "signature_mismatch"


def test_signature_survives_what_browsers_escape() -> None:
    """The address was signed as written and is requested with percent-escapes. No other change is accepted."""
    closed, mount = plans(dialects=ALL_KEYS), BY_NAME["thumbor"]
    digest = base64.urlsafe_b64encode(mac("sha1", KEY, "40x0/h.example/图 1.png")).decode()
    assert outcome(closed, mount, f"/thumbor/{digest}/40x0/h.example/%E5%9B%BE%201.png", "mount").endswith(
        "201.png"
    )
    digest = base64.urlsafe_b64encode(mac("sha1", KEY, "40x0/h.example/a%3Fb")).decode()
    assert (
        outcome(closed, mount, f"/thumbor/{digest}/40x0/h.example/a%253Fb", "mount") == "signature_mismatch"
    )
    assert outcome(closed, mount, f"/thumbor/{digest}/40x0/h.example/a?b", "mount") == "signature_mismatch"


ENLARGING = {"weserv", "thumbor", "imagor"}
"""Their width says more than ours: it may enlarge. Next.js' has a quality beside it."""


@at
@pytest.mark.parametrize("name", ["imgproxy", "thumbor", "imagor", "imageproxy"])
def test_dialect_keys_do_not_open_the_rest(name: str, place: str) -> None:
    """Off loopback options of one's own need a signature of the dialect, and no other address gets any."""
    public: dict[str, Any] = {
        "server": {"host": "0.0.0.0"},
        "sources": {"open_to_world": True},
        "dialects": ALL_KEYS,
    }
    mount = BY_NAME[name]
    assert mount.signed_sized is not None
    assert outcome(plans(**public), mount, mount.signed_sized(SOURCE, KEY), place) == SOURCE
    weserv = BY_NAME["weserv"]
    assert outcome(plans(**public), weserv, f"/wsrv/?url={SOURCE}&w=41", "mount") == "source_not_allowed"
    assert outcome(plans(**public), weserv, f"/image/width=41/{SOURCE}", "mount") == "source_not_allowed"
    explicit = public | {"sources": {"open_to_world": True, "transforms": "presets"}}
    assert outcome(plans(**explicit), mount, mount.signed_sized(SOURCE, KEY), place) == "source_not_allowed"


@at
@with_keys
def test_dialect_keys_are_no_keys_for_open(mount: Mount, place: str) -> None:
    shut = plans(sources={"open": False}, dialects=ALL_KEYS)
    assert outcome(shut, mount, mount.any_signed(SOURCE), place) == "source_not_allowed"


EXPIRING = {
    "imgproxy": lambda at: f"/imgproxy/_/exp:{at}/{b64u(SOURCE)}",
    "imagor": lambda at: f"/imagor/unsafe/filters:expire({at}000)/{SOURCE}",
    "imageproxy": lambda at: f"/imageproxy/vu{at}/{SOURCE}",
}


@at
@pytest.mark.parametrize("name", EXPIRING)
def test_expiry_of_a_dialect_ends_its_addresses(name: str, place: str) -> None:
    """This includes remembered addresses, with and without keys."""
    mount, service = BY_NAME[name], plans()
    address = EXPIRING[name](int(NOW) + 10)
    assert outcome(service, mount, address, place) == SOURCE
    root = name if place == "root" else ""
    target = mount.at_root(address) if root else address
    assert service.known(target, now=NOW, root=root) is not None
    with pytest.raises(MirrorError) as caught:
        service.known(target, now=NOW + 10, root=root)
    assert caught.value.code == "signature_expired"
    assert outcome(service, mount, address, place, now=NOW + 10) == "signature_expired"


def test_expiry_is_said_only_of_good_signatures() -> None:
    closed = plans(dialects=ALL_KEYS)
    address = EXPIRING["imgproxy"](int(NOW) - 10)
    assert outcome(closed, BY_NAME["imgproxy"], address, "mount") == "signature_missing"
    assert (
        outcome(closed, BY_NAME["imgproxy"], address.replace("/_/", "/AAAAAAAA/"), "mount")
        == "signature_mismatch"
    )


def test_field_of_ignored_options_stays_short() -> None:
    """Whatever keys stand in a query: servers in front take fields of a few kilobytes."""
    keys = "&".join(f"key{number}=1" for number in range(1500))
    field = plans().make(f"/wsrv/?url=h.example%2Fa.png&{keys}", now=NOW).headers["X-Imgmirror-Ignored"]
    assert field.startswith("key0, key1, ")
    assert field.endswith(", ...")
    assert len(field) < 1200


def test_same_target_at_two_hosts_is_two_plans() -> None:
    """A plan remembered for one dialect is not used for another one."""
    service = plans()
    target = f"/unsafe/40x20/{SOURCE}"
    made = service.make(target, now=NOW, root="thumbor")
    assert service.known(target, now=NOW, root="thumbor") is made
    assert service.known(target, now=NOW, root="imagor") is None
    assert service.known(target, now=NOW) is None


@pytest.mark.parametrize(
    "host",
    ["thumbor.example", "THUMBOR.example", "thumbor.example.", "thumbor.example:8080", " thumbor.example "],
)
def test_host_is_compared_without_port_case_and_final_dot(host: str) -> None:
    assert plans().root_of(host) == "thumbor"


@pytest.mark.parametrize(
    "host", [None, "", "example", "x.thumbor.example", "thumbor.example.org", "[::1]:80"]
)
def test_other_hosts_are_our_own(host: str | None) -> None:
    assert plans().root_of(host) == ""


@at
@each
@pytest.mark.parametrize(
    "source", ["http://user@h.example/a.png", "http://h.example:0/a.png", "http://h.example:99999/a"]
)
def test_unreadable_sources_are_refused_at_every_mount(mount: Mount, place: str, source: str) -> None:
    assert outcome(plans(), mount, mount.any(source), place) in ("invalid_source", "invalid_transform")


@at
@each
@pytest.mark.parametrize(
    "source",
    ["ftp://h.example/a.png", "file:///etc/passwd", "/pictures/a.png", "pictures/a.png", "data:image/png,"],
)
def test_other_schemes_and_relative_sources_are_refused(mount: Mount, place: str, source: str) -> None:
    codes = ("invalid_source", "invalid_transform", "invalid_request", "source_not_allowed")
    assert outcome(plans(), mount, mount.any(source), place) in codes
