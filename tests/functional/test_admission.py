"""Who is served what: presets off loopback, signatures, manifest, allow and deny, listening in the open."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

from proxy.signing import Signer
from proxy.source import Source

KEY = "a-key-of-more-than-sixteen-characters"


async def test_off_loopback_and_unsigned_only_presets_are_rendered(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """An allowed picture asked for in 500 widths: source_not_allowed, and no fetch for it.

    But for the presets and the widths that articles may have.
    """
    origin.serve("/a.png", chart_png(60, 40))
    config = write_config(tmp_path, {"server": {"host": "0.0.0.0"}, "sources": {"allow": ["127.0.0.1"]}})
    with Service(config) as service:
        client = Client(http, service.base)
        for width in set(range(1, 501)) - {320, 480}:
            answer = await client.get(f"/image/width={width}/" + origin.url("/a.png"))
            assert (answer.status, answer.code) == (403, "source_not_allowed")
        assert (
            await client.get("/image/headimg,width=700/" + origin.url("/a.png"))
        ).code == "source_not_allowed"
        assert origin.count() == 0
        for preset in ("headimg", "thumbnail", "content", "original", "width=320", "headimg,width=480"):
            assert (await client.get(f"/image/{preset}/" + origin.url("/a.png"))).status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_open_service_on_a_public_address_is_refused(tmp_path: Path, host: str) -> None:
    config = write_config(tmp_path, {"server": {"host": host}})
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "serve", "--config", str(config), "--port", "0"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "open_to_world" in done.stderr


async def test_signed_service_answers_signed_addresses_only(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    origin.serve("/a.png", chart_png(60, 40))
    url = origin.url("/a.png")
    signer = Signer((KEY,))
    config = write_config(tmp_path, {"sources": {"keys": ["another-key-of-sixteen-chars", KEY]}})
    with Service(config) as service:
        client = Client(http, service.base)

        async def code(options: str) -> str | int:
            answer = await client.get(f"/image/{options}/{url}")
            return answer.code or answer.status

        past, future = int(time.time()) - 10, int(time.time()) + 1000
        good = signer.sign("width=30", url)
        assert await code("width=30") == "signature_missing"
        assert await code("original") == "signature_missing"
        assert await code(f"width=30,sig={good}") == 200
        assert await code(f"w=30,format=auto,sig={good}") == 200, "the canonical options are signed"
        assert await code(f"width=31,sig={good}") == "signature_mismatch"
        assert await code(f"width=30,sig={good},exp={future}") == "signature_mismatch"
        assert await code(f"width=30,sig={signer.sign('width=30', url, exp=future)},exp={future}") == 200
        assert (
            await code(f"width=30,sig={signer.sign('width=30', url, exp=past)},exp={past}")
            == "signature_expired"
        )
        assert await code("original,sig=" + signer.sign("original", url)) == 200
        assert (await client.get("/?" + url)).code == "source_not_allowed"


async def test_signed_address_holds_behind_a_server_that_escapes_it(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Caddy escapes `|` and others; one original is fetched. Signatures over the raw spelling hold too."""
    origin.serve("/a%7Cb%5E%60.png", chart_png(60, 40))
    raw, escaped = origin.url("/a|b^`.png"), origin.url("/a%7Cb%5E%60.png")
    signer = Signer((KEY,))
    with Service(write_config(tmp_path, {"sources": {"keys": [KEY]}})) as service:
        client = Client(http, service.base)
        for signed in (Source.parse(raw).url, raw):
            for asked in (raw, escaped):
                answer = await client.get(f"/image/original,sig={signer.sign('original', signed)}/{asked}")
                assert answer.status == 200
    assert origin.count() == 1


async def test_manifest_admits_what_it_names(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    for path in ("/in.png", "/out.png"):
        origin.serve(path, chart_png(20, 20))
    (tmp_path / "manifest.txt").write_text(f"# ours\n{origin.url('/in.png')}\n")
    with Service(
        write_config(tmp_path, {"sources": {"manifest": str(tmp_path / "manifest.txt")}})
    ) as service:
        client = Client(http, service.base)
        assert (await client.get("/?" + origin.url("/in.png"))).status == 200
        assert (await client.get("/?" + origin.url("/out.png"))).code == "source_not_allowed"


async def test_redirect_is_followed_only_to_where_the_policy_allows(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    origin.serve("/good/a.png", chart_png(20, 20))
    origin.serve("/bad/a.png", chart_png(20, 20))
    origin.redirect("/good/to-good", "/good/a.png")
    origin.redirect("/good/to-bad", "/bad/a.png")
    config = write_config(tmp_path, {"sources": {"allow": [origin.url("/good/")]}})
    with Service(config) as service:
        client = Client(http, service.base)
        assert (await client.get("/?" + origin.url("/good/to-good"))).status == 200
        assert (await client.get("/?" + origin.url("/good/to-bad"))).code == "source_not_allowed"
        assert (await client.get("/?" + origin.url("/good/../bad/a.png"))).code == "source_not_allowed"
        assert origin.count("/bad/a.png") == 0
