"""Plans: what a request target means, worked out once for each distinct target. Pure but for its bounded memory.

A hit then costs a look-up: parsing, unwrapping, policy and signature were settled the first time. A reload of the
configuration makes new plans.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from proxy.config import Config
from proxy.dialects.native import parse as parse_native
from proxy.dialects.worker import is_worker
from proxy.dialects.worker import parse as parse_worker
from proxy.errors import InvalidSource, NotFound, SignatureExpired
from proxy.images.transform import Resolved, Transform
from proxy.policy import Policy
from proxy.services.articles import unwrapper_of
from proxy.services.variants import Asked
from proxy.signing import Signer
from proxy.source import Source
from proxy.web.hints import CONNECTION_HINTS
from proxy.web.negotiate import acceptable_formats

IMAGE_MOUNT = "/image/"
MAX_PLANS = 8_192
MAX_REMEMBERED_LENGTH = 1_024
"""Longer targets are read each time: what clients can make up must not fill the memory."""

PlanKind = Literal["original", "variant"]


@dataclass(slots=True)
class Plan:
    """One admitted request target.

    kind `original` has no transform; `version` is the digest when bytes of its history are asked for. `steps`
    names the wrappers that were taken off. `expires_at` is the end of the signature, unix seconds, or None.
    """

    kind: PlanKind
    source: Source
    steps: tuple[str, ...] = ()
    transform: Transform | None = None
    resolved: Resolved | None = None
    expires_at: int | None = None
    version: str = ""
    asked_before: dict[tuple[tuple[str, ...], bool], Asked] = field(default_factory=dict)

    @property
    def negotiated(self) -> bool:
        """Whether the answer depends on `Accept`."""
        return self.resolved is not None and self.resolved.format == "auto"

    @property
    def minds_connection(self) -> bool:
        """Whether the answer depends on how fast the client's line is."""
        return self.resolved is not None and self.resolved.slow_connection_quality is not None

    @property
    def vary(self) -> str:
        """The request headers that the answer depends on, empty when on none."""
        names = ("Accept",) if self.negotiated else ()
        return ", ".join(names + CONNECTION_HINTS if self.minds_connection else names)

    def asked(self, accept: str | None, offered: tuple[str, ...], *, slow: bool = False) -> Asked:
        """Return the variant asked for by a client that sent `accept`, over a `slow` line or not."""
        if self.resolved is None:
            raise NotFound(detail="an original has no variant")
        formats = acceptable_formats(accept, offered) if self.negotiated else (self.resolved.format,)
        known = self.asked_before.get((formats, slow))
        if known is None:
            resolved = self.resolved.for_slow_connection() if slow else self.resolved
            known = self.asked_before[formats, slow] = Asked(self.source, resolved, formats)
        return known


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

    def make(self, target: str, *, now: float) -> Plan:
        """Return the plan of a raw request target (origin-form, not decoded).

        Raises:
            RequestError: what is wrong with it, or why it is not admitted.
        """
        plan = self.read(target)
        self._admit(plan, target, now=now)
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
            raise InvalidSource(
                "Write the picture's address behind the question mark: /?http://host/picture.png"
            )
        source, steps = self._unwrapper.opened(parse_worker(query))
        return Plan("original", source, steps)

    def _native(self, target: str) -> Plan:
        asked = parse_native(target, mount=IMAGE_MOUNT)
        source, steps = self._unwrapper.opened(asked.source)
        # Where nothing is signed, `exp` says nothing.
        expires_at = asked.exp if self._signer else None
        if asked.is_original:
            return Plan("original", source, steps, expires_at=expires_at, version=asked.version)
        transform = Transform.parse(asked.options)
        resolved = transform.resolved(self._config.presets)
        resolved.require_within(
            max_output_side=self._config.render.max_output_side,
            max_output_pixels=self._config.render.max_output_pixels,
        )
        return Plan("variant", source, steps, transform, resolved, expires_at=expires_at)

    def _admit(self, plan: Plan, target: str, *, now: float) -> None:
        signed = self.verified(plan, target, now=now)
        preset_only = plan.transform is None or plan.transform.is_preset_only
        self._policy.admit(plan.source, transform_is_preset_only=preset_only, signed=signed)

    def verified(self, plan: Plan, target: str, *, now: float) -> bool | None:
        """Return True for a good signature, None where there are no keys or the form carries no signature.

        Raises:
            SignatureMissing, SignatureMismatch, SignatureExpired: what is wrong with it.
        """
        if self._signer is None or not target.startswith(IMAGE_MOUNT):
            return None
        asked = parse_native(target, mount=IMAGE_MOUNT)
        options = plan.transform.canonical() if plan.transform else asked.options
        self._signer.verify(options, asked.source.url, sig=asked.sig, exp=asked.exp, now=now)
        return True
