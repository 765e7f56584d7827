"""Describe an installation as it is, in the file that `deploying.py` applies.

Secrets stay here: the file names the variable to find each in. What ships with the product, and what
an installation says by itself, is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import tomli_w

from engine.assistants.assistants import Profiles
from engine.deployment.described import EVERYONE
from engine.deployment.kinds import grantee_in_words, subject_in_words
from engine.deployment.profiles import described as described_profile
from engine.deployment.profiles import words_for_tokens
from engine.documents.knowledge_bases import KbInfo
from engine.domain import Principal
from engine.engine import Engine
from engine.models.catalogue import MODELS
from engine.sources.intervals import in_words

FILE = "deployment.toml"
HEADER = (
    "# What this installation has. Apply it with `scrubjay apply`; secrets come from variables.\n\n"
)


async def write_deployment(engine: Engine, principal: Principal) -> dict[str, str]:
    """The files that describe a tenant, by their path: `deployment.toml`, and texts of graphs."""
    files: dict[str, str] = {}
    described: dict[str, Any] = {
        "members": await _members(engine, principal),
        "groups": await _groups(engine, principal),
        "identity_providers": await _providers(engine, principal),
        "language_models": await _models(engine, principal),
        "quotas": await _quotas(engine, principal),
        "pipelines": [],
        "knowledge_bases": await _bases(engine, principal),
        "assistants": await _profiles(engine, principal, engine.assistants),
        "search_apps": await _profiles(engine, principal, engine.search_apps),
        "workflows": [],
        "sources": await _sources(engine, principal),
    }
    for flow in await engine.pipelines.list_all(principal):
        if not flow.is_template:
            path = f"pipelines/{flow.name}.json"
            files[path] = flow.dsl
            described["pipelines"].append({"name": flow.name, "file": path})
    for workflow in await engine.workflows.list_all(principal):
        if not workflow.is_template:
            path = f"workflows/{workflow.name}.json"
            files[path] = workflow.dsl
            entry: dict[str, Any] = {"name": workflow.name, "file": path}
            if workflow.description:
                entry["description"] = workflow.description
            if not workflow.published:
                entry["publish"] = False
            described["workflows"].append(entry)
    kept = {name: value for name, value in described.items() if value}
    return {FILE: HEADER + tomli_w.dumps(kept, multiline_strings=True), **files}


async def _members(engine: Engine, principal: Principal) -> list[dict[str, Any]]:
    return [
        {"email": one.email, "name": one.name, "role": str(one.role)}
        for one in await engine.people.list_members(principal)
        if one.email and one.active
    ]


async def _groups(engine: Engine, principal: Principal) -> list[dict[str, Any]]:
    email_of = {one.user_id: one.email for one in await engine.people.list_members(principal)}
    found = []
    for group in await engine.people.list_groups(principal):
        inside = await engine.people.list_group_members(principal, group.id)
        emails = sorted(filter(None, (email_of.get(id_) for id_, _ in inside)))
        found.append({"name": group.name, "members": emails})
    return found


async def _providers(engine: Engine, principal: Principal) -> list[dict[str, Any]]:
    found = []
    for one in await engine.people.providers.list_all(principal):
        entry: dict[str, Any] = {
            "key": one.key,
            "kind": one.kind,
            "client_id": one.client_id,
            "client_secret": {"env": _variable(one.key, "CLIENT_SECRET")},
            "name": one.name,
            "scopes": one.scopes,
            "issuer": one.issuer,
            "api_url": one.api_url,
            "allowed_domains": list(one.allowed_domains),
            "allowed_tenants": list(one.allowed_tenants),
            "groups_claim": one.groups_claim,
            "groups": dict(one.groups),
            "join_as": str(one.jit_role) if one.jit_role else None,
            "link_by_email": one.link_by_email,
        }
        found.append(_without_empty(entry))
    return found


async def _models(engine: Engine, principal: Principal) -> list[dict[str, Any]]:
    found = []
    for one in await engine.llms.list_keys(principal):
        entry: dict[str, Any] = {"name": one.name, "base_url": one.base_url}
        if one.api_key:
            entry["api_key"] = {"env": _variable(one.name.partition(":")[0], "API_KEY")}
        if not one.enabled:
            entry["enabled"] = False
        found.append({name: value for name, value in entry.items() if value != ""})
    return found


async def _quotas(engine: Engine, principal: Principal) -> list[dict[str, Any]]:
    email_of = {one.user_id: one.email for one in await engine.people.list_members(principal)}
    return [
        {"subject": subject_in_words(one.subject, email_of), "kind": one.kind, "amount": one.amount}
        for one in await engine.quotas.list_all(principal)
        if not one.by_operator
        and not one.subject.startswith("key:")  # keys are of one installation
    ]


async def _bases(engine: Engine, principal: Principal) -> list[dict[str, Any]]:
    email_of = {one.user_id: one.email for one in await engine.people.list_members(principal)}
    found = []
    for base in await engine.knowledge_bases.list_managed(principal):
        grants = await engine.knowledge_bases.list_grants(principal, base.id)
        entry = _base(base)
        entry["grants"] = {grantee_in_words(one, email_of): str(one.level) for one in grants}
        if entry["grants"] == {EVERYONE: "write"}:
            del entry["grants"]
        found.append(entry)
    return found


def _base(base: KbInfo) -> dict[str, Any]:
    model = next((one.name for one in MODELS.values() if one.space.name == base.space), "")
    entry: dict[str, Any] = {
        "name": base.name,
        "description": base.description,
        "model": model,
        "pipeline": base.pipeline,
        "formats": list(base.formats),
        "search": dict(base.search),
        "chunking": dict(base.chunking),
    }
    return _without_empty(entry)


async def _profiles(engine: Engine, principal: Principal, kept: Profiles) -> list[dict[str, Any]]:
    in_words = await words_for_tokens(engine, principal)
    found = []
    for one in await kept.list_all(principal):
        values = described_profile(one.profile, in_words)
        defaults = type(one.profile)(name=one.profile.name).model_dump(mode="json")
        found.append(
            {
                name: value
                for name, value in values.items()
                if name in {"name", "slug"} or value not in (None, defaults[name])
            }
        )
    return found


async def _sources(engine: Engine, principal: Principal) -> list[dict[str, Any]]:
    return [
        _without_empty(
            {
                "name": one.name,
                "kind": one.kind,
                "knowledge_base": one.kb,
                "every": in_words(one.every_s),
                "domains": list(one.domains),
                "credential": one.credential,
                "settings": _without_none(one.settings),
            }
        )
        for one in await engine.sources.list_all(principal)
    ]


def _without_empty(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if value not in ("", [], {}, None, False)}


def _without_none(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """The value without what TOML has no word for."""
    if isinstance(value, Mapping):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value if item is not None]
    return value


def _variable(name: str, what: str) -> str:
    """The variable that a secret is looked for in."""
    return f"{re.sub(r'[^A-Z0-9]+', '_', name.upper())}_{what}"
