"""The Containerfile and compose.yaml: what they say, and their steps run on a clean machine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from containerfile import Image, built, instructions, unit_of
from machine import Machine, machine, why_not

pytestmark = [pytest.mark.deployment, pytest.mark.timeout(900)]

DEPLOY = Path(__file__).parents[2] / "deploy"
STEPS = instructions((DEPLOY / "Containerfile").read_text(encoding="utf-8"))
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
KEY = "k" * 32
_VARIABLE = re.compile(r"\$\{(\w+):[^}]*\}")


def test_container_runs_without_rights_and_says_how_it_is() -> None:
    """The last stage has a user by number, a health check and no shell around the program."""
    last = STEPS[max(number for number, (name, _) in enumerate(STEPS) if name == "FROM") :]
    said = dict(last)
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", said["USER"])
    assert json.loads(said["HEALTHCHECK"].partition(" CMD ")[2]) == ["imgmirror", "health"]
    assert json.loads(said["ENTRYPOINT"]) + json.loads(said["CMD"]) == ["imgmirror", "serve"]
    assert len([name for name, _ in STEPS if name == "FROM"]) == 2


def test_context_of_the_build_is_what_is_copied() -> None:
    """`.dockerignore` lets nothing else through: no environment, no store, no `.env`."""
    lines = (DEPLOY.parent / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copies = [rest.split() for name, rest in STEPS if name == "COPY" and "--from" not in rest]
    assert {source for words in copies for source in words[:-1]} == allowed
    assert "*" in lines


def test_compose_closes_the_container() -> None:
    """Its root is read-only, its capabilities are dropped, and only nginx has a port."""
    ours = COMPOSE["services"]["imgmirror"]
    assert ours["read_only"] is True
    assert ours["cap_drop"] == ["ALL"]
    assert ours["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in ours
    assert ours["network_mode"] == "service:nginx"
    assert (DEPLOY / ours["build"]["context"] / ours["build"]["dockerfile"]).exists()
    mounted = [volume.split(":")[0] for volume in COMPOSE["services"]["nginx"]["volumes"]]
    assert all((DEPLOY / name).exists() for name in mounted if name.startswith("."))


@pytest.mark.skipif(shutil.which("docker") is None, reason="no container engine")
def test_compose_file_is_accepted_by_the_engine(tmp_path: Path) -> None:
    """The command of the file's first lines, as far as it needs no daemon."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose here")
    (tmp_path / "env").write_text(f"PUBLIC_URL=https://img.example.org\nKEY={KEY}\nTOKEN={KEY}\n")
    command = ["docker", "compose", "--env-file", str(tmp_path / "env"), "-f", str(DEPLOY / "compose.yaml")]
    subprocess.run([*command, "config", "--quiet"], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Machine, Image]]:
    """The steps of the Containerfile on a machine, and their result running as compose.yaml runs it."""
    if why_not():
        pytest.skip(why_not())
    given = {"PUBLIC_URL": "https://img.example.org", "KEY": KEY, "TOKEN": KEY}
    environment: dict[str, str] = COMPOSE["services"]["imgmirror"]["environment"]
    settings = {
        name: _VARIABLE.sub(lambda found: given[found[1]], text) for name, text in environment.items()
    }
    with machine() as made:
        image = built(made, DEPLOY / "Containerfile")
        made.write("/etc/systemd/system/container.service", unit_of(image, settings))
        made.run("systemctl daemon-reload && systemctl start container.service")
        yield made, image


def health(made: Machine, image: Image) -> bool:
    words = f"PATH={image.environment['PATH']} {' '.join(image.health)}"
    return made.run(words, check=False).returncode == 0


def test_steps_give_a_service_that_is_healthy(running: tuple[Machine, Image]) -> None:
    """As a user by number, with a root that it cannot write, and from its own files alone."""
    made, image = running
    made.run(
        "curl -sS -o /dev/null --retry 100 --retry-delay 1 --retry-connrefused http://127.0.0.1:8080/healthz"
    )
    assert health(made, image)
    pid = made.run("systemctl show -P MainPID container.service").stdout.strip()
    assert f"\nUid:\t{image.user.split(':')[0]}\t" in made.run(f"cat /proc/{pid}/status").stdout
    answer = made.run("curl -sS -D - http://127.0.0.1:8080/image/width=9/http://192.0.2.1/a.png").stdout
    assert "403" in answer.splitlines()[0]
    made.run("systemctl stop container.service")
    assert not health(made, image)


def test_store_lies_in_the_volume(running: tuple[Machine, Image]) -> None:
    """What the container loses with its end holds no original."""
    made, image = running
    assert image.volumes == ["/var/lib/imgmirror"]
    made.run("test -d /var/lib/imgmirror/store/entries && test -d /var/lib/imgmirror/store/bodies")
