"""The fetcher of a process: everything that its fetches share. Event loop.

It holds the connections, the queues for origins and the facts known about origins, and takes new settings on a reload.
A fetch ends with the bytes or with an error of the contract, whatever the origin does
(`proxy.fetch.exchange.exchange`).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from aiohttp.abc import AbstractResolver

from proxy.config import FetchConfig
from proxy.errors import (
    MirrorError,
    SourceUnreachable,
)
from proxy.fetch.connector import Client
from proxy.fetch.exchange.asking import Asking, Validators
from proxy.fetch.exchange.exchange import Exchange, interval_seconds
from proxy.fetch.exchange.values import Beginning, Enough, Fetched, FetchRules, NotModified, Sink
from proxy.fetch.names import Names, make_resolver
from proxy.fetch.politeness.breaker import Breaker
from proxy.fetch.politeness.pace import Pace
from proxy.fetch.politeness.robots import MAX_BYTES as MAX_ROBOTS_BYTES
from proxy.fetch.politeness.robots import Robots
from proxy.fetch.politeness.slots import OriginTurns
from proxy.fetch.tls.chains import Chains
from proxy.fetch.tls.contexts import origin_context
from proxy.source import Source

log = logging.getLogger(__name__)

__all__ = ["Fetched", "Fetcher", "NotModified", "Sink", "Validators"]

_PUBLIC_CONNECTIONS = 8


def _never(_source: Source) -> bool:
    return False


class Fetcher:
    """Fetches for one process. Call `start` and `close` in the event loop that fetches."""

    def __init__(  # noqa: PLR0913 - the trace, and what a test replaces: names, certificates, time, waiting
        self,
        config: FetchConfig,
        *,
        check_hop: Callable[[Source], None],
        instance_id: str,
        resolver: AbstractResolver | None = None,
        make_ssl_context: Callable[[], ssl.SSLContext] = origin_context,
        denied: Callable[[Source], bool] = _never,
        clock: Callable[[], float] = time.time,
        pace: Pace | None = None,
        trace: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        self._config = config
        self._check_hop = check_hop
        self._instance_id = instance_id
        self._given_resolver = resolver
        self._names: Names | None = None
        self._denied = denied
        self._chains = Chains(make_ssl_context)
        self._clock = clock
        self._trace = trace
        self._asking = Asking(config, instance_id=instance_id, trace=trace)
        self._turns = OriginTurns(config.per_origin, queue=config.queue)
        self._breaker = Breaker(clock=clock)
        self._pace = Pace() if pace is None else pace
        self._robots = Robots(self._read_robots)
        self._rules: FetchRules | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def open_circuits(self) -> int:
        """The number of origins that get no requests because they do not answer."""
        return self._breaker.open_count

    async def start(self) -> None:
        """Open the session without connecting to anything yet."""
        self._names = Names(self._given_resolver or make_resolver(), owns=self._given_resolver is None)
        self._rules = self._make_rules(
            self._new_client(self._names), _public_client(self._config, self._names)
        )

    async def close(self) -> None:
        """Close every connection. Fetches in progress end with `SourceUnreachable`."""
        rules, self._rules = self._rules, None
        await self._robots.close()
        await self._chains.close()
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        if rules is not None:
            await rules.client.close()
            await rules.public_client.close()
        names, self._names = self._names, None
        if names is not None:
            await names.close()

    def reconfigure(
        self,
        config: FetchConfig,
        *,
        check_hop: Callable[[Source], None],
        denied: Callable[[Source], bool] = _never,
    ) -> None:
        """Apply `config` to every fetch that begins from now on. Fetches in progress keep the old configuration.

        This includes idle connections: when `allow_networks` has changed, no old connection is used.
        """
        asking = Asking(config, instance_id=self._instance_id, trace=self._trace)
        self._config, self._check_hop, self._denied, self._asking = config, check_hop, denied, asking
        self._turns.limit, self._turns.queue = config.per_origin, config.queue
        if self._rules is None or self._names is None:
            return
        client = self._rules.client
        if client.allow_networks != config.allow_networks:
            self._retire(client)
            client = self._new_client(self._names)
        self._rules = self._make_rules(client, self._rules.public_client)

    async def fetch(
        self,
        source: Source,
        sink: Sink,
        *,
        validators: Validators | None = None,
        patient: bool = False,
        check_hop: Callable[[Source], None] | None = None,
    ) -> Fetched | NotModified:
        """Fetch `source` and write its bytes to `sink`, which stays open and may contain a part of them on errors.

        `fetch.timeout` bounds everything, including the wait for the origin. A `patient` fetch (for warming) waits for
        its turn without a limit, and pauses between two requests as the origin's robots.txt asks. `check_hop` judges
        redirects instead of the policy.

        Raises:
            SourceNotAllowed: the policy forbids the target of a redirect.
            QueueFull: too many fetches wait already, for this origin or in total.
            SourceError: see the table of docs/api.md.
        """
        if self._rules is None:
            raise SourceUnreachable(detail="the fetcher is closed")
        rules = replace(self._rules, check_hop=check_hop) if check_hop else self._rules
        exchange = Exchange(rules, source, sink, validators)
        if not patient:
            return await exchange.run()
        async with self._turns.turn(source.origin, patient=True):
            self._breaker.require(source.origin)
            await self._pace.keep(source.origin, await self.crawl_delay(source.origin))
            return await exchange.run(has_turn=True)

    async def crawl_delay(self, origin: str) -> float:
        """Return the seconds between two patient requests to `origin`, from its robots.txt and `fetch.origin_rate`."""
        asked = await self._robots.delay(origin, user_agent=self._config.user_agent)
        return max(asked, interval_seconds(self._config))

    def wants_pauses(self, origin: str) -> bool:
        """Return whether the robots.txt of `origin`, if it was read, asks for pauses between requests."""
        return self._robots.known_delay(origin) > 0

    async def _read_robots(self, origin: str) -> bytes:
        if self._rules is None:
            return b""
        sink = Beginning(MAX_ROBOTS_BYTES)
        source = Source.parse(f"{origin}/robots.txt")
        try:
            # The request uses the turn of the picture for which it is made.
            await Exchange(self._rules, source, sink, None).run(has_turn=True)
        except (MirrorError, Enough) as error:
            log.debug("no robots.txt of %s: %s", origin, error)
            return bytes(sink.data) if isinstance(error, Enough) else b""
        return bytes(sink.data)

    def _new_client(self, names: Names) -> Client:
        return Client(self._config, names=names)

    def _make_rules(self, client: Client, public_client: Client) -> FetchRules:
        return FetchRules(
            self._config,
            self._check_hop,
            self._asking,
            client,
            self._turns,
            self._breaker,
            self._pace,
            self._clock,
            self._denied,
            self._chains,
            public_client,
        )

    def _retire(self, client: Client) -> None:
        task = asyncio.get_running_loop().create_task(client.close_when_idle())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


def _public_client(config: FetchConfig, names: Names) -> Client:
    public = config.model_copy(update={"allow_networks": (), "max_connections": _PUBLIC_CONNECTIONS})
    return Client(public, names=names)
