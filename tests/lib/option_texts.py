"""Option strings as visitors may write them: a Hypothesis strategy for the values of every option."""

from __future__ import annotations

from hypothesis import strategies as st

from proxy.images.formats import OUTPUTS
from proxy.images.geometry import FITS, SIDES
from proxy.images.transforms.transform import OPTIONS

VALUES: dict[str, st.SearchStrategy[str]] = {
    "width": st.one_of(st.just("auto"), st.integers(1, 32767).map(str)),
    "height": st.one_of(st.just("auto"), st.integers(1, 32767).map(str)),
    "dpr": st.one_of(st.just("auto"), st.decimals(1, 8, places=3).map(str)),
    "fit": st.sampled_from(FITS),
    "upscale": st.sampled_from(["true", "false"]),
    "gravity": st.one_of(
        st.sampled_from(["auto", "centre", *SIDES]),
        st.tuples(st.decimals(0, 1, places=4), st.decimals(0, 1, places=4)).map(lambda p: f"{p[0]}x{p[1]}"),
    ),
    "trim": st.one_of(
        st.sampled_from(["true", "false"]),
        st.integers(0, 255).map(str),
        st.tuples(*[st.integers(0, 500)] * 4).map(lambda n: ";".join(map(str, n))),
    ),
    "flip": st.sampled_from(["h", "v", "hv"]),
    "rotate": st.sampled_from(["0", "90", "180", "270"]),
    "brightness": st.decimals(0, 10, places=2).map(str),
    "contrast": st.decimals(0, 10, places=4).map(str),
    "saturation": st.decimals(0, 10, places=1).map(str),
    "gamma": st.decimals(0, 10, places=1).map(str),
    "blur": st.integers(0, 250).map(str),
    "sharpen": st.decimals(0, 10, places=2).map(str),
    "background": st.sampled_from(["red", "%23fff", "%23a1b2c3d4", "rgb(1%2C2%2C3)", "hsl(9%2050%25%209%25)"]),
    "format": st.sampled_from(["auto", *OUTPUTS, "jpg", "json"]),
    "quality": st.one_of(st.just("auto"), st.integers(1, 100).map(str)),
    "metadata": st.sampled_from(["none", "copyright", "keep"]),
    "anim": st.sampled_from(["true", "false"]),
    "onerror": st.sampled_from(["redirect", "error"]),
    "slow-connection-quality": st.integers(1, 100).map(str),
}  # fmt: skip


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Draw some options with valid values, and sometimes a preset; together they may contradict each other."""
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=8))
    words = [
        f"{draw(st.sampled_from([name, OPTIONS[name].short or name]))}={draw(VALUES[name])}" for name in names
    ]
    preset = draw(st.sampled_from(["", "headimg", "content"]))
    return ",".join([preset, *words] if preset else words or ["width=1"])
