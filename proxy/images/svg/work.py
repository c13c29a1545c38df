"""Estimates the work of drawing a document before it is drawn. Pure.

Every element has its own cost, plus the costs of its children and of the elements that it refers to (`use`, markers,
filters, patterns). Each element is computed once, however often it is referred to. The estimates are upper bounds in
nanoseconds for resvg 0.5 on one core. They ensure that a drawing far beyond the bound is never begun.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_WORK_NS = 15e9
"""The most work of a drawing, about as long as `render.timeout` allows."""

MAX_PIXELS = 40_000_000
"""The largest size to count. Larger drawings are not made."""

_ELEMENT_NS = 2_000.0
_LETTER_NS = 3_000.0
_MATCH_NS = 30.0
_BYTE_OF_PATH_NS = 30.0
_STOP_NS = 0.5
_FEW_STOPS = 16
"""The number of gradient stops whose cost is negligible."""

_PRIMITIVE_NS = 10.0
_PRIMITIVES_NS = {
    "fegaussianblur": 40.0,
    "fedropshadow": 60.0,
    "fediffuselighting": 100.0,
    "fespecularlighting": 100.0,
    "fedisplacementmap": 30.0,
}
_OCTAVE_NS = 60.0
_TAP_NS = 4.0
_REFERENCE = re.compile(r"url\(\s*[\"']?#([^\s\"')]{1,200})")
_NUMBER = re.compile(r"[-+]?\d*\.?\d+(?:e[-+]?\d+)?", re.IGNORECASE)
_DEFINITIONS = frozenset(
    {"defs", "filter", "lineargradient", "radialgradient", "pattern", "mask", "clippath", "marker", "symbol"}
)
"""Elements that are drawn only where others refer to them."""

_MARKERS = ("marker", "marker-start", "marker-mid", "marker-end")


@dataclass(slots=True)
class Cost:
    """Nanoseconds regardless of the size, for each pixel, and for each pixel and squared pixel of radius."""

    fixed: float = 0.0
    pixel: float = 0.0
    radius: float = 0.0

    def add(self, other: Cost, times: float = 1.0) -> None:
        """Add the cost of a part that is drawn `times` times."""
        self.fixed += other.fixed * times
        self.pixel += other.pixel * times
        self.radius += other.radius * times

    def at(self, width: float, height: float, scale: float) -> float:
        """Return the nanoseconds of a drawing of this size, with `scale` pixels for each unit."""
        pixels = min(width * height, MAX_PIXELS)
        return self.fixed + pixels * (self.pixel + self.radius * scale * scale)


@dataclass(slots=True)
class _SvgNode:
    kind: str
    name: str
    cost: Cost
    parts: list[tuple[int | str, float]]
    stops: int = 0


class Work:
    """Counts a document while it is parsed: `open` and `close` are called in the order of its tags.

    An element without an id cannot be referred to, so it becomes a part of its parent.
    """

    def __init__(self) -> None:
        self._nodes: list[_SvgNode] = []
        self._by_id: dict[str, int] = {}
        self._open: list[_SvgNode] = []
        self._elements = 0

    def open(self, kind: str, attributes: Mapping[str, str]) -> None:
        """Count an element; `kind` is its local name in lower case."""
        self._elements += 1
        parts = _references(attributes) if attributes else []
        self._open.append(_SvgNode(kind, attributes.get("id", ""), _own(kind, attributes), parts))

    def close(self) -> None:
        """Count the end of the element that was opened last."""
        node = self._open.pop()
        node.cost.pixel += max(0, node.stops - _FEW_STOPS) * _STOP_NS
        parent = self._open[-1] if self._open else None
        if parent is None or node.name:
            self._by_id.setdefault(node.name, len(self._nodes))
            self._nodes.append(node)
        if parent is None or node.kind in _DEFINITIONS:
            return
        parent.stops += node.kind == "stop"
        if node.name:
            parent.parts.append((len(self._nodes) - 1, 1.0))
        else:
            parent.cost.add(node.cost)
            parent.parts += node.parts

    def text(self, length: int) -> None:
        """Count letters."""
        if self._open:
            self._open[-1].cost.fixed += length * _LETTER_NS

    def total(self, *, selectors: int, by_rules: list[tuple[str, int]]) -> Cost:
        """Return the cost of the whole document.

        by_rules: the ids that its style sheets refer to, with the number of elements to which the rule may apply.
        """
        total = Cost(fixed=selectors * self._elements * _MATCH_NS)
        costs = self._costs()
        # The root is closed last.
        total.add(costs[-1])
        for name, times in by_rules:
            number = self._by_id.get(name)
            if number is not None:
                total.add(costs[number], times)
        return total

    def _costs(self) -> list[Cost]:
        """Return the total cost of every element, each computed once. Circular references are not followed."""
        costs = [Cost(node.cost.fixed, node.cost.pixel, node.cost.radius) for node in self._nodes]
        begun, ended, places = bytearray(len(costs)), bytearray(len(costs)), [0] * len(costs)
        for start in range(len(costs)):
            stack = [] if begun[start] else [start]
            while stack:
                number = stack[-1]
                begun[number] = True
                if places[number] == len(self._nodes[number].parts):
                    ended[number] = True
                    stack.pop()
                    continue
                part, times = self._part(self._nodes[number].parts[places[number]])
                if part is not None and not begun[part]:
                    stack.append(part)
                    continue
                places[number] += 1
                if part is not None and ended[part]:
                    costs[number].add(costs[part], times)
        return costs

    def _part(self, part: tuple[int | str, float]) -> tuple[int | None, float]:
        name, times = part
        return (self._by_id.get(name) if isinstance(name, str) else name), times


def references(text: str) -> list[str]:
    """Return the ids in `url(#id)`."""
    return _REFERENCE.findall(text)


def _references(attributes: Mapping[str, str]) -> list[tuple[int | str, float]]:
    found: list[tuple[int | str, float]] = []
    vertices = 0.0
    for name, text in attributes.items():
        if name.rpartition(":")[2] == "href" and text.startswith("#"):
            found.append((text[1:], 1.0))
        elif "url(" in text:
            marks = name in _MARKERS or (name == "style" and "marker" in text)
            if marks and not vertices:
                shape = attributes.get("d") or attributes.get("points") or ""
                vertices = max(2.0, sum(1 for _ in _NUMBER.finditer(shape)) / 2)
            found += [(one, vertices if marks else 1.0) for one in references(text)]
    return found


def _own(kind: str, attributes: Mapping[str, str]) -> Cost:
    cost = Cost(_ELEMENT_NS)
    if kind in {"path", "polyline", "polygon"}:
        shape = attributes.get("d") or attributes.get("points") or ""
        cost.fixed += len(shape) * _BYTE_OF_PATH_NS
    elif kind.startswith("fe") and not kind.startswith(
        ("fefunc", "femergenode", "fepoint", "fespot", "fedistant")
    ):
        _count_primitive(kind, attributes, cost)
    return cost


def _count_primitive(kind: str, attributes: Mapping[str, str], cost: Cost) -> None:
    cost.pixel += _PRIMITIVES_NS.get(kind, _PRIMITIVE_NS)
    if kind == "feturbulence":
        cost.pixel += _numbers(attributes.get("numOctaves", "1"))[0] * _OCTAVE_NS
    elif kind == "femorphology":
        across, down = _numbers(attributes.get("radius", "0"))
        cost.radius += 4 * across * down * _TAP_NS
    elif kind == "feconvolvematrix":
        across, down = _numbers(attributes.get("order", "3"))
        cost.pixel += across * down * _TAP_NS


def _numbers(text: str) -> tuple[float, float]:
    """Return one or two numbers as two, none below zero."""
    found = [max(0.0, float(number)) for number in _NUMBER.findall(text[:100])[:2]] or [0.0]
    return found[0], found[-1]
