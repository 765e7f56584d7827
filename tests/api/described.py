"""Holds every response of REST that a test sees to what `/openapi.json` says of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import httpx2
import jsonschema_rs

from api.openapi import PROGRAMS
from api.routes.openapi import FILE
from tests.fakes.secret_scan import SECRET


@cache
def _document() -> Any:
    return json.loads(FILE.read_text(encoding="utf-8"))


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Paths as patterns, those with fewer parameters first; a parameter may hold slashes."""
    paths = sorted(_document()["paths"], key=lambda path: (path.count("{"), path))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths] + [
        (re.compile(re.sub(r"\{\w+\}", ".+", path)), path) for path in paths if "{" in path
    ]


@cache
def _validator(reference: str) -> Any:
    """Of a schema, by its JSON text; it may refer to the document's components."""
    schema = json.loads(reference) | {"components": _document()["components"]}
    return jsonschema_rs.validator_for(schema)


def described(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """A response with a reference followed."""
    if "$ref" in response:
        name = str(response["$ref"]).rsplit("/", 1)[-1]
        found: Mapping[str, Any] = _document()["components"]["responses"][name]
        return found
    return response


async def check(response: httpx2.Response) -> None:
    """Raise where the description does not know this response: a hook of a client."""
    request = response.request
    path = request.url.path
    if not path.startswith(PROGRAMS):
        return
    at = next((name for pattern, name in _patterns() if pattern.fullmatch(path)), None)
    operation = _document()["paths"].get(at, {}).get(request.method.lower())
    if operation is None:
        return  # there is no such operation: the server said so
    await response.aread()
    if response.status_code >= 400 and SECRET.search(response.text):
        raise AssertionError(f"{request.method} {path} repeats a secret in its problem")
    responses = operation["responses"]
    said = described(responses.get(str(response.status_code), responses["default"]))
    if str(response.status_code) not in responses:
        assert response.status_code >= 400, f"{request.method} {at}: {response.status_code}?"
    kind = response.headers.get("content-type", "").partition(";")[0]
    assert kind in said["content"], f"{request.method} {at}: {response.status_code} is {kind!r}"
    if kind.endswith("json"):
        schema = json.dumps(said["content"][kind]["schema"])
        faults = [error.message for error in _validator(schema).iter_errors(response.json())]
        assert not faults, f"{request.method} {at}: {response.status_code}: {faults}"
