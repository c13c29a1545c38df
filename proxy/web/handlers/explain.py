"""`/explain/{address}`: what would happen to a request and why, without asking any origin. Event loop.

It never resolves a host name, so its answers for prohibited and for unreachable addresses are the same.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from cache.base.entry import Entry, Former
from cache.http.freshness import remaining_seconds
from proxy.dialects.base.address import SplitAddress
from proxy.dialects.native import VERSION_MARK, build
from proxy.errors import MirrorError
from proxy.images.choice import ANYWAY, FALLBACK, LOWER
from proxy.services.serving.untouched import is_answered_untouched
from proxy.web.admin import require_admin
from proxy.web.answering.responses import joined
from proxy.web.context import Context
from proxy.web.targets.admission import Claim
from proxy.web.targets.plans import Plan

EXPLAIN_MOUNT = "/explain/"
SERVICE_ADDRESSES = frozenset(
    {"/healthz", "/readyz", "/metrics", "/rewrite", "/purge", "/cors/", "/cors/iscorsneeded"}
)


async def explain(context: Context, request: web.BaseRequest) -> web.Response:
    """Answer the explanation of another address of this service, as JSON."""
    require_admin(request, context.config.server)
    target = request.raw_path[request.raw_path.index(EXPLAIN_MOUNT) + len(EXPLAIN_MOUNT) - 1 :]
    root, target = _at_host(context, target)
    explanation = await explained(context, target, joined(request, "Accept"), root=root)
    return web.json_response(explanation, headers={"Cache-Control": "no-store"})


def _at_host(context: Context, target: str) -> tuple[str, str]:
    """Return the dialect and the target of `/http://host/…` when the host speaks another proxy's dialect.

    For any other target, return an empty dialect and the target unchanged.
    """
    address = SplitAddress.parse(target[1:])
    root = context.plans.root_of(address.host) if address and target[1:5].lower() == "http" else ""
    return (root, "/" + address.rest) if address and root else ("", target)


async def explained(context: Context, target: str, accept: str | None, *, root: str = "") -> dict[str, Any]:
    """Return the explanation of a target, for a client that sends `accept`. `root`: the dialect of the host."""
    path = target.partition("?")[0]
    is_ours = path in SERVICE_ADDRESSES or path.split("/")[1] in {"api", "desk"}
    if (not root and is_ours) or path.startswith(EXPLAIN_MOUNT) or target == "/":
        return {
            "target": target,
            "kind": "service",
            "note": "answered by the service itself; no source is asked",
        }
    try:
        plan = context.plans.read(target, root=root)
    except MirrorError as error:
        return {"target": target, "error": _error(error)}
    entry = await context.originals.peek(plan.source)
    explanation = {
        "target": target,
        "kind": plan.kind,
        "dialect": plan.dialect or None,
        "ignored": list(plan.served.ignored) if plan.served else [],
        "source": plan.source.url,
        "unwrapped": list(plan.steps),
        "transform": _transform(plan),
        "policy": _policy(context, target, plan, root=root),
        "blocked": await context.kept.is_blocked(plan.source.url),
        "original": await _original(context, plan, entry),
    }
    if plan.kind == "variant":
        explanation["format"] = await _format(context, plan, entry, accept)
    return explanation


def _transform(plan: Plan) -> dict[str, str] | None:
    if plan.transform is None or plan.resolved is None:
        return None
    return {"canonical": plan.transform.canonical(), "resolved": plan.resolved.text}


def _policy(context: Context, target: str, plan: Plan, *, root: str) -> dict[str, Any]:
    try:
        claim = context.plans.claim(plan, target, now=context.now())
    except MirrorError:
        claim = Claim(False)
    rules = context.policy.explain(
        plan.source,
        transform_is_preset_only=context.plans.is_bounded(plan, claim),
        signed=claim.signed,
        covers_options=claim.covers_options,
    )
    verdict: dict[str, Any] = {"admitted": True, "rules": [_plain(rule) for rule in rules]}
    try:
        context.plans.make(target, now=context.now(), root=root)
    except MirrorError as error:
        verdict |= {"admitted": False, "error": _error(error)}
    return verdict


def _plain(rule: Any) -> Any:
    return dataclasses.asdict(rule) if dataclasses.is_dataclass(rule) and not isinstance(rule, type) else rule


async def _original(context: Context, plan: Plan, entry: Entry | None) -> dict[str, Any]:
    failure = await context.originals.failure_of(plan.source)
    if entry is None:
        # The answer does not say for how long, because that would tell prohibited and unreachable addresses apart.
        later = (
            "a failure is remembered: the origin is asked again after a while, or after the source is purged"
        )
        return {
            "state": "absent",
            "next": later if failure else "the origin is asked when this is requested",
            "last_fetch_failed": _error(failure) if failure else None,
        }
    now = context.now()
    remaining = remaining_seconds(entry, now=now, min_fresh_seconds=context.config.fetch.min_fresh)
    return {
        "state": "fresh" if remaining > 0 else "stale",
        "sha256": entry.body_sha256,
        "bytes": entry.body_size,
        "media_type": entry.media_type,
        "damaged": entry.damaged,
        "picture": dict(entry.picture) if entry.picture else None,
        "overloads": await _overloads(context, entry),
        "recovered": dict(entry.recovered) if entry.recovered else None,
        "history": [_former(plan, item) for item in entry.history],
        "validated_at": _date(entry.validated_at),
        "next_revalidation": _date(now + max(remaining, 0.0)),
        "last_refresh_failed": _error(failure) if failure else None,
    }


async def _overloads(context: Context, entry: Entry) -> list[dict[str, Any]]:
    known = await context.overloads.look(entry.body_sha256)
    return [
        {
            "step": found.step,
            "error": _error(found.error()),
            "from_pixels": found.pixels,
            "failures": found.count,
            "tried_again_from": _date(found.until),
        }
        for found in (*known.present.values(), *known.past.values())
    ]


def _former(plan: Plan, item: Former) -> dict[str, Any]:
    return {
        "sha256": item.body_sha256,
        "bytes": item.body_size,
        "media_type": item.media_type,
        "fetched_at": _date(item.fetched_at),
        "set_aside": item.note or None,
        "recovered": dict(item.recovered) if item.recovered else None,
        "address": build("", VERSION_MARK + item.body_sha256, plan.source),
    }


async def _format(context: Context, plan: Plan, entry: Entry | None, accept: str | None) -> dict[str, Any]:
    asked = plan.asked(accept, context.config.render.formats)
    chosen = None
    if entry is not None:
        chosen = await context.variants.output_format(entry, asked)
    if entry is not None and is_answered_untouched(entry, asked.acceptable):
        chosen = "the original"
    named = [FALLBACK if name == ANYWAY else name for name in asked.acceptable if name != LOWER]
    return {"acceptable": named, "chosen": chosen, "varies_by": plan.vary}


def _error(error: MirrorError) -> dict[str, Any]:
    return {"code": error.code, "status": error.status, "message": error.message}


def _date(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return "never"
