"""The store remembers a bounded number of things in memory, however many sources and bodies it meets."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cache.across.file_blobs import FileBlobs
from cache.base import durable
from cache.base.durable import Durable
from cache.base.layout import Layout
from cache.originals import bodies
from cache.originals.bodies import Bodies


def test_bodies_that_were_compared_are_forgotten_in_the_order_of_their_last_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MAX_LOOKED_AT", 4)
    layout = Layout(tmp_path)
    digests = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(10)]
    for number, sha256 in enumerate(digests):
        layout.body(sha256).parent.mkdir(parents=True, exist_ok=True)
        layout.body(sha256).write_bytes(b"%d" % number)
    blobs = FileBlobs(layout.body, Durable(layout.incoming))
    known = Bodies(blobs, lambda _sha256, _condition: None)
    for sha256 in digests:
        assert known.condition(digests[0]).is_sound
        assert known.condition(sha256).is_sound
    assert set(known._known) == {digests[0], *digests[-3:]}


def test_folders_that_last_are_remembered_up_to_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each long list of users has a folder of its own, and there may be any number of them."""
    monkeypatch.setattr(durable, "MAX_FOLDERS", 4)
    files = Durable(tmp_path / "incoming")
    for number in range(20):
        files.write(tmp_path / f"folder {number}" / "file", b"x")
        files.settle(tmp_path / f"folder {number}")
        assert len(files._lasting) <= 4
        assert len(files._settled) <= 4
    assert all((tmp_path / f"folder {number}" / "file").read_bytes() == b"x" for number in range(20))
