"""Requests every picture in every preset as a browser does, and records bytes and time. Event loop."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from proxy.dialects.native import build
from proxy.fetch.via import Via, ViaAnswer
from proxy.source import Source

PRESETS = ("headimg", "thumbnail", "content")
BROWSERS = {
    "avif": "image/avif,image/webp,*/*;q=0.8",
    "webp": "image/webp,*/*;q=0.8",
    "fallback": "*/*",
}


@dataclass(frozen=True, slots=True)
class Visit:
    """One answer and its duration."""

    answer: ViaAnswer
    seconds: float

    @property
    def good(self) -> bool:
        """Whether the answer is a picture."""
        return self.answer.status == 200 and self.answer.media_type.startswith("image/")


Visits = dict[tuple[str, str], Visit]
"""By source and preset."""


async def visit_all(via: Via, sources: Iterable[str], *, browser: str = "avif") -> Visits:
    """Request every preset of every source, one after the other."""
    visits: Visits = {}
    for source in sources:
        for preset in PRESETS:
            path = build("", preset, Source.parse(source))
            begun = time.perf_counter()
            answer = await via.get(path, accept=BROWSERS[browser])
            visits[source, preset] = Visit(answer, time.perf_counter() - begun)
    return visits


async def originals(via: Via, sources: Iterable[str]) -> dict[str, ViaAnswer]:
    """Request every original in the form that users of the worker had: `/?http://…`."""
    return {source: await via.get(f"/?{source}") for source in sources}
