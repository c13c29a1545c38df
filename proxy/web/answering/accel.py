"""Files handed over to the web server in front, which sends them (`server.accel`). Event loop.

The answer holds our headers and, in place of a body, a header that names the file. nginx reads `X-Accel-Redirect`: an
address below `MOUNT` that its configuration maps to the store's folders and shows to no client. Other servers read
`X-Sendfile`: the path itself.

The header goes to our own web server only: to this machine and to `server.trusted_proxies`. A client that comes
directly gets the bytes. Conditions and impossible ranges are decided here; what remains is for that server to cut.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_from_bytes

from aiohttp import web

from cache.base.opening import regular_status
from cache.base.page_cache import FileState, KeptFile, PageCache
from cache.durable_tier import Originals
from proxy.config import ServerConfig
from proxy.services.serving.athand import AtHand
from proxy.services.serving.values import Obtained
from proxy.web.connections.clients import is_in_front

MOUNT = "/_imgmirror/"
"""Below this nginx finds the folders `variants` and `bodies`."""

REFUSAL = "X-Imgmirror-Accel"
"""A request with this header, `off`, gets bytes: the server in front did not find the file that it was named."""


class HandOver:
    """Which requests get files, and how these are named.

    originals: answers of originals whose files were found before.
    """

    def __init__(
        self, config: ServerConfig, kept: Originals, variants_folder: Path, *, now: Callable[[], float]
    ) -> None:
        self._kept = kept
        self._folders = {
            b"variants": os.fsencode(variants_folder.absolute()),
            b"bodies": os.fsencode(kept.body_path("0" * 64).parents[1].absolute()),
        }
        self.originals = AtHand(_BodyFiles(), stamp_of=kept.generations.stamp, now=now)
        self.reconfigure(config)

    def reconfigure(self, config: ServerConfig) -> None:
        """Take another setting and other proxies."""
        self._accel = config.accel
        self._trusted = config.trusted_proxies

    def takes(self, request: web.BaseRequest) -> bool:
        """Tell whether whoever sent this request can be handed a file."""
        if not self._accel or request.headers.get(REFUSAL) == "off" or _needs_bytes(request):
            return False
        return is_in_front(request.remote, self._trusted)

    def header(self, file: KeptFile) -> tuple[str, str] | None:
        """Return the name and the value of the header that hands a file over; None when it has no name in front."""
        if self._accel == "sendfile":
            return "X-Sendfile", quote_from_bytes(file.path)
        for name, folder in self._folders.items():
            if file.path.startswith(folder + b"/"):
                return "X-Accel-Redirect", MOUNT + quote_from_bytes(name + file.path[len(folder) :])
        return None

    async def body_file(self, obtained: Obtained) -> KeptFile | None:
        """Return the file of an original; None when its bytes do not lie at their place.

        To be asked before the body is compared with its digest: what is altered after that has another state.
        """
        if obtained.body is not None or obtained.ending is not None or obtained.is_corrupt:
            return None
        sha256 = obtained.entry.body_sha256
        path = self._kept.body_path(sha256).absolute()
        try:
            status = await asyncio.to_thread(regular_status, path)
        except OSError:
            return None
        return KeptFile(sha256, os.fsencode(path), FileState.of(status)) if status else None


def _needs_bytes(request: web.BaseRequest) -> bool:
    """Tell whether the server in front would judge a request by the file, as we do not.

    It compares these conditions with a file that has no entity tag and a time of its own, and answers 412. It cuts
    ranges out of answers to HEAD (RFC 9110 §14.2: to GET only).
    """
    given = request.headers
    has_condition = "If-Match" in given or "If-Unmodified-Since" in given
    return has_condition or (request.method == "HEAD" and "Range" in given)


class _BodyFiles:
    """Bodies of originals by their files."""

    def __init__(self) -> None:
        self._page_cache = PageCache()

    def read_at_hand(self, file: KeptFile) -> bytes | None:
        """Return the bytes of a body when that takes no wait."""
        return self._page_cache.read(file.path, file.state)

    def is_at_hand(self, file: KeptFile) -> bool:
        """Tell whether a body is as it was found, when that takes no wait."""
        return self._page_cache.holds(file.path, file.state)
