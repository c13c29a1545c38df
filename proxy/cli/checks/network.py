"""DNS, asked the way the service asks it. A network that is not there is a finding, not a crash."""

from __future__ import annotations

from proxy.cli.checks.finding import Finding
from proxy.fetch.names import Names, make_resolver


async def dns_findings(name: str) -> list[Finding]:
    """Return whether DNS answers for `name`."""
    names = Names(make_resolver(), owns=True)
    try:
        found = await names.resolve(name, 443)
    except (OSError, ValueError) as error:
        advice = "look at /etc/resolv.conf and the firewall; --host asks for another name, --offline leaves this out"
        return [
            Finding("care", "DNS", f"{name} has no address: {str(error) or type(error).__name__}", advice)
        ]
    finally:
        await names.close()
    return [
        Finding("ok", "DNS", f"{name} has the address {found[0]['host']}" if found else f"{name} answered")
    ]
