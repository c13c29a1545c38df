"""What the service and systemd tell each other: readiness, signs of life, and a listening socket that is handed over.

The protocols are three environment variables and a datagram socket (sd_notify(3), sd_listen_fds(3),
sd_watchdog_enabled(3)), so they need no library (docs/decisions/0039-service-manager.md). Other service managers and
container engines speak them too. Without the variables, nothing here does anything. Blocking, for a datagram.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass

log = logging.getLogger(__name__)

FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START: passed sockets begin after the standard streams."""

_OURS = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class PassedSocketError(Exception):
    """The socket that was handed over cannot be used. The message says which one can."""


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The manager that started this process.

    address: where it listens for news, empty when it does not. sockets: how many it handed over. watchdog_seconds: how
    often it wants a sign of life at least; None when it wants none.
    """

    address: str = ""
    sockets: int = 0
    watchdog_seconds: float | None = None

    def tell(self, *lines: str) -> None:
        """Send assignments such as `READY=1`. A manager that does not listen is no error."""
        if not self.address:
            return
        # A name that begins with "@" is one of Linux's abstract names, which begin with a zero byte.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, address)
        except OSError as error:
            log.warning("the service manager was not told %s: %s", lines[0], error)

    def listener(self) -> socket.socket | None:
        """Return the socket that was handed over, or None. The caller owns it.

        Raises:
            PassedSocketError: there are several sockets, or it is not a listening TCP socket.
        """
        if not self.sockets:
            return None
        if self.sockets > 1:
            raise PassedSocketError(f"{self.sockets} sockets were handed over; imgmirror listens on one")
        try:
            passed = socket.socket(fileno=FIRST_DESCRIPTOR)
        except OSError as error:
            raise PassedSocketError(
                f"descriptor {FIRST_DESCRIPTOR} is no socket: {error.strerror}"
            ) from error
        if not _listens_for_tcp(passed):
            passed.close()
            raise PassedSocketError("the socket that was handed over does not listen for TCP connections")
        passed.set_inheritable(False)
        passed.setblocking(False)
        return passed


@dataclass(frozen=True, slots=True)
class Outside:
    """What the service has to do with the process that started it.

    announce: called with the address when the service listens. listener: a socket that was handed over, which is used
    instead of one of our own.
    """

    announce: Callable[[str], None]
    manager: ServiceManager = ServiceManager()
    listener: socket.socket | None = None

    def ready(self, address: str) -> None:
        """Say that the service listens."""
        self.announce(address)
        self.manager.tell("READY=1", f"STATUS=listening on {address}")

    def ending(self) -> None:
        """Say that the service takes no new requests."""
        self.manager.tell("STOPPING=1")

    def alive(self) -> None:
        """Say that every worker's event loop turns."""
        self.manager.tell("WATCHDOG=1")


def service_manager(environment: MutableMapping[str, str]) -> ServiceManager:
    """Return the manager that `environment` describes, and remove its variables: they are not for our children."""
    given = {name: environment.pop(name, "") for name in _OURS}
    # A variable with another process's number was meant for a parent of ours that did not remove it.
    listening = given["LISTEN_PID"] == str(os.getpid())
    watched = given["WATCHDOG_PID"] in {"", str(os.getpid())}
    microseconds = _number(given["WATCHDOG_USEC"]) if watched else 0
    return ServiceManager(
        address=given["NOTIFY_SOCKET"] if given["NOTIFY_SOCKET"].startswith(("/", "@")) else "",
        sockets=_number(given["LISTEN_FDS"]) if listening else 0,
        watchdog_seconds=microseconds / 1e6 if microseconds else None,
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0


def _listens_for_tcp(passed: socket.socket) -> bool:
    if passed.family not in {socket.AF_INET, socket.AF_INET6} or passed.type != socket.SOCK_STREAM:
        return False
    with contextlib.suppress(OSError):
        return bool(passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    return False
