"""The root element of a body that may be an XML document, wherever it begins. Runs on the event loop.

The first bytes tell for nearly all bodies; only a document with a long prolog is read on, by a thread.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from proxy.images.files.probe import root_of_file
from proxy.prolog import RootFinder


async def root_of_body(head: bytes, path: Path) -> str:
    """Return the name of the root element of the body at `path` that begins with `head`; empty without one."""
    finder = RootFinder()
    finder.feed(head)
    return await asyncio.to_thread(root_of_file, path) if finder.searching else finder.root
