"""Which attributes of HTML hold addresses, and what each does with its address: one table. Pure.

A new rule is a line here. What no line names is left and reported: guessing would publish broken pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from proxy.rewrite.css import STYLE_SHEETS
from proxy.rewrite.spot import Use

Form = Literal["address", "srcset", "css"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What an attribute holds: one address, a srcset, or CSS; and what its address is for.

    raster: those who read it (previews of social networks) show no SVG.
    """

    use: Use
    form: Form = "address"
    media: tuple[str, ...] = ()
    raster: bool = False


SHOW = Rule(Use.SHOW)
PREVIEW = Rule(Use.SHOW, raster=True)
LINK = Rule(Use.LINK)
LEAVE = Rule(Use.LEAVE)
SRCSET = Rule(Use.SHOW, "srcset")
STYLE = Rule(Use.SHOW, "css")
SCRIPT = Rule(Use.ASSET, media=("text/javascript", "application/javascript"))
STYLE_SHEET = Rule(Use.ASSET, media=STYLE_SHEETS)
FONT = Rule(Use.ASSET, media=("font/*",))
FRAME = Rule(Use.ASSET, media=("text/html",))
FILM = Rule(Use.ASSET, media=("video/*",))
SOUND = Rule(Use.ASSET, media=("audio/*",))
CAPTIONS = Rule(Use.ASSET, media=("text/vtt",))

ANYWHERE: dict[str, Rule] = {
    "style": STYLE,
    "background": SHOW,
    "srcset": SRCSET,
    **dict.fromkeys(
        (
            "data-src", "data-original", "data-original-src", "data-lazy", "data-lazy-src", "data-lazyload",
            "data-actualsrc", "data-echo", "data-backsrc", "data-croporisrc", "data-ks-lazyload", "data-real-src",
            "data-hi-res-src", "data-large-file", "data-medium-file", "data-orig-file", "data-full-url",
            "data-image", "data-img", "data-img-src", "data-bg", "data-background", "data-background-image",
            "data-poster", "data-thumb", "data-zoom-image", "data-cover", "lazy-src", "lazysrc", "original",
            "real_src", "_src", "zoomfile",
        ),
        SHOW,
    ),
    **dict.fromkeys(
        ("data-srcset", "data-lazy-srcset", "data-original-srcset", "lazy-srcset", "data-bgset"), SRCSET
    ),
}  # fmt: skip
"""Attributes that mean the same on every element; among them the lazy loaders' ones."""

_OF_PICTURES: dict[str, Rule] = {
    "src": SHOW, "lowsrc": SHOW, "data-url": SHOW, "file": SHOW, "longdesc": LINK, "imagesrcset": SRCSET,
}  # fmt: skip

BY_ELEMENT: dict[str, dict[str, Rule]] = {
    **dict.fromkeys(("img", "amp-img", "amp-anim", "v-img"), _OF_PICTURES),
    "image": {"href": SHOW, "xlink:href": SHOW, "src": SHOW},
    "feimage": {"href": SHOW, "xlink:href": SHOW},
    "a": {"href": LINK, "data-href": LINK, "xlink:href": LINK},
    "area": {"href": LINK},
    "video": {"poster": SHOW, "src": FILM},
    "audio": {"src": SOUND},
    "track": {"src": CAPTIONS},
    "script": {"src": SCRIPT},
    "iframe": {"src": FRAME},
    "frame": {"src": FRAME},
    "embed": {"src": LEAVE},
    "object": {"data": LEAVE},
    "use": {"href": LEAVE, "xlink:href": LEAVE},
}

_PREVIEWS = frozenset(
    {"og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src"}
)
_META_PICTURES = frozenset(
    {"image", "thumbnail", "thumbnailurl", "msapplication-tileimage", "msapplication-square150x150logo"}
)
_ICONS = frozenset(
    {
        "icon", "apple-touch-icon", "apple-touch-icon-precomposed", "apple-touch-startup-image", "mask-icon",
        "image_src", "fluid-icon",
    }
)  # fmt: skip
_PRELOADS = {
    "image": SHOW,
    "style": STYLE_SHEET,
    "script": SCRIPT,
    "font": FONT,
    "video": FILM,
    "audio": SOUND,
}


def rule_for(element: str, attribute: str, values: dict[str, str]) -> Rule | None:
    """Return what an attribute holds, None when nobody knows of an address in it.

    `values` are the decoded attributes of the tag by name: `rel`, `property` and `type` decide.
    """
    if element == "link" and attribute in ("href", "imagesrcset"):
        return _link(attribute, values)
    if element == "meta" and attribute == "content":
        names = {values.get(name, "").strip().lower() for name in ("property", "name", "itemprop")}
        if names & _PREVIEWS:
            return PREVIEW
        return SHOW if names & _META_PICTURES else None
    if element == "source" and attribute == "src":
        return SOUND if values.get("type", "").strip().lower().startswith("audio/") else FILM
    if element == "input" and attribute == "src":
        return SHOW if values.get("type", "").strip().lower() == "image" else LEAVE
    return BY_ELEMENT.get(element, {}).get(attribute) or ANYWHERE.get(attribute)


def _link(attribute: str, values: dict[str, str]) -> Rule:
    if attribute == "imagesrcset":
        return SRCSET
    relations = set(values.get("rel", "").lower().split())
    if relations & _ICONS:
        return SHOW
    if "stylesheet" in relations:
        return STYLE_SHEET
    if relations & {"preload", "prefetch"}:
        return _PRELOADS.get(values.get("as", "").strip().lower(), LEAVE)
    return LEAVE
