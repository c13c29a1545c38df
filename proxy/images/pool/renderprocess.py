"""One render process as the event loop sees it: starts it, gives it a job, reads its answer, kills it.

Every process has its own socket. Processes that share a pipe (as in pools of multiprocessing and pebble) can block each
other: one that is killed while it answers leaves half a message in the shared pipe, and the pool waits for ever. The
child is a new interpreter with an empty environment, no descriptor except its socket, and its own session, so that
Ctrl-C reaches only the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy.images import jobs
from proxy.images.formats import PictureFacts
from proxy.images.jobs import Inspection, WireError
from proxy.images.pool.conversation import Conversation, Message

START_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.005
END_TIMEOUT_SECONDS = 10.0
"""How long a process may take to exit after it has closed its socket. On a busy machine, releasing its memory takes
time."""
_OTHER_MESSAGES = 16
"""The most messages besides one for each wish. Without a limit, a process could keep the event loop busy."""
_SENT_BY_OTHERS = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGHUP})

_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
"""Some interpreters do not start without these variables. A decoder gets nothing else of the environment."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Receives the messages that a process sends before its answer: the facts, and how many bytes it is about to take.

    ask_leave: returns whether the process may take them; if not, it returns the job. note_tight: the process may not
    get the memory that it needs.
    """

    note_facts: Callable[[PictureFacts | None], None]
    ask_leave: Callable[[int], bool]
    note_tight: Callable[[], None]
    note_step: Callable[[jobs.Step, int], None]


class ProcessDied(Exception):
    """The process gave no answer and is gone.

    status: its exit status as in `subprocess`: negative for a signal, None if we had to kill it. overdue: it exceeded
    the time by the clock, perhaps on a busy machine. is_out_of_time: it used up its own processor time.
    garbled: it sent something that is not an answer.
    """

    def __init__(self, status: int | None, *, overdue: bool = False, garbled: bool = False) -> None:
        self.status = status
        self.overdue = overdue or status == -signal.SIGALRM
        self.is_out_of_time = status == -signal.SIGPROF
        self.garbled = garbled
        super().__init__(self._text())

    @property
    def is_unexplained(self) -> bool:
        """Whether this says nothing about the picture.

        This is so if somebody else killed the process (an operator, or the kernel for lack of memory), if it was not
        allowed to read the body, or if we do not know how it ended.
        """
        if self.status is None:
            return not self.garbled
        return self.status == jobs.SHUT_OUT or -self.status in _SENT_BY_OTHERS

    def _text(self) -> str:
        if self.overdue:
            return "no answer for a long while"
        if self.is_out_of_time:
            return "out of processor time"
        if self.status is None:
            return "no answer" if self.garbled else "closed its socket and did not end"
        return f"signal {-self.status}" if self.status < 0 else f"exit status {self.status}"


class RenderProcess:
    """A running render process. Whoever starts it must kill it.

    `exchange` sends a job and reads its answer. If `exchange` does not return (timeout, cancellation, death), the
    conversation is out of step, and the process must be killed.
    """

    def __init__(self, process: subprocess.Popen[bytes], conversation: Conversation) -> None:
        self._process = process
        self._conversation = conversation
        self.finished = False
        self.walls: tuple[str, ...] = ()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @classmethod
    async def start(
        cls, *, memory_max_bytes: int, decoder: str, readable: Sequence[str] = ("/",)
    ) -> RenderProcess:
        """Start a process and wait until it is ready. It may read files below `readable` and its libraries.

        Raises:
            OSError, ProcessDied: it cannot be started.
            TimeoutError: it does not become ready.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            _, conversation = await asyncio.get_running_loop().create_unix_connection(Conversation, sock=ours)
            # Await nothing from here to the `try`: a cancellation would leave a process behind.
            try:
                process = _launch(theirs.fileno(), str(memory_max_bytes), decoder, *readable)
            except BaseException:
                conversation.close()
                raise
        started = cls(process, conversation)
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                ready, _ = await started._heard_out(lambda _: [])
            started.walls = tuple(map(str, ready.get(jobs.WALLS, ())))
        except BaseException:
            await started.kill()
            raise
        return started

    async def exchange(self, header: Message, listener: Listener) -> Inspection | None:
        """Give the process a job and return its answer, or None if it was refused the memory for the job.

        Raises:
            ProcessDied: it ended without an answer.
        """
        left = len(header["wishes"]) + _OTHER_MESSAGES

        def sizes_of(message: Message) -> list[int] | None:
            nonlocal left
            left -= 1
            if "verdict" in message:
                return jobs.body_sizes(message)
            if left < 0:
                raise WireError("it sends too many messages")
            return None if self._heard(message, listener) else []

        self._conversation.say(header)
        answer, bodies = await self._heard_out(sizes_of)
        if "verdict" not in answer:
            return None
        self.finished = bool(answer.get("finished"))
        try:
            return _inspection_of(answer, bodies, wishes=len(header["wishes"]))
        except Exception as error:
            # A process that a picture has taken over may send anything, also numbers and depths beyond Python's.
            raise await self._death(error) from error

    def _heard(self, message: Message, listener: Listener) -> bool:
        """Pass a message before the answer to the listener; return whether the process continues with the job."""
        if jobs.TIGHT in message:
            listener.note_tight()
            return True
        if jobs.STEP in message:
            listener.note_step(*jobs.step_from_wire(message))
            return True
        if jobs.NEEDS not in message:
            listener.note_facts(jobs.facts_from_wire(message))
            return True
        may = listener.ask_leave(jobs.needs_from_wire(message))
        self._conversation.say({jobs.LEAVE: may})
        return may

    async def _heard_out(
        self, sizes_of: Callable[[Message], list[int] | None]
    ) -> tuple[Message, list[bytes]]:
        try:
            return await self._conversation.expect(sizes_of)
        except Exception as error:
            raise await self._death(error) from error

    async def _death(self, error: Exception) -> ProcessDied:
        """Return the reason for the missing answer. The process is gone afterwards."""
        if not isinstance(error, OSError):
            await self.kill()
            return ProcessDied(None, garbled=True)
        with contextlib.suppress(TimeoutError):
            # The socket closes before the kernel knows how the process ended.
            async with asyncio.timeout(END_TIMEOUT_SECONDS):
                await self._ended()
        status = self._process.poll()
        await self.kill()
        return ProcessDied(status)

    async def kill(self) -> None:
        """End the process immediately and wait until it and its memory are gone."""
        self._conversation.close()
        if self._process.poll() is None:
            self._process.kill()
        await self._ended()

    async def _ended(self) -> None:
        # Poll, because there is no event to wait for: asyncio's child watchers differ between loops and need threads.
        while self._process.poll() is None:  # noqa: ASYNC110 - see above
            await asyncio.sleep(_POLL_SECONDS)


def _inspection_of(answer: Message, bodies: list[bytes], *, wishes: int) -> Inspection:
    inspection = jobs.inspection_from_wire(answer, bodies)
    if len(inspection.outputs) != wishes:
        raise WireError("it answers other wishes")
    return inspection


def _launch(descriptor: int, *arguments: str) -> subprocess.Popen[bytes]:
    # Starting takes a millisecond (vfork). It happens on the loop's thread, because on Linux the child is told to die
    # with the thread that started it.
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", "proxy.images.pool.renderer", str(descriptor), *arguments],
        pass_fds=(descriptor,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=_environment(),
        start_new_session=True,
    )


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path),  # noqa: PTH100 - keeps ".."
        "PYTHONHASHSEED": "0",
        "LC_ALL": "C.UTF-8",
        # One malloc arena: each further one would take 64 MiB of the limited address space.
        "MALLOC_ARENA_MAX": "1",
        # Memory stays for the next picture. The process itself releases it (`renderer`).
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
        # One thread for libvips too, because the processes run in parallel.
        "VIPS_CONCURRENCY": "1",
    }
