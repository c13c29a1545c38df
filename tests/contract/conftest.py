"""What the contracts of the seams share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nodes import IMPLEMENTATIONS, Nodes, OpenNodes


@pytest.fixture(params=IMPLEMENTATIONS)
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Nodes]:
    """The nodes of a new store of each kind."""
    opened: OpenNodes = request.param
    async with opened(tmp_path / "store") as node:
        nodes = Nodes(node)
        yield nodes
        nodes.close()
