"""Each record becomes one line, in text and in JSON, whichever library wrote it and whatever a client put into it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proxy.observe import access
from proxy.observe.logs import Form, set_up

KEY = "a signing key of the owner"


Written = Callable[[], str]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    """Return the text written to standard error so far; restore the test's own handlers afterwards."""
    monkeypatch.delenv("IMGMIRROR_LOG", raising=False)
    root = logging.getLogger()
    handlers, level, seen = root.handlers[:], root.level, []

    def text() -> str:
        seen.append(capsys.readouterr().err)
        return "".join(seen)

    yield text
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("form", ["text", "json"])
def test_message_and_fields_of_a_client_stay_on_one_line(written: Written, form: Form) -> None:
    """A newline in any part of a record forges no second line, and a key of the configuration is not shown."""
    set_up(form=form, secrets=[KEY])
    fields = {"address": f"/a\r\n2026 INFO forged {KEY}", "status": 404}
    logging.getLogger("x").info("met %s", f"b\nc {KEY}", extra={"fields": fields})
    lines = written().splitlines()
    assert len(lines) == 1
    assert KEY not in lines[0]
    assert "404" in lines[0]


def test_traceback_is_indented_in_text_so_that_nothing_in_it_looks_like_a_record(written: Written) -> None:
    """Text that a client chose may be part of an exception."""
    set_up()
    try:
        int(f"bad\n2026-01-01T00:00:00Z INFO x: forged?sig={KEY}")
    except ValueError:
        logging.getLogger("x").exception("failed")
    first, *rest = written().splitlines()
    assert first.endswith("failed")
    assert all(line.startswith("    ") for line in rest)


def test_json_record_has_its_fields_as_keys(written: Written) -> None:
    """Fields cannot replace the time, level and logger of a record."""
    set_up(form="json")
    logging.getLogger("x").warning("m", extra={"fields": {"code": "c", "level": "forged"}})
    record = json.loads(written())
    assert (record["level"], record["logger"], record["message"], record["code"]) == (
        "warning",
        "x",
        "m",
        "c",
    )


def test_level_of_the_configuration_holds_and_the_access_log_has_none(written: Written) -> None:
    """With a `log.level` of `error`, a failed request writes no line, but the access log does."""
    set_up(level="error")
    logging.getLogger("x").warning("quiet")
    access.write("combined", answered())
    assert len(written().splitlines()) == 1


def answered(**changes: Any) -> access.Answered:
    known: dict[str, object] = {
        "at": 0.0, "client": "192.0.2.1", "method": "GET", "target": "/a", "version": "HTTP/1.1", "status": 200,
        "bytes": 3, "seconds": 0.5, "referer": "", "user_agent": "", "request_id": "r", "cache": "imgmirror; hit",
    }  # fmt: skip
    return access.Answered(**(known | changes))  # type: ignore[arg-type]


def test_combined_line_is_the_one_of_apache_and_nginx(written: Written) -> None:
    """Log analysers can read it unchanged: there is no time and no level before it."""
    set_up()
    access.write("combined", answered(referer="http://blog.example/", user_agent='Fake" 200 "x'))
    assert written() == (
        '192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] "GET /a HTTP/1.1" 200 3 "http://blog.example/" '
        '"Fake\\x22 200 \\x22x"\n'
    )


@pytest.mark.parametrize("form", ["combined", "json"])
def test_access_line_hides_signatures_and_forges_nothing(written: Written, form: access.AccessForm) -> None:
    """This covers the requested address and the referer."""
    set_up()
    hostile = answered(
        target="/image/sig=SECRETSECRET/http://h/a",
        referer="http://b/?token=SECRETSECRET",
        user_agent="a\n1.2.3.4 -",
    )
    access.write(form, hostile)
    assert len(written().splitlines()) == 1
    assert "SECRET" not in written()
    assert "http://h/a" in written()
