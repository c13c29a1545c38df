"""`imgmirror health [URL]`: exit 0 when the service is healthy, 1 when not; for containers and monitors."""

from __future__ import annotations

import argparse
import http.client
import json
import socket
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
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"unhealthy: {_reason(base, error)}", file=sys.stderr)
        return 1
    print(json.dumps(answer, sort_keys=True))
    return 0


def _ask(url: str) -> object:
    # Ignore proxies in the environment: the check is about the service on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
        told = json.loads(answer.read(65536))
    if not isinstance(told, dict) or "status" not in told:
        raise ValueError("no answer of ours")
    return told


def _reason(base: str, error: Exception) -> str:
    """Return a sentence for people about the failure."""
    if isinstance(error, urllib.error.HTTPError):
        with error:
            return _refusal(base, error)
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    words: tuple[tuple[type[Exception], str], ...] = (
        (TimeoutError, f"the service at {base} did not answer within {TIMEOUT_SECONDS:g} s"),
        (socket.gaierror, f"there is no host with the name in {base}"),
        (http.client.RemoteDisconnected, f"{base} closes the connection without an answer"),
        (ConnectionRefusedError, f"no service listens at {base}"),
        (OSError, f"the service at {base} cannot be reached: {getattr(cause, 'strerror', None) or cause}"),
    )
    told = (text for kind, text in words if isinstance(cause, kind))
    return next(told, f"{base} answers, but is not an imgmirror service")


def _refusal(base: str, error: urllib.error.HTTPError) -> str:
    try:
        answer = json.loads(error.read(65536))
        return f"the service at {base} answered {error.code}: {json.dumps(answer, sort_keys=True)}"
    except (OSError, ValueError, http.client.HTTPException):
        return f"{base} answered {error.code}; it is not an imgmirror service, or a web server in front of one answered"


def _own_address(config: Config) -> str:
    host = config.server.host
    if host in {"0.0.0.0", ""}:  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    elif host == "::":
        host = "::1"
    return f"http://[{host}]:{config.server.port}" if ":" in host else f"http://{host}:{config.server.port}"
