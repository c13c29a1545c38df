"""Addresses of camo and go-camo: `/DIGEST/ENCODED`, or `/DIGEST?url=<escaped>` (go-camo pkg/encoding/url.go). Pure.

Verifying the digest needs a key; opening an address does not. The characters of the second part show whether it is
hexadecimal or base64url. GitHub's own digests have 40 or 64 characters. Further parts of the path are a name for
people.

    good   /0f6def1c…/687474703a2f2f…      ->  http://…
    good   /D23vHLFH…/aHR0cDovL…            ->  http://…
    bad    /0f6def1c…/00                    ->  None: no address inside
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from proxy.dialects.base.asked import Options
from proxy.dialects.base.escapes import as_bytes, as_text, base64url_decode, percent_decode
from proxy.dialects.base.grammar import Grammar, split_query, written
from proxy.dialects.base.opened import ABSOLUTE, OpenedWrapper, query_items
from proxy.dialects.base.serving import Message, Proof, Served
from proxy.errors import InvalidSource

HOSTS = ("camo.githubusercontent.com", "github-camo.global.ssl.fastly.net")
_PATH = re.compile(
    r"(?P<digest>[0-9a-f]{40,64}|[\w-]{27})(?:/(?P<hex>(?:[0-9a-f]{2})+)|/(?P<base64>[A-Za-z0-9_-]+))?(?:/.*)?",
    re.IGNORECASE | re.DOTALL,
)


def read(rest: str, site: str) -> OpenedWrapper | None:
    """Open `DIGEST/ENCODED`."""
    path, query = split_query(rest)
    match = _PATH.fullmatch(path)
    source = _source(match, query) if match else ""
    return OpenedWrapper(source) if ABSOLUTE.match(source) else None


def serve(rest: str) -> Served:
    """Read `DIGEST/ENCODED` or `DIGEST?url=`. The digest covers only the source.

    Raises:
        InvalidSource: the address contains no source.
    """
    path, query = split_query(rest)
    match = _PATH.fullmatch(path)
    source = _source(match, query) if match else ""
    if match is None or not ABSOLUTE.match(source):
        raise InvalidSource("This camo address contains no address of a picture.")
    message = Message(as_bytes(source), with_options=False)
    return Served(source, proof=Proof(match["digest"], (message,)))


def _source(match: re.Match[str], query: str) -> str:
    if match["hex"]:
        return as_text(bytes.fromhex(match["hex"]))
    if match["base64"]:
        return base64url_decode(match["base64"])
    return percent_decode(dict(query_items(query)).get("url", ""))


def build(mount: str, source: str, options: Options, *, key: bytes = b"") -> str:
    """Write a camo address in hexadecimal, signed with `key`."""
    written(options, {}, "camo")
    digest = hmac.new(key, source.encode(), hashlib.sha1).hexdigest()
    return f"{mount}/{digest}/{source.encode().hex()}"


GRAMMAR = Grammar("camo", read, build=build, serve=serve, mount="/camo/", pictures_only=True)


def build_base64(mount: str, source: str, *, key: bytes = b"") -> str:
    """Write a go-camo address in base64url, signed with `key`."""
    digest = hmac.new(key, source.encode(), hashlib.sha1).digest()
    parts = (base64.urlsafe_b64encode(data).decode().rstrip("=") for data in (digest, source.encode()))
    return "/".join((mount, *parts))
