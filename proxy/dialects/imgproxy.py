"""Addresses of imgproxy: `/SIG/OPT:ARG/…/plain/URL[@EXT]` or `/SIG/OPT:ARG/…/B64U[.EXT]` (imgproxy-docs). Pure.

An option has a colon; the first segment behind the signature that has none begins the source. A plain source is
decoded once, the request's own query is cut. base64url may be cut into pieces by slashes. A signature is not
verified here: reading needs no key.

    good   /_/rs:fill:300:400/plain/http://h/a.png@webp     ->  http://h/a.png, 300 x 400 cover
    good   /_/w:300/aHR0cDovL2gvYS5wbmc.png                 ->  http://h/a.png, width=300
    bad    /_/w:300/enc/…                                   ->  AmbiguousWrapper: encrypted
"""

from __future__ import annotations

import base64
import re
from contextlib import suppress

from proxy.dialects.asked import (
    Asked,
    Key,
    Options,
    as_it_is,
    asked,
    by_name,
    clockwise,
    colour,
    density,
    focus,
    key,
    lost,
    nothing,
    number,
    picture_format,
    pixels,
    quality,
    table,
    words,
)
from proxy.dialects.escapes import base64url_decode, percent_decode
from proxy.dialects.grammar import Grammar, named, split_query, worded, written
from proxy.dialects.opened import ABSOLUTE, AmbiguousWrapper, Opened
from proxy.errors import InvalidSource

_OPTION = re.compile(r"([a-z_-]{1,40})(?::|%3A)([^/]*)", re.IGNORECASE)
_SIGNATURE = re.compile(r"[A-Za-z0-9_=-]{1,90}")
_EXTENSION = re.compile(r"[A-Za-z0-9]{1,5}")
_GRAVITY = {
    "ce": "", "no": "top", "so": "bottom", "ea": "right", "we": "left", "noea": "top-right", "nowe": "top-left",
    "soea": "bottom-right", "sowe": "bottom-left", "sm": "auto",
}  # fmt: skip
_TYPES: dict[str, Options] = {
    "": {},
    "fit": {},
    "fill": {"fit": "cover"},
    "fill-down": {"fit": "cover"},
    "force": {"fit": "squeeze"},
}
_TRUE = ("1", "t", "true")


def _gravity(text: str) -> Options | None:
    kind, *offsets = text.split(":")
    if kind == "fp" and len(offsets) == 2:
        return focus(*offsets)
    return (
        words("gravity", _GRAVITY)(kind) if not any(offset not in ("", "0") for offset in offsets) else None
    )


def _resize(text: str) -> Options | None:
    kind, _, rest = text.partition(":")
    fit, size = table(_TYPES)(kind), _size(rest)
    return None if fit is None or size is None else fit | size


def _size(text: str) -> Options | None:
    width, height, enlarge, extend, *_ = [*text.split(":"), "", "", "", ""]
    sides = pixels("width")(width), pixels("height")(height)
    if None in sides:
        return None
    result: Options = {}
    for side in sides:
        result |= side or {}
    result |= {"upscale": "true"} if enlarge in _TRUE else {}
    return result | ({"fit": "pad"} if extend in _TRUE else {})


def _extend(text: str) -> Options | None:
    return {"fit": "pad"} if text.partition(":")[0] in _TRUE else {}


def _background(text: str) -> Options | None:
    parts = text.split(":")
    if len(parts) == 3 and all(re.fullmatch(r"[0-9]{1,3}", part) and int(part) < 256 for part in parts):
        return {"background": "#" + "".join(f"{int(part):02x}" for part in parts)}
    return colour("background")(text) if text else {}


def _flip(text: str) -> Options | None:
    across, _, down = text.partition(":")
    turned = ("h" if across in _TRUE else "") + ("v" if down in _TRUE else "")
    return {"flip": turned} if turned else {}


KEYS: tuple[Key, ...] = (
    key("resize rs", _resize, "fill:300:200"),
    key("size s", _size, "300:200"),
    key("resizing_type rt", table(_TYPES), "force"),
    key("width w", pixels("width"), "300"),
    key("height h", pixels("height"), "200"),
    key("dpr", density, "2"),
    key(
        "enlarge el",
        words("upscale", {"1": "true", "t": "true", "true": "true", "0": "false", "f": "false"}),
        "1",
    ),
    key("extend ex", _extend, "1"),
    key("gravity g", _gravity, "fp:0.5:0.2"),
    key("quality q", quality, "75"),
    key("format f ext", picture_format, "webp"),
    key("rotate rot", clockwise, "90"),
    key("flip fl", _flip, "1:1"),
    key("background bg", _background, "255:0:0"),
    key("blur bl", number("blur", 0.5, 250, whole=True), "5"),
    key("sharpen sh", as_it_is("sharpen"), "0.7"),
    key("saturation sa", as_it_is("saturation"), "0.5"),
    key(
        "strip_metadata sm", words("metadata", {"1": "", "t": "", "true": "", "0": "keep", "f": "keep"}), "0"
    ),
    key("keep_copyright kcr", words("metadata", {"1": "copyright", "t": "copyright", "0": "", "f": ""}), "1"),
    key("auto_rotate ar cachebuster cb expires exp filename fn return_attachment att raw", nothing),
    key(
        "strip_color_profile scp enforce_thumbnail eth max_src_resolution msr max_src_file_size msfs", nothing
    ),
    key("max_animation_frames maf max_animation_frame_resolution mafr max_result_dimension mrd", nothing),
    key("min-width mw min-height mh zoom z extend_aspect_ratio exar crop c trim t padding pd", lost, "10"),
    key("pixelate pix watermark wm preset pr max_bytes mb format_quality fq skip_processing skp", lost),
    key("preserve_hdr ph", lost),
)
_BY_NAME = by_name(KEYS)
_WRITERS = {
    "width": named("w", ":"),
    "height": named("h", ":"),
    "dpr": named("dpr", ":"),
    "fit": worded("rt", {"cover": "fill-down", "squeeze": "force"}, ":"),
    "upscale": worded("el", {"true": "1", "false": "0"}, ":"),
    "gravity": worded("g", {ours: theirs for theirs, ours in _GRAVITY.items()}, ":"),
    "quality": named("q", ":"),
    "format": named("f", ":"),
    "rotate": named("rot", ":"),
}


def read(rest: str, site: str) -> Opened | None:
    """Open `SIG/OPTIONS/SOURCE`.

    Raises:
        AmbiguousWrapper: an encrypted source.
        InvalidSource: base64url that cannot be decoded.
    """
    path, _ = split_query(rest)
    signature, slash, path = path.partition("/")
    if not slash or not _SIGNATURE.fullmatch(signature):
        return None
    pairs: list[tuple[str, str]] = []
    at = 0
    while match := _OPTION.match(path, at):
        if path[match.end() : match.end() + 1] != "/" or ABSOLUTE.match(path, at):
            break
        pairs.append((match[1].lower(), match[2]))
        at = match.end() + 1
    path = path[at:]
    source, extension = _source(path)
    if not source:
        return None
    if extension:
        pairs.append(("format", extension))
    return Opened.of(source, _asked(pairs))


def _asked(pairs: list[tuple[str, str]]) -> Asked:
    # imgproxy enlarges only when it is told to.
    return asked(pairs, _BY_NAME, start=Asked({"upscale": "false"}))


def _source(path: str) -> tuple[str, str]:
    """Return the source and the extension behind it."""
    if path.startswith("plain/"):
        plain, mark, extension = path.removeprefix("plain/").rpartition("@")
        if not mark or not _EXTENSION.fullmatch(extension):
            return percent_decode(path.removeprefix("plain/")), ""
        return percent_decode(plain), extension
    if path.startswith("enc/"):
        raise AmbiguousWrapper("the address inside is encrypted")
    text, _, extension = path.partition(".")
    with suppress(InvalidSource):
        if ABSOLUTE.match(source := base64url_decode(text.replace("/", ""))):
            return source, extension if _EXTENSION.fullmatch(extension) else ""
    # IMGPROXY_BASE64_URL_INCLUDES_FILENAME: the last piece is a name for people.
    without_name = base64url_decode(path.rpartition("/")[0].replace("/", ""))
    return (without_name, "") if ABSOLUTE.match(without_name) else ("", "")


def build(mount: str, source: str, options: Options) -> str:
    """Write an address of imgproxy, unsigned, its source in base64url."""
    encoded = base64.urlsafe_b64encode(source.encode()).decode().rstrip("=")
    options = dict(options)
    if options.get("fit") == "contain":
        del options["fit"]
    elif options.get("fit") in ("cover", "squeeze"):
        options.setdefault("upscale", "true")
    texts = written(options, _WRITERS, "imgproxy")
    return "/".join((mount, "_", *texts, encoded))


GRAMMAR = Grammar(
    "imgproxy", read, KEYS, "https://i.org/_/w:9/h:9/rt:fill/{name}:{value}/plain/http://h.org/a.png", build
)
