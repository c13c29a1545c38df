"""Plots, controls, words and addresses of the desk, without a service."""

from __future__ import annotations

import pytest

from proxy.images.transforms.transform import OPTIONS
from proxy.services.desk.history import FIGURES, Minute
from proxy.web.desk.controls import controls, transform_of
from proxy.web.desk.pages import environment, own_address
from proxy.web.desk.plots import HEIGHT, hit_ratio, plots
from proxy.web.desk.words import as_moment, in_bytes, in_percent, in_pieces, in_thousands, shortened


def minute(number: int, **figures: float) -> Minute:
    return Minute(number, {name: figures.get(name, 0.0) for name in FIGURES})


def test_plot_of_an_hour_has_a_bar_for_each_minute_with_figures() -> None:
    minutes = {number: minute(number, lookups=4, hits=number % 2 * 4) for number in range(1000, 1030)}
    answers = plots(minutes, last=1029, span="hour")[0]
    assert len(answers.bars) == 30
    assert {bar.tone for bar in answers.bars} == {"good", "plain"}
    assert all(bar.y >= 0 and bar.y + bar.height <= HEIGHT + 0.01 for bar in answers.bars)
    assert answers.legend == (("from cache", "good", "60"), ("fetched or rendered", "plain", "60"))
    assert answers.top == "4"


def test_plot_of_a_day_adds_up_quarters_of_an_hour() -> None:
    minutes = {number: minute(number, fetches=2, failed_fetches=1) for number in range(15 * 1000, 15 * 1002)}
    fetches = plots(minutes, last=15 * 1002 - 1, span="day")[2]
    assert fetches.width == 960
    assert len(fetches.bars) == 4
    assert fetches.top == "30"


def test_plot_without_figures_says_so_and_one_failure_among_many_is_seen() -> None:
    assert all(plot.is_empty for plot in plots({}, last=1000, span="hour"))
    many = {1000: minute(1000, fetches=10_000, failed_fetches=1)}
    fetches = plots(many, last=1000, span="hour")[2]
    assert [bar.tone for bar in fetches.bars] == ["plain", "bad"]
    assert fetches.bars[1].height >= 1.5


def test_hit_ratio_without_answers_is_unknown() -> None:
    assert hit_ratio([]) is None
    assert hit_ratio([minute(1, lookups=4, hits=3)]) == 0.75


def test_every_option_has_a_control_with_values_that_it_reads() -> None:
    """A new option of an operation appears in the playground without an edit."""
    made = controls({})
    assert [control.name for control in made] == list(OPTIONS)
    for control in made:
        for word in control.words:
            OPTIONS[control.name].read(word)
        if control.kind == "number":
            OPTIONS[control.name].read(control.high)
    kinds = {control.name: control.kind for control in made}
    assert (kinds["fit"], kinds["upscale"], kinds["metadata"], kinds["sharpen"]) == (
        "list",
        "list",
        "list",
        "number",
    )
    assert kinds["gravity"] == kinds["width"] == "text"


def test_empty_fields_of_the_form_ask_for_nothing() -> None:
    assert transform_of({"width": " ", "preset": "", "source": "x"}) is None
    transform = transform_of({"width": " 300 ", "fit": "cover"})
    assert transform is not None
    assert transform.canonical() == "fit=cover,width=300"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (12_345, "12.3 kB"), (999_600, "1.00 MB")],
)
def test_sizes_have_three_digits(size: int, text: str) -> None:
    assert in_bytes(size) == text


def test_figures_for_people() -> None:
    assert in_thousands(1_234_567) == "1\u202f234\u202f567"
    assert (in_percent(None), in_percent(0.1234), in_percent(1.0), in_percent(8.81)) == (
        "–",
        "12.3 %",
        "100 %",
        "881 %",
    )
    assert (as_moment(None), as_moment(0), as_moment(1e300), as_moment(86_400)) == (
        "–",
        "–",
        "–",
        "1970-01-02 00:00",
    )
    assert shortened("a" * 200).count("…") == 1
    assert in_pieces("set `a` now") == [(False, "set "), (True, "a"), (False, " now")]
    assert in_pieces("one ` only") == [(False, "one ` only")]


@pytest.mark.parametrize("text", ["/desk", "/desk/playground?source=http://host/a.png", "/desk/presets"])
def test_address_of_the_desk_is_kept(text: str) -> None:
    assert own_address(text) == text


@pytest.mark.parametrize(
    "text", ["/desktop", "http://[", "/desk\r\nSet-Cookie: a=b", "/desk/\u202e", "javascript:alert(1)"]
)
def test_other_address_leads_to_the_first_page(text: str) -> None:
    assert own_address(text) == "/desk"


def test_templates_escape_every_value() -> None:
    """Autoescape holds for all of them, also for those that include others."""
    assert environment().autoescape is True
    assert (
        environment().from_string("{{ value }}").render(value="<script>\"'&")
        == "&lt;script&gt;&#34;&#39;&amp;"
    )
