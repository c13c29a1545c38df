"""Looks up kept originals for a command. The first look-up opens the store on its own event loop. Blocking."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING

from cache.base.layout import MARKER
from proxy.config import Config
from proxy.rewrite.base.kept import Kept, Known, Wanted, nothing_kept
from proxy.source import Source

if TYPE_CHECKING:
    from proxy.services.articles.keptpictures import KeptPictures


class StoreLookUp:
    """Looks up each source once; may be called from any thread. Without a store nothing is found or created."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._known: dict[Source, Kept | None] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._pictures: KeptPictures | None = None

    def __enter__(self) -> StoreLookUp:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._thread is not None and self._loop is not None and self._done is not None:
            self._loop.call_soon_threadsafe(self._done.set)
            self._thread.join()

    def __call__(self, asked: Iterable[Wanted]) -> Known:
        """Return the facts of the given sources.

        Raises:
            CacheError, ConfigError, OSError: the store cannot be used.
        """
        wanted = list(asked)
        with self._lock:
            new = [item for item in wanted if item[0] not in self._known]
            self._known.update(self._looked_up(new) if new else {})
            return {item[0]: self._known[item[0]] for item in wanted}

    def _looked_up(self, wanted: list[Wanted]) -> Known:
        if not (self._config.store.dir / MARKER).is_file():
            return nothing_kept(wanted)
        if self._thread is None:
            ready: Future[None] = Future()
            # A daemon thread, so that a busy store cannot keep the command from ending.
            self._thread = threading.Thread(
                target=lambda: asyncio.run(self._serve(ready)), name="store", daemon=True
            )
            self._thread.start()
            ready.result()
        if self._loop is None or self._pictures is None:
            raise OSError("the store could not be opened")
        return asyncio.run_coroutine_threadsafe(self._pictures.look_up(wanted), self._loop).result()

    async def _serve(self, ready: Future[None]) -> None:
        # Most runs look nothing up, and importing the service doubles a command's start time.
        from proxy.app import open_engine  # noqa: PLC0415 - see above

        try:
            async with open_engine(self._config, tidy=False) as engine:
                self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
                self._pictures = engine.pictures
                ready.set_result(None)
                await self._done.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)
