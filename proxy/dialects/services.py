"""Opens addresses of simple services, described by the rows of `services.toml`, which is read once. Pure.

A row names the hosts, the place and encoding of the source, and the service's own options. Grammars that need more
have their own files.

    good   external-content.duckduckgo.com/iu/?u=https%3A%2F%2Fh%2Fa.png&f=1     ->  https://h/a.png
    good   steemitimages.com/640x0/https://h/a.png                               ->  https://h/a.png, width=640
    bad    steemitimages.com/640x0/                                              ->  None: no source
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

from proxy.dialects.base.address import SplitAddress
from proxy.dialects.base.asked import (
    AskedOptions,
    OptionKey,
    Reader,
    asked,
    density,
    nothing,
    picture_format,
    pixels,
    quality,
    words,
)
from proxy.dialects.base.grammar import inside, split_query
from proxy.dialects.base.opened import ABSOLUTE, OpenedWrapper, open_query, query_items
from proxy.source import looks_encoded

HIVE_HOSTS = (
    "steemitimages.com",
    "cdn.steemitimages.com",
    "images.hive.blog",
    "images.ecency.com",
    "i.ecency.com",
)
"""Hosts that also take a source in base58 (`proxy.dialects.grammars.encoded`)."""
_READERS: dict[str, Reader] = {
    "width": pixels("width"),
    "height": pixels("height"),
    "quality": quality,
    "format": picture_format,
    "dpr": density,
    "naver": lambda text: pixels("width")(text[1:]) if text[:1] == "w" else None,
}
_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
_SCHEMELESS = re.compile(r"(?://)?(?P<host>[^/?#:@\s]+\.[A-Za-z]{2,})(?P<port>:[0-9]+)?(?:[/?#]|\Z)")


@dataclass(frozen=True)
class Service:
    """One row; `services.toml` documents its fields."""

    name: str
    hosts: tuple[str, ...]
    path: str
    source: str
    key: str = ""
    scheme: str = ""
    suffix: str = ""
    own: tuple[str, ...] = ()
    asks: Mapping[str, Any] = field(default_factory=dict)
    marks: tuple[str, str] = (",", "=")
    options_key: str = ""
    meets: str = ""

    @cached_property
    def keys(self) -> Mapping[str, OptionKey]:
        """The service's options by name."""
        found = {name: OptionKey((name,), nothing) for name in self.own}
        for name, meaning in self.asks.items():
            reader = words("fit", meaning) if isinstance(meaning, dict) else _READERS.get(meaning)
            if reader is not None:
                found[name] = OptionKey((name,), reader)
        return _Anything(found) if "*" in self.own else found

    @cached_property
    def _path(self) -> re.Pattern[str]:
        return re.compile(self.path)

    def open_address(self, address: SplitAddress) -> OpenedWrapper | None:
        """Open an address at one of the service's hosts.

        Raises:
            AmbiguousWrapper: query keys that may belong to the service or to the source.
        """
        match = self._path.match("/" + address.rest)
        if match is None:
            return None
        rest = ("/" + address.rest)[match.end() :]
        opened = self._opened(address, rest)
        if opened is None or not opened.target:
            return None
        listed = list(self._listed(match))
        if not listed:
            return opened
        start = AskedOptions(({"fit": self.meets} if self.meets else {}) | opened.options, opened.dropped)
        wanted = asked(listed, self.keys, start=start)
        return OpenedWrapper.of(opened.target, wanted)

    def _opened(self, address: SplitAddress, rest: str) -> OpenedWrapper | None:
        if self.source in ("query", "parameters"):
            return self._value(rest)
        path, query = split_query(rest)
        wanted = asked(self._of_query(query), self.keys)
        if self.source == "subdomain":
            host = address.host.removesuffix(self.suffix)
            return OpenedWrapper.of(f"http://{host}{address.path}", wanted) if "." in host else None
        if self.source == "escaped":
            return OpenedWrapper.of(inside(path), wanted) if ABSOLUTE.match(path) else None
        target = self._with_scheme(rest)
        # The query belongs to a plain source.
        return OpenedWrapper.of(target, wanted if looks_encoded(rest) else AskedOptions()) if target else None

    def _value(self, rest: str) -> OpenedWrapper | None:
        query = rest
        if self.source == "query":
            _, mark, query = rest.partition("?")
            if not mark or rest.partition("?")[0].strip("/"):
                return None
        opened = open_query(query, self.key, keys=self.keys)
        if opened is None:
            return None
        target = opened.target.strip('"')
        if looks_encoded(target):
            return replace(opened, target=inside(target))
        target = self._with_scheme(target)
        return replace(opened, target=target) if target else None

    def _with_scheme(self, text: str) -> str:
        """Return a source with its scheme, or an empty text when it has none and the service adds none."""
        if ABSOLUTE.match(text):
            return inside(text)
        if text.startswith("//") and _SCHEMELESS.match(text) and self.source == "query":
            return f"https:{text}"
        bare = _SCHEMELESS.match(text) if self.scheme else None
        if bare is None:
            return ""
        # Rob--W/cors-anywhere: http, but https when the port is 443.
        scheme = "https" if bare["port"] == ":443" else self.scheme
        return f"{scheme}://{text.removeprefix('//')}"

    def _of_query(self, query: str) -> Iterator[tuple[str, str]]:
        for name, value in query_items(query):
            if self.options_key and name == self.options_key:
                yield from self._split(value)
            else:
                yield name, value

    def _listed(self, match: re.Match[str]) -> Iterator[tuple[str, str]]:
        for name, value in match.groupdict().items():
            if name == "options" and value:
                yield from self._split(value)
            elif value and name in ("width", "height"):
                yield from ((name, value),) if name in self.keys else ()

    def _split(self, text: str) -> Iterator[tuple[str, str]]:
        between, mark = self.marks
        for item in re.split(f"[{re.escape(between)}]|%2C", text.strip("/"), flags=re.IGNORECASE):
            size = _SIZE.fullmatch(item) if "*size" in self.asks else None
            if size:
                yield "width", size[1]
                yield "height", size[2]
            elif item:
                name, _, value = item.partition(mark)
                yield name, value


class _Anything(dict[str, OptionKey]):
    """Keys for a service that owns every option name."""

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name) or OptionKey((name,), nothing)

    def __contains__(self, name: object) -> bool:
        return True


def _service(table: Mapping[str, Any]) -> Service:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
    }
    asks = dict(values.get("asks", {}))
    if "*size" in asks or "(?P<width>" in values["path"]:
        asks |= {"width": "width", "height": "height"}
    return Service(**(values | {"asks": asks}))


@cache
def shipped() -> tuple[Service, ...]:
    """Return the rows of `services.toml`."""
    text = files("proxy.dialects").joinpath("services.toml").read_text(encoding="utf-8")
    return tuple(_service(table) for table in tomllib.loads(text)["service"])


def host_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a host pattern: `*` is any text, `?` one character."""
    return re.compile(re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\?", "[^/]"))


def is_pattern(host: str) -> bool:
    """Return whether a host of a row is a pattern."""
    return any(char in host for char in "*?")


def hosts_of(services: Iterable[Service]) -> set[str]:
    """Return all hosts and patterns of rows."""
    return {host for service in services for host in service.hosts}
