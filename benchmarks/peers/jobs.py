"""The jobs of `make bench-images` and `cold.py`: which thumbnails are made of which sources.

Qualities are the numbers of imgproxy's public benchmark. The same number does not look the same from every server, so
the tables also show bytes at equal scores.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """Thumbnails of one kind, fit into `box`. sources: a folder of sources; quality: None where the format has none."""

    name: str
    sources: str
    output: str
    quality: int | None
    box: tuple[int, int] = (512, 512)

    @property
    def converts(self) -> bool:
        """Whether the format of the answer differs from that of the source."""
        return {"charts": "png", "large": "jpeg"}.get(self.sources, self.sources) != self.output

    @property
    def title(self) -> str:
        """The job in words."""
        at = f" q{self.quality}" if self.quality else ""
        return f"{self.name}: {self.sources} to {self.output}{at}, {self.box[0]}x{self.box[1]}"


_CHART_BOX = (400, 300)
JOBS = {
    job.name: job
    for job in (
        Job("jpeg", "jpeg", "jpeg", 80),
        Job("png", "png", "png", None),
        Job("webp", "webp", "webp", 75),
        Job("avif", "avif", "avif", 65),
        Job("jpeg-webp", "jpeg", "webp", 75),
        Job("jpeg-avif", "jpeg", "avif", 65),
        Job("large-jpeg", "large", "jpeg", 80),
        Job("large-webp", "large", "webp", 75),
        Job("chart-png", "charts", "png", None, _CHART_BOX),
        Job("chart-webp", "charts", "webp", 75, _CHART_BOX),
        Job("chart-avif", "charts", "avif", 65, _CHART_BOX),
    )
}
