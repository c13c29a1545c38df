"""The state shared by the processes of a store, as files of one machine. Blocking, some system calls.

Connects the classes that implement `cache.across.seams`. Knows nothing of the contents of the store.
"""

from __future__ import annotations

from cache.across.failures import Failures
from cache.across.file_blobs import FileBlobs
from cache.across.file_locks import KeyLocks
from cache.across.generations import Generations
from cache.across.noted_blobs import NoNotes, NotedBlobs
from cache.across.seams import ChangeNotes, UserLists
from cache.across.usage import Usage
from cache.base.durable import Durable
from cache.base.layout import Layout
from cache.base.threads import StoreThreads


class FileSeams:
    """The seams of a store in a folder. Nothing is created before it is needed, except the stamps if `make` is true."""

    def __init__(  # noqa: PLR0913 - what the seams of a folder are made of
        self,
        layout: Layout,
        durable: Durable,
        users: UserLists,
        threads: StoreThreads,
        *,
        notes: ChangeNotes | None = None,
        make: bool = True,
    ) -> None:
        root = layout.root
        self.entries = NotedBlobs(FileBlobs(layout.entry, durable), notes or NoNotes(), "entry")
        self.bodies = FileBlobs(layout.body, durable)
        self.users = users
        self.exclusion = KeyLocks(root / "locks")
        self.stamps = Generations(root / "generations", aside=layout.incoming, make=make, modes=layout.modes)
        self.failures = Failures(root / "failures", threads, layout.modes)
        self.overloads = Failures(root / "overloads", threads, layout.modes)
        self.counts = Usage(root / "usage")

    def close(self) -> None:
        """Unmap the stamps, close the lock file."""
        self.stamps.close()
        self.exclusion.close()
