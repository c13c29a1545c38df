"""Data files, feeds, style sheets, other markup, components: which addresses are replaced, how they are written."""

from __future__ import annotations

import json
import tomllib
import xml.etree.ElementTree as ET

import pytest
import yaml
from rewriting import BASE, SOURCE, WORKER, WRAPPED, ours, rewrite, text

from proxy.config import RewriteConfig
from proxy.rewrite.rewriter import TextKind
from proxy.rewrite.site.sitetext import SITE_KINDS, site_kind
from proxy.source import Source

SVG = "http://h/a.svg"
W, OWN, SHOWN, HEAD = WRAPPED, ours(preset="original"), ours(), ours(preset="headimg")


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("xml", f'<enclosure url="{W}"/>', f'<enclosure url="{OWN}"/>'),
        ("xml", f"<media:thumbnail url='{W}?a=1&amp;b'/>", f"<media:thumbnail url='{OWN}?a=1&amp;b'/>"),
        ("xml", f"<image:loc>\n {W}?a&amp;b\n</image:loc>", f"<image:loc>\n {OWN}?a&amp;b\n</image:loc>"),
        ("xml", f"<d><![CDATA[<p><img src='{W}'>]]></d>", f"<d><![CDATA[<p><img src='{SHOWN}'>]]></d>"),
        ("xml", f"<d><![CDATA[<pre><img src='{W}'>]]></d>", f"<d><![CDATA[<pre><img src='{W}'>]]></d>"),
        ("xml", f"<d>&lt;img src=&quot;{W}&quot;&gt;</d>", f"<d>&lt;img src=&quot;{SHOWN}&quot;&gt;</d>"),
        (
            "xml",
            f"<d>&lt;img srcset='{W}?a&amp;amp;b 1x, {W} 2x'></d>",
            f"<d>&lt;img srcset='{SHOWN}?a&amp;amp;b 1x, {SHOWN} 2x'></d>",
        ),
        ("xml", f'<svg><image xlink:href="{W}"/></svg>', f'<svg><image xlink:href="{SHOWN}"/></svg>'),
        ("xml", f"<svg><style>a{{b:url({W})}}</style></svg>", f"<svg><style>a{{b:url({SHOWN})}}</style></svg>"),
        ("xml", f'<enclosure url="{WORKER}{SVG}"/>', f'<enclosure url="{ours(SVG, "content,format=png")}"/>'),
        ("yaml", f"- avatar: {W}\n", f"- avatar: {OWN}\n"),
        ("yaml", f"x:\n  cover: '{W}'\n", f"x:\n  cover: '{HEAD}'\n"),
        ("yaml", f"x: {{cover: {W}, b: [{W}]}}\n", f"x: {{cover: {HEAD}, b: [{OWN}]}}\n"),
        ("yaml", f"t: |\n  ![a]({W}) {W}.\n", f"t: |\n  ![a]({SHOWN}) {OWN}.\n"),
        ("yaml", f"a: 'b'c\nd: {W}\n", f"a: 'b'c\nd: {OWN}\n"),
        ("toml", f'[[a]]\nb = "{W}"\ncover = \'{W}\'\n', f'[[a]]\nb = "{OWN}"\ncover = \'{HEAD}\'\n'),
        ("json", f'{{"a": ["{W}"], "cover": "{W}"}}', f'{{"a": ["{OWN}"], "cover": "{HEAD}"}}'),
        ("json", json.dumps({"a": W}).replace("/", "\\/"), json.dumps({"a": OWN}).replace("/", "\\/")),
        ("json", f'{{"h": "<img src=\\"{W}\\">"}}', f'{{"h": "<img src=\\"{SHOWN}\\">"}}'),
        ("json", f'{{"cells": [["![a]({W})\\n"]]}}', f'{{"cells": [["![a]({SHOWN})\\n"]]}}'),
        ("json", f'// no JSON\n{{"a": "{W}"}}', f'// no JSON\n{{"a": "{OWN}"}}'),
        ("css", f"a{{b:url('{W}')}}", f"a{{b:url('{SHOWN}')}}"),
        ("component", f"""<img :src="'{W}'"><a href="{W}">""", f"""<img :src="'{SHOWN}'"><a href="{OWN}">"""),
        ("component", f'<Img src={{"{W}"}}>', f'<Img src={{"{SHOWN}"}}>'),
        ("component", f'<img srcset="{W} 1x, {W} 2x">', f'<img srcset="{SHOWN} 1x, {SHOWN} 2x">'),
        ("component", f"const a = `{W}`; b('{W}')", f"const a = `{OWN}`; b('{OWN}')"),
        ("component", f'<img src="{W}?a&amp;b">', f'<img src="{SHOWN}?a&amp;b">'),
        ("component", f"(see {W[:-4]}_(1).png)", f"(see {OWN[:-4]}_(1).png)"),
        ("asciidoc", f"image::{W}[a,300]\nlink:{W}[b]", f"image::{SHOWN}[a,300]\nlink:{OWN}[b]"),
        ("rst", f".. |a| image:: {W}\n   :target: {W}\n", f".. |a| image:: {SHOWN}\n   :target: {OWN}\n"),
        ("org", f"[[{W}]] [[{W}][b]] [[x][{W}]]", f"[[{SHOWN}]] [[{OWN}][b]] [[x][{SHOWN}]]"),
    ],
)  # fmt: skip
def test_wrapper_of_a_picture_is_replaced_as_its_place_needs(kind: TextKind, before: str, after: str) -> None:
    """Where it is shown by the preset of the text, under a key that is named by its preset, else as the original."""
    assert text(before, kind=kind) == after
    assert not [left for left in rewrite(before, kind=kind).left if not left.on_purpose]


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("xml", f"<guid>{W}</guid><id>{W}</id><url><loc>{W}</loc></url>"),
        ("xml", f"<a><!-- {W} --><?php {W} ?></a>"),
        ("json", f'{{"@id": "{W}"}}'),
        ("yaml", f"# {W}\na: b\n"),
        ("css", f"/* url({W}) */"),
        ("component", f"<!-- {W} -->{{# {W} #}}/* {W} */\n// {W}\n"),
        ("asciidoc", f"----\nimage::{W}[]\n----\n// {W}\n`{W}`\n"),
        ("rst", f".. code-block:: html\n\n   {W}\n\n``{W}``\n"),
        ("org", f"#+begin_src html\n{W}\n#+end_src\n# {W}\n={W}=\n"),
        ("component", '<img src={`https://wsrv.nl/?url=${x}`}> "https://wsrv.nl/?url={{ page.img }}"'),
        ("json", '{"api": "https://corsproxy.io/?https://h.org/a.json"}'),
        ("component", "<script src='https://cors.zfour.workers.dev/?http://h/a.js'>"),
    ],
)
def test_address_that_stays_on_purpose_is_listed(kind: TextKind, document: str) -> None:
    """This covers names of entries, comments, code, template expressions, and addresses not known to be pictures."""
    result = rewrite(document, kind=kind)
    assert result.data.decode() == document
    assert result.left
    assert all(left.on_purpose for left in result.left)


@pytest.mark.parametrize("kind", sorted(SITE_KINDS))
@pytest.mark.parametrize(
    "document",
    [
        'a = "https://wsrv.nl/?url=" + b',
        "https://cors.zfour.workers.dev/?",
        f'b = "/go?u={W}"',
        f"a = '{SOURCE}'",
    ],
)
def test_prefix_a_part_and_a_direct_address_are_nothing(kind: TextKind, document: str) -> None:
    """A wrapper without a source is not an address, and neither is a part of a longer one."""
    result = rewrite(document, kind=kind)
    assert result.data.decode() == document
    assert not [left for left in result.left if not left.on_purpose and "/go?" not in document]


def test_wrapper_in_a_file_that_is_not_rewritten_is_reported() -> None:
    (left,) = rewrite(f'a = "{W}"\nb = "https://wsrv.nl/?url="\n', kind="other").left
    assert (left.line, left.text, left.on_purpose) == (1, W, False)


def test_source_without_a_picture_name_follows_the_articles_that_show_it() -> None:
    """Nothing else shows that it is a picture."""
    document = f"- x: {WORKER}http://h/a\n"
    unsure = rewrite(document, kind="yaml")
    assert unsure.unsure == (Source.parse("http://h/a"),)
    assert unsure.data.decode() == document
    shown = rewrite(document, kind="yaml", shown=unsure.unsure)
    assert shown.data.decode() == f"- x: {ours('http://h/a', 'original')}\n"


@pytest.mark.parametrize(
    "ignore", ["https://cors.zfour.workers.dev/?http://h.example/", "HTTPS://cors.zfour.workers.dev"]
)
def test_address_that_the_configuration_ignores_is_listed_and_stays(ignore: str) -> None:
    config = RewriteConfig(ignore=(ignore.lower(),))
    texts: tuple[tuple[TextKind, str], ...] = (("markdown", f"![]({W})\n"), ("css", f"a{{b:url({W})}}"))
    for kind, document in texts:
        result = rewrite(document, kind=kind, config=config)
        assert result.data.decode() == document
        assert [left.on_purpose for left in result.left] == [True]


DATA = {"a": [W, {"cover": W, "text": f"see {W}, and <img src='{W}'>", "n": 1.5, "d": None}], "@id": W}
NEW = {
    "a": [OWN, {"cover": HEAD, "text": f"see {OWN}, and <img src='{SHOWN}'>", "n": 1.5, "d": None}],
    "@id": W,
}


@pytest.mark.parametrize("style", [None, '"', "'", "|", ">"])
@pytest.mark.parametrize("flow", [True, False])
def test_yaml_parses_to_the_same_but_for_the_addresses(style: str | None, flow: bool) -> None:
    document = yaml.dump(DATA, default_style=style, default_flow_style=flow, width=10_000)
    assert yaml.safe_load(text(document, kind="yaml")) == NEW


@pytest.mark.parametrize("indent", [None, 2])
def test_json_parses_to_the_same_but_for_the_addresses(indent: int | None) -> None:
    assert json.loads(text(json.dumps(DATA, indent=indent), kind="json")) == NEW


def test_toml_parses_to_the_same_but_for_the_addresses() -> None:
    document = f'n = 1.5\n[a.b]\ncover = "{W}"\nc = [\'{W}\', """{W}"""]\nt = "see {W}, x"\n'
    assert tomllib.loads(text(document, kind="toml")) == {
        "n": 1.5,
        "a": {"b": {"cover": HEAD, "c": [OWN, OWN], "t": f"see {OWN}, x"}},
    }


def test_feed_parses_to_the_same_but_for_the_addresses() -> None:
    inner = '<p>a &amp; b <img src="{}?x=1&amp;y=2"></p>'
    feed = ET.Element("rss")
    ET.SubElement(feed, "enclosure", url=W + "?a=1&b=<2>")
    ET.SubElement(feed, "description").text = inner.format(W)
    ET.SubElement(feed, "guid").text = W
    new = ET.fromstring(text(ET.tostring(feed, "unicode"), kind="xml"))  # noqa: S314 - our own document
    assert [new[0].get("url"), new[1].text, new[2].text] == [OWN + "?a=1&b=%3C2%3E", inner.format(SHOWN), W]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a/links.yml", "yaml"), ("FEED.XML", "xml"), ("x.ipynb", "json"), ("a.mdx", None), ("a.py", None),
     ("a.vue", "component")],
)  # fmt: skip
def test_kind_follows_the_name(name: str, kind: str | None) -> None:
    assert site_kind(name) == kind


def test_our_addresses_follow_a_new_base() -> None:
    config = RewriteConfig(former_urls=("https://old.example",))
    document = f'<rss><enclosure url="https://old.example/image/original/{SOURCE}"/></rss>'
    assert (
        text(document, kind="xml", config=config)
        == f'<rss><enclosure url="{BASE}/image/original/{SOURCE}"/></rss>'
    )


@pytest.mark.parametrize(
    "component",
    [
        "<Image src={ 'PIC' } />",
        '<Image src={\n  "PIC"\n} />',
        "<ThemedImage sources={{ light: 'PIC', dark: 'PIC' }} />",
        "<ThemedImage\n  sources={{\n    light: 'PIC',\n    dark: `PIC`,\n  }}\n/>",
        '{% image "PIC", "alt", [300, 600] %}',
    ],
)
def test_picture_of_a_component_takes_the_preset_of_the_text(component: str) -> None:
    """Strings in braces, with and without spaces; objects of strings; the shortcode of Eleventy."""
    assert text(component.replace("PIC", WRAPPED), kind="component") == component.replace("PIC", SHOWN)
