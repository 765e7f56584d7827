"""The description of the API: made from the code, valid, whole, and held by every operation."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.openapi import PROGRAMS, describe
from api.routes.openapi import FILE
from api.schemas import AskBody, EventsQuery, read_body, read_query
from api.service import principal_of
from cli import reference
from cli.serve import build_host
from engine.engine import Engine
from engine.telemetry import redact
from tests.api.conftest import OpenClient
from tests.api.described import check

METHODS = {"delete", "get", "patch", "post", "put"}


def document() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, item in document()["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


async def test_the_file_is_what_the_code_says() -> None:
    made = reference.openapi()
    assert made == FILE.read_text(encoding="utf-8"), "run `make fix`"


async def test_it_is_valid_openapi_3_1() -> None:
    assert document()["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(document()).iter_errors()) == []


async def test_the_server_sends_it_to_everybody(open_client: OpenClient) -> None:
    async with open_client(peer="10.0.0.8", host="0.0.0.0") as client:
        answer = await client.get("/openapi.json")
    assert answer.json() == document()
    assert answer.headers["content-type"] == "application/json"


async def test_every_route_for_programs_is_in_it(engine: Engine) -> None:
    app = build_host(engine, engine.settings)
    served = {
        (method.lower(), re.sub(r":\w+\}", "}", route.path))
        for route in app.routes
        if isinstance(route, Route) and route.path.startswith(PROGRAMS)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert served == {(method, path) for method, path, _ in operations()}


async def test_a_route_that_says_nothing_appears_with_what_it_reads() -> None:
    async def handler(request: Request) -> Response:
        """What it does.

        And more.
        """
        await principal_of(request)
        read_query(request, EventsQuery)
        await read_body(request, AskBody)
        return JSONResponse({})

    made = describe([Route("/api/v1/new/{id:path}", handler, methods=["POST"])], version="1")
    found = made["paths"]["/api/v1/new/{id}"]
    schema = found["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert found["post"]["summary"] == "What it does."
    assert found["post"]["description"] == "And more."
    assert found["post"]["security"] == [{"bearer": []}]
    assert [item["name"] for item in found["post"]["parameters"]] == ["kb"]
    assert schema == {"$ref": "#/components/schemas/AskBody"}
    assert made["components"]["schemas"]["AskBody"]["required"] == ["question"]
    assert list(found["post"]["responses"]) == ["200", "default"]


async def test_names_of_operations_are_unique_and_each_is_explained() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    assert all(operation["summary"] for _, _, operation in operations())


async def test_there_is_no_secret_in_it() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert redact(text) == text
    assert '"example"' not in text


async def test_no_operation_is_for_callers_without_credentials_unless_it_says_so(
    open_client: OpenClient,
) -> None:
    answers = {}
    async with open_client(peer="10.0.0.8", host="0.0.0.0") as client:
        for method, path, operation in operations():
            sent = path.replace("{", "x").replace("}", "")
            answer = await client.request(method, sent)
            said = answer.json() if answer.status_code == 401 else {}
            code = said.get("error", said).get("code", "")
            answers[method, path] = (bool(operation["security"]), answer.status_code, code)
    secured = {found[1:] for found in answers.values() if found[0]}
    assert secured == {(401, "unauthenticated"), (401, "invalid_api_key")}
    # 409: an installation without a public name has no passkeys to sign in with.
    assert {found[1] for found in answers.values() if not found[0]} <= {200, 409, 415, 503}


async def test_a_callers_request_id_is_in_the_problem_the_header_and_the_log(
    client, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            from engine.telemetry import correlation_id

            seen.append(correlation_id())

    keep = Keep()
    logging.getLogger("api.middleware").addHandler(keep)
    caplog.set_level(logging.INFO, logger="api.middleware")
    try:
        answer = await client.get("/api/v1/documents/none", headers={"X-Request-ID": "order-7.a"})
    finally:
        logging.getLogger("api.middleware").removeHandler(keep)
    assert answer.headers["x-request-id"] == "order-7.a"
    assert answer.json()["correlation_id"] == "order-7.a"
    assert seen == ["order-7.a"]


async def test_a_request_id_that_is_no_plain_word_is_replaced(client) -> None:
    answer = await client.get("/api/v1/documents/none", headers={"X-Request-ID": "a b\tc" * 30})
    assert answer.headers["x-request-id"] == answer.json()["correlation_id"]
    assert " " not in answer.headers["x-request-id"]


async def test_the_file_is_part_of_the_package() -> None:
    assert Path("api") == FILE.relative_to(Path(__file__).parents[2]).parent


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (200, "application/json", {"hits": 1, "notice": ""}),
        (200, "application/json", {"hits": []}),
        (202, "application/json", {"hits": [], "notice": ""}),
        (200, "text/html", {"hits": [], "notice": ""}),
        (404, "application/problem+json", {"detail": "x"}),
    ],
)
async def test_a_response_that_is_not_as_described_fails_the_test_that_sees_it(
    status: int, kind: str, body: object
) -> None:
    request = httpx2.Request("POST", "http://test/api/v1/knowledge_bases/team/search")
    read = {"searched": "", "steps": []}  # of the query
    good = httpx2.Response(200, json={"hits": [], "notice": "", **read}, request=request)
    await check(good)
    headers = {"content-type": kind}
    bad = httpx2.Response(
        status, content=json.dumps(body).encode(), headers=headers, request=request
    )
    with pytest.raises(AssertionError):
        await check(bad)
