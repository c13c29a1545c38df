"""One table of the HTML attributes that hold addresses, and the use of each. Pure.

To add a rule, add a line. Addresses in attributes without a rule are left unchanged and reported, because a wrong guess
would publish broken pages.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from proxy.rewrite.base.spot import Use
from proxy.rewrite.markup.css import STYLE_SHEETS

Form = Literal["address", "srcset", "css"]


@dataclass(frozen=True, slots=True)
class AttributeRule:
    """The form of an attribute's value (one address, a srcset, or CSS), and the use of its addresses.

    raster: readers of the attribute (previews of social networks) show no SVG.
    """

    use: Use
    form: Form = "address"
    media: tuple[str, ...] = ()
    raster: bool = False


SHOW = AttributeRule(Use.SHOW)
PREVIEW = AttributeRule(Use.SHOW, raster=True)
LINK = AttributeRule(Use.LINK)
LEAVE = AttributeRule(Use.LEAVE)
SRCSET = AttributeRule(Use.SHOW, "srcset")
STYLE = AttributeRule(Use.SHOW, "css")
SCRIPT = AttributeRule(Use.ASSET, media=("text/javascript", "application/javascript"))
STYLE_SHEET = AttributeRule(Use.ASSET, media=STYLE_SHEETS)
FONT = AttributeRule(Use.ASSET, media=("font/*",))
FRAME = AttributeRule(Use.ASSET, media=("text/html",))
FILM = AttributeRule(Use.ASSET, media=("video/*",))
SOUND = AttributeRule(Use.ASSET, media=("audio/*",))
CAPTIONS = AttributeRule(Use.ASSET, media=("text/vtt",))

ANYWHERE: dict[str, AttributeRule] = {
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
"""Attributes with the same meaning on every element, including those of lazy loaders."""

LAZY = (
    "data-*src", "data-*src-*", "data-*srcs", "data-*lazy*", "data-*original*", "data-bg*", "data-*-bg",
    "data-*background*", "data-*img*", "data-*image*", "data-*thumb*", "data-*poster*", "data-*cover*", "data-full*",
    "data-large*", "data-big*", "data-*-file", "data-*zoom*", "data-*hires*", "data-*hi-res*", "data-*highres*",
    "data-*retina*", "data-*2x", "data-*preview*", "data-*photo*", "data-*pic", "data-*picture*",
    "data-*placeholder*", "data-*avatar*", "data-*fallback*", "data-*webp*", "lazy*", "*-lazy-src", "ng-src",
)  # fmt: skip
"""Patterns for other attributes of lazy loaders and lightboxes. Here the address must look like a picture's."""

LAZY_SRCSETS = ("*-srcset", "*-bgset")
_MAY_SHOW = AttributeRule(Use.MAY_SHOW)
_MAY_BE_SRCSET = AttributeRule(Use.MAY_SHOW, "srcset")
_OTHER_SRC = re.compile(r"(?:data|lazy)-(?!.*(?:poster|thumb|img|image|bg|srcset)).*src.*")
"""If an element does not load pictures, neither does its lazy loader: `<iframe data-src>`."""

_OF_PICTURES: dict[str, AttributeRule] = {
    "src": SHOW, "lowsrc": SHOW, "data-url": SHOW, "file": SHOW, "longdesc": LINK, "imagesrcset": SRCSET,
}  # fmt: skip

BY_ELEMENT: dict[str, dict[str, AttributeRule]] = {
    **dict.fromkeys(("img", "amp-img", "amp-anim", "v-img"), _OF_PICTURES),
    "image": {"href": SHOW, "xlink:href": SHOW, "src": SHOW, "img": SHOW},
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

_LOADERS = frozenset({"iframe", "frame", "script", "video", "audio", "track", "embed", "source"})
_LONGEST_NAME = 100

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


def rule_for(element: str, attribute: str, values: dict[str, str]) -> AttributeRule | None:
    """Return the rule for an attribute, or None when it is not known to hold addresses.

    `values` has the decoded values of the tag's attributes by name, because `rel`, `property` and `type` matter.
    """
    if element == "link" and attribute in ("href", "imagesrcset"):
        return _link(attribute, values)
    if element == "meta" and attribute == "content":
        return _meta(values)
    if element in ("source", "input") and attribute == "src":
        media = values.get("type", "").strip().lower()
        if element == "input":
            return SHOW if media == "image" else LEAVE
        return SOUND if media.startswith("audio/") else FILM
    if element in _LOADERS and _OTHER_SRC.fullmatch(attribute):
        return BY_ELEMENT.get(element, {}).get("src", _MAY_SHOW)
    return BY_ELEMENT.get(element, {}).get(attribute) or ANYWHERE.get(attribute) or _lazy(attribute)


@functools.lru_cache(maxsize=1024)
def _lazy(attribute: str) -> AttributeRule | None:
    if len(attribute) > _LONGEST_NAME:
        return None
    if any(fnmatchcase(attribute, pattern) for pattern in LAZY_SRCSETS):
        return _MAY_BE_SRCSET
    return _MAY_SHOW if any(fnmatchcase(attribute, pattern) for pattern in LAZY) else None


def _meta(values: dict[str, str]) -> AttributeRule | None:
    names = {values.get(name, "").strip().lower() for name in ("property", "name", "itemprop")}
    if names & _PREVIEWS:
        return PREVIEW
    return SHOW if names & _META_PICTURES else None


def _link(attribute: str, values: dict[str, str]) -> AttributeRule:
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
