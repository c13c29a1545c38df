"""What tests stand on: a scripted origin in the test's loop and a real service in its own process."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from http_client import Client
from hypothesis import settings
from scripted_origin import ScriptedOrigin, running_in_thread
from scripted_wayback import ScriptedWayback
from service import Service, write_config

from proxy.images.pixels.libvips import find_libvips

# Machines are shared: how long an example takes says nothing. With CI set, Hypothesis takes its own profile, which
# tries the same examples each time; `--hypothesis-profile=deep` looks further.
settings.register_profile("local", deadline=None)
settings.register_profile("deep", deadline=None, max_examples=3000)
settings.register_profile("quick", deadline=None, max_examples=25)
if "CI" not in os.environ:
    settings.load_profile("local")


# Where the environment forbids bytecode, each of the thousand interpreters that the tests start would compile
# everything again, which takes as long as everything else it does.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_DATE = re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT|\d{10}\.\d+")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name tests alike in all processes that run them side by side: packed bytes and dates hold the time."""
    if isinstance(val, bytes) and not (val.isascii() and val.decode("ascii").isprintable()):
        return argname
    if isinstance(val, str) and _DATE.search(val):
        return _DATE.sub("date", val)
    return None


def _is_no_measurement(record: logging.LogRecord) -> bool:
    """In development mode asyncio warns of steps that took long; on a shared machine that says nothing."""
    return not str(record.msg).startswith("Executing %s took")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure no coverage of slow tests: the tracer doubles their time. The figure is a floor without them."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker("no_cover")


def pytest_sessionstart() -> None:
    """Quieten asyncio's clock; refuse to skip the tests of libvips in CI because the extra cannot be used."""
    logging.getLogger("asyncio").addFilter(_is_no_measurement)
    if "CI" in os.environ and (found := find_libvips()).installed and found.problem:
        pytest.exit(f"the vips extra is installed and cannot be used: {found.problem}", returncode=1)


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """Commands that run in the test's process quieten the log; the next test hears it again."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that only add to it."""
    with Service(write_config(tmp_path_factory.mktemp("service"))) as service:
        yield service
        assert "Traceback" not in service.log(), service.log()


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as origin:
        yield origin


@pytest.fixture(scope="module")
def archive() -> Iterator[ScriptedWayback]:
    """A Wayback Machine in a thread of its own: commands, and services of many tests, have other loops."""
    with running_in_thread(ScriptedWayback()) as archive:
        yield archive


@pytest.fixture
def wayback(archive: ScriptedWayback) -> ScriptedWayback:
    """The archive, empty and well."""
    archive.reset()
    return archive


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture
def client(http: aiohttp.ClientSession, shared_service: Service) -> Client:
    """A client of the shared service."""
    return Client(http, shared_service.base)


@pytest.fixture
def own_config(tmp_path: Path) -> Path:
    """The configuration of a service of the test's own."""
    return write_config(tmp_path)
