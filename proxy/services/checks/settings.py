"""Checks the configuration and the machine, including defaults that a public service should change."""

from __future__ import annotations

import os
import resource
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from proxy.config import Config, ConfigError, host_name
from proxy.images.pixels.libvips import REPAIR, decoder_problem, find_libvips
from proxy.images.pixels.vectors import VECTORS_REPAIR, find_vectors
from proxy.observe.otlp import is_on, otlp_problem
from proxy.policy import listen_problem, load_manifest
from proxy.services.checks.finding import DoctorFinding
from proxy.source import base_in_a_labels
from proxy.version import __version__

RELEASED = 1_735_689_600.0
"""2025-01-01; a clock that shows an earlier date is wrong."""

SHIPPED_CONTACT = "imgmirror.example"

SHORTEST_TOKEN = 16
"""Characters of `server.admin_token`. Thousands of guesses a second find a shorter one that a person has made up."""

_FILES_BESIDE_CONNECTIONS = 256


def configuration_findings(config: Config, path: Path | None) -> Iterator[DoctorFinding]:
    """Yield findings about the configuration, which is valid at this point."""
    where = str(path) if path else "built-in defaults (no config.toml here)"
    yield DoctorFinding("ok", "configuration", f"imgmirror {__version__}, {where}")
    yield from settings_findings(config)


def settings_findings(config: Config) -> Iterator[DoctorFinding]:
    """Yield findings about the values of the configuration, wherever they come from."""
    problem = listen_problem(config)
    if problem:
        yield DoctorFinding(
            "care", "configuration", problem, "`imgmirror serve` refuses to start until this is fixed"
        )
    yield from _decoder(config)
    yield from _resampler(config)
    yield from _manifest(config)
    yield from _administration(config)
    yield DoctorFinding("ok", "rewrite", _written(config))
    yield from _dialects(config)
    yield from _accel(config)
    yield from _telemetry(config)
    yield from _public_address(config.server.public_url)
    if SHIPPED_CONTACT in config.fetch.user_agent:
        advice = (
            "name your own contact in fetch.user_agent, so that origins can write to you before they block"
        )
        yield DoctorFinding("note", "configuration", "fetch.user_agent has its default value", advice)
    if config.fetch.allow_networks and not config.on_loopback:
        networks = ", ".join(map(str, config.fetch.allow_networks))
        advice = "every client can read pictures there; empty fetch.allow_networks unless this is intended"
        yield DoctorFinding(
            "care", "configuration", f"fetching from private networks is allowed: {networks}", advice
        )


def _telemetry(config: Config) -> Iterator[DoctorFinding]:
    if not config.telemetry.otlp:
        return
    if problem := otlp_problem(os.environ):
        yield DoctorFinding(
            "care", "telemetry", problem, "`imgmirror serve` refuses to start until this is fixed"
        )
        return
    signals = [signal.lower() for signal in ("TRACES", "METRICS") if is_on(os.environ, signal)]
    found = f"{' and '.join(signals) or 'nothing'} over OTLP, as the variables OTEL_* say"
    yield DoctorFinding("ok", "telemetry", found)


def _accel(config: Config) -> Iterator[DoctorFinding]:
    """Yield findings about the web server in front, when files are handed to it."""
    if not config.server.accel:
        return
    folders = (config.store.dir / "bodies", config.store.variants_path)
    found = f"files are handed to the web server in front ({config.server.accel}), on this machine or trusted"
    shut = [folder for above in folders for folder in above.absolute().parents if not _lets_pass(folder)]
    if shut:
        yield DoctorFinding(
            "care", "accel", f"{found}; {shut[0]} can be entered only by its owner", f"chmod g+x {shut[0]}"
        )
    else:
        yield DoctorFinding("ok", "accel", f"{found}; set it up as described in docs/operations.md")


def _lets_pass(folder: Path) -> bool:
    try:
        return bool(folder.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH))
    except OSError:
        # It is made with the right modes when the service starts.
        return True


def _written(config: Config) -> str:
    """Return in words which options `rewrite` may write into articles."""
    signed = "signed" if config.sources.keys else "unsigned"
    if config.any_transform:
        return f"writes {signed} addresses with presets and with the sizes that wrappers asked for"
    widths = ", ".join(map(str, config.rewrite.widths)) or "no others"
    return (
        f"writes {signed} addresses with presets and, where a wrapper asked for a size, the widths {widths}"
    )


def _dialects(config: Config) -> Iterator[DoctorFinding]:
    """Yield findings about addresses of other proxies: their hosts, and which are signed."""
    keyed = {name: len(keys) for name, keys in config.dialects.keys_by_name() if keys}
    if keyed:
        counts = ", ".join(f"{name} ({count})" for name, count in keyed.items())
        yield DoctorFinding("ok", "dialect keys", f"unsigned addresses are refused for {counts}")
        if not config.sources.keys and not config.on_loopback:
            found = (
                "dialects.*.keys close these dialects only; every other address is as open as without them"
            )
            yield DoctorFinding(
                "note", "dialect keys", found, "set sources.allow, sources.manifest or sources.keys"
            )
    for host, dialect in config.hosts.items():
        yield DoctorFinding("ok", "hosts", f"{host} answers addresses of {dialect}")
    public = host_name(urlsplit(config.server.public_url).netloc)
    if public in config.hosts:
        found = f"{public} is the host of server.public_url and is given to {config.hosts[public]}"
        advice = (
            "addresses that rewrite writes would answer 404 there: take another host name for the dialect"
        )
        yield DoctorFinding("care", "hosts", found, advice)


def machine_findings(config: Config) -> Iterator[DoctorFinding]:
    """Yield findings about interpreter, processors, open files and clock."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield DoctorFinding("ok", "machine", f"Python {version}, {os.cpu_count() or 1} processors")
    needed = 2 * config.fetch.max_connections + _FILES_BESIDE_CONNECTIONS
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= allowed < needed:
        advice = f"raise it to {needed} at least (LimitNOFILE=65536 in the unit, or ulimit -n)"
        yield DoctorFinding("care", "open files", f"a process may open {allowed}", advice)
    else:
        yield DoctorFinding("ok", "open files", f"a process may open {allowed}")
    yield from _clock(config, now=time.time())


def _public_address(url: str) -> Iterator[DoctorFinding]:
    if not url:
        advice = "set server.public_url, or give `rewrite` a --base-url"
        yield DoctorFinding("note", "configuration", "no server.public_url", advice)
    elif not url.isascii():
        yield DoctorFinding("ok", "public address", f"{url} is written {base_in_a_labels(url)} in articles")


def _administration(config: Config) -> Iterator[DoctorFinding]:
    if config.server.admin_token:
        # The desk limits guesses, but the other addresses compare every token that is sent.
        if len(config.server.admin_token) < SHORTEST_TOKEN:
            found = f"server.admin_token has fewer than {SHORTEST_TOKEN} characters: it can be guessed"
            yield DoctorFinding("care", "administration", found, "take one from `openssl rand -hex 32`")
        return
    if config.server.is_public:
        found = "/purge, /rewrite, /explain and /metrics are closed: server.public_url is public, and there is no token"
        yield DoctorFinding("note", "administration", found, "set server.admin_token")
    elif not config.on_loopback:
        advice = "set server.admin_token; until then only this machine can purge and read metrics"
        yield DoctorFinding("note", "administration", "no server.admin_token", advice)
    elif not config.server.public_url:
        found = "/purge, /rewrite, /explain and /metrics are open to this machine, also to a proxy that runs on it"
        advice = "behind a proxy set server.public_url and server.admin_token"
        yield DoctorFinding("note", "administration", found, advice)


def _decoder(config: Config) -> Iterator[DoctorFinding]:
    wanted = config.render.decoder
    if problem := decoder_problem(wanted):
        yield DoctorFinding(
            "care", "decoder", problem, "`imgmirror serve` refuses to start until this is fixed"
        )
        return
    found = find_libvips()
    if wanted == "auto" and found.installed and found.problem:
        yield DoctorFinding(
            "care", "decoder", f"Pillow, because libvips cannot be used: {found.problem}", REPAIR
        )
    elif wanted == "auto" and found.problem:
        yield DoctorFinding("note", "decoder", "Pillow; libvips is faster for PNG", "install imgmirror[vips]")
    else:
        names = {"auto": f"Pillow, and {found} for PNG", "libvips": str(found)}
        yield DoctorFinding("ok", "decoder", names.get(wanted, wanted))


def _resampler(config: Config) -> Iterator[DoctorFinding]:
    """Name the library that resizes pictures, as `decode.choice` chooses it."""
    decoder, vectors, libvips = config.render.decoder, find_vectors(), find_libvips()
    if decoder_problem(decoder):
        # Nothing starts until the decoder is fixed.
        return
    other = "Pillow" if decoder == "pillow" or libvips.problem else str(libvips)
    if not vectors.problem:
        yield DoctorFinding("ok", "resampler", str(vectors))
    elif vectors.installed:
        found = f"{other}, because fast_image_resize cannot be used: {vectors.problem}"
        yield DoctorFinding("care", "resampler", found, VECTORS_REPAIR)
    elif other == "Pillow" and decoder != "pillow":
        advice = REPAIR if libvips.installed else "install imgmirror[vips]"
        yield DoctorFinding("note", "resampler", "Pillow; the vips extra resizes faster", advice)
    else:
        yield DoctorFinding("ok", "resampler", other)


def _manifest(config: Config) -> Iterator[DoctorFinding]:
    manifest = config.sources.manifest
    if manifest is None:
        return
    try:
        count = len(load_manifest(manifest))
    except (ConfigError, OSError, ValueError) as error:
        yield DoctorFinding(
            "care", "manifest", str(error), "fix sources.manifest; the service does not start without it"
        )
        return
    yield DoctorFinding("ok", "manifest", f"{count} sources")


def _clock(config: Config, *, now: float) -> Iterator[DoctorFinding]:
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    newest = _newest(config.store.dir)
    if now < RELEASED:
        yield DoctorFinding("care", "clock", shown, "set the clock: TLS and freshness depend on it")
    elif newest > now + 3600:
        advice = "set the clock: files of the store come from the future, so stale pictures seem fresh"
        yield DoctorFinding("care", "clock", f"{shown}, behind the store", advice)
    else:
        yield DoctorFinding("ok", "clock", shown)


def _newest(folder: Path) -> float:
    newest = 0.0
    for name in ("usage", "generations", "imgmirror-store", "entries", "bodies"):
        try:
            newest = max(newest, (folder / name).stat().st_mtime)
        except OSError:
            continue
    return newest
