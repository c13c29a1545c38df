"""Jobs for render processes and their results, as values and as frames on a socket. Pure; runs on both sides.

A frame is the length of its header (4 bytes, big-endian), the header as JSON, and the bodies that the header announces.
There are no pickles, so a compromised decoder can send wrong pixels but no code.
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
"""The steps that take long after the first look: drawing an SVG, and making and encoding one variant."""
Verdict = Literal["whole", "damaged", "beyond_limits", "unsupported", "not_an_image"]

VERDICTS: dict[str, Verdict] = {
    DecodeFailed.code: "damaged",
    NotAnImage.code: "not_an_image",
    UnsupportedFormat.code: "unsupported",
    TooManyPixels.code: "beyond_limits",
    TooManyFrames.code: "beyond_limits",
    RenderTimeout.code: "beyond_limits",
}
"""What each error means for the original itself."""

JUDGE = "2"
"""Identifies the rules by which bytes count as damaged. Raise it when the rules become more lenient; marked originals
are then examined again."""

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
"""Key of the header that a process sends when it is ready: the active parts of its cage."""
STEP = "step"
"""Key of the header that announces a step: its name, and the number of the wish."""
TIGHT = "tight"
"""Key of the header that announces a possible lack of memory. A failure then says nothing about the picture."""
SHUT_OUT = 77
"""The exit status of a process that may not read a body, because its cage was closed before the body's folder
existed."""
NEEDS, LEAVE, GRANTED = "needs", "leave", "granted"
"""Keys of headers about memory: the need of a job, the answer to it, and the bytes that need no question."""


_WALL_FACTOR, _LEAST_WALL_SECONDS = 5, 30.0


def wall_seconds(processor_seconds: float) -> float:
    """Return how long a step with this much processor time may take by the clock on a busy machine."""
    return max(_LEAST_WALL_SECONDS, _WALL_FACTOR * processor_seconds)


class WireError(Exception):
    """The other side sent something that is not a valid frame."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One variant to render. `acceptable` holds output formats in order of preference, or a single format."""

    resolved: Resolved
    acceptable: tuple[str, ...]

    def __hash__(self) -> int:
        # Wishes are dictionary keys throughout a request. Hashing every option each time would cost a millisecond.
        return hash((self.resolved.text, self.acceptable))


@dataclass(frozen=True, slots=True)
class Job:
    """One original and all wishes for it. It is decoded once.

    check: decode it completely, regardless of the wishes, so that `whole` applies to every pixel. origin: the origin of
    the original; origins take turns in the queue.
    """

    path: str
    wishes: tuple[Wish, ...] = ()
    check: bool = False
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """The part of the configuration that a render process needs for a job.

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
    """A variant. width, height: of the result, in pixels. finding: the results of encoding it."""

    body: bytes = field(repr=False)
    output_format: str
    width: int
    height: int
    finding: EncodeFinding = field(default=EncodeFinding(), compare=False)


Output = Rendered | MirrorError


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of a job. `outputs` has the order of the wishes; `error` says what is wrong with the original.

    killed: the process died from it. Outputs that were not tried are `QueueFull` then. begun: when a process took the
    job, on the monotonic clock; not on the wire.
    """

    facts: PictureFacts | None
    verdict: Verdict
    error: MirrorError | None = None
    outputs: tuple[Output, ...] = ()
    killed: bool = False
    begun: float = 0.0

    @classmethod
    def failed(cls, error: MirrorError, facts: PictureFacts | None, *, wishes: int) -> Inspection:
        """Return the inspection of a picture for which nothing could be rendered because of `error`."""
        return cls(facts, VERDICTS.get(error.code, "damaged"), error, (error,) * wishes)


def frame(header: Mapping[str, Any]) -> bytes:
    """Return the frame of a header. Bodies follow it unchanged."""
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    return len(text).to_bytes(LENGTH_BYTES, "big") + text


def header_length(prefix: bytes) -> int:
    """Return the length of the header that follows `prefix`.

    Raises:
        WireError: the length exceeds the limit.
    """
    length = int.from_bytes(prefix, "big")
    if length > MAX_HEADER_BYTES:
        raise WireError("a header is too long")
    return length


def read_header(text: bytes) -> dict[str, Any]:
    """Parse the header of a frame.

    Raises:
        WireError: it is not a JSON object.
    """
    try:
        header = json.loads(text)
    except ValueError as error:
        raise WireError("a header is not JSON") from error
    if not isinstance(header, dict):
        raise WireError("a header is not an object")
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
    """Return the job from the result of `job_to_wire`."""
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
    """Return the sizes of the bodies that follow this header.

    Raises:
        WireError: they are missing or invalid.
    """
    try:
        sizes = [int(output["size"]) for output in header["outputs"] if "size" in output]
    except (KeyError, TypeError, ValueError) as error:
        raise WireError("a header without outputs") from error
    if any(size < 0 for size in sizes) or sum(sizes) > MAX_BODIES_BYTES:
        raise WireError("the bodies are too long")
    return sizes


def inspection_from_wire(header: Mapping[str, Any], bodies: Sequence[bytes]) -> Inspection:
    """Return the inspection from the result of `inspection_to_wire`.

    Raises:
        WireError: the header is invalid.
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
        raise WireError("a header lacks a value") from error


def facts_from_wire(header: Mapping[str, Any]) -> PictureFacts | None:
    """Return the facts in a header, or None if it has none."""
    facts = header.get("facts")
    return PictureFacts.from_dict(facts) if isinstance(facts, dict) else None


def step_from_wire(header: Mapping[str, Any]) -> tuple[Step, int]:
    """Return the step that a process begins, and the number of its wish.

    Raises:
        WireError: the header is invalid.
    """
    match header[STEP]:
        case ["draw" | "encode" as step, int(number)] if number >= 0:
            return step, number
    raise WireError("an invalid step")


def needs_from_wire(header: Mapping[str, Any]) -> int:
    """Return how many bytes a process asks for.

    Raises:
        WireError: the header is invalid.
    """
    needs = header[NEEDS]
    if not isinstance(needs, int) or needs < 0:
        raise WireError("an invalid number of bytes")
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
