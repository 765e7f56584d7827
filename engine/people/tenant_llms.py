"""A tenant's own keys for language models, and which model answers by default: the rows.

`language_models.py` opens what is kept here. A key is encrypted for its row alone, and is never
shown again: only how it begins and ends. Writing what was shown keeps the key there was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.tables import Tenant, TenantLlm
from engine.domain import Principal
from engine.errors import Conflict, InvalidInput, NotFound
from engine.models.llm import PROVIDERS
from engine.net.fetching import check_url
from engine.secrets import Secrets

ANY = "*"  # a key for all models of its provider
DEFAULT, OPERATOR = "llm_default", "llm_operator"  # in Tenant.settings
KEY_MAX, URL_MAX = 1000, 500
_NAME = re.compile(r"[a-z]{1,40}:[^\s:][^\s]{0,198}|[a-z]{1,40}:\*")


@dataclass(frozen=True, slots=True)
class LlmKey:
    """A tenant's key as its admins see it; `name` is "provider:model" or "provider:*"."""

    name: str
    api_key: str  # masked
    base_url: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class OpenKey:
    """A key to call a model with."""

    row_id: str
    version: str  # another one after each change
    api_key: str
    base_url: str

    def __repr__(self) -> str:
        return f"OpenKey(row_id={self.row_id!r})"


async def list_keys(session: AsyncSession, principal: Principal, secrets: Secrets) -> list[LlmKey]:
    """The tenant's keys, masked; for its admins."""
    gate.require_verb(principal, "llm.list")
    rows = await session.scalars(
        select(TenantLlm)
        .where(TenantLlm.tenant_id == principal.tenant_id)
        .order_by(TenantLlm.provider, TenantLlm.model)
    )
    return [_shown(row, secrets) for row in rows]


async def set_key(
    session: AsyncSession,
    principal: Principal,
    secrets: Secrets,
    name: str,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    enabled: bool | None = None,
) -> LlmKey:
    """Add or change a key. What is None, or the key as it is shown, stays as it was."""
    gate.require_verb(principal, "llm.set")
    provider, model = parse_name(name)
    row = await _find(session, principal, provider, model)
    is_new = row is None
    if row is None:
        row = TenantLlm(
            id=clock.new_id(), tenant_id=principal.tenant_id, provider=provider, model=model
        )
        row.api_key, row.base_url, row.enabled = "", "", True
    before = {"key": "set" if row.api_key else "", "base_url": row.base_url}
    if base_url is not None and base_url != row.base_url:
        new_url = check_base_url(base_url)
        if api_key is None and row.api_key and _origin(new_url) != _origin(row.base_url):
            raise InvalidInput(
                "Give the key again with another base URL: it would be sent there.",
                field="api_key",
            )
        row.base_url = new_url
    if api_key is not None and api_key != _shown(row, secrets).api_key:
        row.api_key = secrets.encrypt("credentials", _checked(api_key), bound=place_of(row))
    elif (
        api_key is not None and row.api_key and _origin(before["base_url"]) != _origin(row.base_url)
    ):
        raise InvalidInput(
            "Give the whole key with another base URL: it would be sent there.", field="api_key"
        )
    if not row.api_key and not row.base_url and provider != "ollama":
        raise InvalidInput(f"{provider} needs a key: give api_key.", field="api_key")
    row.enabled = row.enabled if enabled is None else enabled
    row.updated_at = clock.now()
    if is_new:
        session.add(row)
    await session.flush()
    after = {"key": "set" if row.api_key else "", "base_url": row.base_url}
    detail = {"model": f"{provider}:{model}", "before": before, "after": after}
    await gate.audit(session, principal, "llm.set", row.id, detail | {"enabled": row.enabled})
    return _shown(row, secrets)


async def remove_key(session: AsyncSession, principal: Principal, name: str) -> str:
    """Forget a key; its name."""
    gate.require_verb(principal, "llm.set")
    provider, model = parse_name(name)
    row = await _find(session, principal, provider, model)
    if row is None:
        raise NotFound(f"There is no key for {name[:60]!r}. `scrubjay llm list` names them.")
    await session.delete(row)
    detail = {"model": f"{provider}:{model}", "before": {"key": "set"}, "after": {"key": ""}}
    await gate.audit(session, principal, "llm.remove", row.id, detail)
    return f"{provider}:{model}"


async def set_default(session: AsyncSession, principal: Principal, name: str) -> str:
    """Choose the model that answers in the tenant; empty: the installation's own."""
    gate.require_verb(principal, "llm.set")
    if name:
        provider, model = parse_name(name)
        if model == ANY:
            raise InvalidInput("Name one model, such as openai:gpt-4o.", field="model")
        name = f"{provider}:{model}"
    tenant = await session.get_one(Tenant, principal.tenant_id, with_for_update=True)
    before = str(tenant.settings.get(DEFAULT, ""))
    tenant.settings = {**tenant.settings, DEFAULT: name}
    detail = {"before": before, "after": name}
    await gate.audit(session, principal, "llm.default", tenant.id, detail)
    return name


async def allow_operators(
    session: AsyncSession, principal: Principal, key: str, *, on: bool
) -> bool:
    """Whether a tenant may use the installation's own model, for who runs the installation."""
    await gate.require_operator(session, principal)
    named = (Tenant.key == key) | (Tenant.id == key)
    tenant = await session.scalar(select(Tenant).where(named, Tenant.deleted_at.is_(None)))
    if tenant is None:
        raise NotFound(f"No tenant {key!r}. `scrubjay tenant list` names them.")
    tenant.settings = {**tenant.settings, OPERATOR: on}
    await gate.audit(session, principal, "llm.operator", tenant.id, {"allowed": on})
    return on


async def resolve(
    session: AsyncSession, tenant_id: str, secrets: Secrets, *, wanted: str, operators: str
) -> tuple[str, OpenKey | None]:
    """Which model answers, and the tenant's key for it (None: the installation's own).

    `wanted` is an assistant's; else the tenant's default, else `operators`, the installation's. A
    key for that very model comes before one for all of its provider. The name is empty where there
    is no model at all; `Conflict` where there is one that nobody has a key for.
    """
    tenant = await session.get_one(Tenant, tenant_id)
    name = wanted or str(tenant.settings.get(DEFAULT, "")) or operators
    may_use = bool(tenant.settings.get(OPERATOR, True))
    if not name:
        return "", None
    provider, _, model = name.partition(":")
    rows = {
        row.model: row
        for row in await session.scalars(
            select(TenantLlm).where(
                TenantLlm.tenant_id == tenant_id,
                TenantLlm.provider == provider,
                TenantLlm.model.in_([model, ANY]),
                TenantLlm.enabled.is_(True),
            )
        )
    }
    row = rows.get(model) or rows.get(ANY)
    if row is not None:
        return name, OpenKey(
            row.id, row.updated_at.isoformat(), _opened(row, secrets), row.base_url
        )
    if name == operators and may_use:
        return name, None
    if not wanted and not tenant.settings.get(DEFAULT):
        return "", None  # the installation's own, which is not for them: answers are quoted
    raise Conflict(
        f"There is no key for the language model {name} here. An admin adds one with"
        f" `scrubjay llm set {provider}:*`, or chooses another with `scrubjay llm default`."
    )


def parse_name(name: str) -> tuple[str, str]:
    """Provider and model of "openai:gpt-4o", or "*" of "openai:*"."""
    provider, _, model = name.partition(":")
    if not _NAME.fullmatch(name) or provider not in PROVIDERS:
        raise InvalidInput(
            f"{name[:60]!r} names no model: write PROVIDER:MODEL, or PROVIDER:* for all of a"
            f" provider, which is one of {', '.join(PROVIDERS)}.",
            field="model",
        )
    return provider, model


def check_base_url(url: str) -> str:
    """A base URL that may be called, as far as its form tells; addresses are checked at each call."""
    if not url:
        return ""
    if len(url) > URL_MAX:
        raise InvalidInput(f"A base URL has at most {URL_MAX} characters.", field="base_url")
    try:
        return check_url(url)
    except InvalidInput as error:
        raise InvalidInput(str(error), field="base_url") from None


def place_of(row: TenantLlm) -> str:
    """What a key is encrypted for: it opens nowhere else."""
    return f"{row.tenant_id}/tenant_llm/{row.id}"


def masked(key: str) -> str:
    """How a key begins and ends; of a short one nothing."""
    if not key:
        return ""
    return f"{key[:3]}…{key[-4:]}" if len(key) >= 16 else "…"


def _shown(row: TenantLlm, secrets: Secrets) -> LlmKey:
    key = masked(_opened(row, secrets))
    return LlmKey(f"{row.provider}:{row.model}", key, row.base_url, row.enabled)


def _opened(row: TenantLlm, secrets: Secrets) -> str:
    if not row.api_key:
        return ""
    return secrets.decrypt("credentials", row.api_key, bound=place_of(row))


def _checked(key: str) -> str:
    if not 1 <= len(key) <= KEY_MAX or not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidInput(
            f"A key has 1 to {KEY_MAX} printable ASCII characters and no spaces: copy it again.",
            field="api_key",
        )
    return key


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


async def _find(
    session: AsyncSession, principal: Principal, provider: str, model: str
) -> TenantLlm | None:
    row: TenantLlm | None = await session.scalar(
        select(TenantLlm)
        .where(
            TenantLlm.tenant_id == principal.tenant_id,
            TenantLlm.provider == provider,
            TenantLlm.model == model,
        )
        .with_for_update()
    )
    return row
