"""Fixtures of the contracts: the nodes of a store, and a store with a whole catalogue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nodes import IMPLEMENTATIONS, Nodes, OpenNodes

from cache.durable_tier import Originals


@pytest.fixture(params=IMPLEMENTATIONS)
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Nodes]:
    """The nodes of a new store of each kind."""
    opened: OpenNodes = request.param
    async with opened(tmp_path / "store") as node:
        nodes = Nodes(node)
        yield nodes
        nodes.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
async def store(folder: Path) -> AsyncIterator[Originals]:
    """A store with a whole catalogue."""
    opened = await Originals.open(folder)
    await opened.catalogue.catch_up()
    yield opened
    await opened.close()
