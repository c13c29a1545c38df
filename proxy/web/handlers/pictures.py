"""`/?URL`, `/image/original/…` and `/image/{options}/…`: every address that answers with a picture. Event loop."""

from __future__ import annotations

import logging
import time

from aiohttp import web

from cache.base.opening import LocalFile
from proxy.dialects.native import ORIGINAL, build
from proxy.errors import (
    DecodeFailed,
    InvalidSource,
    MirrorError,
    NotAnImage,
    NotFound,
    PictureError,
    SourceError,
)
from proxy.services.serving.athand import HandedFile
from proxy.services.serving.values import SHORT_SECONDS, Obtained, Picture, PictureOrder, as_picture
from proxy.web.answering.responses import (
    Moment,
    PiecewiseResponse,
    handed_response,
    joined,
    original_response,
    picture_response,
    stream_original,
)
from proxy.web.connections.server import Request
from proxy.web.context import Context
from proxy.web.errors import VARIES_BY
from proxy.web.targets.hints import NO_HINTS
from proxy.web.targets.plans import Plan

log = logging.getLogger(__name__)

IN_MEMORY_BYTES = 1024 * 1024
"""Originals up to this size are answered from memory. Larger ones are streamed from their files."""

_RESULTS = {"uri-miss": "fetched", "stale": "stale"}


class PictureRequest:
    """One request for a picture, from its target to its answer.

    1. Find the plan of the target: remembered, or read and admitted now.
    2. Answer from memory when the picture there is fresh.
    3. Otherwise get the original or the variant from the services.
    4. When the source fails, look for an original that is kept under the address of a wrapper around it.
    5. Answer with 200, 206, 304, or a redirect to the original where the transform allows that.
    """

    __slots__ = ("accept", "context", "from_wrapper", "plan", "request", "request_id", "root", "target")

    def __init__(
        self, request: Request, context: Context, target: str, request_id: str, *, root: str
    ) -> None:
        self.request = request
        self.context = context
        self.target = target
        self.root = root
        self.request_id = request_id
        self.from_wrapper = False
        self.accept = joined(request, "Accept")
        self.plan = self._plan()
        request.route = self.plan.kind

    async def answer(self) -> web.StreamResponse:
        """Return the answer.

        Raises:
            MirrorError: any error of docs/api.md, "Errors", except `internal`.
        """
        response = await self._response()
        if not self.plan.is_look:
            self.context.note_use(self.plan.source.url)
        if isinstance(response, PiecewiseResponse) and (response.content_length or 0) > IN_MEMORY_BYTES:
            with self.context.streams.place(self.request):
                await response.prepare(self.request)
                await response.write_eof()
        return response

    async def _response(self) -> web.StreamResponse:
        if self.plan.refusal is not None:
            return await self._as_written(self.plan.refusal)
        try:
            return await self._answer()
        except (SourceError, NotAnImage) as error:
            if not self.plan.written:
                raise
            return await self._as_written(error)

    async def _answer(self) -> web.StreamResponse:
        return await (self._original() if self.plan.kind == "original" else self._variant())

    async def _as_written(self, error: MirrorError) -> web.StreamResponse:
        """Answer an original that was kept under a wrapper's own address before we knew the wrapper's grammar."""
        for source in self.plan.written:
            if await self.context.originals.peek(source) is not None:
                self.plan = self.plan.at(source)
                self.from_wrapper = True
                return await self._answer()
        raise error

    def _plan(self) -> Plan:
        now = self.context.now()
        plan = self.context.plans.known(self.target, now=now, root=self.root)
        if plan is None:
            _refuse_loops(self.request, self.context.instance_id)
            plan = self.context.plans.make(self.target, now=now, root=self.root, kept_counts=True)
        elif "CDN-Loop" in self.request.headers or "Via" in self.request.headers:
            _refuse_loops(self.request, self.context.instance_id)
        return plan

    @property
    def _moment(self) -> Moment:
        config = self.context.config.server
        plan = self.plan
        return Moment(
            self.context.now(),
            self.request_id,
            config.min_max_age,
            plan.headers,
            plan.expires_at,
            short=self.from_wrapper,
        )

    def _answered(
        self, picture: Picture, asked: PictureOrder, header: tuple[str, str] | None = None
    ) -> web.Response:
        if header is None:
            response = picture_response(self.request, picture, self._moment)
        else:
            response = handed_response(self.request, picture, self._moment, header=header)
        if self.plan.minded is not None and self.plan.minded.dpr and picture.original_size:
            density = self.plan.density(asked, picture.original_size)
            if density is not None:
                # Browsers divide the picture's size by Content-DPR. Without it, `dpr=auto` would enlarge the picture on
                # the page.
                response.headers["Content-DPR"] = f"{density:.4f}".rstrip("0").rstrip(".")
        return response

    # Variants

    async def _variant(self) -> web.StreamResponse:
        minded = self.plan.minded
        hints = NO_HINTS if minded is None else minded.read(self.request.headers)
        asked = self.plan.asked(self.accept, self.context.config.render.formats, hints=hints)
        try:
            is_handed = self.context.hand_over.takes(self.request)
            found = self.context.variants.file_in_store(asked) if is_handed else None
            if found is not None and (header := self.context.hand_over.header(found.file)) is not None:
                self._count(found.picture)
                return self._answered(found.picture, asked, header)
            picture = self.context.variants.from_memory(asked)
            if picture is not None:
                if is_handed:
                    self.context.variants.locate_soon(asked)
                self._note_memory_hit()
                return self._answered(picture, asked)
            begun = time.perf_counter()
            picture = self.context.variants.from_store(asked) or await self.context.variants.obtain(asked)
            self.context.metrics.request_seconds.observe(time.perf_counter() - begun)
            self._count(picture)
            return self._answered(picture, asked)
        except PictureError as error:
            self.request[VARIES_BY] = self.plan.vary
            return self._redirected(error)

    def _note_memory_hit(self) -> None:
        self.request.from_memory = True
        self.context.metrics.memory_hits.inc()

    def _count(self, picture: Picture) -> None:
        forward = "stale" if picture.state.stale_seconds else picture.state.forward
        result = _RESULTS.get(forward, picture.state.detail)
        self.context.metrics.cache_requests.labels(result).inc()

    def _redirected(self, error: PictureError) -> web.Response:
        """Redirect to the original where the preset or the request allows it; else raise `error`."""
        resolved = self.plan.resolved
        if resolved is None or resolved.on_error != "original":
            raise error
        # A host of another dialect does not answer native addresses, so the redirect needs our public URL.
        base = self.context.config.server.public_url if self.root else ""
        if self.root and not base:
            raise error
        bare = self.plan.transform is not None and self.plan.transform.preset is None
        if not error.beyond_limits and not (bare and isinstance(error, DecodeFailed)):
            raise error
        self.context.metrics.redirects_to_original.labels(error.code).inc()
        # The redirect expires together with the address that was requested.
        source, signer = self.plan.source, self.context.signer
        exp = self.plan.expires_at if signer else None
        sig = signer.sign(ORIGINAL, source.url, exp=exp) if signer else None
        headers = {
            "Location": build(base, ORIGINAL, source, sig=sig, exp=exp),
            "Cache-Control": f"public, max-age={int(SHORT_SECONDS)}",
            "Access-Control-Allow-Origin": "*",
            "Timing-Allow-Origin": "*",
            "X-Content-Type-Options": "nosniff",
            "Cache-Status": f"imgmirror; hit; detail={error.code}",
            "Proxy-Status": "imgmirror",
            "X-Request-Id": self.request_id,
        }
        headers.update(self.plan.headers)
        return web.Response(status=302, headers=headers)

    # Originals

    async def _version(self) -> web.StreamResponse:
        """Answer an earlier version from the history. It is never held in memory, so a purge needs no extra step."""
        obtained = await self.context.originals.obtain_version(self.plan.source, self.plan.version)
        file = await self.context.kept.files.local(obtained.entry.body_sha256)
        self._count(as_picture(obtained, b""))
        try:
            return await self._streamed(obtained, file)
        except ConnectionError:
            raise
        except OSError as error:
            raise NotFound("This version of the picture is not kept.", detail=str(error)) from error

    async def _original(self) -> web.StreamResponse:
        if self.plan.version:
            return await self._version()
        key = ("original", self.plan.source.url)
        hand_over = self.context.hand_over
        is_handed = hand_over.takes(self.request)
        found = hand_over.originals.file(key) if is_handed else None
        if found is not None and (header := hand_over.header(found.file)) is not None:
            return self._handed_original(found, header)
        held = self.context.memory.get(key)
        if isinstance(held, Picture) and self._still_true(held) and not is_handed:
            self._note_memory_hit()
            return original_response(self.request, held, self._moment)
        obtained = await self.context.originals.obtain(
            self.plan.source, accept=lambda early: early.is_readable, written=self.plan.askable
        )
        file = await hand_over.body_file(obtained) if is_handed else None
        obtained = await self.context.originals.whole(self.plan.source, obtained)
        header = hand_over.header(file) if file is not None else None
        if file is not None and header is not None and obtained.body is None and not obtained.is_corrupt:
            picture = as_picture(obtained, b"")
            hand_over.originals.note(key, self.plan.source.url, picture.as_hit("original"), file)
            return self._handed_original(HandedFile(picture, file, self.plan.source.url), header)
        try:
            return await self._from_store(key, obtained)
        except ConnectionError:
            raise  # the client closed the connection; the body is intact
        except OSError as error:
            # Somebody deleted or truncated the file, or the disk is failing. The origin may still have the picture.
            log.warning("the body of %s has changed since it was kept: %s", self.plan.source, error)
            obtained = await self.context.originals.obtain_again(self.plan.source)
            return await self._from_store(key, obtained)

    def _handed_original(self, found: HandedFile, header: tuple[str, str]) -> web.Response:
        self._count(found.picture)
        size = found.file.state.size
        return handed_response(self.request, found.picture, self._moment, header=header, ranges_of=size)

    def _still_true(self, held: Picture) -> bool:
        stamp = self.context.kept.generations.stamp(self.plan.source.url)
        return stamp == held.stamp and held.fresh_until > self.context.now()

    async def _streamed(self, obtained: Obtained, file: LocalFile) -> web.StreamResponse:
        with self.context.streams.place(self.request):
            return await stream_original(self.request, obtained, file, self._moment)

    async def _from_store(self, key: tuple[str, str], obtained: Obtained) -> web.StreamResponse:
        if obtained.body is None and obtained.entry.body_size > IN_MEMORY_BYTES:
            file = await self.context.kept.files.local(obtained.entry.body_sha256)
            self._count(as_picture(obtained, b""))
            return await self._streamed(obtained, file)
        body = obtained.body
        if body is None:
            body = await self.context.kept.read_body(obtained.entry.body_sha256)
            if len(body) != obtained.entry.body_size:
                raise FileNotFoundError("its size differs from its entry")
        picture = as_picture(obtained, body)
        self._count(picture)
        self.context.memory.put(key, picture.from_memory(), size=len(body))
        return original_response(self.request, picture, self._moment)


def _refuse_loops(request: web.BaseRequest, instance_id: str) -> None:
    """Refuse a request that this or another imgmirror has sent (RFC 8586, RFC 9110 §7.6.3).

    Raises:
        InvalidSource: the request carries the mark of a mirror.
    """
    looped = any("imgmirror" in value for value in request.headers.getall("CDN-Loop", ()))
    looped = looped or any(instance_id in value for value in request.headers.getall("Via", ()))
    if looped:
        raise InvalidSource("This request comes from a mirror: the address leads in a circle.")


async def answer_picture(
    context: Context, request: Request, target: str, request_id: str, *, root: str = ""
) -> web.StreamResponse:
    """Answer one request for a picture. `root` is the dialect of the requested host, empty for our own hosts."""
    return await PictureRequest(request, context, target, request_id, root=root).answer()
