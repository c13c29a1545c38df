"""Client hints: what a browser says about its line (`Save-Data`, and `ECT`, `Downlink` of Network Information). Pure.

They are asked for by the page, not by us: a browser sends `ECT` and `Downlink` to other hosts only where the page's
own answer carried `Accept-CH` and a `Permissions-Policy` that names them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

CONNECTION_HINTS = ("Save-Data", "ECT", "Downlink")

_SLOW_TYPES = frozenset({"slow-2g", "2g", "3g"})
_SLOW_BELOW_MBIT = 1.5
_NUMBER = re.compile(r"\d{1,6}(\.\d{1,6})?")


def is_slow(headers: Mapping[str, str]) -> bool:
    """Tell whether a request comes over a slow line, or from somebody who pays for every byte."""
    # Save-Data is a list with parameters, of which `on` is the only word with a meaning.
    saving = (word.strip().lower() for word in re.split("[,;]", headers.get("Save-Data", "")))
    if "on" in saving or headers.get("ECT", "").strip().lower() in _SLOW_TYPES:
        return True
    downlink = headers.get("Downlink", "").strip()
    return _NUMBER.fullmatch(downlink) is not None and float(downlink) < _SLOW_BELOW_MBIT
