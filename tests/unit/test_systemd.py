"""The protocols of systemd: which variables are heeded, which socket is taken, what is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from proxy.observe.systemd import PassedSocketError, ServiceManager, service_manager


def own(**more: str) -> dict[str, str]:
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", **more}


def test_environment_without_a_manager_says_nothing() -> None:
    """The variables of other programs stay."""
    environment = {"PATH": "/bin"}
    assert service_manager(environment) == ServiceManager()
    assert environment == {"PATH": "/bin"}


def test_variables_are_removed_so_that_children_do_not_heed_them() -> None:
    """A worker that saw LISTEN_FDS would take a descriptor that is something else."""
    environment = own(NOTIFY_SOCKET="/run/notify", WATCHDOG_USEC="30000000", LISTEN_FDNAMES="a", PATH="/bin")
    manager = service_manager(environment)
    assert manager == ServiceManager("/run/notify", sockets=1, watchdog_seconds=30.0)
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"LISTEN_FDS": "1"}, ServiceManager()),
        ({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, ServiceManager()),
        ({"WATCHDOG_PID": "1", "WATCHDOG_USEC": "5"}, ServiceManager()),
        ({"WATCHDOG_USEC": "500000"}, ServiceManager(watchdog_seconds=0.5)),
        ({"WATCHDOG_USEC": "0"}, ServiceManager()),
        ({"WATCHDOG_USEC": "-1"}, ServiceManager()),
        ({"WATCHDOG_USEC": "soon"}, ServiceManager()),
        ({"NOTIFY_SOCKET": "vsock:2:1"}, ServiceManager()),
        ({"NOTIFY_SOCKET": "@abstract"}, ServiceManager("@abstract")),
    ],
)
def test_variable_of_another_process_or_without_sense_is_ignored(
    given: dict[str, str], expected: ServiceManager
) -> None:
    """Process 1 is not this one."""
    assert service_manager(dict(given)) == expected


@pytest.mark.parametrize("abstract", [False, True])
def test_news_arrive_as_one_datagram(tmp_path: Path, abstract: bool) -> None:
    """One line each, at a path and at one of Linux's abstract names."""
    name = f"@imgmirror-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name[1:] if abstract else name)
        ServiceManager(name).tell("READY=1", "STATUS=listening")
        assert receiver.recv(1000) == b"READY=1\nSTATUS=listening"


def test_manager_that_has_gone_disturbs_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is a warning."""
    ServiceManager(str(tmp_path / "gone")).tell("READY=1")
    assert "was not told READY=1" in caplog.text


def test_several_sockets_are_refused() -> None:
    """The service listens at one address."""
    with pytest.raises(PassedSocketError, match="2 sockets"):
        ServiceManager(sockets=2).listener()


@pytest.mark.parametrize("kind", ["datagram", "unix", "connected", "file"])
def test_descriptor_that_does_not_listen_for_tcp_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A service must not start and then never answer."""
    if kind == "file":
        descriptor = os.open(tmp_path, os.O_RDONLY)
    else:
        family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
        what = socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM
        given = socket.socket(family, what)
        if kind == "unix":
            given.bind(str(tmp_path / "socket"))
            given.listen()
        descriptor = given.detach()
    monkeypatch.setattr("proxy.observe.systemd.FIRST_DESCRIPTOR", descriptor)
    try:
        with pytest.raises(PassedSocketError):
            ServiceManager(sockets=1).listener()
    finally:
        if kind == "file":
            os.close(descriptor)


def test_listening_socket_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not inherited by programs that we start, and it does not block."""
    given = socket.create_server(("127.0.0.1", 0))
    address = given.getsockname()
    given.set_inheritable(True)
    monkeypatch.setattr("proxy.observe.systemd.FIRST_DESCRIPTOR", given.detach())
    taken = ServiceManager(sockets=1).listener()
    assert taken is not None
    with taken:
        assert taken.getsockname() == address
        assert not taken.get_inheritable()
        assert not taken.getblocking()
