"""The command `imgmirror url`: addresses built, signed, unwrapped and explained without any service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import invoke
from service import write_config

from proxy.cli import build_parser, main
from proxy.cli.url import run
from proxy.config import Config, RewriteConfig, ServerConfig, SourcesConfig, WrapperConfig
from proxy.dialects import GRAMMARS
from proxy.images.formats import JSON, OUTPUTS
from proxy.signing import Signer

KEY = "0123456789abcdef"
SIGNED = Config(
    server=ServerConfig(public_url="https://img.example.org/blog"), sources=SourcesConfig(keys=(KEY,))
)
SOURCE = "http://h.example/a.png"


def call(*arguments: str, config: Config | None = None) -> int:
    """Run the command with its own parser."""
    return run(build_parser("url").parse_args(["url", *arguments]), config or Config())


@pytest.mark.parametrize(
    ("options", "source", "built"),
    [
        ("headimg", "HTTP://H.example:80/a b.png", "/image/headimg/http://h.example/a%20b.png"),
        ("h=5,w=640", f"{SOURCE}?x=1", "/image/height=5,width=640/http://h.example/a.png?x=1"),
        ("original", SOURCE, f"/image/original/{SOURCE}"),
    ],
)
def test_build_prints_our_address(
    options: str, source: str, built: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The printed options and source are canonical. Without a base URL the result is a path."""
    assert call("build", options, source) == 0
    assert call("build", options, source, "--base-url", "https://img.example.org/") == 0
    assert capsys.readouterr().out.splitlines() == [built, f"https://img.example.org{built}"]


@pytest.mark.parametrize("host", ["bücher.example", "xn--bcher-kva.example"])
def test_host_that_is_not_ascii_is_built_in_a_labels_and_known_in_both_spellings(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`server.public_url` and `--base-url`; our own addresses are unwrapped and explained however they are written."""
    config = Config(server=ServerConfig(public_url="https://bücher.example/img"))
    ours = f"https://{host}/img/image/original/{SOURCE}"
    assert call("build", "original", SOURCE, config=config) == 0
    assert call("build", "original", SOURCE, "--base-url", f"https://{host}/img/") == 0
    assert capsys.readouterr().out == f"https://xn--bcher-kva.example/img/image/original/{SOURCE}\n" * 2
    assert call("unwrap", ours, config=config) == 0
    assert capsys.readouterr().out == f"{SOURCE}\n"
    assert call("explain", ours, config=config) == 0
    assert f"source: {SOURCE}\n" in capsys.readouterr().out


def test_build_signs_when_there_is_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    """The signature is the signer's, `sign` prints the same one, and `explain` accepts it."""
    expected = Signer((KEY,)).sign("width=5", SOURCE, exp=99999999999)
    assert call("build", "w=5", SOURCE, "--exp", "99999999999", config=SIGNED) == 0
    built = capsys.readouterr().out.strip()
    assert built == f"https://img.example.org/blog/image/width=5,sig={expected},exp=99999999999/{SOURCE}"
    assert call("sign", "w=5", SOURCE, "--exp", "99999999999", config=SIGNED) == 0
    assert capsys.readouterr().out.strip() == expected
    assert call("explain", built, config=SIGNED) == 0
    assert "admitted: yes" in capsys.readouterr().out


def test_unwrap_prints_sources_and_what_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    """One source a line; options that are dropped go to standard error."""
    assert call("unwrap", f"https://cors.io/?{SOURCE}", "//wsrv.nl/?url=h.example/b&w=5&mask=star") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [SOURCE, "http://h.example/b"]
    assert captured.err == "imgmirror: asked: width=5\nimgmirror: dropped: weserv mask\n"


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("weserv", "/?url=http%3A%2F%2Fh.example%2Fa%2Cb.png%3Fv%3D1&output=webp&we=1&w=640"),
        ("imgproxy", "/_/f:webp/w:640/aHR0cDovL2guZXhhbXBsZS9hLGIucG5nP3Y9MQ"),
        ("thumbor", "/unsafe/fit-in/640x0/filters:format(webp)/http%3A%2F%2Fh.example%2Fa%2Cb.png%3Fv%3D1"),
        ("cloudflare", "/cdn-cgi/image/format=webp,width=640/http://h.example/a,b.png?v=1"),
        ("ipx", "/_ipx/f_webp,w_640/http://h.example/a%2Cb.png%3Fv%3D1"),
    ],
)
def test_build_in_another_dialect_is_unwrapped_to_the_same(
    dialect: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The address as that proxy's users write it; `url unwrap` with the dialect configured gives both back."""
    words = ("--base-url", "https://p.example", "--dialect", dialect)
    assert call("build", "w=640,f=webp", "http://h.example/a,b.png?v=1", *words) == 0
    built = capsys.readouterr().out.strip()
    assert built == "https://p.example" + expected
    wrapper = WrapperConfig.model_validate({"prefix": "https://p.example/", "dialect": dialect})
    config = Config(rewrite=RewriteConfig(wrappers=(wrapper,)))
    assert call("unwrap", "--json", built, config=config) == 0
    answer = json.loads(capsys.readouterr().out)[0]
    assert answer["source"] == "http://h.example/a,b.png?v=1"
    assert answer["options"] == {"width": "640", "format": "webp"}


@pytest.mark.parametrize("dialect", sorted(name for name, grammar in GRAMMARS.items() if grammar.build))
@pytest.mark.parametrize("wanted", [*OUTPUTS, JSON])
def test_build_of_a_format_is_taken_by_its_dialect_or_refused(
    dialect: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never an address that the same dialect refuses, or reads as another format."""
    words = ("--base-url", "https://p.example", "--dialect", dialect)
    if call("build", f"w=640,format={wanted}", SOURCE, *words) == 2:
        assert "cannot carry" in capsys.readouterr().err
        return
    built = capsys.readouterr().out.strip()
    grammar, rest = GRAMMARS[dialect], built.removeprefix("https://p.example/")
    opened = grammar.open_rest(rest, "")
    assert opened is not None
    assert (opened.options.get("format"), opened.dropped) == (wanted, ())
    if grammar.serve is not None:
        assert grammar.serve_rest(rest).options["format"] == wanted


def test_build_of_what_a_dialect_cannot_carry_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused by name, never left out."""
    assert call("build", "w=640,blur=5", SOURCE, "--base-url", "https://p.example", "--dialect", "next") == 2
    assert "next cannot carry blur=5" in capsys.readouterr().err
    assert (
        call("build", "w=640", SOURCE, "--base-url", "https://p.example", "--dialect", "next", "--exp", "9")
        == 2
    )


def test_unwrap_of_something_else_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Something that is not a wrapper, or would have to be guessed, is reported, and the others are still printed."""
    urls = ["https://h.example/\x1b", "https://wsrv.nl/?url=http://h/a?b=1&x=2", f"https://cors.io/?{SOURCE}"]
    assert call("unwrap", *urls) == 1
    captured = capsys.readouterr()
    assert captured.out == f"{SOURCE}\n"
    assert "\x1b" not in captured.err
    assert call("unwrap", "--json", *urls) == 1
    assert ["source" in answer for answer in json.loads(capsys.readouterr().out)] == [False, False, True]


def test_explain_says_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Source, unwrapping, options as written and as they are rendered."""
    url = f"http://localhost:8080/image/headimg,w=5/https://cors.io/?{SOURCE}"
    assert call("explain", "--json", url) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["kind"], answer["source"], answer["options"]) == ("variant", SOURCE, "headimg,width=5")
    assert "height=630" in answer["resolved"]
    assert answer["unwrapped"] == "worker cors.io"
    assert call("explain", f"/?{SOURCE}") == 0
    assert f"source: {SOURCE}" in capsys.readouterr().out


def test_explain_of_a_refused_address_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    """The rule that refuses is named."""
    config = Config(sources=SourcesConfig(deny=("h.example",)))
    assert call("explain", f"/?{SOURCE}", config=config) == 1
    assert "error: source_not_allowed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "nonsense=1", SOURCE],
        ["build", "nopreset", SOURCE],
        ["build", "w=5", "h.example/a.png"],
        ["build", "w=5", "ftp://h.example/"],
        ["build", "w=5", SOURCE, "--base-url", "img.example.org"],
        ["build", "w=5", SOURCE, "--base-url", 'https://img.example.org/"'],
        ["build", "w=5", SOURCE, "--exp", "-1"],
        ["sign", "w=5", SOURCE],
        ["explain", "/image/http://h/"],
        ["explain", "/nowhere"],
    ],
)
def test_wrong_use_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 2, and a line says what is wrong."""
    assert call(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("imgmirror: ")
    assert captured.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ["--config", "{}", "build", "w=5", SOURCE],
        ["build", "w=5", SOURCE, "--config", "{}"],
        ["build", "--config", "{}", "w=5", SOURCE],
    ],
)
def test_config_before_and_behind_the_action_is_read(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command takes it, wherever it stands."""
    path = tmp_path / "r.toml"
    path.write_text('[server]\npublic_url = "https://img.example.org"\n')
    assert main(["url", *(word.format(path) for word in words)]) == 0
    assert capsys.readouterr().out == f"https://img.example.org/image/width=5/{SOURCE}\n"


def test_build_and_sign_as_json_name_every_part(capsys: pytest.CaptureFixture[str]) -> None:
    """One object, made for programs."""
    sig = Signer((KEY,)).sign("width=5", SOURCE, exp=99)
    parts = {"options": "width=5", "source": SOURCE, "sig": sig, "exp": 99}
    assert call("build", "w=5", SOURCE, "--exp", "99", "--json", config=SIGNED) == 0
    url = f"https://img.example.org/blog/image/width=5,sig={sig},exp=99/{SOURCE}"
    assert json.loads(capsys.readouterr().out) == {"url": url} | parts
    assert call("sign", "w=5", SOURCE, "--exp", "99", "--json", config=SIGNED) == 0
    assert json.loads(capsys.readouterr().out) == parts


def test_explain_reads_addresses_of_other_proxies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At their mount, and at the root of a host of their own."""
    config = write_config(tmp_path, {"dialects": {"camo": {"keys": ["test"]}}})
    config.write_text(config.read_text() + '[hosts]\n"i.example" = "weserv"\n')
    assert (
        invoke("url", "explain", "https://i.example/?url=h.example/a.png&w=300&il", "--json", config=config)
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert (said["source"], said["dialect"], said["ignored"]) == ("http://h.example/a.png", "weserv", "il")
    assert said["options"] == "anim=false,fit=contain,upscale=true,width=300"
    address = "/camo/" + "0" * 40 + "/" + b"http://h.example/a.png".hex()
    assert invoke("url", "explain", address, "--json", config=config) == 1
    assert json.loads(capsys.readouterr().out)["error"] == "signature_mismatch"


@pytest.mark.parametrize("dialect", ["imgproxy", "thumbor", "imagor", "imageproxy", "camo", "miniflux"])
def test_build_signs_in_dialects_that_have_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dialect: str
) -> None:
    """The first key signs. The same configuration answers the address, and another one does not."""
    keys = {"imgproxy": ["00ff:01", "02:03"], "imagor": ["sha256:40:first", "second"]}.get(
        dialect, ["first", "second"]
    )
    options = "original" if dialect in ("camo", "miniflux") else "width=300"
    for order, code in ((keys, 0), (keys[:1], 0), (keys[1:], 1)):
        config = write_config(tmp_path, {"dialects": {dialect: {"keys": keys}}})
        base = ("--base-url", f"https://img.example/{dialect}", "--dialect", dialect)
        assert invoke("url", "build", options, "https://h.example/a.png?v=1", *base, config=config) == 0
        address = capsys.readouterr().out.strip()
        config = write_config(tmp_path, {"dialects": {dialect: {"keys": order}}})
        target = address.removeprefix("https://img.example")
        assert invoke("url", "explain", target, "--json", config=config) == code
        said = json.loads(capsys.readouterr().out)
        assert said["source"] == "https://h.example/a.png?v=1"
        assert said.get("error", "") == ("signature_mismatch" if code else "")
