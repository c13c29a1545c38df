"""Helpers for tests of rewriting: one rewriter, and short ways to state the expected result."""

from __future__ import annotations

from typing import Any

from proxy.config import RewriteConfig
from proxy.rewrite.rewriter import Rewriter, RewriteResult, TextKind

BASE = "https://img.example.org"
WORKER = "https://cors.zfour.workers.dev/?"
SOURCE = "http://h.example/a.png"
WRAPPED = WORKER + SOURCE


def rewrite(article: str | bytes, *, kind: TextKind = "markdown", **options: Any) -> RewriteResult:
    """Rewrite an article; `options` are those of the rewriter, or `config`."""
    data = article.encode() if isinstance(article, str) else article
    config = options.pop("config", RewriteConfig())
    shown = options.pop("shown", ())
    rewriter = Rewriter(config, base_url=BASE, **options)
    return rewriter.rewrite(data, kind=kind, shown=shown)


def text(article: str, *, kind: TextKind = "markdown", **options: Any) -> str:
    """Return the rewritten article."""
    return rewrite(article, kind=kind, **options).data.decode()


def ours(source: str = SOURCE, preset: str = "content") -> str:
    """Return our address of a source."""
    return f"{BASE}/image/{preset}/{source}"
