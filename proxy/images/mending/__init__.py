"""Files that a browser shows and a library refuses, made acceptable to the library. Pure; runs in render processes.

Damage outside of the pixels must not cost the picture: metadata with a wrong checksum, a missing end mark, an
animation without its last frames. Each room rewrites one format. It drops blocks that do not concern the pixels,
writes lengths that agree with the file, and puts the end mark back. Pixels are never invented: whether every area has
data is for the decoder to find out. A file that needs none of this is not copied.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.images.mending import gif, ico, jpeg, png, webp
from proxy.images.structure import Buffer

_MENDERS: dict[str, Callable[[Buffer], bytes | None]] = {
    "gif": gif.mended,
    "ico": ico.mended,
    "jpeg": jpeg.mended,
    "png": png.mended,
    "webp": webp.mended,
}


def mended(data: Buffer, picture_format: str) -> bytes | None:
    """Return the file as a library takes it, None when it is good as it stands or beyond mending."""
    mender = _MENDERS.get(picture_format)
    return mender(data) if mender else None
