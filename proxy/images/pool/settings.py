"""The settings that the pool of render processes needs. Pure.

`proxy.config.RenderConfig` satisfies this protocol. The configuration imports the picture rooms to check presets, so
they declare what they need instead of importing it. Times are in seconds, and memory is in bytes; `config.toml`
explains each key.
"""

from __future__ import annotations

from typing import Protocol


class PoolSettings(Protocol):
    """The keys of `[render]` that the pool reads."""

    @property
    def queue(self) -> int: ...

    @property
    def timeout(self) -> float: ...

    @property
    def drawing_timeout(self) -> float: ...

    @property
    def max_pixels(self) -> int: ...

    @property
    def max_frames(self) -> int: ...

    @property
    def max_output_side(self) -> int: ...

    @property
    def max_output_pixels(self) -> int: ...

    @property
    def memory_max_bytes(self) -> int: ...

    @property
    def decoded_max_bytes(self) -> int | None: ...

    @property
    def decoder(self) -> str: ...
