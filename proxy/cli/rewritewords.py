"""What `imgmirror rewrite` has done to an article, as its JSON has it. Pure but for the working folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from proxy.rewrite.apply import Rewritten, Undone
from proxy.rewrite.journal import Entry
from proxy.rewrite.spot import address_text


def rewritten_words(done: Rewritten) -> dict[str, Any]:
    """Return what was done to an article."""
    return {
        "path": label(done.article.path),
        "replaced": [
            {
                "line": item.line,
                "context": item.context,
                "preset": item.preset,
                "source": item.source.url,
                "old": address_text(item.old.decode("latin-1")),
                "new": address_text(item.new.decode("latin-1")),
                "dropped": list(item.dropped),
            }
            for item in done.result.replaced
        ],
        "added": [
            {
                "line": item.line,
                "context": item.context,
                "source": item.source.url,
                "attributes": list(item.attributes),
                "text": item.new.decode("ascii"),
            }
            for item in done.result.added
        ],
        "left": [
            {
                "line": item.line,
                "context": item.context,
                "address": item.text,
                "reason": item.reason,
                "on_purpose": item.on_purpose,
            }
            for item in done.result.left
        ],
    }


def undone_words(done: Undone) -> dict[str, Any]:
    """Return what was put back in an article."""
    return put_back_words(done.article.path, done.count, done.missing, reason="no longer in the article")


def put_back_words(path: Path, count: int, missing: Iterable[Entry], *, reason: str) -> dict[str, Any]:
    """Return how many addresses were put back, and which not, for `reason`."""
    left = [{"address": entry.new.decode("utf-8", "replace"), "reason": reason} for entry in missing]
    return {"path": label(path), "replaced": count, "left": left}


def label(path: Path) -> str:
    """Return how an article is called: by its way from the working folder, where it lies below that."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
