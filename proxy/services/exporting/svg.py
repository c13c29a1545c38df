"""Decides whether an SVG may be published unchanged. Opened as a page, its scripts would run as the site's. Pure.

The service sends a sandboxing policy with an SVG; a static host does not. An SVG that has active content, or that we
cannot parse as browsers do, is exported as a raster picture. The parser is expat, without entities.
"""

from __future__ import annotations

from xml.parsers import expat

MAX_BYTES = 8 << 20
_SVG = "http://www.w3.org/2000/svg"
_ACTIVE_NAMESPACES = frozenset({"http://www.w3.org/1999/xhtml", "http://www.w3.org/1998/math/mathml"})
_ACTIVE = frozenset(
    {
        "script", "foreignobject", "handler", "listener", "iframe", "embed", "object", "video", "audio", "canvas",
        "discard",
    }
)  # fmt: skip
_ANIMATIONS = frozenset({"animate", "set", "animatetransform", "animatemotion", "animatecolor"})
_HARMLESS = ("#", "http://", "https://", "data:image/")


class _ActiveError(Exception):
    """The SVG has active content."""


def is_passive(body: bytes) -> bool:
    """Return whether an SVG has no active content: scripts, handlers, other documents, script links."""
    if len(body) > MAX_BYTES:
        return False
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = _element
    parser.EntityDeclHandler = _refuse
    parser.ProcessingInstructionHandler = _instruction
    try:
        parser.Parse(body, True)
    except (_ActiveError, expat.ExpatError, ValueError, LookupError):
        return False
    return True


def _element(name: str, attributes: dict[str, str]) -> None:
    namespace, _, local = name.rpartition(" ")
    local = local.lower()
    if namespace.lower() in _ACTIVE_NAMESPACES or local in _ACTIVE:
        raise _ActiveError
    for spelled, value in attributes.items():
        attribute = spelled.rpartition(" ")[2].lower()
        if attribute.startswith("on") or (attribute in ("href", "src", "base") and not _is_harmless(value)):
            raise _ActiveError
        if attribute == "attributename" and local in _ANIMATIONS and _acts(value):
            raise _ActiveError


def _acts(attribute_name: str) -> bool:
    local = attribute_name.strip().lower().rpartition(":")[2]
    return local == "href" or local.startswith("on")


def _is_harmless(value: str) -> bool:
    plain = "".join(char for char in value if char > " ").lower()
    return plain.startswith(_HARMLESS) or ":" not in plain.partition("/")[0]


def _refuse(*_: object) -> None:
    raise _ActiveError


def _instruction(target: str, _data: str) -> None:
    if target.lower() == "xml-stylesheet":
        raise _ActiveError
