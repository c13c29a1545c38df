"""What an address in an article begins with. Pure."""

from __future__ import annotations

import re

SITE_FORMS = r"(?:_next|_vercel)/image\?|\.netlify/images\?|_image\?|_ipx/|cdn-cgi/image/"
"""Image endpoints of a site, as patterns."""
ABSOLUTE = re.compile(
    rf"(?:https?:)?[/\\]{{2}}[^/\\\s]|https?:|/(?:[\w.~-]{{1,60}}/){{0,3}}?(?:{SITE_FORMS})", re.IGNORECASE
)
"""What an address of another site begins with; everything else is the site's own or no address.

Among the site's own are those of image endpoints, which may carry the address of another site.
"""

EVERY = re.compile("")
"""What any address begins with, the site's own included."""
