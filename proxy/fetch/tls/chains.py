"""Holds the TLS contexts for origins, and completes certificate chains that come without their intermediates. Event
loop.

Browsers show the pictures of such origins, because a certificate names an address of its issuer's certificate. A
certificate from there is never trusted by itself. OpenSSL verifies the whole chain, up to an authority of the system,
in a new handshake (docs/decisions/0020-incomplete-chains.md). HTTP, connections and policy are left to `Means`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from proxy.errors import MirrorError, SourceUnreachable
from proxy.fetch.failures import lacks_issuer
from proxy.fetch.tls.contexts import LookingObject, know_intermediates, look_unverified

log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024
"""Longest answer that is read. A certificate has about two thousand bytes; PKCS#7 may contain several."""
MAX_INTERMEDIATES = 3
MAX_ASKED = 3
"""How many addresses are asked to complete one chain, even if its certificates name more."""
MEMORY_SECONDS = 86_400.0
MAX_ADDRESSES = 256
MAX_CONTEXTS = 16
"""How many contexts are kept. Each holds the authorities of the system, 0.8 MiB. Most origins share intermediates."""
MAX_ORIGINS = 4096

Chain = tuple[bytes, ...]
"""Intermediates in DER, beginning with the issuer of the origin's certificate."""

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Means:
    """Functions that ask an origin and the addresses in its certificates. Both raise `MirrorError`.

    look: shakes hands with the origin under a context that sends nothing; returns the certificate in DER.
    read: returns the content of an address, at most `MAX_BYTES`. timeout_seconds: the limit on the whole search.
    """

    look: Callable[[ssl.SSLContext], Awaitable[bytes]]
    read: Callable[[str], Awaitable[bytes]]
    timeout_seconds: float


class Chains:
    """The chains of origins that send incomplete ones. `make_context` returns a new context; it runs in a thread.

    To complete the chain of an origin:

    1. Look at its certificate without verifying it. If there is no answer, give up.
    2. Find the issuer of the last certificate: a known one, else one at the addresses in that certificate. Give up if
       there is none, if it is self-signed or not the issuer, or if there are too many. No address is asked twice, so
       circles end here.
    3. Verify the chain in a handshake under a new context that knows the intermediates. If it is valid, remember it. If
       an issuer is still missing, go to step 2. If anything else is wrong (name, time, signature), give up.

    `clock` gives seconds that never go back.
    """

    def __init__(
        self, make_context: Callable[[], ssl.SSLContext], *, clock: Callable[[], float] | None = None
    ) -> None:
        self._make_context = make_context
        self._clock = clock
        self._usual: asyncio.Future[ssl.SSLContext] | None = None
        self._unverified: ssl.SSLContext | None = None
        self._making = asyncio.Lock()
        self._known: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._contexts: OrderedDict[Chain, ssl.SSLContext] = OrderedDict()
        self._origins: OrderedDict[str, tuple[float, Chain]] = OrderedDict()
        self._completing: _Shared[ssl.SSLContext] = _Shared()
        self._reading: _Shared[bytes] = _Shared()

    def context_for(self, origin: str) -> ssl.SSLContext | None:
        """Return the context for an origin whose chain was completed; None for all other origins."""
        until, chain = self._origins.get(origin, (0.0, ()))
        context = self._contexts.get(chain) if until > self._now() else None
        if context is None:
            self._origins.pop(origin, None)
            return None
        self._contexts.move_to_end(chain)
        return context

    async def usual_context(self) -> ssl.SSLContext:
        """Return the context for origins that send complete chains. The first call makes it.

        Raises:
            OSError, RuntimeError: the TLS library refuses it, or there is no thread to make it. The next call tries
                again.
        """
        if self._usual is None or _has_failed(self._usual):
            self._usual = asyncio.ensure_future(asyncio.to_thread(self._make_context))
        # It is for all callers, so it goes on when one of them is cancelled.
        return await asyncio.shield(self._usual)

    async def complete(self, origin: str, means: Means, *, patience_seconds: float) -> ssl.SSLContext | None:
        """Return a context under which `origin` can be verified; None when it is not found in `patience_seconds`.

        Concurrent calls for one origin share one search, which goes on when they are cancelled or lose patience.
        """
        search = self._completing.outcome(origin, lambda: self._search(origin, means))
        try:
            async with asyncio.timeout(patience_seconds):
                return await search
        except TimeoutError:
            return None

    async def close(self) -> None:
        """End the running searches. Their callers get None."""
        await self._completing.close()
        await self._reading.close()

    async def _search(self, origin: str, means: Means) -> ssl.SSLContext | None:
        self._origins.pop(origin, None)
        try:
            async with asyncio.timeout(means.timeout_seconds):
                chain = await self._proven_chain(means)
        except (MirrorError, OSError, ValueError) as error:
            reason = error.detail if isinstance(error, MirrorError) else repr(error)
            log.info("the certificate chain of %s cannot be completed: %s", origin, reason)
            return None
        log.info("%s does not send its intermediate certificates: %d found", origin, len(chain))
        _put(self._origins, origin, (self._now() + MEMORY_SECONDS, chain), most=MAX_ORIGINS)
        return self._contexts.get(chain)

    async def _proven_chain(self, means: Means) -> Chain:
        last = await means.look(await self._looking_context())
        chain: Chain = ()
        asked: dict[str, bytes | None] = {}
        while len(chain) < MAX_INTERMEDIATES:
            issuer = await self._issuer(last, means, asked)
            if issuer is None:
                raise SourceUnreachable(detail=f"no issuer after {len(chain)}, {len(asked)} addresses asked")
            chain += (issuer,)
            if chain in self._contexts or await self._prove(chain, means):
                self._remember(asked)
                return chain
            last = issuer
        raise SourceUnreachable(detail=f"more than {MAX_INTERMEDIATES} intermediates are missing")

    async def _prove(self, chain: Chain, means: Means) -> bool:
        """Return whether `chain` suffices to verify the origin; False when an issuer above it is still missing.

        Only proven chains are kept, so useless certificates cannot displace them. A chain that was proven for one
        origin is used for every other origin below the same intermediate, without a second proof.
        """
        context = await self._made(lambda: know_intermediates(self._make_context(), chain))
        usual = context.sslobject_class
        context.sslobject_class = LookingObject
        try:
            verified = await means.look(context)
        except SourceUnreachable as error:
            if lacks_issuer(error):
                return False
            raise
        context.sslobject_class = usual
        if not await asyncio.to_thread(_issuer, verified, chain[0]):
            # The origin may now send another certificate with a complete chain, which would prove nothing about ours.
            raise SourceUnreachable(detail="the origin sent two different certificates")
        _put(self._contexts, chain, context, most=MAX_CONTEXTS)
        return True

    async def _issuer(self, certificate: bytes, means: Means, asked: dict[str, bytes | None]) -> bytes | None:
        addresses = await asyncio.to_thread(_addresses, certificate)
        for address in addresses:
            until, known = self._known.get(address, (0.0, b""))
            if until > self._now() and (found := await asyncio.to_thread(_issuer, certificate, known)):
                return found
        for address in addresses:
            if address in asked or len(asked) == MAX_ASKED:
                continue
            asked[address] = None
            answer = await self._reading.outcome(address, lambda: _read(means, address))  # noqa: B023 - called at once
            if answer and (found := await asyncio.to_thread(_issuer, certificate, answer)):
                asked[address] = found
                return found
        return None

    def _remember(self, asked: dict[str, bytes | None]) -> None:
        # Remember it only after the proof: an answer over http may be forged, and would do harm for a day.
        for address, found in asked.items():
            if found is not None:
                _put(self._known, address, (self._now() + MEMORY_SECONDS, found), most=MAX_ADDRESSES)

    async def _looking_context(self) -> ssl.SSLContext:
        if self._unverified is None:
            self._unverified = await self._made(lambda: look_unverified(self._make_context()))
        return self._unverified

    async def _made(self, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        # One at a time, so that hostile origins cannot use up all threads.
        async with self._making:
            return await asyncio.to_thread(make)

    def _now(self) -> float:
        return self._clock() if self._clock else asyncio.get_running_loop().time()


class _Shared(Generic[_Value]):
    """Does work once for concurrent callers. The work continues when they are cancelled, until `close`."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[_Value | None]] = {}

    async def outcome(
        self, key: str, work: Callable[[], Coroutine[Any, Any, _Value | None]]
    ) -> _Value | None:
        """Return the result of `work`, which must not raise; None when it was ended."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(work())
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
        # Unlike `await`, `asyncio.wait` passes no cancellation on, in either direction.
        await asyncio.wait({task})
        return None if task.cancelled() else task.result()

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(means: Means, address: str) -> bytes | None:
    try:
        return await means.read(address)
    except MirrorError as error:
        log.info("no certificate at %s: %s", address, error.detail or error.code)
        return None


def _addresses(certificate: bytes) -> list[str]:
    # Imported in a thread and when first needed: most services never need it.
    from proxy.fetch.tls.issuers import issuer_addresses  # noqa: PLC0415 - 8 MiB and half a second

    return issuer_addresses(certificate)


def _issuer(certificate: bytes, answer: bytes) -> bytes | None:
    from proxy.fetch.tls.issuers import issuer_in  # noqa: PLC0415 - as above

    return issuer_in(certificate, answer)


def _has_failed(done: asyncio.Future[Any]) -> bool:
    return done.done() and (done.cancelled() or done.exception() is not None)


def _put(memory: OrderedDict[Any, Any], key: object, value: object, *, most: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > most:
        memory.popitem(last=False)
