"""The sample article: its original text, and a copy whose pictures come from the sample origin."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from proxy.images.samples import sample_pictures
from proxy.rewrite.base.result import RewriteResult
from proxy.rewrite.ondisk.apply import rewrite_file, undo_file
from proxy.rewrite.ondisk.files import ArticleFile, write_durably
from proxy.rewrite.rewriter import Rewriter
from proxy.web.sample_origin import SampleFile

HOST = b"http://mp.ofweek.com"
_PATH = re.compile(re.escape(HOST) + rb"(/data/images/[^\"'<>\s]+\.png)")


def sample_text() -> bytes:
    """Return the original bytes of the article."""
    return (files("proxy.cli") / "sample" / "article.md").read_bytes()


def picture_paths() -> list[str]:
    """Return the paths of the article's pictures, each once, in order."""
    return list(dict.fromkeys(match[1].decode("ascii") for match in _PATH.finditer(sample_text())))


def picture_files() -> dict[str, SampleFile]:
    """Return generated pictures under the article's paths."""
    bodies = sample_pictures()
    return {
        path: SampleFile(body, "image/png" if body.startswith(b"\x89PNG") else "image/jpeg")
        for path, body in zip(picture_paths(), bodies, strict=True)
    }


@dataclass(frozen=True, slots=True)
class Undo:
    """The result of an undo: digests before and after it, and whether rewriting again gives the same bytes."""

    before_sha256: str
    undone_sha256: str
    again_equal: bool


class SampleArticle:
    """The copy in the demo's folder; its wrappers point to `origin_url`."""

    def __init__(self, folder: Path, *, origin_url: str, rewriter: Rewriter) -> None:
        self.path = folder / "article.md"
        self._file = ArticleFile(self.path, folder, "markdown")
        self._rewriter = rewriter
        self._before = sample_text().replace(b"?" + HOST + b"/", b"?" + origin_url.encode("ascii") + b"/")
        write_durably(self.path, self._before)

    def rewrite(self) -> RewriteResult:
        """Rewrite the file."""
        return rewrite_file(self._file, self._rewriter, write=True).result

    def undo_and_again(self) -> Undo:
        """Undo the rewriting, then do it again."""
        rewritten = self.path.read_bytes()
        undo_file(self._file, self._rewriter, write=True)
        undone = self.path.read_bytes()
        self.rewrite()
        again = self.path.read_bytes() == rewritten
        return Undo(_digest(self._before), _digest(undone), again)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
