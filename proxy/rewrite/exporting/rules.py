"""The input of an export and its results for a document, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.rewrite.exporting.pictures import FOLDER, Want
from proxy.rewrite.exporting.taking import Taker
from proxy.rewrite.exporting.tree import Here, Tree
from proxy.rewrite.front.fields import Fields


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of an export.

    tree: resolves the site's own addresses. taker: decides which addresses are pictures. fields: the keys of data.
    site_url: the address of the exported site, without a slash at its end; empty when unknown. Without it, even
    addresses that should be absolute are relative.
    """

    tree: Tree
    taker: Taker
    fields: Fields
    site_url: str = ""

    def picture(self, name: str, here: Here, *, absolute: bool = False) -> str:
        """Return the address of a file in the folder of pictures."""
        if absolute and self.site_url:
            return f"{self.site_url}/{FOLDER}/{name}"
        return here.to(f"{FOLDER}/{name}")


@dataclass(frozen=True, slots=True)
class LeftInPage:
    """An address that stays unchanged. `on_purpose` is false when it needs attention."""

    line: int
    text: str
    reason: str
    on_purpose: bool = True


@dataclass(frozen=True, slots=True)
class Exported:
    """The new bytes of a document, its wants with the line of each, and the addresses left in it."""

    data: bytes
    wants: tuple[tuple[int, Want], ...] = ()
    left: tuple[LeftInPage, ...] = field(default=())
