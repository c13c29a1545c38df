"""The tree of errors."""

from __future__ import annotations

from proxy.errors import OutOfMemory, PictureError


def test_errors_beyond_the_limits_are_those_that_lead_to_the_original() -> None:
    """The contract names them for `on_error = "original"`; bare damage is none of them."""
    codes = {kind.code for kind in PictureError.__subclasses__() if kind.beyond_limits}
    assert codes == {"too_many_pixels", "too_many_frames", "unsupported_format", "render_timeout"}
    assert OutOfMemory.beyond_limits
