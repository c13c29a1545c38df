"""`imgmirror url …`: builds, signs, explains and unwraps addresses; asks no origin and no service.

    build OPTIONS SOURCE     print our address of a picture, signed if the configuration has keys; with --dialect in the
                             grammar of another proxy, signed if the configuration has keys for it
    sign OPTIONS SOURCE      print only the signature
    unwrap URL…              print the sources inside wrappers
    explain URL              explain one of our addresses, and whether this configuration admits it

Exit codes: 0 done; 1 not a wrapper, or not admitted; 2 wrong use or an invalid address.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from proxy.app import make_policy, make_signer
from proxy.cli.output.terminal import complain, say
from proxy.config import Config, base_url_problem
from proxy.dialects import Unwrapper
from proxy.dialects.base.address import SplitAddress
from proxy.dialects.base.escapes import read_source
from proxy.dialects.native import build
from proxy.errors import InvalidRequest, MirrorError
from proxy.source import Source, base_in_a_labels, base_spellings
from proxy.web.targets.building import BUILT_DIALECTS, canonical_options, dialect_address
from proxy.web.targets.plans import Plan, Plans

MAX_UNIX_TIME = 10**12 - 1
"""The grammar of addresses accepts at most twelve digits."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (("build", "print our address of a picture"), ("sign", "print its signature")):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "options", metavar="OPTIONS", help="a preset, options such as width=640, or original"
        )
        command.add_argument("source", metavar="SOURCE", help="the picture's address")
        command.add_argument("--exp", type=int, metavar="N", help="Unix time at which the address expires")
        if name == "build":
            command.add_argument(
                "--base-url", metavar="U", help="address of the service (default: server.public_url)"
            )
            command.add_argument(
                "--dialect",
                choices=BUILT_DIALECTS,
                metavar="D",
                help=f"in another proxy's grammar: {', '.join(BUILT_DIALECTS)}",
            )
    unwrap = commands.add_parser("unwrap", help="print the sources inside wrappers")
    unwrap.add_argument("urls", nargs="+", metavar="URL")
    explain = commands.add_parser("explain", help="explain one of our addresses")
    explain.add_argument("url", metavar="URL", help="one of our addresses, with or without scheme and host")
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        # Also accepted after the action. Its absence there must not override one given before.
        command.add_argument("--config", metavar="F", default=argparse.SUPPRESS, help="configuration file")


def run(args: argparse.Namespace, config: Config) -> int:
    """Run the action."""
    actions = {"build": _build, "sign": _sign, "unwrap": _unwrap, "explain": _explain}
    try:
        return actions[args.action](args, config)
    except MirrorError as error:
        return complain(error.message)
    except ValueError as error:
        return complain(error)


def _build(args: argparse.Namespace, config: Config) -> int:
    base_url = (args.base_url or config.server.public_url).rstrip("/")
    if args.base_url and (problem := base_url_problem(args.base_url)):
        return complain(f"--base-url {problem}")
    if args.dialect:
        return _build_in(args.dialect, base_url, args, config)
    options, source = canonical_options(args.options, config), read_source(args.source)
    sig = _signature(options, source, args, config)
    url = build(base_in_a_labels(base_url), options, source, sig=sig, exp=args.exp)
    if args.json:
        say(json.dumps({"url": url} | _signed(options, source, sig, args.exp), indent=1))
    else:
        say(url)
    return 0


def _build_in(dialect: str, base_url: str, args: argparse.Namespace, config: Config) -> int:
    """Print an address in another proxy's grammar, signed if the configuration has keys for it."""
    if args.exp is not None:
        raise InvalidRequest("--exp belongs to our own addresses.")
    options, source = canonical_options(args.options, config), read_source(args.source)
    built = dialect_address(dialect, base_url, options, source, config=config)
    as_json = {"url": built.url, "options": built.asked, "source": source.url}
    say(json.dumps(as_json, indent=1) if args.json else built.url)
    return 0


def _sign(args: argparse.Namespace, config: Config) -> int:
    options, source = canonical_options(args.options, config), read_source(args.source)
    sig = _signature(options, source, args, config)
    if sig is None:
        raise InvalidRequest("There is no key to sign with: set sources.keys.")
    if args.json:
        say(json.dumps(_signed(options, source, sig, args.exp), indent=1))
    else:
        say(sig)
    return 0


def _signed(options: str, source: Source, sig: str | None, exp: int | None) -> dict[str, Any]:
    return {"options": options, "source": source.url, "sig": sig, "exp": exp}


def _unwrap(args: argparse.Namespace, config: Config) -> int:
    own = base_spellings((config.server.public_url, *config.rewrite.former_urls))
    unwrapper = Unwrapper(config.rewrite.prefixes, own=own)
    answers = [_unwrapped(unwrapper, url) for url in args.urls]
    if args.json:
        print(json.dumps(answers, indent=1))
    else:
        for answer in answers:
            _print_unwrapped(answer)
    return 0 if all("source" in answer for answer in answers) else 1


def _unwrapped(unwrapper: Unwrapper, url: str) -> dict[str, Any]:
    try:
        unwrapped = unwrapper.unwrap(url)
    except MirrorError as error:
        return {"url": url, "error": error.code, "reason": error.message}
    if unwrapped is None:
        return {"url": url, "reason": "not a known wrapper"}
    return {
        "url": url,
        "source": unwrapped.source.url,
        "steps": unwrapped.steps,
        "options": unwrapped.options,
        "dropped": unwrapped.dropped,
    }


def _print_unwrapped(answer: dict[str, Any]) -> None:
    if "source" not in answer:
        print(f"imgmirror: {answer['url']!a}: {answer['reason']}", file=sys.stderr)
        return
    print(answer["source"])
    if answer["options"]:
        asked = ", ".join(f"{name}={value}" for name, value in sorted(answer["options"].items()))
        print(f"imgmirror: asked: {asked}", file=sys.stderr)
    if answer["dropped"]:
        print(f"imgmirror: dropped: {', '.join(answer['dropped'])}", file=sys.stderr)


def _explain(args: argparse.Namespace, config: Config) -> int:
    target, address = _target(args.url, config), SplitAddress.parse(args.url)
    try:
        policy = make_policy(config)
    except OSError as error:
        # The manifest that the configuration names cannot be read.
        return complain(error)
    plans = Plans(config, policy, make_signer(config))
    root = plans.root_of(address.host) if address else ""
    plan = plans.read(target, root=root)
    explanation = _explanation(plan)
    try:
        plans.make(target, now=time.time(), root=root)
        explanation["admitted"] = True
    except MirrorError as error:
        explanation |= {"admitted": False, "error": error.code, "reason": error.message}
    if args.json:
        print(json.dumps(explanation, indent=1))
    else:
        for name, value in explanation.items():
            print(f"{name}: {'yes' if value is True else 'no' if value is False else value}")
    return 0 if explanation["admitted"] else 1


def _explanation(plan: Plan) -> dict[str, Any]:
    explanation: dict[str, Any] = {"kind": plan.kind, "source": plan.source.url}
    if plan.served is not None:
        explanation["dialect"] = plan.dialect
        explanation |= {"ignored": ", ".join(plan.served.ignored)} if plan.served.ignored else {}
    if plan.steps:
        explanation["unwrapped"] = ", ".join(plan.steps)
    if plan.transform is not None and plan.resolved is not None:
        explanation |= {"options": plan.transform.canonical(), "resolved": plan.resolved.text}
    if plan.expires_at is not None:
        explanation["expires_at"] = plan.expires_at
    return explanation


def _signature(options: str, source: Source, args: argparse.Namespace, config: Config) -> str | None:
    if args.exp is not None and not 0 <= args.exp <= MAX_UNIX_TIME:
        raise InvalidRequest("--exp is a Unix time in whole seconds.")
    signer = make_signer(config)
    return signer.sign(options, source.url, exp=args.exp) if signer else None


def _target(url: str, config: Config) -> str:
    """Return the request target of one of our addresses, as the service receives it."""
    address = SplitAddress.parse(url)
    if address is None:
        return url
    bases = map(SplitAddress.parse, base_spellings([config.server.public_url]))
    prefixes = (base.path.rstrip("/") for base in bases if base and base.host == address.host)
    return ("/" + address.rest).removeprefix(next(prefixes, ""))
