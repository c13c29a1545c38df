"""What an endpoint of the API is: one declaration that routes a request, validates it, and documents it. Pure.

`table` lists the endpoints, `serving` answers them, and `openapi` describes them. Queries and bodies are models of
pydantic, which refuse unknown members. Answers are dataclasses.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from proxy.web.api.admission import Admittance
from proxy.web.connections.server import Request
from proxy.web.context import Context

MOUNT = "/api/v1"

Right = Literal["read", "purge", "change"]
"""`read` and `purge`: any admitted client. `change`: only clients that may change something."""

_PARAMETER = re.compile(r"\{([a-z]+)\}")


class Asked(BaseModel):
    """Base of queries and bodies. Values have exactly the declared types, and unknown members are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Nothing(Asked):
    """A query or body without members."""


Q = TypeVar("Q", bound=Asked)
B = TypeVar("B", bound=Asked)


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """One request to an endpoint, read and validated. path: the values of the parameters in the path."""

    context: Context
    request: Request
    rights: Admittance
    path: Mapping[str, str]
    query: Q
    body: B


Run = Callable[[Call[Any, Any]], Awaitable[object]]
"""Returns a dataclass, which is answered as JSON, or a response of its own."""


@dataclass(frozen=True, slots=True)
class PathParameter:
    """A parameter in a path. pattern: a regular expression for the whole value; another value is `not_found`."""

    pattern: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint.

    name: its `operationId`. answer: the dataclass of the answer, None for an answer without JSON. media: the type of
    such an answer. upload: the body is a file of any type instead of JSON. codes: the errors of docs/api.md that it
    answers besides those of every endpoint.
    """

    method: Literal["GET", "POST"]
    path: str
    name: str
    summary: str
    run: Run
    answer: Any
    query: type[Asked] = Nothing
    body: type[Asked] | None = None
    parameters: Mapping[str, PathParameter] = field(default_factory=dict)
    right: Right = "read"
    status: int = 200
    media: str = "application/json"
    upload: bool = False
    codes: tuple[str, ...] = ()

    def match(self, path: str) -> dict[str, str] | None:
        """Return the values of the parameters if `path` (without the mount) is an address of this endpoint."""
        pattern = "".join(
            f"(?P<{part}>{self.parameters[part].pattern})" if number % 2 else re.escape(part)
            for number, part in enumerate(_PARAMETER.split(self.path))
        )
        found = re.fullmatch(pattern, path)
        return found.groupdict() if found else None
