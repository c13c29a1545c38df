"""The cage, tried from inside: it refuses the first steps of a decoder that was taken over, and it refuses no
picture."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pictures
import pytest

from proxy.config import RenderConfig
from proxy.errors import QueueFull
from proxy.images import svg
from proxy.images.formats import JSON, OUTPUTS, RENDERABLE
from proxy.images.jobs import Job, Rendered, Wish
from proxy.images.pixels.libvips import has_libvips
from proxy.images.pool.cage import WALLS, landlock, seccomp
from proxy.images.pool.renderprocess import _environment
from proxy.images.pool.workers import RenderPool
from proxy.images.transforms.transform import Transform

INSIDE = r"""
import ctypes, fcntl, json, os, socket, struct, subprocess, sys, threading
from pathlib import Path
from proxy.images.pool import cage
from proxy.images.pool import renderer

descriptor = int(sys.argv[1])
given, secret, parent, how = Path(sys.argv[4]), Path(sys.argv[5]), int(sys.argv[6]), sys.argv[7]
libc = ctypes.CDLL(None, use_errno=True)
SEIZE = 0x4206  # stops nobody, unlike PTRACE_ATTACH

def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result

def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)

def thread():
    started = threading.Thread(target=lambda: None)
    started.start()
    started.join()

def shared_memory_of_parent():
    with open(f"/proc/{parent}/mem", "rb") as memory:
        memory.seek(id(memory))

FILES = [
    "/proc/self/net/tcp", "/proc/self/mountinfo", "/proc/self/maps", "/proc/self/cmdline", "/proc/self/cgroup",
    "/proc/thread-self/status", "/proc/net/route", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version",
    "/etc/hostname", "/etc/localtime", "/usr/bin/env", "/usr/share/doc/base-files/copyright",
]
FILES = [path for path in FILES if os.path.exists(path)]
FOLDERS = ["/", "/etc", "/proc", "/proc/self", "/sys/devices/system/cpu", "/usr", "/usr/bin", "/usr/share"]
FOLDERS = [path for path in FOLDERS if os.path.exists(path)]

TRIES = {
    "the picture": lambda: (given / "kept").read_bytes(),
    "write a new file": lambda: open(given / "new", "w").close(),
    "write a kept file": lambda: open(given / "kept", "r+").close(),
    "append": lambda: open(given / "kept", "a").close(),
    "empty a file": lambda: os.truncate(given / "kept", 0),
    "delete": lambda: os.unlink(given / "doomed"),
    "rename": lambda: os.rename(given / "kept", given / "other"),
    "make a folder": lambda: os.mkdir(given / "folder"),
    "link": lambda: os.symlink("/etc/passwd", given / "link"),
    "change a mode": lambda: os.chmod(given / "kept", 0o777),
    "internet socket": lambda: socket.socket().close(),
    "local socket": lambda: socket.socket(socket.AF_UNIX).close(),
    "pair of sockets": lambda: socket.socketpair(),
    "fork": fork,
    "run a program": lambda: subprocess.run(["/bin/true"], check=True),
    "spawn": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
    "trace the parent": lambda: call({"x86_64": 101, "aarch64": 117}[os.uname().machine], SEIZE, parent, 0, 0),
    "signal the parent": lambda: os.kill(parent, 0),
    "memory of the parent": shared_memory_of_parent,
    "environment of the parent": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
    "a secret": lambda: secret.read_bytes(),
    "passwords": lambda: Path("/etc/passwd").read_bytes(),
    "foreign folder": lambda: os.listdir(secret.parent),
    "io_uring": lambda: call(425, 1, 0),
    "a thread": thread,
    "own size": lambda: renderer._resident_bytes() or call(-1),
    "own the socket for the parent": lambda: fcntl.fcntl(descriptor, fcntl.F_SETOWN, parent),
    "own it by structure": lambda: fcntl.fcntl(descriptor, 15, struct.pack("ii", 1, parent)),
    "own it by ioctl": lambda: fcntl.ioctl(descriptor, 0x8901, struct.pack("i", parent)),
    "own it by process group": lambda: fcntl.ioctl(descriptor, 0x8902, struct.pack("i", parent)),
    "choose its signal": lambda: fcntl.fcntl(descriptor, 10, 9),
    "have it signal": lambda: fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_ASYNC),
    "have it signal by ioctl": lambda: fcntl.ioctl(descriptor, 0x5452, struct.pack("i", 1)),
    **{path: (lambda path=path: open(path, "rb").read(1)) for path in FILES},
    **{path: (lambda path=path: os.listdir(path)) for path in FOLDERS},
}

def tries(self):
    found = {}
    for name, attempt in TRIES.items():
        try:
            attempt()
            found[name] = "done"
        except OSError as error:
            found[name] = f"refused: {error}"
        except RuntimeError as error:
            found[name] = f"refused: {error}"
    self._connection.sendall(json.dumps(found).encode() + b"\n")

def registered(self):
    from PIL import Image
    from proxy.images.decode.choice import decoder_for
    from proxy.images.formats import OUTPUTS
    from proxy.images.jobs import Job, Settings, Wish
    from proxy.images.pipeline import inspect
    from proxy.images.transforms.resolved import Resolved

    wishes = tuple(Wish(Resolved(width=8), (name,)) for name in OUTPUTS)
    for path in given.iterdir():
        inspect(Job(str(path), wishes, check=True), Settings(), decoder=decoder_for("auto"), on_facts=lambda _: None)
    found = {"ID": Image.ID, "OPEN": [*Image.OPEN], "SAVE": [*Image.SAVE], "SAVE_ALL": [*Image.SAVE_ALL]}
    self._connection.sendall(json.dumps(found).encode() + b"\n")

if how == "open":
    cage.shut = lambda readable: ()
del sys.argv[5:]
renderer._Server.serve = registered if how == "registered" else tries
renderer.main()
"""

MAY = {"the picture", "a thread", "own size"}
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="seccomp and Landlock are Linux'")
NO_PROCESS = {"fork", "run a program", "spawn"}


def walls_here() -> tuple[str, ...]:
    """Return the walls that this kernel has, as a separate process finds them."""
    asked = subprocess.run(
        [sys.executable, "-c", "from proxy.images.pool.cage import shut; print(*shut([]))"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    return tuple(asked.stdout.split())


def tried(folder: Path, how: str) -> dict[str, str]:
    """Have everything tried in a render process."""
    given, secret = folder / "given", folder / "secret" / "config.toml"
    for path in (given, secret.parent):
        path.mkdir()
    for path in (given / "kept", given / "doomed", secret):
        path.write_text("x")
    found: dict[str, str] = said_inside(given, secret, how)
    return found


def said_inside(given: Path, secret: Path, how: str) -> Any:
    """Start a real render process that runs `code` instead of jobs, and return its output."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        arguments = [str(theirs.fileno()), str(RenderConfig().memory_max_bytes), "auto", str(given)]
        arguments += [str(secret), str(os.getpid()), how]
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", INSIDE, *arguments],
            pass_fds=(theirs.fileno(),),
            env=_environment(),
            cwd="/",
        )
        theirs.close()
        said = ours.makefile("rb").read()
    assert process.wait(30) == 0
    return json.loads(said[said.index(b"}") + 1 :])


@needs_linux
@pytest.mark.skipif(walls_here() != WALLS, reason="this kernel or container has not both walls")
def test_what_a_taken_over_decoder_would_do_is_refused(tmp_path: Path) -> None:
    found = tried(tmp_path, "shut")
    assert {name for name, result in found.items() if result == "done"} == MAY
    assert sorted(path.name for path in (tmp_path / "given").iterdir()) == ["doomed", "kept"]
    assert (tmp_path / "given" / "kept").read_text() == "x"


@needs_linux
@pytest.mark.skipif("landlock" not in walls_here(), reason="this kernel or container has no Landlock")
@pytest.mark.parametrize("entry", ["working folder", "PYTHONPATH"])
async def test_folder_in_the_module_path_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    """`python -m proxy` puts the working folder into `sys.path`; the configuration in it stays out of reach."""
    store, beside = tmp_path / "store", tmp_path / "blog"
    for folder in (store, beside):
        folder.mkdir()
        (folder / "body").write_bytes(SOURCES["PNG"])
    monkeypatch.chdir(beside)
    monkeypatch.syspath_prepend("" if entry == "working folder" else str(beside))
    pool = RenderPool(RenderConfig(), processes=1, readable=(store,))
    await pool.start()
    assert (await pool.run(Job(str(store / "body"), check=True))).verdict == "whole"
    with pytest.raises(QueueFull):
        await pool.run(Job(str(beside / "body"), check=True))
    await pool.close()


@needs_linux
def test_without_the_cage_the_same_attempts_succeed(tmp_path: Path) -> None:
    """The test above would notice an open cage. Attempts that need root or a permissive kernel are left out."""
    found = tried(tmp_path, "open")
    done = {name for name, result in found.items() if result == "done"}
    assert done >= MAY | NO_PROCESS | {
        "write a new file",
        "delete",
        "internet socket",
        "a secret",
        "signal the parent",
        "own the socket for the parent",
        "own it by structure",
        "own it by ioctl",
        "choose its signal",
        "have it signal",
        "/proc/self/mountinfo",
        "/usr",
    }


SOURCES: dict[str, bytes] = {
    **{
        name: pictures.saved(pictures.photo(96, 64), name)
        for name in ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "ICO")
    },
    **{
        f"TIFF {kind}": pictures.saved(pictures.photo(96, 64), "TIFF", compression=kind)
        for kind in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg")
    },
    "progressive JPEG": pictures.saved(pictures.photo(96, 64), "JPEG", progressive=True),
    "CMYK JPEG": pictures.adobe_cmyk(),
    "palette": pictures.saved(pictures.chart(96, 64), "PNG"),
    "profile": pictures.saved(pictures.photo(96, 64), "PNG", icc_profile=pictures.swapped_profile()),
    "16 bits": pictures.grey_16_bit(),
    **{f"moving {name}": pictures.moving(name) for name in ("GIF", "WEBP", "PNG")},
    "text": b'<svg xmlns="http://www.w3.org/2000/svg" width="96" height="64">'
    b'<text y="40" font-size="40">Hg</text></svg>',
}  # fmt: skip
WRITTEN = (*OUTPUTS, JSON)
DECODERS = [
    "pillow",
    pytest.param("libvips", marks=pytest.mark.skipif(not has_libvips(), reason="no libvips")),
]


@pytest.mark.parametrize("decoder", DECODERS)
async def test_every_format_is_read_and_written_inside_the_cage(
    tmp_path: Path, decoder: Literal["auto", "pillow"]
) -> None:
    """The formats work with blur, colours, quality=auto and gravity=auto, and no picture ends the process."""
    plain_and_changed = ("", ",g=auto,blur=2,saturation=1.4,rotate=90")
    wishes = [
        Wish(Transform.parse(f"width=40,height=30,fit=cover,format={name}{more}").resolved({}), (name,))
        for name in WRITTEN
        for more in plain_and_changed
    ]
    wishes.append(Wish(Transform.parse("width=40,quality=auto").resolved({}), ("avif",)))
    caged = RenderPool(RenderConfig(decoder=decoder), processes=1, readable=(tmp_path,))
    await caged.start()
    assert caged.walls == walls_here()
    before = caged.pids
    for name, body in SOURCES.items():
        if name == "text" and svg.DRAW is None:
            continue
        path = tmp_path / "body"
        path.write_bytes(body)
        inspection = await caged.run(Job(str(path), tuple(wishes), check=True))
        assert inspection.verdict == "whole", (name, inspection.error)
        assert all(isinstance(output, Rendered) for output in inspection.outputs), name
    assert caged.pids == before
    await caged.close()


@pytest.mark.skipif(svg.DRAW is None, reason="resvg-py is not installed")
async def test_letters_are_drawn_inside_the_cage(tmp_path: Path) -> None:
    """The fonts of the machine can still be read: if it has any font, text leaves ink."""
    path = tmp_path / "body"
    path.write_bytes(SOURCES["text"])
    wish = Wish(Transform.parse("width=96,format=png").resolved({}), ("png",))
    inks = []
    for readable in (tmp_path, Path("/")):
        pool = RenderPool(RenderConfig(), processes=1, readable=(readable,))
        await pool.start()
        (output,) = (await pool.run(Job(str(path), (wish,)))).outputs
        assert isinstance(output, Rendered)
        inks.append(pictures.opened(output.body).convert("RGBA").getchannel("A").getextrema()[1])
        await pool.close()
    assert inks[0] == inks[1]


async def test_file_outside_of_what_may_be_read_is_not(tmp_path: Path) -> None:
    """A job that names another file cannot read it, and its picture is not called damaged."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.write_bytes(SOURCES["PNG"])
    pool = RenderPool(RenderConfig(), processes=1, readable=(inside,))
    await pool.start()
    walls = pool.walls
    if "landlock" in walls:
        with pytest.raises(QueueFull):
            await pool.run(Job(str(outside), check=True))
    else:
        assert (await pool.run(Job(str(outside), check=True))).verdict == "whole"
    await pool.close()


async def test_folder_made_anew_is_read_by_a_new_process(tmp_path: Path) -> None:
    """The cage holds folders, not their names. A replaced folder of the store must not make pictures seem damaged."""
    folder = tmp_path / "store"
    folder.mkdir()
    pool = RenderPool(RenderConfig(), processes=1, readable=(folder,))
    await pool.start()
    before, walls = pool.pids, pool.walls
    folder.rename(tmp_path / "away")
    folder.mkdir()
    (folder / "body").write_bytes(SOURCES["PNG"])
    for _ in range(2):
        assert (await pool.run(Job(str(folder / "body"), check=True))).verdict == "whole"
    assert (pool.pids != before) == ("landlock" in walls)
    await pool.close()


@pytest.mark.parametrize("missing", ["landlock", "seccomp", "both"])
def test_missing_wall_leaves_the_other_and_the_work(missing: str) -> None:
    """On an older kernel, or where a container forbids one, rendering goes on."""
    code = """
import sys
from proxy.images.pool import cage
def lacking(*_): raise OSError(38, "not here")
if sys.argv[1] != "seccomp": cage.landlock.restrict = lacking
if sys.argv[1] != "landlock": cage.seccomp.install = lacking
print(*cage.shut([]))
from proxy.images.pool.renderer import _practise
_practise("auto")
"""
    asked = subprocess.run(
        [sys.executable, "-c", code, missing],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    here = walls_here()
    assert asked.stdout.split() == [wall for wall in here if missing not in (wall, "both")]


def test_pillow_knows_the_formats_that_we_support_and_no_other(tmp_path: Path) -> None:
    """Checked in a real render process that has opened and written each format, and a file of two pictures (MPO)."""
    given = tmp_path / "given"
    given.mkdir()
    for number, body in enumerate(SOURCES.values()):
        (given / str(number)).write_bytes(body)
    photo = pictures.photo(96, 64)
    (given / "mpo").write_bytes(pictures.saved(photo, "MPO", save_all=True, append_images=[photo]))
    (given / "eps").write_bytes(pictures.saved(photo, "EPS"))
    found = said_inside(given, tmp_path, "registered")
    opened = ["AVIF", "BMP", "GIF", "ICO", "JPEG", "PNG", "TIFF", "WEBP"]
    # Written by hand, so that nothing enters the cage unnoticed: add a new output format that Pillow writes to `saved`.
    saved = ["AVIF", "GIF", "JPEG", "PNG", "WEBP"]
    assert {name: sorted(formats) for name, formats in found.items()} == {
        "ID": opened,
        "OPEN": opened,
        "SAVE": saved,
        "SAVE_ALL": ["AVIF", "GIF", "PNG", "WEBP"],
    }, "add a format that Pillow reads or writes to these lists by hand, when the cage is meant to let it in"
    # SVG is read by a library of its own.
    assert {name.lower() for name in opened} | {"svg"} == RENDERABLE


def libseccomp() -> Any:
    try:
        return ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None


@pytest.mark.skipif(libseccomp() is None, reason="libseccomp is not installed")
@pytest.mark.parametrize("machine", sorted(seccomp.NUMBERS))
def test_numbers_of_system_calls_are_those_of_libseccomp(machine: str) -> None:
    """Our numbers are written by hand. The library, where it is installed, knows them for every architecture."""
    library = libseccomp()
    token = ctypes.c_uint32(seccomp._ARCHITECTURES[machine])
    known = {
        name: library.seccomp_syscall_resolve_name_arch(token, name.encode())
        for name in seccomp.NUMBERS[machine]
    }
    assert known == seccomp.NUMBERS[machine]


def test_what_reaches_out_is_on_no_list() -> None:
    """The test fails if somebody adds one of these calls by mistake."""
    forbidden = {
        "socket", "connect", "bind", "listen", "accept", "accept4", "socketpair", "execve", "execveat", "fork", "vfork",
        "clone3", "ptrace", "process_vm_readv", "process_vm_writev", "kill", "tkill", "openat2", "creat", "unlink",
        "unlinkat", "rename", "renameat2", "mkdir", "mkdirat", "link", "symlink", "chmod", "mount", "unshare", "setns",
        "bpf", "io_uring_setup", "userfaultfd", "perf_event_open", "keyctl", "memfd_create", "pidfd_open",
    }  # fmt: skip
    for numbers in seccomp.NUMBERS.values():
        assert not forbidden & numbers.keys()
        assert {"openat", "clone", "ioctl", "prctl", "tgkill"} <= seccomp.rules().keys() & numbers.keys()


def test_checkout_beside_the_package_is_not_readable() -> None:
    """A checkout may hold a configuration with keys. An installed package is among the readable libraries."""
    folders = set(landlock._of_the_interpreter())
    package = Path(landlock.__file__).parents[3]
    assert package in folders
    assert package.parent not in folders or "site-packages" in str(package.parent)


def test_render_process_has_no_network_code_to_take_over() -> None:
    program = "import sys, proxy.images.pool.renderer; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "proxy.images.pipeline" in loaded
    assert not {"ssl", "http.client", "urllib.request", "email", "asyncio", "aiohttp"} & set(loaded)
