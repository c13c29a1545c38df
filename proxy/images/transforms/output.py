"""Options of the answer: format, quality, metadata, animation, and the treatment of errors and slow connections.

Pure; runs anywhere. These options change no pixels, so they are not operations.
"""

from __future__ import annotations

from proxy.images.formats import JSON, OUTPUTS
from proxy.images.options.readers import Option, choice, flag, whole, word_for_none, word_or

_WORDS = ("auto", *OUTPUTS, JSON)


OPTIONS = (
    Option(
        "format",
        choice(*_WORDS, synonyms={"jpg": "jpeg"}),
        f"one of {', '.join(_WORDS)}",
        "format of the answer; auto is negotiated with the browser, json describes the result",
        default="auto",
        short="f",
    ),
    Option(
        "quality",
        word_or("auto", whole(1, 100)),
        "a whole number from 1 to 100, or auto",
        "quality of JPEG, WebP and AVIF, 80, 78 and 50 when absent; auto: the lowest that looks like the original",
        short="q",
    ),
    Option(
        "metadata",
        choice("none", "copyright", "keep"),
        "none, copyright or keep",
        "which of the original's EXIF data are kept: none, author and copyright, or all except the orientation",
        default="none",
    ),
    Option("anim", flag, "true or false", "false shows only the first frame of an animation", default=True),
    Option(
        "onerror",
        choice("redirect", "error"),
        "redirect or error",
        "redirect sends the client to the original if the picture cannot be rendered within the limits",
        default="error",
    ),
    Option(
        "slow-connection-quality",
        whole(1, 100, unset="auto"),
        "a whole number from 1 to 100, or auto",
        "quality for browsers that announce a slow connection",
        short="scq",
        write=word_for_none("auto"),
    ),
)
