"""Any text behind a mount soon gives a plan or an error of the contract."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import MOUNTS, Mount, b64u

from proxy.config import Config
from proxy.dialects.mounts import mounted
from proxy.errors import InvalidRequest, InvalidSource, InvalidTransform, NotFound, SourceNotAllowed
from proxy.policy import Policy
from proxy.web.targets.plans import Plans

NOW = 1_800_000_000.0
CONFIG = Config.model_validate({"hosts": {f"{mount.name}.example": mount.name for mount in MOUNTS}})
PLANS = Plans(CONFIG, Policy(CONFIG.sources, any_transform=True, manifest=None), None)
REFUSALS = (InvalidRequest, InvalidSource, InvalidTransform, NotFound, SourceNotAllowed)

SOURCES = (
    "http://h.example/a.png",
    "https%3A%2F%2Fh.example%2Fa.png?x",
    b64u("http://h.example/a"),
    "h.example/a.png",
)
PIECES = st.sampled_from(
    [
        *SOURCES, "/", "//", "?", "&", "=", ",", ":", "%", "%2F", "%00", "%ff", "\udcff", "图", "..", "%2e%2e", "@",
        "unsafe/", "_/", "plain/", "enc/", "rs:fill:300:200/", "w:1e9/", "exp:99999999999999999999/", "pr:headimg/",
        "300x200/", "-0x-0/", "origxorig/", "fit-in/", "trim:top-left:999/", "smart/", "filters:", "fill(red):",
        "expire(1)", "b64:", "url=", "w=300", "w=", "h=-1", "q=1e3", "fit=cover", "dpr=9", "a=focal", "fpx=2", "trim=0",
        "width=300,", "gravity=", "background=%23", "s_300x200", "w_", "f_auto", "rotate_90", "r90,", "vu1,", "sAAAA,",
        "cx0.1,", "resize=1,2", "zoom=1.7", "lb=0,0", "ssl=1", "0" * 40, "6874", "A" * 27, "A" * 64, "=" * 4,
    ]
)  # fmt: skip
RESTS = st.lists(PIECES | st.text(max_size=6), max_size=9).map("".join)


def answered(target: str, *, root: str = "") -> None:
    """Plan a target. Anything but a plan or a refusal of the contract is a fault."""
    try:
        PLANS.make(target, now=NOW, root=root)
        message = ""
    except REFUSALS as error:
        message = error.message
    assert message.isprintable() or not message, message
    assert len(message) < 400


@pytest.mark.parametrize("mount", MOUNTS, ids=lambda mount: mount.name)
@given(rest=RESTS)
@settings(max_examples=300)
def test_any_rest_of_a_mount_gets_a_plan_or_a_refusal(mount: Mount, rest: str) -> None:
    answered(mount.path + rest)
    answered("/" + rest, root=mount.name)


@given(target=RESTS)
@settings(max_examples=300)
def test_any_target_of_our_own_gets_a_plan_or_a_refusal(target: str) -> None:
    answered("/" + target)
    mounted("/" + target)


@pytest.mark.parametrize("mount", MOUNTS, ids=lambda mount: mount.name)
@pytest.mark.parametrize(
    "piece",
    [
        "/",
        "a/",
        "w:1/",
        "1x1/",
        "filters:a(",
        "filters:a(b):",
        "filters:a((",
        "&w=1",
        ",w=1",
        "w_1,",
        "%",
        "%25",
        "A",
        "@",
        ".",
    ],
)
def test_long_targets_are_read_in_one_pass(mount: Mount, piece: str) -> None:
    """The targets repeat one piece up to 16 KiB. The time limit of the suite ends a reading in quadratic time."""
    length = 16_000 // len(piece)
    for before, behind in (
        ("", ""),
        ("unsafe/", "http://h.example/a"),
        ("?url=", ""),
        ("_/", "/plain/http://h.example/a"),
    ):
        for _ in range(3):
            answered(f"{mount.path}{before}{piece * length}{behind}")
