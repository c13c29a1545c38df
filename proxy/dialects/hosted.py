"""Services that carry the source in their path: Cloudinary fetch, Statically, camo, Wayback. Pure.

Each is one public service with one grammar of a few lines. Options that they carry are dropped by name.

    good   https://res.cloudinary.com/me/image/fetch/w_300,h_200/https://h/a.png   ->  https://h/a.png
    good   https://cdn.statically.io/img/h.org/f=auto,w=600/a.png                  ->  https://h.org/a.png
    good   https://web.archive.org/web/20170611172104im_/http://h/a.png            ->  http://h/a.png
    bad    https://res.cloudinary.com/me/image/fetch/h.org/a.png                   ->  no scheme: not guessed
"""

from __future__ import annotations

import re

from proxy.dialects.address import Address
from proxy.dialects.escapes import as_text, base64url_decode
from proxy.dialects.opened import AmbiguousWrapper, Opened, query_items
from proxy.dialects.prefix import open_rest
from proxy.dialects.worker import is_worker, target

_CLOUDINARY = re.compile(r"/[^/]+/image/fetch/(?P<rest>.+)", re.DOTALL)
_CLOUDINARY_OPTION = re.compile(r"(?:s--[\w-]+--|v\d+|[a-z]{1,3}_[^/,]+(?:,[a-z]{1,3}_[^/,]+)*)/")
_STATICALLY = re.compile(
    r"/img/(?P<host>[^/.][^/]*\.[^/]+)/(?:(?P<options>[a-z]+=[^/]*)/)?(?P<path>.+)", re.DOTALL
)
_STATICALLY_OPTIONS = frozenset({"w", "h", "f", "q", "quality", "format", "width", "height"})
_CAMO = re.compile(r"/[0-9a-f]{40,64}/(?P<hex>(?:[0-9a-f]{2})+)\Z", re.IGNORECASE)
_CAMO_BASE64 = re.compile(r"/[\w-]{27}/(?P<base64>[\w-]+)\Z")
_WAYBACK = re.compile(r"/web/[0-9]+(?:[a-z]{2}_|\*)?/")


def open_cloudinary(address: Address) -> Opened | None:
    """Open `res.cloudinary.com/<account>/image/fetch/[options/]<source>`.

    Raises:
        AmbiguousWrapper: a source without a scheme.
    """
    match = _CLOUDINARY.match("/" + address.rest) if address.host == "res.cloudinary.com" else None
    if match is None:
        return None
    rest, dropped = match["rest"], []
    while (option := _CLOUDINARY_OPTION.match(rest)) and not is_worker(rest):
        dropped.append(option[0].rstrip("/"))
        rest = rest[option.end() :]
    if not is_worker(rest):
        raise AmbiguousWrapper("the address inside has no scheme: write http:// or https:// before it")
    return Opened(target(rest), tuple(dropped))


def open_statically(address: Address) -> Opened | None:
    """Open `cdn.statically.io/img/HOST/[f=auto,…/]PATH`.

    Raises:
        AmbiguousWrapper: query keys that are not Statically's.
    """
    match = _STATICALLY.match(address.path) if address.host == "cdn.statically.io" else None
    if match is None:
        return None
    names = [name for name, _ in query_items(address.query)]
    strange = sorted(set(names) - _STATICALLY_OPTIONS)
    if strange:
        raise AmbiguousWrapper(f"cannot tell whose these query keys are: {', '.join(strange)}")
    options = [item.partition("=")[0] for item in (match["options"] or "").split(",") if item]
    return Opened(f"https://{match['host']}/{match['path']}", tuple(dict.fromkeys(options + names)))


def open_camo(address: Address) -> Opened | None:
    """Open `camo.githubusercontent.com/<digest>/<source in hex or base64url>`; the digest needs a key."""
    if address.host != "camo.githubusercontent.com":
        return None
    if match := _CAMO.match(address.path):
        inner = as_text(bytes.fromhex(match["hex"]))
    elif match := _CAMO_BASE64.match(address.path):
        inner = base64url_decode(match["base64"])
    else:
        return None
    return Opened(inner) if is_worker(inner) else None


def open_wayback(address: Address) -> Opened | None:
    """Open `web.archive.org/web/<time>[im_]/<source>`: bytes that were somebody else's first."""
    match = _WAYBACK.match(address.path) if address.host == "web.archive.org" else None
    return open_rest(address, match[0], adds_scheme=True) if match else None
