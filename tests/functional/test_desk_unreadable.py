"""The page and the resource of a picture whose entry file cannot be read, whatever lies in its place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from desk import TOKEN, DeskVisitor, signed_in
from keeping import keep
from service import Service, write_config

from cache.base.keys import source_key
from cache.durable_tier import Originals

BEARER = {"Authorization": f"Bearer {TOKEN}"}
SOURCE = "http://127.0.0.1:1/a.png"
DAMAGES = ["garbage", "another", "too long", "not ours", "folder", "link", "pipe"]


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    """The list of files that the service has no right to open."""
    path = tmp_path / "refused"
    path.write_text("")
    return path


@pytest.fixture
def service(tmp_path: Path, refused: Path) -> Iterator[Service]:
    program = (str(Path(__file__).parents[1] / "lib/refusing_service.py"), str(refused))
    config = write_config(tmp_path, {"server": {"admin_token": TOKEN}})
    with Service(config, program=program) as found:
        yield found
        assert "Traceback" not in found.log(), found.log()
        assert "internal" not in found.log()


@pytest.fixture
async def owner(http: aiohttp.ClientSession, service: Service) -> DeskVisitor:
    return await signed_in(http, service.base)


async def entry_of(store: Path) -> Path:
    """Keep the source and an article that shows it; return the file of its entry."""
    kept = await Originals.open(store)
    await keep(kept, SOURCE, b"bytes")
    await kept.articles.record("post.md", [SOURCE])
    await kept.close()
    key = source_key(SOURCE)
    return store / "entries" / key[:2] / f"{key}.json"


def damage(path: Path, kind: str, refused: Path) -> None:
    if kind == "not ours":
        refused.write_text(f"{path}\n")
    elif kind == "another":
        path.write_bytes(path.read_bytes().replace(b"a.png", b"b.png"))
    elif kind in ("garbage", "too long"):
        path.write_bytes(b"\0{" if kind == "garbage" else b" " * (64 << 20))
    else:
        path.unlink()
        make: dict[str, Callable[[Path], None]] = {
            "folder": Path.mkdir,
            "link": lambda place: place.symlink_to(place),
            "pipe": os.mkfifo,
        }
        make[kind](path)


@pytest.mark.parametrize("kind", DAMAGES)
async def test_picture_whose_entry_cannot_be_read_has_a_page_that_says_so(
    owner: DeskVisitor, tmp_path: Path, refused: Path, kind: str
) -> None:
    """The articles and the actions are there; no variant and no version is claimed."""
    path = await entry_of(tmp_path / "store")
    damage(path, kind, refused)
    query = f"?source={quote(SOURCE, safe='')}"
    answer = await owner.open(f"/desk/picture{query}")
    text = answer.body.decode()
    assert answer.status == 200, text
    assert "Unreadable" in text
    assert "post.md" in text
    told: dict[str, Any] = {}
    for name in ("", "/variants", "/explain"):
        answer = await owner.client.get(f"/api/v1/picture{name}{query}", headers=BEARER)
        assert answer.status == 200, answer.body
        told[name] = json.loads(answer.body)
    assert (told[""]["state"], told[""]["versions"], told[""]["entry"]) == ("unreadable", [], None)
    assert told["/variants"]["variants"] == []
    assert path.is_symlink() or path.exists()


async def test_picture_that_was_never_kept_is_not_called_unreadable(owner: DeskVisitor) -> None:
    query = f"?source={quote(SOURCE, safe='')}"
    answer = await owner.client.get(f"/api/v1/picture{query}", headers=BEARER)
    assert json.loads(answer.body)["state"] == "absent"
    assert b"Unreadable" not in (await owner.open(f"/desk/picture{query}")).body
