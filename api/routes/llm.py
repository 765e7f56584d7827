"""`/api/v1/llm`: an organisation's keys for language models, what they cost, credits and quotas."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from typing_extensions import TypedDict

from api.operations import returns
from api.schemas import Body, read_body, read_query
from api.service import principal_of, service_of
from engine.models.llm_catalogue import LlmInfo
from engine.people.ledger import Credits, Usage
from engine.people.quotas import QuotaInfo
from engine.people.tenant_llms import LlmKey


class ProviderInfo(TypedDict):
    """A provider of language models, and what some model of it can do."""

    key: str
    name: str
    capabilities: list[str]


class LlmModelsReply(TypedDict):
    """The models that are known; `default` answers in this organisation, empty: none."""

    default: str
    providers: list[ProviderInfo]
    models: list[LlmInfo]


class KeysReply(TypedDict):
    """The organisation's keys; each shows how it begins and ends."""

    keys: list[LlmKey]


class DefaultReply(TypedDict):
    """The model that answers by default; empty: the installation's own."""

    model: str


class RemovedKeyReply(TypedDict):
    """The name of what was removed."""

    removed: str


class UsageReply(TypedDict):
    """What was used, and what may still be spent; costs and credits are in credits."""

    credits: Credits
    usage: list[Usage]


class QuotasReply(TypedDict):
    """The quotas that hold in this organisation."""

    quotas: list[QuotaInfo]


class ModelsQuery(Body):
    """`GET /api/v1/llm/models`."""

    capability: Annotated[str, Field(max_length=40)] = ""
    provider: Annotated[str, Field(max_length=40)] = ""


class KeyBody(Body):
    """`PUT /api/v1/llm/keys/{name}`; the key as it is shown keeps the one there is."""

    api_key: Annotated[SecretStr, Field(max_length=1000)] | None = None
    base_url: Annotated[str, Field(max_length=500)] | None = None
    enabled: bool | None = None


class DefaultBody(Body):
    """`PUT /api/v1/llm/default`."""

    model: Annotated[str, Field(max_length=250)]


class UsageQuery(Body):
    """`GET /api/v1/usage`."""

    days: Annotated[int, Field(ge=1, le=3660)] = 30
    by: Literal["day", "model", "user"] = "day"


class QuotaBody(Body):
    """`PUT /api/v1/quotas/{subject}/{kind}`."""

    amount: Annotated[int, Field(ge=0)]


@returns(LlmModelsReply)
async def models(request: Request) -> Response:
    """The language models that are known, with what they can do, their windows and prices."""
    principal = await principal_of(request)
    wanted = read_query(request, ModelsQuery)
    llms = service_of(request).engine.llms
    found = llms.list_models(capability=wanted.capability, provider=wanted.provider)
    providers = [
        {"key": key, "name": name, "capabilities": able}
        for key, name, able in llms.list_providers()
    ]
    default = await llms.default_of(principal)
    shown = [asdict(model) for model in found]
    return JSONResponse({"default": default, "providers": providers, "models": shown})


@returns(KeysReply)
async def keys(request: Request) -> Response:
    """The organisation's own keys, masked."""
    principal = await principal_of(request)
    found = await service_of(request).engine.llms.list_keys(principal)
    return JSONResponse({"keys": [asdict(key) for key in found]})


@returns(LlmKey)
async def set_key(request: Request) -> Response:
    """Add or change the key for one model, or with `*` for all of a provider."""
    principal = await principal_of(request)
    body = await read_body(request, KeyBody)
    kept = await service_of(request).engine.llms.set_key(
        principal,
        request.path_params["name"],
        api_key=None if body.api_key is None else body.api_key.get_secret_value(),
        base_url=body.base_url,
        enabled=body.enabled,
    )
    return JSONResponse(asdict(kept))


@returns(RemovedKeyReply)
async def remove_key(request: Request) -> Response:
    """Forget a key."""
    principal = await principal_of(request)
    llms = service_of(request).engine.llms
    return JSONResponse({"removed": await llms.remove_key(principal, request.path_params["name"])})


@returns(DefaultReply)
async def set_default(request: Request) -> Response:
    """Choose the model that answers in the organisation; empty: the installation's own."""
    principal = await principal_of(request)
    body = await read_body(request, DefaultBody)
    chosen = await service_of(request).engine.llms.set_default(principal, body.model)
    return JSONResponse({"model": chosen})


@returns(UsageReply)
async def usage(request: Request) -> Response:
    """What language models were used for how much, by day, model or user."""
    principal = await principal_of(request)
    wanted = read_query(request, UsageQuery)
    llms = service_of(request).engine.llms
    used = await llms.read_usage(principal, days=wanted.days, by=wanted.by)
    credits_left = await llms.read_credits(principal)
    return JSONResponse({"credits": asdict(credits_left), "usage": [asdict(item) for item in used]})


@returns(QuotasReply)
async def quotas(request: Request) -> Response:
    """The quotas of the organisation, those that the operator set included."""
    principal = await principal_of(request)
    found = await service_of(request).engine.quotas.list_all(principal)
    return JSONResponse({"quotas": [asdict(quota) for quota in found]})


@returns(QuotaInfo)
async def set_quota(request: Request) -> Response:
    """Set a quota of `tenant`, each `user` or `key`, `user:NAME` or `key:ID`."""
    principal = await principal_of(request)
    body = await read_body(request, QuotaBody)
    subject, kind = request.path_params["subject"], request.path_params["kind"]
    kept = await service_of(request).engine.quotas.set(principal, subject, kind, body.amount)
    return JSONResponse(asdict(kept))


@returns(RemovedKeyReply)
async def remove_quota(request: Request) -> Response:
    """Remove a quota that an admin set."""
    principal = await principal_of(request)
    subject, kind = request.path_params["subject"], request.path_params["kind"]
    await service_of(request).engine.quotas.remove(principal, subject, kind)
    return JSONResponse({"removed": f"{kind} of {subject}"})


ROUTES = (
    Route("/api/v1/llm/models", models, methods=["GET"]),
    Route("/api/v1/llm/keys", keys, methods=["GET"]),
    Route("/api/v1/llm/keys/{name:path}", set_key, methods=["PUT"]),
    Route("/api/v1/llm/keys/{name:path}", remove_key, methods=["DELETE"]),
    Route("/api/v1/llm/default", set_default, methods=["PUT"]),
    Route("/api/v1/usage", usage, methods=["GET"]),
    Route("/api/v1/quotas", quotas, methods=["GET"]),
    Route("/api/v1/quotas/{subject}/{kind}", set_quota, methods=["PUT"]),
    Route("/api/v1/quotas/{subject}/{kind}", remove_quota, methods=["DELETE"]),
)
