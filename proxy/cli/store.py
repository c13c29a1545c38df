"""`imgmirror store`: maintain the store; every action is safe while a service is running.

Exit codes: 0 done; 1 `verify` found damage, or the named source is unknown; 2 wrong use, no store, or an unusable
store.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from cache.base.errors import CacheError
from cache.base.layout import MARKER
from proxy.cli.keeping.common import Action
from proxy.cli.keeping.looking import show, show_misuse, stat, sweep_variants, verify
from proxy.cli.keeping.moving import backup, backup_misuse, pack, pack_misuse, unpack, unpack_misuse
from proxy.cli.keeping.removing import accept_misuse, accept_version, purge, purge_misuse
from proxy.cli.output.terminal import complain, quiet_log, whole_number
from proxy.config import Config
from proxy.errors import MirrorError

ACTIONS: dict[str, Action] = {
    "stat": stat,
    "show": show,
    "verify": verify,
    "sweep": sweep_variants,
    "purge": purge,
    "accept": accept_version,
    "pack": pack,
    "unpack": unpack,
    "backup": backup,
}
_HELP = {
    "stat": "count what is kept, by origin and article, and what could be freed",
    "show": "show one picture, its versions and the articles that use it",
    "verify": "compare all files with their digests",
    "sweep": "shrink the variants to their budget",
    "purge": "delete originals or older versions",
    "accept": "serve a version that was set aside, or an older one",
    "pack": "write everything into a WARC file or a folder",
    "unpack": "unpack WARC files or folders into the store",
    "backup": "update a second store while a service may be running",
}
_MOST = 1_000_000

_MISUSE = {
    "show": show_misuse,
    "purge": purge_misuse,
    "accept": accept_misuse,
    "pack": pack_misuse,
    "unpack": unpack_misuse,
    "backup": backup_misuse,
}
_OPTIONS_OF = {
    "paths": {"pack", "unpack", "backup"},
    "source": {"show", "purge", "accept", "pack"},
    "origin": {"purge", "pack"},
    "article": {"purge", "pack"},
    "before": {"purge"},
    "since": {"purge"},
    "history": {"purge"},
    "older_than": {"purge"},
    "keep": {"purge"},
    "orphans": {"purge"},
    "block": {"purge"},
    "dry_run": {"sweep", "purge"},
    "repair": {"verify"},
    "exact": {"stat"},
    "version": {"accept"},
}
"""Option -> the actions that take it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options; they may be given before or after the action."""
    _add_options(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in _HELP.items():
        # An option that is absent after the action must not override one given before it.
        action = actions.add_parser(name, help=text, argument_default=argparse.SUPPRESS)
        if name in _OPTIONS_OF["paths"]:
            count = "+" if name == "unpack" else 1
            action.add_argument(
                "paths", nargs=count, metavar="PATH", type=Path, help="a WARC file or a folder"
            )
        action.add_argument("--config", metavar="F", help=argparse.SUPPRESS)
        _add_options(action)
    parser.set_defaults(paths=[])


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--dry-run", action="store_true", help="sweep, purge: say what would be deleted")
    wanted = parser.add_argument_group("which pictures")
    wanted.add_argument("--source", metavar="URL", help="show, purge, accept, pack: one picture")
    wanted.add_argument(
        "--origin",
        metavar="URL",
        help="purge, pack: every picture of an origin, such as https://img.example.org",
    )
    wanted.add_argument(
        "--article",
        metavar="PATH",
        help="purge: its pictures that no other known article uses; pack: its pictures",
    )
    wanted.add_argument("--before", metavar="DATE", help="purge: only bytes fetched before that day (UTC)")
    wanted.add_argument("--since", metavar="DATE", help="purge: only bytes fetched on that day or later")
    purging = parser.add_argument_group("purge")
    purging.add_argument("--block", action="store_true", help="also refuse the sources permanently")
    purging.add_argument("--history", action="store_true", help="only older versions; the current ones stay")
    purging.add_argument(
        "--older-than", metavar="AGE", help="with --history: replaced that long ago, for instance 90d"
    )
    purging.add_argument(
        "--keep", metavar="N", type=whole_number(0, _MOST), help="with --history: the newest N of each stay"
    )
    purging.add_argument("--orphans", action="store_true", help="bodies that no entry names, left by crashes")
    others = parser.add_argument_group("others")
    others.add_argument(
        "--repair", action="store_true", help="verify: fetch damaged and missing originals again"
    )
    others.add_argument(
        "--exact", action="store_true", help="stat: read every file, and correct the running count"
    )
    others.add_argument(
        "--version", metavar="SHA256", help="accept: this version instead of the newest one set aside"
    )


def run(args: argparse.Namespace, config: Config) -> int:
    """Run the action."""
    quiet_log()
    if problem := _misuse(args):
        return complain(problem)
    if args.action != "unpack" and not (config.store.dir / MARKER).is_file():
        # Do not create the store: if the wrong user created it, the service could not write to it.
        return complain(f"there is no store in {config.store.dir} (store.dir)")
    try:
        return asyncio.run(ACTIONS[args.action](args, config))
    except BrokenPipeError:
        raise
    except (CacheError, OSError, MirrorError) as error:
        return complain(error)


def _misuse(args: argparse.Namespace) -> str:
    for option, actions in _OPTIONS_OF.items():
        # 0 is a given number; False and None mean that the option is absent.
        given = getattr(args, option)
        if given is not None and given is not False and given != [] and args.action not in actions:
            name = "a path" if option == "paths" else f"--{option.replace('_', '-')}"
            return f"{name} belongs to {' and '.join(sorted(actions))}"
    return _MISUSE[args.action](args) if args.action in _MISUSE else ""
