"""Addresses of willnorris/imageproxy: `/OPTS/REMOTE` or `/REMOTE` (imageproxy data.go). Pure.

REMOTE is plain, escaped as a whole, or base64url. The query belongs to a plain REMOTE, but not to an encoded one.

    good   /300x200,q75/https://h/a.png?v=1     ->  https://h/a.png?v=1, cover, quality=75
    good   /x0.15/aHR0cDovL2gvYS5wbmc            ->  http://h/a.png, the fraction dropped
    bad    /300x200/a.png                        ->  None: relative to an unknown base
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from proxy.dialects.base.asked import (
    AskedOptions,
    OptionKey,
    Options,
    Reader,
    anticlockwise,
    asked,
    by_name,
    key,
    lost,
    nothing,
    pixels,
    quality,
)
from proxy.dialects.base.escapes import base64url_decode
from proxy.dialects.base.grammar import Grammar, inside, split_query, written
from proxy.dialects.base.opened import ABSOLUTE, OpenedWrapper
from proxy.dialects.base.serving import (
    Message,
    Proof,
    Served,
    meeting,
    relative,
    resized_first,
    strictly,
    turned_first,
)
from proxy.errors import InvalidSource, InvalidTransform

_FOLDED = re.compile(r"^(https?):/+(?=[^/])", re.IGNORECASE)
_SIZE = re.compile(r"([0-9]{0,5})x([0-9]{0,5})")
FORMATS = ("jpeg", "png", "webp", "gif")
"""imageproxy's words for formats that we answer; it has none for AVIF."""
_WORDS = ("fv", "fh", "fit", "scaleUp", "sc", "trim", "jpg", "tiff", *FORMATS)
_ITEM = re.compile(r"(cx|cy|cw|ch|vu|q|r|s)(.*)", re.DOTALL)
"""A signature may begin with one of `_WORDS`; an item is a word only if it has no other text (imageproxy's data.go)."""


def _size(text: str) -> Options | None:
    match = _SIZE.fullmatch(text)
    if match is None:
        sides = {**(pixels("width")(text) or {}), **(pixels("height")(text) or {})}
        return sides or None
    return {**(pixels("width")(match[1]) or {}), **(pixels("height")(match[2]) or {})}


def _served_size(text: str) -> Options | None:
    # Refuse texts that the canonical form of the options, which is signed, would leave out.
    return _size(text) if _SIZE.fullmatch(text) or re.fullmatch(r"[0-9]{1,5}", text) else None


def _switch(name: str) -> Reader:
    def read_switch(text: str) -> Options | None:
        return None if text else {name: "true"}

    return read_switch


def _alone(options: Options) -> Reader:
    """Return a reader of an option that takes no value."""
    return lambda text: None if text else dict(options)


def _format(name: str) -> OptionKey:
    names = "jpeg jpg" if name == "jpeg" else name
    return key(names, lambda _: {"format": name}, "", serve=_alone({"format": name}))


def _expiry(text: str) -> Options | None:
    return {_EXPIRES: text} if re.fullmatch(r"[0-9]{1,12}", text) else None


_EXPIRES, _FIT, _SCALE_UP = "expires", "fits", "enlarges"
KEYS = (
    key("WxH", _size, "300x200", serve=_served_size),
    key("fit", nothing, "", serve=_switch(_FIT)),
    key("scaleUp", nothing, "", serve=_switch(_SCALE_UP)),
    key("q", quality, "75"),
    *map(_format, FORMATS),
    key("r", anticlockwise, "90"),
    key("fv", lambda _: {"flip": "v"}, "", serve=_alone({"flip": "v"})),
    key("fh", lambda _: {"flip": "h"}, "", serve=_alone({"flip": "h"})),
    key("sc", lambda _: {"gravity": "auto"}, "", serve=_alone({"gravity": "auto"})),
    key("trim", lambda _: {"trim": "true"}, "", serve=_alone({"trim": "true"})),
    key("s", nothing, "0sR2kjyfiF1RQRj4Jm2fFa3_6SDFqdAaDEmy1oD2U-4=", serve=lambda _: {}),
    key("vu", nothing, "4102444800", serve=_expiry),
    key("cx cy cw ch tiff", lost, "10"),
)
_BY_NAME = by_name(KEYS)


def read(rest: str, site: str) -> OpenedWrapper | None:
    """Open `OPTIONS/REMOTE` or `REMOTE`."""
    remote = _remote(rest)
    if remote is not None:
        return OpenedWrapper(remote)
    options, slash, rest = rest.partition("/")
    remote = _remote(rest.lstrip("/")) if slash and "?" not in options else None
    if remote is None:
        return None
    items = [item for item in options.split(",") if item]
    start = AskedOptions(_meeting(fits="fit" in items, enlarges="scaleUp" in items))
    return OpenedWrapper.of(remote, asked(_pairs(items), _BY_NAME, start=start))


def _meeting(*, fits: bool, enlarges: bool) -> Options:
    """Return the fit: without `fit` the picture is cut to the area, and enlarged only with `scaleUp`."""
    if fits:
        return {}
    return {"fit": "cover"} if enlarges else {"fit": "cover", "upscale": "false"}


def serve(rest: str) -> Served:
    """Read `OPTIONS/REMOTE` or `REMOTE`.

    A signature covers REMOTE, or REMOTE, `#` and the options in canonical form (imageproxy.go).

    Raises:
        InvalidSource: REMOTE is not absolute.
        InvalidTransform: an option is repeated or cannot be served.
    """
    remote, listed = _remote(rest), ""
    if remote is None:
        listed, slash, behind = rest.partition("/")
        remote = _remote(behind.lstrip("/")) if slash and "?" not in listed else None
    if remote is None:
        raise relative("imageproxy")
    items = [item for item in listed.split(",") if item]
    pairs = list(_pairs(items))
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise InvalidTransform("imageproxy's options must each appear only once in an address.")
    options, ignored = strictly("imageproxy", pairs, _BY_NAME)
    expires = options.pop(_EXPIRES, "")
    signature = dict(pairs).get("s", "")
    return Served(
        remote,
        _met(options),
        ignored,
        Proof(signature.rstrip("="), tuple(_messages(remote, pairs))),
        int(expires) if expires else None,
    )


def _met(options: Options) -> Options:
    """Return our options for how the picture meets its area.

    imageproxy resizes before it rotates and mirrors. It never enlarges a picture that is fitted into an area.
    """
    fits, enlarging = options.pop(_FIT, ""), options.pop(_SCALE_UP, "") == "true"
    both = "width" in options and "height" in options
    if fits and both:
        enlarging = False
    fit = "scale-down" if fits else "cover" if enlarging else "cover-down"
    # imageproxy mirrors after it has rotated.
    return resized_first(turned_first(meeting(options, fit=fit, enlarging=enlarging)))


def _messages(remote: str, pairs: list[tuple[str, str]]) -> Iterator[Message]:
    remote = _FOLDED.sub(r"\1://", remote)
    with_options = f"{remote}#{_canonical(pairs)}"
    yield Message(with_options.encode("utf-8", "surrogateescape"))
    yield Message(remote.encode("utf-8", "surrogateescape"), with_options=False)


def _canonical(pairs: list[tuple[str, str]]) -> str:
    """Return the options as imageproxy writes them for signing: with the full size, without defaults.

    The text contains every option with an effect here, even those that imageproxy does not know (`webp`), so that
    nobody can add one without signing it.
    """
    said = dict(pairs)
    width, height = _sides(said.get("WxH", ""))
    texts = [f"{width}x{height}"]
    for name, value in said.items():
        if name in _WORDS:
            texts.append(name)
        elif name in ("r", "q", "cx", "cy", "cw", "ch", "vu") and _go_number(value) != "0":
            texts.append(f"{name}{_go_number(value)}")
    return ",".join(sorted(texts))


def _sides(text: str) -> tuple[str, str]:
    width, mark, height = text.partition("x")
    return (_go_number(width), _go_number(height)) if mark else (_go_number(text), _go_number(text))


def _go_number(text: str) -> str:
    """Return a number as Go's `%v` writes it, or 0 when `text` is not a number."""
    if not re.fullmatch(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?", text):
        return "0"
    return f"{float(text):.9f}".rstrip("0").rstrip(".")


def _pairs(items: list[str]) -> Iterator[tuple[str, str]]:
    for item in items:
        match = None if item in _WORDS else _ITEM.fullmatch(item)
        yield (match[1], match[2]) if match else (item, "") if item in _WORDS else ("WxH", item)


def _remote(rest: str) -> str | None:
    if ABSOLUTE.match(rest):
        return inside(rest)
    with suppress(InvalidSource):
        path, _ = split_query(rest)
        if ABSOLUTE.match(source := base64url_decode(path)):
            return source
    return None


def build(mount: str, source: str, options: Options) -> str:
    """Write an unsigned imageproxy address with a plain source.

    Raises:
        InvalidTransform: the grammar cannot express an option.
    """
    options = dict(options)
    width, height = options.pop("width", ""), options.pop("height", "")
    meeting = {name: options.pop(name) for name in ("fit", "upscale") if name in options}
    texts = [f"{width}x{height}"] if width or height else []
    for fits in (False, True) if width and height else ():
        for enlarges in (False, True):
            if meeting == _meeting(fits=fits, enlarges=enlarges):
                texts += [*(["fit"] if fits else []), *(["scaleUp"] if enlarges else [])]
                meeting = {}
                break
        else:
            continue
        break
    if meeting:
        raise InvalidTransform(f"imageproxy cannot carry fit={meeting.get('fit', '')}.")
    writers = {
        "quality": lambda value: f"q{value}",
        "format": lambda value: value if value in FORMATS else None,
    }
    texts += written(options, writers, "imageproxy")
    return f"{mount}/{','.join(texts)}/{source}" if texts else f"{mount}/{source}"


GRAMMAR = Grammar(
    "imageproxy",
    read,
    KEYS,
    "https://p.org/9x9,{name}{value}/https://h.org/a.png",
    build,
    serve=serve,
    mount="/imageproxy/",
    pictures_only=True,
)
