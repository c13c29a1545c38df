"""A client reads a bounded number of large originals at once; others are not held up by it."""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.config import ServerConfig
from proxy.errors import RateLimited
from proxy.web.connections.streams import Streams


def asked(remote: str) -> Any:
    return SimpleNamespace(remote=remote, headers={})


@pytest.mark.parametrize(
    ("same", "other"), [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8:0:1::1"), ("127.0.0.1", "::1")]
)
def test_stream_beyond_the_limit_is_refused_until_one_ends(same: str, other: str) -> None:
    """The limit is one client's own."""
    streams = Streams(ServerConfig(client_streams=2))
    with ExitStack() as reading:
        reading.enter_context(streams.place(asked(same)))
        with streams.place(asked(same)), pytest.raises(RateLimited), streams.place(asked(same)):
            pass
        with streams.place(asked(same)), streams.place(asked(other)):
            pass


def test_no_limit_refuses_nobody() -> None:
    """`server.client_streams = 0`."""
    streams = Streams(ServerConfig(client_streams=0))
    with ExitStack() as reading:
        for _ in range(300):
            reading.enter_context(streams.place(asked("192.0.2.1")))
