"""A grammar of wrapper URLs as a value: functions to read and build addresses, and the table of options. Pure.

`read(rest, site)` gets the text after the grammar's mount, without its slash and with the query, and the site to which
relative sources belong (`https://host`, or empty when unknown).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.dialects.base.asked import FORMATS, OptionKey, Options
from proxy.dialects.base.escapes import percent_decode
from proxy.dialects.base.opened import OpenedWrapper
from proxy.dialects.base.serving import Serve, Served
from proxy.errors import InvalidTransform, NotFound
from proxy.source import looks_encoded

Read = Callable[[str, str], OpenedWrapper | None]
Build = Callable[[str, str, Options], str]
"""(mount, source, our options) -> address. Raises InvalidTransform for options that the grammar cannot express."""
Writer = Callable[[str], str | None]
"""Returns an option's text in another grammar, or None when the grammar cannot express this value."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar. `example` is an address of it with `{name}` and `{value}` where an option stands.

    mounts: the customary beginnings of its addresses; a configured prefix may omit them. serve: reads requests in this
    grammar; None when addresses are only opened. mount: where it is served at a host with several dialects. alone:
    examples for options that cannot be combined with those of the first example. pictures_only: its services carry
    nothing but pictures, so an address of it is a picture's whatever the source is called.
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
    pictures_only: bool = field(kw_only=True)

    def serve_rest(self, rest: str) -> Served:
        """Read strictly the text after a mount or a host, with or without the customary mount.

        Raises:
            NotFound: the dialect is not served.
            InvalidTransform, InvalidSource, InvalidRequest: the request cannot be answered.
        """
        if self.serve is None:
            raise NotFound
        for mount in self.mounts:
            if rest.startswith(mount):
                return self.serve(rest[len(mount) :])
        return self.serve(rest)

    def open_rest(self, rest: str, site: str) -> OpenedWrapper | None:
        """Open the text after a host or a prefix, with or without the customary mount.

        Raises:
            InvalidSource: raised by the grammar; includes AmbiguousWrapper.
        """
        rest = rest.lstrip("/")
        for mount in self.mounts:
            if rest.startswith(mount):
                rest = rest[len(mount) :]
                break
        return self.read(rest, site)


def split_query(rest: str) -> tuple[str, str]:
    """Return path and query without the fragment, which never reaches a server."""
    path, _, query = rest.partition("#")[0].partition("?")
    return path, query


def split_list(text: str) -> list[str]:
    """Split a list at its commas, which may all be escaped."""
    return re.split(r"%2C" if "," not in text else ",", text, flags=re.IGNORECASE)


def inside(rest: str) -> str:
    """Return the source at the end of a path: verbatim with its query, or decoded if it was escaped as a whole.

    An escaped source ends with the path; the query after it belongs to the wrapper.
    """
    if not looks_encoded(rest):
        return rest
    text, _ = split_query(rest)
    for _ in range(2):
        if looks_encoded(text):
            text = percent_decode(text)
    return text


def written(options: Options, writers: Mapping[str, Writer], dialect: str) -> list[str]:
    """Return our options as texts of another grammar.

    Raises:
        InvalidTransform: the grammar cannot express an option.
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


def formatted(name: str, mark: str = "=") -> Writer:
    """Return a writer of `name=value` for the output formats that `picture_format` reads."""
    return lambda value: f"{name}{mark}{value}" if FORMATS.get(value) == value else None


def worded(name: str, words: Mapping[str, str], mark: str = "=") -> Writer:
    """Return a writer of `name=word` for those of our values that have a word."""
    return lambda value: f"{name}{mark}{words[value]}" if value in words else None
