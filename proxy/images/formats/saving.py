"""Shared parts of the writers of all formats: Pillow's writers, animations, metadata. Pure; runs in render
processes."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from proxy.images.files.exif import kept
from proxy.images.formats.result import Result

MAX_REPEATS = 65_535
"""The number of repetitions in a GIF (Netscape extension) and of plays in a WebP (RFC 9649 §2.7.1.2): 16 bits each."""


def saved(picture: Image.Image, plugin: str, **options: Any) -> bytes:
    """Return `picture` as written by one of Pillow's plugins."""
    buffer = io.BytesIO()
    picture.save(buffer, plugin, **options)
    return buffer.getvalue()


def exif_options(result: Result) -> dict[str, bytes]:
    """Return the EXIF data to write, as an option of Pillow's writers."""
    left = kept(result.exif, result.wanted.metadata)
    return {"exif": left} if left else {}


class Moving(Image.Image):
    """An animation as Pillow's writers expect it: a picture with `seek`."""

    def __init__(self, frames: tuple[tuple[Image.Image, int], ...]) -> None:
        super().__init__()
        self._pictures = [picture for picture, _ in frames]
        self.n_frames = len(frames)
        self.is_animated = True
        self._number = -1
        self.seek(0)

    def seek(self, frame: int) -> None:
        """Show the frame with number `frame`."""
        if not 0 <= frame < self.n_frames:
            raise EOFError
        if frame != self._number:
            picture = self._pictures[frame]
            picture.load()
            self.im, self._mode, self._size = picture.im, picture.mode, picture.size
            # Pillow calls this when frames are equal and it writes a single one instead.
            self.palette = picture.palette
            self._number = frame

    def tell(self) -> int:
        """Return the number of the current frame."""
        return self._number
