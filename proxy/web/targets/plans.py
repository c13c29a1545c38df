"""Plans: the meaning of a request target, worked out once for each distinct target. Pure, except for a bounded cache.

A hit then costs one look-up, because parsing, unwrapping, policy and signature were settled the first time. A reload of
the configuration makes new plans.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from contextlib import suppress
from dataclasses import InitVar, dataclass, field
from typing import Literal

from proxy.config import Config, host_name
from proxy.dialects import Way
from proxy.dialects.base.escapes import percent_decode, read_source
from proxy.dialects.base.serving import PRESET, Served
from proxy.dialects.grammars.worker import is_worker
from proxy.dialects.grammars.worker import parse as parse_worker
from proxy.dialects.mounts import Mounted, mounted
from proxy.dialects.native import MOUNT, NativeRequest
from proxy.dialects.native import parse as parse_native
from proxy.errors import (
    InvalidSource,
    InvalidTransform,
    NotFound,
    SignatureExpired,
    SourceNotAllowed,
)
from proxy.images.formats import UNTOUCHED
from proxy.images.geometry import OutputLimits, Size, make_plan, require_within
from proxy.images.transforms.transform import Resolved, Transform
from proxy.policy import Policy
from proxy.services.articles.article_use import unwrapper_of
from proxy.services.serving.values import PictureOrder
from proxy.signing import Signer
from proxy.source import Source
from proxy.web.targets.admission import UNSIGNED, Admission, Claim
from proxy.web.targets.hints import NO_HINTS, Hints, Minded
from proxy.web.targets.negotiate import acceptable_formats, admits_svg

MAX_PLANS = 8_192
MAX_REMEMBERED_LENGTH = 1_024
"""Longer targets are not cached: clients can invent any number of them and would fill the memory."""

IGNORED = "X-Imgmirror-Ignored"
"""The header that names options of another proxy's address that we ignore."""

_MAX_IGNORED = 40

PlanKind = Literal["original", "variant"]


@dataclass(slots=True)
class Plan:
    """One admitted request target.

    kind: `original` has no transform. steps: the names of the unwrapped wrappers. version: the digest of an earlier
    version when the target names one, else empty. expires_at: when the signature expires, Unix seconds, or None.

    written: the addresses of the wrappers, innermost first. An original that was kept under one of them, before we
    knew its grammar, still answers when the source does not. askable: the addresses in `written` that may be fetched
    when the source is dead. refusal: set when the source is not admitted, so that only a kept original may be answered.

    dialect: the name of the other proxy's grammar, empty for our own. served: the address as read in that grammar.
    minded: the hints that the answer depends on, or None; hints about a picture's place count only with
    `client_hints`. headers: headers that every answer carries. is_look: answers are no uses
    of the picture.
    """

    kind: PlanKind
    source: Source
    steps: tuple[str, ...] = ()
    transform: Transform | None = None
    resolved: Resolved | None = None
    expires_at: int | None = None
    version: str = ""
    limits: OutputLimits = field(default_factory=OutputLimits)
    written: tuple[Source, ...] = ()
    askable: tuple[Source, ...] = ()
    refusal: SourceNotAllowed | None = None
    dialect: str = ""
    served: Served | None = None
    is_look: bool = False
    client_hints: InitVar[bool] = False
    minded: Minded | None = field(init=False)
    headers: dict[str, str] = field(init=False)

    def __post_init__(self, client_hints: bool) -> None:
        hinted = self.resolved.hinted if self.resolved is not None and client_hints else frozenset()
        slow = self.resolved is not None and self.resolved.slow_connection_quality is not None
        minded = Minded(slow, "width" in hinted, "dpr" in hinted)
        self.minded = minded if any(minded) else None
        vary = (("Accept",) if self.negotiated else ()) + minded.vary
        ignored = self.served.ignored if self.served else ()
        if len(ignored) > _MAX_IGNORED:
            # Servers in front of us reject long header fields.
            ignored = (*ignored[:_MAX_IGNORED], "...")
        headers = {"Vary": vary, "Accept-CH": minded.accept_ch, IGNORED: ignored}
        self.headers = {name: ", ".join(words) for name, words in headers.items() if words}

    def at(self, source: Source) -> Plan:
        """Return the same plan for an original that is kept under another address of the source."""
        plan = copy.copy(self)
        plan.source, plan.written, plan.askable, plan.refusal = source, (), (), None
        return plan

    @property
    def negotiated(self) -> bool:
        """Whether the answer depends on `Accept`."""
        return self.resolved is not None and self.resolved.format == "auto"

    @property
    def vary(self) -> str:
        """The request headers that the answer depends on; empty when there are none."""
        return self.headers.get("Vary", "")

    def asked(self, accept: str | None, offered: tuple[str, ...], *, hints: Hints = NO_HINTS) -> PictureOrder:
        """Return the variant for a client that sent `accept` and `hints`."""
        if self.resolved is None:
            raise NotFound(detail="an original has no variants")
        formats = self._formats(self.resolved, accept, offered)
        resolved = self.resolved if hints == NO_HINTS else _hinted(self.resolved, hints, self.limits)
        return PictureOrder(self.source, resolved, formats, self.askable)

    def _formats(self, resolved: Resolved, accept: str | None, offered: tuple[str, ...]) -> tuple[str, ...]:
        if not self.negotiated:
            return (resolved.format,)
        formats = acceptable_formats(accept, offered)
        return (*formats, UNTOUCHED) if resolved.only_resizes and admits_svg(accept) else formats

    def density(self, asked: PictureOrder, original: Size) -> float | None:
        """Return how many pixels of the answer correspond to one pixel of the answer without hints.

        Return None when no DPR hint applied. A width hint needs no density: the page itself set that width. `original`
        is the size of the original in pixels after EXIF orientation.
        """
        if self.resolved is None or self.resolved.trim or asked.resolved.dpr == self.resolved.dpr:
            return None
        natural = original[::-1] if self.resolved.rotate in {90, 270} else original
        plans = [make_plan(natural, wanted, limits=self.limits) for wanted in (asked.resolved, self.resolved)]
        return plans[0].canvas[0] / plans[1].canvas[0]


def _hinted(resolved: Resolved, hints: Hints, limits: OutputLimits) -> Resolved:
    """Return the transform for a browser that sent `hints`, reduced until it is within the limits."""
    if hints.slow:
        resolved = resolved.for_slow_connection()
    for smaller in hints.downwards():
        wanted = resolved.for_hints(width_px=smaller.width_px, dpr=smaller.dpr)
        try:
            require_within(wanted, limits)
        except InvalidTransform:
            # The width or density comes from a hint, not from the address, so an error would inform nobody.
            continue
        return wanted
    return resolved


class Plans:
    """Reads request targets and remembers a bounded number of the latest plans."""

    def __init__(self, config: Config, policy: Policy, signer: Signer | None) -> None:
        self._config = config
        self._policy = policy
        self._admission = Admission(config, signer)
        self._has_keys = signer is not None
        self._hosts = config.hosts
        self._unwrapper = unwrapper_of(config)
        self._known: OrderedDict[str, Plan] = OrderedDict()

    @property
    def has_hosts(self) -> bool:
        """Whether any host speaks a dialect at its root."""
        return bool(self._hosts)

    def root_of(self, host: str | None) -> str:
        """Return the dialect at the root of a host, given as in `Host`; empty for our own hosts."""
        return self._hosts.get(host_name(host), "") if self._hosts and host else ""

    def known(self, target: str, *, now: float, root: str = "") -> Plan | None:
        """Return the plan of a target that was seen before, or None. `root` is the same as for `make`.

        Raises:
            SignatureExpired: the signature of the target has expired.
        """
        plan = self._known.get(root + target)
        if plan is not None and plan.expires_at is not None and plan.expires_at <= now:
            raise SignatureExpired
        return plan

    def make(self, target: str, *, now: float, root: str = "", kept_counts: bool = False) -> Plan:
        """Return the plan of a raw request target (origin-form, not decoded).

        `root` is the dialect of the requested host, empty for our own hosts. With `kept_counts`, a source that is not
        admitted still gets a plan when the address of a wrapper around it is admitted. The plan then carries a
        `refusal` and allows only an original that is kept under that address.

        Raises:
            RequestError: the target is invalid or not admitted.
        """
        plan = self.read(target, root=root)
        self._admit(plan, target, now=now)
        # The signature is verified; a remembered plan no longer needs its parts.
        plan.served = None
        if plan.refusal is not None and not kept_counts:
            raise plan.refusal
        if len(target) <= MAX_REMEMBERED_LENGTH:
            # A target begins with `/` and a dialect's name does not, so the two cannot be confused.
            self._known[root + target] = plan
        if len(self._known) > MAX_PLANS:
            self._known.popitem(last=False)
        return plan

    def read(self, target: str, *, root: str = "") -> Plan:
        """Return the plan of `target` without checking admission. `root` is the same as for `make`."""
        path, _, query = target.partition("?")
        if not root and path.startswith(MOUNT):
            return self._native(target)
        other = mounted(target, root=root)
        if other is not None:
            return self._other(other)
        if path == "/":
            return self._worker(query)
        raise NotFound

    def _other(self, mount: Mounted) -> Plan:
        """Return the plan of an address in another proxy's grammar. Without options it gets the original."""
        served = mount.grammar.serve_rest(mount.rest)
        way = self._unwrapper.way(read_source(served.source))
        options = dict(served.options)
        preset = options.pop(PRESET, None)
        transform = Transform.of_texts(options, preset=preset) if options or preset else None
        return self._plan(
            way,
            transform,
            expires_at=served.expires_at,
            dialect=mount.grammar.name,
            served=served,
        )

    def _worker(self, query: str) -> Plan:
        if not is_worker(query):
            _require_no_other_scheme(query)
            raise InvalidSource(
                "Write the picture's address after the question mark: /?http://host/picture.png"
            )
        way = self._unwrapper.way(parse_worker(query))
        return Plan("original", way.source, way.steps, written=way.written)

    def _native(self, target: str) -> Plan:
        asked = parse_native(target, mount=MOUNT)
        plan = self._of_native(asked)
        plan.is_look = asked.is_look
        return plan

    def _of_native(self, asked: NativeRequest) -> Plan:
        way = self._unwrapper.way(asked.source)
        # Without keys nothing is signed, so `exp` has no meaning.
        expires_at = asked.exp if self._has_keys else None
        if asked.is_original:
            return Plan(
                "original",
                way.source,
                way.steps,
                expires_at=expires_at,
                version=asked.version,
                written=way.written,
            )
        return self._plan(way, Transform.parse(asked.options), expires_at=expires_at)

    def _plan(
        self,
        way: Way,
        transform: Transform | None,
        *,
        expires_at: int | None,
        dialect: str = "",
        served: Served | None = None,
    ) -> Plan:
        render = self._config.render
        limits = OutputLimits(render.max_output_side, render.max_output_pixels)
        resolved = transform.resolved(self._config.presets) if transform else None
        if resolved is not None:
            require_within(resolved, limits)
        return Plan(
            "variant" if transform else "original",
            way.source,
            way.steps,
            transform,
            resolved,
            expires_at=expires_at,
            limits=limits,
            written=way.written,
            dialect=dialect,
            served=served,
            client_hints=render.client_hints,
        )

    def _admit(self, plan: Plan, target: str, *, now: float) -> None:
        claim = self.claim(plan, target, now=now)
        if plan.dialect and plan.expires_at is not None and plan.expires_at <= now:
            raise SignatureExpired
        bounded = self.is_bounded(plan, claim)
        way = (plan.source, *plan.written) if plan.written else ()
        if any(self._policy.denied(source) for source in way):
            raise SourceNotAllowed(detail="sources.deny names it, or a wrapper on the way")
        try:
            self._policy.admit(
                plan.source,
                transform_is_preset_only=bounded,
                signed=claim.signed,
                covers_options=claim.covers_options,
            )
        except SourceNotAllowed as refusal:
            plan.written = tuple(
                source for source in plan.written if self._admits(source, bounded=bounded, claim=claim)
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

    def is_bounded(self, plan: Plan, claim: Claim) -> bool:
        """Return whether the plan asks for the original, a preset, or a width of `rewrite.widths`.

        With a signature that covers only the source, a width does not count.
        """
        if plan.transform is None:
            return True
        return plan.transform.is_bounded(() if claim.covers_options is False else self._config.rewrite.widths)

    def _admits(self, source: Source, *, bounded: bool, claim: Claim) -> bool:
        try:
            self._policy.admit(
                source,
                transform_is_preset_only=bounded,
                signed=claim.signed,
                covers_options=claim.covers_options,
            )
        except SourceNotAllowed:
            return False
        return True

    def claim(self, plan: Plan, target: str, *, now: float) -> Claim:
        """Verify the signature of an address.

        Raises:
            SignatureMissing, SignatureMismatch, SignatureExpired: there are keys, and the signature is not valid.
        """
        if plan.served is not None:
            return self._admission.of_dialect(plan.dialect, plan.served.proof)
        if not target.startswith(MOUNT):
            return UNSIGNED
        return self._admission.of_native(target, plan.transform, now=now)


def _require_no_other_scheme(query: str) -> None:
    """Raise if the query is a URL with a scheme other than http and https.

    Raises:
        SourceNotAllowed: the scheme is not served.
    """
    with suppress(InvalidSource):
        Source.parse(percent_decode(query))
