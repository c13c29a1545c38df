"""The JSON API of a running service: who may use it, what it answers about the service, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from http_client import Answer, Client
from service import Service, write_config

from proxy.images.transforms.resolved import OPTIONS
from proxy.web.api.table import ENDPOINTS

TOKEN = "a token of the owner"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
HOSTED = "img.example.org"


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a token, two workers and a host that speaks another dialect."""
    changes: dict[str, Any] = {"server": {"admin_token": TOKEN}, "hosts": {f'"{HOSTED}"': "imgproxy"}}
    with Service(write_config(tmp_path_factory.mktemp("api"), changes), workers=2) as service:
        yield service
        assert "Traceback" not in service.log(), service.log()


@pytest.fixture
def owner(http: aiohttp.ClientSession, owned: Service) -> Client:
    return Client(http, owned.base)


async def asked(client: Client, path: str, **more: Any) -> Answer:
    headers = {**BEARER, **more.pop("headers", {})}
    return await client.get(f"/api/v1{path}", headers=headers, **more)


async def test_health_says_in_words_what_readyz_says(owner: Client) -> None:
    """A new service is well, and the figures are those of `/readyz`."""
    answer = json.loads((await asked(owner, "/health")).body)
    ready = json.loads((await owner.get("/readyz")).body)
    assert (answer["status"], answer["reasons"]) == ("ok", [])
    assert answer["figures"].keys() | {"status", "reasons", "version"} == ready.keys()


async def test_overview_counts_what_is_kept_and_warns_as_doctor_does(owner: Client) -> None:
    """The overview holds the budgets, the versions, and the findings of `doctor` that are worth a look."""
    answer = json.loads((await asked(owner, "/overview")).body)
    assert answer["kept"]["originals"] == 0
    assert answer["variants"]["max_bytes"] == 64 << 20
    assert "pillow" in answer["versions"]
    assert answer["may_change"] is True
    networks = [item for item in answer["warnings"] if "user_agent" in item["found"]]
    assert networks[0]["level"] == "note"
    assert all(item["level"] != "ok" for item in answer["warnings"])


async def test_options_are_those_of_the_table_of_operations(owner: Client) -> None:
    """Every option of an address is listed, with its range and its default as text."""
    answer = json.loads((await asked(owner, "/options")).body)
    assert [item["name"] for item in answer["options"]] == list(OPTIONS)
    assert all(item["takes"] and item["meaning"] for item in answer["options"])


async def test_presets_are_those_of_the_configuration(owner: Client) -> None:
    """The three shipped presets are listed with their options."""
    presets = json.loads((await asked(owner, "/presets")).body)["presets"]
    assert [item["name"] for item in presets] == ["content", "headimg", "thumbnail"]
    assert presets[0]["options"]["width"] == "1200"


async def test_answers_are_for_the_owner_alone(owner: Client) -> None:
    """Answers and errors are not cached and carry no CORS header, whatever page asks."""
    for path in ("/health", "/health?x=1", "/nowhere"):
        answer = await asked(owner, path, headers={"Origin": "https://elsewhere.example"})
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_preflight_is_refused(owner: Client) -> None:
    """A page of another site may not even ask whether it may ask."""
    headers = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"}
    answer = await asked(owner, "/health", method="OPTIONS", headers=headers)
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "given",
    [{}, {"Authorization": "Bearer no"}, {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"}],
    ids=["none", "another", "no scheme", "basic"],
)
async def test_client_without_the_token_learns_nothing(owner: Client, given: dict[str, str]) -> None:
    """Without the token every address below the API is 401, whether it exists or not."""
    for path in ("/health", "/openapi.json", "/nowhere", "/health?x=1"):
        answer = await owner.get(f"/api/v1{path}", headers=given)
        assert (answer.status, answer.code) == (401, "unauthorized"), path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_host_of_another_dialect_has_no_api(owner: Client) -> None:
    """On a name of `[hosts]` the API is not found, even with the token."""
    answer = await asked(owner, "/health", headers={"Host": HOSTED})
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("query", "named"),
    [("x=1", "x"), ("%ff=1", "query"), ("limit", "query"), ("a=1&a=2", "a"), ("%00=1", "\\x00"), ("&", "query")],
)  # fmt: skip
async def test_query_is_read_strictly(owner: Client, query: str, named: str) -> None:
    """A parameter that is unknown, repeated or not UTF-8 is refused by its name."""
    answer = await asked(owner, f"/health?{query}")
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert named in json.loads(answer.body)["message"]


async def test_error_is_text_for_people(owner: Client) -> None:
    """A client that accepts no JSON gets the same error as one line of text."""
    answer = await asked(owner, "/nowhere", headers={"Accept": "text/plain"})
    assert answer.body.startswith(b"not_found: ")


async def test_head_has_no_body(owner: Client) -> None:
    """HEAD answers what GET would, without the body."""
    answer = await asked(owner, "/health", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")


async def test_this_machine_may_read_without_a_token(client: Client) -> None:
    """Without a token configured, clients on this machine may read, and the overview says that they only read."""
    answer = await client.get("/api/v1/overview")
    assert json.loads(answer.body)["may_change"] is False
    for given in (
        {"X-Forwarded-For": "192.0.2.1"},
        {"Origin": "https://evil.example"},
        {"Host": "evil.example"},
    ):
        assert (await client.get("/api/v1/overview", headers=given)).status == 401, given


async def test_explain_knows_the_api_as_an_address_of_the_service(client: Client) -> None:
    """`/explain/api/…` asks no source."""
    answer = await client.get("/explain/api/v1/health")
    assert json.loads(answer.body)["kind"] == "service"


async def test_document_describes_every_endpoint(owner: Client) -> None:
    """Each row of the table is in the OpenAPI document, and the document has nothing else."""
    document = json.loads((await asked(owner, "/openapi.json")).body)
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert described == {(f"/api/v1{endpoint.path}", endpoint.method) for endpoint in ENDPOINTS}
    assert document["openapi"].startswith("3.1")
    names = [endpoint.name for endpoint in ENDPOINTS]
    assert len(names) == len(set(names))


def test_page_of_the_api_names_every_endpoint() -> None:
    """docs/api.md has a row for each endpoint."""
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    for endpoint in ENDPOINTS:
        assert f"`{endpoint.method} /api/v1{endpoint.path}`" in page, endpoint.name
