"""Front matter: YAML, TOML and JSON; fields and their presets; spellings."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import SOURCE, WRAPPED, ours, rewrite, text

from proxy.config import RewriteConfig
from proxy.rewrite.front import yamlfront
from proxy.rewrite.front.frontmatter import MAX_BYTES
from proxy.rewrite.ondisk.files import find_articles

HEAD = ours(preset="headimg")
THUMB = ours(preset="thumbnail")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"headimg: '{WRAPPED}'", f"headimg: '{HEAD}'"),
        (f'headimg: "{WRAPPED}"', f'headimg: "{HEAD}"'),
        (f"headimg: {WRAPPED}", f"headimg: {HEAD}"),
        (f"headimg: {WRAPPED} # why", f"headimg: {HEAD} # why"),
        (f"thumbnail: {WRAPPED}\ncover: {WRAPPED}", f"thumbnail: {THUMB}\ncover: {HEAD}"),
        (f"banner: >-\n  {WRAPPED}\ntop_img: |\n  {WRAPPED}", f"banner: >-\n  {HEAD}\ntop_img: |\n  {HEAD}"),
        (f"cover:\n  - {WRAPPED}\n  - '{WRAPPED}'", f"cover:\n  - {HEAD}\n  - '{HEAD}'"),
        (f"cover:\n  image: {WRAPPED}\n  alt: x", f"cover:\n  image: {HEAD}\n  alt: x"),
        (f"a:\n  b:\n    thumbnail: {WRAPPED}", f"a:\n  b:\n    thumbnail: {THUMB}"),
        (f"cover: {{image: '{WRAPPED}', x: 1}}", f"cover: {{image: '{HEAD}', x: 1}}"),
        (f"cover: [{WRAPPED}, {WRAPPED}]", f"cover: [{HEAD}, {HEAD}]"),
        (f"? headimg\n: {WRAPPED}", f"? headimg\n: {HEAD}"),
        (f"cover: &a {WRAPPED}\nbanner: *a", f"cover: &a {HEAD}\nbanner: *a"),
        (f"cover: !!str '{WRAPPED}'", f"cover: !!str '{HEAD}'"),
        (f"headimg: '{WRAPPED}?it''s'", f"headimg: '{HEAD}?it''s'"),
        (f'headimg: "{WRAPPED}?\\"\\x41\\u56fe"', f'headimg: "{HEAD}?%22A%E5%9B%BE"'),
        (f"headimg: ' {WRAPPED} '", f"headimg: ' {HEAD} '"),
        (f"headimg: {WRAPPED}?图", f"headimg: {HEAD}?%E5%9B%BE"),
        (f"标题: 图\nheadimg: {WRAPPED}", f"标题: 图\nheadimg: {HEAD}"),
        (f"a:\n\t- b\nheadimg: {WRAPPED}", f"a:\n\t- b\nheadimg: {HEAD}"),
        (f"headimg: //cors.zfour.workers.dev/?{SOURCE}", f"headimg: {HEAD}"),
        (
            "cover: [https://cors.io/?http%3A%2F%2Fh.example%2Fa%2Cb]",
            f"cover: [{ours('http://h.example/a%2Cb', 'headimg')}]",
        ),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_yaml_field_takes_its_preset(before: str, after: str, line_end: str) -> None:
    """A field of the configuration, at any depth and in any style, takes its preset and keeps its spelling."""
    article, expected = (f"---\n{front}\n---\nText\n".replace("\n", line_end) for front in (before, after))
    assert text(article) == expected
    assert text(article, kind="html") == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"+++\ncover = '{WRAPPED}'\n+++\n", f"+++\ncover = '{HEAD}'\n+++\n"),
        (f'+++\n[params.cover]\nimage = "{WRAPPED}" # x\n+++\n', f'+++\n[params.cover]\nimage = "{HEAD}" # x\n+++\n'),
        (f'+++\nx = """\n"{WRAPPED}"\n"""\ncover = ["{WRAPPED}"]\n+++\n',
         f'+++\nx = """\n"{WRAPPED}"\n"""\ncover = ["{HEAD}"]\n+++\n'),
        (f'+++\n"cover" = {{ image = "{WRAPPED}?\\"" }}\n+++\n', f'+++\n"cover" = {{ image = "{HEAD}?%22" }}\n+++\n'),
        (f'{{\n "cover": "{WRAPPED}", "x": [1]\n}}\n\ntext', f'{{\n "cover": "{HEAD}", "x": [1]\n}}\n\ntext'),
        (f'{{ "cover": {{"a": ["{WRAPPED}"]}} }}\ntext', f'{{ "cover": {{"a": ["{HEAD}"]}} }}\ntext'),
        (f';;;\n"title": "x",\n"cover": "{WRAPPED}"\n;;;\ntext', f';;;\n"title": "x",\n"cover": "{HEAD}"\n;;;\ntext'),
        ('{"cover": "' + WRAPPED.replace("/", "\\/") + '"}\n', '{"cover": "' + HEAD.replace("/", "\\/") + '"}\n'),
    ],
)  # fmt: skip
def test_toml_and_json_fields_take_their_preset(before: str, after: str) -> None:
    """Hugo's and Hexo's other front matters are read by their own rules."""
    assert text(before) == after


@pytest.mark.parametrize("before", ["", "\ufeff", "\n", "\ufeff\n \n\t\r\n", "\r\n\r\n"])
def test_front_matter_may_follow_a_mark_and_blank_lines(before: str) -> None:
    """A byte order mark and blank lines before the fence do not hide the front matter."""
    article = f"{before}---\nheadimg: '{WRAPPED}'\n---\n![]({WRAPPED})\n"
    assert text(article) == f"{before}---\nheadimg: '{HEAD}'\n---\n![]({ours()})\n"


@pytest.mark.parametrize(
    "article",
    [
        f"---\nheadimg: '{WRAPPED}'\n",
        f"text\n---\nheadimg: '{WRAPPED}'\n---\n",
        f"----\nheadimg: '{WRAPPED}'\n---\n",
    ],
)
def test_what_is_no_front_matter_is_text(article: str) -> None:
    """Without a fence at both ends there is no front matter, and bare addresses in text stay."""
    assert text(article) == article


@pytest.mark.parametrize("front", [f"# headimg: {WRAPPED}", f"headimg: a\n  # {WRAPPED}"])
def test_front_matter_comment_is_left_on_purpose(front: str) -> None:
    result = rewrite(f"---\n{front}\n---\n")
    assert not result.replaced
    assert [item.on_purpose for item in result.left] == [True]


@pytest.mark.parametrize(
    ("key", "preset"),
    [
        ("image", "headimg"),
        ("coverImage", "headimg"),
        ("banner_img", "headimg"),
        ("featured-image", "headimg"),
        ("og_image", "headimg"),
        ("heroImage", "headimg"),
        ("thumbnailImage", "thumbnail"),
        ("index_img", "thumbnail"),
        ("avatar", "original"),
        ("icon", "original"),
        ("photos", "content"),
        ("nobodys-key", "content"),
        ("标题", "content"),
    ],
)
@pytest.mark.parametrize(
    "article",
    [
        "---\nKEY: URL\n---\n",
        "---\nKEY:\n- 'URL'\n- \"URL\"\n---\n",
        "---\nKEY: [URL, URL]\n---\n",
        "---\nKEY: >-\n  URL\n---\n",
        "---\nKEY: |\n  URL\n  URL\n---\n",
        "---\na: {b: [{KEY: URL}]}\n---\n",
        "+++\n'KEY' = 'URL'\n+++\n",
        '+++\n[[a.b]]\n"KEY" = [\n  \'URL\',\n  """URL""",\n]\n+++\n',
        '{"a": {"KEY": ["URL"]}}\n',
        ';;;\n"KEY": "URL"\n;;;\n',
    ],
)
def test_every_front_matter_value_that_is_a_wrapped_picture_is_rewritten(
    article: str, key: str, preset: str
) -> None:
    """The key chooses the preset and nothing else; with all pictures, direct ones are taken by their name."""
    article = article.replace("KEY", key)
    result = rewrite(article.replace("URL", WRAPPED))
    assert result.data.decode() == article.replace("URL", ours(preset=preset))
    assert not result.left
    assert rewrite(article.replace("URL", SOURCE)).data.decode() == article.replace("URL", SOURCE)
    all_images = rewrite(article.replace("URL", SOURCE), all_images=True)
    assert all_images.data.decode() == article.replace("URL", ours(preset=preset))
    assert (preset,) in {picture.presets for picture in result.pictures}


@pytest.mark.parametrize(
    ("front", "preset"),
    [
        ("image:\n  path: URL", "headimg"),
        ("cover:\n  thumbnail: URL", "thumbnail"),
        ("header:\n  teaser: URL", "headimg"),
        ("header:\n  actions:\n    - url: URL", "headimg"),
        ("authors:\n  - name: x\n    image_url: URL", "original"),
        ("gallery:\n  - image_path: URL", "content"),
        ("hero:\n  image:\n    dark: URL", "headimg"),
    ],
)
def test_innermost_named_key_or_dotted_path_gives_the_preset(front: str, preset: str) -> None:
    article = f"---\n{front}\n---\n"
    assert text(article.replace("URL", WRAPPED)) == article.replace("URL", ours(preset=preset))


def test_picture_without_a_pictures_name_is_known_by_its_own_key_only() -> None:
    """`image: https://…/photo-1` is a picture; below a picture's key it is reported, elsewhere it is a link."""
    photo = "https://photos.example/photo-1"
    article = f"---\nimage: {photo}\nhero:\n  path: {photo}x\n  link: {photo}y\nhome: {photo}z\n---\n"
    result = rewrite(article, all_images=True)
    assert [item.source.url for item in result.replaced] == [photo, f"{photo}x"]
    assert [(item.text, item.context, item.on_purpose) for item in result.left] == [
        (f"{photo}y", "front matter hero.link", True)
    ]


def test_wrapper_of_no_picture_under_a_key_that_nobody_names_stays_and_is_said() -> None:
    article = "---\nhome: https://cors.io/?http://h.example/page.html\n---\n"
    result = rewrite(article)
    assert result.data.decode() == article
    assert [(item.line, item.context, item.on_purpose) for item in result.left] == [
        (2, "front matter home", True)
    ]


@pytest.mark.parametrize(
    "front",
    [
        f"description: '<img src={WRAPPED}>'",
        f"headimg: 'see {WRAPPED}'",
        f"{WRAPPED}: headimg",
        f'headimg: "{WRAPPED}?a\\\n  b"',
    ],
)
def test_front_matter_value_of_unknown_meaning_is_left_for_a_person(front: str) -> None:
    """HTML in a value, an address in a sentence, a key, an address on two lines: who knows what shows them."""
    result = rewrite(f"---\n{front}\n---\n")
    assert not result.replaced
    assert [item.on_purpose for item in result.left] == [False]


def test_address_inside_a_longer_value_is_reported_with_its_key() -> None:
    result = rewrite(f"---\na:\n  intro: 'see {WRAPPED}'\n---\n")
    assert [(item.line, item.context) for item in result.left] == [(3, "front matter a.intro")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f'banner = """{WRAPPED}"""', f'banner = """{HEAD}"""'),
        (f"banner = '''{WRAPPED}'''", f"banner = '''{HEAD}'''"),
        (f'thumbnail.src = "{WRAPPED}"', f'thumbnail.src = "{THUMB}"'),
        (
            f'x = 1.5\nparams."thumbnail" . src = "{WRAPPED}"',
            f'x = 1.5\nparams."thumbnail" . src = "{THUMB}"',
        ),
        (f'a = {{ cover.src = "{WRAPPED}", b = 1.0 }}', f'a = {{ cover.src = "{HEAD}", b = 1.0 }}'),
    ],
)
def test_toml_long_string_and_dotted_key_take_their_preset(before: str, after: str) -> None:
    """A string in three quotes on one line, and a field anywhere in a dotted key."""
    assert text(f"+++\n{before}\n+++\n") == f"+++\n{after}\n+++\n"


def test_toml_long_string_on_several_lines_is_left_for_a_person() -> None:
    """A value that spans lines is not a single address."""
    result = rewrite(f'+++\nbanner = """\n{WRAPPED}"""\n+++\n')
    assert [item.on_purpose for item in result.left] == [False]


@pytest.mark.parametrize(
    ("front", "expected"),
    [
        ("a: b: c\nheadimg: 'URL'\n", "a: b: c\nheadimg: 'NEW'\n"),
        ("title: 'It's'\r\nheadimg: URL # x\r\n", "title: 'It's'\r\nheadimg: NEW # x\r\n"),
        ("headimg: 'URL\n", "headimg: 'NEW\n"),
        ('title: "a" b\nbanner:\n- URL\n- "URL"\n', 'title: "a" b\nbanner:\n- NEW\n- "NEW"\n'),
        ("a: }\ncover: [URL, 'URL']\n", "a: }\ncover: [NEW, 'NEW']\n"),
        ("a: @x\nimage:\n  path: URL\n", "a: @x\nimage:\n  path: NEW\n"),
        (
            "a: %\n# headimg: URL\ntext URL\nheadimg: see URL\n",
            "a: %\n# headimg: URL\ntext URL\nheadimg: see URL\n",
        ),
    ],
)
def test_yaml_that_cannot_be_read_is_rewritten_key_by_key(front: str, expected: str) -> None:
    """The front matter is reported as broken. A value that is not a single address is left for a person, under its
    key."""
    article, new = (f"---\n{text}---\n![](URL)\n" for text in (front, expected))
    new = new[: -len("![](URL)\n")] + f"![]({ours()})\n"
    result = rewrite(article.replace("URL", WRAPPED))
    assert result.data.decode() == new.replace("URL", WRAPPED).replace("NEW", HEAD)
    assert [item.reason for item in result.left if not item.text] == [
        "the front matter is not readable YAML and was rewritten key by key"
    ]
    left = [item for item in result.left if item.text and not item.on_purpose]
    assert [item.context for item in left] == (
        ["front matter", "front matter headimg"] if "see" in front else []
    )


@pytest.mark.parametrize(
    ("article", "expected"),
    [
        ("+++\ncover = URL\n+++\n", "+++\ncover = NEW\n+++\n"),
        (
            '+++\na = \'b\n[params.cover]\nimage = "URL"\n+++\n',
            '+++\na = \'b\n[params.cover]\nimage = "NEW"\n+++\n',
        ),
        (';;;\n"cover" = "URL",\n;;;\n', ';;;\n"cover" = "NEW",\n;;;\n'),
    ],
)
def test_other_front_matter_that_cannot_be_read_is_rewritten_key_by_key(article: str, expected: str) -> None:
    result = rewrite(article.replace("URL", WRAPPED))
    assert result.data.decode() == expected.replace("NEW", HEAD)
    assert [item.on_purpose for item in result.left] == [True]


@pytest.mark.parametrize(
    "article",
    [
        f"---\nheadimg: {'[' * 100}'{WRAPPED}'\n---\n",
        f"---\na: '{'x' * 300_000}'\nheadimg: '{WRAPPED}'\n---\n",
    ],
)
def test_front_matter_beyond_the_bounds_is_left_for_a_person(article: str) -> None:
    """Too deep or too long front matter is not touched; the text still is rewritten."""
    result = rewrite(article + f"![]({WRAPPED})\n")
    assert result.data == (article + f"![]({ours()})\n").encode()
    reasons = [item.reason for item in result.left if not item.on_purpose]
    assert "front matter" in reasons[0]


@pytest.mark.parametrize("before", ["", "\ufeff", "\ufeff\r\n \n"])
@pytest.mark.parametrize(
    "front",
    [
        "title: x\nheadimg: URL\n---\n",
        "headimg: URL\n---\n",
        "title: x\n\n# a comment\ntags:\n- a\n  - b\ncover:\n  image: URL\n-----\n",
        "date: 2020-01-01\r\nheadimg: 'URL'\r\n---\r\n",
    ],
)
def test_front_matter_may_lack_its_first_fence(front: str, before: str) -> None:
    article = f"{before}{front}\n![](BODY)\n"
    assert text(article.replace("URL", WRAPPED).replace("BODY", WRAPPED)) == (
        article.replace("URL", HEAD).replace("BODY", ours())
    )


@pytest.mark.parametrize(
    "article",
    [
        "Note: a heading\n---\n\nimage: URL\n",
        "title: x\ntext\nimage: URL\n---\n",
        "title: x\nimage: URL\n",
        "https://h.example/\n---\nimage: URL\n",
    ],
)
def test_text_above_a_rule_is_no_front_matter(article: str) -> None:
    """A heading, a paragraph, keys without an end: the address is a link in the text."""
    assert text(article.replace("URL", WRAPPED)) == article.replace("URL", ours(preset="original"))


def test_fields_of_the_configuration_decide() -> None:
    """The configured table replaces the shipped one, and keys that it does not name use `rewrite.front`."""
    config = RewriteConfig(fields={"ph?tos": "thumbnail", "a.*": "original"}, front="headimg")
    article = f"---\nphotos: [{WRAPPED}]\ncover: {WRAPPED}\na: {{cover: {WRAPPED}}}\n---\n"
    assert text(article, config=config) == (
        f"---\nphotos: [{THUMB}]\ncover: {HEAD}\na: {{cover: {ours(preset='original')}}}\n---\n"
    )


def test_yaml_keeps_bytes_that_are_no_utf8() -> None:
    """GBK, controls and NUL in front matter keep their bytes and their places."""
    article = b"---\ntitle: '\xcd\xbc \x00\x01'\nheadimg: " + WRAPPED.encode() + b"?\xcd\xbc\n---\n"
    expected = b"---\ntitle: '\xcd\xbc \x00\x01'\nheadimg: " + HEAD.encode() + b"?%CD%BC\n---\n"
    assert rewrite(article).data == expected


LONG = "a" * (2 * MAX_BYTES)


@pytest.mark.parametrize(
    "front",
    [f'{{"x": "{LONG}", "headimg": "%s"}}\n', f';;;\n"x": "{LONG}", "headimg": "%s"\n;;;\n'],
)
def test_long_json_is_read_as_short_json_is(front: str) -> None:
    """Its strings are found by key, with and without a wrapper, at any position."""
    article = front + f"![]({WRAPPED})\n"
    assert text(article % WRAPPED) == article.replace(WRAPPED, ours()) % ours(preset="headimg")
    assert text(article % SOURCE, all_images=True) == article.replace(WRAPPED, ours()) % ours(
        preset="headimg"
    )


@pytest.mark.parametrize("fence", ["---", "+++"])
def test_long_yaml_and_toml_are_reported_with_their_reason(fence: str) -> None:
    equals = ":" if fence == "---" else " ="
    front = f'{fence}\nx{equals} "{LONG}"\nheadimg{equals} "{SOURCE}"\n{fence}\n'
    result = rewrite(front, all_images=True)
    assert result.data.decode() == front
    assert [(left.reason, left.on_purpose) for left in result.left] == [
        ("the front matter is too long to be read", False)
    ]


@pytest.mark.parametrize("filler", ["a", LONG])
def test_json_with_a_fault_is_reported_and_not_taken_as_text(filler: str) -> None:
    """A generator refuses it; what follows the object is rewritten."""
    front = f'{{"x": "{filler}", "headimg": "{SOURCE}",}}\n'
    result = rewrite(front + f"![]({WRAPPED})\n", all_images=True)
    assert result.data.decode() == front + f"![]({ours()})\n"
    broken, *others = result.left
    assert broken.reason.startswith("the front matter is not readable JSON")
    assert [left.text for left in others] == [SOURCE]


@pytest.mark.parametrize(
    ("front", "is_article"),
    [
        (f'{{"x": "{LONG}"}}\n', True),
        (f'---\nx: "{LONG}"\n---\n', True),
        (f"---\n{LONG}\n", False),
        (LONG, False),
    ],
)
def test_text_file_with_long_front_matter_is_an_article(tmp_path: Path, front: str, is_article: bool) -> None:
    (tmp_path / "a.txt").write_text(front)
    assert [found.path.name for found in find_articles([tmp_path])] == ["a.txt"] * is_article


@pytest.mark.parametrize(
    "address",
    [
        "/_next/image?url=http%3A%2F%2Fh.example%2Fa.png&w=640&q=75",
        "/site/.netlify/images?url=http%3A%2F%2Fh.example%2Fa.png",
        "/_image?href=http%3A%2F%2Fh.example%2Fa.png",
    ],
)
def test_image_endpoint_of_the_site_is_read_where_no_other_address_stands(address: str) -> None:
    """Nothing in the front matter has two slashes, and an address is in it all the same."""
    for article in (f"---\ncover: {address}\n---\n", f'+++\ncover = "{address}"\n+++\n'):
        assert [item.source.url for item in rewrite(article).replaced] == ["http://h.example/a.png"]


def test_slashes_that_are_escaped_are_slashes() -> None:
    article = '---\ncover: "https:\\x2f\\x2fwsrv.nl\\x2f?url=h.example\\x2fa.png"\n---\n'
    assert [item.source.url for item in rewrite(article).replaced] == ["http://h.example/a.png"]


def test_space_in_the_address_of_a_picture_key_is_a_part_of_it() -> None:
    """Browsers load `a b.png` all the same. A text that begins with an address is not an address."""
    article = f"---\ncover: '{WRAPPED.removesuffix('.png')} b.png'\nother: x\n---\n"
    assert text(article) == f"---\ncover: '{ours('http://h.example/a%20b.png', 'headimg')}'\nother: x\n---\n"
    for value in (
        f"{WRAPPED} is a picture.",
        f"{WRAPPED} 2x",
        f"{WRAPPED} https://h/b.png",
        f"{WRAPPED}, b.png",
    ):
        result = rewrite(f"---\ncover: '{value}'\n---\n")
        assert [item.text for item in result.left] == [WRAPPED]


def test_tab_behind_a_value_does_not_make_front_matter_unreadable() -> None:
    """YAML 1.2.2 §6.2: it is white space there; libyaml knows, PyYAML's own parser does not."""
    result = rewrite(f"---\ntitle:\tx\ndate: 2024-02-05\t\ncover: {WRAPPED}\n---\n")
    assert [item.context for item in result.replaced] == ["front matter cover"]
    assert result.left == ()


YAML_PIECES = st.sampled_from(
    [
        "a: ", "b:", "- ", "\n", "\n  ", '"', "'", "http://h/a.png", "[", "]", "{", "}", ", ", "# c", "|\n",
        ">-\n", "&x ", "*x", "!t ", "? ", "x", "\\u0041", "\\\n", " ", "%", "---\n", "...\n", "<<: ", "\x85", "图",
        "\r\n", "a?b", "\0", "[a, b]", "{a: b}", "key: value\n", "- item\n", "https://wsrv.nl/?url=h/a.png",
        '"\\x41"', "it''s", "\ufeff", "=",
    ]
)  # fmt: skip


@given(st.lists(YAML_PIECES, max_size=14).map("".join))
@settings(max_examples=400)
def test_both_parsers_of_yaml_find_the_same(text: str) -> None:
    """Where each can read a text, the events, their values and their positions are the same."""
    found = []
    for loader in yamlfront.LOADERS:
        try:
            events = list(yaml.parse(yamlfront.readable(text.encode().decode("latin-1")), Loader=loader))
        except yaml.YAMLError:
            return
        scalars = [event for event in events if isinstance(event, yaml.ScalarEvent) and event.value]
        found.append(
            [
                (event.value, event.style or None, event.start_mark.index, event.end_mark.index)
                for event in scalars
                if event.start_mark and event.end_mark
            ]
        )
    assert all(events == found[0] for events in found)
