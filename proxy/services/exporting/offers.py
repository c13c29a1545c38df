"""Chooses the variants of a picture for its options, and the files that a page names. Pure.

For each width, browsers that accept AVIF, WebP or neither get what the service would answer. A format is offered when
every width has it. For drawings the service answers the smallest format, which may differ from width to width. In that
case the missing widths are made too, and the format is offered when it is smaller than the next one.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from proxy.images.formats import UNTOUCHED, PictureFacts, sniff
from proxy.images.geometry import OutputLimits, make_plan
from proxy.images.pool.workers import Output, Rendered, Wish
from proxy.images.transforms.resolved import Resolved
from proxy.rewrite.exporting.pictures import SHOWN_IN_PAGES, Candidate, ExportedFiles
from proxy.services.warm.warming import Browser

_EXTENSIONS = {"jpeg": "jpg"}
_SHOWN_BY_BROWSERS = frozenset({*SHOWN_IN_PAGES, "bmp", "ico"})
NAME_DIGITS = 32
"""Of a SHA-256 in hexadecimal: 128 bits."""


@dataclass(frozen=True, slots=True)
class Sized:
    """One width of a picture: its transform and the width of the result, 0 when unknown.

    result: equal for transforms that give the same picture, such as all widths above the original's.
    """

    resolved: Resolved
    width: int
    result: object = None


def widths_of(
    resolved: Resolved,
    facts: PictureFacts | None,
    *,
    spread: bool,
    widths: Collection[int],
    limits: OutputLimits,
) -> tuple[Sized, ...]:
    """Return the widths to make of a picture, ascending; the last is the one in its options.

    Raises:
        InvalidTransform: the options exceed `limits`.
    """
    if facts is None:
        return (Sized(resolved, 0, resolved),)
    plan = make_plan((facts.width, facts.height), resolved, limits=limits)
    width, height = plan.canvas
    turned = bool(resolved.trim) or resolved.rotate != 0
    rest = resolved.replaced(width=None, height=None, dpr=1.0, fit="scale-down", upscale=False)
    whole = Sized(resolved, 0 if turned else width, resolved if turned else (rest, plan.crop, plan.canvas))
    simple = resolved.dpr == 1 and not resolved.hinted and not turned
    if not (spread and simple) or facts.animated or facts.scalable:
        return (whole,)
    smaller = [
        Sized(
            resolved.replaced(
                width=narrow,
                height=None if resolved.height is None else max(1, round(height * narrow / width)),
            ),
            narrow,
        )
        for narrow in widths
        if narrow < width
    ]
    return (*smaller, whole)


def wishes_of(sized: Sized, browsers: Sequence[Browser], *, untouched: bool) -> tuple[Wish, ...]:
    """Return the wish of each kind of browser, the most compatible last. `untouched`: an SVG may stay unchanged."""
    resolved = sized.resolved
    if resolved.format != "auto":
        return (Wish(resolved, (resolved.format,)),)
    extra = (UNTOUCHED,) if untouched and resolved.only_resizes else ()
    return tuple(Wish(resolved, (*browser.acceptable, *extra)) for browser in browsers)


def lacking(wished: Sequence[Sequence[Wish]], outputs: Mapping[Wish, Output]) -> tuple[Wish, ...]:
    """Return the wishes for formats that only some widths have, as happens with drawings (see the module)."""
    found: list[Wish] = []
    for column in list(zip(*wished, strict=True))[:-1]:
        name = column[0].acceptable[0]
        have = [wish for wish in column if _format(outputs.get(wish)) == name]
        if have and len(have) < len(column):
            found += [Wish(wish.resolved, (name,)) for wish in column if wish not in have]
    return tuple(found)


def shown_of(
    sizes: Sequence[Sized], wished: Sequence[Sequence[Wish]], outputs: Mapping[Wish, Output]
) -> tuple[ExportedFiles, dict[str, bytes]] | None:
    """Return the files of a picture and their bytes by name, or None when its full width could not be rendered."""
    bodies: dict[str, bytes] = {}

    def file(wish: Wish, sized: Sized) -> Candidate | None:
        output = outputs.get(wish)
        if not isinstance(output, Rendered) or output.output_format not in SHOWN_IN_PAGES:
            return None
        candidate = candidate_of(output.body, output.output_format, sized.width or output.width)
        bodies[candidate.name] = output.body
        return candidate

    if len(sizes) > 1:
        sizes, wished = _worthwhile(sizes, wished, outputs)
    plain = [file(wishes[-1], sized) for wishes, sized in zip(wished, sizes, strict=True)]
    if plain[-1] is None:
        return None
    there = [number for number, one in enumerate(plain) if one is not None]
    fallback = tuple(one for one in plain if one is not None)
    offers: list[tuple[Candidate, ...]] = []
    least = sum(one.size_bytes for one in fallback)
    for number in reversed(range(len(wished[0]) - 1)):
        name = wished[0][number].acceptable[0]
        own = [wished[at][number] for at in there]
        column = [_in_format(wish, name, outputs) for wish in own]
        files = [file(wish, sizes[at]) for wish, at in zip(column, there, strict=True) if wish]
        offer = tuple(one for one in files if one is not None)
        weight = sum(one.size_bytes for one in offer)
        if len(offer) == len(there) and (column == own or weight < least):
            offers.insert(0, offer)
            least = min(weight, least)
    one = next((offer[-1] for offer in offers if offer[-1].format == "webp"), fallback[-1])
    shown = ExportedFiles(tuple(offers), fallback, one)
    used = {file.name for files in (*shown.offers, shown.plain) for file in files}
    return shown, {name: body for name, body in bodies.items() if name in used}


def _worthwhile(
    sizes: Sequence[Sized], wished: Sequence[Sequence[Wish]], outputs: Mapping[Wish, Output]
) -> tuple[Sequence[Sized], Sequence[Sequence[Wish]]]:
    """Return the widths with fewer bytes than every wider one. Shrinking a drawing adds colours and often bytes."""
    kept: list[int] = []
    least: list[int] = []
    for at in reversed(range(len(sizes))):
        found = [outputs.get(wish) for wish in wished[at]]
        weights = [len(output.body) for output in found if isinstance(output, Rendered)]
        if at == len(sizes) - 1:
            kept, least = [at], weights
        elif len(weights) == len(least) and all(map(operator.lt, weights, least)):
            kept, least = [at, *kept], weights
    return [sizes[at] for at in kept], [wished[at] for at in kept]


def _in_format(wish: Wish, name: str, outputs: Mapping[Wish, Output]) -> Wish | None:
    """Return the wish that is answered in format `name`: a browser's wish, or a wish for that format alone."""
    return next(
        (one for one in (wish, Wish(wish.resolved, (name,))) if _format(outputs.get(one)) == name), None
    )


def _format(output: Output | None) -> str:
    return output.output_format if isinstance(output, Rendered) else ""


def original_of(body: bytes, facts: PictureFacts | None) -> tuple[ExportedFiles, dict[str, bytes]] | None:
    """Return the original as the only file of a picture, or None when browsers do not show its format."""
    name = sniff(body) or (facts.format if facts else "")
    if name not in _SHOWN_BY_BROWSERS:
        return None
    candidate = candidate_of(body, name, facts.width if facts else 0)
    return ExportedFiles((), (candidate,), candidate), {candidate.name: body}


def candidate_of(body: bytes, name: str, width: int) -> Candidate:
    """Return the file for bytes in a format; it is named by their digest."""
    digest = hashlib.sha256(body).hexdigest()[:NAME_DIGITS]
    return Candidate(f"{digest}.{_EXTENSIONS.get(name, name)}", name, width, len(body))
