"""Addresses of Statically: `cdn.statically.io/img/HOST/[f=auto,w=600/]PATH`, or options in its query. Pure.

good   https://cdn.statically.io/img/h.org/f=auto,w=600/a.png     ->  https://h.org/a.png, width=600
good   https://cdn.statically.io/img/h.org/a.png?h=64             ->  https://h.org/a.png, height=64
bad    https://cdn.statically.io/img/h.org/a.png?v=3              ->  AmbiguousWrapper: whose is `v`?
"""

from __future__ import annotations

import re

from proxy.dialects.base.asked import asked, by_name, key, picture_format, pixels, quality
from proxy.dialects.base.grammar import Grammar, split_query
from proxy.dialects.base.opened import AmbiguousWrapper, OpenedWrapper, query_items

HOSTS = ("cdn.statically.io",)
_REST = re.compile(r"(?P<host>[^/.][^/]*\.[^/]+)/(?:(?P<options>[a-z]+=[^/]*)/)?(?P<path>.+)", re.DOTALL)
KEYS = (
    key("w width", pixels("width"), "300"),
    key("h height", pixels("height"), "200"),
    key("f format", picture_format, "webp"),
    key("q quality", quality, "75"),
)
_BY_NAME = by_name(KEYS)


def read(rest: str, site: str) -> OpenedWrapper | None:
    """Open `HOST/[OPTIONS/]PATH`.

    Raises:
        AmbiguousWrapper: there are query keys that Statically does not know.
    """
    path, query = split_query(rest)
    match = _REST.match(path)
    if match is None:
        return None
    items = query_items(query)
    strange = sorted({name for name, _ in items} - _BY_NAME.keys())
    if strange:
        raise AmbiguousWrapper(
            f"it is not clear to which address these query keys belong: {', '.join(strange)}"
        )
    listed = [item.partition("=")[::2] for item in (match["options"] or "").split(",") if item]
    return OpenedWrapper.of(f"https://{match['host']}/{match['path']}", asked([*listed, *items], _BY_NAME))


GRAMMAR = Grammar(
    "statically",
    read,
    KEYS,
    "https://cdn.statically.io/img/h.org/w=9,h=9,{name}={value}/a.png",
    pictures_only=True,
)
