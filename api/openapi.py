"""The description of the API, OpenAPI 3.1, made from the routes and the models they read and return.

`python -m cli.reference` writes it to `api/openapi.json`, which `GET /openapi.json`
sends; a test compares. Nothing here runs in a server: a handler is read as source for what it calls.

- path, method, text: of the route and its handler's docstring;
- parameters and body: of the model named in `read_query(request, Model)` and
  `read_body(request, Model)`, or with `takes_form` of a form;
- responses: of `returns` beside the handler, else an open object;
- security: whether the handler, or a function of its module that it calls, asks `principal_of`.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from starlette.routing import BaseRoute, Route

from api.openai_shape import OpenAIErrorReply
from api.operations import FORMS, JSON, RETURNED, Returned
from api.replies import ProblemReply

PROGRAMS = ("/api/", "/health", "/metrics", "/openapi.json", "/ready", "/v1/")
PROBLEM = "application/problem+json"
REFS = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_READS = {"read_body", "read_query"}
INTRODUCTION = (
    "Everything that the command line can do, for programs. Send an API token or the access token"
    " of a sign-in as `Authorization: Bearer …`. Every error is a problem (RFC 9457) with a `code`,"
    " the `field` that is wrong where there is one, and a `correlation_id`, which is also the"
    " header `X-Request-ID`; send that header to choose it."
)
WHERE = {
    "api_token": "An API token's id.",
    "conversation": "A conversation's id.",
    "document": "A document's id.",
    "group": "A group, by name or id.",
    "invitation": "An invitation, by id or address.",
    "kind": "`requests-per-minute`, `tokens-per-day`, `documents` or `bytes`.",
    "kb": "A knowledge base, by name or id.",
    "member": "A member, by e-mail address, name or id.",
    "model": "A model's id, as `GET /v1/models` lists it.",
    "channel": "A channel, by name or id.",
    "job": "A job's id, or a document's.",
    "limit": "`user`, `channel`, `tenant` or `tokens-a-day`.",
    "pattern": "SERVER/TOOL; `*` matches any part.",
    "person": "An account, by name or the platform's id.",
    "pipeline": "A pipeline's name.",
    "provider": "An identity provider, by its key.",
    "name": "`PROVIDER:MODEL`, or `PROVIDER:*` for all of a provider's.",
    "scim_client": "A SCIM client, by id or by how its secret begins.",
    "subject": "`tenant`, `user` or `key` (each of them), or `user:` or `key:` and a name or id.",
    "to": "`everyone`, or `group:`, `user:`, `workspace:` or `channel:` and a name.",
    "app": "A search app, by slug or id.",
    "assistant": "An assistant, by slug or id.",
    "trigger": "A trigger's id.",
    "workflow": "A workflow, by name or id.",
    "execution": "A run's id.",
    "workspace": "A workspace, by name or the platform's id.",
}


@dataclass(frozen=True, slots=True)
class _Operation:
    """One method of one path."""

    method: str
    path: str
    handler: Any
    body: Any
    query: Any
    form: Any
    returned: Sequence[Returned]
    is_open: bool

    @property
    def tag(self) -> str:
        return str(self.handler.__module__).rsplit(".", 1)[-1]

    @property
    def name(self) -> str:
        """The module, the handler, and the path where that has parameters."""
        ways = [f"by_{name}" for name in _PARAMETER.findall(self.path)]
        return "_".join([self.tag, self.handler.__name__, *ways])


def describe(routes: Iterable[BaseRoute], *, version: str) -> dict[str, Any]:
    """The whole document, of the routes that are for programs."""
    operations = [
        _operation(route, method)
        for route in routes
        if isinstance(route, Route) and route.path.startswith(PROGRAMS)
        for method in sorted((route.methods or set()) - {"HEAD"})
    ]
    schemas, components = _schemas(operations)
    paths: dict[str, Any] = {}
    names: set[str] = set()
    for item in sorted(operations, key=lambda item: (item.path, item.method)):
        path = _PARAMETER.sub(r"{\1}", item.path)
        at_path = paths.setdefault(path, {"parameters": _path_parameters(item.path)})
        name = item.name if item.name not in names else f"{item.name}_at_{path.rsplit('/', 1)[-1]}"
        names.add(name)
        at_path[item.method.lower()] = _described(item, name, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Scrubjay",
            "version": version,
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "parameters": {
                "RequestId": {
                    "name": "X-Request-ID",
                    "in": "header",
                    "description": "Chooses the correlation id of the request.",
                    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$"},
                }
            },
            "headers": {
                "RequestId": {
                    "description": "The correlation id of the request, as in the log.",
                    "schema": {"type": "string"},
                }
            },
            "responses": {
                "Problem": _response("An error.", PROBLEM, schemas[_key(ProblemReply)]),
                "OpenAIError": _response("An error.", JSON, schemas[_key(OpenAIErrorReply)]),
            },
        },
    }


def _operation(route: Route, method: str) -> _Operation:
    handler = route.endpoint
    called = _calls(handler)
    return _Operation(
        method=method,
        path=route.path,
        handler=handler,
        body=called.get("read_body"),
        query=called.get("read_query"),
        form=FORMS.get(handler),
        returned=RETURNED.get(handler) or [Returned(dict[str, Any])],
        is_open="principal_of" not in called,
    )


def _calls(function: Any, above: frozenset[Any] = frozenset()) -> dict[str, Any]:  # noqa: ANN401
    """The functions a handler calls by name; for those that read, the model they are given.

    Functions of its own module are followed.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        name = node.func.id
        found.setdefault(name, None)
        if name in _READS and len(node.args) > 1 and isinstance(node.args[1], ast.Name):
            found[name] = function.__globals__[node.args[1].id]
    for name in list(found):
        called = function.__globals__.get(name)
        is_own = inspect.isfunction(called) and called.__module__ == function.__module__
        if is_own and called not in above:
            for inner, model in _calls(called, above | {function, called}).items():
                found[inner] = found.get(inner) or model
    return found


def _key(model: Any) -> str:  # noqa: ANN401 (any type)
    return f"{getattr(model, '__module__', '')}.{getattr(model, '__qualname__', model)!s}"


def _schemas(operations: Sequence[_Operation]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of each model by its key, and the components they refer to."""
    wanted: dict[tuple[str, str], tuple[str, Any, TypeAdapter[Any]]] = {}

    def want(model: Any, mode: str) -> None:  # noqa: ANN401 (any type)
        if model is not None:
            wanted.setdefault((_key(model), mode), (_key(model), mode, TypeAdapter(model)))

    want(ProblemReply, "serialization")
    want(OpenAIErrorReply, "serialization")
    for item in operations:
        for model in (item.body, item.query, item.form):
            want(model, "validation")
        for returned in item.returned:
            want(returned.model, "serialization")
    inputs: Any = list(wanted.values())
    found, defined = TypeAdapter.json_schemas(inputs, ref_template=REFS)
    components = dict(sorted(defined.get("$defs", {}).items()))
    return {key: _plain(schema) for (key, _), schema in found.items()}, _plain(components)


def _plain(schema: Any) -> Any:  # noqa: ANN401 (JSON)
    """Without the titles that pydantic makes of names, and with docstrings as one line each."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        name: _plain(value)
        for name, value in schema.items()
        if not (name == "title" and isinstance(value, str))
    }
    if isinstance(kept.get("description"), str):
        kept["description"] = _prose(kept["description"])
    return kept


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


def _path_parameters(path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"$ref": "#/components/parameters/RequestId"}]
    for name in _PARAMETER.findall(path):
        said = {"description": WHERE[name]} if name in WHERE else {}
        schema = {"type": "string", "minLength": 1}
        found.append({"name": name, "in": "path", "required": True, **said, "schema": schema})
    return found


def _described(item: _Operation, name: str, schemas: Mapping[str, Any]) -> dict[str, Any]:
    summary, _, rest = inspect.cleandoc(item.handler.__doc__ or name).partition("\n\n")
    out: dict[str, Any] = {
        "operationId": name,
        "tags": [item.tag],
        "summary": _prose(summary),
        "security": [] if item.is_open else [{"bearer": []}],
    }
    if rest:
        out["description"] = _prose(rest)
    if item.query is not None:
        out["parameters"] = _query_parameters(item.query)
    body, kind = (item.form, "multipart/form-data") if item.form else (item.body, JSON)
    if body is not None:
        out["requestBody"] = {"required": True, "content": {kind: {"schema": schemas[_key(body)]}}}
    refusal = "OpenAIError" if item.path.startswith("/v1/") else "Problem"
    out["responses"] = {
        **_responses(item.returned, schemas),
        "default": {"$ref": f"#/components/responses/{refusal}"},
    }
    return out


def _query_parameters(model: Any) -> list[dict[str, Any]]:  # noqa: ANN401 (a model)
    """One parameter a field; a query holds texts and lists of them, no objects."""
    schema = _plain(TypeAdapter(model).json_schema(ref_template=REFS))
    required = schema.get("required", [])
    found = []
    for name, field in schema.get("properties", {}).items():
        shown = {key: value for key, value in field.items() if key != "description"}
        if "anyOf" in shown:
            kept = [part for part in shown["anyOf"] if part.get("type") not in {"object", "null"}]
            shown = {key: value for key, value in shown.items() if key != "default"}
            shown |= {"anyOf": kept} if len(kept) > 1 else kept[0]
            if len(kept) == 1:
                del shown["anyOf"]
        said = {"description": field["description"]} if "description" in field else {}
        found.append(
            {"name": name, "in": "query", "required": name in required, **said, "schema": shown}
        )
    return found


def _responses(returned: Sequence[Returned], schemas: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in returned:
        schema = _text(item.media_type) if item.model is None else schemas[_key(item.model)]
        response = found.setdefault(
            str(item.status), _response(_said(item), item.media_type, schema)
        )
        response["content"][item.media_type] = {"schema": schema}
    return found


def _text(media_type: str) -> dict[str, Any]:
    """The schema of what is no JSON: events are no text of their own, but many."""
    if media_type == "text/event-stream":
        return {"description": "Server-sent events, whose `data` is JSON."}
    return {"type": "string"}


def _said(item: Returned) -> str:
    lines = (getattr(item.model, "__doc__", "") or "").splitlines() if item.model else []
    is_own = bool(lines) and str(getattr(item.model, "__module__", "")).startswith(
        ("api", "engine")
    )
    return lines[0] if is_own else "Done."


def _response(description: str, media_type: str, schema: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "description": description,
        "headers": {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}},
        "content": {media_type: {"schema": schema}},
    }
