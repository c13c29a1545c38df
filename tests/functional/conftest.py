"""Functional tests: their services and engines fork render processes, which are not what they are about."""

from __future__ import annotations

import pytest
from forked_renderers import launch_from, render_template
from forking import CAN_FORK
from service import Service

from proxy.images.pool import renderprocess


@pytest.fixture(autouse=True)
def forked_renderers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the render processes of services that a test starts, and of engines in its own process."""
    monkeypatch.setattr(Service, "forks_renderers", CAN_FORK)
    if CAN_FORK:

        def launch(descriptor: int, *arguments: str) -> object:
            return launch_from(render_template().requests.fileno(), descriptor, *arguments)

        monkeypatch.setattr(renderprocess, "_launch", launch)
