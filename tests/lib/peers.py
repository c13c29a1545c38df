"""Addresses of other proxies for tests: how each mount spells a source and a size, and how it signs them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

KEY, OTHER_KEY = "a-key-of-a-dialect", "another-key-of-it"
SALT = "73616c74"


def b64u(data: bytes | str) -> str:
    """Return base64url without padding."""
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def mac(digest: str, key: str, message: str) -> bytes:
    return hmac.new(key.encode(), message.encode(), getattr(hashlib, digest)).digest()


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount. `plain(source)` asks for the original, `sized(source)` for 40 pixels of width.

    signed_plain, signed_sized: the same with the signature of a key, if the dialect has signatures. covers: whether
    they cover the options too. key: the configuration's value for `KEY`.
    """

    name: str
    path: str
    plain: Callable[[str], str] | None
    sized: Callable[[str], str] | None
    signed_plain: Callable[[str, str], str] | None = None
    signed_sized: Callable[[str, str], str] | None = None
    covers: bool = True
    key: str = KEY
    other_key: str = OTHER_KEY

    @property
    def has_keys(self) -> bool:
        return self.signed_plain is not None or self.signed_sized is not None

    def any(self, source: str) -> str:
        """Return an address for `source`: that of the original, if the dialect has one."""
        build = self.plain or self.sized
        assert build is not None
        return build(source)

    def any_signed(self, source: str, key: str = KEY) -> str:
        build = self.signed_plain or self.signed_sized
        assert build is not None
        return build(source, key)

    def at_root(self, address: str) -> str:
        """Return an address as it is at the root of a host name."""
        if self.path in ("/_next/image", "/cdn-cgi/image/", "/_ipx/"):
            return address
        return "/" + address.removeprefix(self.path)


def _imgproxy(options: str) -> Callable[[str, str], str]:
    def signed(source: str, key: str) -> str:
        path = f"/{options}{b64u(source)}"
        return f"/imgproxy/{b64u(mac('sha256', key, bytes.fromhex(SALT).decode() + path))}{path}"

    return signed


def _thumbor(mount: str, options: str) -> Callable[[str, str], str]:
    def signed(source: str, key: str) -> str:
        text = f"{options}{quote(source, safe='')}"
        digest = base64.urlsafe_b64encode(mac("sha1", key, text)).decode()
        return f"/{mount}/{digest}/{text}"

    return signed


def _imageproxy(options: str, canonical: str) -> Callable[[str, str], str]:
    def signed(source: str, key: str) -> str:
        message = f"{source}#{canonical}" if canonical else source
        return f"/imageproxy/{options}s{b64u(mac('sha256', key, message))}/{source}"

    return signed


def camo(source: str, key: str) -> str:
    return f"/camo/{mac('sha1', key, source).hex()}/{source.encode().hex()}"


def miniflux(source: str, key: str) -> str:
    digest = base64.urlsafe_b64encode(mac("sha256", key, source)).decode()
    return f"/miniflux/{digest}/{base64.urlsafe_b64encode(source.encode()).decode()}"


def photon(source: str) -> str:
    """Return the address of a source under Photon's mount; a source without a scheme stays as written."""
    scheme, mark, rest = source.partition("://")
    if not mark:
        return f"/photon/{source}"
    path, _, query = rest.partition("?")
    arguments = ["ssl=1"] * (scheme == "https") + [f"q={quote(query, safe='')}"] * bool(query)
    path = path if scheme in ("http", "https") else f"{scheme}://{path}"
    return f"/photon/{path}" + (f"?{'&'.join(arguments)}" if arguments else "")


MOUNTS = (
    Mount(
        "imgproxy",
        "/imgproxy/",
        lambda source: f"/imgproxy/_/{b64u(source)}",
        lambda source: f"/imgproxy/_/w:40/{b64u(source)}",
        _imgproxy(""),
        _imgproxy("w:40/"),
        key=f"{KEY.encode().hex()}:{SALT}",
        other_key=f"{OTHER_KEY.encode().hex()}:{SALT}",
    ),
    Mount(
        "thumbor",
        "/thumbor/",
        lambda source: f"/thumbor/unsafe/{quote(source, safe='')}",
        lambda source: f"/thumbor/unsafe/40x0/{quote(source, safe='')}",
        _thumbor("thumbor", ""),
        _thumbor("thumbor", "40x0/"),
    ),
    Mount(
        "imagor",
        "/imagor/",
        lambda source: f"/imagor/unsafe/{quote(source, safe='')}",
        lambda source: f"/imagor/unsafe/40x0/{quote(source, safe='')}",
        _thumbor("imagor", ""),
        _thumbor("imagor", "40x0/"),
    ),
    Mount(
        "weserv",
        "/wsrv/",
        lambda source: f"/wsrv/?url={quote(source, safe='')}",
        lambda source: f"/wsrv/?url={quote(source, safe='')}&w=40",
    ),
    Mount("cloudflare", "/cdn-cgi/image/", None, lambda source: f"/cdn-cgi/image/width=40/{source}"),
    Mount(
        "imageproxy",
        "/imageproxy/",
        lambda source: f"/imageproxy/{source}",
        lambda source: f"/imageproxy/40x/{source}",
        _imageproxy("", ""),
        _imageproxy("40x,", "40x0"),
    ),
    Mount(
        "photon",
        "/photon/",
        photon,
        lambda source: f"{photon(source)}{'&' if '?' in photon(source) else '?'}w=40",
    ),
    Mount("camo", "/camo/", lambda source: camo(source, "x"), None, camo, covers=False),
    Mount("miniflux", "/miniflux/", lambda source: miniflux(source, "x"), None, miniflux, covers=False),
    Mount(
        "next", "/_next/image", None, lambda source: f"/_next/image?url={quote(source, safe='')}&w=40&q=75"
    ),
    Mount(
        "ipx",
        "/_ipx/",
        lambda source: f"/_ipx/_/{quote(source, safe=':/')}",
        lambda source: f"/_ipx/w_40/{quote(source, safe=':/')}",
    ),
    Mount("cors-anywhere", "/cors/", lambda source: f"/cors/{source}", None),
)
BY_NAME = {mount.name: mount for mount in MOUNTS}
