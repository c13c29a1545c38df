"""Patterns for the beginning of an address in an article. Pure."""

from __future__ import annotations

import re

SITE_FORMS = r"(?:_next|_vercel)/image\?|\.netlify/images\?|_image\?|_ipx/|cdn-cgi/image/"
"""Image endpoints of a site, as patterns."""
ABSOLUTE = re.compile(
    rf"(?:https?:)?[/\\]{{2}}[^/\\\s]|https?:|/(?:[\w.~-]{{1,60}}/){{0,3}}?(?:{SITE_FORMS})", re.IGNORECASE
)
"""The beginning of an address of another site. Other text is the site's own address or no address.

It includes the site's own image endpoints, because they may carry the address of another site.
"""

EVERY = re.compile("")
"""The beginning of any address, including the site's own."""
