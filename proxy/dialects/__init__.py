"""Opens wrapper URLs in every known grammar. Pure; runs anywhere.

A simple service is a row of `services.toml`. A grammar is a file with a `Grammar` and a line in `known`. `native` and
`worker` also parse the requests of this service.

Encoding contract: the input is an address from an article or request. Its context (HTML entities, YAML quotes) has been
decoded once; its percent-escapes are untouched.

    good   https://cors.zfour.workers.dev/?http://h/a.png     ->  http://h/a.png
    good   //wsrv.nl/?url=i0.wp.com/h.org/a.png%3Fssl=1        ->  https://h.org/a.png (two steps)
    bad    https://wsrv.nl/?url=http://h/a?x=1&file=2          ->  InvalidSource: whose is `file`?
    bad    six wrappers around each other                      ->  InvalidSource
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from proxy.dialects import native
from proxy.dialects.base.address import SplitAddress
from proxy.dialects.base.asked import Options, merged
from proxy.dialects.base.escapes import percent_decode, read_source
from proxy.dialects.base.opened import AmbiguousWrapper, OpenedWrapper
from proxy.dialects.configured import ConfiguredWrapper
from proxy.dialects.known import GRAMMARS, Named, Opener, open_form, openers_of
from proxy.dialects.mounts import mounted
from proxy.errors import InvalidSource, MirrorError
from proxy.source import Source

__all__ = ["GRAMMARS", "MAX_DEPTH", "AmbiguousWrapper", "Unwrapped", "Unwrapper", "Way"]

OWN = "imgmirror"
"""The name of our own addresses in a list of steps."""
MAX_DEPTH = 5
"""The deepest nesting of wrappers that is opened."""

Prefix = str | tuple[str, str]
"""A configured wrapper: its prefix, or prefix and dialect."""

_LONG_NAMES = {"w": "width", "h": "height", "g": "gravity", "f": "format", "q": "quality"}
_AROUND = "".join(map(chr, range(0x21)))


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """The content of a wrapper: the source, the wrappers from outside to inside, and their options.

    options: translated to ours; the outer wrapper's take precedence. dropped: the names of the wrappers' options
    without a counterpart, prefixed with their grammar. targets: the addresses between the first one and the source, the
    outer ones first.
    """

    source: Source
    steps: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    options: Options = field(default_factory=dict)
    targets: tuple[str, ...] = ()

    def written(self, text: str) -> Iterator[Source]:
        """Yield the wrappers' own addresses as sources, the inner ones first; `text` is the outer one."""
        for step, target in reversed(list(zip(self.steps, (text, *self.targets), strict=True))):
            if step.partition(" ")[0] != OWN:
                with suppress(MirrorError):
                    yield read_source(f"https:{target}" if target.startswith("//") else target)


@dataclass(frozen=True, slots=True)
class Way:
    """The steps from a source as written to the source that it wraps.

    written: the wrappers' addresses on the way, except ours, as sources, the inner ones first. A picture stored before
    we knew a grammar is kept under one of them. Empty when nothing is wrapped.
    """

    source: Source
    steps: tuple[str, ...] = ()
    written: tuple[Source, ...] = ()


class Unwrapper:
    """Opens wrappers: known services, configured prefixes, our own addresses (`own`, base URLs).

    `forms`: also open addresses at unknown hosts whose form cannot mean anything else. This is right for articles. In
    requests it would make a picture unreachable whose own address happens to have that form.
    """

    def __init__(
        self, prefixes: Iterable[Prefix] = (), *, own: tuple[str, ...] = (), forms: bool = True
    ) -> None:
        configured = (
            ConfiguredWrapper.read(item) if isinstance(item, str) else ConfiguredWrapper.read(*item)
            for item in prefixes
        )
        self._forms = forms
        self._first: tuple[Named, ...] = (
            *((OWN, _own_opener(address)) for base in own if (address := SplitAddress.parse(base))),
            *((wrapper.name, wrapper.open_address) for wrapper in configured if wrapper),
        )

    def unwrap(self, text: str) -> Unwrapped | None:
        """Return what `text` wraps, or None when it is not a wrapper.

        Raises:
            AmbiguousWrapper: the wrapper cannot be opened without guessing.
            InvalidSource: nested deeper than `MAX_DEPTH`, or an invalid source inside.
            SourceNotAllowed: the source inside has another scheme.
        """
        steps: list[str] = []
        dropped: list[str] = []
        options: Options = {}
        targets: list[str] = []
        while (step := self._step(text)) is not None:
            name, host, opened = step
            if len(steps) == MAX_DEPTH or opened.target == text:
                raise InvalidSource(f"wrappers around wrappers, more than {MAX_DEPTH} deep")
            steps.append(f"{name} {host}".rstrip())
            options, lost = merged(options, opened.options)
            dropped.extend(f"{name} {item}" for item in (*opened.dropped, *lost))
            text = opened.target
            targets.append(text)
        if not steps:
            return None
        source = read_source(text)
        return Unwrapped(source, tuple(steps), tuple(dict.fromkeys(dropped)), options, tuple(targets[:-1]))

    def opened(self, source: Source) -> tuple[Source, tuple[str, ...]]:
        """Return what a source wraps and the steps to it; the source itself when it wraps nothing.

        Raises:
            InvalidSource, SourceNotAllowed: as `unwrap`.
        """
        way = self.way(source)
        return way.source, way.steps

    def way(self, source: Source) -> Way:
        """Return what a source wraps, and the addresses on the way to it.

        Raises:
            InvalidSource, SourceNotAllowed: as `unwrap`.
        """
        try:
            unwrapped = self.unwrap(source.url)
        except AmbiguousWrapper:
            # The wrapper cannot be opened, but its own address is still a valid source.
            return Way(source)
        if unwrapped is None:
            return Way(source)
        return Way(unwrapped.source, unwrapped.steps, tuple(unwrapped.written(source.url)))

    def is_wrapper(self, text: str) -> bool:
        """Return whether `text` is a wrapper, even one that cannot be opened."""
        try:
            return self._step(text) is not None
        except MirrorError:
            return True

    def _step(self, text: str) -> tuple[str, str, OpenedWrapper] | None:
        """Return the grammar, the host and the content of a wrapper; None when `text` is not a wrapper."""
        text = text.strip(_AROUND)
        address = SplitAddress.parse(text) or (SplitAddress.of_site(text) if self._forms else None)
        if address is None:
            return None
        for openers in (self._first, openers_of(address.host)):
            for name, opener in openers:
                opened = opener(address)
                if opened is not None:
                    return name, address.host, opened
        form = open_form(address) if self._forms else None
        return (form[0], address.host, form[1]) if form else None


def _own_opener(base: SplitAddress) -> Opener:
    root = base.path.rstrip("/")
    mount = root + native.MOUNT

    def open_own(address: SplitAddress) -> OpenedWrapper | None:
        if address.host != base.host:
            return None
        if not address.path.startswith(mount):
            whole = "/" + address.rest
            other = mounted(whole[len(root) :]) if whole.startswith(root + "/") else None
            return other.grammar.open_rest(other.rest, "") if other else None
        request = native.parse("/" + address.rest, mount=mount)
        options: Options = {}
        for item in request.options.split(","):
            name, equals, value = item.partition("=")
            # The place of the picture chooses the preset, so a preset in the address is not taken over.
            if equals:
                options[_LONG_NAMES.get(name, name)] = percent_decode(value)
        return OpenedWrapper(request.source.url, options)

    return open_own
