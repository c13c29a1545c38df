"""A resolver that answers from a script: fixed addresses, answers that change (rebinding), names that hang."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Mapping, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult


class StubResolver(AbstractResolver):
    """Maps names to answers. Each answer is a list of addresses, and the last answer is repeated.

    A name without an entry does not exist. Names in `hanging` are never answered.
    """

    def __init__(self, names: Mapping[str, Sequence[Sequence[str]]], *, hanging: Sequence[str] = ()) -> None:
        self._names = {name: list(answers) for name, answers in names.items()}
        self._hanging = frozenset(hanging)
        self.asked: Counter[str] = Counter()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the next answer of `host`."""
        self.asked[host] += 1
        if host in self._hanging:
            await asyncio.Event().wait()
        answers = self._names.get(host)
        if not answers:
            raise OSError(None, "Domain name not found")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [_result(host, address, port) for address in addresses]

    async def close(self) -> None:
        """Do nothing, because nothing is open."""


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
