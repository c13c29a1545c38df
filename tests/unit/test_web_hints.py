"""Client hints: which requests count as slow, and in which steps a picture's width and density are taken."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from proxy.web.targets.hints import DPR_STEPS, NO_HINTS, WIDTH_STEPS_PX, Hints, Minded, is_slow

PLACE = Minded(width=True, dpr=True)


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


@pytest.mark.parametrize(
    ("headers", "hints"),
    [
        ({"Sec-CH-Width": "321"}, Hints(width_px=480)),
        ({"width": "320"}, Hints(width_px=320)),
        ({"Sec-CH-Width": "100", "Width": "900"}, Hints(width_px=160)),
        ({"Sec-CH-Width": "99999"}, Hints(width_px=4096)),
        ({"Sec-CH-DPR": "2.625"}, Hints(dpr=3.0)),
        ({"DPR": "0.8"}, Hints(dpr=1.0)),
        ({"DPR": "9"}, Hints(dpr=3.0)),
        ({"Sec-CH-Width": "300", "Sec-CH-DPR": "1.25"}, Hints(width_px=320, dpr=1.5)),
        ({"Save-Data": "on"}, NO_HINTS),
    ],
)
def test_place_of_a_picture_is_taken_in_steps(headers: dict[str, str], hints: Hints) -> None:
    assert PLACE.read(CIMultiDict(headers)) == hints


@pytest.mark.parametrize("text", ["", "0", "-5", "nan", "1e3", "12px", "1234567", "٣٢٠", "1, 2"])
def test_unreadable_place_is_no_hint(text: str) -> None:
    assert PLACE.read(CIMultiDict({"Sec-CH-Width": text, "Sec-CH-DPR": text})) == NO_HINTS


def test_hints_that_are_not_minded_are_not_read() -> None:
    said = CIMultiDict({"Sec-CH-Width": "300", "Sec-CH-DPR": "2", "Save-Data": "on"})
    assert Minded(connection=True).read(said) == Hints(slow=True)
    assert Minded(width=True).read(said) == Hints(width_px=320)


def test_hints_lead_down_to_the_smallest_step() -> None:
    """Every step up to the hint's is tried once, the hint itself first."""
    tried = list(Hints(False, 480, 1.5).downwards())
    assert tried[0] == Hints(False, 480, 1.5)
    assert tried[-1] == Hints(False, WIDTH_STEPS_PX[0], DPR_STEPS[0])
    assert len(tried) == len(set(tried)) == 8
    assert list(NO_HINTS.downwards()) == [NO_HINTS]
