"""Decides which addresses of a site's other text are replaced. Pure.

Data and templates contain addresses of many things. So only wrappers are replaced, and only if the source is named like
a picture or shown by an article.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from proxy.rewrite.base.spot import Use
from proxy.rewrite.deciding.classify import Address, AddressKind
from proxy.rewrite.deciding.decide import DRAWN, Decider, Decision
from proxy.source import Source

NO_PICTURE = "its source is not known to be a picture"

MakeDecider = Callable[[Iterable[Address], Collection[Source]], Decider]


def decide_site_text(
    addresses: Iterable[Address], decider: MakeDecider, *, shown: Collection[Source], body: str
) -> tuple[list[Decision], tuple[Source, ...]]:
    """Return a decision for each wrapper and each of our addresses, in order, and the sources that may be pictures.

    `shown` are the sources that articles show; `body` is the preset for shown pictures.
    """
    wanted = [address for address in addresses if address.kind is not AddressKind.DIRECT]
    ready = [address for address in wanted if not _is_unsure(address, shown)]
    decided = iter(decider(ready, shown).decisions())
    decisions: list[Decision] = []
    unsure: dict[Source, None] = {}
    for address in wanted:
        if not _is_unsure(address, shown):
            decisions.append(_settled(next(decided), body))
        elif address.source is not None:
            unsure[address.source] = None
            decisions.append(Decision(address, reason=NO_PICTURE))
    return decisions, tuple(unsure)


def _is_unsure(address: Address, shown: Collection[Source]) -> bool:
    return (
        address.kind is AddressKind.WRAPPER
        and address.spot.use is not Use.LEAVE
        and not address.is_picture_by_name
        and address.source not in shown
    )


def _settled(decision: Decision, body: str) -> Decision:
    address = decision.address
    if address.kind is AddressKind.UNREADABLE:
        # A bare prefix, to which a program appends a source, stays on purpose. An ambiguous address does not.
        return replace(decision, on_purpose=not address.is_ambiguous)
    if (
        decision.preset
        and address.spot.raster
        and address.is_svg_by_name
        and address.kind is AddressKind.WRAPPER
    ):
        return replace(
            decision, preset=",".join([body, *(f"{name}={value}" for name, value in DRAWN.items())])
        )
    return decision
