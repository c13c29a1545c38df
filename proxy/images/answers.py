"""Chooses the answer for a finished result: which candidate format to encode, or the original's own bytes.

1. For a drawing, encode every equal candidate. The smallest one is the answer.
2. Otherwise the answer is the first candidate whose encoder succeeds. If all fail, it is the error of the first one.
3. The original's own bytes replace a larger answer that shows the same picture.

The answer carries its sizes (`EncodeFinding`), so that later requests need not encode to choose. Runs in render
processes.
"""

from __future__ import annotations

import itertools

from proxy.errors import PictureError
from proxy.images.choice import MOVING, ORIGINAL, Candidates, EncodeFinding
from proxy.images.encode import EncodeFailed, Result, encode
from proxy.images.jobs import Rendered


class Answers:
    """The answers made of one result. Each format is encoded once, regardless of the number of clients.

    own: the original's bytes without unwanted metadata if they show the same as the result, else None.
    tight: memory is so short that an encoder's failure says nothing about the format and is not recorded.
    """

    def __init__(self, result: Result, *, own: bytes | None, source_format: str, tight: bool = False) -> None:
        self.result = result
        self._own = own
        self._source_format = source_format
        self._tight = tight
        self._bodies: dict[str, bytes] = {}
        self._sizes: dict[str, int | None] = {}
        self._errors: dict[str, PictureError] = {}

    def to(self, wanted: Candidates) -> Rendered:
        """Return the answer to a client.

        Raises:
            PictureError: every encoder fails.
        """
        rivals = wanted.equals if self.result.drawing else ()
        made = [name for name in rivals if self._encodes(name)] or list(
            itertools.islice(filter(self._encodes, wanted.order), 1)
        )
        if not made:
            raise self._errors[wanted.order[0]]
        # `min` takes the first of equal sizes, in order of preference.
        name = min(made, key=lambda one: len(self._bodies[one]))
        body, sizes = self._bodies[name], dict(self._sizes)
        if self._own is not None and len(self._own) < len(body):
            sizes[ORIGINAL] = len(self._own)
            if self._source_format in wanted.accepted:
                name, body = self._source_format, self._own
        finding = EncodeFinding(sizes, smallest=self.result.drawing)
        return Rendered(body, name, *self.result.picture.size, finding)

    def _encodes(self, name: str) -> bool:
        """Encode a format unless that was tried already; return whether its encoder succeeded."""
        if name not in self._bodies and name not in self._errors:
            try:
                body = encode(self.result if name in MOVING else self.result.first, name)
            except EncodeFailed as failure:
                self._errors[name] = failure.error
                if failure.lasting and not self._tight:
                    self._sizes[name] = None
            else:
                if self._own is not None and name == self._source_format:
                    body = min(body, self._own, key=len)
                self._bodies[name], self._sizes[name] = body, len(body)
        return name in self._bodies
