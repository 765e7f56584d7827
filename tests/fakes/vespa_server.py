"""A Vespa in memory, behind the HTTP that Scrubjay uses of it: config server, documents, search.

It shows agreement on the port, not retrieval quality: it takes the package that would be deployed,
the documents and the queries as they would be sent, refuses what it does not know, and computes as
Vespa's sources say. It ranks without `engine.ranking`, trims to the rerank count, and, like
weakAnd, scores no words of a document that it passed over.

Run by itself (`python -m tests.fakes.vespa_server PORT`) it speaks HTTP/1.1 and HTTP/2 without TLS, as
Vespa does, both services on one port.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import re
import socket
import struct
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.vespa_ranking import FIRST, Scored, Words, rank
from tests.fakes.vespa_yql import BadQuery, Item, Term, parse

NAMESPACE = "scrubjay"
PAGE = 3  # documents a visit returns at a time: few, so that continuing is tried
QUERY_PARAMETERS = {
    "hits",
    "model.restrict",
    "presentation.summary",
    "ranking.globalPhase.rerankCount",
    "ranking.profile",
    "ranking.softtimeout.enable",
    "timeout",
    "yql",
}
INPUTS: Mapping[str, Any] = {
    "alpha": 0.7,
    "title_weight": 0.3,
    "half_life_s": 0.0,
    "decay_floor": 0.5,
    "now_s": 0.0,
    "passages": 3.0,
    "feature_weights": {},
    "q": None,
}

Fault = Callable[[Request], Awaitable[Response | None]]


class Refused(Exception):
    """What Vespa would answer with an error."""

    def __init__(self, status: int, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass
class Schema:
    """A document type, read from the package."""

    name: str
    fields: Mapping[str, str]  # type by name
    profiles: frozenset[str]
    dimension: int = 0
    cells: str = ""
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)


class FakeVespa:
    """The state, and the ASGI application over it (`app`). `faults` may answer a request first."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self.package: dict[str, str] = {}
        self.generation = 0
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.queries: list[dict[str, Any]] = []
        self.refusals: list[str] = []
        self.coverage: dict[str, Any] = {"coverage": 100, "full": True}
        self.deploys: list[frozenset[str]] = []
        self._sessions: dict[int, dict[str, str]] = {}
        self._prepared: set[int] = set()
        self.app = Starlette(
            routes=[
                Route("/state/v1/health", self._health),
                Route("/search/", self._guarded(self._search), methods=["GET", "POST"]),
                Route(
                    "/document/v1/{namespace}/{type}/docid/{key:path}",
                    self._guarded(self._document),
                    methods=["GET", "POST", "PUT", "DELETE"],
                ),
                Route(
                    "/document/v1/{namespace}/{type}/docid",
                    self._guarded(self._many),
                    methods=["GET", "DELETE"],
                ),
                Route(
                    "/application/v2/tenant/default/{rest:path}",
                    self._guarded(self._config),
                    methods=["GET", "POST", "PUT"],
                ),
            ]
        )

    # Deploying

    def deploy(self, files: Mapping[str, str]) -> None:
        """What a config server does with a package: check it against the one before, and take it."""
        found = _read_schemas(files)
        declared = set(re.findall(r'<document type="(\w+)"', files["services.xml"]))
        if missing := declared - found.keys():
            raise Refused(400, f"services.xml declares {missing}, which no schema describes")
        removed = self.schemas.keys() - declared
        allowed = ">schema-removal<" in files.get("validation-overrides.xml", "") or (
            "schema-removal" in files.get("validation-overrides.xml", "")
        )
        if removed and not allowed:
            raise Refused(400, f"Removal of a schema causes deletion of all documents: {removed}")
        for name in declared:
            known = self.schemas.get(name)
            if known is not None and (known.dimension, known.cells) != (
                found[name].dimension,
                found[name].cells,
            ):
                raise Refused(400, f"field-type-change: {name}")
        for name in declared:
            documents = self.schemas[name].documents if name in self.schemas else {}
            self.schemas[name] = found[name]
            self.schemas[name].documents = documents
        for name in removed:
            del self.schemas[name]
        self.package = dict(files)
        self.generation += 1
        self.deploys.append(frozenset(declared))

    async def _config(self, request: Request) -> Response:  # noqa: PLR0911 (an address each)
        rest = request.path_params["rest"]
        base = f"{request.url.scheme}://{request.url.netloc}/application/v2/tenant/default"
        if request.method == "POST" and rest == "session":
            number = len(self._sessions) + 1
            self._sessions[number] = _unzip(await request.body())
            return JSONResponse(
                {
                    "session-id": str(number),
                    "prepared": f"{base}/session/{number}/prepared",
                    "message": f"Session {number} for tenant 'default' created.",
                    "log": [],
                }
            )
        if found := re.fullmatch(r"session/(\d+)/(prepared|active)", rest):
            number = int(found[1])
            if number not in self._sessions:
                raise Refused(404, f"no session {number}")
            if found[2] == "prepared":
                self._check(self._sessions[number])
                self._prepared.add(number)
                return JSONResponse(
                    {
                        "session-id": str(number),
                        "activate": f"{base}/session/{number}/active",
                        "configChangeActions": {"restart": [], "refeed": [], "reindex": []},
                        "log": [],
                    }
                )
            if number not in self._prepared:
                raise Refused(400, f"session {number} is not prepared")
            self.deploy(self._sessions[number])
            return JSONResponse({"session-id": str(number), "message": "activated", "log": []})
        if rest == "prepareandactivate" and request.method == "POST":
            self.deploy(_unzip(await request.body()))
            return JSONResponse({"session-id": str(self.generation), "log": []})
        instance = "application/default/environment/prod/region/default/instance/default"
        if rest in {"application/default", instance}:
            if not self.generation:
                raise Refused(404, "No application")
            return JSONResponse({"generation": self.generation})
        if rest == f"{instance}/serviceconverge":
            return JSONResponse(
                {
                    "converged": True,
                    "currentGeneration": self.generation,
                    "wantedGeneration": self.generation,
                    "services": [],
                }
            )
        for content in ("application/default/content", f"{instance}/content"):
            if rest.startswith(content):
                return self._content(base, content, rest.removeprefix(content).lstrip("/"))
        raise Refused(404, f"nothing at {rest}")

    def _content(self, base: str, content: str, path: str) -> Response:
        if not self.generation:
            raise Refused(404, "No application")
        if path in self.package:
            return Response(self.package[path], media_type="text/plain")
        below = [name for name in self.package if name.startswith(path.rstrip("/") + "/")] or (
            list(self.package) if not path else []
        )
        if not below:
            raise Refused(404, f"no file {path}")
        start = len(path.rstrip("/")) + 1 if path else 0
        names = sorted({name[start:].split("/")[0] for name in below})
        return JSONResponse(
            [f"{base}/{content}/{path.rstrip('/') + '/' if path else ''}{name}" for name in names]
        )

    def _check(self, files: Mapping[str, str]) -> None:
        before = FakeVespa()
        before.schemas = {
            name: Schema(one.name, one.fields, one.profiles, one.dimension, one.cells)
            for name, one in self.schemas.items()
        }
        before.deploy(files)

    # Documents

    async def _document(self, request: Request) -> Response:
        schema, key = self._schema(request), request.path_params["key"]
        path_id = {"pathId": request.url.path, "id": f"id:{NAMESPACE}:{schema.name}::{key}"}
        known = schema.documents.get(key)
        if request.method == "GET":
            if known is None:
                return JSONResponse(path_id, status_code=404)
            return JSONResponse({**path_id, "fields": known})
        if request.method == "DELETE":
            schema.documents.pop(key, None)
            return JSONResponse(path_id)
        condition = request.query_params.get("condition", "")
        create = request.query_params.get("create") == "true"
        if condition:
            limit = re.fullmatch(rf"{schema.name}\.version <= (\d+)", condition)
            if limit is None:
                raise Refused(400, f"no such condition: {condition}")
            if known is None and not create:
                return JSONResponse(path_id, status_code=412)
            if known is not None and known["version"] > int(limit[1]):
                return JSONResponse(path_id, status_code=412)
        fields = json.loads(await request.body())["fields"]
        if request.method == "POST":
            schema.documents[key] = {
                name: _read_value(schema, name, value) for name, value in fields.items()
            }
        elif known is not None:
            for name, change in fields.items():
                if set(change) != {"assign"}:
                    raise Refused(400, f"no such update: {change}")
                known[name] = _read_value(schema, name, change["assign"])
        return JSONResponse(path_id)

    async def _many(self, request: Request) -> Response:
        schema, query = self._schema(request), request.query_params
        if query.get("cluster") != "kb":
            raise Refused(400, "which cluster?")
        passes = _selection(schema, query.get("selection", ""))
        start = query.get("continuation", "")
        chosen = sorted(
            (key, fields)
            for key, fields in schema.documents.items()
            if key > start and passes(fields)
        )[:PAGE]
        answer: dict[str, Any] = {"pathId": request.url.path}
        if len(chosen) == PAGE:
            answer["continuation"] = chosen[-1][0]
        if request.method == "DELETE":
            if not query.get("selection"):
                raise Refused(400, "delete what?")
            for key, _ in chosen:
                del schema.documents[key]
        else:
            wanted = query["fieldSet"].removeprefix(f"{schema.name}:").split(",")
            answer["documents"] = [
                {
                    "id": f"id:{NAMESPACE}:{schema.name}::{key}",
                    "fields": {name: fields[name] for name in wanted if name in fields},
                }
                for key, fields in chosen
            ]
        return JSONResponse(answer)

    def _schema(self, request: Request) -> Schema:
        name = request.path_params["type"]
        if request.path_params["namespace"] != NAMESPACE or name not in self.schemas:
            raise Refused(400, f"Document type {name} does not exist")
        return self.schemas[name]

    # Searching

    async def _search(self, request: Request) -> Response:
        body = await request.json()
        self.queries.append(body)
        try:
            return JSONResponse({"root": self._answer(body)})
        except BadQuery as error:
            raise Refused(400, str(error), code=4) from error

    def _answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        parameters = {
            name: value
            for name, value in body.items()
            if name not in QUERY_PARAMETERS and not name.startswith("input.")
        }
        if stray := [name for name in parameters if not re.fullmatch(r"p\d+", name)]:
            raise BadQuery(f"parameters nobody asked for: {stray}")
        select = parse(body["yql"], parameters)
        schema = self.schemas.get(select.schema)
        if schema is None:
            raise BadQuery(f"could not resolve the source {select.schema}")
        if body.get("model.restrict") != select.schema:
            raise BadQuery("model.restrict is not the schema asked for")
        profile = body.get("ranking.profile", "unranked")
        if profile not in schema.profiles | {"unranked"} or profile not in FIRST:
            raise BadQuery(f"schema {schema.name} has no rank profile {profile}")
        inputs = _inputs(body)
        hits = _match(schema, select.where, inputs)
        total = len(hits)
        root: dict[str, Any] = {
            "id": "toplevel",
            "relevance": 1.0,
            "fields": {"totalCount": total},
            "coverage": self.coverage,
        }
        if select.sums:
            sums = {f"sum({name})": sum(hit.document[name] for hit in hits) for name in select.sums}
            root["children"] = [{"id": "group:root:0", "relevance": 1.0, "fields": sums}]
            return root
        wanted = int(body.get("hits", 10)) if select.limit is None else select.limit
        if wanted > 2000:
            raise BadQuery(f"{wanted} hits requested, configured limit: 2000")
        count = int(body.get("ranking.globalPhase.rerankCount", 200))
        ordered = rank(profile, hits, inputs, count)[:wanted]
        summary = body.get("presentation.summary", "hit")
        root["children"] = [
            {
                "id": f"index:kb/0/{number}",
                "relevance": hit.relevance,
                "source": "kb",
                "fields": _summary(hit, summary, profile, inputs),
            }
            for number, hit in enumerate(ordered)
        ]
        return root

    # The rim

    def _guarded(
        self, serve: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            self.requests.append((request.method, request.url.path))
            await request.body()  # hypercorn falls over what comes after an early answer
            try:
                for fault in list(self.faults):
                    answer = await fault(request)
                    if answer is not None:
                        return answer
                return await serve(request)
            except Refused as error:
                self.refusals.append(str(error))
                message = {"message": str(error), "error-code": "INVALID_APPLICATION_PACKAGE"}
                if request.url.path.startswith("/search"):
                    failed = {"code": error.code, "message": str(error)}
                    message = {"root": {"errors": [failed]}}  # type: ignore[dict-item]
                return JSONResponse(message, status_code=error.status)

        return guarded

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": {"code": "up"}})


def _read_schemas(files: Mapping[str, str]) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    parents: dict[str, str] = {}
    for path, text in files.items():
        if not path.endswith(".sd"):
            continue
        head = re.search(r"^schema (\w+)(?: inherits (\w+))?", text, re.MULTILINE)
        if head is None or f"schemas/{head[1]}.sd" != path:
            raise Refused(400, f"{path} holds no schema of that name")
        name = head[1]
        if head[2]:
            parents[name] = head[2]
        fields = {
            match[1]: match[2].strip()
            for match in re.finditer(r"^\s+field (\w+) type (.+?) \{", text, re.MULTILINE)
        }
        profiles = frozenset(
            re.findall(
                r"^rank-profile (\w+)",
                "\n".join(t for p, t in files.items() if p.startswith(f"schemas/{name}/")),
                re.MULTILINE,
            )
        )
        vectors = re.fullmatch(
            r"tensor<(\w+)>\(chunk\{\}, ?x\[(\d+)\]\)", fields.get("embeddings", "")
        )
        found[name] = Schema(
            name,
            fields,
            profiles,
            int(vectors[2]) if vectors else 0,
            vectors[1] if vectors else "",
        )
    for name, parent in parents.items():
        base = found[parent]
        fields = {**base.fields, **found[name].fields}
        found[name] = Schema(name, fields, base.profiles, base.dimension, base.cells)
    return found


def _unzip(data: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def _read_value(schema: Schema, name: str, value: Any) -> Any:
    """A field's value as it is kept; refuses what the document reader would."""
    kind = schema.fields.get(name)
    checks: dict[str, Callable[[Any], bool]] = {
        "string": lambda v: isinstance(v, str),
        "array<string>": lambda v: isinstance(v, list) and all(isinstance(x, str) for x in v),
        "array<int>": lambda v: isinstance(v, list) and all(type(x) is int for x in v),
        "predicate": lambda v: isinstance(v, str) and _predicate(v) is not None,
        "bool": lambda v: isinstance(v, bool),
        "int": lambda v: type(v) is int and -(2**31) < v < 2**31,
        "long": lambda v: type(v) is int and -(2**63) < v < 2**63,
    }
    if kind is None:
        raise Refused(400, f"No field {name} in {schema.name}")
    if kind in checks:
        if not checks[kind](value):
            raise Refused(400, f"{name}: {value!r} is no {kind}")
        return value
    if name == "features":
        return {cell["address"]["f"]: float(cell["value"]) for cell in value["cells"]}
    if name == "embeddings":
        return {place: _vector(schema, block) for place, block in value["blocks"].items()}
    raise Refused(400, f"{name}: a {kind} is not known here")


def _vector(schema: Schema, block: str) -> list[float]:
    data = bytes.fromhex(block)
    size = 2 if schema.cells == "bfloat16" else 4
    if len(data) != size * schema.dimension:
        raise Refused(400, f"{len(data)} bytes for {schema.dimension} cells of {schema.cells}")
    if size == 2:
        data = b"".join(data[i : i + 2] + b"\0\0" for i in range(0, len(data), 2))
    return list(struct.unpack(f">{schema.dimension}f", data))


def _predicate(text: str) -> frozenset[str] | None:
    """The tokens a predicate asks for; None where it is none of ours."""
    if text == "true":
        return frozenset()
    terms = [re.fullmatch(r"acl_all in \['([a-z0-9:_-]+)'\]", item) for item in text.split(" and ")]
    return frozenset(term[1] for term in terms if term) if all(terms) else None


def _selection(schema: Schema, text: str) -> Callable[[Mapping[str, Any]], bool]:
    if not text:
        return lambda _: True
    found = re.fullmatch(rf'{schema.name}\.(\w+) == "([^"\\]*)"', text)
    if found is None or found[1] not in schema.fields:
        raise Refused(400, f"no such selection: {text}")
    name, value = found[1], found[2]
    return lambda fields: fields.get(name) == value


def _inputs(body: Mapping[str, Any]) -> dict[str, Any]:
    inputs = dict(INPUTS)
    for name, value in body.items():
        if found := re.fullmatch(r"input\.query\((\w+)\)", name):
            if found[1] not in inputs:
                raise BadQuery(f"no profile declares the input {found[1]}")
            inputs[found[1]] = value
    return inputs


def _match(schema: Schema, where: Item, inputs: Mapping[str, Any]) -> list[Scored]:
    """The documents that match, each with what is known of it."""
    _check_fields(schema, where)
    documents = list(schema.documents.items())
    titles = Words([[fields["title_terms"].split()] for _, fields in documents])
    chunks = Words([[c.split() for c in fields["chunk_terms"]] for _, fields in documents])
    looked_at: dict[str, dict[str, list[Term]]] = {"title_terms": {}, "chunk_terms": {}}
    items = list(_leaves(where))
    near = next((item for item in items if item.kind == "near"), None)
    if near is not None:
        vector = inputs["q"]
        if not isinstance(vector, list) or len(vector) != schema.dimension:
            raise BadQuery(f"Expected a tensor value of 'query(q)' of {schema.dimension}")
    keys = _evaluate(schema, where, {key for key, _ in documents}, inputs, looked_at)
    hits = []
    for key, fields in documents:
        if key not in keys:
            continue
        hit = Scored(fields, chunks={}, cosines={})
        if terms := looked_at["title_terms"].get(key):
            hit.title = titles.score(terms, fields["title_terms"].split())
        if terms := looked_at["chunk_terms"].get(key):
            scores = {
                place: chunks.score(terms, text.split())
                for place, text in enumerate(fields["chunk_terms"])
            }
            hit.chunks = {place: score for place, score in scores.items() if score > 0}
        hit.cosines = _cosines(fields, inputs["q"] or [0.0] * schema.dimension)
        if near is not None:
            hit.closeness = _closeness(hit.cosines)
        hit.freshness = _freshness(fields, inputs)
        hit.features = sum(
            weight * fields["features"].get(name, 0.0)
            for name, weight in inputs["feature_weights"].items()
        )
        hits.append(hit)
    return hits


def _evaluate(  # noqa: PLR0911 (a kind of item each)
    schema: Schema,
    item: Item,
    among: set[str],
    inputs: Mapping[str, Any],
    looked_at: dict[str, dict[str, list[Term]]],
) -> set[str]:
    """Which of `among` match. Filters of an `and` come first: what ranks, ranks among the rest."""

    def inside(part: Item, within: set[str]) -> set[str]:
        return _evaluate(schema, part, within, inputs, looked_at)

    match item.kind:
        case "and":
            for part in sorted(item.items, key=lambda item: item.ranks):
                among = inside(part, among)
            return among
        case "or":
            return set().union(*(inside(part, among) for part in item.items))
        case "rank":
            among = inside(item.items[0], among)
            for part in item.items[1:]:
                inside(part, among)
            return among
        case "words":
            return _weak_and(schema, item, among, looked_at)
        case "term":
            return {
                key
                for key in among
                if any(item.value in text.split() for text in _texts(schema, key, item.field))
            }
        case "near":
            closeness = {
                key: _closeness(_cosines(schema.documents[key], inputs["q"])) for key in among
            }
            having = [key for key in closeness if closeness[key] > 0]
            return set(sorted(having, key=lambda key: -closeness[key])[: item.hits])
    return {key for key in among if _passes(item, schema.documents[key])}


def _weak_and(
    schema: Schema, item: Item, among: set[str], looked_at: dict[str, dict[str, list[Term]]]
) -> set[str]:
    every = Words(
        [[text.split() for text in _texts(schema, key, item.field)] for key in schema.documents]
    )
    scores = {
        key: max(
            (every.score(item.value, text.split()) for text in _texts(schema, key, item.field)),
            default=0.0,
        )
        for key in among
    }
    matching = [key for key in schema.documents if scores.get(key, 0.0) > 0]
    best = sorted(matching, key=lambda key: -scores[key])[: item.hits]
    looked_at[item.field] |= dict.fromkeys(best, item.value)
    return set(best)


def _texts(schema: Schema, key: str, name: str) -> list[str]:
    value = schema.documents[key][name]
    return [value] if isinstance(value, str) else list(value)


def _passes(item: Item, fields: Mapping[str, Any]) -> bool:
    if item.kind in {"true", "false"}:
        return item.kind == "true"
    value = fields[item.field]
    match item.kind:
        case "in":
            held = {value} if isinstance(value, str) else set(value)
            return bool(held & item.value)
        case "is":
            return bool(value is item.value)
        case "range":
            low, high = item.value
            return bool(low <= value <= high)
        case "predicate":
            asked = _predicate(value)
            return asked is not None and asked <= item.value
    raise BadQuery(f"no item {item.kind}")


def _check_fields(schema: Schema, where: Item) -> None:
    kinds = {
        "in": {"string", "array<string>"},
        "is": {"bool"},
        "range": {"int", "long"},
        "predicate": {"predicate"},
        "words": {"string", "array<string>"},
        "term": {"string", "array<string>"},
    }
    for item in _leaves(where):
        if item.kind in kinds and schema.fields.get(item.field) not in kinds[item.kind]:
            raise BadQuery(f"Field '{item.field}' does not exist, or can't be asked so")
        if item.kind in {"words", "term"} and item.field not in {"title_terms", "chunk_terms"}:
            raise BadQuery(f"{item.field} is no text")


def _leaves(item: Item) -> Iterable[Item]:
    if not item.items:
        yield item
    for part in item.items:
        yield from _leaves(part)


def _cosines(fields: Mapping[str, Any], vector: list[float]) -> dict[int, float]:
    return {
        int(place): sum(a * b for a, b in zip(cells, vector, strict=True))
        for place, cells in fields["embeddings"].items()
    }


def _closeness(cosines: Mapping[int, float]) -> float:
    return max((1 / (1 + (1 - cosine)) for cosine in cosines.values()), default=0.0)


def _freshness(fields: Mapping[str, Any], inputs: Mapping[str, Any]) -> float:
    if inputs["half_life_s"] <= 0 or fields["updated_at"] <= -(2**61):
        return 1.0
    age_s = max(0.0, (inputs["now_s"] or time.time()) - fields["updated_at"] / 1e6)
    floor = inputs["decay_floor"]
    return float(floor + (1 - floor) * 0.5 ** (age_s / inputs["half_life_s"]))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value  # JSON has no NaN


def _summary(hit: Scored, summary: str, profile: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    fields = hit.document
    keys = ("tenant", "doc_id", "revision", "part", "kb_id", "chunk_count", "vector_count")
    shown: dict[str, Any]
    if summary == "keys":
        shown = {name: fields[name] for name in keys}
    elif summary == "hit":
        chosen = hit.passages(inputs) if profile != "unranked" else {}
        names = ("doc_id", "revision", "part", "kb_id", "chunk_count", "title_terms")
        shown = {name: fields[name] for name in names}
        shown["passage_terms"] = [fields["chunk_terms"][place] for place in chosen]
        shown["passage_ordinals"] = [fields["ordinals"][place] for place in chosen]
        shown["summaryfeatures"] = {
            "passages": {str(place): score for place, score in chosen.items()},
            "passage_bm25": {str(p): hit.chunks[p] for p in chosen if p in hit.chunks},
            "passage_cosine": {str(p): hit.cosines[p] for p in chosen if p in hit.cosines},
        }
    elif summary == "default":
        shown = {name: value for name, value in fields.items() if name != "embeddings"}
    else:
        raise BadQuery(f"no summary {summary}")
    if profile != "unranked":
        shown["matchfeatures"] = {
            "bm25_title": hit.title,
            "bm25_chunk": hit.text,
            "lexical": hit.lexical(inputs),
            "semantic": _number(hit.semantic),
            "freshness": hit.freshness,
            "feature_score": hit.features,
        }
    return shown


async def serve(vespa: FakeVespa, port: int, stop: asyncio.Event) -> None:
    """Listen on loopback until `stop`."""
    from hypercorn.asyncio import serve as listen
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "CRITICAL"  # it would tell of each connection that a test cuts
    config.graceful_timeout = 0.1
    await listen(vespa.app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]


@asynccontextmanager
async def running(vespa: FakeVespa) -> AsyncIterator[int]:
    """The port it listens on, inside."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(vespa, port, stop))
    try:
        await _answering(port)
        yield port
    finally:
        stop.set()
        await serving


async def _answering(port: int) -> None:
    async with asyncio.timeout(60), httpx2.AsyncClient(trust_env=False) as client:
        while True:
            try:
                await client.get(f"http://127.0.0.1:{port}/state/v1/health")
            except httpx2.TransportError:
                await asyncio.sleep(0.02)
            else:
                return


if __name__ == "__main__":
    asyncio.run(serve(FakeVespa(), int(sys.argv[1]), asyncio.Event()))
