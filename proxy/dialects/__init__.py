"""The grammars of wrapper URLs, and the one that opens them all. Pure; runs anywhere.

A grammar is one file with `open_address`; adding one is that file and a line in `GRAMMARS`. `native` and
`worker` also parse and build what this service answers.

Encoding contract: text in is an address as it stood in an article or request, decoded from its context (HTML
entities, YAML quotes) once, its percent-escapes untouched.

    good   https://cors.zfour.workers.dev/?http://h/a.png     ->  http://h/a.png
    good   //wsrv.nl/?url=i0.wp.com/h.org/a.png%3Fssl=1        ->  https://h.org/a.png (two steps)
    bad    https://wsrv.nl/?url=http://h/a?x=1&file=2          ->  InvalidSource: whose is `file`?
    bad    six wrappers around each other                      ->  InvalidSource
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.dialects import hosted, native, photon, prefix, query, weserv, worker
from proxy.dialects.address import Address
from proxy.dialects.configured import ConfiguredWrapper
from proxy.dialects.escapes import read_source
from proxy.dialects.opened import AmbiguousWrapper, Opened
from proxy.errors import InvalidSource, MirrorError
from proxy.source import Source

__all__ = ["MAX_DEPTH", "AmbiguousWrapper", "Unwrapped", "Unwrapper"]

MAX_DEPTH = 5
"""Wrappers around each other that are still opened."""

Opener = Callable[[Address], Opened | None]

GRAMMARS: tuple[tuple[str, Opener], ...] = (
    ("worker", worker.open_address),
    ("weserv", weserv.open_address),
    ("query", query.open_address),
    ("prefix", prefix.open_address),
    ("photon", photon.open_address),
    ("cloudinary", hosted.open_cloudinary),
    ("statically", hosted.open_statically),
    ("camo", hosted.open_camo),
    ("wayback", hosted.open_wayback),
)

_AROUND = "".join(map(chr, range(0x21)))


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """What was inside: the source, the wrappers from outside to inside, their options that were dropped."""

    source: Source
    steps: tuple[str, ...]
    dropped: tuple[str, ...] = ()


class Unwrapper:
    """Opens wrappers: the built-in ones, configured prefixes, and our own addresses (`own`, base URLs)."""

    def __init__(self, prefixes: tuple[str, ...] = (), *, own: tuple[str, ...] = ()) -> None:
        configured = [ConfiguredWrapper.read(text) for text in prefixes]
        self._openers: tuple[tuple[str, Opener], ...] = (
            *(("imgmirror", _own_opener(address)) for base in own if (address := Address.parse(base))),
            *(("configured", wrapper.open_address) for wrapper in configured if wrapper),
            *GRAMMARS,
        )

    def unwrap(self, text: str) -> Unwrapped | None:
        """Return what `text` wraps, or None when it is not a wrapper.

        Raises:
            AmbiguousWrapper: cannot be opened without guessing.
            InvalidSource: deeper than `MAX_DEPTH`, or a bad source inside.
            SourceNotAllowed: the source inside has another scheme.
        """
        steps: list[str] = []
        dropped: list[str] = []
        while (step := self._step(text)) is not None:
            name, opened = step
            if len(steps) == MAX_DEPTH or opened.target == text:
                raise InvalidSource(f"wrappers around wrappers, more than {MAX_DEPTH} deep")
            steps.append(name)
            dropped.extend(opened.dropped)
            text = opened.target
        if not steps:
            return None
        return Unwrapped(read_source(text), tuple(steps), tuple(dict.fromkeys(dropped)))

    def opened(self, source: Source) -> tuple[Source, tuple[str, ...]]:
        """Return what a source wraps and the steps to it; the source itself when it wraps nothing.

        Raises:
            InvalidSource, SourceNotAllowed: as `unwrap`.
        """
        try:
            unwrapped = self.unwrap(source.url)
        except AmbiguousWrapper:
            # Nobody can say what is inside; the address as it stands is still an address.
            return source, ()
        return (unwrapped.source, unwrapped.steps) if unwrapped else (source, ())

    def is_wrapper(self, text: str) -> bool:
        """Tell whether `text` is a wrapper, one that cannot be opened included."""
        try:
            return self._step(text) is not None
        except MirrorError:
            return True

    def _step(self, text: str) -> tuple[str, Opened] | None:
        address = Address.parse(text.strip(_AROUND))
        if address is None:
            return None
        for name, opener in self._openers:
            opened = opener(address)
            if opened is not None:
                return f"{name} {address.host}", opened
        return None


def _own_opener(base: Address) -> Opener:
    mount = base.path.rstrip("/") + native.MOUNT

    def open_own(address: Address) -> Opened | None:
        if address.host != base.host or not address.path.startswith(mount):
            return None
        request = native.parse("/" + address.rest, mount=mount)
        return Opened(request.source.url, (request.options,))

    return open_own
