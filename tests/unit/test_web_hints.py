"""Client hints about the line: which requests count as slow."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from proxy.web.hints import is_slow


@pytest.mark.parametrize(
    "headers",
    [
        {"Save-Data": "on"},
        {"save-data": "ON; x=1"},
        {"ECT": "slow-2g"},
        {"ECT": "2g"},
        {"ECT": "3g", "Downlink": "10"},
        {"Downlink": "1.45"},
        {"Downlink": "0"},
    ],
)
def test_slow_line_is_recognised(headers: dict[str, str]) -> None:
    assert is_slow(CIMultiDict(headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Save-Data": "off"},
        {"Save-Data": "ongoing"},
        {"ECT": "4g", "Downlink": "1.5"},
        {"Downlink": "-1"},
        {"Downlink": "nan"},
        {"Downlink": "1e-9"},
        {"ECT": "5g"},
    ],
)
def test_fast_or_unreadable_line_is_not_slow(headers: dict[str, str]) -> None:
    assert not is_slow(CIMultiDict(headers))
