"""The result of rewriting an article, as values. Offsets are bytes of the original article. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.rewrite.base.kept import Wanted
from proxy.source import Source

MAX_LINES = 20
"""The most lines that are listed for one picture of an article. The store records as many."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """One change: the bytes `start:end` of the original were `old` and are now `new`.

    `dropped` names the options of the wrapper that our address cannot express. `attributes` names the attributes added
    to a picture; then `old` and `preset` are empty.
    """

    start: int
    end: int
    old: bytes
    new: bytes
    source: Source
    preset: str
    context: str
    line: int
    dropped: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Left:
    """An address that stays. `on_purpose` is false when it needs attention.

    `context` is the key, attribute or tag that contains it; empty when unknown.
    """

    line: int
    text: str
    reason: str
    on_purpose: bool
    context: str = ""


@dataclass(frozen=True, slots=True)
class ArticlePicture:
    """A picture of the article that a mirror can keep, and the presets in which it is shown.

    `lines` has the lines in which one of its addresses begins, from 1, in order; the first `MAX_LINES`. `wrapped` is
    true when the article shows it by a wrapper's or our own address, false when it asks the origin. `own` has our
    addresses as written in the article, without the base URL; `written` the wrappers' addresses, as sources.
    """

    source: Source
    presets: tuple[str, ...]
    lines: tuple[int, ...]
    wrapped: bool
    own: tuple[str, ...] = ()
    written: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RewriteResult:
    """The rewritten article and the findings, in the order of the article.

    `unsure`: sources that stay wrapped because they may not be pictures. `own`: the sources of our own addresses that
    the article already contained. `unread`: why a part was not read, empty when all was. `added`: the attributes added
    to pictures. `asked`: sources whose facts are needed to add some; the result is then not final
    (`Rewriter.rewrite`).
    """

    data: bytes
    replaced: tuple[Replacement, ...]
    left: tuple[Left, ...]
    pictures: tuple[ArticlePicture, ...]
    unsure: tuple[Source, ...] = ()
    own: tuple[Source, ...] = ()
    unread: str = ""
    added: tuple[Replacement, ...] = ()
    asked: tuple[Wanted, ...] = ()

    @property
    def changes(self) -> tuple[Replacement, ...]:
        """All changes in the order of the article."""
        return tuple(sorted((*self.replaced, *self.added), key=lambda item: (item.start, item.end)))

    @property
    def through_us(self) -> set[Source]:
        """The sources that the rewritten article requests through us."""
        return {*self.own, *(item.source for item in self.replaced)}
