"""The tables of docs/dialects.md are what the code does. `python tests/unit/test_dialects_table.py` writes them."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from proxy.dialects import GRAMMARS, Unwrapped, Unwrapper
from proxy.dialects.base.asked import OptionKey, nothing
from proxy.dialects.base.grammar import Grammar
from proxy.dialects.base.serving import Served
from proxy.dialects.grammars import worker
from proxy.dialects.known import _HOSTED
from proxy.dialects.services import shipped
from proxy.errors import InvalidTransform

PAGE = Path(__file__).parents[2] / "docs" / "dialects.md"
SHORT = {"width": "w", "height": "h", "gravity": "g", "quality": "q", "format": "f"}
LISTED = [grammar for grammar in GRAMMARS.values() if grammar.keys]


def opened(grammar: Grammar, name: str, value: str) -> Unwrapped:
    """Return what an address with one option asks."""
    name = "" if name == "WxH" else name
    address = grammar.example.format(name=name, value=value)
    found = Unwrapper([(address.split("/", 3)[2] + "/", grammar.name)]).unwrap(address)
    assert found is not None, address
    return found


def fate(grammar: Grammar, item: OptionKey, name: str) -> str:
    """Return what becomes of an option, in the words of the table."""
    base, found = opened(grammar, "unheardof", ""), opened(grammar, name, item.sample)
    if any(word.split(" ", 1)[1] == (name if name != "WxH" else item.sample) for word in found.dropped):
        return "dropped"
    changed = {key: value for key, value in found.options.items() if base.options.get(key) != value}
    gone = [f"no `{key}={value}`" for key, value in base.options.items() if key not in found.options]
    if list(changed.items()) in ([(name, item.sample)], [(names_of(name), item.sample)]):
        return "same"
    words = [f"`{key}={value}`" for key, value in sorted(changed.items())] + gone
    return ", ".join(words) or "ignored"


def served(grammar: Grammar, example: str, name: str, value: str) -> Served:
    """Return what an address with one option asks of this service.

    Raises:
        InvalidTransform: it is refused.
    """
    name = "" if name == "WxH" else name
    return grammar.serve_rest(example.format(name=name, value=value).split("/", 3)[3])


def served_fate(grammar: Grammar, item: OptionKey, name: str) -> str:
    """Return what becomes of an option in an address that is answered, where it has a meaning."""
    if grammar.serve is None:
        return "-"
    fates = [fate_in(grammar, example, item, name) for example in (grammar.example, *grammar.alone)]
    best = [found for found in fates if found not in ("same", "ignored", "refused")]
    return max(best, key=len) if best else min(fates, key=("same", "ignored", "refused").index)


def fate_in(grammar: Grammar, example: str, item: OptionKey, name: str) -> str:
    """Return what becomes of an option beside those of an example."""
    try:
        found = served(grammar, example, name, item.sample)
    except InvalidTransform:
        return "refused"
    if name in found.ignored:
        return "ignored"
    neutral = next((key.names[0] for key in grammar.keys if key.served is nothing), "")
    try:
        base = served(grammar, example, neutral, "").options
    except InvalidTransform:
        base = {}
    changed = {key: value for key, value in found.options.items() if base.get(key) != value}
    if list(changed.items()) in ([(name, item.sample)], [(names_of(name), item.sample)]):
        return "same"
    gone = [f"no `{key}`" for key in base if key not in found.options]
    words = [f"`{key}={value}`" for key, value in sorted(changed.items())] + gone
    return f"mapped: {', '.join(words)}" if words else "same"


def names_of(name: str) -> str:
    """Return the long name of an option that is spelled short here."""
    return next((long for long, short in SHORT.items() if short == name), name)


def dialect_table() -> str:
    """Return the table of all options."""
    rows = ["| dialect | option | for example | in articles | when served |", "|---|---|---|---|---|"]
    for grammar in LISTED:
        for item in grammar.keys:
            names, first = " ".join(f"`{name}`" for name in item.names), item.names[0]
            fates = f"{fate(grammar, item, first)} | {served_fate(grammar, item, first)}"
            rows.append(f"| {grammar.name} | {names} | `{item.sample}` | {fates} |")
    return "\n".join(rows)


def grammar_list() -> str:
    """Return the names that `rewrite.wrappers` takes, as a paragraph of a list."""
    names = f"Dialects: {', '.join(GRAMMARS)}."
    # A name with a hyphen stays whole.
    return textwrap.fill(names, 118, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def host_table() -> str:
    """Return the table of the public hosts that speak a dialect."""
    rows = ["| dialect | hosts | its addresses begin with |", "|---|---|---|"]
    known = [("worker", tuple(sorted(worker.HOSTS)), "/?")]
    known += [(row.grammar.name, row.hosts, row.path.pattern.replace("[^/]+", "…")) for row in _HOSTED]
    for name, hosts, path in known:
        rows.append(f"| {name} | {' '.join(f'`{host}`' for host in hosts)} | `{path}` |")
    return "\n".join(rows)


def service_table() -> str:
    """Return the table of the rows of `services.toml`."""
    rows = ["| service | hosts | source | its own | asked |", "|---|---|---|---|---|"]
    for item in shipped():
        own = " ".join(f"`{name}`" for name in item.own) if item.own != ("*",) else "all others"
        asks = " ".join(f"`{name}`" for name in item.asks if not name.startswith("*"))
        where = (
            f"`{item.key}`"
            if item.key
            else {"rest": "the rest", "escaped": "the rest, without the query"}.get(item.source, item.source)
        )
        rows.append(
            f"| {item.name} | {' '.join(f'`{host}`' for host in item.hosts)} | {where} | {own} | {asks} |"
        )
    return "\n".join(rows)


def page() -> str:
    """Return docs/dialects.md with its tables as they should be."""
    text = PAGE.read_text(encoding="utf-8")
    parts = {
        "grammars": f"{grammar_list()}\n  ",
        "hosts": f"{host_table()}\n",
        "dialects": f"{dialect_table()}\n",
        "services": f"{service_table()}\n",
    }
    for mark, part in parts.items():
        before, _, rest = text.partition(f"<!-- {mark} -->\n")
        text = f"{before}<!-- {mark} -->\n{part}<!-- /{mark} -->{rest.partition(f'<!-- /{mark} -->')[2]}"
    return text


def test_tables_of_the_page_are_what_the_code_does() -> None:
    """Each row of an option was made by opening an address; hosts and names are those of the code."""
    there = PAGE.read_text(encoding="utf-8") == page()
    assert there, "run .venv/bin/python tests/unit/test_dialects_table.py"


@pytest.mark.parametrize("grammar", LISTED, ids=lambda grammar: grammar.name)
def test_all_names_of_an_option_mean_the_same(grammar: Grammar) -> None:
    """The table shows the first one."""
    for item in grammar.keys:
        fates = {fate(grammar, item, name).replace("same", "") for name in item.names}
        if len(fates) > 1:
            assert all(
                opened(grammar, name, item.sample).options
                == opened(grammar, item.names[0], item.sample).options
                for name in item.names
            ), item.names


SERVED_WITH_KEYS = [grammar for grammar in LISTED if grammar.serve is not None]


@pytest.mark.parametrize("grammar", SERVED_WITH_KEYS, ids=lambda grammar: grammar.name)
def test_all_names_of_an_option_are_served_alike(grammar: Grammar) -> None:
    """The table shows the first name. None is dropped without notice."""
    for item in grammar.keys:
        fates = {served_fate(grammar, item, name) for name in item.names}
        assert len(fates - {"same"}) <= 1, (item.names, fates)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
