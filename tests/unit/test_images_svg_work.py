"""How much work a drawing is: counted before it is begun, in one walk over the document."""

from __future__ import annotations

import pytest

from proxy.images.svg.document import read
from proxy.images.svg.work import Cost, Work

NS = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def document(inside: str, side: int = 3000) -> bytes:
    return f'<svg {NS} width="{side}" height="{side}">{inside}</svg>'.encode()


def filtered(primitives: str, by: str = 'filter="url(#f)"') -> str:
    return f'<filter id="f">{primitives}</filter><rect {by} width="3000" height="3000"/>'


USES = '<path id="u0" d="M0 0H9"/>' + "".join(
    f'<g id="u{n}">' + f'<use href="#u{n - 1}"/>' * 10 + "</g>" for n in range(1, 9)
)
STOPS = "".join(f'<stop offset="{n / 50_000}"/>' for n in range(50_000))
RULES = "".join(f"rect.a{n % 7}{{fill:red}}" for n in range(20_000))
BEYOND = {
    "turbulence": filtered('<feTurbulence baseFrequency="0.1" numOctaves="1000000"/>'),
    "turbulence by a style": filtered('<feTurbulence numOctaves="100000"/>', 'style="filter:url(#f)"'),
    "turbulence by a rule": '<style>.a{filter:url("#f")}</style>'
    + filtered('<feTurbulence numOctaves="99999"/>', 'class="a"'),
    "turbulences one after the other": filtered('<feTurbulence numOctaves="20"/>' * 200),
    "morphology": filtered('<feMorphology operator="dilate" radius="1500"/>'),
    "morphology in one direction": filtered('<feMorphology radius="9 900"/>'),
    "convolution": filtered('<feConvolveMatrix order="900 3"/>'),
    "blurs": filtered('<feGaussianBlur stdDeviation="50"/>' * 1000),
    "one filter of many shapes": filtered('<feGaussianBlur stdDeviation="5"/>')
    + '<g filter="url(#f)"/>' * 5000,
    "filter under uses": f'<g id="u0" filter="url(#f)"/>{USES.partition("/>")[2]}' + filtered("<feOffset/>"),
    "uses of uses": USES,
    "marker of many marks": '<marker id="m">' + "<path d='M0 0H1'/>" * 5000 + "</marker>"
    f'<path marker-mid="url(#m)" d="M0 0{"h1" * 5000}"/>',
    "stops": f'<linearGradient id="g">{STOPS}</linearGradient><rect fill="url(#g)"/>',
    "stops of another gradient": f'<linearGradient id="g">{STOPS}</linearGradient>'
    '<radialGradient id="h" xlink:href="#g"/><rect fill="url(#h)"/>',
    "rules of many elements": f"<style>{RULES}</style>"
    + "".join(f'<rect class="a{n % 7}"/>' for n in range(50_000)),
    "masks of masks": '<mask id="m0"/>'
    + "".join(f'<mask id="m{n}">' + f'<g mask="url(#m{n - 1})"/>' * 10 + "</mask>" for n in range(1, 9))
    + '<g mask="url(#m8)"/>',
    "letters": f"<text>{'a' * 6_000_000}</text>",
}
WITHIN = {
    "turbulence": filtered('<feTurbulence numOctaves="4"/>'),
    "heavy filter that nothing uses": '<filter id="f"><feTurbulence numOctaves="1000000"/></filter><rect/>',
    "rule that applies to nothing": "<style>.b{filter:url(#f)}</style>"
    + filtered('<feTurbulence numOctaves="99999"/>', ""),
    "shadow of a hundred shapes": filtered('<feGaussianBlur stdDeviation="3"/>')
    + "<g filter='url(#f)'/>" * 30,
    "use of itself": '<g id="a"><use href="#a"/></g>',
    "filter in a circle": '<g id="a" filter="url(#f)"/><filter id="f"><feImage href="#a"/></filter>',
    "ten thousand paths": "<path d='M0 0L9 9L3 4z'/>" * 10_000,
    "few stops": '<linearGradient id="g"><stop/><stop/></linearGradient>' + "<rect fill='url(#g)'/>" * 5000,
}


@pytest.mark.parametrize("name", BEYOND)
def test_drawing_of_too_much_work_is_beyond_the_bound(name: str) -> None:
    assert read(document(BEYOND[name])).is_beyond_bound(3000, 3000)


@pytest.mark.parametrize("name", WITHIN)
def test_ordinary_drawing_is_within_the_bound(name: str) -> None:
    assert not read(document(WITHIN[name])).is_beyond_bound(3000, 3000)


def test_same_filter_is_less_work_on_an_icon() -> None:
    """The drawn size counts, and the radius in its pixels."""
    found = read(document(filtered('<feMorphology radius="150"/>')))
    assert found.is_beyond_bound(3000, 3000)
    assert not found.is_beyond_bound(30, 30)


@pytest.mark.parametrize("length", [1_000, 2_000, 4_000])
def test_counting_looks_at_each_part_once(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Additions grow with the document, not with what its uses amount to."""
    added = 0
    add = Cost.add

    def counted(self: Cost, other: Cost, times: float = 1.0) -> None:
        nonlocal added
        added += 1
        add(self, other, times)

    monkeypatch.setattr(Cost, "add", counted)
    work = Work()
    work.open("svg", {})
    for number in range(length):
        work.open("g", {"id": f"u{number}"})
        for _ in range(2):
            work.open("use", {"href": f"#u{number - 1}"})
            work.close()
        work.close()
    work.close()
    work.total(selectors=0, by_rules=[])
    assert added <= 6 * length
