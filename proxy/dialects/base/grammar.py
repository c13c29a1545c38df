"""One grammar of wrapper URLs as a value: how it is read, built and shown in the table of its options. Pure.

`read(rest, site)` gets what stands behind the grammar's mount, without its slash and with the query, and the site
that relative sources belong to (`https://host`; empty when nobody knows).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.dialects.base.asked import OptionKey, Options
from proxy.dialects.base.escapes import percent_decode
from proxy.dialects.base.opened import OpenedWrapper
from proxy.dialects.base.serving import Serve, Served
from proxy.errors import InvalidTransform, NotFound
from proxy.source import looks_encoded

Read = Callable[[str, str], OpenedWrapper | None]
Build = Callable[[str, str, Options], str]
"""(mount, source, our options) -> address. Raises InvalidTransform for options that it cannot carry."""
Writer = Callable[[str], str | None]
"""Returns an option's text in another grammar, None when that cannot say this value."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar. `example` is an address of it with `{name}` and `{value}` where an option stands.

    mounts: what its addresses begin with by custom; a configured prefix may stop before it. serve: how its addresses
    are answered, None when they are only opened. mount: where, at a host that serves more than this dialect. alone:
    examples for options that are not served beside those of the first one.
    """

    name: str
    read: Read
    keys: tuple[OptionKey, ...] = ()
    example: str = ""
    build: Build | None = None
    mounts: tuple[str, ...] = ()
    serve: Serve | None = None
    mount: str = ""
    alone: tuple[str, ...] = ()

    def serve_rest(self, rest: str) -> Served:
        """Read strictly what stands behind a mount or at the root of a host, the customary mount included or not.

        Raises:
            NotFound: the dialect is not served.
            InvalidTransform, InvalidSource, InvalidRequest: what cannot be answered.
        """
        if self.serve is None:
            raise NotFound
        for mount in self.mounts:
            if rest.startswith(mount):
                return self.serve(rest[len(mount) :])
        return self.serve(rest)

    def open_rest(self, rest: str, site: str) -> OpenedWrapper | None:
        """Open what stands behind a host or a prefix, the customary mount included or not.

        Raises:
            InvalidSource: as the grammar says; AmbiguousWrapper among them.
        """
        rest = rest.lstrip("/")
        for mount in self.mounts:
            if rest.startswith(mount):
                rest = rest[len(mount) :]
                break
        return self.read(rest, site)


def split_query(rest: str) -> tuple[str, str]:
    """Return path and query; a fragment, which never reaches a server, is cut off."""
    path, _, query = rest.partition("#")[0].partition("?")
    return path, query


def split_list(text: str) -> list[str]:
    """Split a list at its commas, which some writers escape all of."""
    return re.split(r"%2C" if "," not in text else ",", text, flags=re.IGNORECASE)


def inside(rest: str) -> str:
    """Return the source that the rest of a path is: verbatim with its query, or decoded when it was escaped as a whole.

    One that was escaped ends where the path ends: the query behind it is the wrapper's.
    """
    if not looks_encoded(rest):
        return rest
    text, _ = split_query(rest)
    for _ in range(2):
        if looks_encoded(text):
            text = percent_decode(text)
    return text


def written(options: Options, writers: Mapping[str, Writer], dialect: str) -> list[str]:
    """Return the options of ours as texts of another grammar.

    Raises:
        InvalidTransform: one that it cannot carry.
    """
    texts: list[str] = []
    for name, value in sorted(options.items()):
        writer = writers.get(name)
        text = writer(value) if writer else None
        if text is None:
            raise InvalidTransform(f"{dialect} cannot carry {name}={value}.")
        if text:
            texts.append(text)
    return texts


def named(name: str, mark: str = "=") -> Writer:
    """Return a writer of `name=value`."""
    return lambda value: f"{name}{mark}{value}"


def worded(name: str, words: Mapping[str, str], mark: str = "=") -> Writer:
    """Return a writer of `name=word` for the values of ours that have a word."""
    return lambda value: f"{name}{mark}{words[value]}" if value in words else None
