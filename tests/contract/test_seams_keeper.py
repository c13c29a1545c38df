"""The keeper's promises on every implementation of `StoreSeams`: its order, a cut at every step, and lost races."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from keeping import make_entry
from nodes import Nodes

from cache.across.seams import Blobs, BlobState, StoreSeams, UserLists
from cache.base.entry import Entry
from cache.base.errors import Superseded
from cache.base.opening import LocalFile
from cache.originals.bodies import Bodies
from cache.originals.entryfiles import EntryFiles
from cache.originals.keeper import Arrived, Keeper
from cache.originals.refs import ListUnreadable

URL = "http://h/a.png"
OTHER = "http://h/b.png"


class Cut(BaseException):
    """The process dies here. It is not an `Exception`, because no error handler runs in a dead process."""


@dataclass(slots=True)
class Fuse:
    """Burns down by one with every change. When it has burnt down, it cuts the process off before the next change."""

    left: int = 1_000
    steps: list[str] = field(default_factory=list)

    def burn(self, step: str) -> None:
        if self.left == 0:
            raise Cut(step)
        self.left -= 1
        self.steps.append(step)


class Fused:
    """One of the seams, whose changes burn a fuse. A process that was cut off changes nothing more."""

    CHANGES = ("write", "delete", "take_back", "adopt", "add", "replace", "remove", "mark_aside")

    def __init__(self, kind: str, seam: Blobs | UserLists, fuse: Fuse) -> None:
        self._kind = kind
        self._seam = seam
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._seam, name)
        if name not in self.CHANGES:
            return method

        def changed(*arguments: object, **named: object) -> object:
            self._fuse.burn(f"{name} {self._kind}")
            return method(*arguments, **named)

        return changed


@dataclass(frozen=True, slots=True)
class FusedSeams:
    """The part of a node that the keeper uses."""

    entries: Any
    bodies: Any
    users: Any


def keeper_of(node: StoreSeams, fuse: Fuse) -> Keeper:
    seams: Any = FusedSeams(
        Fused("entry", node.entries, fuse), Fused("body", node.bodies, fuse), Fused("users", node.users, fuse)
    )
    bodies = Bodies(seams.bodies, lambda _sha256, _condition: None)
    return Keeper(seams, EntryFiles(seams.entries, seams.bodies), bodies)


@pytest.fixture
def arrive(tmp_path: Path) -> Callable[[bytes], Arrived]:
    """Return a function that writes a body aside, where the store keeps arrivals."""
    incoming = tmp_path / "store" / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    numbers = iter(range(10_000))

    def arrived(body: bytes) -> Arrived:
        path = incoming / f"{next(numbers)}.part"
        path.write_bytes(body)
        return Arrived(LocalFile(path), hashlib.sha256(body).hexdigest(), len(body), lambda: None)

    return arrived


def entry_of(url: str, arrived: Arrived) -> Entry:
    return make_entry(url, sha256=arrived.sha256, size=arrived.size)


def named_and_there(node: StoreSeams) -> tuple[set[str], set[str]]:
    """Return the bodies that entries name, and those that are there and whole."""
    named: set[str] = set()
    for key, _ in node.entries.list():
        named.update(Entry.from_json(node.entries.read(key).data).digests)
    there = {
        name
        for name, _ in node.bodies.list()
        if hashlib.sha256(node.bodies.read(name).data).hexdigest() == name
    }
    return named, there


def users_are_known(node: StoreSeams) -> bool:
    """Whether every list that calls itself complete names all users of its body."""
    for key, _ in node.entries.list():
        for sha256 in Entry.from_json(node.entries.read(key).data).digests:
            if node.users.is_complete(sha256) and not node.users.covers(sha256, key):
                return False
    return True


def test_original_is_kept_updated_and_purged(nodes: Nodes, arrive: Callable[[bytes], Arrived]) -> None:
    """Bytes that two sources share stay until the last source is purged."""
    node, fuse = nodes.node(), Fuse()
    keeper = keeper_of(node, fuse)
    one = arrive(b"one")
    assert keeper.keep(entry_of(URL, one), one).change.bodies == 1
    again = arrive(b"one")
    assert keeper.keep(entry_of(OTHER, again), again).change.bodies == 0
    entry = keeper.confirmed(entry_of(URL, one).key)
    assert entry == entry_of(URL, one)
    keeper.update(replace(entry, validated_at=5.0))
    two = arrive(b"two")
    done = keeper.keep(entry_of(URL, two), two)
    assert (done.bytes_changed, done.body_moved) == (True, True)
    assert keeper.purge(entry.key, (two.sha256, one.sha256))[0].bodies == (two.sha256,)
    assert named_and_there(nodes.node()) == ({one.sha256}, {one.sha256})
    keeper.purge(entry_of(OTHER, one).key, (one.sha256,))
    assert named_and_there(nodes.node()) == (set(), set())


def test_steps_come_in_the_order_of_the_promise(nodes: Nodes, arrive: Callable[[bytes], Arrived]) -> None:
    """A commit writes body, user, entry; a purge deletes them in the reverse order."""
    fuse = Fuse()
    keeper = keeper_of(nodes.node(), fuse)
    one = arrive(b"one")
    keeper.keep(entry_of(URL, one), one)
    assert fuse.steps == ["write body", "add users", "write entry"]
    fuse.steps.clear()
    keeper.purge(entry_of(URL, one).key, (one.sha256,))
    assert fuse.steps == ["delete entry", "delete body", "remove users"]


def test_cut_at_any_step_leaves_no_entry_without_its_body(
    nodes: Nodes, arrive: Callable[[bytes], Arrived]
) -> None:
    """At worst, a dead process leaves a body that no entry names, and lists that do not claim to be complete."""

    def work(keeper: Keeper) -> None:
        one, same, two, third = arrive(b"one"), arrive(b"one"), arrive(b"two"), arrive(b"three")
        keeper.keep(entry_of(URL, one), one)
        keeper.keep(entry_of(OTHER, same), same)
        keeper.keep(entry_of(URL, two), two)
        keeper.set_aside(entry_of(OTHER, one).key, entry_of(OTHER, third).as_former(note="aside"), third)
        keeper.trim(entry_of(URL, two).key, (one.sha256,))
        keeper.purge(entry_of(OTHER, one).key, (one.sha256, third.sha256))
        keeper.purge(entry_of(URL, two).key, (two.sha256,))

    whole = Fuse()
    work(keeper_of(nodes.node(), whole))
    assert len(whole.steps) > 15
    for cut_at in range(len(whole.steps)):
        with pytest.raises(Cut):
            work(keeper_of(nodes.node(), Fuse(cut_at)))
        node = nodes.node()
        named, there = named_and_there(node)
        assert named <= there, whole.steps[:cut_at]
        assert users_are_known(node), whole.steps[:cut_at]
        # Another process repeats the operation from the beginning and completes it.
        work(keeper_of(nodes.node(), Fuse()))
        assert named_and_there(nodes.node())[0] == set()


class Overtaken:
    """Entries that another node changes after they were read, as if a lease had ended unnoticed."""

    def __init__(self, blobs: Blobs, meanwhile: Callable[[], None]) -> None:
        self._blobs = blobs
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    def write(self, name: str, content: bytes | Path, *, known: BlobState | None) -> None:
        self._meanwhile()
        self._blobs.write(name, content, known=known)


@pytest.mark.parametrize("was_kept", [False, True])
def test_writer_that_was_overtaken_changes_nothing(
    nodes: Nodes, arrive: Callable[[bytes], Arrived], was_kept: bool
) -> None:
    """Its body is moved aside again, and the entry of the other node stays."""
    node, other = nodes.node(), keeper_of(nodes.node(), Fuse())
    if was_kept:
        first = arrive(b"first")
        other.keep(entry_of(URL, first), first)
    theirs, ours = arrive(b"theirs"), arrive(b"ours")
    seams: Any = FusedSeams(
        Overtaken(node.entries, lambda: void(other.keep(entry_of(URL, theirs), theirs))),
        node.bodies,
        node.users,
    )
    keeper = Keeper(seams, EntryFiles(seams.entries, seams.bodies), Bodies(node.bodies, lambda *_: None))
    with pytest.raises(Superseded):
        keeper.keep(entry_of(URL, ours), ours)
    kept = EntryFiles(node.entries, node.bodies).entry(entry_of(URL, theirs).key)
    assert kept is not None
    assert kept.body_sha256 == theirs.sha256
    assert node.bodies.state(ours.sha256) is None
    assert ours.path.read_bytes() == b"ours"


def void(_done: object) -> None:
    """Discard a result."""


def test_damaged_body_is_replaced_by_whole_bytes(nodes: Nodes, arrive: Callable[[bytes], Arrived]) -> None:
    """When the same bytes arrive again, they repair it for every source that uses it."""
    node = nodes.node()
    keeper = keeper_of(node, Fuse())
    one = arrive(b"one")
    keeper.keep(entry_of(URL, one), one)
    node.bodies.write(one.sha256, b"0ne", known=node.bodies.state(one.sha256))
    again = arrive(b"one")
    assert keeper.keep(entry_of(OTHER, again), again).body_moved
    assert node.bodies.read(one.sha256).data == b"one"


def test_list_that_is_lost_lets_no_body_go_that_another_entry_names(
    nodes: Nodes, arrive: Callable[[bytes], Arrived]
) -> None:
    """The purge reads all entries instead."""
    node = nodes.node()
    keeper = keeper_of(node, Fuse())
    for url in (URL, OTHER):
        one = arrive(b"one")
        keeper.keep(entry_of(url, one), one)
    node.users.remove(one.sha256)
    with pytest.raises(ListUnreadable):
        list(node.users.keys(one.sha256))
    purged, _ = keeper.purge(entry_of(URL, one).key, (one.sha256,))
    assert (purged.found, purged.bodies) == (True, ())
    assert node.bodies.state(one.sha256) is not None
