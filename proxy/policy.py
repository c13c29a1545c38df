"""Decides which sources are served, and whether the service may listen on a public address.

Works on canonical sources and the configuration. It does not check IP addresses (`proxy.fetch.addresses` checks the
address of each connection) and does not compute signatures. Pure, except `load_manifest`, which reads one file.
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
    """The outcome of one rule: its name, whether the request passes, and the reason as a sentence for people."""

    rule: str
    passed: bool
    reason: str


class Policy:
    """The admission rules of docs/api.md for one configuration. Immutable; a reload makes a new one.

    1. deny: no pattern of `sources.deny` matches.
    2. signature: with keys, the request is signed; a form that cannot be signed (`/?URL`) needs a source that
       the manifest or `sources.allow` names.
    3. manifest: with a manifest, the manifest names the source.
    4. allow: with `sources.allow`, one of its patterns matches.
    5. open: without keys, manifest and `sources.allow`, `sources.open` is true.
    6. transform: the request asks for a preset or a width of `rewrite.widths`, unless any transform is allowed.

    A signature in another proxy's grammar satisfies rule 2 like one of ours. It satisfies rule 6 if it covers the
    options. The keys of such a grammar do not count as keys in rules 5 and 6.

    The first rule that fails ends the request with `SourceNotAllowed` (rule 2: also `SignatureMissing`).
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

        `signed` is True for a verified signature, False without one, None for request forms that cannot carry one.
        `covers_options` applies to signatures in another proxy's grammar: whether they cover the options as well.
        The original counts as a preset.

        Raises:
            SourceNotAllowed: a rule fails.
            SignatureMissing: the signature rule fails because the request is not signed.
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
        """Return the outcome of every rule, including those after the first failure."""
        return list(
            self._verdicts(
                source, preset_only=transform_is_preset_only, signed=signed, covered=covers_options
            )
        )

    def denied(self, source: Source) -> bool:
        """Return whether `sources.deny` matches. No other setting stops a kept original from being served."""
        return _first_match(pattern for pattern in self._deny if pattern.denies(source)) is not None

    def check_hop(self, source: Source) -> None:
        """Let a redirect to `source` pass, or raise. Manifest and signature apply to the first URL only.

        Raises:
            SourceNotAllowed: `sources.deny` matches, or `sources.allow` is set and does not match.
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
            # When keys are set, signatures bound the number of variants; this request form cannot carry one.
            return Verdict("transform", False, "only a signed address may ask for other options")
        reason = (
            "any transform is served"
            if self._any_transform
            else "sources.transforms admits presets and rewrite.widths only"
        )
        return Verdict("transform", self._any_transform, reason)


def load_manifest(path: Path) -> frozenset[str]:
    """Return the canonical URLs in a manifest file: one per line; `#` begins a comment.

    Raises:
        ConfigError: the file cannot be read, or some lines are not sources; the error lists all of them.
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
    """Return why the service may not listen on the configured address, or None.

    A service that accepts any source on a public address would fetch and resize pictures for anyone.
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
