"""Plans remember what a target means, and nothing of what its visitors send."""

from __future__ import annotations

import gc
import itertools
from typing import Any

import pytest

from proxy.config import Config
from proxy.images.geometry import OutputLimits
from proxy.images.transforms.transform import Transform
from proxy.source import Source
from proxy.web.targets.hints import DPR_STEPS, WIDTH_STEPS_PX, Hints
from proxy.web.targets.plans import Plan

OFFERED = ("avif", "webp")


def plan(options: str) -> Plan:
    transform = Transform.parse(options)
    resolved = transform.resolved(Config().presets)
    source = Source.parse("http://example.org/a.png")
    return Plan("variant", source, (), transform, resolved, limits=OutputLimits(), client_hints=True)


def reachable(root: object) -> int:
    """Count the objects that `root` keeps alive, its classes and modules left out."""
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type):
            seen.add(id(one))
            waiting += gc.get_referents(one)
    return len(seen)


@pytest.mark.parametrize("options", ["width=300", "headimg", "width=auto,dpr=auto,scq=50"])
def test_plan_grows_by_no_header(options: str) -> None:
    """For every order of Accept, every weight and every hint, the plan stays the same size."""
    asked = plan(options)
    # A plan keeps the texts of its transform from the first question on.
    asked.asked("image/webp", OFFERED)
    before = reachable(asked)
    names = ("image/avif", "image/webp", "image/png", "image/jpeg", "image/*")
    found = set()
    for order in itertools.permutations(names):
        for weight in ("", ";q=0.5", ";q=0"):
            accept = ",".join((*order[:-1], order[-1] + weight))
            for width, dpr in ((None, None), *itertools.product(WIDTH_STEPS_PX[:2], DPR_STEPS[:2])):
                found.add(asked.asked(accept, OFFERED, hints=Hints(True, width, dpr)))
    assert len(found) > 1
    assert reachable(asked) == before


def test_same_meaning_is_the_same_key() -> None:
    """Results are remembered by the meaning of Accept."""
    one, other = "image/avif,image/webp,image/*", "IMAGE/*;q=1.0 , image/webp,image/avif , text/html;q=0.2"
    asked = plan("width=300")
    assert asked.asked(one, OFFERED).memory_key == asked.asked(other, OFFERED).memory_key
    fixed = plan("width=300,format=png")
    assert fixed.asked(one, OFFERED) == fixed.asked("image/webp", OFFERED)


def test_hints_act_on_options_that_were_left_to_them() -> None:
    """Equal transforms that leave different options to hints are distinguished."""
    hints = Hints(False, 480, 2.0)
    left = plan("width=auto,dpr=2").asked(None, OFFERED, hints=hints).resolved
    both = plan("width=auto,dpr=auto").asked(None, OFFERED, hints=hints).resolved
    fixed = plan("width=480,dpr=auto").asked(None, OFFERED, hints=hints).resolved
    assert (left.width, left.dpr) == (both.width, both.dpr) == (480, 1.0)
    assert (fixed.width, fixed.dpr) == (480, 2.0)
