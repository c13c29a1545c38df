"""The quick look at the bytes: the whole reader would find nothing in the files that it skips, and it skips most
files."""

from __future__ import annotations

from pathlib import Path

import pytest
from article_pieces import ADDRESSES, KINDS, PIECES
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import BASE, SOURCE, WRAPPED

from proxy.config import RewriteConfig
from proxy.dialects.base.trace import trace_of
from proxy.dialects.known import FORM_TRACES, GRAMMARS, traces
from proxy.rewrite.quicklook import QuickLook, may_name
from proxy.rewrite.rewriter import Rewriter, RewriteResult, TextKind, kind_of
from proxy.source import Source

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "articles"
WRAPPERS = ("Proxy.example.org/Get?u=", {"prefix": "https://thumbs.example.org/x/", "dialect": "thumbor"})
FORMER = ("http://old.example.org:8080/blog/img", "https://bücher.example/pics")
CONFIGS = [
    RewriteConfig.model_validate({"wrappers": WRAPPERS, "former_urls": FORMER[:1]}),
    RewriteConfig(former_urls=FORMER),
]
READERS = [
    [Rewriter(config, base_url=BASE, all_images=wanted, sign=lambda *_: "s") for wanted in (False, True)]
    for config in CONFIGS
]
LOOKS = [
    [QuickLook(config, base_url=BASE, all_images=wanted) for wanted in (False, True)] for config in CONFIGS
]

HOSTS = [trace.host.replace("*", "x") if trace.whole else f"a1{trace.host}a" for trace in traces()]
EXAMPLES = [
    WRAPPED, f"{BASE}/image/w=5/{SOURCE}", f"http://old.example.org:8080/blog/img/image/w=5/{SOURCE}",
    f"https://bücher.example/pics/image/w=5/{SOURCE}", f"https://xn--bcher-kva.example/pics/image/w=5/{SOURCE}",
    "https://proxy.example.org/Get?u=http%3A%2F%2Fh%2Fa.png", "//thumbs.example.org/x/unsafe/9x9/h.org/a.png",
    "https://wsrv.nl/?url=h.org/a.png", "/_next/image?url=http%3A%2F%2Fh%2Fa.png&w=9", "https://h.org.rsz.io",
    "https://any.example/_vercel/image/?url=https%3A%2F%2Fh%2Fa.png", "/cdn-cgi/image/w=9/https://h/a.png",
    "https://any.example/_/rs:fill:9:9/plain/http://h/a.png@webp", f"https://forgotten.example/image/w=5/{SOURCE}",
    f"https://any.workers.dev/?{SOURCE}", "https://www.google.com/imgres?imgurl=https://h/a.png&x=y",
    "https://a.imgix.net/http%3A%2F%2Fh%2Fa.png", "https://res.cloudinary.com/x/image/fetch/w_9/http://h/a.png",
    "https://WSRV.NL:443/?url=h.org/a.png", "https://wsrv.nl./?url=h.org/a.png", "https:\\\\wsrv.nl\\?url=h.org/a.png",
    "//{{ site }}.imgix.net/https%3A%2F%2Fh%2Fa.png", "https://i\u212a.imagekit.io/d/https%3A%2F%2Fh%2Fa.png",
    f"https://forgotten.example/\u0131mage/w=5/{SOURCE}", f"https://\u0131mg.example.org/image/w=5/{SOURCE}",
    *(grammar.example.format(name="w", value="9") for grammar in GRAMMARS.values() if grammar.example),
    *(f"https://{host}/{SOURCE}" for host in HOSTS), "https://h.org/a.png", "http:/h.org/a.png",
]  # fmt: skip
ADDRESS = ADDRESSES | st.sampled_from(EXAMPLES)


def spelled(text: str, spelling: str, places: set[int]) -> str:
    """Return a text with the characters at some places escaped."""
    escape = {
        "decimal": "&#{0};", "hex": "&#x{0:X};", "bare": "&#{0}", "zeros": "&#000000{0:02d}", "double": "&amp;#{0};",
        "json": "\\u{0:04x}", "yaml": "\\x{0:02x}", "css": "\\{0:x} ", "css6": "\\{0:06x}", "backslash": "\\{1}",
        "continued": "\\\n{1}", "yaml8": "\\U{0:08x}", "named": "{1}",
    }[spelling]  # fmt: skip
    named = {"/": "&sol;", ":": "&colon;", ".": "&period;", "?": "&quest;", "_": "&lowbar;", "\\": "&bsol;"}
    return "".join(
        named.get(char, char)
        if spelling == "named" and at in places
        else (escape.format(ord(char), char) if at in places else char)
        for at, char in enumerate(text)
    )


SPELLINGS = st.sampled_from(
    [
        "decimal",
        "hex",
        "bare",
        "zeros",
        "double",
        "json",
        "yaml",
        "css",
        "css6",
        "backslash",
        "continued",
        "yaml8",
        "named",
    ]
)
SPELLED = st.builds(spelled, ADDRESS, SPELLINGS, st.sets(st.integers(0, 40), max_size=6))
IN_PLACES = st.builds(
    str.format,
    st.sampled_from(
        [
            "![]({})\n", '<img src="{}">\n', "<img src={}>\n", "---\ncover: {}\n---\n", '---\ncover: "{}"\n---\n',
            "---\ncover: '{}'\n---\n", '+++\ncover = "{}"\n+++\n', '<p style="background:url({})">\n', "{}\n", "`{}`\n",
            "<style>a {{background: url('{}')}}</style>\n", '{{"image": "{}"}}', "image: {}\n", '<a href="{}">x</a>',
            "<item><link>{}</link></item>", "<item>&lt;img src=&quot;{}&quot;&gt;</item>", "a{{b:url({})}}", "<{}>",
            "{{% image {} %}}\n", "<img :src=\"'{}'\">", "[a]: {}\n\n![a]\n", '<img srcset="{} 2x">', "img: {}\n---\n",
            "![](<{}>)\n", '<meta charset="gbk"><img src="{}">',
        ]
    ),
    ADDRESS | SPELLED,
)  # fmt: skip
TEXTS = st.lists(PIECES | SPELLED | IN_PLACES, min_size=1, max_size=6).map("".join)


def found(result: RewriteResult) -> bool:
    """Return whether the reader found something. A fault of front matter alone does not count."""
    told = [item for item in result.left if item.text or "UTF-16" in item.reason]
    return bool(result.replaced or told or result.unsure or any(item.wrapped for item in result.pictures))


@pytest.mark.slow
@given(TEXTS, KINDS, st.booleans(), st.integers(0, 1), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
@settings(max_examples=1500)
def test_look_passes_nothing_that_the_reader_handles(
    text: str, kind: TextKind, all_images: bool, config: int, encoding: str
) -> None:
    """Whatever the place, the grammar, the host and the spelling."""
    data = text.encode(encoding)
    if not LOOKS[config][all_images].sees(data):
        assert not found(READERS[config][all_images].rewrite(data, kind=kind))


@pytest.mark.parametrize("address", EXAMPLES)
def test_look_sees_every_kind_of_address(address: str) -> None:
    """Each example is read, in the modes in which there is something to do."""
    for looks, readers in zip(LOOKS, READERS, strict=True):
        for look, reader in zip(looks, readers, strict=True):
            data = f"![]({address})\n".encode()
            assert look.sees(data) or not found(reader.rewrite(data, kind="markdown"))


@pytest.mark.parametrize(
    ("article", "kind"),
    [
        ("![](https://wsrv&#46;nl/?url=h/a.png)", "markdown"),
        ("![](https://wsrv&#x2e;nl/?url=h/a.png)", "markdown"),
        ("<img src=https://&#119srv.nl/?url=h/a.png>", "html"),
        ("<img src=https://&#x0000771.wsrv.nl/a>", "html"),
        ("<img src=https://&#0000119srv.nl/?url=h/a.png>", "html"),
        ("![](https://wsrv&period;nl/?url=h/a.png)", "markdown"),
        ("<a>&lt;img src='https://wsrv&amp;#46;nl/?url=h/a.png'&gt;</a>", "xml"),
        ("<a>&lt;img src='https://wsrv&#38;period;nl/?url=h/a.png'&gt;</a>", "xml"),
        ('---\ncover: "https://wsrv\\x2enl/?url=h/a.png"\n---\n', "markdown"),
        ('---\ncover: "https://\\U00000077srv.nl/?url=h/a.png"\n---\n', "markdown"),
        ('{"cover": "https://wsrv\\u002enl/?url=h/a.png"}', "json"),
        ('{"cover": "https:\\/\\/wsrv.nl\\/?url=h/a.png"}', "json"),
        ("<p style=\"background: url('https://\\77srv.nl/?url=h/a.png')\">", "html"),
        ("<p style=\"background: url('https://\\77 srv.nl/?url=h/a.png')\">", "html"),
        ("<p style=\"background: url('https://\\000077srv.nl/?url=h/a.png')\">", "html"),
        ("<p style=\"background: url('https://\\wsrv.n\\l/?url=h/a.png')\">", "html"),
        ("a { background: url('https://ws\\\nrv.nl/?url=h/a.png') }", "css"),
        ("![](https://wsrv\\.nl/?url=h/a.png)", "markdown"),
        ("![](https:\\\\wsrv\\.nl/?url=h/a.png)", "markdown"),
        ("<img src='https:\\\\wsrv.nl\\?url=h/a.png'>", "html"),
        (
            "<img src='//wsrv.nl\\x?url=h/a.png'><img src='https:\\\\res.cloudinary.com\\x/image/fetch/http://h/a'>",
            "html",
        ),
        ("![](https://h.org/cdn-cgi\\/image\\/w=9/http://h/a.png)", "markdown"),
        ("<img src='https://Kik.imagekit.io/a/http%3A%2F%2Fh%2Fa.png'>", "html"),
        ("<img src='https://iK.imagekit.io/a/http%3A%2F%2Fh%2Fa.png'>", "html"),
        ("<img src='https://i&#8490;.imagekit.io/a/http%3A%2F%2Fh%2Fa.png'>", "html"),
        ("![](https://x.example/ımage/w=5/http://h/a.png)", "markdown"),
        ("---\nimage: /_next/image?url=http%3A%2F%2Fh%2Fa.png&w=9\n---\n", "markdown"),
        ("<img src='https:\\\\i0.wp.com\\h.org/a.png'>", "html"),
        ("<img src=https://&#000001050.wp.com/h.org/a.png>", "html"),
        ("<p style=\"background: url('https://\\0000690.wp.com/h.org/a.png')\">", "html"),
    ],
)
def test_look_sees_every_spelling(article: str, kind: TextKind) -> None:
    """Each is one that the reader finds, or nearly one."""
    assert LOOKS[0][False].sees(article.encode())


def test_look_sees_a_page_whose_encoding_has_lookalikes() -> None:
    page = '<meta charset="gb18030"><img src="https://i\u212a.imagekit.io/a/http%3A%2F%2Fh%2Fa.png">'.encode(
        "gb18030"
    )
    assert found(READERS[0][False].rewrite(page, kind="html"))
    assert LOOKS[0][False].sees(page)


@pytest.mark.parametrize(
    "text",
    [
        "![](https://h.org/a.png)", "A sentence; no address.", "https://www.google.com/search?q=pictures",
        "https://example.org/image/photo.png", "see //comments and \\alpha \\frac{1}{2} \\d+\\.", "&#8217; &#39; &amp;",
        "https://archive.org/about", "<img src='/local/image.png'>", "// wsrv.nl is a service", "[a](https://wsrv%2Enl/?url=x)",
    ],
)  # fmt: skip
def test_look_passes_what_has_no_wrapper(text: str) -> None:
    assert not LOOKS[0][False].sees(text.encode())


def test_look_passes_text_without_addresses_also_when_all_images_are_wanted() -> None:
    assert not LOOKS[0][True].sees(b"A post of words; a \\LaTeX{} one, with a/b and c: d.\n")
    assert LOOKS[0][True].sees(b"![](//h.org/a.png)")


@pytest.mark.parametrize(
    ("host", "path", "trace"),
    [
        ("a.org", "/imgres/?", ("a.org", "imgres", True)),
        ("*.b.org", "/x/(?:raw|tmp)/?", (".b.org", "", False)),
        ("c.org", "/(?P<options>[^/]+)/image/fetch/", ("c.org", "image/fetch", True)),
        ("d?.org", "/safe_image\\.php", (".org", "safe_image.php", False)),
        ("e.org", "/web/[0-9]+(?:[a-z]{2}_|\\*)?/", ("e.org", "web", True)),
    ],
)
def test_trace_of_a_row_is_what_all_its_addresses_hold(
    host: str, path: str, trace: tuple[str, str, bool]
) -> None:
    found = trace_of(host, path)
    assert (found.host, found.path, found.whole) == trace


def test_every_form_has_a_mark() -> None:
    """A form that is added without one would be passed."""
    reader = Rewriter(RewriteConfig(), base_url=BASE)
    for grammar in GRAMMARS.values():
        if grammar.example and reader._classifier.wraps(grammar.example.format(name="w", value="9")):
            data = f"![]({grammar.example.format(name='w', value='9')})".encode()
            assert QuickLook(RewriteConfig(), base_url=BASE).sees(data), grammar.name
    assert all(mark == mark.lower() for mark in FORM_TRACES)


@pytest.mark.parametrize(
    "address",
    [
        "https://h.example/a.png", "HTTPS://H.Example:443/a.png", "https:\\/\\/h.example\\/a.png", "//h.example/a.png",
        "https:/h.example/a.png", "https://h&#46;example/a.png", "https://%68.example/a.png", "https://ｈ.example/a.png",
        "https://h.exa\nmple/a.png",
    ],
)  # fmt: skip
def test_text_that_names_a_host_may_name_it(address: str) -> None:
    """This holds for every spelling of a source in an article."""
    assert may_name(f'<img src="{address}">'.encode(), [Source.parse("https://h.example/").host])
    assert not may_name(b'<img src="https://other.example/a.png">', ["h.example"])


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the article corpus is not beside the project")
@pytest.mark.parametrize("all_images", [False, True])
def test_real_articles_give_the_same_with_the_look_as_without(*, all_images: bool) -> None:
    """Of the articles without wrappers hardly any is read."""
    reader = Rewriter(RewriteConfig(), base_url=BASE, all_images=all_images)
    look = QuickLook(RewriteConfig(), base_url=BASE, all_images=all_images)
    needless = needed = 0
    for path in sorted(CORPUS.rglob("*.*")):
        data = path.read_bytes()
        has = found(reader.rewrite(data, kind=kind_of(path) or "other"))
        assert look.sees(data) or not has, path
        needless += look.sees(data) and not has
        needed += has
    assert needed > 50
    assert all_images or needless < 5
