"""Addresses of imgproxy: `/SIG/OPT:ARG/…/plain/URL[@EXT]` or `/SIG/OPT:ARG/…/B64U[.EXT]` (imgproxy-docs). Pure.

An option contains a colon. The first segment after the signature without a colon begins the source. A plain source is
decoded once; the query of the request is ignored. Slashes may split base64url into pieces. This module does not verify
signatures, because reading needs no key.

    good   /_/rs:fill:300:400/plain/http://h/a.png@webp     ->  http://h/a.png, 300 x 400 cover
    good   /_/w:300/aHR0cDovL2gvYS5wbmc.png                 ->  http://h/a.png, width=300
    bad    /_/w:300/enc/…                                   ->  AmbiguousWrapper: encrypted
"""

from __future__ import annotations

import base64
import re
from contextlib import suppress

from proxy.dialects.base.asked import (
    AskedOptions,
    OptionKey,
    Options,
    Reader,
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
from proxy.dialects.base.escapes import base64url_decode, percent_decode
from proxy.dialects.base.grammar import Grammar, formatted, named, split_query, worded, written
from proxy.dialects.base.opened import ABSOLUTE, AmbiguousWrapper, OpenedWrapper
from proxy.dialects.base.serving import PRESET, Message, Proof, Served, meeting, only, strictly, turned_first
from proxy.errors import InvalidRequest, InvalidSource, InvalidTransform

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
    "auto": {"fit": "oriented"},
}
_SERVED_TYPES = {
    "fit": "contain",
    "fill": "cover",
    "fill-down": "cover",
    "force": "squeeze",
    "auto": "oriented",
}
_DOWN = {"fill": "cover-down", "force": "squeeze-down"}
_TRUE = ("1", "t", "true")
_FALSE = ("0", "f", "false")
_FOLDED = re.compile(r"(\S+?):/([^/])")
_EXPIRES = "expires"
_UNSIGNED = ("_", "unsafe", "insecure", "plain")


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


def _served_type(text: str) -> Options | None:
    return {} if not text else {"fit": text} if text in _SERVED_TYPES else None


def _served_resize(text: str) -> Options | None:
    kind, _, rest = text.partition(":")
    fit, size = _served_type(kind), _served_size(rest)
    return None if fit is None or size is None else fit | size


def _served_size(text: str) -> Options | None:
    width, height, enlarge, extend, *more = [*text.split(":"), "", "", "", ""]
    found = (pixels("width")(width), pixels("height")(height), _switch("upscale")(enlarge), _canvas(extend))
    if any(more):
        return None
    result: Options = {}
    for item in found:
        if item is None:
            return None
        result |= item
    return result


def _switch(name: str) -> Reader:
    def read_switch(text: str) -> Options | None:
        if text.lower() in _TRUE:
            return {name: "true"}
        return {} if not text else {name: "false"} if text.lower() in _FALSE else None

    return read_switch


def _canvas(text: str) -> Options | None:
    kind, _, place = text.partition(":")
    return _switch("extend")(kind) if place in ("", "ce") else None


def _expiry(text: str) -> Options | None:
    # In imgproxy, 0 means that the address never expires.
    return ({_EXPIRES: text} if int(text) else {}) if re.fullmatch(r"[0-9]{1,12}", text) else None


def _preset(text: str) -> Options | None:
    return {PRESET: text} if text and ":" not in text else None


KEYS: tuple[OptionKey, ...] = (
    key("resize rs", _resize, "fill:300:200", serve=_served_resize),
    key("size s", _size, "300:200", serve=_served_size),
    key("resizing_type rt", table(_TYPES), "force", serve=_served_type),
    key("width w", pixels("width"), "300"),
    key("height h", pixels("height"), "200"),
    key("dpr", density, "2"),
    key(
        "enlarge el",
        words("upscale", {"1": "true", "t": "true", "true": "true", "0": "false", "f": "false"}),
        "1",
        serve=_switch("upscale"),
    ),
    key("extend ex", _extend, "1", serve=_canvas),
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
    key("auto_rotate ar", nothing, serve=only("1", "t", "true", "")),
    key("cachebuster cb filename fn return_attachment att", nothing),
    key("expires exp", nothing, "4102444800", serve=_expiry),
    key("raw", nothing, serve=only("0", "f", "false", "")),
    key(
        "strip_color_profile scp enforce_thumbnail eth max_src_resolution msr max_src_file_size msfs", nothing
    ),
    key("max_animation_frames maf max_animation_frame_resolution mafr", nothing),
    key("max_result_dimension mrd", nothing, serve=only("0", "")),
    key("min-width mw min-height mh", lost, "10", serve=only("0", "")),
    key("zoom z", lost, "10", serve=only("1", "1.0", "")),
    key("padding pd", lost, "10", serve=only("0", "", "0:0", "0:0:0:0")),
    key("extend_aspect_ratio extend_ar exar", lost, serve=only("0", "f", "false", "")),
    key("crop c", lost, "10"),
    key("trim t", lost, "10", serve=number("trim", 1, 255, whole=True)),
    key("pixelate pix", lost, "10", serve=only("0", "")),
    key("watermark wm", lost, serve=only("0", "")),
    key("preset pr", lost, "headimg", serve=_preset),
    key("max_bytes mb format_quality fq", lost, serve=nothing),
    key("skip_processing skp", lost),
    key("preserve_hdr ph", lost, serve=only("0", "f", "false", "")),
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
    "format": formatted("f", ":"),
    "rotate": named("rot", ":"),
}


def read(rest: str, site: str) -> OpenedWrapper | None:
    """Open `SIG/OPTIONS/SOURCE`.

    Raises:
        AmbiguousWrapper: an encrypted source.
        InvalidSource: base64url that cannot be decoded.
    """
    path, _ = split_query(rest)
    signature, slash, path = path.partition("/")
    if not slash or not _SIGNATURE.fullmatch(signature):
        return None
    pairs, at = _pairs(path)
    source, extension = _source(path[at:])
    if not source:
        return None
    if extension:
        pairs.append(("format", extension))
    return OpenedWrapper.of(source, _asked(pairs))


def _pairs(path: str) -> tuple[list[tuple[str, str]], int]:
    """Return the options and where the source begins."""
    pairs: list[tuple[str, str]] = []
    at = 0
    while match := _OPTION.match(path, at):
        if path[match.end() : match.end() + 1] != "/" or ABSOLUTE.match(path, at):
            break
        pairs.append((match[1].lower(), match[2]))
        at = match.end() + 1
    return pairs, at


def serve(rest: str) -> Served:
    """Read `SIG/OPTIONS/SOURCE`. As in imgproxy, `exp` also applies to unsigned addresses.

    Raises:
        InvalidRequest: there is no signature.
        InvalidTransform: an option cannot be served.
        InvalidSource: the source is encrypted or cannot be read.
    """
    path, _ = split_query(rest)
    signature, slash, path = path.partition("/")
    if not slash or not path:
        raise InvalidRequest(
            "imgproxy's addresses have a signature, or _: /imgproxy/_/w:300/plain/http://h.org/a.png"
        )
    path = _repaired(path)
    pairs, at = _pairs(path)
    source, extension = _strict_source(path[at:])
    pairs += [("format", extension)] if extension else []
    options, ignored = strictly("imgproxy", pairs, _BY_NAME)
    expires = options.pop(_EXPIRES, "")
    given = "" if signature in _UNSIGNED else signature.rstrip("=")
    return Served(
        source,
        _met(options),
        ignored,
        Proof(given, (Message(f"/{path}".encode("utf-8", "surrogateescape")),)),
        int(expires) if expires else None,
    )


def _met(options: Options) -> Options:
    """Return our options for how the picture meets its area. imgproxy enlarges only on request.

    Raises:
        InvalidTransform: the combination of options is not served.
    """
    kind, enlarge, extend = options.pop("fit", ""), options.pop("upscale", ""), options.pop("extend", "")
    enlarging = enlarge == "true"
    both = "width" in options and "height" in options
    if PRESET in options and extend != "true":
        fit = _SERVED_TYPES.get(kind, "")
        options |= {"fit": fit if enlarging else _DOWN.get(kind, fit)} if fit else {}
        return turned_first(options | ({"upscale": enlarge} if enlarge else {}))
    if kind == "force" and not both and ("width" in options or "height" in options):
        raise InvalidTransform("imgproxy's resizing type force takes both width and height here.")
    if extend == "true" and kind in ("", "fit") and both:
        return turned_first(options | {"fit": "pad", "upscale": "true" if enlarging else "false"})
    if extend == "true" and not (both and enlarging):
        raise InvalidTransform("imgproxy's option extend takes the resizing type fit, width and height here.")
    fit = _SERVED_TYPES[kind or "fit"]
    result = meeting(options, fit=fit if enlarging else _DOWN.get(kind, fit), enlarging=enlarging)
    if kind == "fill-down" and not enlarging and result.get("fit") == "cover":
        result["upscale"] = "false"
    if enlarging and result.get("fit") == "oriented":
        result["upscale"] = "true"
    return turned_first(result)


def _repaired(path: str) -> str:
    """Undo changes that proxies make to addresses, as imgproxy does before it verifies the signature."""
    options, mark, source = (
        ("", "plain/", path[6:]) if path.startswith("plain/") else path.partition("/plain/")
    )
    options = options.replace("%3A", ":")
    return options + mark + (_FOLDED.sub(r"\1://\2", source, count=1) if _FOLDED.match(source) else source)


def _strict_source(path: str) -> tuple[str, str]:
    if path.startswith("enc/"):
        raise InvalidSource("Encrypted addresses of pictures are not served here.")
    is_plain = path.startswith("plain/")
    text, mark, extension = path.removeprefix("plain/").partition("@" if is_plain else ".")
    if (mark and extension and not _EXTENSION.fullmatch(extension)) or not text:
        raise InvalidSource("The address of the picture cannot be read: write @ as %40.")
    return (percent_decode(text) if is_plain else base64url_decode(text.replace("/", ""))), extension


def _asked(pairs: list[tuple[str, str]]) -> AskedOptions:
    # imgproxy enlarges only on request.
    return asked(pairs, _BY_NAME, start=AskedOptions({"upscale": "false"}))


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
    # IMGPROXY_BASE64_URL_INCLUDES_FILENAME: the last piece is a file name for people.
    without_name = base64url_decode(path.rpartition("/")[0].replace("/", ""))
    return (without_name, "") if ABSOLUTE.match(without_name) else ("", "")


def build(mount: str, source: str, options: Options) -> str:
    """Write an unsigned imgproxy address with the source in base64url."""
    encoded = base64.urlsafe_b64encode(source.encode()).decode().rstrip("=")
    options = dict(options)
    if options.get("fit") == "contain":
        del options["fit"]
    elif options.get("fit") in ("cover", "squeeze"):
        options.setdefault("upscale", "true")
    texts = written(options, _WRITERS, "imgproxy")
    return "/".join((mount, "_", *texts, encoded))


GRAMMAR = Grammar(
    "imgproxy",
    read,
    KEYS,
    "https://i.org/_/w:9/h:9/rt:fill/{name}:{value}/plain/http://h.org/a.png",
    build,
    serve=serve,
    mount="/imgproxy/",
    pictures_only=True,
    alone=("https://i.org/_/w:9/h:9/{name}:{value}/plain/http://h.org/a.png",),
)
