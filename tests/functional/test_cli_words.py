"""A new user's mistakes: mistyped words, options before the command, a port in use, a service that does not answer."""

from __future__ import annotations

import os
import pty
import socket
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

import pytest
from commands import invoke
from service import write_config

from proxy.cli import main
from proxy.cli.output.terminal import show_table


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what a command says that exits with 2."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["srve"], "'serve'"),
        (["re-write", "x.md"], "'rewrite'"),
        (["--config", "store", "docter"], "'doctor'"),
        (["store", "verfy"], "'verify'"),
        (["url", "unwarp", "x"], "'unwrap'"),
        (["serve", "--prot", "80"], "'--port'"),
        (["rewrite", "x.md", "--wirte"], "'--write'"),
        (["store", "verify", "--repiar"], "'--repair'"),
    ],
)
def test_mistyped_word_exits_2_and_the_nearest_one_is_named(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"did you mean {meant}?" in refused(capsys, *words)


def test_word_like_no_other_exits_2_and_all_commands_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "qqqqqq")
    assert "no such command: 'qqqqqq'" in told
    assert "serve, rewrite, warm" in told


@pytest.mark.parametrize(
    "words",
    [
        ["rewrite", "x.md", "--dif"],
        ["rewrite", "x.md", "--writ"],
        ["warm", "x.md", "--rep", "r.html"],
        ["store", "purge", "--dry", "--source", "http://h.test/a"],
        ["serve", "--work", "2"],
        ["url", "build", "headimg", "http://h.test/a", "--base", "https://m.test"],
    ],
)
def test_abbreviated_option_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An abbreviation that works today may mean another option tomorrow; `--writ` must not write."""
    assert "unrecognized arguments" in refused(capsys, *words)


@pytest.mark.parametrize("before", [True, False])
def test_config_counts_before_the_command_and_after_it(
    before: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[server]\nprot = 1\n")
    option, command = ["--config", str(bad)], ["url", "build", "headimg", "http://h.test/a.png"]
    assert main(option + command if before else command + option) == 2
    assert "server.port" in capsys.readouterr().err


def test_config_after_the_command_wins_over_the_one_before_it(tmp_path: Path) -> None:
    good = write_config(tmp_path)
    words = [
        "--config",
        "absent.toml",
        "url",
        "--config",
        str(good),
        "build",
        "headimg",
        "http://h.test/a.png",
    ]
    assert main(words) == 0


def test_port_in_use_exits_2_and_names_host_port_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert invoke("serve", "--port", port, config=write_config(tmp_path)) == 2
    told = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1 port {port}" in told
    assert "--port" in told
    assert "Errno" not in told


@contextmanager
def _answering(answer: bytes) -> Iterator[str]:
    """A server that gives one answer, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=once)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "is not an imgmirror service"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "is not an imgmirror service"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "is not an imgmirror service"),
        (b"SSH-2.0-OpenSSH_9\r\n", "is not an imgmirror service"),
        (b"", "closes the connection without an answer"),
        (
            b'HTTP/1.1 503 No\r\nContent-Length: 24\r\n\r\n{"status":"unavailable"}',
            'answered 503: {"status": "unavailable"}',
        ),
    ],
)
def test_health_of_something_else_speaks_of_the_service(
    answer: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with _answering(answer) as url:
        assert invoke("health", url, config=write_config(tmp_path)) == 1
    told = capsys.readouterr().err
    assert told.startswith("unhealthy: ")
    assert said in told


def test_health_of_nobody_says_that_no_service_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert invoke("health", url, config=write_config(tmp_path)) == 1
    assert capsys.readouterr().err == f"unhealthy: no service listens at {url}\n"


@pytest.mark.parametrize("columns", [80, 100])
def test_table_on_a_narrow_terminal_keeps_its_first_columns(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of the rows are whole: they say what the figures are about."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "dumb")
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        row = ["c12e2fb1", "thumbnail", "10.4 MiB", "29.1 KiB", "1234 ms", "12.3 ms"]
        show_table("Per picture", ["picture", "preset", "original", "now", "cold", "warm"], [row], right=2)
        terminal.flush()
        shown = os.read(ours, 65536).decode()
        monkeypatch.undo()
    os.close(ours)
    assert all(cell in shown for cell in row)
    assert max(map(len, shown.splitlines())) <= columns
