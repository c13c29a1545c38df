"""Runs N worker processes on one listening socket. The parent is blocking; each worker runs one event loop.

We do not use gunicorn, because its SIGHUP replaces workers. Our workers must reload without dropping a request.
Render processes and limits are divided by the number of workers, which only the parent knows.

On Linux, the parent loads the web code, and workers are forks of it. A worker, also one that replaces another, starts
without loading that again, and all of them share its memory. The parent starts no thread and no event loop, because a
fork would lose them. On other systems a fork may break the system's libraries, so each worker is a new interpreter
there.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from cache.base.layout import prepare
from proxy.app import WorkerPlace, make_policy, modes_of
from proxy.config import Config, ConfigError
from proxy.config.file import keep_restart_keys, load, secret_texts
from proxy.observe.folder import shared_folder
from proxy.observe.logs import set_up
from proxy.observe.otlp import otlp_problem
from proxy.observe.systemd import Outside
from proxy.process import release_signals, signals_waiting
from proxy.web.application import Pulse, Start, run
from proxy.web.connections.accepting import GONE, OpenConnections
from proxy.web.connections.listening import bind, bound_sending

log = logging.getLogger(__name__)

START_SECONDS = 60.0

TIDYING_SECONDS = 3.0
"""Extra time for a shutdown in which requests have used all of `server.shutdown_timeout`."""

SIGNS_OF_LIFE = 4
"""How often the service says that it lives in the time after which it counts as dead."""

RESTART_PAUSE_SECONDS = 1.0
"""Pause between the death of a worker and the start of its successor, so that a failing start does not spin."""

_FORKS = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Serving:
    """What to serve. Picklable, so that every worker can read the configuration again by itself."""

    config_path: str | None
    host: str | None = None
    port: int | None = None
    workers: int | None = None

    def read(self) -> Config:
        """Return the configuration, overridden by the options of the command line.

        Raises:
            ConfigError: the configuration is invalid; the error lists every problem.
        """
        config = load(self.config_path, os.environ).config
        given = {"host": self.host, "port": self.port, "workers": self.workers}
        update = {key: value for key, value in given.items() if value is not None}
        return config.model_copy(update={"server": config.server.model_copy(update=update)})


@dataclass(frozen=True, slots=True)
class Door:
    """Where connections come in. counts: open connections of each worker; None for a single worker.

    turned: when the event loop of each worker turned last, on the monotonic clock, and 0 before it turned; None when
    nobody watches. watchdog_seconds: how long a loop may stand still.
    parent: a pipe whose second end only the parent keeps, so that the first one can be read when the parent has ended;
    None for workers that are not forked.
    """

    listener: socket.socket
    counts: MutableSequence[int] | None = None
    turned: MutableSequence[float] | None = None
    watchdog_seconds: float | None = None
    parent: tuple[int, int] | None = None


def serve(serving: Serving, config: Config, outside: Outside) -> int:
    """Run the service until a signal ends it. Return the exit code: 2 when a worker could not start, else 0.

    Raises:
        CacheError, ConfigError, ListenError, OSError: the address, the stores or the manifest cannot be used.
    """
    _raise_descriptor_limit()
    _require_startable(config)
    listener = outside.listener or bind(config)
    bound_sending(listener, config.server.write_timeout)
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if config.server.workers == 1:
        door = Door(listener, watchdog_seconds=outside.manager.watchdog_seconds)
        told = Told(lambda: outside.ready(address), outside.ending, outside.alive)
        run_worker(serving, config, door, WorkerPlace(), told)
        return 0
    with shared_folder():
        if _FORKS:
            _loop_factory()  # loads its library
            # Garbage collections of workers do not write into the memory that they share.
            gc.collect()
            gc.freeze()
        return _Supervisor(serving, config, listener, outside).run(address)


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker tells the process above it: that it listens, that it ends, that its event loop turns."""

    ready: Callable[[], None]
    ending: Callable[[], None]
    turning: Callable[[], None]


def run_worker(serving: Serving, config: Config, door: Door, place: WorkerPlace, told: Told) -> None:
    """Serve in this process until a signal arrives or the parent ends."""
    connections = OpenConnections(door.counts, place.worker) if door.counts is not None else None

    def ending() -> None:
        told.ending()
        _end_after(config.server.shutdown_timeout + TIDYING_SECONDS)

    pulse = Pulse(door.watchdog_seconds / SIGNS_OF_LIFE, told.turning) if door.watchdog_seconds else None

    async def main() -> None:
        _end_with_parent(door)
        start = Start(config, serving.read, place, told.ready, ending, connections, pulse)
        await run(start, door.listener)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def _end_after(seconds: float) -> None:
    """End this process after `seconds` at the latest. A thread that waits for a dead disk would keep it alive."""

    def end() -> None:
        log.error("something hangs; the process ends without waiting for it")
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _require_startable(config: Config) -> None:
    # Report a problem that would make every worker fail once, before any worker starts.
    make_policy(config)
    if config.telemetry.otlp and (problem := otlp_problem(os.environ)):
        raise ConfigError([problem])
    prepare(config.store.dir, modes=modes_of(config))


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - does not exist everywhere
    except ImportError:
        return None
    return uvloop.new_event_loop


def _end_with_parent(door: Door) -> None:
    above = multiprocessing.parent_process()
    if above is None:
        return
    # Forks inherit the sentinels of workers before them, which would therefore outlive their parent.
    sentinel = door.parent[0] if door.parent is not None else above.sentinel
    loop = asyncio.get_running_loop()

    def parent_died() -> None:
        loop.remove_reader(sentinel)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(sentinel, parent_died)


def _worker_main(serving: Serving, config: Config, door: Door, place: WorkerPlace, ready: Event) -> None:
    if door.parent is not None:
        os.close(door.parent[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the group; the parent passes on SIGTERM
    set_up(level=config.log.level, form=config.log.format, secrets=secret_texts(config))

    def turning() -> None:
        if door.turned is not None:
            door.turned[place.worker] = time.monotonic()

    run_worker(serving, config, door, place, Told(ready.set, lambda: None, turning))


class _Supervisor:
    """Starts workers, replaces those that die, passes signals on, and ends on SIGTERM or SIGINT.

    Under a watchdog, a worker whose event loop stands still is killed and replaced, so the others go on serving.
    """

    def __init__(self, serving: Serving, config: Config, listener: socket.socket, outside: Outside) -> None:
        workers = config.server.workers
        shared_id = WorkerPlace().instance_id
        self._serving = serving
        self._config = config
        self._places = [WorkerPlace(shared_id, number, workers) for number in range(workers)]
        self._context = (
            multiprocessing.get_context("fork") if _FORKS else multiprocessing.get_context("spawn")
        )
        self._counts = self._context.RawArray("i", [GONE] * workers)
        self._turned = self._context.RawArray("d", [0.0] * workers)
        self._outside = outside
        self._watchdog_seconds = outside.manager.watchdog_seconds
        self._said_alive = 0.0
        parent = os.pipe() if _FORKS else None
        self._door = Door(listener, self._counts, self._turned, self._watchdog_seconds, parent)
        self._processes: dict[int, BaseProcess] = {}
        # A worker that starts late still needs its event, so the parent keeps a reference to it.
        self._ready: dict[int, Event] = {}
        self._stopping = False
        self._reloading = False

    def run(self, address: str) -> int:
        """Supervise until SIGTERM or SIGINT; return the exit code.

        Raises:
            OSError: no worker can be started, for want of memory or processes. Those that run were ended.
        """
        try:
            return self._run(address)
        except BaseException:
            # They would wait for the end of this process, and this process for theirs.
            self._end()
            raise

    def _run(self, address: str) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._reload_soon)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        release_signals()
        for place in self._places:
            self._start(place)
        if not self._wait_ready():
            self._end()
            return 0 if self._stopping else 2
        self._outside.ready(address)
        while not self._stopping:
            self._replace_dead()
            self._reload()
            self._watch(time.monotonic())
        self._outside.ending()
        return self._end()

    def _start(self, place: WorkerPlace) -> None:
        ready = self._ready[place.worker] = self._context.Event()
        self._turned[place.worker] = 0.0
        process = self._context.Process(
            target=_worker_main,
            args=(self._serving, self._config, self._door, place, ready),
            name=f"worker-{place.worker}",
        )
        with (
            signals_waiting()
        ):  # the worker inherits the mask and releases signals when its handlers are installed
            process.start()
        self._processes[place.worker] = process

    def _wait_ready(self) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while not self._stopping and time.monotonic() < deadline:
            if all(event.is_set() for event in self._ready.values()):
                return True
            if any(not process.is_alive() for process in self._processes.values()):
                return False
            time.sleep(0.05)
        return False

    def _replace_dead(self) -> None:
        sentinels = [process.sentinel for process in self._processes.values()]
        # A signal does not interrupt the wait (PEP 475), so the timeout is short.
        multiprocessing.connection.wait(sentinels, timeout=0.25)
        for number, process in list(self._processes.items()):
            if process.is_alive() or self._stopping:
                continue
            log.error("worker %d ended with code %s; starting another", number, process.exitcode)
            _forget_metrics(process.pid)
            # Other workers no longer leave connections to the dead one.
            self._counts[number] = GONE
            time.sleep(RESTART_PAUSE_SECONDS)
            self._start(self._places[number])

    def _watch(self, now: float) -> None:
        """Kill workers that stand still; say that the service lives. A worker that still starts is not judged."""
        if self._watchdog_seconds is None:
            return
        for number, turned in enumerate(self._turned):
            if turned and now - turned > self._watchdog_seconds:
                log.error("the event loop of worker %d stood still for %.0f s", number, now - turned)
                self._turned[number] = 0.0
                self._processes[number].kill()
        if now - self._said_alive >= self._watchdog_seconds / SIGNS_OF_LIFE:
            self._said_alive = now
            self._outside.alive()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _reload_soon(self, _number: int, _frame: FrameType | None) -> None:
        self._reloading = True

    def _reload(self) -> None:
        """Make every worker read the configuration again, and start later workers with it."""
        if not self._reloading:
            return
        self._reloading = False
        self._pass_on(signal.SIGHUP)
        with contextlib.suppress(ConfigError):  # the workers log what is wrong with it
            self._config = keep_restart_keys(self._config, self._serving.read())

    def _pass_on(self, number: int) -> None:
        for process in self._processes.values():
            if process.pid and process.is_alive():
                os.kill(process.pid, number)

    def _end(self) -> int:
        self._pass_on(signal.SIGTERM)
        # Workers bound their own shutdown, so a worker still alive after this time is stuck.
        deadline = time.monotonic() + self._config.server.shutdown_timeout + 2 * TIDYING_SECONDS
        for process in self._processes.values():
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
        return 0


def _forget_metrics(pid: int | None) -> None:
    if pid is not None:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]  # untyped there
