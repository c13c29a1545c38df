"""Tags and shortcodes of themes: what the table says of each is what happens to its addresses."""

from __future__ import annotations

import pytest
from rewriting import BASE, SOURCE, WRAPPED, ours, rewrite, text

from proxy.dialects import native
from proxy.rewrite.generators.tags import names_with, rules, tag_addresses
from proxy.rewrite.generators.templates import CODE_TAGS
from proxy.source import Source

LARGE = "https://cors.zfour.workers.dev/?http://h.example/large.jpg"


@pytest.mark.parametrize(
    "tag",
    [
        "{% image PIC, width=400px, alt=x %}",
        "{% image PIC,width=400px %}",
        "{% image PIC, %}",
        "{% image 'PIC', alt='a, b' %}",
        "{% image PIC :: width=400px :: alt=x %}",
        "{%- image PIC , alt=x -%}",
        "{% image PIC %}",
        "{% image PIC alt width:300px bg:#eee %}",
        "{% inlineimage PIC, height=22px %}",
        "{% inlineImg PIC 150px %}",
        "{% link title, LINK, PIC %}",
        "{% link 标题,LINK,PIC %}",
        "{% cell title, LINK, PIC %}",
        "{% link LINK_STAYS title icon:PIC desc:true %}",
        "{% frame iphone11 | img=PIC | video=/a.mp4 | part=top %}",
        "{% frame iphone11 img:PIC focus:top %}",
        "{% banner title 'sub title' bg:PIC avatar:PIC link:LINK %}",
        "{% about avatar:PIC height:80px %}\ntext\n{% endabout %}",
        "{% button text /x icon:PIC %}",
        "{% galleryGroup 'name' 'de scr' 'LINK' PIC %}",
        "{% gallery %}\n![a](PIC)\n{% endgallery %}",
        "{% fullimage PIC, alt, title %}",
        "{% fi PIC %}",
        "{% img left PIC 100 200 %}",
        '{{< image src="PIC" src_s="PIC" src_l="PIC" caption="x" >}}',
        '{{< figure src="PIC" href="LINK" >}}',
        '{{< screenshot src="PIC" href="LINK" >}}',
        '{{< inTextImg url="PIC" height="20" >}}',
        '{{< carousel images="{PIC,PIC}" interval="2500" >}}',
        '{{< carousel images="PIC, PIC" >}}',
        '{{< music url="/a.mp3" name=x cover="PIC" >}}',
        '{{< video src="/a.mp4" poster="PIC" >}}',
        '{{< person "LINK" "name" "text" "PIC" >}}',
        '{{< gallery >}}\n<img src="PIC" class="grid-w33" />\n{{< /gallery >}}',
        "{% include figure image_path='PIC' alt=\"x\" %}",
        "{% include embed/video.html src='/a.mp4' poster='PIC' %}",
        '{{< my-image-thing src="PIC" >}}',
        "{% photoset PIC %}",
        '{{< friend name="x" url="https://h.example/" logo="PIC" word="y" >}}',
        "{% card 'x' cover:PIC %}",
    ],
)
def test_picture_argument_of_a_theme_is_rewritten_and_nothing_else(tag: str) -> None:
    """Pictures take the text's preset, links to pictures the original; separators and other arguments stay."""
    stays = "https://h.example/page"
    article, expected = f"a\n\n{tag}\n\nb\n", f"a\n\n{tag}\n\nb\n"
    for mark, before, after in (
        ("LINK_STAYS", stays, stays),
        ("LINK", LARGE, ours("http://h.example/large.jpg", "original")),
        ("PIC", WRAPPED, ours()),
    ):
        article, expected = article.replace(mark, before), expected.replace(mark, after)
    result = rewrite(article)
    assert result.data.decode() == expected
    assert not result.left


@pytest.mark.parametrize(
    "tag",
    [
        '{% include figure image_path="URL" alt="x" %}',
        "{% include figure.html\n  src='URL'\n%}",
        '{{< figure src="URL" >}}',
        '<a title="{% include figure image_path=URL %}">',
    ],
)
def test_tag_in_an_html_page_is_rewritten(tag: str) -> None:
    """Jekyll's and Hugo's pages in HTML have tags too; in comments and code they stay."""
    assert text(tag.replace("URL", WRAPPED), kind="html") == tag.replace("URL", ours())
    for around in ("<pre>{}</pre>", "<!-- {} -->", "<script>{}</script>", "{{% raw %}}{}{{% endraw %}}"):
        article = around.format(tag.replace("URL", WRAPPED))
        result = rewrite(article, kind="html")
        assert result.data.decode() == article
        assert result.left
        assert all(item.on_purpose for item in result.left)


def test_unknown_tag_in_an_html_page_is_reported() -> None:
    result = rewrite(f"<p>{{% mytag {WRAPPED} %}}</p>", kind="html")
    assert [(item.context, item.on_purpose) for item in result.left] == [("template tag mytag", False)]


def sign(_options: str, _source: Source, _exp: int | None) -> str:
    return "abc"


@pytest.mark.parametrize(
    "tag",
    [
        "{% image URL, width=400px %}",
        "{% image URL %}",
        "{% link a, /b, URL %}",
        '{{< carousel images="{URL,URL}" >}}',
    ],
)
@pytest.mark.parametrize("source", [SOURCE, "http://h.example/a%2Cb.png"])
def test_address_in_a_tag_that_splits_on_commas_holds_none(tag: str, source: str) -> None:
    """This includes signature and options. The result is recognised as ours: it is read as it was meant, and signed
    again."""
    once = rewrite(tag.replace("URL", f"https://cors.io/?{source}"), sign=sign)
    written = f"{BASE}/image/content%2Csig=abc/{source}"
    assert once.data.decode() == tag.replace("URL", written)
    assert native.parse(written.removeprefix(BASE)) == native.NativeRequest(
        "content", Source.parse(source), "abc"
    )
    assert rewrite(once.data, sign=sign).replaced == ()
    other = rewrite(once.data, sign=lambda *_: "def")
    assert other.data.decode() == tag.replace("URL", written.replace("abc", "def"))


def test_escaped_comma_in_an_options_value_separates_nothing() -> None:
    assert native.parse(f"/image/background=rgb(0%2C1%2C2)%2Cwidth=5/{SOURCE}").options == (
        "background=rgb(0%2C1%2C2),width=5"
    )


@pytest.mark.parametrize(
    "address",
    [
        "http://h.example/a,b.png",
        "http://h.example/w_300,h_200/a.png",
        "https://c.example/cdn-cgi/image/width=80,quality=75/x.png",
    ],
)
def test_comma_that_separates_nothing_belongs_to_the_address(address: str) -> None:
    (found,) = tag_addresses(f"{{% image {address} 300 %}}")
    assert f"{{% image {address} 300 %}}"[found.start : found.end] == address


@pytest.mark.parametrize(
    ("article", "contexts"),
    [
        (f"{{% mytag {WRAPPED} %}}", ["template tag mytag"]),
        (f'{{{{< mytag a="{WRAPPED}" b="{WRAPPED}" >}}}}', ["template tag mytag"] * 2),
        (f"{{% image a, alt={WRAPPED} %}}", ["template tag image"]),
        (f"{{% mytag\n {WRAPPED}\n%}}", ["template tag mytag"]),
    ],
)
def test_address_in_an_argument_that_nobody_knows_is_reported_with_its_tag(
    article: str, contexts: list[str]
) -> None:
    result = rewrite(article)
    assert result.data.decode() == article
    assert [(item.context, item.on_purpose) for item in result.left] == [(name, False) for name in contexts]


@pytest.mark.parametrize(
    "article",
    [
        "{% flink %}\n- class_name: 'a: b\n  link_list:\n    - name: x\n      avatar: URL\n{% endflink %}\n\ntext\n",
        "{% linkgrid %}\nname | https://h.example/ | text | URL\n% note\n{% endlinkgrid %}\n",
        "{% lg /a.png %}\nname | https://h.example/ | text |URL|\n{% endlg %}",
    ],
)
def test_picture_in_the_data_between_tags_is_rewritten(article: str) -> None:
    """Friends as YAML, a grid of links in columns; with all pictures direct ones too."""
    preset = "original" if "flink" in article else "content"
    for all_images, address in ((False, WRAPPED), (True, SOURCE)):
        result = rewrite(article.replace("URL", address), all_images=all_images)
        assert result.data.decode() == article.replace("URL", ours(preset=preset))


def test_data_between_tags_in_code_stays() -> None:
    article = f"```\n{{% flink %}}\n- avatar: {WRAPPED}\n{{% endflink %}}\n```\n"
    result = rewrite(article)
    assert result.data.decode() == article
    assert [item.on_purpose for item in result.left] == [True]


@pytest.mark.parametrize(
    "tag",
    [
        '{{< highlight go "linenos=table,hl_lines=8 15-17" >}}SHOWN{{< /highlight >}}',
        "{{< highlight go >}}SHOWN{{</highlight>}}",
        "{{% highlight html %}}SHOWN{{% /highlight %}}",
        '{{< highlight lang="md" title="a >}} b" >}}SHOWN{{< /highlight >}}',
        "{{<highlight md>}}\n\n    SHOWN\n\n{{</ highlight >}}",
        "{{< mermaid >}}SHOWN{{< /mermaid >}}",
        "{% mermaid %}SHOWN{% endmermaid %}",
        "{% wavedrom %}SHOWN{% endwavedrom %}",
    ],
)
def test_code_shortcode_in_any_form_is_code(tag: str) -> None:
    article = tag.replace("SHOWN", f"![]({WRAPPED})")
    result = rewrite(f"{article}\n\n![]({WRAPPED})\n")
    assert result.data.decode() == f"{article}\n\n![]({ours()})\n"
    assert [item.on_purpose for item in result.left] == [True]


def test_table_of_tags_is_whole() -> None:
    """Names are lower case, and code tags are those that the reader takes for code."""
    assert set(names_with("code")) == set(CODE_TAGS)
    assert all(name == name.lower() for rule in rules() for name in rule.names)
    assert all(rule.shows or rule.keys or rule.lists or rule.links or rule.content for rule in rules())


def test_large_picture_of_a_figure_is_taken_with_all_images() -> None:
    tag = '{{< figure src="http://h.example/t.jpg" link="http://h.example/l.jpg" >}}'
    assert text(tag) == tag
    assert text(tag, all_images=True) == tag.replace(
        "http://h.example/t.jpg", ours("http://h.example/t.jpg")
    ).replace("http://h.example/l.jpg", ours("http://h.example/l.jpg", "original"))
