"""Reads the blocks of Markdown with markdown-it, within bounds. Pure.

markdown-it uses about a kilobyte of memory for each line and each block, and applies every rule to every line at every
level of nesting. So we limit the number of lines and blocks. The rules that can end a paragraph, a quote or a list are
applied only to lines whose first character can begin a block.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, table
from markdown_it.token import Token

MAX_NESTING = 20
"""The deepest nesting of lists and quotes that is read. CommonMark implementations have such a limit too."""
MAX_LINES = 500_000
MAX_TOKENS = 500_000
"""An article with more lines or blocks is not read. A book has about 20,000 lines."""

_LINE_END = re.compile(r"\r\n?|\n")
_BLOCK_STARTS = frozenset("#>-+*_`~<0123456789")
"""First characters of blocks that need no blank line before them. Tables are recognized by their second line."""

Rule = Callable[[StateBlock, int, int, bool], bool]


class TooManyBlocks(ValueError):
    """The article has too many lines or blocks. The message says which."""


class BlockReader:
    """Reads the blocks of articles, one article after the other. Keeps no state between them."""

    def __init__(self) -> None:
        self._parser = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING}).enable("table")
        self._parser.core.ruler.enableOnly(["normalize", "block"])
        # Addresses are compared with the text of the article, so the parser must not normalize or refuse any.
        self._parser.normalizeLink = _unchanged  # type: ignore[method-assign]  # its documented way
        self._parser.validateLink = _admit_all  # type: ignore[method-assign]  # its documented way
        ruler = self._parser.block.ruler
        chains = {"": ruler.getRules()}
        for name in ("paragraph", "reference", "blockquote", "list"):
            chains[name] = _behind_first_character(ruler.getRules(name))
        ruler.getRules = chains.__getitem__  # type: ignore[assignment,method-assign]  # no other way in

    def read(self, text: str) -> tuple[list[Token], dict[str, object]]:
        """Return the block tokens of `text`, and the environment with its reference definitions.

        Raises:
            TooManyBlocks: the text has too many lines or blocks.
        """
        text = _LINE_END.sub("\n", text)
        if text.count("\n") > MAX_LINES:
            raise TooManyBlocks(f"it has more than {MAX_LINES:,} lines")
        environment: dict[str, object] = {}
        state = _State(text, self._parser, environment, [])
        self._parser.block.tokenize(state, state.line, state.lineMax)
        return state.tokens, environment


class _State(StateBlock):
    def __init__(self, src: str, md: MarkdownIt, env: dict[str, object], tokens: list[Token]) -> None:
        # The base class would index the text character by character. We do that by lines, which is faster.
        super().__init__("", md, env, tokens)
        self.src = src
        lines = src.split("\n")
        if not lines[-1].strip(" \t"):
            # There is no text after the last line end.
            lines.pop()
        indents = [len(line) - len(line.lstrip(" \t")) for line in lines]
        begins = [0, *accumulate(len(line) + 1 for line in lines)]
        begins.pop()
        self.bMarks = [*begins, len(src)]
        self.eMarks = [*map(sum, zip(begins, map(len, lines), strict=True)), len(src)]
        self.tShift = [*indents, 0]
        widths = (len(line[:indent].expandtabs(4)) for line, indent in zip(lines, indents, strict=True))
        self.sCount = [*(widths if "\t" in src else indents), 0]
        self.bsCount = [0] * (len(lines) + 1)
        self.lineMax = len(lines)

    def push(self, ttype: str, tag: str, nesting: Literal[-1, 0, 1]) -> Token:
        if len(self.tokens) >= MAX_TOKENS:
            raise TooManyBlocks(f"it has more than {MAX_TOKENS:,} blocks")
        return super().push(ttype, tag, nesting)


def _behind_first_character(rules: Sequence[Rule]) -> list[Rule]:
    """Return one rule that combines `rules`: it checks a line's first character before it applies any of them."""
    started = [rule for rule in rules if rule is not table]

    def begins(state: StateBlock, line: int, end: int, silent: bool) -> bool:
        position = state.bMarks[line] + state.tShift[line]
        first = state.src[position : position + 1]
        return first in _BLOCK_STARTS and any(rule(state, line, end, silent) for rule in started)

    return [begins, *(rule for rule in rules if rule is table)]


def _unchanged(url: str) -> str:
    return url


def _admit_all(url: str) -> bool:
    return True
