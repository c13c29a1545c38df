"""What rewriting an article answers: values only. Offsets are bytes of the article as it was given."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.rewrite.base.kept import Wanted
from proxy.source import Source


@dataclass(frozen=True, slots=True)
class Replacement:
    """One place that was changed: the bytes `start:end` of the original were `old` and are now `new`.

    `dropped` names the options of the wrapper that our address does not carry. `attributes` are the names of those that
    were added to a picture; then `old` is empty, and so is `preset`.
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
    """An address that stays. `on_purpose` is false when a person has to look at it.

    `context` is the key, attribute or tag it stands in; empty when that is not known.
    """

    line: int
    text: str
    reason: str
    on_purpose: bool
    context: str = ""


@dataclass(frozen=True, slots=True)
class ArticlePicture:
    """A picture of the article that a mirror can keep, and the presets it is shown in.

    `wrapped` is true when a wrapper or our own address shows it, false when the article asks its origin. `own` are
    our addresses of it as the article has them, from behind the base URL on; `written` the wrappers' own addresses, as
    sources.
    """

    source: Source
    presets: tuple[str, ...]
    line: int
    wrapped: bool
    own: tuple[str, ...] = ()
    written: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RewriteResult:
    """The article as it should be, and what was found in it, in the order of the article.

    `unsure` are sources that stay wrapped because nobody knows whether they are pictures. `own` are the sources of
    addresses of ours that stood in the article before, wherever. `unread` says why a part of it was not read; empty
    when all of it was. `added` is what was added to pictures, `asked` what has to be known to add it: then the
    result is only a question (`Rewriter.rewrite`).
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
        """Every place that was changed, in order of the article."""
        return tuple(sorted((*self.replaced, *self.added), key=lambda item: (item.start, item.end)))

    @property
    def through_us(self) -> set[Source]:
        """The sources that the article as it should be asks of us."""
        return {*self.own, *(item.source for item in self.replaced)}
