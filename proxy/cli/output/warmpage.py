"""Makes the report of a warming as one page that needs neither a service nor the network. Blocking: looks for files.

The page carries its style, its script and its pictures. A policy in it admits these by their digests and nothing else.
So text from articles and origins stays text even if it got past the templates, which escape every value.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
from collections.abc import Callable
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import jinja2

from proxy.cli.output.terminal import safe
from proxy.services.checks.sizes import readable
from proxy.services.warm.missinggroups import missing_groups
from proxy.services.warm.warmreport import WarmReport
from proxy.version import __version__
from proxy.web.desk.words import FILTERS

BROWSER_NAMES = {
    "avif": "browsers that take AVIF",
    "webp": "browsers that take WebP",
    "fallback": "other browsers",
}
MAX_KEPT = 2000
"""The kept pictures that are listed. The page is about the others, which it lists all."""
MAX_ARTICLES = 20
"""The articles that are named for one picture."""


def as_html(report: WarmReport, *, made_at: datetime, folder: Path | None = None) -> str:
    """Return the page, which will lie in `folder`: links to articles there are relative, so both may move together."""
    style, script = _style(), _piece("proxy.cli", "templates/report.js")
    return (
        _environment()
        .get_template("warm.html")
        .render(
            report=report,
            groups=missing_groups(report),
            counts=report.counts(),
            weights=report.weights(),
            troubled=list(report.troubled()),
            browser_names=BROWSER_NAMES,
            link=_links(report, folder),
            max_kept=MAX_KEPT,
            max_articles=MAX_ARTICLES,
            made_at=made_at.timestamp(),
            version=__version__,
            style=style,
            script=script,
            policy=_policy(style, script),
        )
    )


def share(part: float) -> str:
    """Return a share of one as a percentage."""
    return f"{part * 100:.0f} %"


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        # The pieces that pages share are those of the desk.
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("proxy.cli"), jinja2.PackageLoader("proxy.web.desk")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(FILTERS | {"size": readable, "share": share, "safe_text": safe, "web": _web_address})
    return made


def _piece(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _style() -> str:
    return _piece("proxy.web.desk", "static/desk.css") + _piece("proxy.cli", "templates/report.css")


def _policy(style: str, script: str) -> str:
    """Return the policy of the page (CSP Level 3 §6.7.3.3: digests of inline elements)."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def _web_address(url: str) -> str:
    """Return a URL that a link may have: one of the web; empty for others, such as `javascript:`."""
    return url if url.lower().startswith(("http://", "https://")) else ""


def _links(report: WarmReport, folder: Path | None) -> Callable[[str], str]:
    """Return a function that gives the link to an article, empty where its file does not exist."""
    beside = folder and folder.resolve()

    @functools.cache
    def link(article: str) -> str:
        path = report.files.get(article)
        if path is None or not path.is_file():
            return ""
        if beside and path.is_relative_to(beside):
            # "./", because a name may look like a scheme.
            return "./" + quote(os.fsencode(path.relative_to(beside)))
        return path.absolute().as_uri()

    return link
