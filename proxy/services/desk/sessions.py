"""Sessions of the desk: who has signed in with the administrator's token, in any worker. Blocking; `now` is given.

A session is an opaque random id that only the browser holds. The file holds an HMAC of the id with the token as its
key. Nobody can sign in with what the file holds or test guesses of the token with it, and a change of the token ends
every session.

    good   sign_in("right", client=1, now=t)  ->  "kXw3…"; is_open("kXw3…", now=t + 60)
    bad    sign_in("wrong", client=1, now=t)  ->  WrongToken; the sixth within a minute -> TooManyGuesses
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from pathlib import Path

from proxy.errors import RateLimited, Unauthorized
from proxy.services.desk.shared_files import SharedFile

SESSION_SECONDS = 12 * 3600.0
GUESS_SECONDS = 60.0
GUESSES_OF_A_CLIENT = 5
GUESSES_OF_ALL = 50
"""How many wrong tokens are compared in `GUESS_SECONDS`, of one client and of all clients."""

MAX_SESSIONS = 64
"""The most sessions at once. A further sign-in ends the oldest one."""


class WrongToken(Unauthorized):
    """The text in the form is not the token."""

    public_message = "This is not the token of this service."


class TooManyGuesses(RateLimited):
    """Wrong tokens came too fast. The given token was not compared."""

    public_message = "Too many wrong tokens; wait a minute and try again."


class Sessions:
    """The sessions of one service. Every method reads the files anew, because other workers change them."""

    def __init__(self, folder: Path) -> None:
        self._sessions = SharedFile(folder, "sessions")
        self._guesses = SharedFile(folder, "guesses")

    def sign_in(self, given: str, *, token: str, client: int, before: str, now: float) -> str:
        """Return the id of a new session, and end the session `before` of the same browser.

        Raises:
            WrongToken: `given` is not the token, or there is none.
            TooManyGuesses: too many wrong tokens came within a minute.
            OSError: the folder cannot be written.
        """
        with self._guesses.changing() as guesses:
            recent = _recent(guesses, now=now)
            guesses.clear()
            guesses["failed"] = recent
            _refuse_more(recent, client, now=now)
            is_right = bool(token) and hmac.compare_digest(_bytes(given), _bytes(token))
            if not is_right:
                # The count is written when the block ends without an error.
                recent.append([client, now])
        if not is_right:
            raise WrongToken
        session = new_session_id()
        with self._sessions.changing() as ends:
            ends.pop(_digest(before, token), None)
            ends[_digest(session, token)] = now + SESSION_SECONDS
            _forget(ends, now=now)
        return session

    def is_open(self, session: str, *, token: str, now: float) -> bool:
        """Return whether `session` has begun under this token and has neither ended nor expired."""
        if not session or not token:
            return False
        end = self._sessions.read().get(_digest(session, token))
        # A clock that was put back must not make a session longer.
        return isinstance(end, int | float) and now < end <= now + SESSION_SECONDS

    def sign_out(self, session: str, *, token: str, now: float) -> None:
        """End a session in every worker.

        Raises:
            OSError: the folder cannot be written.
        """
        with self._sessions.changing() as ends:
            ends.pop(_digest(session, token), None)
            _forget(ends, now=now)


def new_session_id() -> str:
    """Return 256 random bits as text for a cookie."""
    return secrets.token_urlsafe(32)


def form_token(session: str) -> str:
    """Return the text that forms of a session carry, so that no other site can send them (CSRF)."""
    return hmac.new(session.encode("utf-8", "replace"), b"form of the desk", hashlib.sha256).hexdigest()


def is_form_token(given: str, session: str) -> bool:
    """Return whether `given` belongs to `session`, in constant time."""
    return bool(session) and hmac.compare_digest(_bytes(given), _bytes(form_token(session)))


def _refuse_more(recent: list[list[float]], client: int, *, now: float) -> None:
    of_client = [at for who, at in recent if who == client]
    for times, most in ((of_client, GUESSES_OF_A_CLIENT), ([at for _, at in recent], GUESSES_OF_ALL)):
        if len(times) >= most:
            error = TooManyGuesses()
            left = min(sorted(times)[-most] - now, 0.0) + GUESS_SECONDS
            error.retry_after_seconds = max(1, math.ceil(left))
            raise error


def _recent(guesses: dict[str, object], *, now: float) -> list[list[float]]:
    failed = guesses.get("failed")
    pairs = failed if isinstance(failed, list) else []
    # `now` was read before the wait for the lock, so guesses made meanwhile are later than `now`. They count too.
    # Otherwise, many guesses at once would each forget the others.
    return [pair for pair in pairs if _is_pair(pair) and abs(now - pair[1]) < GUESS_SECONDS]


def _is_pair(item: object) -> bool:
    return isinstance(item, list) and len(item) == 2 and all(isinstance(part, int | float) for part in item)


def _forget(ends: dict[str, float], *, now: float) -> None:
    """Remove expired and impossible sessions, and the oldest ones beyond the limit."""
    # A session from when the clock was wrong is never open, and would keep its place for ever.
    last = now + 2 * SESSION_SECONDS
    kept = sorted(
        (end, digest) for digest, end in ends.items() if isinstance(end, int | float) and now < end <= last
    )
    ends.clear()
    ends.update({digest: end for end, digest in kept[-MAX_SESSIONS:]})


def _digest(session: str, token: str) -> str:
    return hmac.new(_bytes(token), _bytes(session), hashlib.sha256).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
