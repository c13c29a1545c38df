"""The contract of what the nodes of a store share, for every implementation of `cache.across.seams.StoreSeams`.

Each implementation is opened twice, as two processes or nodes open it. A new implementation adds a function and its
name in `IMPLEMENTATIONS`; the implementation in memory shows that only the protocols are needed. `test_seams_keeper.py`
tests the keeper's promises on each of them, and `test_seams_processes.py` tests what two processes see.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from pathlib import Path

import pytest
from nodes import Nodes

from cache.across.failures import RememberedFailure
from cache.across.seams import Blobs, RunningCounts
from cache.across.singleflight import SingleFlight
from cache.across.source_locks import Exclusion
from cache.across.usage import Counts
from cache.base.errors import BlobChanged
from cache.base.keys import source_key
from cache.originals.refs import ListUnreadable

GONE = RememberedFailure("gone", 410, 3, 1_700_000_000.25, 1_700_003_600.5)
LATER = RememberedFailure("timeout", 0, 1, 1_700_000_100.0, 1_700_000_200.0)
ONE = Counts(bytes=10, bodies=1, entries=1)
NAME = "ab" + "0" * 62
SHA256 = "cd" + "1" * 62
KEYS = sorted(hashlib.sha256(b"%d" % number).hexdigest() for number in range(3))


# Exclusion


async def test_key_has_one_holder_among_all_nodes(nodes: Nodes) -> None:
    """A later caller waits, and learns that it had to wait."""
    first, second = nodes.exclusion(), nodes.exclusion()
    held = await first.acquire("key")
    assert not held.waited
    waiting = asyncio.ensure_future(second.acquire("key"))
    await asyncio.sleep(0)
    async with second.held_if_free("key") as is_mine:
        assert not is_mine
    async with second.hold("another key") as waited:
        assert not waited
    assert not waiting.done()
    held.release()
    other = await waiting
    assert other.waited
    other.release()
    async with first.held_if_free("key") as is_mine:
        assert is_mine


async def test_key_is_free_after_its_holder_failed_or_was_cancelled(nodes: Nodes) -> None:
    first, second = nodes.exclusion(), nodes.exclusion()
    with contextlib.suppress(ZeroDivisionError):
        async with first.hold("key"):
            raise ZeroDivisionError
    held = await first.acquire("key")
    given_up = asyncio.ensure_future(second.acquire("key"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait((given_up,))
    held.release()
    async with second.hold("key"):
        pass


async def test_changes_of_a_source_and_its_bodies_exclude_each_other(nodes: Nodes) -> None:
    """A source is locked before its bodies, and bodies in a fixed order, so two callers never wait for each other."""
    first, second = Exclusion(nodes.exclusion()), Exclusion(nodes.exclusion())
    inside, most = 0, 0

    async def changed(exclusion: Exclusion, source: str, bodies: tuple[str, ...]) -> None:
        nonlocal inside, most
        async with exclusion.source(source, bodies):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(
        *(changed(first, f"one {n}", ("a", "b")) for n in range(5)),
        *(changed(second, f"two {n}", ("b", "a")) for n in range(5)),
    )
    assert (inside, most) == (0, 1)


async def test_work_on_a_key_is_done_once_by_all_nodes(nodes: Nodes) -> None:
    """The second node finds the result of the first."""
    made: list[str] = []

    async def peek() -> str | None:
        return made[0] if made else None

    async def work() -> str:
        await asyncio.sleep(0)
        made.append("thing")
        return "thing"

    flights = [SingleFlight(nodes.exclusion()) for _ in range(2)]
    assert await asyncio.gather(*(flight.run("key", peek=peek, work=work) for flight in flights)) == [
        "thing",
        "thing",
    ]
    assert made == ["thing"]


# Stamps


async def test_bump_of_a_source_is_seen_by_every_node_at_once(nodes: Nodes) -> None:
    """Each bump gives a new number. The epoch stays, because not all stamps have changed."""
    first, second = nodes.stamps(), nodes.stamps()
    seen = [first.stamp("http://h/a")]
    epochs = first.epoch, second.epoch
    assert second.stamp("http://h/a") == seen[0]
    for node in (first, second, first):
        node.bump("http://h/a")
        assert first.stamp("http://h/a") == second.stamp("http://h/a")
        assert first.stamp_of_key(source_key("http://h/a")) == second.stamp("http://h/a")
        seen.append(first.stamp("http://h/a"))
    assert len(set(seen)) == len(seen)
    assert (first.epoch, second.epoch) == epochs


# Failure memory


async def test_failure_put_by_a_node_is_known_to_all(nodes: Nodes) -> None:
    """The last failure of a key counts, until it is forgotten."""
    first, second = nodes.failures(), nodes.failures()
    assert await first.get_all(["a", "b"]) == [None, None]
    await first.put("a", GONE)
    assert await second.get("a") == GONE
    await second.put("a", LATER)
    assert await first.get_all(["b", "a"]) == [None, LATER]
    await first.forget("a")
    await first.forget("never put")
    assert await second.get("a") is None


# Counts


async def test_counts_of_all_nodes_add_up(nodes: Nodes) -> None:
    """The sum is right even when the nodes count at the same time."""
    every = [nodes.counts() for _ in range(4)]

    def counted(node: RunningCounts) -> None:
        for _ in range(50):
            node.add(ONE)

    await asyncio.gather(*(asyncio.to_thread(counted, node) for node in every))
    assert all(node.read() == Counts(bytes=2000, bodies=200, entries=200) for node in every)


async def test_count_that_is_put_right_keeps_what_was_added_meanwhile(nodes: Nodes) -> None:
    first, second = nodes.counts(), nodes.counts()
    first.add(ONE)
    before = first.read()
    second.add(ONE)
    first.settle(Counts(bytes=100, bodies=5, entries=5), before=before)
    assert second.read() == Counts(bytes=110, bodies=6, entries=6)


# Blobs


def blob_of(blobs: Blobs, name: str) -> bytes | None:
    try:
        return blobs.read(name).data
    except FileNotFoundError:
        return None


def test_blob_that_one_node_creates_is_read_by_another(nodes: Nodes) -> None:
    """The other node reads it whole, its beginning, its state, and ranges of it."""
    first, second = nodes.blobs(), nodes.blobs()
    assert (second.state(NAME), blob_of(second, NAME)) == (None, None)
    first.write(NAME, b"0123456789", known=None)
    blob = second.read(NAME)
    assert (blob.data, blob.state) == (b"0123456789", first.state(NAME))
    assert blob.state.size == 10
    assert second.read(NAME, 4).data == b"0123"
    with second.opened(NAME) as opened:
        assert opened.state == blob.state
        assert [opened.read(*piece) for piece in ((0, 4), (8, 4), (10, 4), (99, 4))] == [
            b"0123",
            b"89",
            b"",
            b"",
        ]
    assert NAME in first.where(NAME)


def test_blob_is_created_once(nodes: Nodes) -> None:
    """The second node is refused and changes nothing, whether its bytes are different or the same."""
    first, second = nodes.blobs(), nodes.blobs()
    first.write(NAME, b"one", known=None)
    for data in (b"two", b"one"):
        with pytest.raises(BlobChanged):
            second.write(NAME, data, known=None)
    assert blob_of(first, NAME) == b"one"


def test_blob_is_replaced_only_in_the_state_that_is_known(nodes: Nodes) -> None:
    """When two nodes have read the same state, only the first write succeeds, even if the sizes are equal."""
    first, second = nodes.blobs(), nodes.blobs()
    first.write(NAME, b"one", known=None)
    known, same = first.state(NAME), second.state(NAME)
    first.write(NAME, b"two", known=known)
    with pytest.raises(BlobChanged):
        second.write(NAME, b"six", known=same)
    assert blob_of(second, NAME) == b"two"
    second.write(NAME, b"ten", known=second.state(NAME))
    assert blob_of(first, NAME) == b"ten"


def test_blob_that_is_gone_is_not_replaced(nodes: Nodes) -> None:
    """A writer that missed the deletion does not bring the blob back."""
    first, second = nodes.blobs(), nodes.blobs()
    first.write(NAME, b"one", known=None)
    known = second.state(NAME)
    assert first.delete(NAME, known=known)
    with pytest.raises(BlobChanged):
        second.write(NAME, b"two", known=known)
    assert blob_of(first, NAME) is None


def test_blob_is_deleted_only_in_the_state_that_is_known(nodes: Nodes) -> None:
    """Deleting a blob that is already gone is not an error if the caller knows that it is gone."""
    first, second = nodes.blobs(), nodes.blobs()
    first.write(NAME, b"one", known=None)
    known = first.state(NAME)
    second.write(NAME, b"two", known=known)
    for unknown in (known, None):
        with pytest.raises(BlobChanged):
            first.delete(NAME, known=unknown)
    assert blob_of(first, NAME) == b"two"
    assert first.delete(NAME, known=first.state(NAME))
    assert not second.delete(NAME, known=None)
    assert list(second.list()) == []


def test_blob_that_is_open_stays_as_it_was_opened_or_says_so(nodes: Nodes) -> None:
    """One reader never gets ranges of two states."""
    first, second = nodes.blobs(), nodes.blobs()
    first.write(NAME, b"one", known=None)
    with second.opened(NAME) as opened:
        first.write(NAME, b"two", known=first.state(NAME))
        with contextlib.suppress(OSError):
            assert opened.read(0, 3) == b"one"


def test_file_aside_becomes_a_blob_and_is_taken_back(nodes: Nodes, tmp_path: Path) -> None:
    """After it is taken back, the file is aside again and no blob has the name."""
    first, second = nodes.blobs(), nodes.blobs()
    aside = tmp_path / "store" / "incoming" / "body.part"
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.write_bytes(b"body")
    first.write(NAME, aside, known=None)
    assert blob_of(second, NAME) == b"body"
    first.take_back(NAME, aside)
    assert (blob_of(second, NAME), aside.read_bytes()) == (None, b"body")
    first.write(NAME, aside, known=None)
    second.adopt(NAME)
    second.settle(NAME)
    assert blob_of(second, NAME) == b"body"


def test_names_are_listed_in_order_by_what_they_begin_with(nodes: Nodes) -> None:
    """Names come with sizes, for a prefix of any length, a prefix that no name has, and no prefix."""
    first, second = nodes.blobs(), nodes.blobs()
    for number, key in enumerate(KEYS):
        first.write(key, b"x" * number, known=None)
    everything = [(key, number) for number, key in enumerate(KEYS)]
    assert list(second.list()) == everything
    for length in (1, 2, 3, 64):
        wanted = [item for item in everything if item[0].startswith(KEYS[1][:length])]
        assert list(second.list(KEYS[1][:length])) == wanted
    assert list(second.list("f" * 64)) == []
    assert set(second.shards()) >= {key[:2] for key in KEYS}
    assert list(second.shards()) == sorted(second.shards())


def test_bodies_and_entries_of_one_name_are_different_blobs(nodes: Nodes) -> None:
    node = nodes.node()
    node.entries.write(NAME, b"entry", known=None)
    node.bodies.write(NAME, b"body", known=None)
    assert node.bodies.delete(NAME, known=node.bodies.state(NAME))
    assert nodes.node().entries.read(NAME).data == b"entry"


async def test_writers_who_hold_the_key_lose_no_change(nodes: Nodes) -> None:
    """A writer that reads and writes while it holds the key is never refused, and no change is lost."""

    async def appended(number: int) -> None:
        node = nodes.node()
        async with node.exclusion.hold("key"):
            known = node.entries.state(NAME)
            before = blob_of(node.entries, NAME) or b""
            await asyncio.sleep(0)
            node.entries.write(NAME, before + b"%d" % number, known=known)

    await asyncio.gather(*map(appended, range(8)))
    assert sorted(blob_of(nodes.node().entries, NAME) or b"") == sorted(b"01234567")


# Lists of users


def test_list_of_a_new_body_names_every_user(nodes: Nodes) -> None:
    """The list is complete from the first user on, and other nodes see this."""
    first, second = nodes.node().users, nodes.node().users
    assert (first.is_complete(SHA256), first.aside(SHA256)) == (False, None)
    first.add(SHA256, KEYS[1], body_is_new=True, aside=False, judge=lambda: False)
    for key in (KEYS[0], KEYS[2], KEYS[0]):
        second.add(SHA256, key, body_is_new=False, aside=False, judge=lambda: False)
    assert list(first.keys(SHA256)) == KEYS
    assert list(first.others(SHA256, KEYS[1])) == [KEYS[2], KEYS[0]]
    assert first.is_complete(SHA256)
    assert [first.covers(SHA256, key) for key in (KEYS[0], NAME)] == [True, False]


def test_list_that_is_begun_for_a_body_with_users_is_not_complete(nodes: Nodes) -> None:
    """It becomes complete when a caller has read all entries and marks it as complete."""
    first, second = nodes.node().users, nodes.node().users
    first.add(SHA256, KEYS[0], body_is_new=False, aside=False, judge=lambda: False)
    assert not second.is_complete(SHA256)
    assert not second.covers(SHA256, KEYS[0])
    second.replace(SHA256, KEYS[:2], complete=True)
    assert first.covers(SHA256, KEYS[1])


def test_list_says_whether_a_user_set_the_body_aside(nodes: Nodes) -> None:
    """A list without the information asks once, and the mark stays."""
    first, second = nodes.node().users, nodes.node().users
    first.replace(SHA256, KEYS[:1], complete=True)
    assert second.aside(SHA256) is None
    second.add(SHA256, KEYS[1], body_is_new=False, aside=False, judge=lambda: False)
    assert first.aside(SHA256) is False
    first.mark_aside(SHA256)
    second.add(SHA256, KEYS[2], body_is_new=False, aside=False, judge=lambda: False)
    assert second.aside(SHA256) is True


def test_list_that_was_removed_is_unknown(nodes: Nodes) -> None:
    """An unknown list is not an empty list: all entries have to be read."""
    first, second = nodes.node().users, nodes.node().users
    first.add(SHA256, KEYS[0], body_is_new=True, aside=False, judge=lambda: False)
    second.remove(SHA256)
    first.remove(SHA256)
    assert not first.is_complete(SHA256)
    with pytest.raises(ListUnreadable):
        list(first.keys(SHA256))
