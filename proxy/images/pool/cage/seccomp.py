"""Seccomp: permits a list of system calls (seccomp(2), SECCOMP_SET_MODE_FILTER).

The list names permitted calls instead of forbidden ones, so new calls of later kernels are refused too. Refused calls
fail with ENOSYS, as on an older kernel, so that libc and the libraries use alternatives. Runs in render processes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* of linux/audit.h. Both are little-endian, which `_low_word` relies on."""

# linux/filter.h: classic BPF.
_LOAD, _AND, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
# struct seccomp_data: number, architecture, instruction pointer, six arguments of 64 bits.
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

_CLONE_THREAD = 0x10000
_TO_WRITE = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | getattr(os, "O_ASYNC", 0)
_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC = 0, 1, 2, 3, 1030
_EVERY_BIT = 0xFFFFFFFF
_TCGETS, _FIONREAD, _FIONBIO, _FIONCLEX, _FIOCLEX = 0x5401, 0x541B, 0x5421, 0x5450, 0x5451
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA = 15, 16, 0x53564D41


@dataclass(frozen=True, slots=True)
class SyscallRule:
    """A call is permitted if its argument, after masking, is one of `values`."""

    argument: int
    values: tuple[int, ...]
    mask: int = _EVERY_BIT


def rules() -> dict[str, SyscallRule]:
    """Return the calls that are permitted with certain arguments only; otherwise they fail with EPERM."""
    return {
        # Permit threads but not processes. clone3 passes its flags by pointer and is refused; libc falls back to clone.
        "clone": SyscallRule(0, (_CLONE_THREAD,), _CLONE_THREAD),
        "open": SyscallRule(1, (os.O_RDONLY,), _TO_WRITE),
        "openat": SyscallRule(2, (os.O_RDONLY,), _TO_WRITE),
        # Refuse F_SETOWN, F_SETOWN_EX and F_SETSIG, which make a descriptor signal any process, and F_SETFL with
        # O_ASYNC.
        "fcntl": SyscallRule(1, (_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC)),
        # Refuse FIOSETOWN, SIOCSPGRP and FIOASYNC, which do the same.
        "ioctl": SyscallRule(1, (_TCGETS, _FIONREAD, _FIONBIO, _FIONCLEX, _FIOCLEX)),
        "prctl": SyscallRule(0, (_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA)),
        "prlimit64": SyscallRule(0, (0,)),
        # abort(3) sends a signal to its own process, and the service reads how the process ended.
        "tgkill": SyscallRule(0, (os.getpid(),)),
    }


NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "access": 21, "brk": 12, "clock_getres": 229, "clock_gettime": 228, "clock_nanosleep": 230,
        "clone": 56, "close": 3, "dup": 32, "eventfd2": 290, "exit": 60, "exit_group": 231,
        "faccessat": 269, "faccessat2": 439, "fcntl": 72, "fstat": 5, "futex": 202, "get_robust_list": 274,
        "getcwd": 79, "getdents64": 217, "getegid": 108, "geteuid": 107, "getgid": 104, "getitimer": 36,
        "getpeername": 52, "getpid": 39, "getppid": 110, "getrandom": 318, "getrlimit": 97, "getrusage": 98,
        "getsockname": 51, "getsockopt": 55, "gettid": 186, "gettimeofday": 96, "getuid": 102, "ioctl": 16,
        "lseek": 8, "lstat": 6, "madvise": 28, "membarrier": 324, "mmap": 9, "mprotect": 10, "mremap": 25,
        "munmap": 11, "nanosleep": 35, "newfstatat": 262, "open": 2, "openat": 257, "pipe2": 293, "poll": 7,
        "ppoll": 271, "prctl": 157, "pread64": 17, "preadv": 295, "prlimit64": 302, "pselect6": 270,
        "read": 0, "readlink": 89, "readlinkat": 267, "readv": 19, "recvfrom": 45, "recvmsg": 47,
        "restart_syscall": 219, "rseq": 334, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15,
        "sched_getaffinity": 204, "sched_getparam": 143, "sched_getscheduler": 145, "sched_yield": 24,
        "select": 23, "sendmsg": 46, "sendto": 44, "set_robust_list": 273, "set_tid_address": 218,
        "setitimer": 38, "shutdown": 48, "sigaltstack": 131, "stat": 4, "statx": 332, "sysinfo": 99,
        "tgkill": 234, "time": 201, "times": 100, "uname": 63, "write": 1, "writev": 20,
    },
    "aarch64": {
        "brk": 214, "clock_getres": 114, "clock_gettime": 113, "clock_nanosleep": 115, "clone": 220,
        "close": 57, "dup": 23, "eventfd2": 19, "exit": 93, "exit_group": 94, "faccessat": 48,
        "faccessat2": 439, "fcntl": 25, "fstat": 80, "futex": 98, "get_robust_list": 100, "getcwd": 17,
        "getdents64": 61, "getegid": 177, "geteuid": 175, "getgid": 176, "getitimer": 102,
        "getpeername": 205, "getpid": 172, "getppid": 173, "getrandom": 278, "getrlimit": 163,
        "getrusage": 165, "getsockname": 204, "getsockopt": 209, "gettid": 178, "gettimeofday": 169,
        "getuid": 174, "ioctl": 29, "lseek": 62, "madvise": 233, "membarrier": 283, "mmap": 222,
        "mprotect": 226, "mremap": 216, "munmap": 215, "nanosleep": 101, "newfstatat": 79, "openat": 56,
        "pipe2": 59, "ppoll": 73, "prctl": 167, "pread64": 67, "preadv": 69, "prlimit64": 261,
        "pselect6": 72, "read": 63, "readlinkat": 78, "readv": 65, "recvfrom": 207, "recvmsg": 212,
        "restart_syscall": 128, "rseq": 293, "rt_sigaction": 134, "rt_sigprocmask": 135,
        "rt_sigreturn": 139, "sched_getaffinity": 123, "sched_getparam": 121, "sched_getscheduler": 120,
        "sched_yield": 124, "sendmsg": 211, "sendto": 206, "set_robust_list": 99, "set_tid_address": 96,
        "setitimer": 103, "shutdown": 210, "sigaltstack": 132, "statx": 291, "sysinfo": 179, "tgkill": 131,
        "times": 153, "uname": 160, "write": 64, "writev": 66,
    },
}  # fmt: skip
"""The permitted calls by architecture. The newer architecture lacks some of them."""


def install(libc: ctypes.CDLL) -> None:
    """Set the filter for this thread and all threads that it starts.

    Raises:
        OSError: the kernel does not support filters or forbids them, or we do not know the numbers of its architecture.
    """
    machine = os.uname().machine
    if machine not in NUMBERS or sys.maxsize < 2**32:
        raise OSError(errno.ENOSYS, f"no system calls are known for {machine}")
    program = b"".join(_program(machine))
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, and a pointer in the next word.
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, header, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _program(machine: str) -> Iterator[bytes]:
    special = rules()
    yield _instruction(_LOAD, _ARCHITECTURE_AT)
    yield _instruction(_JUMP_IF_EQUAL, _ARCHITECTURES[machine], skip_if_true=1)
    yield _instruction(_RETURN, _REFUSE | errno.ENOSYS)
    yield _instruction(_LOAD, _NUMBER_AT)
    for name, number in NUMBERS[machine].items():
        block = _decided(special[name]) if name in special else [_instruction(_RETURN, _ALLOW)]
        yield _instruction(_JUMP_IF_EQUAL, number, skip_if_false=len(block))
        yield from block
    yield _instruction(_RETURN, _REFUSE | errno.ENOSYS)


def _decided(rule: SyscallRule) -> list[bytes]:
    """Return the instructions that end the evaluation of a call whose number matched."""
    block = [_instruction(_LOAD, _low_word(rule.argument)), _instruction(_AND, rule.mask)]
    for value in rule.values:
        block += [
            _instruction(_JUMP_IF_EQUAL, value, skip_if_false=1),
            _instruction(_RETURN, _ALLOW),
        ]
    return [*block, _instruction(_RETURN, _REFUSE | errno.EPERM)]


def _low_word(argument: int) -> int:
    # The kernel reads only 32 bits of each argument that we check.
    return _ARGUMENTS_AT + 8 * argument


def _instruction(code: int, value: int, *, skip_if_true: int = 0, skip_if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, skip_if_true, skip_if_false, value)
