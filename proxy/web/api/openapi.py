"""The OpenAPI 3.1 document of the API, made from the table that routes and validates. Pure.

Schemas come from pydantic, which reads the declared types of queries, bodies and answers.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from proxy.errors import MirrorError
from proxy.version import __version__
from proxy.web.api.endpoints import MOUNT, Endpoint
from proxy.web.api.values import ErrorBody

EVERYWHERE = ("unauthorized", "rate_limited", "queue_full")
"""Errors that every endpoint may answer."""

_REFERENCE = "#/components/schemas/{model}"
_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}

_UNREADABLE = {"text/plain": {"schema": {"type": "string"}}}
"""A request that the HTTP parser refuses, such as one with a line of more than 16 KiB, gets its plain 400."""

_Model = tuple[str, JsonSchemaMode, TypeAdapter[Any]]


def statuses() -> dict[str, int]:
    """Return the status of every error code."""
    found: dict[str, int] = {}
    waiting: list[type[MirrorError]] = [MirrorError]
    while waiting:
        kind = waiting.pop()
        found.setdefault(kind.code, kind.status)
        waiting += kind.__subclasses__()
    return found


def openapi_document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the document as values for JSON."""
    references, definitions = _schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, references)
        paths.setdefault(MOUNT + endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "imgmirror",
            "version": __version__,
            "description": "What is kept, what is missing and what you can do about it. See docs/api.md.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "server.admin_token. If none is configured, clients on this machine may read.",
                }
            },
        },
    }


def _schemas(endpoints: Sequence[Endpoint]) -> tuple[dict[tuple[str, str], Any], dict[str, Any]]:
    """Return the schema of each body, query and answer by name and use, and the definitions they refer to."""
    models: list[_Model] = [("error", "serialization", TypeAdapter(ErrorBody))]
    for endpoint in endpoints:
        models.append((f"{endpoint.name} query", "validation", TypeAdapter(endpoint.query)))
        if endpoint.body is not None:
            models.append((f"{endpoint.name} body", "validation", TypeAdapter(endpoint.body)))
        if endpoint.answer is not None:
            models.append((f"{endpoint.name} answer", "serialization", TypeAdapter(endpoint.answer)))
    found, document = TypeAdapter.json_schemas(
        models, ref_template=_REFERENCE, schema_generator=GenerateJsonSchema
    )
    definitions = document.get("$defs", {})
    return {(str(name), str(use)): schema for (name, use), schema in found.items()}, definitions


def _operation(endpoint: Endpoint, references: dict[tuple[str, str], Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": inspect.getdoc(endpoint.run) or endpoint.summary,
        "parameters": [*_in_path(endpoint), *_in_query(endpoint)],
        "responses": {
            str(endpoint.status): _answered(endpoint, references),
            **_errors(endpoint, references[("error", "serialization")]),
        },
    }
    if endpoint.right != "read":
        operation["x-imgmirror-right"] = endpoint.right
    if endpoint.body is not None:
        schema = references[(f"{endpoint.name} body", "validation")]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if endpoint.upload:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/octet-stream": {"schema": _BINARY}},
        }
    return operation


def _in_path(endpoint: Endpoint) -> Iterable[dict[str, Any]]:
    for name, parameter in endpoint.parameters.items():
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": parameter.meaning,
            "schema": {"type": "string", "pattern": f"^{parameter.pattern}$"},
        }


def _in_query(endpoint: Endpoint) -> Iterable[dict[str, Any]]:
    schema = endpoint.query.model_json_schema(ref_template=_REFERENCE)
    required = set(schema.get("required", ()))
    for name, declared in schema.get("properties", {}).items():
        known = {key: value for key, value in declared.items() if key != "title"}
        description = known.pop("description", "")
        yield {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": known,
            **({"description": description} if description else {}),
        }


def _answered(endpoint: Endpoint, references: dict[tuple[str, str], Any]) -> dict[str, Any]:
    if endpoint.answer is None:
        return {"description": "done", "content": {endpoint.media: {"schema": {"type": "string"}}}}
    schema = references[(f"{endpoint.name} answer", "serialization")]
    return {"description": "done", "content": {endpoint.media: {"schema": schema}}}


def _errors(endpoint: Endpoint, schema: Any) -> dict[str, Any]:
    """Return the errors of an endpoint, by status. Several codes may share one."""
    known = statuses()
    codes = [*EVERYWHERE, *endpoint.codes, "invalid_request"]
    if endpoint.body is not None or endpoint.upload:
        codes += ["unsupported_media_type", "request_too_large"]
    codes += ["not_found"] if endpoint.parameters else []
    by_status: dict[str, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(str(known[code]), []).append(code)
    return {
        status: {
            "description": ", ".join(sorted(found)),
            "content": {"application/json": {"schema": schema}, **(_UNREADABLE if status == "400" else {})},
        }
        for status, found in sorted(by_status.items())
    }
