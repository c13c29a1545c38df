"""The errors of the stores. `cache` is a leaf: it knows nothing of HTTP statuses or of `proxy`.

CacheError
├── StoreRefused      the folder does not belong to us
├── StoreUnreadable   the folder of originals cannot be read at all
├── StoreBusy         a lock of the store is not released
├── NotKept           this original was not kept; everything kept before is untouched
│   ├── StoreFull         no room
│   ├── StoreUnwritable   the disk refused
│   │   └── StoreHangs        the disk does not answer; the operation may still be completed
│   ├── SourceBlocked     a purge has blocked the source
│   └── Superseded        it was purged or replaced in the meantime
├── BlobChanged       a blob is not in the state in which a writer knows it
├── EntryUnreadable   the text of an entry file is invalid
├── PickleRefused     a value or row would need pickle
└── FlightClosed      the service is shutting down
"""

from __future__ import annotations


class CacheError(Exception):
    """Base of all errors of the stores."""


class StoreRefused(CacheError):
    """The folder does not belong to us: it holds code, or foreign files without our marker."""


class StoreUnreadable(CacheError):
    """The folder of originals cannot be read at all."""


class StoreBusy(CacheError):
    """Something else holds a lock of the store for longer than any work of ours takes."""


class NotKept(CacheError):
    """This original was not kept. Nothing kept before was changed or deleted."""


class StoreFull(NotKept):
    """`min_free` or `originals_max_bytes` is reached. Nothing is deleted, and nothing new is kept."""


class StoreUnwritable(NotKept):
    """The disk refused a write, an fsync or a rename."""


class StoreHangs(StoreUnwritable):
    """The disk does not answer. The operation may still be completed later."""

    def __init__(self) -> None:
        super().__init__("the disk does not answer")


class SourceBlocked(NotKept):
    """The source was purged with a block while it was fetched."""


class Superseded(NotKept):
    """The entry to update was purged, or has other bytes by now."""


class BlobChanged(CacheError):
    """A blob is not in the state in which a writer knows it. Nothing was changed."""


class EntryUnreadable(CacheError):
    """The text is not an entry."""


class PickleRefused(CacheError):
    """A value or row would need pickle; diskcache would run code from it (CVE-2025-69872)."""


class FlightClosed(CacheError):
    """The service is shutting down, so no new work begins."""
