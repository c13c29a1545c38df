"""Chooses the preset for a key of front matter. Pure.

A key is the path of names that leads to a value. `rewrite.fields` names keys by their last name or by a dotted path.
The innermost named key decides.

    good   image.path          named by `image`; `path` holds the picture itself
    good   header.actions.url  `header.*` gives the preset, but only the address shows whether it is a picture
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from proxy.rewrite.base.beginnings import ABSOLUTE
from proxy.rewrite.base.spot import Layer, Spot, Use

KeyPath = tuple[str, ...]
_MAX_NAME = 100
"""Longer names are not used in practice. A path is built for every value, so its length must be bounded."""
_MAX_REMEMBERED = 1000
_ITSELF = frozenset({"src", "path", "file", "light", "dark"})
"""Names below a picture's key that hold its address: `image.path`, `hero.image.dark`."""
_SPACE = re.compile(r"\s")
_UNLIKE_ONE = re.compile(r"[\t\r\n]|\s(?:\S*//|\d+(?:\.\d+)?[wx](?:,|\Z))|,\s|\s\Z")
"""Text that an address with spaces cannot contain: a second address, a descriptor of a srcset, a line end."""
_PICTURE_END = re.compile(r"\.\w{2,5}(?:[?#][^\s/]*)?\Z")


@dataclass(frozen=True, slots=True)
class FieldMeaning:
    """The meaning of a key: its preset, and by `use` whether its value is a picture regardless of its form.

    likely: this key or one above it is named as a picture's.
    """

    preset: str
    use: Use
    likely: bool
    context: str


class Fields:
    """The patterns of one configuration. `front` is the preset of keys that no pattern names."""

    def __init__(self, fields: Mapping[str, str], front: str) -> None:
        named = {_normal(pattern): preset for pattern, preset in fields.items()}
        self._front = front
        self._exact = {name: preset for name, preset in named.items() if not re.search(r"[.*?]", name)}
        self._dotted = [_compiled(*item, start=r"(?:\A|\.)") for item in named.items() if "." in item[0]]
        self._patterns = [
            _compiled(*item, start=r"\A")
            for item in named.items()
            if re.search(r"\A[^.]*[*?][^.]*\Z", item[0])
        ]
        self._known: dict[KeyPath, FieldMeaning] = {}

    def place(self, path: KeyPath) -> FieldMeaning:
        """Return the meaning of the key `path`, outermost name first."""
        if path not in self._known:
            if len(self._known) == _MAX_REMEMBERED:
                self._known.clear()
            self._known[path] = self._look_up(path)
        return self._known[path]

    def spots(
        self,
        path: KeyPath,
        raw: str,
        start: int,
        *,
        layers: tuple[Layer, ...] = (),
        hold: Callable[[str], str] = str,
    ) -> Iterator[Spot]:
        """Yield the spot of `raw`, the value of a key, which begins at `start` of the article."""
        if "//" not in raw and "\\" not in raw and not ABSOLUTE.match(raw):
            return
        place = self.place(path)
        spot = Spot(
            start,
            start + len(raw),
            place.use,
            place.context,
            layers,
            hold,
            preset=place.preset,
            likely=place.likely,
        )
        value = spot.read(raw)
        if ABSOLUTE.match(value) and (not _SPACE.search(value) or (place.likely and _with_spaces(value))):
            yield spot
        else:
            yield self.text(path, start, start + len(raw))

    def text(self, path: KeyPath, start: int, end: int) -> Spot:
        """Return the spot of a value that is not a single address. It names the key for addresses in the value."""
        return Spot(start, end, Use.TEXT, self.place(path).context)

    def _look_up(self, path: KeyPath) -> FieldMeaning:
        names = [_normal(name) if len(name) <= _MAX_NAME else "" for name in path]
        shown = ".".join(name[:_MAX_NAME] for name in path)[:_MAX_NAME]
        context = f"front matter {shown}".rstrip()
        for depth in range(len(names), 0, -1):
            dotted = ".".join(names[:depth])
            found = next((preset for pattern, preset in self._dotted if pattern.search(dotted)), None)
            if found is not None:
                return self._named(found, context, own=depth == len(names))
            found = self._by_name(names[depth - 1])
            if found is not None:
                inside = names[depth:]
                return self._named(
                    found, context, own=not inside or (len(inside) == 1 and inside[0] in _ITSELF)
                )
        return FieldMeaning(self._front, Use.MAY_SHOW, likely=False, context=context)

    def _named(self, preset: str, context: str, *, own: bool) -> FieldMeaning:
        return FieldMeaning(preset, Use.SHOW if own else Use.MAY_SHOW, likely=True, context=context)

    def _by_name(self, name: str) -> str | None:
        if name in self._exact:
            return self._exact[name]
        return next((preset for pattern, preset in self._patterns if pattern.search(name)), None)


def _with_spaces(value: str) -> bool:
    """Return whether a picture's value is one address with unescaped spaces. Browsers load `a b.png` too."""
    return not _UNLIKE_ONE.search(value) and bool(_PICTURE_END.search(value))


def _normal(name: str) -> str:
    return name.lower().replace("-", "_")


def _compiled(pattern: str, preset: str, *, start: str) -> tuple[re.Pattern[str], str]:
    parts = {"*": "[^.]*", "?": "[^.]"}
    return re.compile(rf"{start}{''.join(parts.get(char, re.escape(char)) for char in pattern)}\Z"), preset
