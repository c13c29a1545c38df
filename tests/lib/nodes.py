"""Opens the nodes of a store, for the contract of its seams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from memory_seams import MemorySeams

from cache.across.file_seams import FileSeams
from cache.across.seams import Blobs, FailureMemory, KeyExclusion, RunningCounts, Stamps, StoreSeams
from cache.base.durable import Durable
from cache.base.layout import Layout
from cache.base.threads import StoreThreads
from cache.originals.refs import Refs

OpenNode = Callable[[], StoreSeams]
"""Returns another node of one store."""

OpenNodes = Callable[[Path], AbstractAsyncContextManager[OpenNode]]


@asynccontextmanager
async def file_nodes(folder: Path, kind: type[FileSeams] = FileSeams) -> AsyncIterator[OpenNode]:
    """Files of one machine, or another kind of store in a folder."""
    threads, layout = StoreThreads("nodes"), Layout(folder)
    layout.incoming.mkdir(parents=True, exist_ok=True)
    durable = Durable(layout.incoming)
    yield lambda: kind(layout, durable, Refs(layout, durable), threads)
    await threads.close()


@asynccontextmanager
async def memory_nodes(_folder: Path) -> AsyncIterator[OpenNode]:
    """Dictionaries of this process."""
    store = MemorySeams()
    yield lambda: store


IMPLEMENTATIONS: tuple[OpenNodes, ...] = (file_nodes, memory_nodes)
SHARED_BY_PROCESSES: tuple[OpenNodes, ...] = (file_nodes,)
"""The implementations whose nodes may be in several processes."""


class Nodes:
    """The nodes of one store. Each call opens another node."""

    def __init__(self, open_node: OpenNode) -> None:
        self._open = open_node
        self._opened: list[StoreSeams] = []

    def node(self) -> StoreSeams:
        """Open a node."""
        self._opened.append(self._open())
        return self._opened[-1]

    def blobs(self) -> Blobs:
        return self.node().bodies

    def exclusion(self) -> KeyExclusion:
        return self.node().exclusion

    def stamps(self) -> Stamps:
        return self.node().stamps

    def failures(self) -> FailureMemory:
        return self.node().failures

    def counts(self) -> RunningCounts:
        return self.node().counts

    def close(self) -> None:
        for node in self._opened:
            node.close()
