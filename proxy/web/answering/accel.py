"""Hands files over to the web server in front of us, which sends them (`server.accel`). Event loop.

The answer holds our headers and, in place of a body, a header that names the file. nginx reads `X-Accel-Redirect`, an
address below `MOUNT` that its configuration maps to the store's folders and shows to no client. Other servers read
`X-Sendfile`, the path itself.

The header goes only to our own web server: to this machine and to `server.trusted_proxies`. A client that connects
directly gets the bytes. We evaluate conditions and refuse impossible ranges; the server in front cuts valid ranges.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from urllib.parse import quote_from_bytes

from aiohttp import web

from cache.base.opening import LocalFile
from cache.base.page_cache import KeptFile
from cache.durable_tier import Originals
from proxy.config import ServerConfig
from proxy.services.serving.athand import AtHand
from proxy.services.serving.values import Obtained
from proxy.web.connections.clients import is_in_front

MOUNT = "/_imgmirror/"
"""The address below which nginx finds the folders `variants` and `bodies`."""

REFUSAL = "X-Imgmirror-Accel"
"""A request with this header and the value `off` gets bytes: the server in front did not find the file we named."""


class HandOver:
    """Decides which requests get files, and names the files.

    originals: answers of originals whose files were found before.
    """

    def __init__(
        self, config: ServerConfig, kept: Originals, variants_folder: LocalFile, *, now: Callable[[], float]
    ) -> None:
        self._kept = kept
        self._folders = {
            b"variants": os.fsencode(variants_folder),
            b"bodies": os.fsencode(kept.files.folder),
        }
        self.originals = AtHand(kept.files, stamp_of=kept.generations.stamp, now=now)
        self.reconfigure(config)

    def reconfigure(self, config: ServerConfig) -> None:
        """Apply a new `server.accel` and new trusted proxies."""
        self._accel = config.accel
        self._trusted = config.trusted_proxies

    def takes(self, request: web.BaseRequest) -> bool:
        """Return whether the sender of this request can be handed a file."""
        if not self._accel or request.headers.get(REFUSAL) == "off" or _needs_bytes(request):
            return False
        return is_in_front(request.remote, self._trusted)

    def header(self, file: KeptFile) -> tuple[str, str] | None:
        """Return the name and the value of the header that hands a file over.

        Return None when the file lies outside the folders that the server in front knows.
        """
        if self._accel == "sendfile":
            return "X-Sendfile", quote_from_bytes(file.path)
        for name, folder in self._folders.items():
            if file.path.startswith(folder + b"/"):
                return "X-Accel-Redirect", MOUNT + quote_from_bytes(name + file.path[len(folder) :])
        return None

    async def body_file(self, obtained: Obtained) -> KeptFile | None:
        """Return the file of an original, or None when the store does not hold its bytes in a file.

        Call this before the body is compared with its digest. A later change of the file then changes its state too.
        """
        if obtained.body is not None or obtained.ending is not None or obtained.is_corrupt:
            return None
        return await self._kept.files.found(obtained.entry.body_sha256)


def _needs_bytes(request: web.BaseRequest) -> bool:
    """Return whether the server in front would answer this request wrongly from a file.

    It compares `If-Match` and `If-Unmodified-Since` with a file that has no entity tag and a modification time of its
    own, and answers 412. It also cuts ranges out of answers to HEAD, which only GET may ask for (RFC 9110 §14.2).
    """
    given = request.headers
    has_condition = "If-Match" in given or "If-Unmodified-Since" in given
    return has_condition or (request.method == "HEAD" and "Range" in given)
