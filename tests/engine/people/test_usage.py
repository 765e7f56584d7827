"""Keys for language models, credits reserved and settled, and quotas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import BaseModel
from sqlalchemy import select

from engine.access import gate
from engine.db.session import Database
from engine.db.tables import AuditEvent, CreditAccount, LedgerEntry, TenantLlm
from engine.domain import Principal, Role
from engine.errors import (
    Conflict,
    CreditsExhausted,
    Forbidden,
    InvalidInput,
    NotFound,
    RateLimited,
    Unavailable,
)
from engine.limits import SqlLimits
from engine.models.llm_catalogue import MICRO, LlmCatalogue, load_catalogue
from engine.models.port import Completion, Extraction
from engine.people import ledger, members, tenant_llms
from engine.people.language_models import LanguageModels
from engine.people.ledger import Spender
from engine.people.quotas import Quotas
from engine.secrets import Secrets

KEY = "sk-proj-0123456789abcdefghij"
MODEL = "openai:gpt-4o"


class Scripted:
    """A model that answers with ten tokens, or fails."""

    def __init__(self, name: str, **opened: object) -> None:
        self.name = name
        self.opened = opened
        self.fault: Exception | None = None
        self.closed = False
        self.pause = asyncio.Event()
        self.pause.set()

    async def complete(self, system: str, prompt: str, *, max_tokens: int = 1024) -> Completion:
        await self.pause.wait()
        if self.fault:
            raise self.fault
        return Completion("ten tokens", 100, 10)

    async def stream(
        self, system: str, prompt: str, *, max_tokens: int = 1024
    ) -> AsyncIterator[str | Completion]:
        if self.fault:
            raise self.fault
        yield "first "
        await self.pause.wait()
        yield "second"
        yield Completion("first second", 100, 10)

    async def extract(
        self, system: str, prompt: str, schema: type[BaseModel], *, max_tokens: int = 1024
    ) -> Extraction[BaseModel]:
        return Extraction(schema(), 50, 5)

    async def aclose(self) -> None:
        self.closed = True


class Site:
    def __init__(self, db: Database, owner: Principal, operators: Scripted | None = None) -> None:
        self.db = db
        self.owner = owner
        self.secrets = Secrets(["k" * 40])
        self.quotas = Quotas(db, SqlLimits(db))
        self.opened: list[Scripted] = []
        self.llms = LanguageModels(
            db,
            self.secrets,
            self.quotas,
            load_catalogue(),
            operators=operators,
            open_model=self._open,
        )

    def _open(self, name: str, **more: object) -> Scripted:
        self.opened.append(Scripted(name, **more))
        return self.opened[-1]

    async def member(self, name: str, role: Role = Role.MEMBER) -> Principal:
        async with self.db.write() as session:
            made = await members.add_member(session, self.owner, email=f"{name}@x.org", role=role)
            return await gate.principal_of_user(session, self.owner.tenant_id, made.user_id)

    async def balance(self) -> float:
        async with self.db.read() as session:
            row = await session.get_one(CreditAccount, self.owner.tenant_id)
        return row.balance / MICRO


@pytest.fixture
def shop(database: Database, owner: Principal) -> Site:
    return Site(database, owner, Scripted(MODEL))


# Keys


async def test_a_key_is_masked_when_read_and_kept_when_the_mask_comes_back(shop: Site) -> None:
    made = await shop.llms.set_key(shop.owner, "openai:*", api_key=KEY)
    again = await shop.llms.set_key(shop.owner, "openai:*", api_key=made.api_key)
    async with shop.db.read() as session:
        row = await session.scalar(select(TenantLlm))
        audited = list(await session.scalars(select(AuditEvent)))

    assert made.api_key == again.api_key == "sk-…ghij"
    assert row is not None
    assert shop.secrets.decrypt("credentials", row.api_key, bound=tenant_llms.place_of(row)) == KEY
    assert KEY not in row.api_key
    assert not any(KEY in str(entry.detail) for entry in audited)
    await shop.llms.for_principal(shop.owner)
    assert shop.opened[0].opened["api_key"] == KEY


async def test_a_key_pasted_into_another_row_does_not_open(shop: Site) -> None:
    await shop.llms.set_key(shop.owner, "openai:*", api_key=KEY)
    await shop.llms.set_key(shop.owner, "anthropic:*", api_key="sk-ant-" + "x" * 20)
    async with shop.db.write() as session:
        rows = {row.provider: row for row in await session.scalars(select(TenantLlm))}
        rows["anthropic"].api_key = rows["openai"].api_key
    await shop.llms.set_default(shop.owner, "anthropic:claude-sonnet-4-5")
    with pytest.raises(InvalidInput, match="damaged"):
        await shop.llms.for_principal(shop.owner)


async def test_a_key_is_not_sent_to_another_address_without_being_given_again(shop: Site) -> None:
    made = await shop.llms.set_key(shop.owner, "openai:*", api_key=KEY)
    for key in (None, made.api_key):
        with pytest.raises(InvalidInput) as refused:
            await shop.llms.set_key(
                shop.owner, "openai:*", api_key=key, base_url="https://evil.example/v1"
            )
        assert refused.value.field == "api_key"
    moved = await shop.llms.set_key(
        shop.owner, "openai:*", api_key=KEY, base_url="https://llm.example/v1"
    )
    assert moved.base_url == "https://llm.example/v1"
    for url in ("file:///etc/passwd", "https://user:pw@host/v1", "gopher://x", "https://a b"):
        with pytest.raises(InvalidInput) as refused:
            await shop.llms.set_key(shop.owner, "openai:*", api_key=KEY, base_url=url)
        assert refused.value.field == "base_url"


async def test_the_models_key_comes_before_the_providers_and_both_before_the_operators(
    shop: Site,
) -> None:
    assert (await shop.llms.for_principal(shop.owner)).name == MODEL  # the operator's
    assert shop.opened == []
    await shop.llms.set_key(shop.owner, "openai:*", api_key=KEY)
    await shop.llms.for_principal(shop.owner)
    await shop.llms.set_key(shop.owner, MODEL, api_key="sk-exact-" + "y" * 20)
    await shop.llms.for_principal(shop.owner)
    assert [model.opened["api_key"] for model in shop.opened] == [KEY, "sk-exact-" + "y" * 20]
    assert all(model.opened["guarded"] for model in shop.opened)

    wanted = await shop.llms.for_principal(shop.owner, wanted="openai:gpt-5-mini")
    assert (wanted.name, shop.opened[-1].opened["api_key"]) == ("openai:gpt-5-mini", KEY)
    with pytest.raises(Conflict, match="no key for the language model anthropic"):
        await shop.llms.for_principal(shop.owner, wanted="anthropic:claude-opus-5")
    await shop.llms.set_key(shop.owner, MODEL, enabled=False)
    await shop.llms.for_principal(shop.owner)
    assert len(shop.opened) == 3  # that of the provider again, which was open


async def test_two_tenants_use_different_keys_for_one_model(shop: Site) -> None:
    async with shop.db.write() as session:
        from engine.people import tenants

        made = await tenants.create_tenant(session, shop.owner, "other")
        elsewhere = await gate.principal_of_user(session, made.id, shop.owner.user_id or "")
    await shop.llms.set_key(shop.owner, MODEL, api_key=KEY)
    await shop.llms.set_key(elsewhere, MODEL, api_key="sk-other-" + "z" * 20)
    await shop.llms.for_principal(shop.owner)
    await shop.llms.for_principal(elsewhere)
    assert {m.opened["api_key"] for m in shop.opened} == {KEY, "sk-other-" + "z" * 20}
    assert len(await shop.llms.list_keys(elsewhere)) == 1


async def test_a_tenant_that_may_not_use_the_operators_model_quotes(shop: Site) -> None:
    await shop.llms.allow_operators(shop.owner, "default", on=False)
    assert await shop.llms.for_principal(shop.owner) is None
    await shop.llms.set_default(shop.owner, MODEL)
    with pytest.raises(Conflict):
        await shop.llms.for_principal(shop.owner)


@pytest.mark.parametrize(
    "name", ["", "gpt-4o", "openai:", "nobody:x", "openai:a b", ":x", "x" * 300]
)
async def test_a_name_that_names_no_model_is_refused(shop: Site, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await shop.llms.set_key(shop.owner, name, api_key=KEY)
    assert refused.value.field == "model"


async def test_a_removed_key_is_gone(shop: Site) -> None:
    await shop.llms.set_key(shop.owner, "openai:*", api_key=KEY)
    await shop.llms.remove_key(shop.owner, "openai:*")
    assert list(await shop.llms.list_keys(shop.owner)) == []
    with pytest.raises(NotFound):
        await shop.llms.remove_key(shop.owner, "openai:*")


# Credits


async def test_a_call_is_reserved_then_settled_and_booked_once(shop: Site) -> None:
    await shop.llms.grant(shop.owner, "default", credits=1)
    model = await shop.llms.for_principal(shop.owner, cause="job-1")
    again = await shop.llms.for_principal(shop.owner, cause="job-1")  # the job is tried again
    await model.complete("s", "p", max_tokens=100)
    await again.complete("s", "p", max_tokens=100)

    cost = load_catalogue().find(MODEL).cost(100, 10) / MICRO
    assert await shop.balance() == pytest.approx(1 - cost)
    async with shop.db.read() as session:
        rows = list(await session.scalars(select(LedgerEntry).order_by(LedgerEntry.id)))
    assert [(row.kind, row.cause == "job-1:1") for row in rows] == [
        ("grant", False),
        ("reserve", True),
        ("settle", True),
    ]
    assert sum(row.amount for row in rows) == round(await shop.balance() * MICRO)


async def test_at_zero_a_call_is_refused_with_who_can_add_and_nothing_is_asked(shop: Site) -> None:
    await shop.llms.grant(shop.owner, "default", credits=0.000001)
    model = await shop.llms.for_principal(shop.owner)
    with pytest.raises(CreditsExhausted, match="tenant credits default --add"):
        await model.complete("s", "p")
    assert await shop.balance() == pytest.approx(0.000001)
    await shop.llms.grant(shop.owner, "default", enforced=False)
    await model.complete("s", "p")
    assert await shop.balance() < 0


async def test_calls_at_once_never_spend_more_than_there_is(shop: Site) -> None:
    cost = load_catalogue().find(MODEL).cost(22 + 1, 10) / MICRO
    await shop.llms.grant(shop.owner, "default", credits=cost * 3.5)
    shop.llms._operators.pause.clear()
    model = await shop.llms.for_principal(shop.owner)
    calls = [asyncio.create_task(model.complete("s", "p", max_tokens=10)) for _ in range(6)]
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        while sum(call.done() for call in calls) < 3:  # noqa: ASYNC110 (a row tells nobody)
            await asyncio.sleep(0.01)
    shop.llms._operators.pause.set()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(end, CreditsExhausted) for end in ends) == 3


async def test_a_call_that_fails_costs_nothing(shop: Site) -> None:
    await shop.llms.grant(shop.owner, "default", credits=1)
    shop.llms._operators.fault = Unavailable("away")
    model = await shop.llms.for_principal(shop.owner)
    with pytest.raises(Unavailable):
        await model.complete("s", "p")
    with pytest.raises(Unavailable):
        async for _ in model.stream("s", "p"):
            pass
    assert await shop.balance() == 1


@pytest.mark.parametrize("end", ["closed", "cancelled"])
async def test_a_stream_that_is_cut_short_settles_what_was_counted(shop: Site, end: str) -> None:
    await shop.llms.grant(shop.owner, "default", credits=1)
    shop.llms._operators.pause.clear()
    model = await shop.llms.for_principal(shop.owner)
    pieces = model.stream("s", "p" * 30, max_tokens=500)
    assert await anext(pieces) == "first "
    if end == "closed":
        await pieces.aclose()
    else:
        waiting = asyncio.create_task(anext(pieces))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with shop.db.read() as session:
        row = await session.scalar(select(LedgerEntry).where(LedgerEntry.kind == "settle"))
    assert row is not None
    assert (row.input_tokens, row.output_tokens) == (31, 2)
    assert await shop.balance() == pytest.approx(1 - row.cost / MICRO)


async def test_what_a_process_that_died_had_reserved_comes_back(
    shop: Site, fixed_clock: object
) -> None:
    await shop.llms.grant(shop.owner, "default", credits=1)
    spender = Spender(shop.owner.tenant_id, shop.owner.user_id)
    async with shop.db.write() as session:
        await ledger.reserve(session, spender, "died", model=MODEL, asked=7, amount=MICRO // 2)
    assert await shop.balance() == 0.5
    fixed_clock.advance(timedelta(hours=2).total_seconds())  # type: ignore[attr-defined]
    model = await shop.llms.for_principal(shop.owner)
    await model.complete("s", "p")
    spent = sum(u.cost for u in await shop.llms.read_usage(shop.owner))
    assert await shop.balance() == pytest.approx(1 - spent)
    assert (await shop.llms.read_usage(shop.owner))[0].input_tokens == 107


async def test_the_sums_by_user_model_and_day_are_those_of_the_ledger(
    shop: Site, fixed_clock: object
) -> None:
    ada = await shop.member("ada", Role.ADMIN)
    for who in (shop.owner, ada, ada):
        await (await shop.llms.for_principal(who)).complete("s", "p")
    fixed_clock.advance(86_400)  # type: ignore[attr-defined]
    await (await shop.llms.for_tenant(shop.owner.tenant_id)).complete("s", "p")
    by_user = {u.name: u.calls for u in await shop.llms.read_usage(ada, by="user")}
    by_day = [(u.key, u.calls) for u in await shop.llms.read_usage(ada, by="day")]
    [by_model] = await shop.llms.read_usage(ada, by="model")
    assert by_user == {"ada": 2, "Owner": 1, "(nobody: work on documents)": 1}
    assert by_day == [("2026-03-01", 3), ("2026-03-02", 1)]
    assert (by_model.name, by_model.calls, by_model.input_tokens) == (MODEL, 4, 400)
    assert [u.calls for u in await shop.llms.read_usage(ada, by="day", days=1)] == [1]
    assert (await shop.llms.read_credits(ada)).balance is None  # nothing is counted off


async def test_a_grant_of_the_same_cause_is_made_once_and_only_by_the_operator(shop: Site) -> None:
    for _ in range(2):
        await shop.llms.grant(shop.owner, "default", credits=5, cause="invoice 7")
    assert await shop.balance() == 5
    admin = await shop.member("ada", Role.ADMIN)
    with pytest.raises(Forbidden):
        await shop.llms.grant(admin, "default", credits=5)
    with pytest.raises(Forbidden):
        await shop.llms.grant(replace(shop.owner, assured=False), "default", credits=5)
    for wrong in (float("nan"), float("inf"), 1e12):
        with pytest.raises(InvalidInput):
            await shop.llms.grant(shop.owner, "default", credits=wrong)


async def test_a_model_without_a_price_is_refused_where_credits_count(
    database: Database, owner: Principal
) -> None:
    shop = Site(database, owner, Scripted("openai:brand-new"))
    model = await shop.llms.for_principal(owner)
    await model.complete("s", "p")
    await shop.llms.grant(owner, "default", credits=5)
    with pytest.raises(Unavailable, match="not known what the model"):
        await model.complete("s", "p")


# Quotas


async def test_a_quota_of_requests_holds_for_the_tenant_each_user_and_each_key(shop: Site) -> None:
    ada, bo = await shop.member("ada"), await shop.member("bo")
    await shop.quotas.set(shop.owner, "user", "requests-per-minute", 2)
    for _ in range(2):
        assert await shop.quotas.take_request(ada) == {"user": "q=2;w=60"}
    with pytest.raises(RateLimited) as refused:
        await shop.quotas.take_request(ada)
    assert (refused.value.policy, 0 < refused.value.retry_after_s <= 30) == ("user", True)
    await shop.quotas.take_request(bo)
    await shop.quotas.set(shop.owner, "user:ada", "requests-per-minute", 100)
    assert await shop.quotas.take_request(ada) == {"user": "q=100;w=60"}

    await shop.quotas.set(shop.owner, "key", "requests-per-minute", 1)
    keyed = replace(bo, api_token_id="t1")
    await shop.quotas.take_request(keyed)
    with pytest.raises(RateLimited):
        await shop.quotas.take_request(keyed)
    await shop.quotas.bound(shop.owner, "default", "requests-per-minute", 1)
    await shop.quotas.take_request(shop.owner)
    with pytest.raises(RateLimited, match="This organisation"):
        await shop.quotas.take_request(ada)


async def test_todays_tokens_are_used_up_until_midnight(shop: Site, fixed_clock: object) -> None:
    ada, bo = await shop.member("ada"), await shop.member("bo")
    await shop.quotas.set(shop.owner, "user", "tokens-per-day", 200)
    for _ in range(2):
        await (await shop.llms.for_principal(ada)).complete("s", "p")
    model = await shop.llms.for_principal(ada)
    with pytest.raises(RateLimited) as refused:
        await model.complete("s", "p")
    assert refused.value.retry_after_s == 12 * 3600
    await (await shop.llms.for_principal(bo)).complete("s", "p")
    fixed_clock.advance(12 * 3600)  # type: ignore[attr-defined]
    await model.complete("s", "p")


async def test_an_admin_sees_the_operators_bounds_and_cannot_change_them(shop: Site) -> None:
    admin = await shop.member("ada", Role.ADMIN)
    await shop.quotas.bound(shop.owner, "default", "documents", 5)
    await shop.quotas.set(admin, "tenant", "documents", 1000)
    held = [(q.amount, q.by_operator) for q in await shop.quotas.list_all(admin)]
    assert sorted(held) == [(5, True), (1000, False)]
    await shop.quotas.remove(admin, "tenant", "documents")
    with pytest.raises(NotFound):
        await shop.quotas.remove(admin, "tenant", "documents")
    assert [q.amount for q in await shop.quotas.list_all(admin)] == [5]
    await shop.quotas.bound(shop.owner, "default", "documents", None)
    assert list(await shop.quotas.list_all(admin)) == []
    with pytest.raises(Forbidden):
        await shop.quotas.bound(admin, "default", "documents", 9)


@pytest.mark.parametrize(
    ("subject", "kind", "amount", "field"),
    [
        ("tenant", "pages", 1, "kind"),
        ("user", "documents", 1, "subject"),
        ("everyone", "tokens-per-day", 1, "subject"),
        ("tenant", "requests-per-minute", 0, "amount"),
        ("tenant", "bytes", -1, "amount"),
        ("tenant", "bytes", 10**16, "amount"),
    ],
)
async def test_a_quota_that_makes_no_sense_is_refused(
    shop: Site, subject: str, kind: str, amount: int, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await shop.quotas.set(shop.owner, subject, kind, amount)
    assert refused.value.field == field


# The catalogue


def test_the_catalogue_finds_dated_names_and_the_operators_file_lies_over_it(tmp_path) -> None:
    shipped = load_catalogue()
    assert isinstance(shipped, LlmCatalogue)
    dated = shipped.find("openai:gpt-4o-2024-08-06")
    assert (dated.input_price, dated.context_tokens) == (
        shipped.find(MODEL).input_price,
        shipped.find(MODEL).context_tokens,
    )
    assert shipped.find("ollama:llama3.2").cost(10**6, 10**6) == 0
    assert not shipped.find("openai:brand-new").is_priced
    assert all("chat" in m.capabilities for m in shipped.models("chat"))
    own = tmp_path / "own.json"
    own.write_text(
        '{"providers": {"openai": {"models": {"gpt-4o": {"input_price": 1, "output_price": 2}}}}}'
    )
    laid = load_catalogue(str(own))
    assert (laid.find(MODEL).cost(MICRO, MICRO), laid.find("openai:gpt-5").is_priced) == (
        3 * MICRO,
        True,
    )


@pytest.mark.parametrize(
    "text", ["", "[]", '{"providers": {"openai": {"models": {"x": {"a": 1}}}}}']
)
def test_a_damaged_catalogue_is_a_setting_to_mend(tmp_path, text: str) -> None:
    from engine.errors import ConfigurationError

    own = tmp_path / "own.json"
    own.write_text(text)
    with pytest.raises(ConfigurationError, match=r"llm\.catalogue"):
        load_catalogue(str(own))
