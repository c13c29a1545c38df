"""Counts the instructions of rewriting with valgrind's cachegrind. They are exact; seconds are not.

    good   instructions([{"text": "…", "kind": "markdown"}, …])   ->  [1234567, …]

One interpreter runs under cachegrind, without its model of caches: that takes a third of callgrind's time. The
interpreter forks once for each article, and once without an article. The counts of the children include the
instructions before the fork, so the count of the child without an article is subtracted.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

_SUMMARY = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def instructions(articles: list[dict[str, str]], folder: Path) -> list[int]:
    """Return the number of instructions for each article; files go to `folder`."""
    (folder / "articles.json").write_text(json.dumps(articles), encoding="utf-8")
    command = [
        "valgrind",
        "--tool=cachegrind",
        "--cache-sim=no",
        f"--cachegrind-out-file={folder}/count.%p",
        sys.executable,
        "-P",
    ]
    environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*command, __file__, str(folder)], env=environment, capture_output=True, text=True, check=True
    )
    counts = [_count(folder / f"count.{pid}") for pid in json.loads(done.stdout)]
    return [count - counts[0] for count in counts[1:]]


def _count(path: Path) -> int:
    return max(int(found) for found in _SUMMARY.findall(path.read_text(encoding="utf-8")))


def _main(folder: Path) -> None:
    from proxy.config import RewriteConfig  # noqa: PLC0415 - only under cachegrind
    from proxy.rewrite.rewriter import Rewriter  # noqa: PLC0415 - as above

    rewriter = Rewriter(RewriteConfig(), base_url="https://img.example.org", all_images=True)
    rewriter.rewrite(b"---\na: //b\n---\n![](//a) <img src=//b>\n", kind="markdown")
    pids = []
    for article in [None, *json.loads((folder / "articles.json").read_text(encoding="utf-8"))]:
        pid = os.fork()
        if pid == 0:
            if article:
                rewriter.rewrite(article["text"].encode(), kind=article["kind"])
            os._exit(0)
        os.waitpid(pid, 0)
        pids.append(pid)
    print(json.dumps(pids))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
