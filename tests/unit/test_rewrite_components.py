"""Pictures in Markdown that neither Markdown nor HTML knows: JSX, kramdown's attributes, MyST's directives."""

from __future__ import annotations

import pytest
from rewriting import SOURCE, WRAPPED, ours, rewrite, text


@pytest.mark.parametrize(
    "article",
    [
        "<Image src={'PIC'} alt=\"a\" />",
        '<Image\n  alt="a > b"\n  src={ "PIC" }\n/>',
        "<Picture src={`PIC`} />",
        "text <img src={'PIC'} width={300} {...rest} /> text",
        "<ThemedImage sources={{ light: 'PIC', dark: \"PIC\" }} />",
        "<ThemedImage sources={{ light: useBaseUrl('PIC') }} />",
        "<div style={{ color: 'red', backgroundImage: 'url(PIC)' }} />",
        "<Hero image={'PIC'} />",
        '![a](/s.png){: .w-50 lqip="PIC" }',
        "![a](/s.png){: data-src='PIC' }",
        "```{figure} PIC\n:alt: a\n```",
        ":::{image} PIC\n:::",
        "- a\n  ```{image} PIC\n  ```",
    ],
)
def test_picture_is_rewritten_in_both_modes(article: str) -> None:
    for address, all_images in ((WRAPPED, False), (SOURCE, True)):
        result = text(article.replace("PIC", address) + "\n", all_images=all_images)
        assert result == article.replace("PIC", ours()) + "\n"


@pytest.mark.parametrize(
    "article",
    [
        "<Image src={dark ? 'PIC' : b} />",
        "<Image src={base + 'PIC'} />",
        "<Gallery list={[{ src: 'PIC' }]} />",
        "<Video src={'PIC'} controls={true} />",
    ],
)
def test_expression_is_left_and_said_in_both_modes(article: str) -> None:
    for address, all_images in ((WRAPPED, False), (SOURCE, True)):
        before = article.replace("PIC", address) + "\n"
        if "<Video" in article:
            before = before.replace(".png", "")
        result = rewrite(before, all_images=all_images)
        assert result.data.decode() == before
        assert result.left or (all_images and "<Video" in article)
        assert all(item.on_purpose for item in result.left)


@pytest.mark.parametrize(
    "article",
    [
        "```jsx\n<Image src={'PIC'} />\n```",
        "    <Image src={'PIC'} />",
        "`<Image src={'PIC'} />`",
        "<!-- <Image src={'PIC'} /> -->",
        "````md\n```{figure} PIC\n```\n````",
        '`![](a){: lqip="PIC" }`',
        "```text\n{: lqip=\"PIC\" }\n```",
    ],
)  # fmt: skip
def test_code_and_comments_stay(article: str) -> None:
    before = article.replace("PIC", WRAPPED) + "\n"
    result = rewrite(before)
    assert result.data.decode() == before
    assert [item.on_purpose for item in result.left] == [True]


def test_code_beside_a_tag_is_still_code() -> None:
    article = f"<Image src={{`{WRAPPED}`}} /> and `{WRAPPED}`\n"
    assert text(article) == article.replace(WRAPPED, ours(), 1)


@pytest.mark.parametrize(
    "piece",
    ["<a b={", '<a b="', "<a b={'", "<a {...", "<a b={{c: ", "{: a=\"", "```{figure} ", "b={1} "],
)  # fmt: skip
def test_hostile_repetition_is_read_in_time(piece: str) -> None:
    """A pattern that backtracks would take minutes for this."""
    assert rewrite("<a " + piece * 20_000 + "//h.example").data


def test_picture_of_a_chat_is_shown() -> None:
    """Stellar: the users stand in YAML, the messages in comments."""
    article = "{% chat iphone me:a %}\na:\n  avatar: PIC\n<!-- chatcell user:a image:PIC -->\n{% endchat %}\n"
    expected = article.replace("PIC", ours(preset="original"), 1).replace("PIC", ours())
    assert text(article.replace("PIC", WRAPPED)) == expected


def test_json_front_matter_without_its_first_fence_is_read() -> None:
    """Hexo: keys from the first line up to `;;;`."""
    article = f'"title": "x",\n"cover": "{WRAPPED}"\n;;;\ntext\n'
    assert text(article) == article.replace(WRAPPED, ours(preset="headimg"))
    assert rewrite(f'"A quotation": {WRAPPED}\n\ntext\n').data
