"""What a wrapper carries: the value that every grammar's `open_address` returns. Pure.

`open_address(address)` answers None when the address is not of its grammar, an `Opened` when it is, and
raises `AmbiguousWrapper` with the reason when it is but cannot be opened without guessing.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.dialects.escapes import percent_decode
from proxy.errors import InvalidSource


class AmbiguousWrapper(InvalidSource):
    """A wrapper, but what it carries would have to be guessed; fetched as it stands it still works."""


@dataclass(frozen=True, slots=True)
class Opened:
    """`target` is the address inside, as text; `dropped` names the wrapper's options that are lost."""

    target: str
    dropped: tuple[str, ...] = ()


def query_items(query: str) -> list[tuple[str, str]]:
    """Split a raw query into names and raw values, as the wrappers' servers do; a fragment is cut off."""
    items = query.partition("#")[0].split("&")
    return [(name, value) for name, _, value in (item.partition("=") for item in items) if name]


def open_query(query: str, key: str, *, known: frozenset[str]) -> Opened | None:
    """Open `?key=<address>&option=…`: the value is decoded once, `known` options are dropped by name.

    Raises:
        AmbiguousWrapper: further keys, which probably belong to an address that was not encoded.
    """
    items = query_items(query)
    values = [value for name, value in items if name == key]
    if not values or not values[0]:
        return None
    others = [name for name, _ in items if name != key]
    strange = [name for name in others if name.lower() not in known]
    if strange or len(values) > 1:
        names = ", ".join(sorted(set(strange))) or key
        raise AmbiguousWrapper(f"cannot tell whose these query keys are: {names}; encode the inner address")
    return Opened(percent_decode(values[0]), tuple(dict.fromkeys(others)))
