"""Render processes as forks of a template (`forking.py`), for services and engines of which they are not the subject.

They differ from others in one point: they are children of the template, not of the service. Without their service they
end after their job. Hostile tests, and tests of the pool, of the cage and of several workers, start new interpreters.
"""

from __future__ import annotations

import atexit
import functools
import os
import socket
from pathlib import Path

from forking import ForkedProcess, Template, ask_for_fork

from proxy.images.pool import renderprocess

SCRIPT = Path(__file__).with_name("render_template.py")


@functools.cache
def render_template() -> Template:
    """Return the template that this process has started. It ends with the last process that uses it."""
    folder = os.pathsep + str(SCRIPT.parent)
    environment = renderprocess._environment()
    environment["PYTHONPATH"] += folder
    template = Template(SCRIPT, environment, flags=["-P"])
    atexit.register(template.close)
    return template


def launch_from(template: int, descriptor: int, *arguments: str) -> ForkedProcess:
    """Do what `renderprocess._launch` does, with a fork. template: the descriptor of a template's socket."""
    requests = socket.socket(fileno=template)
    try:
        return ForkedProcess(ask_for_fork(requests, {"arguments": arguments}, [descriptor]))
    finally:
        requests.detach()


def fork_renderers(template: int) -> None:
    """Let all render processes of this process be forks, asked for through the descriptor of a template's socket."""
    renderprocess._launch = functools.partial(launch_from, template)  # type: ignore[assignment]  # all of Popen that is used
