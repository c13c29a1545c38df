"""Sends requests to a running peer: several clients, each with its own connection and one request at a time."""

from __future__ import annotations

import http.client
import io
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from PIL import Image

from peers import Running

TIMEOUT_SECONDS = 120.0
ACCEPT = "image/avif,image/webp,image/png,image/jpeg,*/*"


@dataclass(slots=True)
class Answers:
    """The result of a turn. bodies: by the number of the request, only if they were to be kept."""

    seconds: float = 0.0
    asked: int = 0
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    bodies: dict[int, bytes] = field(default_factory=dict)


def ask(
    running: Running, *, clients: int, questions: Callable[[int], str | None], keep: bool = False
) -> Answers:
    """Request `questions(0)`, `questions(1)`, … until it returns None; each is the path of an address."""
    answers = Answers()
    lock = threading.Lock()
    ended = threading.Event()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=TIMEOUT_SECONDS)
        while not ended.is_set():
            with lock:
                number, path = answers.asked, questions(answers.asked)
                if path is None:
                    ended.set()
                    break
                answers.asked += 1
            begun = time.perf_counter()
            status, body = _one(connection, path)
            seconds = time.perf_counter() - begun
            with lock:
                if status == 200:
                    answers.latencies.append(seconds)
                else:
                    answers.failures.append(f"{status} {body[:100].decode('utf-8', 'replace')} for {path}")
                if keep and status == 200:
                    answers.bodies[number] = body
        connection.close()

    begun = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.seconds = time.perf_counter() - begun
    return answers


def _one(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    try:
        connection.request("GET", path, headers={"Accept": ACCEPT})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return 0, repr(error).encode()


def in_whole_passes(
    paths: Callable[[int], str], *, pictures: int, seconds: float
) -> Callable[[int], str | None]:
    """Return questions that cycle through all pictures for at least `seconds`, and end with the last picture."""
    deadline = time.perf_counter() + seconds

    def question(number: int) -> str | None:
        over = number and number % pictures == 0 and time.perf_counter() >= deadline
        return None if over else paths(number)

    return question


def wrong_sizes(bodies: Sequence[bytes], *, output_format: str, box: tuple[int, int]) -> list[str]:
    """Return the faults of answers that should have `output_format` and fit `box`, touching two of its sides."""
    wrong = []
    for number, body in enumerate(bodies):
        with Image.open(io.BytesIO(body)) as picture:
            if (picture.format or "").lower() != output_format:
                wrong.append(f"picture {number} is {picture.format}, not {output_format}")
            left = [room - side for room, side in zip(box, picture.size, strict=True)]
            # Some peers round the longer side down.
            if min(left) not in (0, 1):
                wrong.append(f"picture {number} is {picture.width}x{picture.height}, does not fit {box}")
    return wrong
