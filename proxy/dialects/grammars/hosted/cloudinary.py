"""Addresses of Cloudinary's fetch: `/image/fetch/[s--SIG--/]OPTS/[vN/]SOURCE`, which Substack uses too. Pure.

Options are `name_value`, joined by commas into segments. Cloudinary applies several segments one after the other.

    good   /image/fetch/w_300,h_200,c_fill/https://h/a.png     ->  https://h/a.png, cover
    good   /image/fetch/$s_!ab!,f_auto/https%3A%2F%2Fh%2Fa.png  ->  https://h/a.png
    bad    /image/fetch/h.org/a.png                             ->  AmbiguousWrapper: no scheme
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from proxy.dialects.base.asked import (
    SIDES,
    AskedOptions,
    Options,
    asked,
    by_name,
    clockwise,
    colour,
    density,
    key,
    lost,
    nothing,
    picture_format,
    pixels,
    quality,
    table,
    words,
)
from proxy.dialects.base.grammar import Grammar, formatted, inside, named, split_list, worded, written
from proxy.dialects.base.opened import ABSOLUTE, AmbiguousWrapper, OpenedWrapper
from proxy.errors import InvalidTransform

MOUNT = re.compile(r"/(?:[^/:]+/){0,2}?image/fetch/")
_SEGMENT = re.compile(r"(?:s--[\w-]{1,64}--|v[0-9]{1,20}|\$?[A-Za-z]{1,24}_[^/]*)/")
_PLACES = SIDES | {"auto:subject": "auto", "auto:face": "auto", "faces:auto": "auto", "face:auto": "auto"}
_FLAGS = {
    "progressive": "", "progressive:steep": "", "progressive:semi": "", "progressive:none": "", "lossy": "",
    "strip_profile": "", "immutable_cache": "", "attachment": "", "force_strip": "",
}  # fmt: skip
"""Flags without a visible effect."""
_CROPS: dict[str, Options] = {
    "limit": {"fit": "", "upscale": ""},
    "scale": {"fit": "squeeze"},
    "fit": {"fit": "contain", "upscale": "true"},
    "mfit": {"fit": "contain", "upscale": "true"},
    "fill": {"fit": "cover"},
    "lfill": {"fit": "cover", "upscale": "false"},
    "fill_pad": {"fit": "cover"},
    "thumb": {"fit": "cover"},
    "pad": {"fit": "pad"},
    "lpad": {"fit": "pad", "upscale": "false"},
    "mpad": {"fit": "pad", "upscale": "false"},
}
KEYS = (
    key("w", pixels("width"), "300"),
    key("h", pixels("height"), "200"),
    key("c", table(_CROPS), "pad"),
    key("g", words("gravity", _PLACES), "north"),
    key("q", quality, "75"),
    key("f", picture_format, "webp"),
    key("dpr", density, "2.0"),
    key("a", clockwise, "90"),
    key("b", colour("background"), "white"),
    key("e", table({"grayscale": {"saturation": "0"}}), "grayscale"),
    key("fl", words("metadata", _FLAGS), "progressive:steep"),
    key("s v $", nothing),
    key("x y z r o t l u ar bo co cs d du so eo dn pg if", lost, "10"),
)  # fmt: skip
_BY_NAME = by_name(KEYS)
_MEETINGS = {("cover", "false"): "lfill", ("pad", "false"): "lpad", ("contain", "true"): "fit"}
_WRITERS = {
    "width": named("w", "_"),
    "height": named("h", "_"),
    "dpr": named("dpr", "_"),
    "fit": worded(
        "c",
        {
            "cover": "fill",
            "squeeze": "scale",
            "pad": "pad",
            "lfill": "lfill",
            "lpad": "lpad",
            "limit": "limit",
        },
        "_",
    ),
    "quality": named("q", "_"),
    "format": formatted("f", "_"),
}


def read(rest: str, site: str) -> OpenedWrapper | None:
    """Open the text after `image/fetch/`. `rest` may begin with the account and `image/fetch/`.

    Raises:
        AmbiguousWrapper: the source has no scheme.
    """
    mount = MOUNT.match("/" + rest)
    rest = rest[mount.end() - 1 :] if mount else rest
    pairs: list[tuple[str, str]] = []
    at = 0
    while not ABSOLUTE.match(rest, at) and (segment := _SEGMENT.match(rest, at)):
        pairs += _pairs(segment[0].rstrip("/"))
        at = segment.end()
    rest = rest[at:]
    if not rest:
        return None
    if not ABSOLUTE.match(rest):
        raise AmbiguousWrapper("the address inside has no scheme: write http:// or https:// before it")
    # Without a crop mode, Cloudinary stretches the picture to the area.
    return OpenedWrapper.of(inside(rest), asked(pairs, _BY_NAME, start=AskedOptions({"fit": "squeeze"})))


def _pairs(segment: str) -> Iterator[tuple[str, str]]:
    if segment.startswith("s--") or re.fullmatch(r"v[0-9]+", segment):
        return
    for item in split_list(segment):
        name, _, value = item.partition("_")
        yield ("$", "") if name.startswith("$") else (name, value)


def build(mount: str, source: str, options: Options) -> str:
    """Write a Cloudinary address.

    Raises:
        InvalidTransform: the grammar cannot express an option.
    """
    options = dict(options)
    meeting = options.get("fit", ""), options.pop("upscale", "")
    if meeting in _MEETINGS:
        options["fit"] = _MEETINGS[meeting]
    elif meeting[1]:
        raise InvalidTransform(f"cloudinary cannot carry upscale={meeting[1]}.")
    if "width" in options and "height" in options:
        options.setdefault("fit", "limit")
    texts = written(options, _WRITERS, "cloudinary")
    return "/".join((f"{mount}/image/fetch", *([",".join(texts)] if texts else []), source))


GRAMMAR = Grammar(
    "cloudinary",
    read,
    KEYS,
    "https://res.cloudinary.com/x/image/fetch/w_9,h_9,c_fill,{name}_{value}/https://h.org/a.png",
    build,
    pictures_only=True,
)
