"""The configuration file: which values it accepts and refuses, and that its comments are true."""

import re
import tomllib
from pathlib import Path

import pytest

from proxy.config import FOREVER, Config, ConfigError, base_url_problem, parse_duration, parse_size
from proxy.config.file import changed_restart_keys, keep_restart_keys, key_names, load, secret_texts

ROOT = Path(__file__).parents[2]


def write(folder: Path, text: str) -> str:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def problems_of(path: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "size"),
    [("32 MiB", 32 * 2**20), ("1.5GB", 1_500_000_000), ("7", 7), (9, 9), ("500 kB", 500_000)],
)
def test_size_written_with_unit_is_bytes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1 XB", "MiB", True, 1.5, None])
def test_size_unreadable_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10.0),
        ("500ms", 0.5),
        ("1d", 86400.0),
        (0, 0.0),
        ("0", 0.0),
        ("forever", FOREVER),
        ("2 h", 7200.0),
    ],
)
def test_duration_written_with_unit_is_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_shipped_file_holds_the_built_in_defaults() -> None:
    """Deleting a line of config.toml changes nothing, so its comments can be trusted."""
    shipped = load(str(ROOT / "config.toml"), {}).config
    defaults = Config()
    for section in Config.model_fields.keys() - {"presets"}:
        for key, value in getattr(shipped, section):
            if (section, key) == ("store", "dir"):
                continue
            assert value == getattr(getattr(defaults, section), key), f"{section}.{key}"
    assert shipped.presets == defaults.presets
    assert shipped.store.dir == ROOT / "var/store"


def test_shipped_file_names_every_key() -> None:
    """Every key of the program stands in config.toml with a comment, as a value or commented out."""
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    for name in key_names():
        section, key = name.split(".")[:2]
        if key == "<name>":
            assert f"[{section}." in text or f"[{section}]" in text
            continue
        body = text.split(f"[{section}]", 1)[1].split("\n[", 1)[0] if f"[{section}]" in text else ""
        line = re.search(rf"^(?:# )?{key} = .*#.*$", body, re.MULTILINE)
        assert line or f"[{section}.{key}" in text, f"{name} is not documented"


def test_shipped_file_has_no_unknown_key() -> None:
    known = set(key_names())
    tables = tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8"))
    for section, keys in tables.items():
        for key in keys:
            assert {f"{section}.{key}", f"{section}.{key}.<name>", f"{section}.<name>"} & known


def test_unknown_keys_are_all_reported_with_the_nearest_name(tmp_path: Path) -> None:
    path = write(
        tmp_path, "[server]\nprot = 1\n[store]\nmax_byte = 2\n[sorces]\nopen = true\n[fetch]\nport = 1\n"
    )
    found = "\n".join(problems_of(path))
    assert "server.prot: unknown key; did you mean server.port?" in found
    assert "store.max_byte: unknown key" in found
    assert "sorces: unknown key; did you mean sources?" in found
    assert "fetch.port: unknown key; did you mean" in found


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[server]\nport = 99999\npublic_url = "img.example.org"\n[fetch]\nmax_bytes = "many"\n'
        '[sources]\nallow = ["http://h/a"]\nkeys = ["short"]\n[rewrite]\nbody = "nosuch"\n',
    )
    found = problems_of(path, {"IMGMIRROR_FETCH_TIMEOUT": "soon"})
    for key in (
        "server.port",
        "server.public_url",
        "fetch.max_bytes",
        "fetch.timeout",
        "sources.allow",
        "sources.keys",
        "rewrite.body",
    ):
        assert any(line.startswith(key) for line in found), (key, found)


def test_presets_named_by_rewrite_must_exist(tmp_path: Path) -> None:
    assert "nosuch" in problems_of(write(tmp_path, '[rewrite]\nbody = "nosuch"\n'))[0]


def test_presets_of_broken_tables_are_reported_with_the_rest(tmp_path: Path) -> None:
    found = problems_of(
        write(
            tmp_path,
            '[server]\nport = 0.5\n[presets]\nhero = 5\n[rewrite.fields]\ncover = "gone"\nb = "hero"\n',
        )
    )
    assert "rewrite.fields.cover: there is no preset 'gone'" in found
    assert not any("hero'" in line for line in found)


def test_presets_cannot_be_compared_with_what_is_no_table(tmp_path: Path) -> None:
    assert problems_of(write(tmp_path, "rewrite = 1\n")) == ["rewrite: must be a table"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[render]\nformats = 'avif'", "render.formats: must be a list in brackets"),
        ("server = 1", "server: must be a table"),
        ("[fetch.profiles]\nx = 1", "fetch.profiles.x: must be a table"),
        ("[fetch.profiles.x]\nreferer = 'r'", "fetch.profiles.x.hosts: must be set"),
        ("[server]\nport = 'x'", "server.port: must be a whole number"),
        ("[server]\nport = 70000", "server.port: must be at most 65535"),
        ("[server]\nworkers = 0", "server.workers: must be at least 1"),
        ("[sources]\nopen = 'perhaps'", "sources.open: must be true or false"),
        ("[rewrite]\nbody = 1", "rewrite.body: must be text in quotes"),
        ("[render]\ndecoder = 'x'", "render.decoder: must be 'auto', 'pillow' or 'libvips'"),
    ],
)
def test_value_of_the_wrong_kind_is_refused_in_plain_words(tmp_path: Path, text: str, line: str) -> None:
    assert problems_of(write(tmp_path, text + "\n")) == [line]


def test_unknown_key_of_a_profile_is_reported_with_the_nearest_name(tmp_path: Path) -> None:
    found = problems_of(write(tmp_path, '[fetch.profiles.x]\nhosts = ["h.example"]\nrefrer = "r"\n'))
    assert found == ["fetch.profiles.x.refrer: unknown key; did you mean fetch.profiles.x.referer?"]


@pytest.mark.parametrize("key", ["server.public_url", "rewrite.former_urls"])
@pytest.mark.parametrize(
    "url",
    [
        'https://img.example.org/x?a=\\" onerror=\\"y',
        "https://img.example.org/?x",
        "https://img.example.org/#x",
        "https://img.example.org:port",
        "https://user@img.example.org",
        "https://img.example.org/a b",
        "https://img.example.org/<",
        "img.example.org",
        "javascript:alert(1)",
        "https:///x",
    ],
)
def test_base_url_that_an_article_cannot_hold_is_refused(tmp_path: Path, key: str, url: str) -> None:
    section, name = key.split(".")
    value = f'["{url}"]' if name == "former_urls" else f'"{url}"'
    found = problems_of(write(tmp_path, f"[{section}]\n{name} = {value}\n"))
    assert [line.startswith(f"{key}: ") and "http(s) address" in line for line in found] == [True]


@pytest.mark.parametrize(
    "url", ["http://[::1]:8080", "https://img.example.org/blog/", "HTTPS://例え.jp", "http://127.0.0.1:80/a"]
)
def test_base_url_of_any_host_and_path_is_accepted(url: str) -> None:
    assert base_url_problem(url) == ""


@pytest.mark.parametrize(
    "prefix", ["ftp://h.example/", "nonsense", "https://", "https://h/ x", "javascript:a", ""]
)
def test_wrapper_that_is_no_address_is_refused(tmp_path: Path, prefix: str) -> None:
    found = problems_of(write(tmp_path, f'[rewrite]\nwrappers = ["https://a.example/?", "{prefix}"]\n'))
    assert [line.startswith("rewrite.wrappers: ") for line in found] == [True]


def test_wrapper_with_and_without_scheme_is_accepted(tmp_path: Path) -> None:
    prefixes = '["https://a.example/?", "//b.example/get?u=", "c.example", "http://localhost:8080/x/"]'
    assert len(load(write(tmp_path, f"[rewrite]\nwrappers = {prefixes}\n"), {}).config.rewrite.wrappers) == 4


def test_wrapper_with_its_dialect_is_accepted_beside_plain_prefixes(tmp_path: Path) -> None:
    wrappers = '["https://a.example/?", {prefix = "https://b.example/", dialect = "thumbor"}]'
    found = load(write(tmp_path, f"[rewrite]\nwrappers = {wrappers}\nwidths = [640, 320, 640]\n"), {}).config
    assert found.rewrite.prefixes == ("https://a.example/?", ("https://b.example/", "thumbor"))
    assert found.rewrite.widths == (320, 640)
    assert type(found.rewrite)(**found.rewrite.model_dump(mode="json")) == found.rewrite


def test_wrapper_with_an_unknown_dialect_or_no_prefix_is_named_once(tmp_path: Path) -> None:
    wrappers = [
        'prefix = "https://b.example/", dialect = "thumbr"',
        'dialect = "ipx"',
        'prefix = "x", dialect = "ipx"',
    ]
    listed = ", ".join(f"{{{wrapper}}}" for wrapper in wrappers)
    found = problems_of(write(tmp_path, f"[rewrite]\nwrappers = [{listed}]\nwidths = [0]\n"))
    assert len(found) == 4
    assert "'thumbor'" in found[0]
    assert "prefix: must be set" in found[1]
    assert "not the beginning" in found[2]
    assert found[3].startswith("rewrite.widths.0: ")


def test_preset_with_bad_option_is_refused(tmp_path: Path) -> None:
    found = problems_of(write(tmp_path, "[presets.hero]\nwidht = 5\n[presets.Bad]\nwidth = 5\n"))
    assert any("widht" in line for line in found)
    assert any("Bad" in line for line in found)


def test_own_preset_stands_beside_the_shipped_ones(tmp_path: Path) -> None:
    presets = load(write(tmp_path, "[presets.hero]\nwidth = 5\n"), {}).config.presets
    assert presets["hero"] == {"width": 5}
    assert {"headimg", "thumbnail", "content"} <= presets.keys()


def test_environment_overrides_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nport = 1\n")
    config = load(
        path,
        {
            "IMGMIRROR_SERVER_PORT": "2",
            "IMGMIRROR_SOURCES_ALLOW": '["h.example"]',
            "IMGMIRROR_SOURCES_OPEN": "false",
            "IMGMIRROR_FETCH_MIN_FRESH": "0",
            "IMGMIRROR_PRESETS_HERO": '{"width": 7}',
        },
    ).config
    assert config.server.port == 2
    assert config.sources.allow == ("h.example",)
    assert config.sources.open is False
    assert config.fetch.min_fresh == 0
    assert config.presets["hero"] == {"width": 7}


def test_secret_in_file_named_by_environment_is_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / "keys").write_text("first-key-of-sixteen\nsecond-key-of-sixteen\n")
    environ = {
        "IMGMIRROR_SERVER_ADMIN_TOKEN_FILE": str(tmp_path / "token"),
        "IMGMIRROR_SOURCES_KEYS_FILE": str(tmp_path / "keys"),
    }
    config = load(write(tmp_path, ""), environ).config
    assert config.server.admin_token == "s3cret"
    assert config.sources.keys == ("first-key-of-sixteen", "second-key-of-sixteen")
    assert "s3cret" not in repr(config)
    assert "first-key" not in repr(config)


def test_unknown_environment_name_is_refused(tmp_path: Path) -> None:
    found = problems_of(write(tmp_path, ""), {"IMGMIRROR_SERVER_PROT": "1", "IMGMIRROR_SOURCES_ALLOW": "h"})
    assert any("server.prot" in line for line in found)
    assert any("IMGMIRROR_SOURCES_ALLOW" in line and "JSON" in line for line in found)


def test_names_that_container_platforms_invent_are_ignored(tmp_path: Path) -> None:
    environ = {"IMGMIRROR_PORT": "tcp://10.0.0.1:80", "IMGMIRROR_SERVICE_HOST": "10.0.0.1"}
    assert load(write(tmp_path, ""), environ).config.server.port == 8080


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, '[store]\ndir = "kept"\n[sources]\nmanifest = "m.txt"\n'), {}).config
    assert config.store.dir == tmp_path / "kept"
    assert config.store.variants_path == tmp_path / "kept/variants"
    assert config.sources.manifest == tmp_path / "m.txt"


@pytest.mark.parametrize("text", ["[server", "server = 1", "\xff"])
def test_file_that_cannot_be_read_is_a_problem(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode("latin-1"))
    assert problems_of(str(path))


def test_missing_file_named_by_hand_is_a_problem(tmp_path: Path) -> None:
    assert "cannot be read" in problems_of(str(tmp_path / "none.toml"))[0]


def test_keys_that_need_a_restart_are_named_and_kept(tmp_path: Path) -> None:
    old = Config()
    new = load(write(tmp_path, "[server]\nport = 9\nmin_max_age = 5\n"), {}).config
    assert changed_restart_keys(old, new) == ["server.port"]
    merged = keep_restart_keys(old, new)
    assert merged.server.port == 8080
    assert merged.server.min_max_age == 5


@pytest.mark.parametrize(
    ("host", "keys", "any_transform"),
    [("127.0.0.1", (), True), ("::1", (), True), ("0.0.0.0", (), False), ("0.0.0.0", ("k" * 16,), True)],
)
def test_transforms_are_bounded_off_loopback_unless_signed(
    host: str, keys: tuple[str, ...], any_transform: bool
) -> None:
    config = Config.model_validate({"server": {"host": host}, "sources": {"keys": keys}})
    assert config.any_transform is any_transform


@pytest.mark.parametrize(
    "text",
    ['baseURL = "https://x.example/"\n[params]\na = 1\n', 'base_url = "x"\n[server]\n', 'baseurl = "x"\n'],
)
def test_configuration_of_a_site_generator_in_the_working_directory_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Hugo and Zola call theirs `config.toml` too. Named with --config, it is read and refused."""
    path = write(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    assert load(None, {}).path is None
    assert problems_of(path)


@pytest.mark.parametrize("text", ['baseURL = "x"\n[store]\n', "[sever]\n", "base_url ="])
def test_configuration_in_the_working_directory_that_may_be_ours_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    write(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        load(None, {})


def test_hosts_and_dialects_are_read_and_their_problems_told_together(tmp_path: Path) -> None:
    good = load(
        str(write(tmp_path, '[hosts]\n"IMG.Example.org.:80" = "imgproxy"\n"bücher.example" = "ipx"\n')),
        {"IMGMIRROR_DIALECTS_THUMBOR_KEYS": "one\ntwo", "IMGMIRROR_DIALECTS_CAMO_KEYS": '["three"]'},
    ).config
    assert good.hosts == {"img.example.org": "imgproxy", "xn--bcher-kva.example": "ipx"}
    assert good.dialects.thumbor.keys == ("one", "two")
    assert good.dialects.camo.keys == ("three",)
    assert {"one", "two", "three"} <= set(secret_texts(good))
    text = """
        [hosts]
        "a.example" = "imgprox"
        "http://b.example/" = "ipx"
        [dialects.imgproxi]
        keys = ["a"]
        [dialects.imgproxy]
        keys = ["SECRETSECRET"]
        key = "x"
    """
    found = "\n".join(problems_of(write(tmp_path, text)))
    assert "hosts.a.example: must be" in found
    assert "did you mean imgproxy?" in found
    assert "dialects.imgproxi: unknown key; did you mean dialects.imgproxy?" in found
    assert "dialects.imgproxy.key: unknown key; did you mean dialects.imgproxy.keys?" in found
    assert "SECRETSECRET" not in found


def test_keys_of_a_dialect_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("736563726574:68656C6C6F\n")
    path = write(tmp_path, '[dialects.imgproxy]\nkeys = ["00:00"]\n[dialects.camo]\nkeys = ["stays"]\n')
    read = load(str(path), {"IMGMIRROR_DIALECTS_IMGPROXY_KEYS_FILE": str(secret)}).config
    assert read.dialects.imgproxy.keys == ("736563726574:68656C6C6F",)
    assert read.dialects.camo.keys == ("stays",)
    found = problems_of(write(tmp_path, '[dialects.imgproxy]\nkeys = ["SECRETSECRET"]\n'))
    assert any("imgproxy.keys" in line and "<key in hex>:<salt in hex>" in line for line in found)
    assert not any("SECRETSECRET" in line for line in found)


@pytest.mark.parametrize("accel", ["nginx", "sendfile"])
def test_accel_without_files_for_the_group_is_refused(tmp_path: Path, accel: str) -> None:
    """The web server in front could not read them."""
    text = f'[server]\naccel = "{accel}"\n'
    (problem,) = problems_of(write(tmp_path, text))
    assert problem.startswith('server.accel: needs store.mode = "group"')
    both = write(tmp_path, text + '[store]\nmode = "group"\n')
    assert load(both, {}).config.server.accel == accel
