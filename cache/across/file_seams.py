"""What the processes of a store share, as files of one machine. Blocking, some system calls.

Puts the parts together that stand behind `cache.across.seams`. Refuses to know what is kept.
"""

from __future__ import annotations

from cache.across.failures import Failures
from cache.across.file_blobs import FileBlobs
from cache.across.file_locks import KeyLocks
from cache.across.generations import Generations
from cache.across.seams import UserLists
from cache.across.usage import Usage
from cache.base.durable import Durable
from cache.base.layout import Layout
from cache.base.threads import StoreThreads


class FileSeams:
    """The seams of a store in a folder. Nothing is made in it before it is needed, but with `make` the stamps."""

    def __init__(
        self, layout: Layout, durable: Durable, users: UserLists, threads: StoreThreads, *, make: bool = True
    ) -> None:
        root = layout.root
        self.entries = FileBlobs(layout.entry, durable)
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
