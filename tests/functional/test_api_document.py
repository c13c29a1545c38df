"""The OpenAPI document against a running service: schemathesis makes valid and invalid requests from it.

What it finds is printed. Two things are left out, with their reasons:

- The check that every request that fits the schema is accepted. A schema cannot say what makes an address a source,
  that one of three members is needed, or that a file is a picture.
- Starting jobs and streams of events. A second job of a kind is 503, and a stream has no end (`test_api_jobs.py`).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripted_origin import running_in_thread
from scripted_wayback import ScriptedWayback
from service import Service, write_config

TOKEN = "token-of-the-owner"
EXAMPLES = 25
LEFT_OUT = "events$"


@pytest.mark.api
@pytest.mark.timeout(300)
def test_service_answers_what_its_document_says(tmp_path: Path) -> None:
    """Statuses, types, shapes, refusals, methods and authorization of every endpoint are as the document says."""
    with running_in_thread(ScriptedWayback()) as archive:
        changes: dict[str, Any] = {
            "server": {"admin_token": TOKEN},
            "sources": {"allow": ["127.0.0.1"]},
            "fetch": {"wayback": archive.url("")},
        }
        with Service(write_config(tmp_path, changes), workers=2) as service:
            ran = subprocess.run(
                [
                    sys.executable, "-m", "schemathesis.cli", "run", service.url("/api/v1/openapi.json"),
                    "--header", f"Authorization: Bearer {TOKEN}", "--checks", "all",
                    "--exclude-checks", "positive_data_acceptance", "--exclude-path-regex", LEFT_OUT,
                    "--exclude-operation-id", "startJob", "--max-examples", str(EXAMPLES),
                    "--generation-deterministic", "--continue-on-failure", "--no-color", "--warnings", "off",
                ],
                capture_output=True,
                text=True,
                check=False,
                cwd=tmp_path,
            )  # fmt: skip
            assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
            assert "Traceback" not in service.log(), service.log()[-4000:]
