"""One listening socket, N worker processes on it. Synchronous parent, one event loop in each worker.

Why not gunicorn: its SIGHUP replaces workers, ours must reload in every worker without dropping a request, and
render processes, metrics and locks are divided by the number of workers, which only the parent knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from types import FrameType

from proxy.app import Place
from proxy.config import Config
from proxy.configfile import load

log = logging.getLogger(__name__)

RESTART_PAUSE_SECONDS = 1.0
"""Between the death of a worker and its successor, so that one that cannot start does not spin."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What to serve; picklable, so that every worker can read the configuration again by itself."""

    config_path: str | None
    host: str | None = None
    port: int | None = None
    workers: int | None = None

    def read(self) -> Config:
        """Return the configuration with the command line's words over it.

        Raises:
            ConfigError: with every problem.
        """
        config = load(self.config_path, os.environ).config
        given = {"host": self.host, "port": self.port, "workers": self.workers}
        update = {key: value for key, value in given.items() if value is not None}
        return config.model_copy(update={"server": config.server.model_copy(update=update)})


def bind(config: Config) -> socket.socket:
    """Return the listening socket.

    Raises:
        OSError: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in config.server.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((config.server.host.strip("[]"), config.server.port))
    listener.listen(1024)
    listener.setblocking(False)
    return listener


def serve(serving: Serving, *, announce: Callable[[str], None]) -> int:
    """Run the service until a signal ends it; return the exit code."""
    config = serving.read()
    listener = bind(config)
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if config.server.workers == 1:
        run_worker(serving, listener, Place(), announce=lambda: announce(address))
        return 0
    with _metrics_folder():
        return _Supervisor(serving, listener, config.server.workers).run(lambda: announce(address))


def run_worker(
    serving: Serving, listener: socket.socket, place: Place, *, announce: Callable[[], None] = lambda: None
) -> None:
    """Serve in this process until a signal, or the end of the parent, ends it."""
    from proxy.web.application import make_app, run  # noqa: PLC0415 - after PROMETHEUS_MULTIPROC_DIR is set

    async def main() -> None:
        _end_with_parent()
        app = make_app(serving.read(), place=place)
        await run(app, listener, read=serving.read, ready=announce)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - does not exist everywhere
    except ImportError:
        return None
    return uvloop.new_event_loop


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    loop = asyncio.get_running_loop()

    def parent_died() -> None:
        loop.remove_reader(parent.sentinel)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(parent.sentinel, parent_died)


@contextlib.contextmanager
def _metrics_folder() -> Iterator[None]:
    folder = tempfile.mkdtemp(prefix="imgmirror-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        yield
    finally:
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]
        shutil.rmtree(folder, ignore_errors=True)


def _worker_main(serving: Serving, listener: socket.socket, place: Place, ready: object) -> None:
    from proxy.observe.logs import set_up  # noqa: PLC0415

    set_up()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the group; the parent passes on SIGTERM
    run_worker(serving, listener, place, announce=getattr(ready, "set"))  # noqa: B009 - Event has no picklable type


class _Supervisor:
    """Start workers, replace those that die, pass signals on, and end when told to."""

    def __init__(self, serving: Serving, listener: socket.socket, workers: int) -> None:
        self._serving = serving
        self._listener = listener
        self._places = [Place(worker=number, workers=workers) for number in range(workers)]
        shared_id = self._places[0].instance_id
        self._places = [Place(shared_id, place.worker, place.workers) for place in self._places]
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[int, BaseProcess] = {}
        self._stopping = False

    def run(self, announce: Callable[[], None]) -> int:
        """Supervise until SIGTERM or SIGINT; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._pass_on)
        events = [self._start(place) for place in self._places]
        if self._wait_ready(events):
            announce()
        while not self._stopping:
            self._replace_dead()
        return self._end()

    def _start(self, place: Place) -> object:
        ready = self._context.Event()
        process = self._context.Process(
            target=_worker_main,
            args=(self._serving, self._listener, place, ready),
            name=f"worker-{place.worker}",
        )
        process.start()
        self._processes[place.worker] = process
        return ready

    def _wait_ready(self, events: list[object]) -> bool:
        deadline = time.monotonic() + 60.0
        while not self._stopping and time.monotonic() < deadline:
            if all(getattr(event, "is_set")() for event in events):  # noqa: B009
                return True
            if any(not process.is_alive() for process in self._processes.values()):
                return False
            time.sleep(0.05)
        return False

    def _replace_dead(self) -> None:
        sentinels = [process.sentinel for process in self._processes.values()]
        multiprocessing.connection.wait(sentinels, timeout=0.5)
        for number, process in list(self._processes.items()):
            if process.is_alive() or self._stopping:
                continue
            log.error("worker %d ended with code %s; starting another", number, process.exitcode)
            _forget_metrics(process.pid)
            time.sleep(RESTART_PAUSE_SECONDS)
            self._start(self._places[number])

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        for process in self._processes.values():
            if process.pid and process.is_alive():
                os.kill(process.pid, number)

    def _end(self) -> int:
        self._pass_on(signal.SIGTERM, None)
        # Workers bound their own shutdown; what is left after that long is stuck.
        deadline = time.monotonic() + self._serving.read().server.shutdown_timeout + 15.0
        for process in self._processes.values():
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
        return 0


def _forget_metrics(pid: int | None) -> None:
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - see run_worker

    if pid is not None:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]
