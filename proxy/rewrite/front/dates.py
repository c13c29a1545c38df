"""Finds the date of an article, so that its pictures can be looked up in archives near that day. Pure.

Reads `date` and similar keys of front matter, HTML's `article:published_time` and `<time datetime>`, and a date at the
beginning of the file's name (Jekyll). Time zones are ignored, because archives are not precise to the hour.

    good   date: 2021-07-26 11:54:00            good   date: Mon, 26 Jul 2021 11:54:00 GMT
    good   2021-07-26-title.md                  bad    date: yesterday   ->  None
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from email.utils import parsedate

from proxy.rewrite.front.frontmatter import find_front_matter

_HEAD_BYTES = 256 * 1024
_FIELD = re.compile(
    r"""^[ \t]*["']?(?:date|pub_?date|publish_?date|published|published_at|created|created_at|time)["']?"""
    r"""[ \t]*[:=][ \t]*["']?([^"'\r\n#}]{6,64})""",
    re.IGNORECASE | re.MULTILINE,
)
_PUBLISHED = re.compile(
    r"""<meta\b[^>]{0,200}?article:published_time[^>]{0,200}?content=["']?([^"'>]{6,64})"""
    r"""|<time\b[^>]{0,200}?datetime=["']?([^"'>]{6,64})""",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?:^|[\\/])(\d{4}-\d{1,2}-\d{1,2})-[^\\/]*\Z")
_NUMBERS = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T\s]+(\d{1,2}):(\d{2})(?::(\d{2}))?)?")


def article_date(data: bytes, *, name: str = "") -> float | None:
    """Return the date of an article in Unix seconds, or None when it has none."""
    # Like the rewriter, read Latin-1: every byte is a character, and dates are ASCII.
    text = data[:_HEAD_BYTES].decode("latin-1")
    for found in (*_in_front_matter(text), *_in_html(text)):
        moment = _moment(found)
        if moment is not None:
            return moment
    named = _NAME.search(name)
    return _moment(named[1]) if named else None


def _in_front_matter(text: str) -> list[str]:
    matter = find_front_matter(text)
    return [match[1] for match in _FIELD.finditer(text, matter.start, matter.end)] if matter else []


def _in_html(text: str) -> list[str]:
    match = _PUBLISHED.search(text)
    return [match[1] or match[2]] if match else []


def _moment(text: str) -> float | None:
    match = _NUMBERS.match(text.strip())
    if match:
        return _checked([int(part or 0) for part in match.groups()])
    try:
        parts = parsedate(text)
    except (ValueError, TypeError, IndexError):
        return None
    return _checked(parts[:6]) if parts else None


def _checked(parts: Sequence[int]) -> float | None:
    year, month, day, hour, minute, second = parts
    # A month 0 or a 31 February is not a date. The time of day hardly matters, so it is only forced into range.
    if not (1990 <= year < 2100 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return None
    return float(calendar.timegm((year, month, day, hour % 24, minute % 60, second % 60)))
