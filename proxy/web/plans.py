"""Plans: what a request target means, worked out once for each distinct target. Pure but for its bounded memory.

A hit then costs a look-up: parsing, unwrapping, policy and signature were settled the first time. A reload of the
configuration makes new plans.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from contextlib import suppress
from dataclasses import InitVar, dataclass, field
from typing import Literal

from cache.spelling import former_spelling
from proxy.config import Config
from proxy.dialects.escapes import percent_decode
from proxy.dialects.native import parse as parse_native
from proxy.dialects.worker import is_worker
from proxy.dialects.worker import parse as parse_worker
from proxy.errors import (
    InvalidSource,
    InvalidTransform,
    NotFound,
    SignatureExpired,
    SignatureMismatch,
    SourceNotAllowed,
)
from proxy.images.formats import UNTOUCHED
from proxy.images.geometry import Limits, Size, make_plan, require_within
from proxy.images.transform import Resolved, Transform
from proxy.policy import Policy
from proxy.services.articles import unwrapper_of
from proxy.services.variants import Asked
from proxy.signing import Signer
from proxy.source import Source
from proxy.web.hints import NO_HINTS, Hints, Minded
from proxy.web.negotiate import acceptable_formats, admits_svg

IMAGE_MOUNT = "/image/"
MAX_PLANS = 8_192
MAX_REMEMBERED_LENGTH = 1_024
"""Longer targets are read each time: what clients can make up must not fill the memory."""

PlanKind = Literal["original", "variant"]


@dataclass(slots=True)
class Plan:
    """One admitted request target.

    kind `original` has no transform; `version` is the digest when bytes of its history are asked for. `steps`
    names the wrappers that were taken off, `written` are their own addresses, the inner ones first: what was kept under
    one of them before its grammar was known still answers when the source does not. `askable` are those that may be
    fetched when the source is dead. `refusal` is set where only what is kept is admitted. `expires_at` is the end of
    the signature, unix seconds, or None. `minded` are the hints that the answer depends on, None when on none; those
    of a picture's place count only with `client_hints`. `headers` are the same in every answer.
    """

    kind: PlanKind
    source: Source
    steps: tuple[str, ...] = ()
    transform: Transform | None = None
    resolved: Resolved | None = None
    expires_at: int | None = None
    version: str = ""
    limits: Limits = field(default_factory=Limits)
    written: tuple[Source, ...] = ()
    askable: tuple[Source, ...] = ()
    refusal: SourceNotAllowed | None = None
    client_hints: InitVar[bool] = False
    minded: Minded | None = field(init=False)
    headers: dict[str, str] = field(init=False)

    def __post_init__(self, client_hints: bool) -> None:
        hinted = self.resolved.hinted if self.resolved is not None and client_hints else frozenset()
        slow = self.resolved is not None and self.resolved.slow_connection_quality is not None
        minded = Minded(slow, "width" in hinted, "dpr" in hinted)
        self.minded = minded if any(minded) else None
        vary = (("Accept",) if self.negotiated else ()) + minded.vary
        headers = {"Vary": vary, "Accept-CH": minded.accept_ch}
        self.headers = {name: ", ".join(words) for name, words in headers.items() if words}

    def at(self, source: Source) -> Plan:
        """Return the same plan for what is kept under another address of the source."""
        plan = copy.copy(self)
        plan.source, plan.written, plan.askable, plan.refusal = source, (), (), None
        return plan

    @property
    def negotiated(self) -> bool:
        """Whether the answer depends on `Accept`."""
        return self.resolved is not None and self.resolved.format == "auto"

    @property
    def vary(self) -> str:
        """The request headers that the answer depends on, empty when on none."""
        return self.headers.get("Vary", "")

    def asked(self, accept: str | None, offered: tuple[str, ...], *, hints: Hints = NO_HINTS) -> Asked:
        """Return the variant asked for by a client that sent `accept` and `hints`."""
        if self.resolved is None:
            raise NotFound(detail="an original has no variant")
        formats = self._formats(self.resolved, accept, offered)
        resolved = self.resolved if hints == NO_HINTS else _hinted(self.resolved, hints, self.limits)
        return Asked(self.source, resolved, formats, self.askable)

    def _formats(self, resolved: Resolved, accept: str | None, offered: tuple[str, ...]) -> tuple[str, ...]:
        if not self.negotiated:
            return (resolved.format,)
        formats = acceptable_formats(accept, offered)
        return (*formats, UNTOUCHED) if resolved.only_resizes and admits_svg(accept) else formats

    def density(self, asked: Asked, original: Size) -> float | None:
        """Return how many pixels of the answer stand for one CSS pixel of what is asked for without hints.

        None where no DPR hint acted: a width from a hint is the page's own, and needs no words. `original` is the
        upright size of the original.
        """
        if self.resolved is None or self.resolved.trim or asked.resolved.dpr == self.resolved.dpr:
            return None
        natural = original[::-1] if self.resolved.rotate in {90, 270} else original
        plans = [make_plan(natural, wanted, limits=self.limits) for wanted in (asked.resolved, self.resolved)]
        return plans[0].canvas[0] / plans[1].canvas[0]


def _hinted(resolved: Resolved, hints: Hints, limits: Limits) -> Resolved:
    """Return the transform for a browser that sent `hints`: the nearest one within the limits."""
    if hints.slow:
        resolved = resolved.for_slow_connection()
    for smaller in hints.downwards():
        wanted = resolved.for_hints(width_px=smaller.width_px, dpr=smaller.dpr)
        try:
            require_within(wanted, limits)
        except InvalidTransform:
            # Nobody wrote this width or density into an address: there is no one to be told.
            continue
        return wanted
    return resolved


class Plans:
    """The reader of request targets, with a bounded memory of the latest ones."""

    def __init__(self, config: Config, policy: Policy, signer: Signer | None) -> None:
        self._config = config
        self._policy = policy
        self._signer = signer
        self._unwrapper = unwrapper_of(config)
        self._known: OrderedDict[str, Plan] = OrderedDict()

    def known(self, target: str, *, now: float) -> Plan | None:
        """Return the plan of a target seen before, or None."""
        plan = self._known.get(target)
        if plan is not None and plan.expires_at is not None and plan.expires_at <= now:
            raise SignatureExpired
        return plan

    def make(self, target: str, *, now: float, kept_counts: bool = False) -> Plan:
        """Return the plan of a raw request target (origin-form, not decoded).

        `kept_counts`: a source that is not admitted, where a wrapper's own address is, gets a plan with its
        `refusal`, for an original that is kept under that address.

        Raises:
            RequestError: what is wrong with it, or why it is not admitted.
        """
        plan = self.read(target)
        self._admit(plan, target, now=now)
        if plan.refusal is not None and not kept_counts:
            raise plan.refusal
        if len(target) <= MAX_REMEMBERED_LENGTH:
            self._known[target] = plan
        if len(self._known) > MAX_PLANS:
            self._known.popitem(last=False)
        return plan

    def read(self, target: str) -> Plan:
        """Return what `target` says, without asking whether it is admitted."""
        path, _, query = target.partition("?")
        if path == "/":
            return self._worker(query)
        if path.startswith(IMAGE_MOUNT):
            return self._native(target)
        raise NotFound

    def _worker(self, query: str) -> Plan:
        if not is_worker(query):
            _require_no_other_scheme(query)
            raise InvalidSource(
                "Write the picture's address behind the question mark: /?http://host/picture.png"
            )
        way = self._unwrapper.way(parse_worker(query))
        return Plan("original", way.source, way.steps, written=way.written)

    def _native(self, target: str) -> Plan:
        asked = parse_native(target, mount=IMAGE_MOUNT)
        way = self._unwrapper.way(asked.source)
        # Where nothing is signed, `exp` says nothing.
        expires_at = asked.exp if self._signer else None
        if asked.is_original:
            return Plan(
                "original",
                way.source,
                way.steps,
                expires_at=expires_at,
                version=asked.version,
                written=way.written,
            )
        transform = Transform.parse(asked.options)
        resolved = transform.resolved(self._config.presets)
        render = self._config.render
        limits = Limits(render.max_output_side, render.max_output_pixels)
        require_within(resolved, limits)
        return Plan(
            "variant",
            way.source,
            way.steps,
            transform,
            resolved,
            expires_at=expires_at,
            limits=limits,
            written=way.written,
            client_hints=render.client_hints,
        )

    def _admit(self, plan: Plan, target: str, *, now: float) -> None:
        signed = self.verified(plan, target, now=now)
        widths = self._config.rewrite.widths
        bounded = plan.transform is None or plan.transform.is_bounded(widths)
        way = (plan.source, *plan.written) if plan.written else ()
        if any(self._policy.denied(source) for source in way):
            raise SourceNotAllowed(detail="sources.deny names it, or a wrapper on the way")
        try:
            self._policy.admit(plan.source, transform_is_preset_only=bounded, signed=signed)
        except SourceNotAllowed as refusal:
            plan.written = tuple(
                source for source in plan.written if self._admits(source, bounded=bounded, signed=signed)
            )
            if not plan.written:
                raise
            plan.refusal = refusal
        plan.askable = tuple(source for source in plan.written if self._may_be_asked(source))

    def _may_be_asked(self, source: Source) -> bool:
        try:
            self._policy.check_hop(source)
        except SourceNotAllowed:
            return False
        return True

    def _admits(self, source: Source, *, bounded: bool, signed: bool | None) -> bool:
        try:
            self._policy.admit(source, transform_is_preset_only=bounded, signed=signed)
        except SourceNotAllowed:
            return False
        return True

    def verified(self, plan: Plan, target: str, *, now: float) -> bool | None:
        """Return True for a good signature, None where there are no keys or the form carries no signature.

        Raises:
            SignatureMissing, SignatureMismatch, SignatureExpired: what is wrong with it.
        """
        if self._signer is None or not target.startswith(IMAGE_MOUNT):
            return None
        asked = parse_native(target, mount=IMAGE_MOUNT)
        options = plan.transform.canonical() if plan.transform else asked.options
        former = former_spelling(asked.source.url)
        try:
            self._signer.verify(options, asked.source.url, sig=asked.sig, exp=asked.exp, now=now)
        except SignatureMismatch:
            # Published when the canonical source left `|` and others as they were.
            if former is None:
                raise
            self._signer.verify(options, former, sig=asked.sig, exp=asked.exp, now=now)
        return True


def _require_no_other_scheme(query: str) -> None:
    """Let a query pass that names no source, or raise.

    Raises:
        SourceNotAllowed: it names one with a scheme other than http and https.
    """
    with suppress(InvalidSource):
        Source.parse(percent_decode(query))
