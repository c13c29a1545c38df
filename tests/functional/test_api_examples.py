"""The examples of docs/api.md, "The API", run as they are written, against a service with a picture and a token."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from pictures import chart_png
from scripted_origin import run_in_thread
from service import Service, write_config

TOKEN = "token-of-the-owner"
PAGE = (
    (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8").partition("\n## The API\n")[2]
)
EXAMPLES = [
    re.sub(r"\\\n\s*", "", found).strip()
    for found in re.findall(r"^    (curl (?:.*\\\n)*.*)$", PAGE, re.MULTILINE)
]

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the examples are written for curl")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str]]:
    """A service, and the address of a picture that it may fetch."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "a.png").write_bytes(chart_png(60, 40))
    with run_in_thread() as origin:
        origin.serve("/a.png", chart_png(60, 40))
        with Service(write_config(folder, {"server": {"admin_token": TOKEN}})) as service:
            yield service, origin.url("/a.png")


def test_page_has_examples() -> None:
    """The pattern that finds them still does."""
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_of_the_page_is_answered(served: tuple[Service, str], example: str) -> None:
    """Each command gets an answer without an error, and a stream gets its first event."""
    service, source = served
    command = example.replace("https://img.example.org", service.base)
    command = command.replace("https://host.example/a.png", source)
    command = command.replace(quote("https://host.example/a.png", safe=""), quote(source, safe=""))
    running = subprocess.Popen(
        ["/bin/bash", "-c", f"exec {command.replace('curl', 'curl -sS --fail-with-body', 1)}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=service.config.parent,
        env={**os.environ, "TOKEN": TOKEN},
    )
    with running:
        assert running.stdout is not None
        if " -N " in example:
            assert running.stdout.readline() == "retry: 2000\n"
            running.terminate()
            return
        said = running.stdout.read()
    assert running.returncode == 0, said
