"""From a finished look to the answer: which of the candidates is encoded, or that the original's bytes answer.

1. Of a drawing every equal candidate is encoded, and the smallest answers.
2. Otherwise the first candidate whose encoder succeeds answers. When all fail, the answer is the first one's error.
3. The original's own bytes answer in place of larger ones that show nothing else.

What was found comes with the answer (`EncodeFinding`), so that nobody has to find it again. Runs in render processes.
"""

from __future__ import annotations

import itertools

from proxy.errors import PictureError
from proxy.images.choice import MOVING, ORIGINAL, Candidates, EncodeFinding
from proxy.images.encode import EncodeFailed, Result, encode
from proxy.images.pool.jobs import Rendered


class Answers:
    """The answers made of one result; each format is encoded once, however many clients are answered.

    own: the original's bytes without unwanted metadata, where they show the same as the result; else None.
    tight: encoders may fail because memory is short, whatever they say; nothing is noted of that.
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
        """Encode a format that was not tried yet; return whether its encoder succeeds."""
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
