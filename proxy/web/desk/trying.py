"""Tries one picture with options for the playground: what each format weighs, and its addresses. Event loop.

A trial asks the service for pictures as a visitor does: the same plan, the same admission, the same way. Addresses are
signed only for a visitor who has signed in.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from cache.base.entry import Entry
from proxy.dialects import GRAMMARS
from proxy.dialects.base.escapes import read_source
from proxy.dialects.native import ORIGINAL
from proxy.errors import MirrorError, SignatureMissing, SourceNotAllowed
from proxy.images.formats import BY_NAME, FORMAT_OF_MEDIA_TYPE, OUTPUTS
from proxy.images.geometry import OutputLimits, make_plan
from proxy.images.options.readers import Value
from proxy.images.transforms.transform import Transform
from proxy.services.serving.values import Picture
from proxy.source import Source, base_in_a_labels
from proxy.web.context import Context
from proxy.web.desk.pages import DeskRequest
from proxy.web.targets.building import BUILT_DIALECTS, dialect_address, native_address

_ACCEPT = {name: f"{BY_NAME[name].media_type},*/*;q=0.1" for name in OUTPUTS}
"""The `Accept` header of a browser that prefers a format."""

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Weighed:
    """One format of a trial. address: with this format named, empty where only negotiation is admitted."""

    label: str
    address: str = ""
    bytes: int = 0
    share: float | None = None
    media_type: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class InDialect:
    """The address of a trial in another proxy's grammar, or why it has none."""

    name: str
    url: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of one trial in the playground.

    address, original: targets on this service. url: the whole address for articles. size: of the result in pixels, None
    if unknown; natural: of the original. problem: why there is no result.
    """

    source: str
    options: str
    address: str
    original: str
    url: str
    problem: MirrorError | None = None
    entry: Entry | None = None
    natural: Size | None = None
    size: Size | None = None
    formats: tuple[Weighed, ...] = ()
    dialects: tuple[InDialect, ...] = ()
    markup: str = ""


class Trying:
    """Trials of one visitor. `signer` is None for a visitor who has not signed in."""

    def __init__(self, desk: DeskRequest) -> None:
        self._context: Context = desk.context
        self._config = desk.context.config
        self._signer = desk.context.signer if desk.visitor.may_act else None
        self._may_sign = desk.visitor.may_act
        server = self._config.server
        scheme = "https" if desk.visitor.over_https else desk.request.scheme
        self._base = (
            base_in_a_labels(server.public_url) if server.public_url else (f"{scheme}://{desk.request.host}")
        )

    async def trial(self, source_text: str, transform: Transform | None) -> Trial:
        """Return the trial of a picture; without a transform, of its original.

        Raises:
            MirrorError: the source or the options cannot be read.
        """
        source = read_source(source_text)
        if transform is not None:
            transform.resolved(self._config.presets)
        options = transform.canonical() if transform is not None else ORIGINAL
        bare = Trial(
            source.url,
            options,
            address=self._address("", options, source),
            original=self._address("", ORIGINAL, source),
            url=self._address(self._base, options, source),
        )
        try:
            picture = await self._obtained(bare.address, "*/*") if transform is not None else None
            entry = await self._entry(bare, source)
        except MirrorError as error:
            return replace(bare, problem=error, dialects=self._in_dialects(options, source))
        natural = picture.original_size if picture else _size_of(entry)
        size = self._size(transform, natural)
        weighed = await self._weighed(transform, source, entry) if transform is not None else ()
        return replace(
            bare,
            entry=entry,
            natural=natural,
            size=size,
            formats=tuple(weighed),
            dialects=self._in_dialects(options, source),
            markup=self._markup(transform, source, natural, size),
        )

    async def by_preset(self, source_text: str) -> dict[str, Trial]:
        """Return the trials of all presets, by name.

        Raises:
            MirrorError: the source cannot be read.
        """
        read_source(source_text)
        names = list(self._config.presets)
        trials = await asyncio.gather(*(self.trial(source_text, Transform(preset=name)) for name in names))
        return dict(zip(names, trials, strict=True))

    # Inside

    def _address(self, base: str, options: str, source: Source) -> str:
        return native_address(base, options, source, signer=self._signer)

    async def _obtained(self, target: str, accept: str) -> Picture:
        """Return the picture of a target of ours, as a request with this `Accept` would get it."""
        plan = self._context.plans.make(target, now=self._context.now())
        order = plan.asked(accept, self._config.render.formats)
        ways = self._context.variants
        return ways.from_memory(order) or ways.from_store(order) or await ways.obtain(order)

    async def _entry(self, bare: Trial, source: Source) -> Entry | None:
        plan = self._context.plans.make(bare.original, now=self._context.now())
        entry = await self._context.originals.peek(plan.source)
        if entry is None and bare.options == ORIGINAL:
            obtained = await self._context.originals.obtain(plan.source)
            return obtained.entry
        return entry

    async def _weighed(self, transform: Transform, source: Source, entry: Entry | None) -> list[Weighed]:
        return list(await asyncio.gather(*(self._weigh(name, transform, source, entry) for name in OUTPUTS)))

    async def _weigh(self, name: str, transform: Transform, source: Source, entry: Entry | None) -> Weighed:
        label = BY_NAME[name].label
        address = self._address("", _with(transform, format=name).canonical(), source)
        try:
            try:
                picture = await self._obtained(address, "*/*")
            except (SourceNotAllowed, SignatureMissing):
                # Only the formats that the preset negotiates are admitted.
                address = ""
                negotiated = self._address("", transform.canonical(), source)
                picture = await self._obtained(negotiated, _ACCEPT[name])
                if FORMAT_OF_MEDIA_TYPE.get(picture.media_type) != name:
                    return Weighed(label, problem="This service does not answer it here.")
        except MirrorError as error:
            return Weighed(label, problem=error.message)
        share = len(picture.body) / entry.body_size if entry is not None and entry.body_size else None
        return Weighed(label, address, len(picture.body), share, picture.media_type)

    def _size(self, transform: Transform | None, natural: Size | None) -> Size | None:
        if natural is None or transform is None:
            return natural
        resolved = transform.resolved(self._config.presets)
        if resolved.trim:
            return None
        upright = natural[::-1] if resolved.rotate in {90, 270} else natural
        render = self._config.render
        limits = OutputLimits(render.max_output_side, render.max_output_pixels)
        return make_plan(upright, resolved, limits=limits).canvas

    def _in_dialects(self, options: str, source: Source) -> tuple[InDialect, ...]:
        return tuple(self._in_dialect(name, options, source) for name in BUILT_DIALECTS)

    def _in_dialect(self, name: str, options: str, source: Source) -> InDialect:
        if dict(self._config.dialects.keys_by_name()).get(name) and not self._may_sign:
            return InDialect(name, problem="This address is signed: sign in to see it.")
        problem = "This service does not serve this grammar; its own proxies do."
        for mount in ("", GRAMMARS[name].mount.rstrip("/")):
            try:
                url = dialect_address(name, self._base + mount, options, source, config=self._config).url
            except MirrorError as error:
                return InDialect(name, problem=error.message)
            if self._reads_back(url, source):
                return InDialect(name, url)
        return InDialect(name, problem=problem)

    def _reads_back(self, url: str, source: Source) -> bool:
        """Return whether this service reads the address as one of the source."""
        try:
            return self._context.plans.read(url[len(self._base) :]).source == source
        except MirrorError:
            return False

    def _markup(
        self, transform: Transform | None, source: Source, natural: Size | None, size: Size | None
    ) -> str:
        """Return an `<img>` with the widths of `rewrite.widths` up to the original's."""
        if transform is None or natural is None or size is None:
            return ""
        rewrite = self._config.rewrite
        widths = [width for width in rewrite.widths if width <= natural[0]] or [size[0]]
        candidates = [
            f"{self._address(self._base, _at_width(transform, width, size), source)} {width}w"
            for width in widths
        ]
        lines = [
            f'<img src="{_escaped(self._address(self._base, transform.canonical(), source))}"',
            f'     srcset="{_escaped((", " + chr(10) + " " * 13).join(candidates))}"',
            f'     sizes="{_escaped(rewrite.sizes)}" width="{size[0]}" height="{size[1]}"',
            '     loading="lazy" decoding="async" alt="">',
        ]
        return "\n".join(lines)


def _with(transform: Transform, **values: Value) -> Transform:
    return Transform.of({**dict(transform.options), **values}, preset=transform.preset)


def _at_width(transform: Transform, width: int, size: Size) -> str:
    """Return the options for one candidate of a `srcset`: a height that was asked for changes in proportion."""
    options = dict(transform.options)
    changes: dict[str, Value] = {"width": width}
    if isinstance(options.get("height"), int):
        changes["height"] = max(1, round(width * size[1] / size[0]))
    return _with(transform, **changes).canonical()


def _size_of(entry: Entry | None) -> Size | None:
    picture = entry.picture if entry is not None else None
    width, height = (picture or {}).get("width"), (picture or {}).get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
