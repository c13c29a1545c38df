"""`imgmirror doctor`: findings with advice; it makes nothing and survives whatever is missing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from service import write_config
from stub_resolver import StubResolver

from proxy.cli import main
from proxy.cli.checks import network
from proxy.images.decode.choice import decoder_for
from proxy.images.formats import FORMATS
from proxy.images.pixels.libvips import Libvips
from proxy.images.pixels.resampling import by_pillow
from proxy.images.pixels.vectors import Vectors, find_vectors


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGMIRROR_LOG", "info")


def examined(
    config: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code and the worst finding about each subject."""
    code = invoke("doctor", "--json", *words, config=config)
    findings = json.loads(capsys.readouterr().out)
    ranked = sorted(findings, key=lambda finding: ("ok", "note", "care").index(finding["level"]))
    return code, {finding["subject"]: finding for finding in ranked}


def test_good_installation_needs_no_care_and_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, findings = examined(write_config(tmp_path), capsys, "--offline")
    assert code == 0
    subjects = [*(one.label for one in FORMATS if one.written), "render process"]
    assert {findings[name]["level"] for name in subjects} == {"ok"}
    assert "DNS" not in findings
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("names", "code"), [({"images.test": [["192.0.2.1"]]}, 0), ({}, 1)])
def test_dns_is_asked_and_its_silence_is_a_finding(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    names: dict[str, Any],
    code: int,
) -> None:
    monkeypatch.setattr(network, "make_resolver", lambda: StubResolver(names))
    exit_code, findings = examined(write_config(tmp_path), capsys, "--host", "images.test")
    assert exit_code == code
    assert bool(findings["DNS"]["advice"]) == bool(code)


@pytest.mark.parametrize(
    ("url", "name", "level"),
    [
        ("https://bücher.example/img", "xn--bcher-kva.example", "ok"),
        ("https://图片.example", "xn--wcsw84d.example", "note"),
        ("https://img.example", "img.example", "note"),
    ],
)
def test_public_address_is_looked_up_under_the_name_that_articles_get(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    url: str, name: str, level: str,
) -> None:  # fmt: skip
    """A host that is not ASCII is shown in A-labels. One without an address is a note and no fault yet."""
    resolver = StubResolver({"example.com": [["192.0.2.1"]], "xn--bcher-kva.example": [["192.0.2.7"]]})
    monkeypatch.setattr(network, "make_resolver", lambda: resolver)
    code, findings = examined(write_config(tmp_path, {"server": {"public_url": url}}), capsys)
    told = findings["public address"]
    assert (code, told["level"]) == (0, level)
    assert resolver.asked[name] == 1
    assert told["found"].startswith(
        f"{name} has no address" if level == "note" else f"{name} has the address"
    )
    assert bool(told["advice"]) == (level == "note")


def test_public_address_in_a_labels_is_shown_without_a_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, {"server": {"public_url": "https://bücher.example/img"}})
    _, findings = examined(config, capsys, "--offline")
    shown = "https://bücher.example/img is written https://xn--bcher-kva.example/img in articles"
    assert findings["public address"] == {
        "level": "ok", "subject": "public address", "found": shown, "advice": "",
    }  # fmt: skip


@pytest.mark.parametrize("url", ["", "http://localhost:8080", "http://127.0.0.1"])
def test_address_of_this_machine_is_not_looked_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    resolver = StubResolver({"example.com": [["192.0.2.1"]]})
    monkeypatch.setattr(network, "make_resolver", lambda: resolver)
    _, findings = examined(write_config(tmp_path, {"server": {"public_url": url}}), capsys)
    assert "public address" not in findings
    assert set(resolver.asked) == {"example.com"}


def test_folder_of_somebody_else_needs_care(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.txt").write_text("mine")
    code, findings = examined(write_config(tmp_path), capsys, "--offline")
    assert (code, findings["store"]["level"]) == (1, "care")
    assert "store.dir" in findings["store"]["advice"]


def test_full_disk_needs_care(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, {"store": {"min_free": "900 TiB"}})
    code, findings = examined(config, capsys, "--offline")
    assert (code, findings["disk"]["level"]) == (1, "care")


def test_open_service_in_public_needs_care(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, {"server": {"host": "0.0.0.0"}})
    code, findings = examined(config, capsys, "--offline")
    assert (code, findings["configuration"]["level"]) == (1, "care")


def test_decoder_that_is_not_installed_needs_care_and_nothing_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong configuration for every command that renders; `auto` works without libvips."""
    absent = Libvips(problem="pyvips is not installed")
    monkeypatch.setattr("proxy.images.pixels.libvips.find_libvips", lambda: absent)
    (tmp_path / "a.md").write_text("nothing\n")
    config = write_config(tmp_path, {"render": {"decoder": "libvips"}})
    code, findings = examined(config, capsys, "--offline")
    assert (code, findings["decoder"]["level"]) == (1, "care")
    for command in (["serve", "--port", "0"], ["warm", str(tmp_path / "a.md")]):
        assert main([command[0], "--config", str(config), *command[1:]]) == 2
        assert "imgmirror[vips]" in capsys.readouterr().err
    assert invoke("warm", tmp_path / "a.md", config=write_config(tmp_path)) == 0


@pytest.mark.parametrize(
    ("found", "level", "words", "advice"),
    [
        (Libvips((8, 18, 7), bundled=True, installed=True), "ok", "libvips 8.18.7 (of the vips extra)", ""),
        (Libvips((8, 16, 0), installed=True), "ok", "libvips 8.16.0 (of the system)", ""),
        (Libvips(problem="pyvips is not installed"), "note", "Pillow", "imgmirror[vips]"),
        (Libvips(installed=True, problem="OSError: no libvips.so.42"), "care", "no libvips.so.42", "pyvips-binary"),
    ],
)  # fmt: skip
def test_decoder_is_named_with_its_version_and_a_broken_one_with_its_repair(
    found: Libvips, level: str, words: str, advice: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The advice never says to install something that is installed."""
    monkeypatch.setattr("proxy.services.checks.settings.find_libvips", lambda: found)
    _, findings = examined(write_config(tmp_path), capsys, "--offline")
    told = findings["decoder"]
    assert told["level"] == level
    assert words in told["found"]
    assert advice in told["advice"]


LIBVIPS = Libvips((8, 18, 7), bundled=True, installed=True)
NO_LIBVIPS = Libvips(problem="pyvips is not installed")
NO_VECTORS = Vectors(problem="cykooz-resizer is not installed")


@pytest.mark.parametrize(
    ("vectors", "libvips", "decoder", "told"),
    [
        (Vectors("4.0.1", installed=True), NO_LIBVIPS, "pillow", ("ok", "cykooz-resizer 4.0.1", "")),
        (NO_VECTORS, LIBVIPS, "auto", ("ok", "libvips 8.18.7", "")),
        (NO_VECTORS, LIBVIPS, "pillow", ("ok", "Pillow", "")),
        (NO_VECTORS, NO_LIBVIPS, "auto", ("note", "Pillow", "imgmirror[vips]")),
        (NO_VECTORS, Libvips(installed=True, problem="no libvips.so"), "auto", ("note", "Pillow", "pyvips-binary")),
        (Vectors(installed=True, problem="no AVX"), LIBVIPS, "auto", ("care", "no AVX", "cykooz-resizer")),
    ],
)  # fmt: skip
def test_resampler_in_use_is_named_with_what_would_be_faster(
    vectors: Vectors, libvips: Libvips, decoder: str, told: tuple[str, str, str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Render processes resize with fast_image_resize, else with libvips if it decodes, else with Pillow."""
    monkeypatch.setattr("proxy.services.checks.settings.find_libvips", lambda: libvips)
    monkeypatch.setattr("proxy.services.checks.settings.find_vectors", lambda: vectors)
    _, findings = examined(write_config(tmp_path, {"render": {"decoder": decoder}}), capsys, "--offline")
    finding = findings["resampler"]
    level, words, advice = told
    assert finding["level"] == level
    assert words in finding["found"]
    assert advice in finding["advice"]


def test_resampler_of_this_machine_is_the_one_that_render_processes_load() -> None:
    """Both look for the same module, installed or not."""
    falls_back = decoder_for("pillow").resample is by_pillow
    assert falls_back == bool(find_vectors().problem)


def test_kept_store_is_opened_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path)
    (tmp_path / "a.md").write_text("nothing\n")
    invoke("warm", tmp_path / "a.md", config=config)
    capsys.readouterr()
    code, findings = examined(config, capsys, "--offline")
    assert code == 0
    assert "0 originals" in findings["store"]["found"]


@pytest.mark.parametrize(("token", "code"), [("a short token", 1), ("0123456789abcdef", 0)])
def test_token_that_can_be_guessed_needs_care(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], token: str, code: int
) -> None:
    """The finding names no part of the token."""
    config = write_config(tmp_path, {"server": {"admin_token": token}})
    found, findings = examined(config, capsys, "--offline")
    assert found == code
    assert ("fewer than 16 characters" in findings.get("administration", {"found": ""})["found"]) == bool(
        code
    )
    assert token not in str(findings)


def test_findings_are_lines_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke("doctor", "--offline", config=write_config(tmp_path)) == 0
    out = capsys.readouterr().out
    assert "ok   AVIF: can be written and read" in out
    assert out.rstrip().endswith("no problems found")


def test_dialect_keys_and_hosts_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which addresses are closed, what that does not close, and a host name that is given away by mistake."""
    config = write_config(
        tmp_path,
        {
            "server": {"host": "0.0.0.0", "public_url": "https://img.example.org"},
            "sources": {"open_to_world": True},
            "dialects": {"thumbor": {"keys": ["a", "b"]}},
        },
    )
    config.write_text(config.read_text() + '[hosts]\n"IMG.example.org" = "ipx"\n')
    code, findings = examined(config, capsys, "--offline")
    assert code == 1
    assert findings["dialect keys"]["level"] == "note"
    assert "as open as without them" in findings["dialect keys"]["found"]
    assert findings["hosts"]["level"] == "care"
    assert "given to ipx" in findings["hosts"]["found"]


def test_missing_library_of_telemetry_needs_care_and_nothing_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    config = write_config(tmp_path, {"telemetry": {"otlp": True}})
    code, found = examined(config, capsys, "--offline")
    assert (code, found["telemetry"]["level"]) == (1, "care")
    assert "install imgmirror[otel]" in found["telemetry"]["found"]
    assert invoke("serve", config=config) == 2
    assert "install imgmirror[otel]" in capsys.readouterr().err


def test_what_is_sent_to_a_collector_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "CI" not in os.environ:
        pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")
    config = write_config(tmp_path, {"telemetry": {"otlp": True}})
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    _, found = examined(config, capsys, "--offline")
    assert found["telemetry"]["level"] == "ok"
    assert found["telemetry"]["found"].startswith("traces over OTLP")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert examined(config, capsys, "--offline")[0] == 1
