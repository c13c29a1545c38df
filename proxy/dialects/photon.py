"""Addresses of Photon, WordPress.com's image service: `https://i0.wp.com/HOST/PATH?args`. Pure.

`ssl` (any value) means that the origin speaks https; the origin's own query is carried, encoded, by `q`.
Everything else is Photon's and is dropped by name. i0, i1 and i2 are the same.

    good   https://i2.wp.com/h.org/a.png?w=300&ssl=1     ->  https://h.org/a.png, dropped: w
    good   https://i0.wp.com/h.org/a?q=x%3D1%26y%3D2      ->  http://h.org/a?x=1&y=2
    bad    https://i0.wp.com/about                        ->  None
"""

from __future__ import annotations

import re

from proxy.dialects.address import Address
from proxy.dialects.escapes import percent_decode
from proxy.dialects.opened import Opened, query_items

HOSTS = frozenset({"i0.wp.com", "i1.wp.com", "i2.wp.com", "i3.wp.com"})
_HOST_AND_PATH = re.compile(r"/[^/.][^/]*\.[^/]*[^/.]/.")


def open_address(address: Address) -> Opened | None:
    """Open a Photon address."""
    if address.host not in HOSTS or not _HOST_AND_PATH.match(address.path):
        return None
    items = query_items(address.query)
    arguments = dict(items)
    scheme = "https" if "ssl" in arguments else "http"
    inner = percent_decode(arguments.get("q", ""))
    target = f"{scheme}:/{address.path}" + (f"?{inner}" if inner else "")
    return Opened(target, tuple(dict.fromkeys(name for name, _ in items if name not in ("ssl", "q"))))
