"""`imgmirror serve`: run the service until a signal ends it."""

from __future__ import annotations

import argparse
import functools
import os
import sys

from cache.base.errors import CacheError
from proxy.config import Config, ConfigError
from proxy.images.pixels.libvips import decoder_problem
from proxy.observe.systemd import Outside, PassedSocketError, service_manager
from proxy.policy import listen_problem
from proxy.process import below_init
from proxy.supervisor import Serving, serve
from proxy.web.connections.listening import ListenError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--host", metavar="H", help="address to listen on (server.host)")
    parser.add_argument("--port", metavar="N", type=_port, help="TCP port (server.port); 0 takes a free one")
    parser.add_argument(
        "--workers", metavar="N", type=_count, help="number of web processes (server.workers)"
    )


def run(args: argparse.Namespace, _config: Config) -> int:
    """Run the service; exit 2 when the configuration does not allow it."""
    manager = service_manager(os.environ)
    try:
        passed = manager.listener()
    except PassedSocketError as error:
        print(f"imgmirror: {error}", file=sys.stderr)
        return 2
    # A socket that was handed over decides where we listen, also for what is allowed on a public address.
    host, port = passed.getsockname()[:2] if passed is not None else (args.host, args.port)
    serving = Serving(args.config, host, port, args.workers)
    config = serving.read()
    problem = listen_problem(config) or decoder_problem(config.render.decoder)
    if problem:
        print(f"imgmirror: {problem}", file=sys.stderr)
        return 2
    try:
        run_service = functools.partial(serve, serving, config, Outside(_announce, manager, passed))
        return below_init(run_service) if os.getpid() == 1 else run_service()
    except ConfigError as error:
        for line in error.problems:
            print(f"imgmirror: {line}", file=sys.stderr)
        return 2
    except ListenError as error:
        print(f"imgmirror: {error}", file=sys.stderr)
        return 2
    except (CacheError, OSError) as error:
        print(f"imgmirror: cannot serve: {error}", file=sys.stderr)
        return 2


def _announce(address: str) -> None:
    print(f"imgmirror is listening on {address}", flush=True)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port lies between 0 and 65535")
    return port


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count
