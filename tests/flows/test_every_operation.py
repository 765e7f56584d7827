"""Every operation of `/openapi.json`, called by schemathesis with what its schema allows and forbids.

By the owner, by a member without rights, and by nobody, on SQLite and on PostgreSQL: no call ends in a
fault of the server, and every response is one that the description knows. `SCRUBJAY_TEST_DEPTH` is how
many calls each operation gets (default 3); nightly runs take more.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.keyless import is_same_user
from api.routes.openapi import FILE
from engine.engine import Engine
from tests.fakes.databases import DIALECTS, postgres_databases
from tests.fakes.homes import fill, home_settings, make_member_token
from tests.fakes.live_server import live_server

DEPTH = int(os.environ.get("SCRUBJAY_TEST_DEPTH", "3"))
TIMEOUT_S = 60
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ORDER = ("GET", "PUT", "PATCH", "POST", "DELETE")  # what takes things away comes last
ANSWERED = {"nobody": {200, 401}, "member": {200, 403, 404}, "owner": {200, 201, 202, 404, 422}}
SMALL = settings(
    max_examples=DEPTH,
    database=None,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Caller:
    """Who calls: an address, what is sent to say who it is, and ids that exist there."""

    address: str
    headers: dict[str, str]
    known: dict[str, str]
    is_somebody: bool
    answered: set[int]  # statuses that some call of theirs must get


@pytest.fixture(scope="module")
def operations() -> list[Any]:
    schema = schemathesis.openapi.from_path(FILE)
    found = [result.ok() for result in schema.get_all_operations()]
    return sorted(found, key=lambda item: ORDER.index(item.method.upper()))


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
        return
    with postgres_databases() as databases:
        yield databases.url


@pytest.fixture(params=["nobody", "member", "owner"])
async def caller(
    request: pytest.FixtureRequest, database: str, tmp_path: Path
) -> AsyncIterator[Caller]:
    overrides: dict[str, Any] = {}
    if database:
        overrides = {"database__url": database, "system__secret_key": "s" * 32}
    await fill(home_settings(tmp_path, **overrides))
    # The owner's own program needs no token, and may do what no token may.
    keyless = is_same_user if request.param == "owner" else None
    async with live_server(tmp_path, works=False, keyless=keyless, **overrides) as server:
        headers: dict[str, str] = {}
        if request.param == "member":
            headers["Authorization"] = f"Bearer {await make_member_token(server.engine)}"
        known = await known_ids(server.engine)
        yield Caller(
            server.address, headers, known, request.param != "nobody", ANSWERED[request.param]
        )


async def known_ids(engine: Engine) -> dict[str, str]:
    """Path parameters that lead somewhere."""
    owner = await engine.people.owner()
    [document, *_] = (await engine.documents.page(owner, "team")).documents
    group = await engine.people.create_group(owner, "support")
    await engine.chats.installations.bind_workspace(owner.tenant_id, "slack", "T77", "Acme")
    # Nothing is left to be ingested: a stream of progress ends.
    return {
        "kb": "team",
        "id": document.id,
        "job": document.id,
        "group": group.name,
        "member": "guest@example.com",
        "to": "everyone",
        "workspace": "T77",
        "pipeline": "general",
        "limit": "user",
        "pattern": "github/*",
        "model": "scrubjay/team",
    }


@pytest.mark.slow
async def test_no_operation_fails_and_each_response_is_described(
    operations: list[Any], caller: Caller
) -> None:
    seen = await asyncio.to_thread(call_all, operations, caller)
    assert sum(seen.values()) >= len(operations)
    assert {status for status in seen if status >= 500} == set()
    assert caller.answered <= set(seen)


def call_all(operations: list[Any], caller: Caller) -> Counter[int]:
    seen: Counter[int] = Counter()
    with requests.Session() as session:
        for operation in operations:
            call_one(operation, caller, session, seen)
    return seen


def call_one(operation: Any, caller: Caller, session: requests.Session, seen: Counter[int]) -> None:
    parameters = {item.name for item in operation.path_parameters}
    ids = {name: value for name, value in caller.known.items() if name in parameters}

    @SMALL
    @given(case=operation.as_strategy(), is_known=st.booleans())
    def call(case: Any, is_known: bool) -> None:
        if is_known and len(ids) == len(parameters):
            case.path_parameters = {**(case.path_parameters or {}), **ids}
        if caller.is_somebody:  # else what schemathesis makes up stays
            kept = (case.headers or {}).items()
            case.headers = {name: v for name, v in kept if name.lower() != "authorization"}
        response = case.call(
            base_url=caller.address, headers=caller.headers, session=session, timeout=TIMEOUT_S
        )
        seen[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    call()
