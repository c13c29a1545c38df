"""One fetch: follows redirects, checks every address, and streams the body to a sink. Event loop.

`Exchange` leads from a source to its bytes or its error. `proxy.fetch.fetcher` holds what all fetches share. Nothing
here knows what is kept, what the bytes mean, or who asked for them.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
from dataclasses import replace

import aiohttp

from proxy.config import FetchConfig
from proxy.errors import (
    AnswerHead,
    InvalidSource,
    QueueFull,
    SourceError,
    SourceNotAllowed,
    SourceTimeout,
    SourceUnreachable,
)
from proxy.fetch.answers.body import AnswerBody
from proxy.fetch.answers.codings import Headers
from proxy.fetch.connector import wire_url
from proxy.fetch.exchange.asking import Validators
from proxy.fetch.exchange.cookies import Cookies
from proxy.fetch.exchange.values import Beginning, Fetched, FetchRules, NotModified, Sink
from proxy.fetch.failures import lacks_issuer, network_failures, status_failure
from proxy.fetch.tls.chains import MAX_BYTES as MAX_CERTIFICATE_BYTES
from proxy.fetch.tls.chains import Means
from proxy.source import Source

log = logging.getLogger(__name__)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_COMPLETE = frozenset({200, 203})
"""Statuses with the whole picture. A proxy changed the picture of a 203 on the way (RFC 9110 §15.3.4), but there is no
other."""

# The stage of a fetch, which determines what its failure says about the origin.
_WAITING = ""
_ASKING = "no answer yet"
_READING = "reading"


class Exchange:
    """The state of one fetch, and its steps.

    1. The time limit begins. When it is over: `SourceTimeout`.
    2. If the circuit of the origin is open, raise the error that opened it. Otherwise wait for a turn at the origin of
       the hop and send the request. No address, no connection or no answer: `SourceUnreachable`. If the origin does not
       send the certificates of its issuers, find them and ask once more; if they cannot be found, fail as before.
    3. On a redirect, store its cookies, check its Location, and go to step 2. If the Location is unreadable, if there
       are too many redirects, or if the address was requested before with the same cookies: `SourceUnreachable`. If the
       policy forbids it: `SourceNotAllowed`.
    4. 304 to our validators: `NotModified`. Any status but 200: the error for it.
    5. The body goes to the sink. If it is too large, cut short, broken or stalled: the error of `AnswerBody`.
    """

    def __init__(self, rules: FetchRules, source: Source, sink: Sink, validators: Validators | None) -> None:
        self._rules = rules
        self._source = source
        self._sink = sink
        self._validators = validators
        self._cookies = Cookies()
        self._seen = {(source.url, "")}
        self._held = ""
        self._stage = _WAITING
        self._first_asked_at = self._asked_at = 0.0
        self._deadline: asyncio.Timeout | None = None

    async def run(self, *, has_turn: bool = False) -> Fetched | NotModified:
        # The caller's turn covers every hop at that origin. If several fetches waited there for a second turn, each
        # would wait for the others for ever.
        self._held = self._source.origin if has_turn else ""
        try:
            async with asyncio.timeout(self._rules.config.timeout) as self._deadline:
                return await self._follow()
        except TimeoutError as error:
            if self._deadline is not None and self._deadline.expired():
                raise self._too_late() from error
            raise

    def _too_late(self) -> SourceTimeout:
        error = SourceTimeout(
            detail=f"not done in {self._rules.config.timeout:g} s ({self._stage or 'waiting'})"
        )
        # A fetch that only waited for others, or sent its request at the last moment, has learnt nothing about the
        # source.
        error.failure = "timeout" if self._stage and self._is_long_ago(self._first_asked_at) else ""
        return error

    def _is_overdue(self) -> bool:
        return self._stage == _ASKING and self._deadline is not None and self._deadline.expired()

    def _is_long_ago(self, asked_at: float) -> bool:
        """Return whether at least half of the time of a fetch has passed since `asked_at`."""
        return asyncio.get_running_loop().time() - asked_at >= self._rules.config.timeout / 2

    async def _follow(self) -> Fetched | NotModified:
        hop = self._source
        while True:
            outcome = await self._ask_in_turn(hop)
            if not isinstance(outcome, Source):
                return outcome
            self._check(outcome)
            hop = outcome

    def _check(self, hop: Source) -> None:
        asked = (hop.url, self._cookies.header(hop))
        if asked in self._seen:
            raise SourceUnreachable(detail=f"redirect loop at {hop}")
        if len(self._seen) > self._rules.config.max_redirects:
            raise SourceUnreachable(detail=f"more than {self._rules.config.max_redirects} redirects")
        self._rules.check_hop(hop)
        self._seen.add(asked)

    async def _ask_in_turn(self, hop: Source) -> Fetched | NotModified | Source:
        self._rules.breaker.require(hop.origin)
        if hop.scheme == "https":
            await self._require_tls()
        if hop.origin == self._held:
            return await self._watched(hop)
        self._stage = _WAITING
        async with self._rules.turns.turn(hop.origin):
            await self._keep_pace(hop)
            return await self._watched(hop)

    async def _require_tls(self) -> None:
        """Make the context for TLS before the request begins, because a failure of this machine is not the origin's.

        Raises:
            SourceUnreachable: this machine cannot make it.
        """
        self._stage = _WAITING
        try:
            await self._rules.chains.usual_context()
        except (OSError, RuntimeError) as error:
            log.error("no origin can be asked with TLS: %s", error)
            unreachable = SourceUnreachable(detail=f"this machine cannot use TLS: {error}")
            unreachable.failure = "tls"
            raise unreachable from error

    async def _keep_pace(self, hop: Source) -> None:
        interval = interval_seconds(self._rules.config)
        if not interval:
            return
        if self._rules.pace.seconds_until(hop.origin, interval) > self._rules.config.timeout:
            raise QueueFull
        await self._rules.pace.keep(hop.origin, interval)

    async def _watched(self, hop: Source) -> Fetched | NotModified | Source:
        """Send a request to `hop` and report the result to the breaker."""
        breaker = self._rules.breaker
        breaker.begin(hop.origin)
        self._stage, self._asked_at = _ASKING, asyncio.get_running_loop().time()
        self._first_asked_at = self._first_asked_at or self._asked_at
        try:
            outcome = await self._ask(hop)
        except SourceError as error:
            self._tell(hop.origin, error)
            raise
        except asyncio.CancelledError:
            if self._is_overdue() and self._is_long_ago(self._asked_at):
                breaker.failed(hop.origin, self._too_late())
            elif self._stage == _READING:
                breaker.answered(hop.origin)
            else:
                breaker.left(hop.origin)
            raise
        except BaseException:
            breaker.left(hop.origin)
            raise
        breaker.answered(hop.origin)
        return outcome

    def _tell(self, origin: str, error: SourceError) -> None:
        if self._stage == _ASKING or error.failure in {"busy", "failed"}:
            self._rules.breaker.failed(origin, error)
        else:
            # The origin answered, whatever is wrong with the answer.
            self._rules.breaker.answered(origin)

    async def _ask(self, hop: Source) -> Fetched | NotModified | Source:
        context = self._rules.chains.context_for(hop.origin)
        if context is None and hop.scheme == "https":
            context = await self._rules.chains.usual_context()
        try:
            return await self._ask_under(context, hop)
        except SourceUnreachable as error:
            if not lacks_issuer(error):
                raise
            context = await self._completed(hop)
            if context is None:
                raise
        return await self._ask_under(context, hop)

    async def _completed(self, hop: Source) -> ssl.SSLContext | None:
        rules = self._rules
        means = Means(
            look=functools.partial(rules.client.look, hop),
            read=functools.partial(_read_certificate, rules),
            timeout_seconds=rules.config.timeout,
        )
        # A timeout during this would say nothing about the origin.
        self._stage = _WAITING
        # Use half of the remaining time, because the picture needs the rest.
        context = await rules.chains.complete(hop.origin, means, patience_seconds=self._remaining() / 2)
        self._stage, self._asked_at = _ASKING, asyncio.get_running_loop().time()
        return context

    def _remaining(self) -> float:
        until = self._deadline.when() if self._deadline is not None else None
        return max((until or 0.0) - asyncio.get_running_loop().time(), 0.0)

    async def _ask_under(self, context: ssl.SSLContext | None, hop: Source) -> Fetched | NotModified | Source:
        client = self._rules.client
        with client.in_use():
            await client.know(hop)
            self._stage = _WAITING
            async with client.connection() as session:
                self._stage = _ASKING
                return await self._ask_by(session, hop, context)

    async def _ask_by(
        self, session: aiohttp.ClientSession, hop: Source, context: ssl.SSLContext | None
    ) -> Fetched | NotModified | Source:
        validators = self._validators_for(hop)
        headers = self._rules.asking.headers(hop, validators, cookies=self._cookies.header(hop))
        request_time = self._rules.clock()
        with network_failures():
            response = await session.get(
                wire_url(hop), headers=headers, allow_redirects=False, ssl=context or True
            )
        self._stage = _READING
        try:
            answer = _Answer(response, hop, request_time, self._rules.clock())
            return await self._read(answer, conditional=validators is not None)
        finally:
            # A body that was read to its end has already released the connection.
            response.close()

    def _validators_for(self, hop: Source) -> Validators | None:
        found = self._validators
        if found is None or not (found.etag or found.last_modified):
            return None
        return found if hop.url == (found.url or self._source.url) else None

    async def _read(self, answer: _Answer, *, conditional: bool) -> Fetched | NotModified | Source:
        if answer.status in _REDIRECTS and answer.location is not None:
            for name, value in answer.headers:
                if name == "set-cookie":
                    self._cookies.take(answer.hop, value)
            return _join(answer.hop, answer.location)
        if answer.status == 304 and conditional:
            return NotModified(answer.headers, answer.request_time, answer.response_time)
        if answer.status not in _COMPLETE:
            error = status_failure(
                answer.status, retry_after=answer.header("retry-after"), now=answer.response_time
            )
            error.answer = AnswerHead(answer.headers, answer.request_time, answer.response_time)
            raise error
        return await self._keep(answer)

    async def _keep(self, answer: _Answer) -> Fetched:
        config = self._rules.config
        body = AnswerBody(
            answer.response, answer.headers, max_bytes=config.max_bytes, idle_seconds=config.idle_timeout
        )
        async for chunk in body.chunks():
            await self._sink.write(chunk)
        return Fetched(
            status=answer.status,
            headers=answer.headers,
            final_url=answer.hop.url,
            size=body.size,
            framing=body.framing,
            request_time=answer.request_time,
            response_time=answer.response_time,
            redirects=len(self._seen) - 1,
        )


class _Answer:
    """The head of an answer, from its raw bytes."""

    def __init__(
        self, response: aiohttp.ClientResponse, hop: Source, request_time: float, response_time: float
    ) -> None:
        self.response = response
        self.hop = hop
        self.status = response.status
        self.headers: Headers = tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.raw_headers
        )
        self.request_time = request_time
        self.response_time = response_time

    def header(self, name: str) -> str | None:
        """Return the first header with a lower-case name."""
        return next((value for known, value in self.headers if known == name), None)

    @property
    def location(self) -> bytes | None:
        """The Location as bytes, because a path in GBK is not text."""
        return next((value for name, value in self.response.raw_headers if name.lower() == b"location"), None)


async def _read_certificate(rules: FetchRules, address: str) -> bytes:
    """Return the bytes at an address that the certificate of an origin names.

    Raises:
        MirrorError: as for `Fetcher.fetch`.
    """
    source = Source.parse(address)
    rules = _certificate_rules(rules, source)
    rules.check_hop(source)
    sink = Beginning(MAX_CERTIFICATE_BYTES + 1)
    await Exchange(rules, source, sink, None).run()
    return bytes(sink.data)


def _certificate_rules(rules: FetchRules, source: Source) -> FetchRules:
    # `sources.allow` names hosts of pictures and not authorities, so it does not decide here. But a certificate must
    # not
    # lead into the networks of `fetch.allow_networks` where a redirect could not.
    try:
        rules.check_hop(source)
        is_admitted = True
    except SourceNotAllowed:
        is_admitted = False

    def check_hop(hop: Source) -> None:
        if hop.scheme != "http" or rules.denied(hop):
            raise SourceNotAllowed(detail=f"{hop} is not asked for a certificate")
        if is_admitted:
            rules.check_hop(hop)

    config = rules.config.model_copy(
        update={"max_bytes": MAX_CERTIFICATE_BYTES, "timeout": rules.config.timeout / 2}
    )
    return replace(
        rules,
        config=config,
        check_hop=check_hop,
        client=rules.client if is_admitted else rules.public_client,
        asking=rules.asking.without_profiles(),
    )


def _join(hop: Source, location: bytes) -> Source:
    try:
        return hop.join(location)
    except (InvalidSource, SourceNotAllowed) as error:
        raise SourceUnreachable(detail=f"redirect to {location[:200]!r}: {error.message}") from error


def interval_seconds(config: FetchConfig) -> float:
    return 1 / config.origin_rate if config.origin_rate else 0.0
