"""The table of endpoints: routing, validation and the OpenAPI document follow from it. Pure."""

from __future__ import annotations

import functools
from typing import Any

from aiohttp import web

from proxy.services.upkeep.purging import PurgeReport
from proxy.web.api.endpoints import Call, Endpoint, Nothing
from proxy.web.api.openapi import openapi_document
from proxy.web.api.resources.actions import (
    AcceptBody,
    CapturesAnswer,
    PurgeBody,
    RecoverBody,
    RefetchAnswer,
    SourceBody,
    accept_version,
    block_picture,
    give_up_picture,
    look_in_archive,
    purge_pictures,
    recover_picture,
    refetch_picture,
    unblock_picture,
)
from proxy.web.api.resources.articles import (
    ArticleAnswer,
    ArticleNameQuery,
    ArticlesPage,
    ArticlesQuery,
    list_articles,
    show_article,
)
from proxy.web.api.resources.health import HealthAnswer, show_health
from proxy.web.api.resources.jobs import (
    JOB_ID,
    JobAnswer,
    JobBody,
    JobsAnswer,
    list_jobs,
    show_job,
    start_job,
    stop_job,
    stream_job,
    stream_jobs,
)
from proxy.web.api.resources.missing import MissingPage, MissingQuery, list_missing
from proxy.web.api.resources.options import OptionsAnswer, PresetsAnswer, show_options, show_presets
from proxy.web.api.resources.overview import Overview, show_overview
from proxy.web.api.resources.picture import (
    ExplainQuery,
    PictureAnswer,
    SourceQuery,
    VariantsAnswer,
    explain_picture,
    show_picture,
    show_variants,
)
from proxy.web.api.resources.pictures import PicturesPage, PicturesQuery, list_pictures
from proxy.web.api.resources.upload import UploadAnswer, UploadQuery, upload_picture
from proxy.web.api.values import PRIVATE_HEADERS, as_json


@functools.cache
def _document() -> bytes:
    return as_json(openapi_document(ENDPOINTS))


async def show_document(_call: Call[Nothing, Nothing]) -> web.Response:
    """Answer this description of the API."""
    return web.Response(body=_document(), headers={**PRIVATE_HEADERS, "Content-Type": "application/json"})


_ORIGIN = (
    "source_unreachable", "source_timeout", "source_not_found", "source_refused", "source_failed", "source_too_large",
    "source_not_allowed", "not_an_image", "unsupported_format", "decode_failed", "render_timeout", "too_many_pixels",
    "too_many_frames",
)  # fmt: skip
"""Errors of endpoints that fetch."""

_PICTURE = (
    Endpoint("GET", "/picture", "picture", "One picture", show_picture, PictureAnswer, query=SourceQuery),
    Endpoint(
        "GET", "/picture/variants", "variants", "Its variants", show_variants, VariantsAnswer, query=SourceQuery
    ),
    Endpoint(
        "GET", "/picture/explain", "explain", "What would happen", explain_picture, dict[str, Any],
        query=ExplainQuery,
    ),
    Endpoint(
        "GET", "/picture/archive", "archive", "Captures of a source", look_in_archive, CapturesAnswer,
        query=SourceQuery, right="change", codes=("source_unreachable",),
    ),
)  # fmt: skip

_CHANGES = (
    Endpoint(
        "POST", "/picture/refetch", "refetch", "Ask the origin again", refetch_picture, RefetchAnswer,
        body=SourceBody, right="change", codes=_ORIGIN,
    ),
    Endpoint(
        "POST", "/picture/accept", "accept", "Serve another version", accept_version, PictureAnswer,
        body=AcceptBody, right="change", codes=("not_found",),
    ),
    Endpoint(
        "POST", "/picture/recover", "recover", "Keep a capture", recover_picture, PictureAnswer,
        body=RecoverBody, right="change", codes=(*_ORIGIN, "not_found"),
    ),
    Endpoint(
        "POST", "/picture/upload", "upload", "Replace by hand", upload_picture, UploadAnswer,
        query=UploadQuery, upload=True, right="change", codes=_ORIGIN,
    ),
    Endpoint(
        "POST", "/picture/block", "block", "Refuse a source", block_picture, PictureAnswer,
        body=SourceBody, right="change",
    ),
    Endpoint(
        "POST", "/picture/give-up", "giveUp", "Give up a missing picture", give_up_picture, PictureAnswer,
        body=SourceBody, right="change",
    ),
    Endpoint(
        "POST", "/picture/unblock", "unblock", "Allow a blocked source again", unblock_picture, PictureAnswer,
        body=SourceBody, right="change",
    ),
    Endpoint(
        "POST", "/purge", "purge", "Delete kept originals", purge_pictures, PurgeReport,
        body=PurgeBody, right="purge", codes=("not_found", "invalid_source", "source_not_allowed"),
    ),
)  # fmt: skip

_JOBS = (
    Endpoint("GET", "/jobs", "jobs", "Jobs of all processes", list_jobs, JobsAnswer),
    Endpoint(
        "POST", "/jobs", "startJob", "Start a job", start_job, JobAnswer,
        body=JobBody, right="change", status=202, codes=("not_found",),
    ),
    Endpoint(
        "GET", "/jobs/events", "jobsEvents", "Live states of all jobs", stream_jobs, None, media="text/event-stream"
    ),
    Endpoint("GET", "/jobs/{id}", "job", "One job", show_job, JobAnswer, parameters=JOB_ID),
    Endpoint(
        "GET", "/jobs/{id}/events", "jobEvents", "Live states of one job", stream_job, None,
        parameters=JOB_ID, media="text/event-stream",
    ),
    Endpoint(
        "POST", "/jobs/{id}/stop", "stopJob", "Stop a job", stop_job, JobAnswer,
        parameters=JOB_ID, right="change", status=202,
    ),
)  # fmt: skip

_LISTS = (
    Endpoint("GET", "/pictures", "pictures", "Kept pictures", list_pictures, PicturesPage, query=PicturesQuery),
    Endpoint("GET", "/missing", "missing", "Missing pictures", list_missing, MissingPage, query=MissingQuery),
    Endpoint("GET", "/articles", "articles", "Articles", list_articles, ArticlesPage, query=ArticlesQuery),
    Endpoint(
        "GET", "/article", "article", "One article with its pictures", show_article, ArticleAnswer,
        query=ArticleNameQuery, codes=("not_found",),
    ),
)  # fmt: skip

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/openapi.json", "document", "This document", show_document, dict[str, Any]),
    Endpoint("GET", "/health", "health", "Health, with reasons", show_health, HealthAnswer),
    Endpoint("GET", "/overview", "overview", "What is kept, budgets, warnings", show_overview, Overview),
    Endpoint("GET", "/options", "options", "Options of addresses", show_options, OptionsAnswer),
    Endpoint("GET", "/presets", "presets", "Presets", show_presets, PresetsAnswer),
    *_PICTURE,
    *_CHANGES,
    *_LISTS,
    *_JOBS,
)
