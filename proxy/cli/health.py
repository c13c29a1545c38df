"""`imgmirror health [URL]`: exit 0 when the service is healthy, 1 when not; for containers and monitors."""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request

from proxy.config import Config

TIMEOUT_SECONDS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "url", nargs="?", metavar="URL", help="base address of the service (default: server.host and port)"
    )
    parser.add_argument("--ready", action="store_true", help="ask /readyz instead of /healthz")


def run(args: argparse.Namespace, config: Config) -> int:
    """Ask the service and print its answer."""
    base = (args.url or _own_address(config)).rstrip("/")
    if not base.startswith(("http://", "https://")):
        print("imgmirror: the address must begin with http:// or https://", file=sys.stderr)
        return 2
    try:
        answer = _ask(base + ("/readyz" if args.ready else "/healthz"))
    except (OSError, ValueError) as error:
        print(f"unhealthy: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer, sort_keys=True))
    return 0


def _ask(url: str) -> object:
    # No proxies of the environment: the question is whether this machine's service answers.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
        return json.loads(answer.read(65536))


def _own_address(config: Config) -> str:
    host = config.server.host
    if host in {"0.0.0.0", ""}:  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    elif host == "::":
        host = "::1"
    return f"http://[{host}]:{config.server.port}" if ":" in host else f"http://{host}:{config.server.port}"
