"""Finds text that every address of a known host contains, for a quick search before an article is parsed. Pure.

Text without the trace contains no such address; text with it may contain one.

    www.google.*   /imgres/?                ->  host `www.google.` begins so, and `/imgres` stands somewhere
    *.imgix.net    /                        ->  `.imgix.net` stands somewhere
    wsrv.nl        /                        ->  host `wsrv.nl`
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_GROUP = re.compile(r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)|\[[^\]]*\]")
_NOT_REQUIRED = re.compile(r"(?:\\.|[^\\])(?:[*?]|\{0?,|\{0\})[+?]?")
_LITERAL = re.compile(r"[a-z0-9_/.-]+")


@dataclass(frozen=True, slots=True)
class Trace:
    """`host` in lower case: the whole of it, or with `whole` false a piece; `path` is a piece of the path, or empty."""

    host: str
    path: str = ""
    whole: bool = True


def trace_of(host: str, path: str) -> Trace:
    """Return the trace of a row: a host or a pattern of hosts, and the regular expression its path begins with."""
    pieces = re.split(r"[*?]", host)
    return Trace(max(pieces, key=len), _required(path), whole=len(pieces) == 1)


def _required(pattern: str) -> str:
    """Return the longest text that every match of a simple regular expression contains, in lower case; may be empty.

    Groups and repeated or optional parts are skipped. An expression with alternatives gives an empty text.
    """
    while _GROUP.search(pattern):
        pattern = _GROUP.sub(" ", pattern)
    if "|" in pattern:
        return ""
    pattern = re.sub(
        r"\\([^A-Za-z0-9])",
        lambda match: match[1] if match[1] in "./-_" else " ",
        _NOT_REQUIRED.sub(" ", pattern),
    )
    pieces = _LITERAL.findall(re.sub(r"\\.", " ", pattern))
    longest = max(pieces, key=len, default="").lower().strip("/")
    return longest if len(longest) > 2 else ""
