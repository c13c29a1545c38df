"""The text of transforms: reading, refusing, and the one canonical spelling."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from option_texts import VALUES, texts

from proxy.config import Config
from proxy.errors import InvalidTransform
from proxy.images.transforms.resolved import Resolved
from proxy.images.transforms.transform import OPTIONS, Transform, options_table, preset_problems

PRESETS = Config().presets


def test_every_option_is_generated() -> None:
    """The laws below are tried on every option there is."""
    assert VALUES.keys() == OPTIONS.keys(), (
        "each option has a strategy for its values in tests/lib/option_texts.py"
    )


@given(texts())
def test_canonical_text_reads_back_as_the_same_transform(text: str) -> None:
    """`parse(t.canonical()) == t`, and canonical text is its own canonical text."""
    transform = Transform.parse(text)
    again = Transform.parse(transform.canonical())
    assert again == transform
    assert again.canonical() == transform.canonical()


@given(texts())
def test_canonical_text_fits_into_a_url_segment(text: str) -> None:
    """Nothing in canonical text ends a path segment or starts a query, and all of it is printable ASCII."""
    canonical = Transform.parse(text).canonical()
    assert not set("/?# ") & set(canonical)
    assert canonical.isascii()
    assert canonical.isprintable()


@given(texts())
def test_resolved_transform_survives_wire_and_pickle(text: str) -> None:
    """A render process gets exactly what was asked for."""
    resolved = Transform.parse(text).resolved(PRESETS)
    wired = Resolved.from_wire(resolved.to_wire())
    assert wired.replaced(on_error=resolved.on_error) == resolved
    assert wired.text == resolved.text
    assert pickle.loads(pickle.dumps(resolved)) == resolved  # noqa: S301 - our own bytes


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text ends in anything but a transform or `InvalidTransform`."""
    try:
        Transform.parse(text).resolved(PRESETS)
    except InvalidTransform as error:
        assert error.message.isprintable()  # noqa: PT017 - both outcomes are right


@given(st.sampled_from(sorted(OPTIONS)), st.text(max_size=30))
def test_any_value_is_read_or_refused_by_name(name: str, value: str) -> None:
    """A refusal names the option."""
    try:
        Transform.parse(f"{name}={value}")
    except InvalidTransform as error:
        assert name in error.message or "," in value  # noqa: PT017 - many values are no errors, and need no refusal


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("w=640,f=auto", "width=640"),
        ("f=auto", "format=auto"),
        ("height=5,width=3", "height=5,width=3"),
        ("headimg", "headimg"),
        ("headimg,fit=scale-down", "headimg,fit=scale-down"),
        ("headimg,w=auto", "headimg,width=auto"),
        ("w=auto", "width=auto"),
        ("dpr=auto,w=9", "dpr=auto,width=9"),
        ("h=auto", "format=auto"),
        ("w=10,background=%23FFF", "background=%23ffffff,width=10"),
        ("w=10,background=white", "background=%23ffffff,width=10"),
        ("w=10,g=0.50x1.0", "gravity=bottom,width=10"),
        ("w=10,g=centre", "width=10"),
        ("w=%36%34", "width=64"),
        ("dpr=2.0,w=1", "dpr=2,width=1"),
        ("brightness=0,w=1", "width=1"),
        ("f=jpg", "format=jpeg"),
        ("trim=true", "trim=10"),
        ("trim=border", "trim=10"),
    ],
)
def test_spellings_have_one_canonical_text(text: str, canonical: str) -> None:
    """Short names, other orders and other spellings come out alike."""
    assert Transform.parse(text).canonical() == canonical


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no options"),
        ("widht=3", "did you mean width"),
        ("width=0", "width"),
        ("width=1.5", "width"),
        ("width=-3", "width"),
        ("width=1e3", "width"),
        ("width=٣", "width"),
        ("width=", "width"),
        ("width=1,w=2", "twice"),
        ("w=1,w=1", "twice"),
        ("w=1,,h=1", "empty option"),
        ("w=1,", "empty option"),
        ("w=1,headimg", "comes first"),
        ("width%3D640", "neither a preset"),
        ("width", "needs a value"),
        ("original", "original"),
        ("Headimg", "neither a preset"),
        ("quality=0", "from 1 to 100"),
        ("quality=101", "from 1 to 100"),
        ("quality=%FF", "quality"),
        ("dpr=9", "dpr"),
        ("dpr=nan", "dpr"),
        ("fit=stretch", "scale-down, contain"),
        ("gravity=1.1x0", "gravity"),
        ("rotate=45", "90, 180 or 270"),
        ("blur=251", "blur"),
        ("sharpen=11", "sharpen"),
        ("background=nocolour", "background"),
        ("background=%2523fff", "background"),
        ("trim=1;2;3", "trim"),
        ("anim=yes", "true or false"),
        ("onerror=original", "onerror"),
        ("sig=abc", "no option 'sig'"),
        ("w=1," + "x" * 3000, "characters"),
    ],
)
def test_wrong_options_are_refused_by_name(text: str, said: str) -> None:
    """The message names the option and the allowed values."""
    with pytest.raises(InvalidTransform) as caught:
        Transform.parse(text)
    assert said in caught.value.message


def test_unknown_preset_is_refused_with_the_nearest() -> None:
    """A mistyped preset is answered with the one probably meant."""
    with pytest.raises(InvalidTransform, match="did you mean headimg"):
        Transform.parse("hedimg").resolved(PRESETS)


def test_preset_is_expanded_and_overridden() -> None:
    """Options after a preset win, even if they are a global default."""
    resolved = Transform.parse("headimg,w=800,fit=scale-down").resolved(PRESETS)
    assert (resolved.width, resolved.height, resolved.fit, resolved.upscale) == (
        800,
        630,
        "scale-down",
        False,
    )
    assert resolved.on_error == "original"


@pytest.mark.parametrize(
    ("text", "on_error"),
    [
        ("w=1", "error"),
        ("w=1,onerror=redirect", "original"),
        ("headimg", "original"),
        ("headimg,w=1", "original"),
    ],
)
def test_on_error_comes_from_preset_or_option(text: str, on_error: str) -> None:
    """Bare options answer errors; the shipped presets and onerror=redirect send to the original."""
    assert Transform.parse(text).resolved(PRESETS).on_error == on_error


@pytest.mark.parametrize(
    ("text", "upscale"),
    [
        ("fit=contain", False),
        ("fit=cover", True),
        ("fit=pad", True),
        ("fit=squeeze", True),
        ("fit=crop", True),
    ],
)
def test_upscale_default_depends_on_fit(text: str, upscale: bool) -> None:
    """contain does not enlarge by itself; the fits that fill an area do."""
    assert Transform.parse(text + ",w=9,h=9").resolved({}).upscale is upscale


def test_key_text_leaves_out_what_changes_no_bytes() -> None:
    """Format, onerror and the slow-line quality do not make another variant; a quality does."""
    plain = Transform.parse("w=9").resolved({}).text
    assert Transform.parse("w=9,f=webp,onerror=redirect,scq=40,upscale=false").resolved({}).text == plain
    assert Transform.parse("w=9,q=40").resolved({}).text != plain


def test_key_text_of_the_same_options_is_the_same_text() -> None:
    """In the order of names, however they were given: `text` names variants on disk."""
    for words in (("w=3", "h=5", "fit=pad"), ("h=5", "fit=pad", "w=3"), ("fit=pad", "w=3", "h=5")):
        assert Transform.parse(",".join(words)).resolved({}).text == "fit=pad,height=5,width=3"
    assert Transform.parse("fit=pad,w=3,h=5,upscale=false").resolved({}).text == (
        "fit=pad,height=5,upscale=false,width=3"
    )


def test_transform_of_nothing_wants_every_option_at_its_default() -> None:
    """What an operation sees where nobody asked is what the table of options promises."""
    nothing = Resolved.of({})
    assert nothing == Resolved()
    assert nothing.to_wire() == {}
    for option in OPTIONS.values():
        assert getattr(nothing, option.attribute) == (False if option.name == "upscale" else option.default)
    assert (nothing.on_error, nothing.hinted) == ("error", frozenset())


@pytest.mark.parametrize(
    ("text", "attribute", "value"),
    [
        ("anim=true,w=1", "anim", True),
        ("anim=false", "anim", False),
        ("upscale=true,fit=contain", "upscale", True),
        ("upscale=false,fit=cover", "upscale", False),
        ("f=jpg", "format", "jpeg"),
        ("q=auto", "quality", "auto"),
        ("q=1", "quality", 1),
        ("q=100", "quality", 100),
        ("q=007", "quality", 7),
        ("scq=auto", "slow_connection_quality", None),
        ("brightness=0", "brightness", 1.0),
        ("brightness=0.0001", "brightness", 0.0001),
        ("brightness=2", "brightness", 2.0),
        ("brightness=10", "brightness", 10.0),
        ("saturation=0", "saturation", 0.0),
        ("dpr=1.25", "dpr", 1.25),
        ("dpr=8", "dpr", 8.0),
        ("sharpen=10", "sharpen", 10.0),
    ],
)
def test_value_of_an_option_is_read_as_it_is_worked_with(text: str, attribute: str, value: object) -> None:
    """Both ends of a range belong to it; 0 changes nothing where the table says so."""
    assert getattr(Transform.parse(text).resolved({}), attribute) == value


@pytest.mark.parametrize(
    "text",
    [
        "q=0", "q=101", "q=1.0", "q=+1", "q=1_0", "q=%201", "q=\u0661", "q=0x1", "q=", "w=0", "w=32768", "w=1e2",
        "dpr=0.9", "dpr=8.1", "dpr=1e0", "dpr=+1", "dpr=1_0", "dpr=.5", "dpr=1.", "dpr=nan", "dpr=inf", "dpr=1.23456",
        "dpr=%201", "brightness=10.1", "brightness=-0", "anim=True", "anim=1", "anim=yes", "anim=", "f=JPEG", "f=bmp",
        "scq=0", "sharpen=10.1", "sharpen=1e1",
    ],
)  # fmt: skip
def test_value_in_another_spelling_is_refused(text: str) -> None:
    """Numbers are digits and a point: one value has few spellings, and none that only Python reads."""
    with pytest.raises(InvalidTransform, match="not allowed; it takes"):
        Transform.parse(text)


@pytest.mark.parametrize(
    ("text", "only"),
    [
        ("w=9", True),
        ("w=9,h=8,dpr=2,fit=cover,gravity=left,upscale=false", True),
        ("fit=contain,w=9,h=8,upscale=true,anim=false", True),
        ("w=9,f=png,q=7,metadata=keep,onerror=redirect,scq=4", True),
        ("headimg", True),
        ("w=9,blur=1", False),
        ("rotate=90", False),
        ("background=red", False),
        ("trim=true", False),
    ],
)
def test_transform_only_resizes_when_it_asks_for_a_size_and_nothing_that_is_drawn(
    text: str, only: bool
) -> None:
    """An SVG scales by itself; how an answer is encoded does not count."""
    assert Transform.parse(text).resolved(PRESETS).only_resizes is only


def test_transform_of_texts_is_that_of_the_same_options_in_an_address() -> None:
    """Other grammars give texts that were decoded already: nothing in them is decoded again."""
    texts = {"width": "9", "background": "#fff"}
    assert Transform.of_texts(texts) == Transform.parse("width=9,background=%23fff")
    assert Transform.of_texts(texts, preset="headimg").canonical() == "headimg,background=%23ffffff,width=9"
    with pytest.raises(InvalidTransform, match="takes no further options"):
        Transform.of_texts(texts, preset="original")
    with pytest.raises(InvalidTransform, match="Option width"):
        Transform.of_texts({"width": "%39"})


@pytest.mark.parametrize(
    ("on_error", "answers"), [(None, "error"), ("error", "error"), ("original", "original")]
)
def test_preset_answers_errors_unless_it_says_otherwise(on_error: str | None, answers: str) -> None:
    preset = {"width": 9} if on_error is None else {"width": 9, "on_error": on_error}
    assert preset_problems("mine", preset) == []
    assert Transform.parse("mine").resolved({"mine": preset}).on_error == answers


def test_refused_text_is_quoted_short_and_on_one_line() -> None:
    """Up to forty characters as they are; a longer one ends in an ellipsis; nothing that a terminal would obey."""
    for text, shown in (("x" * 40, f"'{'x' * 40}'"), ("x" * 41, f"'{'x' * 39}…'"), ("a\x1b\n", r"'a\x1b\n'")):
        with pytest.raises(InvalidTransform) as caught:
            Transform.parse(f"w={text}")
        assert caught.value.message.startswith(f"Option width: {shown} is not allowed")
    with pytest.raises(InvalidTransform, match="Option width: '1=2' is not allowed"):
        Transform.parse("w=1=2")
    problem = preset_problems("mine", {"width": "x"})
    assert problem == [
        "preset 'mine': Option width: 'x' is not allowed; it takes " + OPTIONS["width"].allowed
    ]


def test_look_leaves_out_what_changes_no_pixel() -> None:
    """One frame or all is another picture; a quality or a format is not."""
    look = Transform.parse("w=9,f=png,q=7,metadata=keep,onerror=redirect,scq=4").resolved({}).look
    assert look.to_wire() == {"width": "9"}
    assert Transform.parse("w=9,anim=false").resolved({}).look.anim is False


def test_slow_connection_takes_its_own_quality() -> None:
    """The quality for slow lines replaces the other only when it was given."""
    resolved = Transform.parse("w=9,q=80,scq=40").resolved({})
    assert resolved.for_slow_connection().quality == 40
    assert Transform.parse("w=9,q=80").resolved({}).for_slow_connection().quality == 80


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("w=auto", (640, None, 1.0)),
        ("w=auto,h=300", (640, 300, 1.0)),
        ("w=auto,h=300,dpr=auto", (640, 450, 1.0)),
        ("w=auto,h=301,dpr=2", (640, 602, 1.0)),
        ("w=400,h=300,dpr=auto", (400, 300, 1.5)),
        ("headimg,dpr=auto", (1200, 630, 1.5)),
        ("w=400,h=300,dpr=2", (400, 300, 2.0)),
        ("w=auto,h=7,dpr=1.25", (640, 9, 1.0)),
        ("w=auto,h=1,dpr=1.1", (640, 1, 1.0)),
        ("h=300", (None, 300, 1.0)),
    ],
)
def test_hints_fill_in_what_was_left_to_them(text: str, size: tuple[int | None, int | None, float]) -> None:
    """A width from a hint is in device pixels already. Values in the address stay."""
    plain = Transform.parse(text).resolved(PRESETS)
    hinted = plain.for_hints(width_px=640, dpr=1.5)
    assert (hinted.width, hinted.height, hinted.dpr) == size
    assert plain.for_hints(width_px=None, dpr=None) == plain


def test_auto_without_a_hint_is_the_same_variant_as_nothing() -> None:
    """The word asks for hints and changes no pixel by itself. The signature distinguishes it all the same."""
    assert Transform.parse("w=auto,h=9,dpr=auto").resolved({}) == Transform.parse("h=9").resolved({})
    assert Transform.parse("w=auto").canonical() != Transform.parse("f=auto").canonical()


def test_preset_only_means_nothing_besides() -> None:
    """Policy asks whether a request stays within a preset."""
    assert Transform.parse("headimg").is_bounded(())
    assert Transform.parse("headimg,w=320").is_bounded((320, 480))
    assert Transform.parse("w=480").is_bounded((320, 480))
    for options in (
        "headimg,w=1",
        "w=1",
        "w=320,h=1",
        "h=320",
        "w=auto",
        "headimg,h=320",
        "q=80",
        "w=320,dpr=2",
    ):
        assert not Transform.parse(options).is_bounded((320, 480))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("original", {"width": 1}, "reserved"),
        ("width", {"width": 1}, "reserved"),
        ("Big", {"width": 1}, "lower-case letters"),
        ("x", {"widht": 1}, "did you mean width"),
        ("x", {"width": 0}, "from 1 to"),
        ("x", {"width": 1, "w": 2}, "twice"),
        ("x", {"width": [1]}, "not text"),
        ("x", {"on_error": "redirect"}, "on_error"),
        ("x", ["width"], "not a table"),
        ("x", {"background": "#12"}, "background"),
    ],
)
def test_wrong_preset_is_told(name: str, options: Any, said: str) -> None:
    """The configuration learns all that is wrong with a preset."""
    assert said in " ".join(preset_problems(name, options))


def test_right_presets_have_no_problems() -> None:
    """Short and long names, numbers, texts and truth values are taken as TOML gives them."""
    options = {
        "w": 10,
        "height": 20,
        "dpr": 1.5,
        "anim": False,
        "background": "#fff",
        "trim": "1;2;3;4",
        "on_error": "error",
    }
    assert preset_problems("card_2-x", options) == []
    resolved = Transform.parse("card").resolved({"card": options})
    assert (resolved.width, resolved.dpr, resolved.anim, resolved.trim) == (10, 1.5, False, (1, 2, 3, 4))


def test_options_table_lists_every_option() -> None:
    """The documentation's table is made from the options themselves."""
    table = options_table()
    assert all(f"`{name}`" in table for name in OPTIONS)
