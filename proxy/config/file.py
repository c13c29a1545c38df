"""Reads the configuration from `config.toml` and the environment, and reports every problem at once.

Knows files and names of keys; `proxy.config` defines their meaning. Runs before the event loop starts, and in a thread
after SIGHUP. Synchronous.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from proxy.config import Config, ConfigError, DialectsConfig, accel_problems, preset_problems_of_rewrite

ENVIRONMENT_PREFIX = "IMGMIRROR_"
DEFAULT_FILE = "config.toml"
SECRETS = (
    "server.admin_token", "sources.keys",
    *(f"dialects.{name}.keys" for name in DialectsConfig.model_fields),
)  # fmt: skip
RESTART_KEYS = (
    "server.host", "server.port", "server.workers", "server.read_timeout", "server.write_timeout",
    "server.max_body",
    "store.dir", "store.mode", "store.variants_dir", "store.variants_max_bytes", "store.memory_max_bytes",
    "fetch.max_connections", "render.processes", "render.memory_max_bytes", "render.decoder",
    "telemetry.otlp", "telemetry.to_origins",
)  # fmt: skip
"""Keys that SIGHUP cannot change: sockets, folders and processes are created once."""

_PLAIN_WORDS = {
    "tuple_type": "must be a list in brackets",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "missing": "must be set",
    "string_type": "must be text in quotes",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "path_type": "must be a path in quotes",
}
"""Messages that replace pydantic's, by its error type. Pydantic's names of types mean nothing to operators."""

_PATHS = ("store.dir", "store.variants_dir", "sources.manifest")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and the file that it was read from; `path` is None for built-in defaults."""

    config: Config
    path: Path | None


def find_file(explicit: str | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: `--config`, else `IMGMIRROR_CONFIG`, else `config.toml` in the working folder.

    Hugo and Zola also name their configuration `config.toml`. Such a file in the working folder is ignored.
    """
    named = explicit or environ.get("IMGMIRROR_CONFIG")
    if named:
        return Path(named)
    here = Path(DEFAULT_FILE)
    return here if here.is_file() and not _is_of_a_site_generator(here) else None


def _is_of_a_site_generator(path: Path) -> bool:
    """Return whether a file has the key that Hugo and Zola require, and none of our tables but `server`."""
    try:
        keys = tomllib.loads(path.read_text(encoding="utf-8")).keys()
    except (OSError, ValueError):
        return False
    has_address = any(key.lower().replace("_", "") == "baseurl" for key in keys)
    return has_address and not keys & (Config.model_fields.keys() - {"server"})


def load(explicit: str | None, environ: Mapping[str, str]) -> Loaded:
    """Return the configuration.

    Raises:
        ConfigError: the file or the environment is invalid; the error lists every problem.
    """
    path = find_file(explicit, environ)
    problems: list[str] = []
    tables = _read(path, problems) if path else {}
    _anchor_paths(tables, (path.parent if path else Path()).absolute())
    overrides = _from_environment(environ, problems)
    _anchor_paths(overrides, Path().absolute())
    for section, keys in overrides.items():
        if isinstance(tables.setdefault(section, {}), dict):
            _overlay(tables[section], keys)
    config = _validated(tables, problems)
    if problems or config is None:
        raise ConfigError(problems)
    return Loaded(config, path)


def _overlay(table: dict[str, Any], keys: Mapping[str, Any]) -> None:
    for key, value in keys.items():
        if (
            isinstance(value, dict)
            and isinstance(table.get(key), dict)
            and key in DialectsConfig.model_fields
        ):
            _overlay(table[key], value)
        else:
            table[key] = value


def changed_restart_keys(old: Config, new: Config) -> list[str]:
    """Return the keys that differ and take effect only after a restart."""
    return [key for key in RESTART_KEYS if _value(old, key) != _value(new, key)]


def keep_restart_keys(old: Config, new: Config) -> Config:
    """Return `new` with the values of `old` for the keys that need a restart."""
    for key in changed_restart_keys(old, new):
        section, name = key.split(".")
        part = getattr(new, section).model_copy(update={name: _value(old, key)})
        new = new.model_copy(update={section: part})
    return new


def secret_texts(config: Config) -> Iterator[str]:
    """Yield the texts of a configuration that must not appear in a log."""
    for key in SECRETS:
        value = _value(config, key)
        yield from (value,) if isinstance(value, str) else value  # type: ignore[misc]  # a tuple of texts


def key_names() -> Iterator[str]:
    """Yield every `section.key` that the file may hold; a table with arbitrary names ends in `.<name>`."""
    for section, field in Config.model_fields.items():
        model = _model_of(field)
        if model is None:
            yield f"{section}.<name>"
            continue
        for key, inner in model.model_fields.items():
            nested = _model_of(inner)
            if nested is not None:
                yield from (f"{section}.{key}.{name}" for name in nested.model_fields)
            else:
                yield f"{section}.{key}.<name>" if _is_free_table(inner) else f"{section}.{key}"


def _read(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror})")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{path}: is not TOML: {error}")
    return {}


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {}
    for name in sorted(environ):
        section, key = _split_name(name)
        if not section:
            continue
        text = environ[name]
        if _dotted(section, key).removesuffix("_file") in SECRETS and key.endswith("_file"):
            key = key.removesuffix("_file")
            try:
                text = Path(text).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                problems.append(f"{name}: {text} cannot be read ({error})")
                continue
        table = tables.setdefault(section, {})
        *outer, last = _path_of(section, key)
        for part in outer:
            table = table.setdefault(part, {})
        table[last] = _environment_value(section, key, text, problems, name)
    return tables


def _path_of(section: str, key: str) -> list[str]:
    """Return the path of keys for a name such as `imgproxy_keys` in a section with sub-tables."""
    model = _model_of(Config.model_fields[section])
    for name, field in model.model_fields.items() if model else ():
        if _model_of(field) is not None and key.startswith(f"{name}_"):
            return [name, key.removeprefix(f"{name}_")]
    return [key]


def _split_name(name: str) -> tuple[str, str]:
    # Ignore names that do not begin with one of our sections. Container platforms set IMGMIRROR_PORT and
    # IMGMIRROR_SERVICE_HOST for a service called imgmirror.
    if name.startswith(ENVIRONMENT_PREFIX):
        section, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
        if section in Config.model_fields and key:
            return section, key
    return "", ""


def _environment_value(section: str, key: str, text: str, problems: list[str], name: str) -> object:
    field = _field(section, key)
    if section != "presets" and not _is_structured(field):
        return text
    if _dotted(section, key) in SECRETS and not text.startswith("["):
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        return json.loads(text)
    except ValueError:
        problems.append(
            f"{name}: must be JSON, such as " + ('["a", "b"]' if section != "presets" else '{"width": 400}')
        )
        return [] if section != "presets" else {}


def _dotted(section: str, key: str) -> str:
    return ".".join((section, *_path_of(section, key)))


def _field(section: str, key: str) -> FieldInfo | None:
    field: FieldInfo | None = Config.model_fields[section]
    for part in _path_of(section, key):
        model = _model_of(field)
        field = model.model_fields.get(part) if model else None
    return field


def _is_structured(field: FieldInfo | None) -> bool:
    return field is not None and get_origin(field.annotation) in (tuple, dict, list)


def _is_free_table(field: FieldInfo) -> bool:
    arguments = get_args(field.annotation)
    return (
        get_origin(field.annotation) is dict
        and isinstance(arguments[1], type)
        and issubclass(arguments[1], BaseModel)
    )


def _model_of(field: FieldInfo | None) -> type[BaseModel] | None:
    kind = field.annotation if field else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _anchor_paths(tables: dict[str, Any], folder: Path) -> None:
    """Resolve relative paths against the folder of the configuration file, not the working folder."""
    for key in _PATHS:
        section, name = key.split(".")
        table = tables.get(section)
        if isinstance(table, dict) and isinstance(table.get(name), str) and table[name]:
            table[name] = str(folder / table[name])


def _nearest(where: tuple[str, ...]) -> str:
    """Return a hint for an unknown key: a similar key in its table, or the same key in another table."""
    *tables, key = where
    siblings = [".".join((*tables, name)) for name in _keys_of(tables)]
    close = difflib.get_close_matches(".".join(where), siblings, n=1, cutoff=0.6)
    close = close or [name for name in key_names() if name.split(".")[1] == key]
    return f"; did you mean {close[0]}?" if close else ""


def _nearest_word(item: Any) -> str:
    expected = re.findall(r"'([^']*)'", item["ctx"]["expected"])
    close = difflib.get_close_matches(str(item["input"]), expected, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _keys_of(tables: list[str]) -> Iterator[str]:
    """Yield the keys that a table may hold."""
    model: type[BaseModel] | None = Config
    free: FieldInfo | None = None
    for name in tables:
        if free is not None:
            model, free = get_args(free.annotation)[1], None
            continue
        field = model.model_fields.get(name) if model else None
        free = field if field is not None and _is_free_table(field) else None
        model = _model_of(field)
    if model is not None:
        yield from model.model_fields


def _validated(tables: dict[str, Any], problems: list[str]) -> Config | None:
    presets = tables.get("presets")
    if isinstance(presets, dict):
        tables = tables | {"presets": Config().presets | presets}
    try:
        return Config.model_validate(tables)
    except ValidationError as error:
        # Problems without a place in the file come from checks over several tables. Pydantic runs those only when
        # all else is valid, so we run them again on the tables as read.
        problems.extend(_line(item) for item in error.errors() if item["loc"])
        problems.extend(_across(tables))
    return None


def _across(tables: dict[str, Any]) -> list[str]:
    server, store = tables.get("server", {}), tables.get("store", {})
    found = _across_rewrite(tables)
    if isinstance(server, dict) and isinstance(store, dict):
        found += accel_problems(server.get("accel"), store.get("mode"))
    return found


def _across_rewrite(tables: dict[str, Any]) -> list[str]:
    rewrite, presets = tables.get("rewrite", {}), tables.get("presets", Config().presets)
    if not isinstance(rewrite, dict) or not isinstance(presets, dict):
        return []
    default = Config().rewrite
    return preset_problems_of_rewrite(
        rewrite.get("body", default.body),
        rewrite.get("front", default.front),
        rewrite.get("fields", default.fields),
        presets=presets,
    )


def _line(item: Any) -> str:
    where = tuple(str(part) for part in item["loc"])
    name = ".".join(where)
    if item["type"] == "extra_forbidden":
        return f"{name}: unknown key{_nearest(where)}"
    words = _PLAIN_WORDS.get(item["type"])
    if item["type"] == "literal_error":
        return f"{name}: must be {item['ctx']['expected']}{_nearest_word(item)}"
    if words is not None:
        return f"{name}: {words.format(**item.get('ctx', {}))}"
    return f"{name}: {str(item['msg']).removeprefix('Value error, ')}"


def _value(config: Config, key: str) -> object:
    value: object = config
    for name in key.split("."):
        value = getattr(value, name)
    return value
