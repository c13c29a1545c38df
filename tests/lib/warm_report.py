"""Reports of `warm` for tests of their pages: some pictures of each group, and hostile text."""

from __future__ import annotations

from pathlib import Path

from proxy.services.warm.gathering import Unread
from proxy.services.warm.previews import Preview
from proxy.services.warm.warming import (
    NOT_KEPT,
    KeptOriginal,
    PictureToWarm,
    WarmedVariant,
    WarmFailure,
    WarmOutcome,
)
from proxy.services.warm.warmreport import WarmReport
from proxy.source import Source

NOW = 1_767_225_600.0
"""2026-01-01, 00:00 UTC."""
HASH = Preview(b"1QcSHQRnh493V4dIh4eXh1h4kJUI", is_hash=True)
"""The ThumbHash of a photograph, from the examples of its definition."""
REASONS = {
    "gone": WarmFailure("source_not_found", "The origin has no such picture.", 404),
    "refused": WarmFailure("source_refused", "The origin refuses it.", 403),
    "not_a_picture": WarmFailure("not_an_image", "The origin sent HTML.", 200),
    "not_now": WarmFailure("source_timeout", "The origin is silent."),
    "not_kept": WarmFailure(NOT_KEPT, "The store has no room."),
}
HOSTILE = "</script><script>window.hacked = 1</script>\"'><img src=x onerror=hacked()>"


def picture(address: str, *articles: str) -> PictureToWarm:
    return PictureToWarm(Source.parse(address), ("content",), articles or ("posts/a.md",))


def kept(address: str, *, preview: Preview | None = HASH, **words: str) -> WarmOutcome:
    original = KeptOriginal("0" * 64, 1000, "image/png", new=True, **words)  # type: ignore[arg-type]
    made = (WarmedVariant("content", "avif", "avif", 200),)
    return WarmOutcome(picture(address), original, made=made, preview=preview)


def report_of(folder: Path, *, each: int = 3) -> WarmReport:
    """Return a report with `each` pictures in every group, two kept ones, and hostile text in every place."""
    article = folder / "a.md"
    article.write_text("x\n")
    report = WarmReport(
        articles=2, wanted=5 * each + 2, seconds=1.5, files={"posts/a.md": article}, lines={"posts/a.md": {}}
    )
    lines: dict[str, tuple[int, ...]] = {}
    for key, failure in REASONS.items():
        for number in range(each):
            address = f"http://{key.replace('_', '-')}.example/{number}.png"
            lines[address] = (number + 1, 70 + number)
            work = picture(address, "posts/a.md", HOSTILE)
            report.add(WarmOutcome(work, failure=failure), now=NOW + number)
    report.add(kept("http://kept.example/a.png"))
    report.add(kept("http://kept.example/b.png", recovered="javascript:alert(1)", preview=None))
    report.unread.append(Unread(HOSTILE, HOSTILE))
    report.lines = {"posts/a.md": lines}
    return report
