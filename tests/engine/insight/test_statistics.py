"""Numbers of days equal what counting their rows gives, however they were kept and changed."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from engine import clock
from engine.access import gate
from engine.db.session import Database, open_database
from engine.db.tables import (
    Conversation,
    CountedDay,
    Feedback,
    KnowledgeBase,
    LedgerEntry,
    MetricDay,
    QueryLog,
    Run,
    Tenant,
    Turn,
)
from engine.domain import Principal, Role, Scope
from engine.errors import Forbidden, InvalidInput, NotFound
from engine.insight import day_tables
from engine.insight.day_counts import DayRange, count_days, summed
from engine.insight.histogram import ERROR, bucket_of, quantile_ms
from engine.insight.statistics import (
    StatisticsQuery,
    checked_span,
    read_cells,
    read_statistics,
)
from tests.engine.conftest import Clock

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
OUTCOMES = ("answered", "maybe", "not_found", "failed")


@dataclass
class World:
    """A tenant with rows, and the same as plain values."""

    db: Database
    clock: Clock
    tenant_id: str = field(default_factory=clock.new_id)
    asked: list[tuple[str, str, str, int, int]] = field(default_factory=list)
    searched: list[tuple[str, bool, bool]] = field(default_factory=list)
    costs: Counter[str] = field(default_factory=Counter)
    runs: Counter[tuple[str, str]] = field(default_factory=Counter)
    ratings: dict[str, tuple[str, int]] = field(default_factory=dict)

    async def begin(self) -> None:
        async with self.db.write() as session:
            session.add(
                Tenant(
                    id=self.tenant_id,
                    key=self.tenant_id[-12:],
                    name="t",
                    created_at=self.clock.at,
                )
            )
            await session.flush()
            session.add_all(
                KnowledgeBase(
                    id=self.kb(name),
                    tenant_id=self.tenant_id,
                    name=name,
                    space="s",
                    dimension=2,
                )
                for name in ("a", "b")
            )
            session.add(Conversation(id=self.kb("c"), tenant_id=self.tenant_id, door="api"))

    def kb(self, name: str) -> str:
        return f"{self.tenant_id[:-1]}{name}" if name else ""

    @property
    def day(self) -> str:
        return self.clock.at.date().isoformat()

    async def ask(self, kb: str, outcome: str, took_us: int, tokens: int, *, late_h: int) -> None:
        """A question, whose row comes later than it was asked."""
        at = max(START, self.clock.at - timedelta(hours=late_h))
        await self._log("ask", kb, at, outcome=outcome, took_us=took_us, input_tokens=tokens)
        self.asked.append((at.date().isoformat(), kb, outcome, took_us, tokens))

    async def search(self, kb: str, hits: int, error: str) -> None:
        await self._log("search", kb, self.clock.at, hits=hits, error_code=error)
        self.searched.append((self.day, not error and not hits, bool(error)))

    async def _log(self, kind: str, kb: str, at: datetime, **values: object) -> None:
        row = {"hits": 1, "confidence": 0.5, "took_ms": 1.0, "mode": "hybrid", "kb_ids": []}
        row |= {"id": clock.new_id(), "tenant_id": self.tenant_id, "kind": kind, "at": at}
        async with self.db.write() as session:
            await session.execute(insert(QueryLog), [row | {"kb_id": self.kb(kb)} | values])

    async def spend(self, cost: int) -> None:
        row = {"cause": clock.new_id(), "kind": "settle", "amount": -cost, "cost": cost}
        row |= {"id": clock.new_id(), "tenant_id": self.tenant_id, "day": self.day, "model": "m"}
        async with self.db.write() as session:
            await session.execute(insert(LedgerEntry), [row | {"at": self.clock.at}])
        self.costs[self.day] += cost

    async def run(self, state: str, took_s: int) -> None:
        async with self.db.write() as session:
            session.add(
                Run(
                    id=clock.new_id(),
                    tenant_id=self.tenant_id,
                    flow_id="general",
                    state=state,
                    started_at=self.clock.at - timedelta(seconds=took_s),
                    ended_at=self.clock.at,
                )
            )
        self.runs[self.day, state] += 1

    async def rate(self, which: int, rating: int) -> None:
        """A first opinion, or another one of somebody who had one, maybe long ago."""
        known = sorted(self.ratings)
        async with self.db.write() as session:
            if which < len(known):
                row = await session.get_one(Feedback, known[which])
                await day_tables.day_changed(session, self.tenant_id, row.created_at)
                row.rating = rating
                self.ratings[row.id] = (self.ratings[row.id][0], rating)
                return
            turn_id, feedback_id = clock.new_id(), clock.new_id()
            session.add(
                Turn(
                    id=turn_id,
                    tenant_id=self.tenant_id,
                    conversation_id=self.kb("c"),
                    question="q",
                    answer="a",
                    grounded=True,
                    confidence=1,
                    audience="u:x",
                    sources=[],
                    citations=[],
                )
            )
            await session.flush()
            session.add(
                Feedback(
                    id=feedback_id,
                    tenant_id=self.tenant_id,
                    turn_id=turn_id,
                    rater="r",
                    rating=rating,
                    created_at=self.clock.at,
                )
            )
            self.ratings[feedback_id] = (self.day, rating)

    async def keep(self, at_most: int) -> None:
        """A worker's job, perhaps killed before it was done."""
        await day_tables.keep_stock(self.db, self.tenant_id)
        async with self.db.read() as session:
            days = await day_tables.days_to_count(session, self.tenant_id)
        for day in days[:at_most]:
            await day_tables.keep_day(self.db, self.tenant_id, day)


def admin_of(tenant_id: str) -> Principal:
    return Principal(tenant_id, None, "Ada", Role.ADMIN, frozenset(), frozenset(Scope))


step = st.one_of(
    st.tuples(
        st.just("ask"),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(OUTCOMES),
        st.integers(500, 40_000_000),
        st.integers(0, 5_000),
        st.integers(0, 20),
    ),
    st.tuples(
        st.just("search"),
        st.sampled_from(["", "a"]),
        st.integers(0, 2),
        st.sampled_from(["", "unavailable"]),
    ),
    st.tuples(st.just("spend"), st.integers(0, 10**7)),
    st.tuples(
        st.just("run"), st.sampled_from(["done", "failed", "cancelled"]), st.integers(0, 300)
    ),
    st.tuples(st.just("rate"), st.integers(0, 3), st.sampled_from([1, -1])),
    st.tuples(st.just("wait"), st.integers(1, 60)),
    st.tuples(st.just("keep"), st.integers(0, 4)),
)


async def _do(world: World, steps: list[tuple]) -> None:
    for name, *given_ in steps:
        match name:
            case "ask":
                *values, late_h = given_
                await world.ask(*values, late_h=late_h)
            case "wait":
                world.clock.advance(given_[0] * 3600)
            case _:
                await getattr(world, name)(*given_)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(step, max_size=30))
def test_kept_days_and_open_days_add_up_to_what_the_rows_say(
    database_url: str, fixed_clock: Clock, steps: list[tuple]
) -> None:
    async def check() -> None:
        fixed_clock.at = START
        async with open_database(database_url, pool_timeout_s=60) as db:
            world = World(db, fixed_clock)
            await world.begin()
            await _do(world, steps)
            await _equal(world)
            fixed_clock.advance(3 * 86_400)  # everything is over, and is kept
            await world.keep(100)
            async with db.read() as session:
                kept = await day_tables.kept_days(
                    session, world.tenant_id, DayRange(START.date(), fixed_clock.at.date())
                )
            assert {day for day, *_ in world.asked} <= kept
            await _equal(world)

    asyncio.run(check())


async def _equal(world: World) -> None:
    span = DayRange(START.date(), world.clock.at.date())
    async with world.db.read() as session:
        cells = await read_cells(session, world.tenant_id, span, None)
        recounted = await count_days(session, world.tenant_id, span)
        found = await read_statistics(session, admin_of(world.tenant_id), StatisticsQuery(span))
        by_kb = await read_statistics(
            session, admin_of(world.tenant_id), StatisticsQuery(span, "kb")
        )
    kept = {cell: counted for cell, counted in cells.items() if cell.topic != "stock"}
    assert {c: (n.figures, n.latency) for c, n in kept.items()} == {
        c: (n.figures, n.latency) for c, n in recounted.items()
    }
    for group in found.groups:
        asked = [one for one in world.asked if one[0] == group.key]
        assert group.questions.questions == len(asked)
        for outcome in OUTCOMES:
            wanted = sum(one[2] == outcome for one in asked)
            assert getattr(group.questions, outcome) == wanted
        assert group.questions.input_tokens == sum(one[4] for one in asked)
        searched = [one for one in world.searched if one[0] == group.key]
        assert group.searches.searches == len(searched)
        assert group.searches.without_hits == sum(one[1] for one in searched)
        assert group.searches.failed == sum(one[2] for one in searched)
        assert group.models.cost == world.costs[group.key] / 1e6
        assert group.ingestions.done == world.runs[group.key, "done"]
        assert group.ingestions.failed == world.runs[group.key, "failed"]
        assert group.ingestions.cancelled == world.runs[group.key, "cancelled"]
        opinions = [rating for day, rating in world.ratings.values() if day == group.key]
        assert group.questions.helpful == opinions.count(1)
        assert group.questions.unhelpful == opinions.count(-1)
        if asked:
            took = sorted(one[3] / 1000 for one in asked)
            for share, said in ((0.5, group.questions.p50_ms), (0.95, group.questions.p95_ms)):
                real = max(1.0, took[math.ceil(share * len(took)) - 1])
                assert said == pytest.approx(real, rel=ERROR + 0.06)  # rounded to 0.1 ms
    assert found.total.questions.questions == len(world.asked)
    of_kb = Counter(world.kb(one[1]) for one in world.asked)
    assert {g.key: g.questions.questions for g in by_kb.groups if g.questions.questions} == of_kb


@given(took=st.lists(st.integers(1_000, 262_000_000), min_size=1), share=st.floats(0.01, 1))
def test_a_quantile_of_merged_buckets_is_within_the_error_it_states(
    took: list[int], share: float
) -> None:
    counts = Counter(bucket_of(one) for one in took)
    said = quantile_ms(counts, share)
    real = sorted(took)[max(1, math.ceil(share * len(took))) - 1] / 1000
    assert said is not None
    assert abs(said - real) / real <= ERROR + 0.001  # bounds are whole microseconds


async def _asked(db: Database, tenant_id: str, kb_id: str, n: int, user: str = "") -> None:
    rows = [
        {
            "id": clock.new_id(),
            "tenant_id": tenant_id,
            "kind": "ask",
            "user_id": user or f"u{number}",
            "kb_ids": [kb_id],
            "kb_id": kb_id,
            "mode": "",
            "hits": 0,
            "confidence": 0.0,
            "took_ms": 5.0,
            "took_us": 5_000,
            "outcome": "answered",
            "at": clock.now(),
        }
        for number in range(n)
    ]
    async with db.write() as session:
        await session.execute(insert(QueryLog), rows)


async def _bases(db: Database, tenant_id: str) -> None:
    async with db.write() as session:
        session.add_all(
            KnowledgeBase(
                id=f"{tenant_id}-{name}", tenant_id=tenant_id, name=name, space="s", dimension=2
            )
            for name in ("hr", "it")
        )


async def test_a_curator_sees_the_bases_they_manage_and_nobody_another_tenants(
    database: Database, fixed_clock: Clock
) -> None:
    for tenant in ("acme", "bolt"):
        await _bases(database, tenant)
        await _asked(database, tenant, f"{tenant}-hr", 3)
        await _asked(database, tenant, f"{tenant}-it", 7)
    curator = replace(
        admin_of("acme"),
        role=Role.CURATOR,
        scopes=frozenset({Scope.KB_READ, Scope.KB_MANAGE}),
        managed=frozenset({"acme-hr", "bolt-it"}),
    )
    member = replace(curator, role=Role.MEMBER)
    today = DayRange(fixed_clock.at.date(), fixed_clock.at.date())

    async with database.read() as session:

        async def ask(principal: Principal, **query: object):
            wanted = StatisticsQuery(today, **query)  # type: ignore[arg-type]
            return await read_statistics(session, principal, wanted)

        every = await ask(admin_of("acme"), by="kb")
        own = await ask(curator, by="kb")
        assert [(g.name, g.questions.questions) for g in every.groups] == [("it", 7), ("hr", 3)]
        assert every.people == 7
        assert [(g.name, g.questions.questions) for g in own.groups] == [("hr", 3)]
        assert own.total.questions.questions == 3
        assert own.people is None  # three people may be told apart
        with pytest.raises(NotFound):
            await ask(curator, kb="it")
        with pytest.raises(NotFound):
            await ask(admin_of("acme"), kb="bolt-it")
        for by in ("channel", "model", "workflow", "source"):
            with pytest.raises(Forbidden):
                await ask(curator, by=by)
        with pytest.raises(Forbidden):
            await ask(member)
        with pytest.raises(Forbidden):
            await ask(replace(curator, scopes=frozenset({Scope.KB_READ})))


async def test_a_kept_day_outlives_its_rows_and_is_counted_anew_once_something_changed(
    database: Database, fixed_clock: Clock
) -> None:
    await _bases(database, "acme")
    day = fixed_clock.at.date()
    async with database.write() as session:
        await session.execute(update(Tenant).values(created_at=fixed_clock.at))
    await _asked(database, "acme", "acme-hr", 4)
    assert await day_tables.queue_counting(database) == 0  # the day is not over
    fixed_clock.advance(86_400 * 2)
    assert await day_tables.queue_counting(database) == 3  # tenants
    assert await day_tables.queue_counting(database) == 3  # and one job each a day
    await day_tables.keep_day(database, "acme", day)
    async with database.write() as session:
        await session.execute(delete(QueryLog))

    async def questions() -> int:
        async with database.read() as session:
            query = StatisticsQuery(DayRange(day, day))
            found = await read_statistics(session, admin_of("acme"), query)
        return found.total.questions.questions

    assert await questions() == 4
    async with database.write() as session:
        await day_tables.day_changed(session, "acme", fixed_clock.at - timedelta(days=2))
    assert await questions() == 0
    fixed_clock.advance(86_400 * day_tables.DAYS_MAX)
    await day_tables.forget_old(database, "acme")
    async with database.read() as session:
        assert await session.scalar(select(MetricDay.day)) is None
        assert await session.scalar(select(CountedDay.day)) is None


async def test_sums_of_a_kept_day_equal_its_cells_and_a_day_kept_without_them_is_read_whole(
    database: Database, fixed_clock: Clock
) -> None:
    await _bases(database, "acme")
    day = fixed_clock.at.date()
    span = DayRange(day, day)
    await _asked(database, "acme", "acme-hr", 4)
    await _asked(database, "acme", "acme-it", 2)
    async with database.write() as session:
        channels = update(QueryLog).where(QueryLog.user_id == "u1")
        await session.execute(channels.values(channel_id="c1", door="slack"))
    fixed_clock.advance(86_400 * 3)
    await day_tables.keep_day(database, "acme", day)

    async def read(*, is_fine: bool, bases: list[str] | None = None):
        async with database.read() as session:
            return await read_cells(session, "acme", span, bases, is_fine=is_fine)

    for bases in (None, ["acme-hr"]):
        fine = await read(is_fine=True, bases=bases)
        assert await read(is_fine=False, bases=bases) == summed(fine) != fine
    async with database.write() as session:  # as a version without sums kept it
        await session.execute(delete(MetricDay).where(MetricDay.topic.startswith("sum:")))
    assert await read(is_fine=False) == await read(is_fine=True)


def test_a_range_that_is_none_is_refused_with_what_to_do(fixed_clock: Clock) -> None:
    today = fixed_clock.at.date()
    assert checked_span(None, None, days=7) == DayRange(today - timedelta(days=6), today)
    assert checked_span(date(2026, 1, 1), None) == DayRange(date(2026, 1, 1), today)
    with pytest.raises(InvalidInput, match="after the last"):
        checked_span(date(2026, 2, 2), date(2026, 2, 1))
    with pytest.raises(InvalidInput, match="at most 731"):
        checked_span(date(2020, 1, 1), date(2026, 2, 1))


def test_statistics_is_a_verb_of_writers() -> None:
    assert gate.may(admin_of("t"), "insight.list")
