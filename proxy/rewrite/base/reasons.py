"""The reasons for leaving an address unchanged, as shown to people. Pure."""

from __future__ import annotations

IN_CODE = "inside <pre> or <code>"
NO_PICTURE = "an address of something that is not known to be a picture"
TEMPLATE = "a template expression stands in the address"
NOT_READ = "in a kind of file that is not rewritten"
IGNORED = "rewrite.ignore names it"
