"""Checks DNS with the service's resolver. A missing network is a finding, not an error. Event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.config import Config
from proxy.fetch.names import Names, make_resolver
from proxy.services.checks.finding import DoctorFinding
from proxy.source import Source


async def dns_findings(name: str) -> list[DoctorFinding]:
    """Return findings about resolving `name` by DNS."""
    try:
        found = await _address(name)
    except (OSError, ValueError) as error:
        advice = "check /etc/resolv.conf and the firewall; --host asks for another name, --offline skips this check"
        return [
            DoctorFinding(
                "care", "DNS", f"{name} has no address: {str(error) or type(error).__name__}", advice
            )
        ]
    return [DoctorFinding("ok", "DNS", f"{name} has the address {found}" if found else f"{name} answered")]


async def public_name_findings(config: Config) -> list[DoctorFinding]:
    """Return findings about resolving `server.public_url`; none when it is unset or names this machine."""
    if not config.server.is_public:
        return []
    base = Source.parse(config.server.public_url)
    try:
        found = await _address(base.host)
    except (OSError, ValueError) as error:
        advice = "create a DNS record for it before articles point at it; --offline skips this check"
        problem = f"{base.host} has no address: {str(error) or type(error).__name__}"
        return [DoctorFinding("note", "public address", problem, advice)]
    return [DoctorFinding("ok", "public address", f"{base.host} has the address {found or base.host}")]


async def _address(name: str) -> str:
    async with _names() as names:
        found = await names.resolve(name.strip("[]"), 443)
    return found[0]["host"] if found else ""


@asynccontextmanager
async def _names() -> AsyncIterator[Names]:
    names = Names(make_resolver(), owns=True)
    try:
        yield names
    finally:
        await names.close()
