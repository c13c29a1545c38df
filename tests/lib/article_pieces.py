"""The parts of generated articles: addresses, and pieces of markup around them."""

from __future__ import annotations

from hypothesis import strategies as st
from rewriting import BASE, SOURCE, WRAPPED, ours

from proxy.rewrite.site.sitetext import SITE_KINDS

KINDS = st.sampled_from(["markdown", "html", *sorted(SITE_KINDS)])
ADDRESSES = st.sampled_from(
    [
        WRAPPED, WRAPPED + "?x=1&y=2", WRAPPED + "?a=1&amp;b", WRAPPED + "?(", WRAPPED + ",", SOURCE, ours(),
        "//cors.io/?" + SOURCE, "https://cors.io/?http%3A%2F%2Fh%2F%2C%28%29%5B%22%27%7C%CD", "/local.png",
        "https://wsrv.nl/?url=http%3A%2F%2Fh%2Fa&w=9&h=9&fit=cover&bg=fff", "/_next/image?url=http%3A%2F%2Fh%2Fa&w=9",
        "https://i0.wp.com/h.org/a.png?resize=9%2C9", "https://any.org/unsafe/9x9/smart/http://h/(a).png",
        "https://any.org/cdn-cgi/image/w=9,background=%23fff/http://h/a,b.png", "https://wsrv.nl/?url=http://h/a&b=1",
        "https://any.org/_/rs:fill:9:9/plain/http://h/a.png@webp", f"https://old.example/image/w=5/{SOURCE}",
        f"{BASE}/image/w=5/http://h/", "data:image/png;base64,AA",
        WRAPPED + "{{ x }}",
    ]
)  # fmt: skip
PIECES = st.sampled_from(
    [
        "![", "[", "](", ")", "](<", ">)", "<", ">", '<img src="', "<img src='", "<img src=", '"', "'", " ", "\n",
        "\r\n", "\n\n", '<img srcset="', " 1x, ", '<p style="url(', ')">', "<style>", "</style>", "<!--", "-->",
        "`", "```\n", "    ", "> ", "- ", "|", "|-|\n", "\\", "&amp;", "---\n", "headimg: ", "cover: [", "]",
        "[a]: ", "![a]", "<pre>", "</pre>", "{% img ", " %}", "{% codeblock %}", "{% endcodeblock %}", "\ufeff", "图",
        "\0", "<a href=", "+++\n", 'cover = "', '{"cover": "', '"}', "<![CDATA[", "]]>", "<script>", "</script>",
        "alt", "=", "\t", "#", "。", ".", '{{< figure src="', '" >}}', "{% include image.html src=", "https://", "'''",
        "{{/*", "*/}}", "<a>", "</a>", '"""', "thumbnail.src = ", "title: x\n", "{% image ", ", ", "{% flink %}\n",
        "{% endflink %}", "  avatar: ", "{{ ", " }}", "${a}", "[^1]: ", ' :src="', "src={", "}", ' data-lazy-x="', "::",
        "images:\n- ", "<loc>", "</loc>", '<enclosure url="', '"/>', ".. image:: ", "image::", "[[", "]]", "/*", "*/",
        "url(", "{#", "#}", '{{< carousel images="{', "\\/", "title: 'It's'\n",
    ]
)  # fmt: skip
ARTICLES = st.lists(PIECES | ADDRESSES, max_size=25).map(lambda pieces: "".join(pieces).encode())
NOISY = st.tuples(ARTICLES, st.binary(max_size=4), ARTICLES).map(b"".join)
