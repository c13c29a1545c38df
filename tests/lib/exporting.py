"""Exports single documents in tests, with one set of rules and invented files for every picture."""

from __future__ import annotations

from collections.abc import Collection

from proxy.config import RewriteConfig
from proxy.rewrite.deciding.sizes import Sizes
from proxy.rewrite.exporting.exporter import Exporter, kind_of
from proxy.rewrite.exporting.pictures import Candidate, ExportedFiles, Want
from proxy.rewrite.exporting.rules import Exported, Rules
from proxy.rewrite.exporting.taking import Taker
from proxy.rewrite.exporting.tree import Tree
from proxy.rewrite.site.sitetext import data_fields

MIRROR = "https://img.example.org"
SOURCE = "http://h.example/a.png"
OURS = f"{MIRROR}/image/content/{SOURCE}"
_DEFAULT = RewriteConfig()
FILES = ("index.html", "posts/x/index.html", "posts/y.html", "css/a.css", "img/l.png", "a b/ü.html")


def exporter(
    files: Collection[str] = FILES, *, site_url: str = "", config: RewriteConfig = _DEFAULT
) -> Exporter:
    """Return an exporter for a site with `files`."""
    sizes = Sizes(any_transform=True, widths=config.widths, preset_widths={"content": 1200})
    taker = Taker(config, base_url=MIRROR, sizes=sizes)
    return Exporter(
        Rules(Tree(files, site_url=site_url), taker, data_fields(config.fields), site_url.rstrip("/"))
    )


def shown(want: Want) -> ExportedFiles:
    """Return files in three formats, in two widths where a place takes several, named by source and format."""
    stem = want.source.url.rpartition("/")[2].partition(".")[0]

    def files(name: str, extension: str) -> tuple[Candidate, ...]:
        widths = (320, 640) if want.spread else (640,)
        return tuple(Candidate(f"{stem}{width}.{extension}", name, width, 9) for width in widths)

    return ExportedFiles(
        (files("avif", "avif"), files("webp", "webp")), files("jpeg", "jpg"), files("webp", "webp")[-1]
    )


def export(
    document: str | bytes,
    path: str = "index.html",
    *,
    site_url: str = "",
    dead: Collection[str] = (),
    files: Collection[str] = FILES,
    config: RewriteConfig = _DEFAULT,
) -> Exported:
    """Export a document with invented files; the sources in `dead` have none."""
    data = document.encode() if isinstance(document, str) else document
    this, kind = exporter(files, site_url=site_url, config=config), kind_of(path) or "other"
    wants = [want for _, want in this.export(data, path, {}, kind=kind).wants]
    pictures = {want: None if want.source.url in dead else shown(want) for want in wants}
    return this.export(data, path, pictures, kind=kind)
