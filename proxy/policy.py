"""Which sources are served: patterns, the admission rule of the contract and the listening rule.

Pure but for `load_manifest`, which reads one file. Knows canonical sources and configuration; refuses to know
addresses (`proxy.fetch.addresses` looks at what is really connected to) and how a signature is made.

Pattern contract: a host (`example.com`: any scheme and port), `*.example.com` (every name below it, not
itself) or a URL prefix (`https://example.com/pictures/`, `http://example.com:8080`). Hosts are read as in
sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from proxy.config import Config, SourcesConfig
from proxy.config.file import ConfigError
from proxy.errors import MirrorError, RequestError, SignatureMissing, SourceNotAllowed
from proxy.source import Source

_URL = re.compile(r"https?:", re.IGNORECASE)
_HOST = re.compile(r"\[[^\]\s]*\]|[^\s/\\?#@*:]*[^\s/\\?#@*:.]\.?")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9\-._~]")
_SLASH = re.compile(rb"[/\\]")
_SLASHES = re.compile(rb"[/\\]+")
_PARAMETERS = re.compile(rb";[^/\\]*")
_COMMENT = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One entry of `sources.allow` or `sources.deny`, read once.

    `scheme` and `port` are None for host patterns: they match on every port of either scheme.
    """

    text: str
    hostname: str
    below: bool = False
    scheme: str | None = None
    port: int | None = None
    path: str = "/"

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Return the pattern that `text` writes.

        Raises:
            ValueError: with a sentence for the operator.
        """
        if _URL.match(text):
            return _parse_prefix(text)
        return _parse_host(text)

    def allows(self, source: Source) -> bool:
        """Tell whether `source` lies under the pattern in every way an origin may read its path."""
        return self._matches_place(source) and all(self._matches_path(source))

    def denies(self, source: Source) -> bool:
        """Tell whether `source` lies under the pattern in any way an origin may read its path."""
        return self._matches_place(source) and any(self._matches_path(source))

    def _matches_place(self, source: Source) -> bool:
        if self.scheme is not None and (self.scheme, self.port) != (source.scheme, source.port):
            return False
        if self.below:
            return source.hostname.endswith("." + self.hostname)
        return source.hostname == self.hostname

    def _matches_path(self, source: Source) -> Iterator[bool]:
        path = source.target.partition("?")[0]
        for read, rule in zip(_readings(path), _readings(self.path), strict=True):
            yield read.startswith(rule)


def pattern_problem(pattern: str) -> str | None:
    """Return what is wrong with an entry of `sources.allow` or `sources.deny`, or None."""
    try:
        Pattern.parse(pattern)
    except ValueError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule that was tried: its name, whether the request passes it, and why in words for people."""

    rule: str
    passed: bool
    reason: str


class Policy:
    """The admission rule of docs/api.md, held by one configuration; immutable, replaced at a reload.

    1. deny: no pattern of `sources.deny` matches.
    2. signature: with keys, the request is signed; a form that cannot be signed (`/?URL`) needs a source that
       the manifest or `sources.allow` names.
    3. manifest: with a manifest, it names the source.
    4. allow: with `sources.allow`, one of its patterns matches.
    5. open: with none of the three, `sources.open` is true.
    6. transform: what is asked for is a preset or a width of `rewrite.widths`, unless any transform may be asked for.

    A signature of another proxy's grammar counts as one of ours for 2 and, with the options that it covers, for 6.
    Keys of such a grammar are no keys for 5 and 6.

    The first rule that is not passed ends the request with `SourceNotAllowed` (2: also `SignatureMissing`).
    """

    def __init__(
        self, sources: SourcesConfig, *, any_transform: bool, manifest: frozenset[str] | None
    ) -> None:
        self._allow = tuple(Pattern.parse(text) for text in sources.allow)
        self._deny = tuple(Pattern.parse(text) for text in sources.deny)
        self._has_keys = bool(sources.keys)
        self._open = sources.open
        self._any_transform = any_transform
        self._presets_only = sources.transforms == "presets"
        self._manifest = manifest

    def admit(
        self,
        source: Source,
        *,
        transform_is_preset_only: bool,
        signed: bool | None,
        covers_options: bool | None = None,
    ) -> None:
        """Let the request pass, or raise.

        `signed` is True after the signature was verified, False without one, None for request forms that
        cannot carry one. `covers_options` is said of signatures of another proxy's grammar: whether they are over the
        options too. The original counts as a preset.

        Raises:
            SourceNotAllowed, SignatureMissing: as the class says.
        """
        verdicts = self._verdicts(
            source, preset_only=transform_is_preset_only, signed=signed, covered=covers_options
        )
        for verdict in verdicts:
            if not verdict.passed:
                raise _refusal(verdict, signed=signed)

    def explain(
        self,
        source: Source,
        *,
        transform_is_preset_only: bool,
        signed: bool | None,
        covers_options: bool | None = None,
    ) -> list[Verdict]:
        """Return every rule with its outcome, the ones after the first refusal included."""
        return list(
            self._verdicts(
                source, preset_only=transform_is_preset_only, signed=signed, covered=covers_options
            )
        )

    def denied(self, source: Source) -> bool:
        """Tell whether `sources.deny` names the source: the only configuration that ends a kept original."""
        return _first_match(pattern for pattern in self._deny if pattern.denies(source)) is not None

    def check_hop(self, source: Source) -> None:
        """Let a redirect to `source` pass, or raise: manifest and signature cover the first URL only.

        Raises:
            SourceNotAllowed: denied, or not matched by an allow-list.
        """
        for verdict in (self._deny_verdict(source), self._allow_verdict(source)):
            if not verdict.passed:
                raise SourceNotAllowed(detail=f"redirect to {source}: {verdict.reason}")

    def _verdicts(
        self, source: Source, *, preset_only: bool, signed: bool | None, covered: bool | None
    ) -> Iterator[Verdict]:
        yield self._deny_verdict(source)
        yield self._signature_verdict(signed)
        yield self._manifest_verdict(source)
        yield self._allow_verdict(source)
        yield self._open_verdict()
        yield self._transform_verdict(preset_only=preset_only, signed=signed, covered=covered)

    def _deny_verdict(self, source: Source) -> Verdict:
        found = _first_match(pattern for pattern in self._deny if pattern.denies(source))
        return Verdict("deny", found is None, f"sources.deny has {found}" if found else "not in sources.deny")

    def _signature_verdict(self, signed: bool | None) -> Verdict:
        if not self._has_keys:
            return Verdict("signature", True, "there are no keys")
        if signed is None:
            named = bool(self._allow) or self._manifest is not None
            reason = "manifest and allow decide" if named else "there is no manifest and no sources.allow"
            return Verdict("signature", named, f"this form of address cannot be signed; {reason}")
        return Verdict("signature", signed, "signed" if signed else "there are keys and no signature")

    def _manifest_verdict(self, source: Source) -> Verdict:
        if self._manifest is None:
            return Verdict("manifest", True, "there is no manifest")
        named = source.url in self._manifest
        return Verdict("manifest", named, "in the manifest" if named else "not in the manifest")

    def _allow_verdict(self, source: Source) -> Verdict:
        if not self._allow:
            return Verdict("allow", True, "sources.allow is empty")
        found = _first_match(pattern for pattern in self._allow if pattern.allows(source))
        return Verdict(
            "allow", found is not None, f"sources.allow has {found}" if found else "not in sources.allow"
        )

    def _open_verdict(self) -> Verdict:
        if self._has_keys or self._manifest is not None or self._allow:
            return Verdict("open", True, "keys, manifest or sources.allow decide")
        return Verdict("open", self._open, "sources.open is true" if self._open else "sources.open is false")

    def _transform_verdict(self, *, preset_only: bool, signed: bool | None, covered: bool | None) -> Verdict:
        if preset_only:
            return Verdict("transform", True, "a preset, one of rewrite.widths, or the original")
        if covered is False:
            return Verdict("transform", False, "the signature covers the source, not the options")
        if covered and not self._presets_only:
            return Verdict("transform", True, "the signature covers the options")
        if self._has_keys and signed is None:
            # With keys it is the signature that bounds the number of variants; here there is none.
            return Verdict("transform", False, "only a signed address may ask for options of its own")
        reason = (
            "any transform is served"
            if self._any_transform
            else "sources.transforms admits presets and rewrite.widths only"
        )
        return Verdict("transform", self._any_transform, reason)


def load_manifest(path: Path) -> frozenset[str]:
    """Return the canonical URLs that the file names: one a line, `#` begins a comment.

    Raises:
        ConfigError: the file cannot be read, or has lines that are no sources; all of them are named.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise ConfigError([f"sources.manifest: {path} cannot be read: {error.strerror}"]) from error
    urls: set[str] = set()
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        url = _COMMENT.sub("", line).strip()
        try:
            urls |= {Source.parse(url).url} if url else set()
        except RequestError as error:
            problems.append(f"sources.manifest: line {number}: {error.message}")
    if problems:
        raise ConfigError(problems)
    return frozenset(urls)


def listen_problem(config: Config) -> str | None:
    """Return why the service may not listen where it is told to, or None.

    Open to any source on an address that others reach, it would fetch and resize for the whole world.
    """
    sources = config.sources
    bounded = sources.keys or sources.allow or sources.manifest is not None
    if config.on_loopback or sources.open_to_world or bounded or not sources.open:
        return None
    return (
        f"server.host {config.server.host!r} can be reached by others while any source is served: set "
        "sources.allow, sources.manifest or sources.keys, or say sources.open_to_world = true"
    )


def _parse_prefix(text: str) -> Pattern:
    try:
        source = Source.parse(text)
    except MirrorError as error:
        raise ValueError(f"{text!r}: {error.message}") from error
    if "#" in text or "?" in text:
        raise ValueError(f"{text!r}: a URL prefix has no query and no fragment")
    if "*" in source.host:
        raise ValueError(f"{text!r}: a URL prefix has no wildcard in its host")
    path = source.target
    if not path.endswith("/"):
        raise ValueError(f"{text!r}: a URL prefix ends in '/'")
    return Pattern(text, source.hostname, scheme=source.scheme, port=source.port, path=path)


def _parse_host(text: str) -> Pattern:
    below = text.startswith("*.")
    name = text[2:] if below else text
    if not _HOST.fullmatch(name):
        raise ValueError(f"{text!r} is not a host, '*.host' or a URL prefix such as https://host/folder/")
    try:
        source = Source.parse(f"http://{name}/")
    except MirrorError as error:
        raise ValueError(f"{text!r}: {error.message}") from error
    if below and _is_address(source):
        raise ValueError(f"{text!r}: nothing lies below an address")
    return Pattern(text, source.hostname, below=below)


def _is_address(source: Source) -> bool:
    # WHATWG URL §4.1: a host whose last label is numeric is an IPv4 address, or no host at all.
    return ":" in source.hostname or source.hostname.rpartition(".")[2].isdigit()


def _readings(path: str) -> Iterator[bytes]:
    """Yield what common servers make of a path, in a fixed order.

    Some decode it before they look for slashes and dots, some twice (a server behind another one). Some merge slashes.
    Servlet containers take path parameters (`;a=b`) off every segment, before they decode and before they resolve
    `..`. So `/b/..;/a/x`, `/b/..%2Fa/x`, `/b//..%5Ca/x` and `/a;x/x` are all `/a/x` to somebody.
    """
    raw = path.encode()
    yield _ESCAPE.sub(_tidy_escape, path).encode()
    once = unquote_to_bytes(raw)
    twice = unquote_to_bytes(once)
    for read in (once, unquote_to_bytes(_bare(raw)), _bare(once), twice, _bare(twice)):
        yield _resolved(_SLASHES.split(read))
        yield _resolved(_SLASH.split(read))


def _tidy_escape(match: re.Match[str]) -> str:
    """Decode an unreserved character, write the others in capitals (RFC 3986 §6.2.2)."""
    character = chr(int(match[1], 16))
    return character if _UNRESERVED.fullmatch(character) else match[0].upper()


def _bare(path: bytes) -> bytes:
    return _PARAMETERS.sub(b"", path)


def _resolved(segments: list[bytes]) -> bytes:
    kept: list[bytes] = []
    for segment in segments[1:]:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    return b"/" + b"/".join(kept)


def _first_match(found: Iterable[Pattern]) -> str | None:
    return next((pattern.text for pattern in found), None)


def _refusal(verdict: Verdict, *, signed: bool | None) -> MirrorError:
    if verdict.rule == "signature" and signed is False:
        return SignatureMissing(detail=verdict.reason)
    return SourceNotAllowed(detail=f"{verdict.rule}: {verdict.reason}")
