"""Addresses of thumbor and imagor: `/SIG/[…]/WxH/…/filters:a(x)/IMAGE` (thumbor usage, imagor's parse.go). Pure.

Each part is optional and the order is fixed, so one pass reads them. The image comes last, plain or escaped as a whole.
For an image without a scheme, thumbor assumes http and imagor https.

    good   /unsafe/300x200/smart/https%3A%2F%2Fh%2Fa.png       ->  https://h/a.png, cover, gravity=auto
    good   /unsafe/fit-in/300x0/filters:quality(80)/http://h/a  ->  http://h/a, width=300, quality=80
    bad    /unsafe/300x200                                      ->  None: no image
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from proxy.dialects.base.asked import (
    FORMATS,
    AskedOptions,
    OptionKey,
    Options,
    anticlockwise,
    asked,
    by_name,
    colour,
    decimal,
    flag,
    focus,
    key,
    lost,
    nothing,
    number,
    picture_format,
    pixels,
    quality,
)
from proxy.dialects.base.escapes import base64url_decode
from proxy.dialects.base.grammar import Grammar, Read, inside, split_query
from proxy.dialects.base.opened import ABSOLUTE, OpenedWrapper
from proxy.dialects.base.serving import (
    Message,
    Proof,
    Serve,
    Served,
    meeting,
    refused,
    resized_first,
    strictly,
    with_default_scheme,
)
from proxy.errors import InvalidRequest, InvalidSource, InvalidTransform
from proxy.source import looks_encoded

_SIGNATURE = re.compile(r"(?:unsafe|[A-Za-z0-9_-]{17,}={0,2})/")
_FLAGS = re.compile(r"(?:(?:params|debug|meta)/){0,3}")
_TRIM = re.compile(r"trim(?::(?:top-left|bottom-right))?(?::([0-9]{1,3}))?/")
_CROP = re.compile(r"[0-9.]{1,8}x[0-9.]{1,8}:[0-9.]{1,8}x[0-9.]{1,8}/")
_FIT_IN = re.compile(r"((?:adaptive-)?(?:full-)?fit-in|adaptive-full-fit-in)/")
_STRETCH = re.compile(r"stretch/")
_SIZE = re.compile(r"(-?)([0-9]{0,5}|orig)x(-?)([0-9]{0,5}|orig)/")
_PADDING = re.compile(r"[0-9]{1,5}x[0-9]{1,5}(?::[0-9]{1,5}x[0-9]{1,5})?/")
_ACROSS = re.compile(r"(left|right|center)/")
_DOWN = re.compile(r"(top|bottom|middle)/")
_SMART = re.compile(r"smart/")
_FILTERS = re.compile(r"filters:((?:[a-z_]{1,30}\([^()]*+(?:\([^()]*+\)[^()]*+)*+\):?)++)/", re.IGNORECASE)
_FILTER = re.compile(r"([a-z_]{1,30})\(((?:[^()]|\([^()]*\))*+)\):?", re.IGNORECASE)
_BROWSERS_ESCAPE = re.compile(rb"%([89A-Fa-f][0-9A-Fa-f]|20|22|3[CEce]|5[Ee]|60|7[BCDbcd])")
_SCHEMELESS = re.compile(r"[^/?#:@]+\.[A-Za-z]{2,}(?::[0-9]+)?/")


def _percent(name: str) -> OptionKey:
    def read(text: str) -> Options | None:
        if not re.fullmatch(r"-?[0-9]{1,3}(?:\.[0-9]{1,4})?", text) or not -100 < float(text) <= 100:
            return None
        return {name: decimal(1 + float(text) / 100)} if float(text) else {}

    return key(name, read, "20")


def _colour(text: str) -> Options | None:
    return {} if text in ("", "auto", "none", "blur") else colour("background")(text.partition(",")[0])


def _fill(text: str) -> Options | None:
    meant = _colour(text)
    return None if not meant else meant | {"fit": "pad"}


def _focal(text: str) -> Options | None:
    x, _, y = text.partition("x")
    return focus(x, y)


def _blur(text: str) -> Options | None:
    return number("blur", 0.5, 250, whole=True)(text.partition(",")[0])


def _served_colour(text: str) -> Options | None:
    return {} if text in ("", "none", "transparent") else colour("background")(text.partition(",")[0])


def _served_fill(text: str) -> Options | None:
    name = text.partition(",")[0]
    if name in ("transparent", "none"):
        return {_FILL: "true"}
    meant = colour("background")(name)
    return meant and meant | {_FILL: "true"}


def _served_focal(text: str) -> Options | None:
    x, _, y = text.replace(",", "x").partition("x")
    return focus(x, y)


def _frames(text: str) -> Options | None:
    return {"anim": "false"} if text == "1" else None


def _expiry(text: str) -> Options | None:
    # imagor's filter `expire` takes milliseconds.
    return {_EXPIRES: str(int(text) // 1000)} if re.fullmatch(r"[0-9]{1,15}", text) else None


_FILL = "fill"
_EXPIRES = "expires"
KEYS = (
    key("quality", quality, "75"),
    key("format", picture_format, "webp"),
    key("blur", _blur, "5"),
    _percent("brightness"),
    _percent("contrast"),
    key("saturation", number("saturation", 0, 10), "0.5"),
    key("grayscale", flag({"saturation": "0"}), ""),
    key("rotate", anticlockwise, "90"),
    key("background_color", _colour, "ff0000", serve=_served_colour),
    key("fill", _fill, "ff0000", serve=_served_fill),
    key("no_upscale", lambda _: {"upscale": "false"}, ""),
    key("upscale", lambda _: {"fit": "contain", "upscale": "true"}, "", serve=lambda _: {"upscale": "true"}),
    key("focal", _focal, "0.5x0.2", serve=_served_focal),
    key("strip_icc strip_exif strip_metadata autojpg max_age", nothing, ""),
    key("cover", nothing, "", serve=lambda _: {"anim": "false"}),
    key("max_frames", nothing, "1", serve=_frames),
    key("max_bytes", lost, serve=nothing),
    key("sharpen watermark proportion round_corner noise rgb colorize equalize convolution", lost),
    key("frame curve red_eye text label page dpi orient hue crop extract_cover redeye stretch", lost),
)
THUMBOR_KEYS = (*KEYS, key("expire", nothing, "4102444800000"))
IMAGOR_KEYS = (
    *KEYS,
    key("expire", nothing, "4102444800000", serve=_expiry),
    key("attachment preview palette bitdepth compression lossless fallback_format", lost, serve=nothing),
)
_BY_NAME = by_name(IMAGOR_KEYS)


def reader(scheme: str) -> Read:
    """Return a function that opens addresses and adds `scheme` to sources without one."""

    def read(rest: str, site: str) -> OpenedWrapper | None:
        parts = _Parts(rest)
        image = parts.image
        if image.startswith("b64:"):
            return OpenedWrapper.of(
                base64url_decode(split_query(image)[0].removeprefix("b64:")), parts.asked()
            )
        if not ABSOLUTE.match(image):
            if not _SCHEMELESS.match(image):
                return None
            image = f"{scheme}://{image}"
        return OpenedWrapper.of(inside(image), parts.asked())

    return read


def server(dialect: str, scheme: str, keys: Sequence[OptionKey]) -> Serve:
    """Return a function that reads requests in the grammar of thumbor or imagor."""
    known = by_name(keys)

    def serve(rest: str) -> Served:
        signed = _SIGNATURE.match(rest)
        if signed is None:
            raise InvalidRequest(
                f"{dialect}'s addresses have a signature, or unsafe: /{dialect}/unsafe/300x0/h.org/a.png"
            )
        parts = _Parts(rest)
        parts.require_served(dialect)
        source, said = _served_source(parts.image, scheme)
        options, ignored = strictly(dialect, parts.filters, known)
        expires = options.pop(_EXPIRES, "")
        covered = rest[signed.end() : len(rest) - len(parts.image)] + said
        signature = signed[0][:-1]
        return Served(
            source,
            parts.met(options),
            ignored,
            Proof("" if signature == "unsafe" else signature, _messages(covered)),
            int(expires) if expires else None,
        )

    return serve


def _messages(text: str) -> tuple[Message, ...]:
    """Return the texts that a signature may cover: the text as received, and as it was before a browser escaped it."""
    raw = text.encode("utf-8", "surrogateescape")
    bare = _BROWSERS_ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), raw)
    return tuple(Message(data) for data in dict.fromkeys((raw, bare)))


def _served_source(image: str, scheme: str) -> tuple[str, str]:
    """Return the source and the part of the address that holds it.

    Raises:
        InvalidSource: there is no source.
    """
    path, _ = split_query(image)
    if image.startswith("b64:"):
        return base64url_decode(path.removeprefix("b64:")), path
    if ABSOLUTE.match(image):
        return inside(image), path if looks_encoded(image) else image.partition("#")[0]
    source = with_default_scheme(image, scheme) if "/" in path else with_default_scheme(path, scheme)
    if source is None:
        raise InvalidSource("Write the address of the picture after the options: …/300x200/h.org/a.png")
    return source, image.partition("#")[0] if "/" in path else path


def is_form(rest: str) -> bool:
    """Return whether the text after `/unsafe/` consists only of this grammar and an absolute source."""
    return ABSOLUTE.match(_Parts("unsafe/" + rest).image) is not None


class _Parts:
    """The parts of one address, read from left to right."""

    def __init__(self, rest: str) -> None:
        self._rest = rest
        self._at = 0
        self._options: Options = {}
        self._dropped: list[str] = []
        self._is_half_original = False
        self.flags = ""
        self.filters: list[tuple[str, str]] = []
        self._take(_SIGNATURE)
        if flags := self._take(_FLAGS):
            self.flags = flags[0]
        self._read()
        self.image = rest[self._at :]

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._rest, self._at)
        self._at = match.end() if match else self._at
        return match

    def _read(self) -> None:
        if trim := self._take(_TRIM):
            tolerance = int(trim[1] or 10)
            if tolerance < 256:
                self._options["trim"] = trim[1] or "true"
            else:
                self._dropped.append("trim")
        if self._take(_CROP):
            self._dropped.append("crop")
        fit_in, stretch = self._take(_FIT_IN), self._take(_STRETCH)
        if fit_in and fit_in[1] != "fit-in":
            self._dropped.append(fit_in[1])
        self._size(fit="" if fit_in else "squeeze" if stretch else "cover")
        if self._take(_PADDING):
            self._dropped.append("padding")
        across, down = self._take(_ACROSS), self._take(_DOWN)
        places = [match[1] for match in (down, across) if match and match[1] not in ("center", "middle")]
        if places:
            self._options["gravity"] = "-".join(places)
        if self._take(_SMART):
            self._options["gravity"] = "auto"
        if filters := self._take(_FILTERS):
            self.filters = [(item[1], item[2]) for item in _FILTER.finditer(filters[1])]

    def _size(self, *, fit: str) -> None:
        size = self._take(_SIZE)
        if size is None:
            return
        texts = {size[2], size[4]} - {"", "0"}
        self._is_half_original = "orig" in texts and texts != {"orig"}
        for name, text in (("width", size[2]), ("height", size[4])):
            self._options |= {} if text == "orig" else pixels(name)(text) or {}
        turned = ("h" if size[1] else "") + ("v" if size[3] else "")
        self._options |= {"fit": fit} if fit else {}
        self._options |= {"flip": turned} if turned else {}

    def require_served(self, dialect: str) -> None:
        """Raise InvalidTransform if a part of the address asks for something that is not served."""
        for name in (*self.flags.split("/"), *self._dropped):
            if name:
                raise refused(dialect, name)
        if self._is_half_original:
            raise refused(dialect, "orig")

    def met(self, asked: Options) -> Options:
        """Merge the options of parts and filters. thumbor resizes first, then mirrors, then rotates."""
        options = self._options | asked
        fit, upscale = options.pop("fit", "contain"), options.pop("upscale", "")
        filled = options.pop(_FILL, "") and fit == "contain"
        both = "width" in options and "height" in options
        # A picture that is fitted into an area is enlarged only if a filter asks for it. A picture that is cut or
        # stretched is enlarged unless a filter forbids it.
        enlarging = upscale == "true" if fit == "contain" else upscale != "false"
        if filled and both:
            options |= {"fit": "pad", "upscale": "true" if enlarging else "false"}
        else:
            down = {"cover": "cover-down"}.get(fit, fit)
            options = meeting(options, fit=fit if enlarging else down, enlarging=enlarging)
            options |= {"upscale": "false"} if options.get("fit") == "squeeze" and not enlarging else {}
        return resized_first(options)

    def asked(self) -> AskedOptions:
        """Return the options of the parts and then of the filters, which take precedence."""
        cut = self._options.get("fit") in ("cover", "squeeze")
        # A cut picture leaves no area to fill, and is enlarged in any case.
        filters = [item for item in self.filters if not (cut and item[0] in ("fill", "upscale"))]
        return asked(filters, _BY_NAME, start=AskedOptions(self._options, tuple(self._dropped)))


def _filter_names(options: Options) -> Iterator[str]:
    for name, value in sorted(options.items()):
        if name not in ("quality", "format", "upscale") or (name == "format" and FORMATS.get(value) != value):
            raise InvalidTransform(f"thumbor cannot carry {name}={value}.")
        if name == "upscale":
            yield "no_upscale()" if value == "false" else "upscale()"
        else:
            yield f"{name}({value})"


def build(mount: str, source: str, options: Options) -> str:
    """Write an unsigned address of thumbor or imagor.

    Raises:
        InvalidTransform: the grammar cannot express an option.
    """
    options = dict(options)
    width, height, fit = (options.pop(name, "") for name in ("width", "height", "fit"))
    gravity = options.pop("gravity", "")
    parts = [mount, "unsafe"]
    if fit not in ("", "cover") and (fit, options.get("upscale")) != ("contain", "true"):
        raise InvalidTransform(f"thumbor cannot carry fit={fit}.")
    if width or height:
        parts += [*(["fit-in"] if fit != "cover" else []), f"{width or 0}x{height or 0}"]
    if gravity == "auto":
        parts.append("smart")
    elif gravity:
        down, _, across = gravity.rpartition("-") if "-" in gravity else ("", "", gravity)
        down, across = (across, "") if across in ("top", "bottom") else (down, across)
        if across not in ("", "left", "right") or down not in ("", "top", "bottom"):
            raise InvalidTransform(f"thumbor cannot carry gravity={gravity}.")
        parts += [part for part in (across, down) if part]
    if filters := list(_filter_names(options)):
        parts.append(f"filters:{':'.join(filters)}")
    return "/".join((*parts, quote(source, safe="")))


_EXAMPLE = "https://t.org/unsafe/9x9/filters:{name}({value})/http://h.org/a.png"
_ALONE = "https://t.org/unsafe/fit-in/9x9/filters:{name}({value})/http://h.org/a.png"
THUMBOR = Grammar(
    "thumbor",
    reader("http"),
    THUMBOR_KEYS,
    _EXAMPLE,
    build,
    serve=server("thumbor", "http", THUMBOR_KEYS),
    mount="/thumbor/",
    alone=(_ALONE,),
    pictures_only=True,
)
IMAGOR = Grammar(
    "imagor",
    reader("https"),
    IMAGOR_KEYS,
    _EXAMPLE,
    build,
    serve=server("imagor", "https", IMAGOR_KEYS),
    mount="/imagor/",
    alone=(_ALONE,),
    pictures_only=True,
)
