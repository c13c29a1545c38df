"""How the desk knows that a browser came by https: from the public address, or from a trusted proxy; nobody else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from proxy.config import Config
from proxy.web.desk.guard import is_over_https

PROXY = ["10.0.0.0/8"]


def over_https(headers: dict[str, str], *, peer: str, **server: Any) -> bool:
    config = Config.model_validate({"server": {"trusted_proxies": PROXY, **server}})
    request = make_mocked_request("GET", "/desk", headers=headers).clone(remote=peer)
    context: Any = SimpleNamespace(config=config)
    return is_over_https(context, request)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"X-Forwarded-Proto": "https"}, True),
        ({"X-Forwarded-Proto": "HTTPS"}, True),
        ({"X-Forwarded-Proto": "https, http"}, False),
        ({"X-Forwarded-Proto": "http, https"}, True),
        ({"Forwarded": "for=192.0.2.1;proto=https"}, True),
        ({"Forwarded": 'for=192.0.2.1; proto="https"'}, True),
        ({"Forwarded": "proto=https, for=192.0.2.1;proto=http"}, False),
    ],
)
def test_trusted_proxy_says_whether_the_browser_came_by_https(
    headers: dict[str, str], expected: bool
) -> None:
    """Of several proxies the nearest one is believed: earlier ones may be the client's own text."""
    assert over_https(headers, peer="10.0.0.7") is expected
    assert not over_https(headers, peer="192.0.2.7"), "a stranger is not believed"


def test_public_address_by_https_counts_without_a_proxy() -> None:
    assert over_https({}, peer="192.0.2.7", public_url="https://img.example.org")
    assert not over_https({}, peer="192.0.2.7", public_url="http://img.example.org")
