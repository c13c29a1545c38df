"""Jobs for render processes and what comes back, as values and as frames on a socket. Pure; runs on both sides.

A frame is the length of its header (4 bytes, big-endian), the header as JSON, then the bodies that the header
announces. No pickles: a decoder that was taken over by a picture can send wrong pixels, but no code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from proxy.errors import (
    DecodeFailed,
    InvalidTransform,
    MirrorError,
    NotAnImage,
    OutOfMemory,
    RenderTimeout,
    TooManyFrames,
    TooManyPixels,
    UnsupportedFormat,
)
from proxy.images.choice import EncodeFinding
from proxy.images.formats import PictureFacts
from proxy.images.transforms.resolved import Resolved

Step = Literal["draw", "encode"]
"""What takes long after the first look: drawing a scalable picture, making and encoding one variant."""
Verdict = Literal["whole", "damaged", "beyond_limits", "unsupported", "not_an_image"]

VERDICTS: dict[str, Verdict] = {
    DecodeFailed.code: "damaged",
    NotAnImage.code: "not_an_image",
    UnsupportedFormat.code: "unsupported",
    TooManyPixels.code: "beyond_limits",
    TooManyFrames.code: "beyond_limits",
    RenderTimeout.code: "beyond_limits",
}
"""What each error says about the original itself."""

JUDGE = "2"
"""Names the rules by which bytes are called damaged. Raise it when fewer are: what was marked is looked at again."""

_ERRORS: dict[str, type[MirrorError]] = {
    kind.__name__: kind
    for kind in (
        DecodeFailed,
        InvalidTransform,
        NotAnImage,
        OutOfMemory,
        RenderTimeout,
        TooManyFrames,
        TooManyPixels,
        UnsupportedFormat,
    )
}

MAX_HEADER_BYTES = 1 << 20
MAX_BODIES_BYTES = 1 << 30
LENGTH_BYTES = 4
WALLS = "walls"
"""What a process says when it is ready: the parts of its cage that stand."""
STEP = "step"
"""Header of a process that begins a step: its name, and the number of the wish."""
TIGHT = "tight"
"""Header of a process that may not have the memory its job needs: how it fares says nothing of the picture then."""
SHUT_OUT = 77
"""The exit status of a process that may not read a body: its cage was shut before the body's folder was made."""
NEEDS, LEAVE, GRANTED = "needs", "leave", "granted"
"""Headers about memory: what a process needs for its job, the answer, and what it may take without asking."""


_WALL_FACTOR, _LEAST_WALL_SECONDS = 5, 30.0


def wall_seconds(processor_seconds: float) -> float:
    """Return how long a step that may use so much processor time may take on a busy machine."""
    return max(_LEAST_WALL_SECONDS, _WALL_FACTOR * processor_seconds)


class WireError(Exception):
    """The other side sent something that is no frame."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One variant to render; `acceptable` are output formats in order of preference, or one format alone."""

    resolved: Resolved
    acceptable: tuple[str, ...]

    def __hash__(self) -> int:
        # Wishes are keys all along the way of a request; hashing every option would cost a millisecond for each.
        return hash((self.resolved.text, self.acceptable))


@dataclass(frozen=True, slots=True)
class Job:
    """One original and all that is wished of it: it is decoded once.

    check: decode it fully, whatever the wishes need, so that `whole` is true of every pixel. origin: where the original
    came from; origins take turns in the line.
    """

    path: str
    wishes: tuple[Wish, ...] = ()
    check: bool = False
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """The part of the configuration that a render process must know for a job.

    timeout_seconds, drawing_timeout_seconds: processor time for one step.
    """

    timeout_seconds: float = 20.0
    drawing_timeout_seconds: float = 5.0
    max_pixels: int = 50_000_000
    max_frames: int = 200
    max_output_side: int = 8192
    max_output_pixels: int = 40_000_000
    decoder: str = "auto"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A variant. width, height: in pixels, of the result. finding: what encoding it has shown."""

    body: bytes = field(repr=False)
    output_format: str
    width: int
    height: int
    finding: EncodeFinding = field(default=EncodeFinding(), compare=False)


Output = Rendered | MirrorError


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a job found. `outputs` stand in the order of the wishes; `error` says what is wrong with the original.

    killed: the process did not survive it. Outputs that were not tried are `QueueFull` then.
    """

    facts: PictureFacts | None
    verdict: Verdict
    error: MirrorError | None = None
    outputs: tuple[Output, ...] = ()
    killed: bool = False

    @classmethod
    def failed(cls, error: MirrorError, facts: PictureFacts | None, *, wishes: int) -> Inspection:
        """Return the inspection of a picture of which nothing could be rendered because of `error`."""
        return cls(facts, VERDICTS.get(error.code, "damaged"), error, (error,) * wishes)


def frame(header: Mapping[str, Any]) -> bytes:
    """Return the frame of a header; bodies follow it as they are."""
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    return len(text).to_bytes(LENGTH_BYTES, "big") + text


def header_length(prefix: bytes) -> int:
    """Return how long the header is that follows `prefix`.

    Raises:
        WireError: no header is that long.
    """
    length = int.from_bytes(prefix, "big")
    if length > MAX_HEADER_BYTES:
        raise WireError("a header beyond all measure")
    return length


def read_header(text: bytes) -> dict[str, Any]:
    """Return the header that stands in a frame.

    Raises:
        WireError: it is no JSON object.
    """
    try:
        header = json.loads(text)
    except ValueError as error:
        raise WireError("a header is no JSON") from error
    if not isinstance(header, dict):
        raise WireError("a header is no object")
    return header


def job_to_wire(job: Job, settings: Settings) -> dict[str, Any]:
    """Return `job` as a header."""
    return {
        "path": str(Path(job.path).absolute()),
        "check": job.check,
        "wishes": [{"options": w.resolved.to_wire(), "acceptable": w.acceptable} for w in job.wishes],
        "settings": {name: getattr(settings, name) for name in Settings.__slots__},
    }


def job_from_wire(header: Mapping[str, Any]) -> tuple[Job, Settings]:
    """Return what `job_to_wire` wrote."""
    wishes = [Wish(Resolved.from_wire(w["options"]), tuple(w["acceptable"])) for w in header["wishes"]]
    return Job(header["path"], tuple(wishes), header["check"]), Settings(**header["settings"])


def inspection_to_wire(inspection: Inspection) -> tuple[dict[str, Any], list[bytes]]:
    """Return `inspection` as a header and the bodies that follow it."""
    header = {
        "facts": inspection.facts and inspection.facts.to_dict(),
        "verdict": inspection.verdict,
        "error": inspection.error and _error_to_wire(inspection.error),
        "outputs": [_output_to_wire(output) for output in inspection.outputs],
    }
    return header, [output.body for output in inspection.outputs if isinstance(output, Rendered)]


def body_sizes(header: Mapping[str, Any]) -> list[int]:
    """Return how many bytes each body behind this header has.

    Raises:
        WireError: it does not say so.
    """
    try:
        sizes = [int(output["size"]) for output in header["outputs"] if "size" in output]
    except (KeyError, TypeError, ValueError) as error:
        raise WireError("a header without outputs") from error
    if any(size < 0 for size in sizes) or sum(sizes) > MAX_BODIES_BYTES:
        raise WireError("bodies beyond all measure")
    return sizes


def inspection_from_wire(header: Mapping[str, Any], bodies: Sequence[bytes]) -> Inspection:
    """Return what `inspection_to_wire` wrote.

    Raises:
        WireError: it wrote something else.
    """
    waiting = iter(bodies)
    try:
        if header["verdict"] not in VERDICTS.values() and header["verdict"] != "whole":
            raise WireError("an unknown verdict")
        return Inspection(
            facts_from_wire(header),
            header["verdict"],
            _error_from_wire(header["error"]) if header["error"] else None,
            tuple(_output_from_wire(output, waiting) for output in header["outputs"]),
        )
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise WireError("a header without what belongs there") from error


def facts_from_wire(header: Mapping[str, Any]) -> PictureFacts | None:
    """Return the facts in a header, None when they are not known."""
    facts = header.get("facts")
    return PictureFacts.from_dict(facts) if isinstance(facts, dict) else None


def step_from_wire(header: Mapping[str, Any]) -> tuple[Step, int]:
    """Return the step that a process begins, and the number of its wish.

    Raises:
        WireError: it does not say so.
    """
    match header[STEP]:
        case ["draw" | "encode" as step, int(number)] if number >= 0:
            return step, number
    raise WireError("a step that is none")


def needs_from_wire(header: Mapping[str, Any]) -> int:
    """Return how many bytes a process asks for.

    Raises:
        WireError: it does not say so.
    """
    needs = header[NEEDS]
    if not isinstance(needs, int) or needs < 0:
        raise WireError("a need that is no number of bytes")
    return needs


def _error_to_wire(error: MirrorError) -> dict[str, str]:
    return {"error": type(error).__name__, "message": error.message, "detail": error.detail[:500]}


def _error_from_wire(wire: Mapping[str, str]) -> MirrorError:
    return _ERRORS.get(wire["error"], DecodeFailed)(wire["message"], detail=wire["detail"])


def _output_to_wire(output: Output) -> dict[str, Any]:
    if isinstance(output, MirrorError):
        return _error_to_wire(output)
    return {
        "size": len(output.body),
        "format": output.output_format,
        "width": output.width,
        "height": output.height,
        "finding": output.finding.to_dict(),
    }


def _output_from_wire(wire: Mapping[str, Any], bodies: Any) -> Output:
    if "error" in wire:
        return _error_from_wire(wire)
    finding = EncodeFinding.from_dict(wire["finding"])
    return Rendered(next(bodies), str(wire["format"]), int(wire["width"]), int(wire["height"]), finding)
