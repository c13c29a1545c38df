"""Landlock: which files may be read, and nothing else of the file system (landlock(7)). Runs in render processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import site
import stat
import struct
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

# The same numbers on every architecture: these calls are younger than the common table.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
"""All rights that a version knows, from that version on."""
_NET_RIGHTS, _NET_SINCE = 0b11, 4
"""To bind and to connect TCP sockets."""
_SCOPES, _SCOPES_SINCE = 0b11, 6
"""Abstract UNIX sockets and signals of other processes."""

_SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/null",
    "/dev/urandom",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
)


def restrict(libc: ctypes.CDLL, readable: Sequence[Path]) -> None:
    """Let this thread read below `readable` and what the interpreter needs, and no more.

    Raises:
        OSError: this kernel knows no Landlock, or it is switched off.
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
        for path in (*readable, *_of_the_interpreter(), *map(Path, _SYSTEM)):
            # What is not there need not be allowed.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                _allow(libc, ruleset, path)
        _call(libc, _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _of_the_interpreter() -> Iterator[Path]:
    """Yield where modules and libraries are loaded from; of a checkout, our package alone and not what lies beside."""
    package = Path(__file__).parents[2]
    yield package
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_paths()[name])
    for prefix in (sys.prefix, sys.base_prefix):
        yield Path(prefix, "lib")
        yield Path(prefix, "lib64")
    yield Path(site.getusersitepackages())
    yield from (Path(entry) for entry in sys.path if Path(entry) != package.parent)


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
