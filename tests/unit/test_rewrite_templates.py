"""Template tags in articles: the contents of code tags are code, and picture tags may span several lines."""

from __future__ import annotations

import pytest
from rewriting import WRAPPED, ours, rewrite, text

from proxy.rewrite.generators.templates import CODE_TAGS
from proxy.rewrite.rewriter import ArticleKind

SHOWN = f"![]({WRAPPED})"
NEW = f"![]({ours()})"


@pytest.mark.parametrize("kind", ["markdown", "html"])
@pytest.mark.parametrize("name", CODE_TAGS)
@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("{% NAME %}", "{% endNAME %}"),
        ("{%- NAME lang:html -%}", "{%- endNAME -%}"),
        ("{%NAME%}", "{%endNAME%}"),
        ("{{< NAME >}}", "{{< /NAME >}}"),
        ("{{<NAME html>}}", "{{</NAME>}}"),
        ('{{% NAME lang="html" title="a > b" %}}', "{{% /NAME %}}"),
        ("{{< NAME\n  html\n>}}", "{{</ NAME >}}"),
    ],
)
def test_picture_in_a_code_tag_is_code(opening: str, closing: str, name: str, kind: ArticleKind) -> None:
    """It stays, on purpose, and the text around it is rewritten."""
    code = f'{opening}\n<img src="{WRAPPED}">\n{closing}'.replace("NAME", name)
    picture, new = f'<img src="{WRAPPED}">', f'<img src="{ours()}">'
    result = rewrite(f"{picture}\n\n{code}\n\n{picture}\n", kind=kind)
    assert result.data.decode() == f"{new}\n\n{code}\n\n{new}\n"
    assert [left.on_purpose for left in result.left] == [True]


@pytest.mark.parametrize(
    "code",
    [
        "{{< highlight >}}{{< highlight >}}SHOWN{{< /highlight >}}SHOWN{{< /highlight >}}",
        "{% raw %}{% codeblock %}SHOWN{% endraw %}",
        "{% raw %}{% raw %}SHOWN{% endraw %}",
        "{{< code >}}<pre><!-- SHOWN{{< /code >}}",
        "{{< code >}}\n```\nSHOWN\n{{< /code >}}",
        '{{< tabs >}}{{< tab "a" >}}{{< code >}}SHOWN{{< /code >}}{{< /tab >}}{{< /tabs >}}',
        '{{</* figure src="WRAPPED" */>}}',
        '{{%/* figure src="WRAPPED" */%}}',
        '{{</*\nfigure\nsrc="WRAPPED"\n*/>}}',
        "{% comment %}SHOWN{% endcomment %}",
    ],
)
def test_code_tags_in_each_other_and_unfinished_markup_in_them_end_with_them(code: str) -> None:
    """Markup that begins in code is not markup, and reaches no further than the tag."""
    code = code.replace("SHOWN", SHOWN).replace("WRAPPED", WRAPPED)
    result = rewrite(f"{code}\n\n{SHOWN}\n")
    assert result.data.decode() == f"{code}\n\n{NEW}\n"
    assert all(left.on_purpose for left in result.left)


@pytest.mark.parametrize(
    "tag",
    [
        "{% codeblock %}", "{{< highlight go >}}", "{{< code file=a.go />}}", "{{< code file=a.go / >}}",
        "{% endraw %}", "{{< /code >}}", "{% rawhtml %}{% endrawhtml %}",
        "{{< code-toggle >}}{{< /code-toggle >}}",
        "{{</* highlight */>}}", "{% raw", "{{< comment", "{{< code >}}{{< /highlight >}}", "{% code %}{{< /code >}}",
    ],
)  # fmt: skip
def test_tag_that_encloses_nothing_opens_nothing(tag: str) -> None:
    """Unclosed, closing itself, escaped, of another name or of another generator: the article goes on."""
    assert text(f"{tag}\n\n{SHOWN}\n") == f"{tag}\n\n{NEW}\n"


@pytest.mark.parametrize(
    "tag",
    [
        '{{< figure\n  src="URL"\n  caption="x"\n>}}',
        "{{< figure\n  src='URL'\n\n  caption='a > b'\n>}}",
        '{{< figure\n  src=`URL`\n  caption=`a "b"\n- c`\n>}}',
        '{{< figure\r\n  src="URL"\r\n  caption="# a"\r\n>}}',
        '{{% figure\nsrc="URL"\n%}}',
        "{{< figure\nsrc=URL\n/>}}",
        "{% image\n  URL\n  title\n%}",
        '{%- img\n- URL "a"\n-%}',
        '{% include figure.html\n    src="URL"\n    alt="x" %}',
        '- a\n\n  {{< figure\n    src="URL"\n  >}}',
        '> {{< figure\n>   src="URL"\n> >}}',
        '    text\n{{< figure\n    src="URL"\n>}}',
    ],
)
def test_picture_tag_over_several_lines_is_rewritten(tag: str) -> None:
    """Its arguments may be on lines that Markdown would read as a quote, a list, a heading or code."""
    article = f"a\n\n{tag}\n\n{SHOWN}\n"
    assert text(article.replace("URL", WRAPPED)) == article.replace("URL", ours()).replace(SHOWN, NEW)


@pytest.mark.parametrize(
    "article",
    [
        '```\n{{< figure\n  src="URL"\n>}}\n```',
        '<pre>\n{{< figure\n  src="URL"\n>}}\n</pre>',
        '<!--\n{{< figure\n  src="URL"\n>}}\n-->',
        "{% raw %}\n{% img\nURL\n%}\n{% endraw %}",
    ],
)
def test_picture_tag_over_several_lines_in_code_is_left(article: str) -> None:
    article = article.replace("URL", WRAPPED)
    result = rewrite(article)
    assert result.data.decode() == article
    assert all(left.on_purpose for left in result.left)


@pytest.mark.parametrize("opening", ["{% img\n", "{{< figure\n", '{{< figure\nsrc="', "{% image\n{{ a }}"])
def test_tag_without_an_end_hides_nothing_of_what_follows(opening: str) -> None:
    article = f"{opening}\n\n{SHOWN}\n\n{{% img {WRAPPED} %}}\n"
    assert NEW in text(article)
