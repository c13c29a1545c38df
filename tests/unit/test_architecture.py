"""The rooms and the direction of imports between them (docs/architecture.md), held by walking the imports."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LAYERS = {
    "cache": set(),
    "proxy.version": set(),
    "proxy.errors": set(),
    "proxy.rate": set(),
    "proxy.process": set(),
    "proxy.prolog": set(),
    "proxy.signatures": set(),
    "proxy.source": {"proxy.errors"},
    "proxy.patterns": {"proxy.errors", "proxy.source"},
    "proxy.config": {"proxy.version", "proxy.patterns", "proxy.images"},
    "proxy.policy": {"proxy.errors", "proxy.source", "proxy.patterns", "proxy.config"},
    "proxy.signing": {"proxy.errors"},
    "proxy.observe": {"proxy.version"},
    "proxy.fetch": {
        "proxy.errors", "proxy.prolog", "proxy.signatures", "proxy.source", "proxy.config", "proxy.patterns",
        "proxy.policy", "proxy.version",
    },
    "proxy.images": {"proxy.errors", "proxy.config", "proxy.prolog", "proxy.signatures"},
    "proxy.dialects": {"proxy.errors", "proxy.source"},
    "proxy.rewrite": {"proxy.errors", "proxy.source", "proxy.config", "proxy.dialects"},
    "proxy.archives": {"cache", "proxy.errors", "proxy.fetch", "proxy.prolog", "proxy.version"},
    "proxy.services": {
        "cache", "proxy.archives", "proxy.errors", "proxy.prolog", "proxy.source", "proxy.config", "proxy.signing",
        "proxy.fetch", "proxy.images", "proxy.rewrite", "proxy.dialects", "proxy.observe",
    },
}  # fmt: skip
"""Room -> what it may import besides itself. Rooms that are not named (app, web, cli, supervisor) are on top."""

TOP = {"proxy.app", "proxy.web", "proxy.cli", "proxy.supervisor", "proxy.__main__"}

ONE_IMPORTER = {
    "PIL": "proxy.images",
    "pyvips": "proxy.images",
    "resvg_py": "proxy.images",
    "diskcache": "cache",
    "warcio": "proxy.archives",
    "cryptography": "proxy.fetch",
    "aiohttp.web": "proxy.web",
    "prometheus_client": "proxy.observe",
}

PURE = (
    "proxy/source.py", "proxy/rate.py", "proxy/prolog.py", "proxy/signatures.py", "proxy/signing.py", "proxy/errors.py",
    "proxy/patterns.py", "proxy/web/negotiate.py", "cache/http", "cache/base/keys.py",
    "cache/base/entry.py", "proxy/dialects", "proxy/rewrite", "proxy/images",
)  # fmt: skip
PURE_EXCEPT = {
    "proxy/images/pool/shared_decodes.py",
    "proxy/images/pool/renderprocess.py",
    "proxy/images/pool/waiting_jobs.py",
    "proxy/images/pool/workers.py",
}


@functools.cache
def modules() -> tuple[tuple[Path, ast.Module], ...]:
    paths = [path for package in ("cache", "proxy") for path in sorted((ROOT / package).rglob("*.py"))]
    return tuple((path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name: str) -> str | None:
    parts = name.split(".")
    if parts[0] == "cache":
        return "cache"
    return ".".join(parts[:2]) if parts[0] == "proxy" and len(parts) > 1 else None


def test_every_room_is_in_the_plan() -> None:
    rooms = {room_of(name_of(path)) for path, _ in modules()} - {None}
    assert rooms <= LAYERS.keys() | TOP


@pytest.mark.parametrize("room", LAYERS)
def test_room_imports_only_what_lies_below_it(room: str) -> None:
    for path, tree in modules():
        if room_of(name_of(path)) != room:
            continue
        used = {room_of(name) for name in imports(tree)} - {None, room}
        assert used <= LAYERS[room], f"{path.relative_to(ROOT)} imports {used - LAYERS[room]}"


@pytest.mark.parametrize("library", ONE_IMPORTER)
def test_library_has_one_importing_room(library: str) -> None:
    users = {
        room_of(name_of(path))
        for path, tree in modules()
        for name in imports(tree)
        if name == library or name.startswith(library + ".")
    }
    allowed = {ONE_IMPORTER[library]}
    # The supervisor tells the metrics library which workers have died; it knows no metric.
    allowed |= {"proxy.supervisor"} if library == "prometheus_client" else set()
    assert users <= allowed


def test_aiohttp_client_is_used_by_fetch_alone() -> None:
    for path, tree in modules():
        users = {name for name in imports(tree) if name.startswith("aiohttp")}
        room = room_of(name_of(path))
        if room != "proxy.web":
            assert not users or room == "proxy.fetch", path


@pytest.mark.parametrize("place", PURE)
def test_pure_room_has_no_event_loop_and_no_clock(place: str) -> None:
    for path, tree in modules():
        relative = str(path.relative_to(ROOT))
        if not relative.startswith(place) or relative in PURE_EXCEPT or "/operations/_" in relative:
            continue
        forbidden = {
            name for name in imports(tree) if name.split(".")[0] in {"asyncio", "aiohttp", "aiofiles"}
        }
        clock = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "time"
            and node.attr in {"time", "monotonic", "sleep", "perf_counter"}
        }
        assert not forbidden, (relative, forbidden)
        assert not clock, (relative, clock)


def test_images_are_without_a_circle() -> None:
    """No module of the room reaches itself through what it imports, for type checkers only neither."""
    trees = {name_of(path): tree for path, tree in modules() if room_of(name_of(path)) == "proxy.images"}
    edges = {
        name: {target for one in imports(tree) if (target := _module(one, trees))}
        for name, tree in trees.items()
    }
    while leaves := {name for name, targets in edges.items() if not targets & edges.keys()}:
        edges = {name: targets for name, targets in edges.items() if name not in leaves}
    assert not edges, f"in a circle, or above one: {sorted(edges)}"


def _module(name: str, known: dict[str, ast.Module]) -> str | None:
    return name if name in known else parent if (parent := name.rpartition(".")[0]) in known else None
