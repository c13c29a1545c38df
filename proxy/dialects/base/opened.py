"""The content of a wrapper, as every grammar returns it. Pure.

A grammar returns an `OpenedWrapper`, or None when the address does not have its form. It raises `AmbiguousWrapper` with
the reason when the address has its form but cannot be opened without guessing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.dialects.base.asked import AskedOptions, OptionKey, Options, asked
from proxy.dialects.base.escapes import percent_decode
from proxy.errors import InvalidSource

ABSOLUTE = re.compile(r"https?(?::|%(?:25)?3A)", re.IGNORECASE)
"""The beginning of a source, plain or escaped as a whole, once or twice."""


class AmbiguousWrapper(InvalidSource):
    """A wrapper whose source we would have to guess. Fetching the wrapper's own address still works."""


@dataclass(frozen=True, slots=True)
class OpenedWrapper:
    """`target` is the address inside, as text; `options` are the wrapper's options translated to ours.

    `dropped` names the wrapper's options without a counterpart.
    """

    target: str
    options: Options = field(default_factory=dict)
    dropped: tuple[str, ...] = ()

    @classmethod
    def of(cls, target: str, wanted: AskedOptions) -> OpenedWrapper:
        """Return an opened wrapper with the given target and options."""
        return cls(target, wanted.options, wanted.dropped)


def query_items(query: str) -> list[tuple[str, str]]:
    """Split a raw query into names and raw values, as the wrappers' servers do; a fragment is cut off."""
    items = query.partition("#")[0].split("&")
    return [(name, value) for name, _, value in (item.partition("=") for item in items) if name]


def is_whole(raw: str) -> bool:
    """Return whether a raw query value was percent-encoded as a whole, so that it ends with its parameter."""
    return "/" not in raw and "?" not in raw


def open_query(query: str, name: str, *, keys: Mapping[str, OptionKey]) -> OpenedWrapper | None:
    """Open `?name=<address>&option=…`: the value is decoded once, the other keys are the wrapper's `keys`.

    After an address that was encoded as a whole, unknown keys belong to the wrapper.

    Raises:
        AmbiguousWrapper: unknown keys after an address that was not encoded; they probably belong to the address.
    """
    items = query_items(query)
    values = [value for key, value in items if key == name]
    if not values or not values[0]:
        return None
    others = [(key, value) for key, value in items if key != name]
    if not is_whole(values[0]) or len(values) > 1:
        strange = {key for key, _ in others if key not in keys and key.lower() not in keys}
        if strange or len(values) > 1:
            names = ", ".join(sorted(strange)) or name
            raise AmbiguousWrapper(
                f"it is not clear to which address these query keys belong: {names}; encode the inner address"
            )
    return OpenedWrapper.of(percent_decode(values[0]), asked(others, keys))
