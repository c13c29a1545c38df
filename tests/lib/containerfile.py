"""A reader of deploy/Containerfile, and its steps on a machine without a container engine. Blocking.

A stage becomes the files of the machine: RUN, COPY, WORKDIR, ENV, USER and VOLUME mean what they mean to an engine, for
the forms that our file uses. An instruction that is not known here is an error, so no step is left out in silence.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from machine import CHECKOUT, Machine

_ABOUT_RUNNING = {"EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD", "USER", "VOLUME"}
_CONTEXT = "/usr/src/context"


@dataclass
class Image:
    """The settings that the steps leave, besides files. user: numbers of user and group."""

    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    volumes: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Containerfile with their arguments, comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def built(machine: Machine, path: Path) -> Image:
    """Run every step on a machine; return the image of the last stage.

    Raises:
        AssertionError: a step failed, or this reader does not know it.
    """
    # COPY finds only the files that .dockerignore lets through.
    allowed = (path.parents[1] / ".dockerignore").read_text(encoding="utf-8")
    named = " ".join(line[1:] for line in allowed.splitlines() if line.startswith("!"))
    machine.run(f"mkdir -p {_CONTEXT} && cp -a {named} {_CONTEXT}")
    image = Image()
    for name, rest in instructions(path.read_text(encoding="utf-8")):
        if name == "FROM":
            image = _next_stage(machine, rest, image)
        elif name == "RUN":
            machine.run(f"cd {image.folder} && {rest}", online=True)
        elif name == "COPY":
            _copy(machine, rest, image)
        elif name == "WORKDIR":
            image.folder = rest
            machine.run(f"mkdir -p {rest}")
        elif name == "ENV":
            key, _, value = rest.partition("=")
            image.environment[key] = value
        else:
            assert name in _ABOUT_RUNNING, f"{name} is unknown to the test"
            _about_running(image, name, rest)
    return image


def _next_stage(machine: Machine, _rest: str, before: Image) -> Image:
    """Begin with a clean machine: the files of an earlier stage are moved to where only `COPY --from` finds them."""
    if before.folder != "/":
        machine.run(f"mkdir -p /stage/opt && mv /opt/imgmirror /stage/opt && rm -rf {before.folder}")
    return Image()


def _copy(machine: Machine, rest: str, image: Image) -> None:
    words = shlex.split(rest)
    root = _CONTEXT
    if words[0].startswith("--from="):
        root, words = "/stage", words[1:]
    *sources, target = words
    for source in sources:
        place = f"{root}/{source.lstrip('/')}"
        machine.run(f"cd {image.folder} && if [ -d {place} ]; then mkdir -p {target} && cp -a {place}/. {target}; "
                    f"else cp -a {place} {target}; fi")  # fmt: skip


def _about_running(image: Image, name: str, rest: str) -> None:
    if name == "USER":
        image.user = rest
    elif name == "VOLUME":
        image.volumes.append(rest)
    elif name in {"ENTRYPOINT", "CMD"}:
        image.command += json.loads(rest)
    elif name == "HEALTHCHECK":
        image.health = json.loads(rest.partition(" CMD ")[2])


def unit_of(image: Image, compose: dict[str, str]) -> str:
    """Return a unit that runs the image as deploy/compose.yaml does: read-only, without rights, with `compose` set."""
    user, _, group = image.user.partition(":")
    environment = {**image.environment, **compose}
    lines = [f"Environment='{name}={value}'" for name, value in environment.items()]
    program = f"{image.environment['PATH'].split(':')[0]}/{image.command[0]}"
    return "\n".join([
        "[Service]", *lines,
        f"ExecStart={program} {' '.join(image.command[1:])}",
        f"User={user}", f"Group={group}", f"WorkingDirectory={image.folder}",
        "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", f"ReadWritePaths={' '.join(image.volumes)}",
        "CapabilityBoundingSet=", "NoNewPrivileges=yes", f"InaccessiblePaths={CHECKOUT} /stage", "",
    ])  # fmt: skip
