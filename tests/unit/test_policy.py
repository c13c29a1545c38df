"""The admission rule, rule by rule, and the patterns of `sources.allow` and `sources.deny`."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Config, SourcesConfig
from proxy.errors import SignatureMissing, SourceNotAllowed
from proxy.patterns import Pattern, pattern_problem
from proxy.policy import Policy, listen_problem
from proxy.source import Source

KEYS = ("a key of sixteen or more",)
URL = "http://h.example/a/b.png"


def make_policy(*, any_transform: bool = True, manifest: frozenset[str] | None = None, **keys: Any) -> Policy:
    return Policy(SourcesConfig(**keys), any_transform=any_transform, manifest=manifest)


def admits(policy: Policy, url: str = URL, *, preset_only: bool = True, signed: bool | None = None) -> bool:
    try:
        policy.admit(Source.parse(url), transform_is_preset_only=preset_only, signed=signed)
    except SourceNotAllowed:
        return False
    return True


MATCHES = [
    ("example.com", "http://example.com/a", True),
    ("example.com", "https://example.com:8443/a", True),
    ("example.com", "http://example.com./a", True),
    ("EXAMPLE.com", "http://example.com/a", True),
    ("example.com", "http://www.example.com/a", False),
    ("example.com", "http://evilexample.com/a", False),
    ("example.com", "http://example.com.evil/a", False),
    ("*.example.com", "http://www.example.com/a", True),
    ("*.example.com", "http://a.b.example.com/a", True),
    ("*.example.com", "http://www.example.com./a", True),
    ("*.example.com", "http://example.com/a", False),
    ("*.example.com", "http://evilexample.com/a", False),
    ("例え.jp", "http://xn--r8jz45g.jp/", True),
    ("*.例え.jp", "http://a.xn--r8jz45g.jp/", True),
    ("127.0.0.1", "http://2130706433:99/", True),
    ("[::1]", "http://[0::1]/", True),
    ("http://h/a/", "http://h/a/b", True),
    ("http://h/a/", "http://h:80/a/b", True),
    ("http://h/a/", "http://h./a/b", True),
    ("http://h/a/", "http://h/ab", False),
    ("http://h/a/", "https://h/a/b", False),
    ("http://h/a/", "http://h:81/a/b", False),
    ("http://h:81/a/", "http://h:81/a/b", True),
    ("http://h/a/", "http://h/?/a/", False),
    ("https://h", "https://h/any?x", True),
    ("https://h", "https://h.evil/", False),
    ("http://h/图/", "http://h/%E5%9B%BE/x", True),
    ("http://h/图/", "http://h/%e5%9b%be/x", True),
    ("http://h/图/", "http://h/E59BBE/x", False),
]

SPELLINGS = [
    "/a/x",
    "/%61/x",
    "//a/x",
    "/./a/x",
    "/b/../a/x",
    "/b/..%2fa/x",
    "/%2e/a/x",
    "/b/%2e%2e%5ca/x",
    "/a%2fx",
    "/b/..;/a/x",
    "/b/..;v=1/a/x",
    "/b/%2e%2e;/a/x",
    "/b/..%3B/a/x",
    "/;x/a/x",
    "/a;x/x",
    "/a;x=%2F../x",
    "/b/;/..;/..;/a/x",
    "/b/..;%2fa/x",
    "/b\\..;\\a\\x",
    "/b/%252e%252e%252fa/x",
    "/b/%252e%252e;/a/x",
    "/..;/a/x",
    "/%252e%252e/a/x",
    "/.;x/a/x",
    "/.%2fa/x",
]

NO_PATTERNS = [
    "", "*", "*.", ".", " ", "a b", "a/b", "h:80", "::1", "*.*.h", "a.*.h", "*h", "u@h", "h?", "h#", "[::1]:80",
    "*.1.2.3.4", "*.[::1]", "*.0x7f", "ftp://h/", "http://", "http://u@h/", "http://*.h/", "http://h/a", "http://h/?a", "http://h/?a/",
    "http://h/a/?", "http://h/a/#", "http://h:99999/", "//h/a/", "256.256.256.256",
]  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "/a/x;y.png", "/a/x;v=1/b.png", "/a/50%25.png", "/a/b//c.png", "/a/b/..;/c.png", "/%61/x.png",
        "/a/%7e.png", "/a/x?u=/../../b",
    ],
)  # fmt: skip
def test_allow_takes_a_path_that_is_below_in_every_reading(path: str) -> None:
    """Semicolons and escapes are not forbidden by themselves."""
    assert Pattern.parse("http://h/a/").allows(Source.parse("http://h" + path))


@pytest.mark.parametrize(("pattern", "url", "matches"), MATCHES)
def test_pattern_matches_on_label_and_slash_boundaries(pattern: str, url: str, *, matches: bool) -> None:
    """A host pattern knows no port; `*.` means below; a prefix has scheme, port and path."""
    source = Source.parse(url)
    assert pattern_problem(pattern) is None
    assert Pattern.parse(pattern).allows(source) is matches
    assert Pattern.parse(pattern).denies(source) is matches


@pytest.mark.parametrize("pattern", NO_PATTERNS)
def test_pattern_that_cannot_be_read_is_named(pattern: str) -> None:
    """The problem quotes the pattern, so that the operator finds it."""
    problem = pattern_problem(pattern)
    assert problem is not None
    assert repr(pattern) in problem


@pytest.mark.parametrize("path", ["/b?u=/../a/x", "/b?/a/", "/ab", "/b/a/x"])
def test_other_folder_is_not_denied(path: str) -> None:
    """A query is not a path, whatever it looks like."""
    assert not make_policy(deny=["http://h/a/"]).denied(Source.parse(f"http://h{path}"))


@pytest.mark.parametrize("path", SPELLINGS)
def test_denied_prefix_in_any_spelling_is_denied(path: str) -> None:
    """A path that some origins read as the denied folder is denied."""
    assert make_policy(deny=["http://h/a/"]).denied(Source.parse(f"http://h{path}"))


@pytest.mark.parametrize(
    "path",
    [
        "/a%2fx",
        "/a%2Fx",
        "/a/..%2fb",
        "/a/..;/b",
        "/a/..;x=y/b",
        "/a/%2e%2e;/b",
        "/a/x/..;/..;/b",
        "/a/..%3b/b",
        "/a/%252e%252e/b",
        "/a\\..;\\b",
        "/a/%2e%2e%2fb",
        "/a/..%5cb",
        "/a//../../b",
        "/a/../b",
    ],
)
def test_allowed_prefix_left_by_dot_segments_is_not_allowed(path: str) -> None:
    """A path that some origins read as outside the folder is not allowed by it."""
    assert not admits(make_policy(allow=["http://h/a/"]), f"http://h{path}")


def test_policy_without_rules_admits_when_open() -> None:
    """`open` matters when allow, manifest and keys are empty."""
    assert admits(make_policy())
    assert not admits(make_policy(open=False))


def test_policy_with_a_rule_ignores_open() -> None:
    """`open = false` beside an allow-list, a manifest or keys changes nothing."""
    assert admits(make_policy(open=False, allow=["h.example"]))
    assert admits(make_policy(open=False, manifest=frozenset({URL})))
    assert admits(make_policy(open=False, keys=KEYS), signed=True)


def test_policy_with_allow_admits_only_what_it_matches() -> None:
    """`open = true` beside an allow-list opens nothing."""
    policy = make_policy(open=True, allow=["h.example", "*.x.example"])
    assert admits(policy)
    assert admits(policy, "http://a.x.example/")
    assert not admits(policy, "http://other.example/")


def test_policy_with_manifest_admits_only_what_it_names() -> None:
    """A manifest without lines admits nothing."""
    assert admits(make_policy(manifest=frozenset({URL})))
    assert not admits(make_policy(manifest=frozenset({URL})), URL + "?x")
    assert not admits(make_policy(manifest=frozenset()))


def test_policy_with_manifest_and_allow_wants_both() -> None:
    """The rules are joined by "and"."""
    policy = make_policy(allow=["h.example"], manifest=frozenset({URL, "http://o.example/"}))
    assert admits(policy)
    assert not admits(policy, "http://h.example/other")
    assert not admits(policy, "http://o.example/")


def test_policy_deny_wins_over_everything() -> None:
    """Denied is denied, signed or not."""
    policy = make_policy(deny=["*.example"], allow=["h.example"], manifest=frozenset({URL}), keys=KEYS)
    assert not admits(policy, signed=True)
    assert policy.denied(Source.parse(URL))
    assert not policy.denied(Source.parse("http://h.other/"))


def test_policy_with_keys_wants_a_signature() -> None:
    """A form that could be signed and is not is `signature_missing`."""
    policy = make_policy(keys=KEYS)
    assert admits(policy, signed=True)
    with pytest.raises(SignatureMissing):
        policy.admit(Source.parse(URL), transform_is_preset_only=True, signed=False)


def test_policy_with_keys_and_allow_wants_both() -> None:
    """A signature does not lift the allow-list."""
    policy = make_policy(keys=KEYS, allow=["other.example"])
    assert not admits(policy, signed=True)


def test_policy_with_keys_admits_the_unsignable_form_only_when_named() -> None:
    """`/?URL` is admitted for sources that the manifest or allow names, and for no others."""
    assert not admits(make_policy(keys=KEYS), signed=None)
    assert admits(make_policy(keys=KEYS, allow=["h.example"]), signed=None)
    assert not admits(make_policy(keys=KEYS, allow=["o.example"]), signed=None)
    assert admits(make_policy(keys=KEYS, manifest=frozenset({URL})), signed=None)
    assert not admits(make_policy(keys=KEYS, manifest=frozenset()), signed=None)


def test_policy_with_presets_only_refuses_other_transforms() -> None:
    """An allowed picture in eight thousand widths is an attack too."""
    policy = make_policy(any_transform=False, allow=["h.example"])
    assert admits(policy, preset_only=True)
    assert not admits(policy, preset_only=False)
    assert admits(make_policy(allow=["h.example"]), preset_only=False)


def test_policy_with_keys_refuses_other_transforms_unsigned() -> None:
    """From a service that signs, an address that cannot be signed never gets more than presets."""
    policy = make_policy(keys=KEYS, allow=["h.example"])
    assert not admits(policy, preset_only=False, signed=None)
    assert admits(policy, preset_only=False, signed=True)


def test_policy_without_keys_ignores_signatures() -> None:
    """A signed link goes on working when signing was switched off."""
    assert admits(make_policy(), signed=True)
    assert admits(make_policy(), signed=False)


def test_policy_hop_is_checked_by_deny_and_allow_alone() -> None:
    """Manifest and signature cover the first URL; `open` says nothing of hops."""
    policy = make_policy(keys=KEYS, manifest=frozenset({URL}), deny=["bad.example"])
    policy.check_hop(Source.parse("http://anywhere.example/"))
    with pytest.raises(SourceNotAllowed):
        policy.check_hop(Source.parse("http://bad.example/"))
    with pytest.raises(SourceNotAllowed):
        make_policy(allow=["h.example"]).check_hop(Source.parse("http://anywhere.example/"))


def test_policy_explains_every_rule() -> None:
    """All rules are listed in order, including those after a refusal."""
    policy = make_policy(allow=["o.example"], any_transform=False)
    verdicts = policy.explain(Source.parse(URL), transform_is_preset_only=False, signed=None)
    assert [(verdict.rule, verdict.passed) for verdict in verdicts] == [
        ("deny", True), ("signature", True), ("manifest", True), ("allow", False), ("open", True), ("transform", False),
    ]  # fmt: skip
    assert all(verdict.reason for verdict in verdicts)


UNSIGNED = "this form of address cannot be signed; "
RULES = ("deny", "signature", "manifest", "allow", "open", "transform")


@given(
    rules=st.fixed_dictionaries(
        {
            "allow": st.sampled_from([[], ["h.example"], ["o.example"]]),
            "deny": st.sampled_from([[], ["h.example"], ["http://h.example/a/"], ["o.example"]]),
            "keys": st.sampled_from([(), KEYS]),
            "open": st.booleans(),
            "transforms": st.sampled_from(["", "any", "presets"]),
        }
    ),
    manifest=st.sampled_from([None, frozenset(), frozenset({URL})]),
    any_transform=st.booleans(),
    preset_only=st.booleans(),
    signed=st.none() | st.booleans(),
    covered=st.none() | st.booleans(),
)
def test_policy_admits_exactly_by_the_rule_of_the_contract(
    rules: Any,
    manifest: frozenset[str] | None,
    any_transform: bool,
    preset_only: bool,
    signed: bool | None,
    covered: bool | None,
) -> None:
    """Each rule as one expression; the first that fails is the error, and `explain` agrees with `admit`."""
    policy = make_policy(any_transform=any_transform, manifest=manifest, **rules)
    named = manifest is not None or bool(rules["allow"])
    unsignable = bool(rules["keys"]) and signed is None
    by_signature = covered is True and rules["transforms"] != "presets"
    passes = {
        "deny": rules["deny"] not in (["h.example"], ["http://h.example/a/"]),
        "signature": not rules["keys"] or (named if signed is None else signed),
        "manifest": manifest is None or URL in manifest,
        "allow": rules["allow"] in ([], ["h.example"]),
        "open": rules["open"] or bool(rules["keys"]) or named,
        "transform": preset_only
        or (covered is not False and (by_signature or (any_transform and not unsignable))),
    }
    request: Any = {"transform_is_preset_only": preset_only, "signed": signed, "covers_options": covered}
    verdicts = policy.explain(Source.parse(URL), **request)
    assert tuple(verdict.rule for verdict in verdicts) == RULES
    assert {verdict.rule: verdict.passed for verdict in verdicts} == passes
    failed = next((rule for rule in RULES if not passes[rule]), None)
    if failed is None:
        policy.admit(Source.parse(URL), **request)
        return
    unsigned = failed == "signature" and signed is False
    with pytest.raises(SignatureMissing if unsigned else SourceNotAllowed) as caught:
        policy.admit(Source.parse(URL), **request)
    assert unsigned or str(caught.value.detail).startswith(f"{failed}: ")


@pytest.mark.parametrize(
    ("rule", "settings", "request_made", "reason"),
    [
        ("deny", {}, {}, "not in sources.deny"),
        ("deny", {"deny": ["o.example", "*.example"]}, {}, "sources.deny has *.example"),
        ("signature", {}, {}, "there are no keys"),
        ("signature", {"keys": KEYS}, {"signed": True}, "signed"),
        ("signature", {"keys": KEYS}, {"signed": False}, "there are keys and no signature"),
        ("signature", {"keys": KEYS}, {}, f"{UNSIGNED}there is no manifest and no sources.allow"),
        ("signature", {"keys": KEYS, "allow": ["h"]}, {}, f"{UNSIGNED}manifest and allow decide"),
        ("manifest", {}, {}, "there is no manifest"),
        ("manifest", {"manifest": frozenset({URL})}, {}, "in the manifest"),
        ("manifest", {"manifest": frozenset()}, {}, "not in the manifest"),
        ("allow", {}, {}, "sources.allow is empty"),
        ("allow", {"allow": ["o.example", "h.example"]}, {}, "sources.allow has h.example"),
        ("allow", {"allow": ["o.example"]}, {}, "not in sources.allow"),
        ("open", {"allow": ["h.example"]}, {}, "keys, manifest or sources.allow decide"),
        ("open", {}, {}, "sources.open is true"),
        ("open", {"open": False}, {}, "sources.open is false"),
        ("transform", {}, {"transform_is_preset_only": True}, "a preset, one of rewrite.widths, or the original"),
        ("transform", {}, {"covers_options": False}, "the signature covers the source, not the options"),
        ("transform", {}, {"covers_options": True}, "the signature covers the options"),
        ("transform", {"keys": KEYS}, {}, "only a signed address may ask for other options"),
        ("transform", {}, {}, "any transform is served"),
        ("transform", {"any_transform": False}, {}, "sources.transforms admits presets and rewrite.widths only"),
    ],
)  # fmt: skip
def test_policy_gives_the_reason_of_every_outcome(
    rule: str, settings: Any, request_made: Any, reason: str
) -> None:
    """Operators read it in `/explain` and in the log: it names the setting that decided."""
    request = {"transform_is_preset_only": False, "signed": None, **request_made}
    verdicts = make_policy(**settings).explain(Source.parse(URL), **request)
    assert {verdict.rule: verdict.reason for verdict in verdicts}[rule] == reason


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.7", "blog.example"])
@pytest.mark.parametrize(
    ("sources", "refused"),
    [
        ({}, True),
        ({"deny": ["h"]}, True),
        ({"open_to_world": True}, False),
        ({"open": False}, False),
        ({"allow": ["h"]}, False),
        ({"keys": KEYS}, False),
        ({"manifest": "sources.txt"}, False),
    ],
)
def test_listening_for_others_while_open_is_refused(host: str, sources: Any, *, refused: bool) -> None:
    """Off loopback, any source for anybody needs the operator's word."""
    config = Config.model_validate({"server": {"host": host}, "sources": sources})
    assert (listen_problem(config) is not None) is refused


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_listening_on_loopback_while_open_is_fine(host: str) -> None:
    """The default serves any source, to this machine."""
    assert listen_problem(Config.model_validate({"server": {"host": host}})) is None
