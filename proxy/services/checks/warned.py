"""Collects the findings of `doctor` that are worth reading and need no network. Blocking."""

from __future__ import annotations

from proxy.config import Config
from proxy.services.checks.disk import disk_findings, store_findings, variants_findings
from proxy.services.checks.finding import DoctorFinding
from proxy.services.checks.settings import machine_findings, settings_findings


def warnings_of(config: Config) -> list[DoctorFinding]:
    """Return the findings that are worth reading, warnings first.

    Takes as long as reading the manifest and opening the store; not for the event loop.
    """
    found = [
        *settings_findings(config),
        *machine_findings(config),
        *store_findings(config),
        *variants_findings(config),
        *disk_findings(config),
    ]
    return sorted((item for item in found if item.level != "ok"), key=lambda item: item.level != "care")
