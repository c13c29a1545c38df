"""The socket to a render process: frames cut at any byte, and a process that sends bytes without a question."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.images import jobs
from proxy.images.jobs import WireError
from proxy.images.pool.conversation import Conversation, Message

ANSWER = {"verdict": "whole", "outputs": [{"size": 5}, {"error": "x"}, {"size": 0}, {"size": 3}]}
SPOKEN = jobs.frame({"facts": 1}) + jobs.frame({"step": 2}) + jobs.frame(ANSWER) + b"firstand"
BODIES = [b"first", b"", b"and"]


class Heard:
    """Collects messages; the one with a verdict is the last."""

    def __init__(self) -> None:
        self.before: list[Message] = []

    def sizes_of(self, message: Message) -> list[int] | None:
        if "verdict" in message:
            return jobs.body_sizes(message)
        self.before.append(message)
        return None


class Open(asyncio.Transport):
    """A socket that is open."""

    def is_closing(self) -> bool:
        return False


@pytest.fixture
async def talk() -> AsyncIterator[tuple[Conversation, socket.socket]]:
    ours, theirs = socket.socketpair()
    _, conversation = await asyncio.get_running_loop().create_unix_connection(Conversation, sock=ours)
    yield conversation, theirs
    conversation.close()
    theirs.close()


@given(cuts=st.sets(st.integers(1, len(SPOKEN) - 1)))
def test_answer_is_the_same_however_it_is_cut(cuts: set[int]) -> None:
    async def spoken() -> None:
        conversation, heard = Conversation(), Heard()
        conversation.connection_made(Open())
        answer = conversation.expect(heard.sizes_of)
        ends = [*sorted(cuts), len(SPOKEN)]
        for start, end in zip([0, *ends], ends, strict=False):
            assert not answer.done()
            conversation.data_received(SPOKEN[start:end])
        assert answer.result() == (ANSWER, BODIES)
        assert heard.before == [{"facts": 1}, {"step": 2}]

    asyncio.run(spoken())


async def test_questions_get_their_answers_one_after_the_other(
    talk: tuple[Conversation, socket.socket],
) -> None:
    conversation, process = talk
    for number in range(3):
        conversation.say({"job": number})
        answer = conversation.expect(Heard().sizes_of)
        assert process.recv(100) == jobs.frame({"job": number})
        process.sendall(SPOKEN)
        assert await answer == (ANSWER, BODIES)


@pytest.mark.parametrize(
    "spoken",
    [
        (jobs.MAX_HEADER_BYTES + 1).to_bytes(jobs.LENGTH_BYTES, "big"),
        b"\0\0\0\4{no}",
        b"\0\0\0\2[]",
        jobs.frame({"verdict": "whole"}),
        jobs.frame({"verdict": "whole", "outputs": [{"size": -1}]}),
        jobs.frame({"verdict": "whole", "outputs": [{"size": jobs.MAX_BODIES_BYTES + 1}]}),
    ],
)
async def test_what_is_no_frame_ends_the_conversation(
    talk: tuple[Conversation, socket.socket], spoken: bytes
) -> None:
    conversation, process = talk
    answer = conversation.expect(Heard().sizes_of)
    process.sendall(spoken)
    with pytest.raises(WireError):
        await answer
    # Whoever asks on gets no answer of a process that is out of step.
    with pytest.raises(OSError, match="closed"):
        await conversation.expect(Heard().sizes_of)


async def test_what_is_said_out_of_turn_is_no_answer_to_the_next_question(
    talk: tuple[Conversation, socket.socket],
) -> None:
    conversation, process = talk
    answer = conversation.expect(Heard().sizes_of)
    process.sendall(SPOKEN + SPOKEN)
    assert await answer == (ANSWER, BODIES)
    with pytest.raises(WireError, match="without a question"):
        await conversation.expect(Heard().sizes_of)


async def test_process_that_speaks_without_being_asked_is_not_listened_to(
    talk: tuple[Conversation, socket.socket],
) -> None:
    """Otherwise it could fill the memory of the service."""
    conversation, process = talk
    process.setblocking(False)
    sent = 0
    for _ in range(100):
        await asyncio.sleep(0)
        try:
            sent += process.send(b"x" * 65_536)
        except BlockingIOError:
            break
    assert sent < 4 << 20
    with pytest.raises(WireError):
        await conversation.expect(Heard().sizes_of)


async def test_socket_that_closes_in_the_middle_of_an_answer_is_an_error(
    talk: tuple[Conversation, socket.socket],
) -> None:
    conversation, process = talk
    answer = conversation.expect(Heard().sizes_of)
    process.sendall(SPOKEN[:-1])
    process.close()
    with pytest.raises(OSError, match="closed"):
        await answer


async def test_bodies_of_an_answer_are_not_in_memory_twice() -> None:
    conversation, size, count = Conversation(), 1 << 20, 16
    conversation.connection_made(Open())
    answer = conversation.expect(Heard().sizes_of)
    body, header = bytes(size), jobs.frame({"verdict": "whole", "outputs": [{"size": size}] * count})
    tracemalloc.start()
    conversation.data_received(header)
    for _ in range(count):
        conversation.data_received(body)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [len(part) for part in answer.result()[1]] == [size] * count
    assert most < (count + 4) * size


async def test_error_of_whoever_listens_reaches_whoever_asked(
    talk: tuple[Conversation, socket.socket],
) -> None:
    conversation, process = talk

    def refuse(_message: Message) -> list[int] | None:
        raise WireError("without end")

    answer = conversation.expect(refuse)
    process.sendall(jobs.frame({"facts": 1}))
    with pytest.raises(WireError, match="without end"):
        await answer
