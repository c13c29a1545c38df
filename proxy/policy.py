"""Which sources are served: the admission rule of the contract and the listening rule.

Pure but for `load_manifest`, which reads one file. Knows canonical sources and configuration; refuses to know
addresses (`proxy.fetch.addresses` looks at what is really connected to) and how a signature is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy.config import Config, ConfigError, SourcesConfig
from proxy.errors import MirrorError, RequestError, SignatureMissing, SourceNotAllowed
from proxy.patterns import Pattern
from proxy.source import Source

_COMMENT = re.compile(r"(^|\s)#.*")


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


def _first_match(found: Iterable[Pattern]) -> str | None:
    return next((pattern.text for pattern in found), None)


def _refusal(verdict: Verdict, *, signed: bool | None) -> MirrorError:
    if verdict.rule == "signature" and signed is False:
        return SignatureMissing(detail=verdict.reason)
    return SourceNotAllowed(detail=f"{verdict.rule}: {verdict.reason}")
