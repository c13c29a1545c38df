"""Sources against the WHATWG URL tests: hosts, ports and paths are read as browsers read them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import RequestError
from proxy.source import Source

URLS = Path(__file__).parents[2].parent / "shared" / "corpus" / "urls"
pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not URLS.is_dir(), reason="the corpus is not beside the project"),
]

HTTP = re.compile(r"[\0-\x20]*h\s*t\s*t\s*p\s*s?\s*:", re.IGNORECASE)
KEPT_AS_WRITTEN = re.compile(r"%(20|22|27|3C|3E|5E|60|7B|7C|7D)")
USERINFO = re.compile(r"(https?:)?[/\\\\]*[^/\\\\?#]*@", re.IGNORECASE)
REPAIRED = re.compile(r"[\0-\x20]*https?:/?(?![/\\])", re.IGNORECASE)
"""`http:/host` is a folded double slash here; browsers read it relative to a page of the same scheme."""


def cases() -> list[dict[str, Any]]:
    """Return the cases about http(s) addresses, alone or as a Location of an http(s) address."""
    if not URLS.is_dir():
        return []
    found = json.loads((URLS / "urltestdata.json").read_bytes())
    return [case for case in found if isinstance(case, dict) and _concerns_us(case)]


def _concerns_us(case: dict[str, Any]) -> bool:
    base = case.get("base")
    if base is None:
        return HTTP.match(case["input"]) is not None
    # A base with userinfo is no source, so nothing can be joined with it.
    return base.startswith("http") and "@" not in base and not REPAIRED.match(case["input"])


def expected(case: dict[str, Any]) -> str | None:
    """Return the canonical URL of a case, or None where a refusal is due."""
    readable = not case.get("failure") and case["href"].startswith("http")
    # Userinfo and port 0 are refused by contract, an empty userinfo included.
    if not readable or USERINFO.match(case["input"]) or case["port"] == "0":
        return None
    return _as_we_write_it(str(case["href"]).partition("#")[0])


def got(case: dict[str, Any]) -> str | None:
    """Return what the project makes of a case."""
    try:
        if case.get("base") is None:
            return _as_we_write_it(Source.parse(case["input"]).url)
        return _as_we_write_it(Source.parse(case["base"]).join(case["input"]).url)
    except RequestError:
        return None


def _as_we_write_it(url: str) -> str:
    # Browsers escape quotes, brackets and the like; here only what cannot stand in a request line.
    return KEPT_AS_WRITTEN.sub(lambda match: chr(int(match[1], 16)), url).replace(" ", "%20")


def test_source_of_the_whatwg_tests_is_what_browsers_read() -> None:
    """Every case gives the same URL or a refusal. The list above names all differences."""
    tried = cases()
    assert len(tried) > 400
    differing = [(case["input"], expected(case), got(case)) for case in tried if expected(case) != got(case)]
    assert differing == []


@pytest.mark.parametrize("name", ["toascii.json", "IdnaTestV2.json"])
def test_source_of_any_host_of_the_idna_tests_parses_or_is_refused(name: str) -> None:
    """Thousands of hosts in all scripts: none leads to anything but a source or a refusal."""
    hosts = [case["input"] for case in json.loads((URLS / name).read_bytes()) if isinstance(case, dict)]
    assert hosts
    for host in hosts:
        try:
            source = Source.parse(f"http://{host}/")
        except RequestError:
            continue
        assert Source.parse(source.url) == source


def test_source_host_of_the_ascii_tests_is_the_one_of_the_standard() -> None:
    """Where the standard gives an ASCII form that DNS can carry, it is the host of the source."""
    cases = [case for case in json.loads((URLS / "toascii.json").read_bytes()) if isinstance(case, dict)]
    for case in cases:
        if not case["output"] or len(case["output"]) > 255:
            continue
        assert Source.parse(f"http://{case['input']}/").host == case["output"], case
