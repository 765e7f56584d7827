"""The language models of tenants: which one answers, opened, and metered. `Engine.llms`.

Whoever calls a model for a tenant gets it here, so that every call is counted: reserved from the
credits before, settled after, and refused where a quota of tokens is used up.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.session import Database
from engine.domain import Principal, Role
from engine.errors import Unavailable
from engine.models.llm import open_language_model
from engine.models.llm_catalogue import LlmCatalogue, LlmInfo
from engine.models.metering import MeteredModel
from engine.models.port import LanguageModel
from engine.people import ledger, tenant_llms
from engine.people.ledger import By, Credits, Spender, Usage
from engine.people.quotas import Quotas
from engine.people.tenant_llms import LlmKey, OpenKey
from engine.secrets import Secrets

log = logging.getLogger(__name__)

OPEN_MAX = 64  # models with their connections; the least recently used are closed

OpenModel = Callable[..., LanguageModel]


class LanguageModels:
    """The verbs of language models, credits and usage."""

    def __init__(
        self,
        db: Database,
        secrets: Secrets,
        quotas: Quotas,
        catalogue: LlmCatalogue,
        *,
        operators: LanguageModel | None = None,
        timeout_s: float = 60.0,
        allow_private: bool = False,
        open_model: OpenModel = open_language_model,
    ) -> None:
        self._db = db
        self._secrets = secrets
        self._quotas = quotas
        self._catalogue = catalogue
        self._operators = operators
        self._timeout_s = timeout_s
        self._allow_private = allow_private
        self._open_model = open_model
        self._open: OrderedDict[tuple[str, str, str], LanguageModel] = OrderedDict()

    # For whoever calls one

    async def for_principal(
        self,
        principal: Principal,
        *,
        wanted: str = "",
        cause: str = "",
        own: LanguageModel | None = None,
    ) -> LanguageModel | None:
        """The model that answers for this principal, metered; None where there is none.

        `wanted` is an assistant's own choice, `own` what the caller has from the installation's
        settings. With a `cause` (a job's id) what is tried again is booked once.
        """
        tenant_id = principal.tenant_id
        installed = own if own is not None else self._operators
        operators = installed.name if installed is not None else ""

        async def find(session: AsyncSession) -> tuple[str, OpenKey | None]:
            return await tenant_llms.resolve(
                session, tenant_id, self._secrets, wanted=wanted, operators=operators
            )

        name, key = await self._db.run_read(find)
        if not name:
            return None
        model = installed if key is None else await self._opened(tenant_id, name, key)
        if model is None:
            return None
        return MeteredModel(model, _PrincipalMeter(self, principal, cause))

    async def for_tenant(self, tenant_id: str, *, cause: str = "") -> LanguageModel | None:
        """The same for work that nobody asked for, such as that on documents."""
        nobody = Principal(
            tenant_id=tenant_id,
            user_id=None,
            name="",
            role=Role.GUEST,
            tokens=frozenset(),
            scopes=frozenset(),
        )
        return await self.for_principal(nobody, cause=cause)

    async def aclose(self) -> None:
        """Close the models that tenants' keys opened; idempotent."""
        while self._open:
            await self._open.popitem()[1].aclose()

    async def _opened(self, tenant_id: str, name: str, key: OpenKey) -> LanguageModel:
        known = (tenant_id, name, f"{key.row_id}:{key.version}")
        model = self._open.pop(known, None)
        if model is None:
            model = self._open_model(
                name,
                base_url=key.base_url,
                api_key=key.api_key,
                timeout_s=self._timeout_s,
                guarded=True,
                allow_private=self._allow_private,
            )
        self._open[known] = model
        if len(self._open) > OPEN_MAX:
            await self._open.popitem(last=False)[1].aclose()
        return model

    # Keys

    def list_models(self, *, capability: str = "", provider: str = "") -> Sequence[LlmInfo]:
        """The models that are known, with what they can do and cost."""
        return self._catalogue.models(capability, provider)

    def list_providers(self) -> Sequence[tuple[str, str, Sequence[str]]]:
        """Key, name and capabilities of each provider."""
        return self._catalogue.providers()

    async def list_keys(self, principal: Principal) -> Sequence[LlmKey]:
        """The tenant's keys, masked; for its admins."""
        return await self._db.run_read(
            lambda session: tenant_llms.list_keys(session, principal, self._secrets)
        )

    async def set_key(
        self,
        principal: Principal,
        name: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        enabled: bool | None = None,
    ) -> LlmKey:
        """Add or change the key for "provider:model" or "provider:*"."""
        return await self._db.run_write(
            lambda session: tenant_llms.set_key(
                session,
                principal,
                self._secrets,
                name,
                api_key=api_key,
                base_url=base_url,
                enabled=enabled,
            )
        )

    async def remove_key(self, principal: Principal, name: str) -> str:
        """Forget a key."""
        return await self._db.run_write(
            lambda session: tenant_llms.remove_key(session, principal, name)
        )

    async def set_default(self, principal: Principal, name: str) -> str:
        """Choose the model that answers in the tenant; empty: the installation's own."""
        return await self._db.run_write(
            lambda session: tenant_llms.set_default(session, principal, name)
        )

    async def default_of(self, principal: Principal) -> str:
        """The model that answers in the tenant by default; empty: none."""
        operators = self._operators.name if self._operators is not None else ""

        async def find(session: AsyncSession) -> tuple[str, OpenKey | None]:
            return await tenant_llms.resolve(
                session, principal.tenant_id, self._secrets, wanted="", operators=operators
            )

        return (await self._db.run_read(find))[0]

    async def allow_operators(self, principal: Principal, tenant: str, *, on: bool) -> bool:
        """Whether a tenant may use the installation's own model, for who runs it."""
        return await self._db.run_write(
            lambda session: tenant_llms.allow_operators(session, principal, tenant, on=on)
        )

    # Credits and usage

    async def grant(
        self,
        principal: Principal,
        tenant: str,
        *,
        credits: float | None = None,  # noqa: A002 (what they are called)
        enforced: bool | None = None,
        cause: str = "",
    ) -> Credits:
        """Add credits to a tenant, for who runs the installation; what it may spend then."""
        return await self._db.run_write(
            lambda session: ledger.grant(
                session, principal, tenant, credits=credits, enforced=enforced, cause=cause
            )
        )

    async def read_credits(self, principal: Principal) -> Credits:
        """What the tenant may still spend, for its admins."""
        return await self._db.run_read(lambda session: ledger.read_credits(session, principal))

    async def read_usage(
        self, principal: Principal, *, days: int = 30, by: By = "day"
    ) -> Sequence[Usage]:
        """What the tenant used, by day, model or user; for its admins."""
        return await self._db.run_read(
            lambda session: ledger.read_usage(session, principal, days=days, by=by)
        )

    # What the meter calls

    async def reserve(
        self, principal: Principal, call: str, model: str, input_tokens: int, output_tokens: int
    ) -> None:
        """Refuse a call that no quota or credit allows, else keep what it may cost."""
        await self._quotas.require_tokens(principal)
        tenant_id = principal.tenant_id
        if not await self._db.run_read(lambda session: ledger.is_counted(session, tenant_id)):
            return
        info = self._catalogue.find(model)
        if not info.is_priced:
            raise Unavailable(
                f"It is not known what the model {model} costs, and this organisation pays by"
                " credits: whoever runs this installation adds its price in llm.catalogue."
            )
        await self._settle_stale(tenant_id)
        await self._db.run_write(
            lambda session: ledger.reserve(
                session,
                _spender(principal),
                call,
                model=model,
                asked=input_tokens,
                amount=info.cost(input_tokens, output_tokens),
            )
        )

    async def settle(
        self, spender: Spender, call: str, model: str, input_tokens: int, output_tokens: int
    ) -> None:
        """Book what a call used. An answer is given all the same where that can't be kept."""
        cost = self._catalogue.find(model).cost(input_tokens, output_tokens)
        try:
            await self._db.run_write(
                lambda session: ledger.settle(
                    session,
                    spender,
                    call,
                    model=model,
                    input_tokens=input_tokens,
                    output_tokens=output_tokens,
                    cost=cost,
                )
            )
        except Unavailable as error:
            log.warning("a call of a language model was not booked", extra={"reason": str(error)})

    async def _settle_stale(self, tenant_id: str) -> None:
        """Book what a process that died had asked: it is not known what it got."""
        left = await self._db.run_read(lambda session: ledger.stale(session, tenant_id))
        for spender, call, model, asked in left:
            await self.settle(spender, call, model, asked, 0)


class _PrincipalMeter:
    """The meter of one principal's model."""

    def __init__(self, models: LanguageModels, principal: Principal, cause: str) -> None:
        self._models = models
        self._principal = principal
        self._cause = cause
        self._calls = 0

    async def reserve(self, model: str, input_tokens: int, output_tokens: int) -> str:
        """The id of a call: of one cause they are numbered, so that they are the same again."""
        self._calls += 1
        call = f"{self._cause}:{self._calls}" if self._cause else clock.new_id()
        await self._models.reserve(self._principal, call, model, input_tokens, output_tokens)
        return call

    async def settle(self, call: str, model: str, input_tokens: int, output_tokens: int) -> None:
        """Book it."""
        spender = _spender(self._principal)
        await self._models.settle(spender, call, model, input_tokens, output_tokens)


def _spender(principal: Principal) -> Spender:
    return Spender(principal.tenant_id, principal.user_id, principal.api_token_id)
