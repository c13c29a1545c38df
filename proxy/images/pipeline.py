"""Takes one job through a render process: identify, check limits, decode once, transform, encode. Synchronous.

1. The first bytes give the format. An unknown one is `not_an_image`; a known one without a decoder is
   `unsupported_format`.
2. The blocks of the file and its header give the facts. Nothing is decoded before the limits are checked.
3. A picture beyond the limits is `too_many_pixels` or `too_many_frames`. Wishes for its first frame may still be met.
4. Everything is decoded once, at the smallest size that suffices for all wishes; with `check`, every frame. If this
   fails, all wishes get `decode_failed`.
5. Each distinct look is made once from the decoded frames, and encoded in each wanted format.
"""

from __future__ import annotations

import errno
import math
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from proxy.errors import (
    DecodeFailed,
    InvalidTransform,
    MirrorError,
    NotAnImage,
    OutOfMemory,
    PictureError,
    TooManyFrames,
    UnsupportedFormat,
)
from proxy.images import jobs, memory_budget
from proxy.images.answers import Answers
from proxy.images.choice import MOVING, Candidates, candidates
from proxy.images.decode import Decoded, Decoder, Opened, decode
from proxy.images.decode.faults import guarded
from proxy.images.encode import Result
from proxy.images.files.bare import bare
from proxy.images.files.exif import kept
from proxy.images.files.structure import MAX_BLOCKS
from proxy.images.formats import RENDERABLE, SNIFF_BYTES, UNTOUCHED, PictureFacts, sniff
from proxy.images.formats.probe import Looked, looked_at, root_of_file
from proxy.images.geometry import OutputLimits, ResizePlan, Size, make_plan
from proxy.images.jobs import Inspection, Job, Output, Rendered, Settings, Wish
from proxy.images.limits import beyond_limits
from proxy.images.measuring.describe import describe
from proxy.images.measuring.drawing import drawing_and_flatness
from proxy.images.operations import Scene, settled, transformed
from proxy.images.svg import BEYOND_BOUND, SvgDecoder
from proxy.images.transforms.resolved import Resolved

OnFacts = Callable[[PictureFacts], None]
OnStep = Callable[[jobs.Step, int], None]
"""Called when a step begins, with the number of the wish for "encode" and 0 otherwise."""
AskLeave = Callable[[int, bool], None]
"""Called with the number of bytes that a job will take, before it takes them, and whether that may be more than the
process can have. It raises an exception to end the job."""
Room = Callable[[], int]
"""Returns how many more bytes the process can take."""

_SLACK_BYTES = 48 << 20
"""Memory of a job besides its pixels: the file itself, tables of libraries, stacks of their threads."""


def _unasked(_needs: int, _tight: bool) -> None:
    """Allow everything: a process that runs alone competes with nobody for memory."""


def _unheard(_step: jobs.Step, _number: int) -> None:
    """Do nothing: nobody measures the time of the steps."""


def _endless() -> int:
    return sys.maxsize


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory that a job may take; by default all of it."""

    ask_leave: AskLeave = _unasked
    room: Room = _endless


_ALL = Memory()


def inspect(  # noqa: PLR0913 - what a render process is told and tells
    job: Job,
    settings: Settings,
    *,
    decoder: Decoder,
    on_facts: OnFacts,
    on_step: OnStep = _unheard,
    memory: Memory = _ALL,
) -> Inspection:
    """Do a job and return the result. `on_facts` and `memory.ask_leave` are called before anything is decoded.

    `on_step` gets "draw" before an SVG is read, and "encode" before each wish is rendered and encoded.

    The input never causes an exception. If the job may need more memory than there is, no failure counts as damage.

    Raises:
        PermissionError: this process may not read the body.
    """
    try:
        with warnings.catch_warnings():
            # Libraries warn about faults of a picture. All that matters here is whether it can be rendered.
            warnings.simplefilter("ignore")
            return _inspected(
                job, settings, decoder=decoder, on_facts=on_facts, on_step=on_step, memory=memory
            )
    except (PictureError, InvalidTransform) as error:
        return Inspection.failed(error, None, wishes=len(job.wishes))
    except MemoryError:
        return Inspection.failed(OutOfMemory(), None, wishes=len(job.wishes))
    except PermissionError:
        # This says nothing about the picture, so it must not become an inspection.
        raise
    except OSError as error:
        # The body was purged while its job was waiting, or there was no memory to read it into.
        kind = OutOfMemory if error.errno == errno.ENOMEM else DecodeFailed
        return Inspection.failed(kind(detail=f"cannot be read: {error!r}"), None, wishes=len(job.wishes))


def _inspected(  # noqa: PLR0913 - all that `inspect` was given
    job: Job, settings: Settings, *, decoder: Decoder, on_facts: OnFacts, on_step: OnStep, memory: Memory
) -> Inspection:
    picture_format = _format_of(job.path)
    if picture_format == "svg":
        on_step("draw", 0)
    looked = looked_at(job.path, picture_format, max_frames=settings.max_frames)
    structure = looked.structure
    if structure.blocks > MAX_BLOCKS:
        raise UnsupportedFormat(detail=f"more than {MAX_BLOCKS} blocks")
    if picture_format == "svg":
        decoder = SvgDecoder(decoder.resample)
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(
                decoder.open(looked.source, structure, picture_format=picture_format)
            )
        except DecodeFailed as fault:
            # Pillow creates libwebp's decoder here and does not learn the reason of a failure.
            tight = memory_budget.canvases(structure.canvas) + _SLACK_BYTES > memory.room()
            raise _judged(fault, tight=tight) from fault
        on_facts(opened.facts)
        return _Rendering(job, settings, _Picture(looked, opened, decoder), memory).run(on_step)


def _judged(error: PictureError, *, tight: bool) -> PictureError:
    """Return the error to report: a picture that fails when memory is short is neither damaged nor unsupported."""
    if tight and isinstance(error, DecodeFailed | UnsupportedFormat):
        return OutOfMemory(detail=error.detail)
    return error


def _format_of(path: str) -> str:
    with Path(path).open("rb") as file:
        head = file.read(SNIFF_BYTES)
    name = sniff(head)
    if name is None and root_of_file(path) == "svg":
        name = "svg"
    if name is None:
        raise NotAnImage
    if name not in RENDERABLE:
        raise UnsupportedFormat(detail=name)
    return name


@dataclass(frozen=True, slots=True)
class _Task:
    """A wish that can be met, with the formats to try and the number of frames."""

    number: int
    wish: Wish
    wanted: Candidates
    frames: int

    @property
    def look(self) -> tuple[Resolved, int]:
        """Equal for two wishes that differ only in their encoding."""
        return self.wish.resolved.look, self.frames

    @property
    def result(self) -> tuple[Resolved, int]:
        """Equal for two wishes that differ only in their formats."""
        return self.wish.resolved.replaced(format="auto"), self.frames


@dataclass(frozen=True, slots=True)
class _Picture:
    """The open file of a job."""

    looked: Looked
    opened: Opened
    decoder: Decoder


class _Rendering:
    """One job whose file is open."""

    def __init__(
        self,
        job: Job,
        settings: Settings,
        picture: _Picture,
        memory: Memory,
    ) -> None:
        self._job = job
        self._memory = memory
        self._tight = False
        self._settings = settings
        self._looked, self._opened = picture.looked, picture.opened
        self._facts = picture.opened.facts
        self._limits = OutputLimits(settings.max_output_side, settings.max_output_pixels)
        self._scene = Scene((self._facts.width, self._facts.height), self._limits, picture.decoder.resample)
        self._outputs: dict[int, Output] = {}

    def run(self, on_step: OnStep) -> Inspection:
        """Decode, render all wishes and return the inspection."""
        error = self._limit(self._facts.frames)
        tasks = [task for number, wish in enumerate(self._job.wishes) if (task := self._task(number, wish))]
        frames = max((task.frames for task in tasks), default=0)
        if self._job.check and error is None and not self._facts.scalable:
            # An SVG was read completely when it was opened.
            frames = self._facts.frames
        try:
            if frames:
                self._meet(tasks, self._decoded(tasks, frames), on_step)
        except PictureError as fault:
            return self._failed(_judged(fault, tight=self._tight))
        outputs = tuple(self._outputs[number] for number in range(len(self._job.wishes)))
        return Inspection(self._facts, "beyond_limits" if error else "whole", error, outputs)

    def _decoded(self, tasks: list[_Task], frames: int) -> Decoded:
        results = memory_budget.results([self._wanted(task) for task in tasks])
        return decode(
            self._opened,
            at_least=self._size_for(tasks),
            frames=frames,
            before=lambda needs: self._begin(needs + results),
        )

    def _begin(self, needs: int) -> None:
        self._tight = needs + _SLACK_BYTES > self._memory.room()
        self._memory.ask_leave(needs, self._tight)

    def _wanted(self, task: _Task) -> memory_budget.ExpectedResult:
        wanted = task.wish.resolved
        plan = make_plan(self._natural(wanted), wanted, limits=self._limits)
        size = (max(plan.size[0], plan.canvas[0]), max(plan.size[1], plan.canvas[1]))
        formats = (*task.wanted.order[:1], *task.wanted.equals)
        return memory_budget.ExpectedResult(size, formats, task.frames, tried=wanted.quality == "auto")

    def _failed(self, error: PictureError) -> Inspection:
        return Inspection.failed(error, self._facts, wishes=len(self._job.wishes))

    def _limit(self, frames: int) -> PictureError | None:
        return beyond_limits(self._facts, self._looked.structure, self._settings, frames=frames)

    def _task(self, number: int, wish: Wish) -> _Task | None:
        """Return the wish as a task; None if it has its output already, such as an error."""
        anim = wish.resolved.anim
        wanted = candidates(wish.acceptable, self._facts, anim=anim)
        if wanted.order[0] == UNTOUCHED:
            self._outputs[number] = self._untouched()
            return None
        moves = self._facts.animated and anim and wanted.order[0] in MOVING
        too_many = self._limit(self._facts.frames) if anim else None
        error: MirrorError | None = too_many if isinstance(too_many, TooManyFrames) else None
        frames = self._facts.frames if moves else 1
        error = error or self._limit(frames)
        try:
            self._scale_for(wish.resolved)
        except InvalidTransform as refusal:
            error = refusal
        if error is not None:
            self._outputs[number] = error
            return None
        return _Task(number, wish, wanted, frames)

    def _untouched(self) -> Output:
        """Return the output for a client that gets the SVG unchanged. It contains no bytes, because we make none."""
        if self._facts.beyond_bound:
            return UnsupportedFormat(BEYOND_BOUND)
        return Rendered(b"", UNTOUCHED, self._facts.width, self._facts.height)

    def _natural(self, wanted: Resolved) -> Size:
        width, height = self._scene.original
        return (height, width) if wanted.rotate in {90, 270} else (width, height)

    def _scale_for(self, wanted: Resolved) -> float:
        scale = make_plan(self._natural(wanted), wanted, limits=self._limits).scale
        # Borders to trim are given in pixels of the original.
        return 1.0 if wanted.trim else min(1.0, scale)

    def _size_for(self, tasks: list[_Task]) -> Size:
        if self._facts.scalable:
            return self._drawn_size(tasks)
        scale = max((self._scale_for(task.wish.resolved) for task in tasks), default=0.0)
        width, height = self._scene.original
        return max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale))

    def _drawn_size(self, tasks: list[_Task]) -> Size:
        """Return the size at which to draw an SVG: the wanted size, so that nothing is enlarged afterwards."""
        sizes = [self._drawn_for(task.wish.resolved) for task in tasks] or [(1, 1)]
        width, height = max(size[0] for size in sizes), max(size[1] for size in sizes)
        # A narrow cut of a long picture may be a small part of a huge drawing.
        factor = min(
            1.0,
            self._limits.max_side / max(width, height),
            math.sqrt(self._limits.max_pixels / (width * height)),
        )
        return max(1, math.floor(width * factor)), max(1, math.floor(height * factor))

    def _drawn_for(self, wanted: Resolved) -> Size:
        width, height = self._natural(wanted)
        plan = make_plan((width, height), wanted, limits=self._limits)
        if not wanted.trim:
            width, height = plan.size if plan.crop == (0, 0, width, height) else _scaled(plan)
        return (height, width) if wanted.rotate in {90, 270} else (width, height)

    def _meet(self, tasks: list[_Task], decoded: Decoded, on_step: OnStep) -> None:
        looks: dict[tuple[Resolved, int], Result] = {}
        made: dict[tuple[Resolved, int], Answers] = {}
        for task in tasks:
            on_step("encode", task.number)
            try:
                with guarded():
                    if task.look not in looks:
                        looks[task.look] = self._look(task, decoded)
                    if task.result not in made:
                        made[task.result] = self._answers(task, looks[task.look], decoded)
                    self._outputs[task.number] = self._output(task, made[task.result])
            except PictureError as error:
                self._outputs[task.number] = _judged(error, tight=self._tight)
            except InvalidTransform as error:
                self._outputs[task.number] = error

    def _look(self, task: _Task, decoded: Decoded) -> Result:
        frames = decoded.frames[: task.frames]
        wanted = settled(frames[0].picture, task.wish.resolved, self._scene)
        made = tuple((transformed(frame.picture, wanted, self._scene), frame.duration_ms) for frame in frames)
        shown = _without_idle_alpha(made)
        drawing, flat = False, None
        if len(shown) == 1:
            drawing, flat = drawing_and_flatness(shown[0][0], self._facts.format)
        return Result(shown, decoded.plays, decoded.exif, wanted, drawing, flat)

    def _answers(self, task: _Task, look: Result, decoded: Decoded) -> Answers:
        result = replace(look, wanted=task.wish.resolved)
        own = self._own(task, result, decoded)
        return Answers(result, own=own, source_format=self._facts.format, tight=self._tight)

    def _output(self, task: _Task, answers: Answers) -> Rendered:
        if task.wanted.order[0] != "json":
            return answers.to(task.wanted)
        result = answers.result
        file_size = Path(self._job.path).stat().st_size
        body = describe(result.picture, self._facts, result.exif, file_size_bytes=file_size)
        return Rendered(body, "json", *result.picture.size)

    def _own(self, task: _Task, result: Result, decoded: Decoded) -> bytes | None:
        """Return the original's own bytes if they show the same as the result and may replace it, else None."""
        facts = self._facts
        same = (
            decoded.as_in_file
            and task.frames == facts.frames
            and result.picture.size == (facts.width, facts.height)
            and task.wish.resolved.only_resizes
        )
        if not same:
            return None
        source, metadata = self._looked.source, task.wish.resolved.metadata
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        if metadata == "keep":
            return data
        # Only an encoder can write a selection of the metadata.
        return None if kept(result.exif, metadata) else bare(data, facts.format)


def _scaled(plan: ResizePlan) -> Size:
    """Return the size of the whole picture at which its cut has the wanted size."""
    return math.ceil(plan.natural[0] * plan.scale), math.ceil(plan.natural[1] * plan.scale)


def _without_idle_alpha(frames: tuple[tuple[Image.Image, int], ...]) -> tuple[tuple[Image.Image, int], ...]:
    """Return the frames without an alpha channel if it is opaque everywhere."""
    if any(picture.mode != "RGBA" or picture.getchannel("A").getextrema()[0] != 255 for picture, _ in frames):
        return frames
    return tuple((picture.convert("RGB"), duration) for picture, duration in frames)
