"""The rooms and the direction of imports between them (docs/architecture.md), held by walking the imports."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

# They read the code and call little of it, and the tracer triples their time.
pytestmark = pytest.mark.no_cover

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
        "proxy.fetch", "proxy.images", "proxy.rewrite", "proxy.dialects", "proxy.observe", "proxy.policy",
        "proxy.version",
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
    "opentelemetry": "proxy.observe",
}

PURE = (
    "proxy/source.py", "proxy/rate.py", "proxy/prolog.py", "proxy/signatures.py", "proxy/signing.py", "proxy/errors.py",
    "proxy/patterns.py", "proxy/web/targets/negotiate.py", "cache/http", "cache/base/keys.py",
    "cache/base/entry.py", "proxy/dialects", "proxy/rewrite", "proxy/images",
)  # fmt: skip
PURE_EXCEPT = {
    "proxy/images/pool/conversation.py",
    "proxy/images/pool/shared_decodes.py",
    "proxy/images/pool/renderprocess.py",
    "proxy/images/pool/waiting_jobs.py",
    "proxy/images/pool/workers.py",
}


@functools.cache
def modules() -> list[tuple[Path, ast.Module]]:
    """Return every module of both packages with its syntax tree, read once."""
    paths = [path for package in ("cache", "proxy") for path in sorted((ROOT / package).rglob("*.py"))]
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def imports(tree: ast.Module) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += (f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(names)


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


SHARED_CLASS_NAMES: set[str] = set()
"""Names that still stand for two classes. The list only gets shorter: a name that has become unique leaves it."""

ROOMS_OF_IMAGES = {
    "options": set(),
    "files": set(),
    "samples": set(),
    "geometry": {"options"},
    "pixels": {"files", "geometry"},
    "operations": {"options", "geometry", "pixels"},
    "formats": {"options", "files", "pixels", "operations"},
    "transforms": {"options", "geometry", "operations", "formats"},
    "measuring": {"files", "pixels", "formats"},
    "choice": {"formats"},
    "memory_budget": {"formats"},
    "jobs": {"formats", "transforms", "choice"},
    "limits": {"files", "formats", "jobs"},
    "decode": {"files", "geometry", "pixels", "formats", "memory_budget"},
    "svg": {"files", "geometry", "pixels", "formats", "memory_budget", "decode"},
    "encode": {"formats", "measuring", "decode"},
    "answers": {"choice", "jobs", "encode"},
    "pipeline": {
        "files", "geometry", "operations", "formats", "transforms", "measuring", "choice", "memory_budget", "jobs",
        "limits", "decode", "svg", "encode", "answers",
    },
    "pool": {"formats", "transforms", "choice", "jobs", "decode", "encode", "pipeline"},
}  # fmt: skip
"""Room or module of `proxy.images` -> what it may import of the others. Each line uses only lines above it."""

ROOMS = (
    (ROOT / "docs" / "architecture.md")
    .read_text(encoding="utf-8")
    .partition("## Rooms")[2]
    .partition("\n## ")[0]
)
NAMED_ROOMS = re.compile(r"^( {4,8})((?:[\w/]+(?:/|\.py)(?: +|$))+)", re.MULTILINE)
"""A line of the plan: two spaces for each level below `cache/` and `proxy/`, one or more names, and what they hold."""
HOLD_NO_MODULES = {"static", "templates"}


def planned_paths() -> Iterator[Path]:
    """Yield the folders and files that the plan of docs/architecture.md has lines for."""
    above: list[str] = []
    for indent, names in NAMED_ROOMS.findall(ROOMS):
        depth = len(indent) // 2 - 2
        yield from (ROOT.joinpath(*above[:depth], name) for name in names.split())
        above = [*above[:depth], names.split()[0]]


def test_room_that_the_plan_names_is_there() -> None:
    paths = list(planned_paths())
    assert len(paths) > 50
    assert not [path for path in paths if not path.exists()]


def test_every_folder_and_file_at_the_top_is_in_the_plan() -> None:
    """Folders at any depth, and the files beside the rooms; `__init__`, `__main__` and `version` explain themselves."""
    folders = {path.parent for path, _ in modules()} - {ROOT / "cache", ROOT / "proxy"}
    files = {path for path, _ in modules() if path.parent in {ROOT / "cache", ROOT / "proxy"}}
    names = {f"{path.name}/" for path in folders if path.name not in HOLD_NO_MODULES}
    names |= {path.name for path in files} - {"__init__.py", "__main__.py", "version.py"}
    assert not {name for name in names if not re.search(rf"(?<![\w.]){re.escape(name)}", ROOMS)}


MOST_IN_A_FOLDER = 13
"""Files in a folder at most, and folders in a folder at most."""


def test_public_class_name_exists_once() -> None:
    """A class name means one thing in both packages; private names belong to their module."""
    users: dict[str, set[str]] = {}
    for path, tree in modules():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                users.setdefault(node.name, set()).add(name_of(path))
    shared = {name: places for name, places in users.items() if len(places) > 1}
    assert shared.keys() <= SHARED_CLASS_NAMES, shared
    assert not SHARED_CLASS_NAMES - shared.keys(), "unique by now: take these names off the list"


def within(name: str, package: str) -> str | None:
    """Return the room or module of `package` that a module lies in, None when it lies elsewhere."""
    if not name.startswith(package + "."):
        return None
    return ".".join(name.split(".")[: package.count(".") + 2])


def known_within(package: str, names: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return which rooms and modules of `package` know which others of it."""
    arrows: dict[str, set[str]] = {}
    for importing, imported in names.items():
        if (room := within(importing, package)) is not None:
            others = {within(name, package) for name in imported} - {None, room}
            arrows.setdefault(room, set()).update(name for name in others if name is not None)
    return arrows


def circle(arrows: dict[str, set[str]]) -> set[str]:
    """Return the nodes that can be reached from themselves."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        ahead = list(arrows.get(start, ()))
        while ahead:
            if (node := ahead.pop()) not in found:
                found.add(node)
                ahead += arrows.get(node, ())
        return found

    return {node for node in arrows if node in reached(node)}


def known_modules() -> dict[str, set[str]]:
    """Return which modules of both packages import which others, also inside functions and for type checkers only."""
    trees = {name_of(path): tree for path, tree in modules()}
    return {
        name: {found if found in trees else found.rpartition(".")[0] for found in imports(tree)}
        & trees.keys()
        for name, tree in trees.items()
    }


def test_rooms_know_each_other_in_no_circle() -> None:
    """In every package, imports between its rooms and modules go one way, those inside functions included."""
    names = known_modules()
    packages = {name.rpartition(".")[0] for name in names} - {""}
    assert {"cache", "cache.originals", "proxy", "proxy.images", "proxy.images.pool"} <= packages
    found = {package: circle(known_within(package, names)) for package in packages}
    assert not {package: rooms for package, rooms in found.items() if rooms}


def test_room_of_images_imports_exactly_what_the_table_says() -> None:
    """The table names every room and no import that is gone."""
    found = known_within("proxy.images", known_modules())
    short = {
        room.removeprefix("proxy.images."): {name.removeprefix("proxy.images.") for name in others}
        for room, others in found.items()
    }
    assert short == ROOMS_OF_IMAGES


def test_table_of_images_is_ordered_from_the_bottom_up() -> None:
    above: set[str] = set()
    for room, others in ROOMS_OF_IMAGES.items():
        assert others <= above, room
        above.add(room)


def test_every_import_names_its_module_in_full() -> None:
    """The walk over imports does not follow relative ones, so there are none."""
    relative = [
        name_of(path)
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


def test_folder_lists_few_files() -> None:
    """A reader takes in a folder at a glance."""
    lengths = {}
    for folder in {path.parent for path, _ in modules()}:
        # Every package has an `__init__.py` and the type marker; nobody reads them to find something.
        inside = [
            path for path in folder.iterdir() if path.name not in {"__pycache__", "__init__.py", "py.typed"}
        ]
        name = str(folder.relative_to(ROOT))
        lengths[f"{name} (folders)"] = sum(path.is_dir() for path in inside)
        lengths[name] = len(inside) - lengths[f"{name} (folders)"]
    assert not crowded(lengths), "\n".join(crowded(lengths))


def crowded(lengths: dict[str, int]) -> list[str]:
    """Return what to do about each folder that lists more than it may."""
    return [
        f"{folder} has {length}, {MOST_IN_A_FOLDER} allowed: split it or use an existing file"
        for folder, length in lengths.items()
        if length > MOST_IN_A_FOLDER
    ]


def test_crowded_folder_is_named_with_what_to_do() -> None:
    assert crowded({"proxy/observe": MOST_IN_A_FOLDER}) == []
    assert crowded({"proxy/observe": MOST_IN_A_FOLDER + 1}) == [
        "proxy/observe has 14, 13 allowed: split it or use an existing file"
    ]


def test_circle_names_the_nodes_that_lead_back_to_themselves() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {"b", "c"}


def test_modules_of_images_know_each_other_in_no_circle() -> None:
    """No module reaches itself through what it imports, also for type checkers only."""
    arrows = {
        name: imported
        for name, imported in known_modules().items()
        if within(name, "proxy.images") is not None
    }
    assert not circle(arrows)
