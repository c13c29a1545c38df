"""Lists the kinds of browsers that `format=auto` tells apart, for work that is done before they come. Pure."""

from __future__ import annotations

from proxy.services.warm.warming import Browser
from proxy.web.targets.negotiate import acceptable_formats

PLAIN = "fallback"
_PLAIN_NAMES = {PLAIN, "jpeg", "jpg", "png", "gif"}


def browsers_of(offered: tuple[str, ...], *, only: str | None = None) -> tuple[Browser, ...]:
    """Return a browser for every format that `format=auto` can produce, limited to those named by `only`.

    Raises:
        ValueError: `only` names no format or an unknown one.
    """
    found = []
    for number in range(len(offered) + 1):
        # Today's browsers send this: the formats they name have no higher quality value than `image/*`.
        accept = ",".join([*(f"image/{name}" for name in offered[number:]), "image/*", "*/*;q=0.8"])
        found.append(Browser(accept, acceptable_formats(accept, offered)))
    if only is None:
        return tuple(found)
    names = {name.strip().lower() for name in only.split(",") if name.strip()}
    names = {PLAIN if name in _PLAIN_NAMES else name for name in names}
    unknown = names - {browser.name for browser in found}
    if unknown or not names:
        raise ValueError(f"--formats takes {', '.join(offered)} and jpeg, not {only!r}")
    return tuple(browser for browser in found if browser.name in names)
