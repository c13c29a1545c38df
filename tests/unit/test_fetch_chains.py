"""Incomplete chains are remembered for a day, in a bounded number, and only if they were verified."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections import Counter

import pytest
from authorities import Holder, root, trusting
from incomplete_origin import server_below

from proxy.errors import SourceUnreachable
from proxy.fetch.tls import chains
from proxy.fetch.tls.chains import MEMORY_SECONDS, Chains, Means
from proxy.fetch.tls.contexts import HandshakeLooked, LookingObject

ORIGIN, ADDRESS = "https://h.example", "http://a.example/between"


@pytest.fixture(scope="module")
def authority() -> Holder:
    return root()


class World:
    """An origin that shows `leaf`, and addresses with certificates."""

    def __init__(self, leaf: Holder, lying: dict[str, Holder]) -> None:
        self.leaf = leaf
        self.lying = lying
        self.asked: Counter[str] = Counter()
        self.now = 1000.0
        self.seen: list[ssl.SSLContext] = []

    @property
    def means(self) -> Means:
        """How it is asked."""
        return Means(self._look, self._read, timeout_seconds=60)

    def chains(self, authority: Holder) -> Chains:
        """Return a memory that goes by this world's time."""
        return Chains(lambda: trusting(authority), clock=lambda: self.now)

    async def _look(self, context: ssl.SSLContext) -> bytes:
        assert context.sslobject_class is LookingObject
        self.seen.append(context)
        return self.leaf.der

    async def _read(self, address: str) -> bytes:
        self.asked[address] += 1
        if address not in self.lying:
            raise SourceUnreachable(detail="nothing there")
        return self.lying[address].der


def simple(authority: Holder) -> World:
    between = authority.issue("Between")
    return World(server_below(between, ADDRESS), {ADDRESS: between})


async def complete(memory: Chains, world: World, origin: str = ORIGIN) -> ssl.SSLContext | None:
    return await memory.complete(origin, world.means, patience_seconds=60)


async def test_completed_context_is_remembered_for_a_day(authority: Holder) -> None:
    """Then the origin is tried without it, and its intermediate is asked for again."""
    world = simple(authority)
    memory = world.chains(authority)
    context = await complete(memory, world)
    assert context is not None
    assert memory.context_for(ORIGIN) is context
    assert memory.context_for("https://other.example") is None
    world.now += MEMORY_SECONDS - 1
    assert memory.context_for(ORIGIN) is context
    world.now += 1
    assert memory.context_for(ORIGIN) is None
    await complete(memory, world)
    assert world.asked[ADDRESS] == 2


async def test_completed_context_verifies_and_sends(authority: Holder) -> None:
    """Only the looks at an origin are unverified, or without a request."""
    world = simple(authority)
    context = await complete(world.chains(authority), world)
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.sslobject_class is ssl.SSLObject
    assert [seen.verify_mode for seen in world.seen] == [ssl.CERT_NONE, ssl.CERT_REQUIRED]
    assert world.seen[1] is context


async def test_context_is_shared_by_the_origins_of_one_authority(authority: Holder) -> None:
    """Each holds the authorities of the system, so there must be few."""
    world = simple(authority)
    memory = world.chains(authority)
    found = {await complete(memory, world, f"https://{number}.example") for number in range(5)}
    assert len(found) == 1
    assert world.asked[ADDRESS] == 1


async def test_contexts_and_addresses_are_bounded(authority: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those unused for longest are dropped first, and their origins begin anew."""
    monkeypatch.setattr(chains, "MAX_CONTEXTS", 2)
    monkeypatch.setattr(chains, "MAX_ADDRESSES", 1)
    worlds = [simple(authority) for _ in range(3)]
    memory = worlds[0].chains(authority)
    origins = [f"https://{number}.example" for number in range(3)]
    for origin, world in zip(origins, worlds, strict=True):
        assert await complete(memory, world, origin)
        memory.context_for(origins[0])
    assert [memory.context_for(origin) is not None for origin in origins] == [True, False, True]
    assert await complete(memory, worlds[0], origins[1])
    assert worlds[0].asked[ADDRESS] == 2


async def test_another_certificate_at_the_second_look_proves_nothing(authority: Holder) -> None:
    """Otherwise an origin with a complete chain could have any intermediates kept."""
    stranger = root("Stranger").issue("Between")
    good = server_below(authority.issue("Between"), ADDRESS)

    class Changing(World):
        async def _look(self, context: ssl.SSLContext) -> bytes:
            first = await super()._look(context)
            return first if context.verify_mode == ssl.CERT_NONE else good.der

    world = Changing(server_below(stranger, ADDRESS), {ADDRESS: stranger})
    memory = world.chains(authority)
    assert await complete(memory, world) is None
    assert memory.context_for(ORIGIN) is None


async def test_search_does_not_outlast_its_time(authority: Holder) -> None:
    """A caller that waits no longer gets None."""
    world = simple(authority)
    memory = world.chains(authority)
    assert await memory.complete(ORIGIN, world.means, patience_seconds=0) is None
    await memory.close()
    assert memory.context_for(ORIGIN) is None


def test_cryptography_is_imported_for_those_who_need_it() -> None:
    """It takes time at every start, and 8 MiB in every worker."""
    code = "import sys, proxy.app; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_look_that_went_well_is_a_failure_to_all_others() -> None:
    """So nothing can be sent over an unverified connection."""
    assert issubclass(HandshakeLooked, ssl.SSLError)
