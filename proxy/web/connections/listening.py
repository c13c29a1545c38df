"""Makes the socket on which the service listens. Blocking."""

from __future__ import annotations

import errno
import socket

from proxy.config import Config

UNSENT_BYTES = 128 * 1024
"""Unsent bytes of an answer that the kernel buffers. By default it buffers megabytes for each slow client."""

_TCP_NOTSENT_LOWAT = 25
"""The option's number on Linux. Python's socket module names it from 3.12 on."""

_LISTEN_ADVICE = {
    errno.EADDRINUSE: "another program uses it: stop that program, or choose another port with --port or server.port",
    errno.EADDRNOTAVAIL: "this machine has no such address: set server.host to one of its own, or to 127.0.0.1",
    errno.EACCES: "ports below 1024 need a privilege: choose a higher one with --port or server.port",
}


class ListenError(Exception):
    """The service cannot listen at its address. The message names host and port and says what to do."""

    def __init__(self, config: Config, error: OSError) -> None:
        advice = _LISTEN_ADVICE.get(error.errno or 0, error.strerror or str(error))
        super().__init__(f"cannot listen on {config.server.host} port {config.server.port}: {advice}")


def bind(config: Config) -> socket.socket:
    """Return the listening socket.

    Raises:
        ListenError: the address is in use, belongs to another machine, or needs a privilege.
    """
    family = socket.AF_INET6 if ":" in config.server.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.server.host.strip("[]"), config.server.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise ListenError(config, error) from error
    listener.setblocking(False)
    return listener


def bound_sending(listener: socket.socket, timeout_seconds: float) -> None:
    """Bound the buffers and the wait for a client that does not read. Accepted connections inherit the options."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = int(min(timeout_seconds * 1000, 2**31 - 1))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    try:
        listener.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    except OSError:
        # Other systems can only bound the whole buffer, which slows down connections with a high latency.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * UNSENT_BYTES)
