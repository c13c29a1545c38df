"""Paths leave `cache` as `LocalFile` and `KeptFile` only, so that a store elsewhere knows what it has to bring here.

Walks what `proxy` imports from `cache`, and every class of `cache` that this leads to by results and attributes.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cache.base.opening import LocalFile

ROOT = Path(__file__).parents[2]

TOOLS = {
    "cache.base.durable.create_aside",
    "cache.base.durable.abandoned",
}
"""Functions on files of the caller, an archive being written for one: they return paths below the folder they got."""

SELDOM = {
    "cache.across.elsewhere.Elsewhere.create",  # for a body on its way in; `proxy` only opens and closes the folder
    "cache.base.layout.Layout",  # of the supervisor, which makes the folder before there are workers
}

ENTRANCES = {
    "cache.across.elsewhere.Elsewhere": {"parent"},
    "cache.across.elsewhere.remove_abandoned": {"parent"},
    "cache.across.jobs.JobFiles": {"folder"},
    "cache.base.durable.Modes.make_folder": {"folder"},
    "cache.base.durable.Modes.mend": {"path"},
    "cache.base.durable.abandoned": {"folder"},
    "cache.base.durable.create_aside": {"folder"},
    "cache.base.durable.sync_folder": {"folder"},
    "cache.base.layout.prepare": {"root"},
    "cache.base.opening.open_regular": {"path"},
    "cache.durable_tier.Originals.backup": {"target"},
    "cache.durable_tier.Originals.open": {"folder"},
    "cache.originals.incoming.Incoming.follow": {"path"},
    "cache.originals.incoming.Incoming.settle": {"path"},
    "cache.originals.roomleft.free_files": {"folder"},
    "cache.variants.bounded_tier.Variants": {"folder"},
    "cache.variants.bounded_tier.Variants.open": {"folder"},
}
"""Where `proxy` may name a folder or a file: to open a store, or with tools. The table only gets shorter."""


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Return every module of `proxy` by its path, read once."""
    paths = sorted((ROOT / "proxy").rglob("*.py"))
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def imported() -> Iterator[Any]:
    """Yield every class and function that a module of `proxy` imports from `cache`."""
    found = set()
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "cache":
                found |= {(node.module or "", alias.name) for alias in node.names}
    for module, name in sorted(found):
        thing = getattr(importlib.import_module(module), name, None)
        if thing is None:
            # A module of a package, imported by its name: everything in it may be used.
            inside = vars(importlib.import_module(f"{module}.{name}")).values()
            yield from (each for each in inside if is_public(each, module=f"{module}.{name}"))
        elif inspect.isclass(thing) or inspect.isfunction(thing):
            yield thing


def is_public(thing: Any, *, module: str) -> bool:
    is_code = inspect.isclass(thing) or inspect.isfunction(thing)
    return is_code and thing.__module__ == module and not thing.__name__.startswith("_")


def name_of(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def parts_of(hint: object) -> Iterator[object]:
    """Yield a type and the types it is made of; a `NewType` stands for itself."""
    yield hint
    for part in typing.get_args(hint):
        yield from parts_of(part)


def is_path(hint: object) -> bool:
    return any(part is Path for part in parts_of(hint))


def public_functions(thing: type) -> Iterator[Any]:
    for name, member in inspect.getmembers(thing):
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        is_offered = not name.startswith("_") or name == "__init__"
        if inspect.isfunction(function) and function.__module__.startswith("cache.") and is_offered:
            yield function


def attributes(thing: type) -> dict[str, object]:
    """Return the public attributes that a class declares, or sets in `__init__`, with their types.

    A value that is made with a class has its type. One that is a parameter as it came has the type of the parameter.
    """
    found = {name: hint for name, hint in typing.get_type_hints(thing).items() if not name.startswith("_")}
    for each in thing.__mro__:
        if each.__module__.partition(".")[0] != "cache" or "__init__" not in vars(each):
            continue
        init = vars(each)["__init__"]
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
        except (OSError, TypeError):
            continue  # made by `dataclass`
        names = {**vars(inspect.getmodule(each)), **typing.get_type_hints(init)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
                name = node.targets[0].attr
                if not name.startswith("_"):
                    found.setdefault(name, type_of_value(node.value, names))
    return found


def type_of_value(value: ast.expr, names: dict[str, Any]) -> object:
    """Return the type of a value as far as its outermost call, its name or its path arithmetic shows it."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return names.get(value.func.id)
    if isinstance(value, ast.Name):
        return names.get(value.id)
    is_made_of_path = any(
        isinstance(node, ast.Name) and is_path(names.get(node.id)) for node in ast.walk(value)
    )
    return Path if is_made_of_path else None


def is_ours(thing: object) -> bool:
    return inspect.isclass(thing) and thing.__module__.partition(".")[0] == "cache"


def results_of(thing: Any) -> dict[str, object]:
    """Return what a function returns; of a class, what its methods return and its attributes are."""
    if not inspect.isclass(thing):
        return {name_of(thing): typing.get_type_hints(thing).get("return")}
    found: dict[str, object] = dict(attributes(thing))
    for function in public_functions(thing):
        found[function.__name__] = typing.get_type_hints(function).get("return")
    return {f"{name_of(thing)}.{name}": hint for name, hint in found.items()}


def leaving() -> tuple[set[str], int]:
    """Return what lets a bare path out, and how many classes and functions were looked at."""
    found: set[str] = set()
    seen: set[str] = set()
    ahead: list[Any] = list(imported())
    while ahead:
        thing = ahead.pop()
        if name_of(thing) in seen | SELDOM:
            continue
        seen.add(name_of(thing))
        for name, hint in results_of(thing).items():
            found |= {name} if is_path(hint) else set()
            ahead += [part for part in parts_of(hint) if is_ours(part)]
    return found - SELDOM, len(seen)


def test_paths_leave_cache_as_named_types_only() -> None:
    """`LocalFile`, or `KeptFile` with the state it was found in: each can be brought here from another machine."""
    found, count = leaving()
    assert count > 60
    assert found == TOOLS


def test_paths_enter_cache_where_a_store_is_opened_or_with_tools() -> None:
    found: dict[str, set[str]] = {}
    for thing in imported():
        functions = list(public_functions(thing)) if inspect.isclass(thing) else [thing]
        for function in functions:
            taken = {
                name
                for name, hint in typing.get_type_hints(function).items()
                if name != "return" and is_path(hint)
            }
            if taken:
                name = f"{name_of(thing)}.{function.__name__}" if inspect.isclass(thing) else name_of(thing)
                found[name.removesuffix(".__init__")] = taken
    assert found == ENTRANCES


def test_nobody_in_proxy_asks_where_in_the_folder_a_body_lies() -> None:
    """`body_path` is for those who look after the folder; others ask `BodyFiles`, which may have to bring it here."""
    users = [
        path
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "body_path"
    ]
    assert users == []


def test_attribute_made_of_a_bare_path_is_seen() -> None:
    """Also when it is a parameter as it came, or joined from one; not when it is named as what leaves."""

    class Example:
        def __init__(self, folder: Path, name: str) -> None:
            self.plain = folder
            self.joined = folder / name
            self.named = LocalFile(folder / name)
            self.text = name
            self._private = folder

    kinds = {
        name: type_of_value(node.value, {"folder": Path, "name": str, "LocalFile": LocalFile})
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(Example.__init__))))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute)
        for name in [node.targets[0].attr]
    }
    assert kinds == {"plain": Path, "joined": Path, "named": LocalFile, "text": str, "_private": Path}
