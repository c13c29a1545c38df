"""`imgmirror doctor`: check everything that a service needs, and advise on each problem.

Creates and changes nothing except a temporary file. Exits 1 when something needs care; notes do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

from proxy.cli.checks.network import dns_findings, public_name_findings
from proxy.cli.checks.rendering import render_findings
from proxy.cli.output.terminal import quiet_log, safe, say
from proxy.config import Config
from proxy.config.file import find_file
from proxy.services.checks.disk import disk_findings, store_findings, variants_findings
from proxy.services.checks.finding import DoctorFinding
from proxy.services.checks.settings import configuration_findings, machine_findings

DEFAULT_NAME = "example.com"
_MARKS = {"ok": ("ok  ", "32"), "note": ("note", "33"), "care": ("CARE", "31;1")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--host", metavar="NAME", help=f"name to look up in DNS (default {DEFAULT_NAME})")
    parser.add_argument("--offline", action="store_true", help="skip checks that need the network")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace, config: Config) -> int:
    """Examine; exit 1 when something needs care."""
    quiet_log()
    findings = []
    for finding in _findings(args, config):
        findings.append(finding)
        if not args.json:
            _show(finding)
    care = sum(finding.level == "care" for finding in findings)
    if args.json:
        say(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        say(f"{care} of {len(findings)} need attention" if care else "no problems found")
    return int(care > 0)


def _findings(args: argparse.Namespace, config: Config) -> Iterator[DoctorFinding]:
    path = find_file(args.config, os.environ)
    checks: list[Callable[[], Iterator[DoctorFinding]]] = [
        lambda: configuration_findings(config, path),
        lambda: machine_findings(config),
        lambda: store_findings(config),
        lambda: variants_findings(config),
        lambda: disk_findings(config),
        lambda: iter(asyncio.run(render_findings(config))),
    ]
    if not args.offline:
        checks.append(lambda: iter(asyncio.run(dns_findings(args.host or DEFAULT_NAME))))
        checks.append(lambda: iter(asyncio.run(public_name_findings(config))))
    for check in checks:
        yield from check()


def _show(finding: DoctorFinding) -> None:
    mark, colour = _MARKS[finding.level]
    if sys.stdout.isatty():
        mark = f"\x1b[{colour}m{mark}\x1b[0m"
    say(f"{mark} {finding.subject}: {safe(finding.found)}")
    if finding.advice:
        say(f"     -> {safe(finding.advice)}")
