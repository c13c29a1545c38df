"""Builds addresses of pictures: ours, and those of other proxies' grammars, signed where there are keys. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.config import Config
from proxy.dialects import GRAMMARS
from proxy.dialects.base.asked import tidied
from proxy.dialects.native import ORIGINAL, VERSION_MARK, build, require_version
from proxy.dialects.signatures import signed
from proxy.images.transforms.transform import Transform
from proxy.signing import Signer
from proxy.source import Source

BUILT_DIALECTS = tuple(sorted(name for name, grammar in GRAMMARS.items() if grammar.build))
"""The grammars that can write an address."""


@dataclass(frozen=True, slots=True)
class DialectAddress:
    """An address in another proxy's grammar. asked: the options that it was built from, by our long names."""

    url: str
    asked: dict[str, str] = field(default_factory=dict)


def canonical_options(options: str, config: Config) -> str:
    """Return an options segment in its canonical spelling.

    Raises:
        InvalidTransform: the options, or the digest of a version, are invalid.
    """
    require_version(options)
    if options == ORIGINAL or options.startswith(VERSION_MARK):
        return options
    transform = Transform.parse(options)
    transform.resolved(config.presets)
    return transform.canonical()


def native_address(
    base_url: str, options: str, source: Source, *, signer: Signer | None, exp: int | None = None
) -> str:
    """Return our address for canonical options, signed when there is a signer."""
    sig = signer.sign(options, source.url, exp=exp) if signer else None
    return build(base_url, options, source, sig=sig, exp=exp)


def dialect_address(
    dialect: str, base_url: str, options: str, source: Source, *, config: Config
) -> DialectAddress:
    """Return the address in the grammar of another proxy, signed if the configuration has keys for it.

    Raises:
        MirrorError: the grammar cannot express the options.
    """
    writer = GRAMMARS[dialect].build
    asked: dict[str, str] = {}
    if options != ORIGINAL:
        asked = tidied(dict(Transform.parse(options).resolved(config.presets).to_wire()))
    url = writer(base_url, source.url, asked) if writer else ""
    keys = dict(config.dialects.keys_by_name()).get(dialect)
    if keys:
        rest = url[len(base_url) :].removeprefix("/")
        url = f"{base_url}/{signed(dialect, rest, GRAMMARS[dialect].serve_rest(rest).proof, keys[0])}"
    return DialectAddress(url, asked)
