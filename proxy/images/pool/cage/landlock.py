"""Landlock: permits reading certain files, and nothing else in the file system (landlock(7)). Runs in render
processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

# These calls are newer than the common table, so their numbers are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
"""All rights that exist in a version, with the first such version."""
_NET_RIGHTS, _NET_SINCE = 0b11, 4
"""The rights to bind and to connect TCP sockets."""
_SCOPES, _SCOPES_SINCE = 0b11, 6
"""The rights to abstract UNIX sockets and to signals for other processes."""

_SYSTEM = (
    "/nix/store",
    "/gnu/store",
    "/etc/fonts",
    "/usr/share/fonts",
    "/usr/share/fontconfig",
    "/usr/share/X11/fonts",
    "/usr/local/share/fonts",
    "/var/cache/fontconfig",
    "/etc/ld.so.cache",
    "/dev/null",
    "/dev/urandom",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu/online",
)
_LATE = frozenset(
    {"PIL", "resvg_py", "pyvips", "pyvips_binary", "_libvips", "cffi", "_cffi_backend", "pycparser"}
)
"""Modules that may be loaded after the cage is closed."""


def restrict(libc: ctypes.CDLL, readable: Sequence[Path]) -> None:
    """Restrict this thread to reading below `readable` and the files that the interpreter needs.

    Raises:
        OSError: the kernel does not support Landlock, or it is switched off.
    """
    version = _call(libc, _CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    rights = max(bits for since, bits in _FILE_RIGHTS.items() if since <= version)
    attributes = struct.pack(
        "=QQQ",
        rights,
        _NET_RIGHTS if version >= _NET_SINCE else 0,
        _SCOPES if version >= _SCOPES_SINCE else 0,
    )
    ruleset = _call(libc, _CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in dict.fromkeys((*readable, *_of_the_interpreter(), *map(Path, _SYSTEM))):
            # Paths that do not exist need no rule.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                _allow(libc, ruleset, path)
        _call(libc, _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _of_the_interpreter() -> Iterator[Path]:
    """Yield the places from which modules and libraries are loaded.

    For a folder that is only in `sys.path`, such as the working folder, these are our modules alone, not its other
    files.
    """
    yield Path(__file__).parents[3]
    paths = sysconfig.get_paths()
    known = {Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    entries = {Path(entry) for entry in sys.path}
    known |= {entry for entry in entries if entry.name in {"site-packages", "dist-packages", "lib-dynload"}}
    yield from known
    for entry in entries - known:
        yield from _modules_below(entry)
    yield from map(Path, filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")))
    yield from _library_folders()


def _modules_below(entry: Path) -> Iterator[Path]:
    names = _LATE | {name.partition(".")[0] for name in sys.modules}
    with contextlib.suppress(OSError):
        # Wheels store their libraries in "NAME.libs".
        yield from (
            path for path in entry.iterdir() if path.name.partition(".")[0] in names or path.suffix == ".libs"
        )


def _library_folders() -> Iterator[Path]:
    """Yield the folders of the libraries loaded so far: the system's and the interpreter's."""
    with contextlib.suppress(OSError):
        for line in (
            Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        ):
            # proc_pid_maps(5): the sixth field is the path.
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and ".so" in fields[5]:
                yield Path(fields[5]).parent


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        rule = struct.pack("=Qi", _READ_FILE | (_READ_DIR if folder else 0), descriptor)
        _call(libc, _ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _call(libc: ctypes.CDLL, number: int, *arguments: int | bytes | None) -> int:
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
