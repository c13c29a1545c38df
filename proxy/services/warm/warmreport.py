"""Sums up a warming: counts, bytes saved, and the pictures that need attention. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from proxy.services.warm.fates import FATES, Fate
from proxy.services.warm.gathering import Unread
from proxy.services.warm.previews import Previews
from proxy.services.warm.warming import WarmedVariant, WarmOutcome


@dataclass(frozen=True, slots=True)
class Weight:
    """The bytes that one kind of browser downloads: `before` for the originals, `after` for the variants."""

    browser: str
    before_bytes: int
    after_bytes: int

    @property
    def saved_share(self) -> float:
        """The share of bytes saved, 0-1; negative when the variants are larger."""
        return 1 - self.after_bytes / self.before_bytes if self.before_bytes else 0.0


@dataclass(slots=True)
class WarmReport:
    """Collects outcomes. `wanted` is how many pictures there were to warm.

    interrupted: a signal ended the run. stopped: the step it was in, when no picture had been begun. lines: by article,
    the lines in which each of its sources stands. files: the file of each article. tried: by source, when its outcome
    was known (Unix seconds).
    """

    articles: int = 0
    wanted: int = 0
    unread: list[Unread] = field(default_factory=list)
    outcomes: list[WarmOutcome] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False
    stopped: str = ""
    lines: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    tried: dict[str, float] = field(default_factory=dict)
    previews: Previews = field(default_factory=Previews)

    def add(self, outcome: WarmOutcome, *, now: float | None = None) -> None:
        """Add the outcome of a picture, known at the time `now` (Unix seconds)."""
        url = outcome.work.source.url
        if now is not None:
            self.tried[url] = now
        if outcome.kept:
            self.previews.add(url, outcome.preview)
        # A run has many pictures, and a report has few previews.
        self.outcomes.append(replace(outcome, preview=None) if outcome.preview else outcome)

    def lines_of(self, article: str, url: str) -> tuple[int, ...]:
        """Return in which lines of its file an article shows a source; none if they are not known."""
        return self.lines.get(article, {}).get(url, ())

    @property
    def kept(self) -> list[WarmOutcome]:
        """Pictures that are durably on disk, ordered by source."""
        return _sorted(one for one in self.outcomes if one.kept)

    @property
    def dead(self) -> list[WarmOutcome]:
        """Pictures that visitors do not get, ordered by source; includes those that may come later."""
        return _sorted(one for one in self.outcomes if one.dead)

    @property
    def by_fate(self) -> dict[Fate, list[WarmOutcome]]:
        """The pictures that visitors do not get, by what their failures say about them."""
        dead = self.dead
        return {fate: [one for one in dead if one.failure and one.failure.fate == fate] for fate in FATES}

    @property
    def listed(self) -> dict[str, list[WarmOutcome]]:
        """The pictures that visitors do not get, by the word under which people see them; fates may share one."""
        found: dict[str, list[WarmOutcome]] = {}
        for fate, outcomes in self.by_fate.items():
            found.setdefault(FATES[fate].listed, []).extend(outcomes)
        return found

    @property
    def not_kept(self) -> list[WarmOutcome]:
        """Pictures that exist or may exist, but could not be kept."""
        return _sorted(one for one in self.outcomes if one.not_kept)

    @property
    def damaged(self) -> list[WarmOutcome]:
        """Pictures that are kept although they cannot be decoded."""
        return [one for one in self.kept if one.kept and one.kept.damaged]

    @property
    def stale(self) -> list[WarmOutcome]:
        """Kept pictures whose origin no longer gives them."""
        return [one for one in self.kept if one.kept and one.kept.stale]

    @property
    def recovered(self) -> list[WarmOutcome]:
        """Pictures whose originals came from an archive or another wrapper, in this run or before."""
        return [one for one in self.kept if one.kept and one.kept.recovered]

    @property
    def left(self) -> int:
        """The number of pictures that were not begun."""
        return self.wanted - len(self.outcomes)

    @property
    def complete(self) -> bool:
        """Whether every picture is kept, every article was read, and nothing was interrupted."""
        return not (self.dead or self.not_kept or self.left or self.unread or self.interrupted)

    def counts(self) -> dict[str, int]:
        """Return the figures of the summary by name."""
        new = sum(1 for one in self.kept if one.kept and one.kept.new)
        made = [made for one in self.outcomes for made in one.made]
        return {
            "articles": self.articles,
            "pictures": self.wanted,
            "kept": new,
            "already_kept": len(self.kept) - new,
            "dead": len(self.dead),
            **{fate: len(outcomes) for fate, outcomes in self.by_fate.items()},
            "not_kept": len(self.not_kept),
            "damaged": len(self.damaged),
            "recovered": len(self.recovered),
            "not_begun": self.left,
            "variants": sum(1 for one in made if not one.failure),
            "variants_failed": sum(1 for one in made if one.failure and not one.redirected),
            "variants_redirected": sum(1 for one in made if one.redirected),
            "originals_bytes": sum(one.kept.size_bytes for one in self.kept if one.kept),
            "variants_bytes": sum(one.size_bytes for one in made),
        }

    def dead_by_code(self) -> dict[str, int]:
        """Return the number of dead pictures by code, the most frequent first."""
        return by_code(self.dead)

    def weights(self) -> list[Weight]:
        """Return the total weight of the pictures for each kind of browser."""
        names = dict.fromkeys(made.browser for one in self.kept for made in one.made if made.browser)
        return [self._weight(name) for name in names]

    def troubled(self) -> Iterator[tuple[WarmOutcome, WarmedVariant]]:
        """Yield the variants that could not be made, with their pictures."""
        for one in self.kept:
            seen: set[tuple[str, str]] = set()
            for made in one.made:
                # The same failure in several formats is reported once.
                if made.failure and (made.options, made.failure.code) not in seen:
                    seen.add((made.options, made.failure.code))
                    yield one, made

    def _weight(self, browser: str) -> Weight:
        before = after = 0
        for one in self.kept:
            mine = [made for made in one.made if made.browser == browser]
            size = one.kept.size_bytes if one.kept else 0
            if mine:
                before += size
                # Visitors get the original where a variant cannot be made.
                after += sum(made.size_bytes for made in mine if not made.failure)
                after += size if any(made.failure for made in mine) else 0
        return Weight(browser, before, after)

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "summary": {
                **self.counts(),
                "dead_by_code": self.dead_by_code(),
                "seconds": round(self.seconds, 3),
                "interrupted": self.interrupted,
                "stopped": self.stopped,
            },
            "weights": [
                {"browser": w.browser, "before_bytes": w.before_bytes, "after_bytes": w.after_bytes}
                for w in self.weights()
            ],
            "dead": [self._failure(one) for one in self.dead],
            "not_kept": [self._failure(one) for one in self.not_kept],
            "damaged": [self._place(one) for one in self.damaged],
            "stale": [{**self._place(one), "code": one.kept.stale} for one in self.stale if one.kept],
            "recovered": [
                {**self._place(one), "url": one.kept.recovered, "new": one.kept.new}
                for one in self.recovered
                if one.kept
            ],
            "variants_failed": [
                self._troubled(one, made) for one, made in self.troubled() if not made.redirected
            ],
            "variants_redirected": [
                self._troubled(one, made) for one, made in self.troubled() if made.redirected
            ],
            "kept": [{**self._place(one), **_kept(one)} for one in self.kept],
            "unread": [{"article": item.article, "reason": item.reason} for item in self.unread],
        }

    def _place(self, one: WarmOutcome) -> dict[str, Any]:
        url, articles = one.work.source.url, one.work.articles
        lines = {name: list(found) for name in articles if (found := self.lines_of(name, url))}
        return {"source": url, "articles": list(articles), "lines": lines}

    def _failure(self, one: WarmOutcome) -> dict[str, Any]:
        code, message = (one.failure.code, one.failure.message) if one.failure else ("", "")
        fate = {"fate": one.failure.fate} if one.failure and one.dead else {}
        return {**self._place(one), "code": code, "message": message, **fate}

    def _troubled(self, one: WarmOutcome, made: WarmedVariant) -> dict[str, Any]:
        code, message = (made.failure.code, made.failure.message) if made.failure else ("", "")
        return {**self._place(one), "options": made.options, "code": code, "message": message}


def by_code(outcomes: Iterable[WarmOutcome]) -> dict[str, int]:
    """Return the number of failures by code, the most frequent first."""
    counted = Counter(one.failure.code for one in outcomes if one.failure)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _sorted(outcomes: Iterable[WarmOutcome]) -> list[WarmOutcome]:
    return sorted(outcomes, key=lambda one: one.work.source.url)


def _kept(one: WarmOutcome) -> dict[str, Any]:
    kept = one.kept
    if kept is None:
        return {}
    variants = [
        {"options": made.options, "format": made.output_format, "bytes": made.size_bytes}
        for made in one.made
        if not made.failure
    ]
    return {
        "sha256": kept.sha256, "bytes": kept.size_bytes, "media_type": kept.media_type,
        "new": kept.new, "damaged": kept.damaged, "variants": variants,
    }  # fmt: skip
