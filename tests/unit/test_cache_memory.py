"""The memory tier."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from cache.variants.memory import LARGEST_SHARE, OVERHEAD_BYTES, MemoryTier


def test_memory_gives_back_what_was_put() -> None:
    """A held value is the very object."""
    memory, value = MemoryTier(1 << 20), object()
    assert memory.put("a", value, size=10)
    assert memory.get("a") is value
    assert memory.get("b") is None
    assert (memory.hits, memory.misses, len(memory)) == (1, 1, 1)
    assert memory.bytes == 10 + OVERHEAD_BYTES


def test_memory_forgets_the_least_recently_used() -> None:
    """Recently requested objects stay."""
    memory = MemoryTier(8 * LARGEST_SHARE * 1024)
    size = 8 * 1024 - OVERHEAD_BYTES
    for name in "abcdefgh":
        memory.put(name, name, size=size)
    memory.get("a")
    memory.put("i", "i", size=size)
    assert memory.get("a") == "a"
    assert memory.get("b") is None
    assert memory.evictions == 1


def test_memory_takes_nothing_that_fills_much_of_it() -> None:
    """One huge picture does not displace all others, but the object that it replaces is dropped all the same."""
    memory = MemoryTier(80_000)
    memory.put("a", 1, size=5)
    assert not memory.put("a", 2, size=10_000)
    assert memory.get("a") is None
    assert memory.bytes == 0


def test_memory_of_no_size_takes_nothing() -> None:
    """A budget of zero switches the tier off."""
    assert not MemoryTier(0).put("a", 1, size=0)


def test_memory_replaces_without_counting_twice() -> None:
    """The same key has one weight."""
    memory = MemoryTier(1 << 20)
    memory.put("a", 1, size=100)
    memory.put("a", 2, size=50)
    assert memory.bytes == 50 + OVERHEAD_BYTES
    assert memory.remove("a")
    assert not memory.remove("a")
    assert memory.bytes == 0


def test_memory_cleared_is_empty() -> None:
    """Nothing is left, not even its weight."""
    memory = MemoryTier(1 << 20)
    memory.put("a", 1, size=100)
    memory.clear()
    assert (memory.bytes, len(memory), memory.get("a")) == (0, 0, None)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4000), st.booleans())))
def test_memory_agrees_with_a_plain_model(steps: list[tuple[int, int, bool]]) -> None:
    """After any sequence it holds what the rules say, and its weight is the sum of the weights of its objects."""
    budget, model = 20_000, OrderedDict[int, int]()
    memory = MemoryTier(budget)
    for key, size, reads in steps:
        if reads:
            held = memory.get(key)
            assert held == model.get(key)
            if key in model:
                model.move_to_end(key)
            continue
        memory.put(key, size, size=size)
        model.pop(key, None)
        if size + OVERHEAD_BYTES <= budget // LARGEST_SHARE:
            model[key] = size
        while sum(model.values()) + OVERHEAD_BYTES * len(model) > budget:
            model.popitem(last=False)
    assert memory.bytes == sum(model.values()) + OVERHEAD_BYTES * len(model) <= budget
    assert len(memory) == len(model)
