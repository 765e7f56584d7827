"""Gaps: questions that mean the same are found together, and nobody is shown what is not theirs."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from engine import clock
from engine.access import gate
from engine.db.session import Database, open_database
from engine.db.tables import Conversation, Membership, Tenant, Turn, User
from engine.domain import Principal, Role, Scope
from engine.errors import Forbidden, InvalidInput, NotFound
from engine.insight import gaps
from engine.insight.clustering import cluster, name_of, terms_of
from engine.insight.gap_room import Gaps
from engine.models.hashing import HashingEmbedder
from engine.models.local import LocalEmbedder
from tests.engine.conftest import Clock

PLANTED = {
    "parental leave": [
        "How many weeks of parental leave do I get?",
        "How long is parental leave for fathers?",
        "Is parental leave paid in full?",
        "When can I take parental leave?",
        "Who approves parental leave?",
        "Does parental leave count as holiday?",
    ],
    "vpn": [
        "How do I connect to the VPN from home?",
        "The VPN does not connect, what now?",
        "Which VPN client do we use on a Mac?",
        "My VPN connection drops every hour",
        "Where do I download the VPN client?",
    ],
    "printer": [
        "How do I add the printer on the third floor?",
        "The printer says paper jam, who fixes the printer?",
        "Which printer prints in colour?",
        "How do I reset the printer queue?",
    ],
    "travel expenses": [
        "How do I claim travel expenses?",
        "What is the limit for travel expenses in hotels?",
        "Who signs travel expenses?",
        "Are taxi rides travel expenses?",
        "By when must travel expenses be claimed?",
    ],
    "car park": [
        "Where can I park my car at the office?",
        "Is the office car park free?",
        "How do I book a car park space?",
        "Can visitors use the car park?",
    ],
}


def admin(tenant: str = "acme", user: str = "", *tokens: str) -> Principal:
    held = frozenset({f"u:{user}", *tokens}) if user else frozenset(tokens)
    return Principal(tenant, user or None, "Ada", Role.ADMIN, held, frozenset(Scope))


async def ask(
    db: Database,
    question: str,
    audience: str,
    *,
    tenant: str = "acme",
    grounded: bool = False,
    feedback: int | None = None,
) -> str:
    turn_id, conversation = clock.new_id(), clock.new_id()
    async with db.write() as session:
        session.add(Conversation(id=conversation, tenant_id=tenant, door="api"))
        await session.flush()
        session.add(
            Turn(
                id=turn_id,
                tenant_id=tenant,
                conversation_id=conversation,
                question=question,
                answer="-",
                grounded=grounded,
                confidence=0.1,
                audience=audience,
                sources=[],
                citations=[],
                feedback=feedback,
                created_at=clock.now(),
            )
        )
    return turn_id


class NoSearch:
    """Nothing is near."""


def gaps_of(db: Database) -> Gaps:
    return Gaps(db, HashingEmbedder(), NoSearch(), close=CLOSE_WORDS)  # type: ignore[arg-type]


ALONE = (
    "Is there a gym?",
    "Who is the CEO?",
    "What is the dress code?",
    "When is payday?",
    "Can I bring my dog?",
    "Which font do slides use?",
)
CLOSE_WORDS = 0.28  # vectors of hashed words: paraphrases share few of them


async def test_five_planted_gaps_are_found_and_named_by_their_words(
    database: Database, fixed_clock: Clock, tmp_path: Path
) -> None:
    """With the model that Scrubjay comes with, among questions that belong nowhere."""
    where = {}
    for name, questions in PLANTED.items():
        for question in questions:
            fixed_clock.advance(60)
            where[await ask(database, question, "ch:help")] = name
    for question in ALONE:
        await ask(database, question, "ch:help")
    await ask(database, "How do I get a badge?", "ch:help", grounded=True)
    embedder = LocalEmbedder(tmp_path, threads=1)
    found = await Gaps(database, embedder, NoSearch()).list_all(admin("acme", "a", "ch:help"))  # type: ignore[arg-type]
    await embedder.aclose()

    pure = planted = 0
    seen = set()
    for gap in found:
        owners = Counter(where[one] for one in gap.turn_ids if one in where)
        if gap.times >= 3 and owners:
            best, most = owners.most_common(1)[0]
            pure, planted = pure + most, planted + sum(owners.values())
            seen.add(best)
            assert set(best.split()) & set(gap.name.split(", "))
    assert seen == set(PLANTED)
    assert pure / planted >= 0.9
    assert planted >= 22  # of 24
    mixed = [gap for gap in found if gap.times > 1 and not set(gap.turn_ids) & where.keys()]
    assert mixed == []
    assert "badge" not in " ".join(one.text for gap in found for one in gap.questions)
    # The weightiest first
    assert found[0].times * found[0].people >= found[-1].times * found[-1].people


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    asked=st.lists(
        st.tuples(
            st.sampled_from(["ch:a", "ch:b", "u:me", "u:other", "i:slack", "key:1"]),
            st.sampled_from(["acme", "bolt"]),
        ),
        max_size=12,
    ),
    channels=st.sets(st.sampled_from(["ch:a", "ch:b", "tenant", "kb:x"])),
)
def test_no_text_is_shown_to_whom_it_is_not_for(
    database_url: str, asked: list[tuple[str, str]], channels: set[str]
) -> None:
    """Neither in a question, nor in a gap's name, nor by its size."""

    async def check() -> None:
        async with open_database(database_url, pool_timeout_s=60) as db:
            async with db.write() as session:
                await session.execute(delete(Tenant))
                session.add_all(Tenant(id=name, key=name, name=name) for name in ("acme", "bolt"))
            allowed = set()
            for number, (audience, tenant) in enumerate(asked):
                question = f"Where is the secret{number}word kept?"
                await ask(db, question, audience, tenant=tenant)
                if tenant == "acme" and audience in {*channels, "u:me"}:
                    allowed.add(question)
            reader = admin("acme", "me", *channels)
            found = await gaps_of(db).list_all(reader)
            shown = {one.text for gap in found for one in gap.questions}
            assert shown == allowed
            assert sum(gap.times for gap in found) == len(allowed)
            words = {word for gap in found for word in f"{gap.name} {gap.question}".split()}
            for number in range(len(asked)):
                if f"Where is the secret{number}word kept?" not in allowed:
                    assert not [word for word in words if f"secret{number}word" in word]

    asyncio.run(check())


async def test_a_gap_is_assigned_closed_set_aside_and_answered(
    database: Database, fixed_clock: Clock
) -> None:
    first = await ask(database, "How do I reset the printer queue?", "ch:help")
    room, reader = gaps_of(database), admin("acme", "a", "ch:help")
    async with database.write() as session:
        session.add(User(id="bea", email="bea@x.org", name="Bea"))
        await session.flush()
        session.add(Membership(tenant_id="acme", user_id="bea", role="member"))

    marked = await room.mark(reader, first, "assigned", assignee="BEA@x.org")
    assert (marked.state, marked.assignee) == ("assigned", "Bea")
    with pytest.raises(InvalidInput, match="needs one"):
        await room.mark(reader, first, "assigned")
    with pytest.raises(InvalidInput, match="is for the state"):
        await room.mark(reader, first, "closed", assignee="bea")
    with pytest.raises(InvalidInput, match="not 'gone'"):
        await room.mark(reader, first, "gone")
    with pytest.raises(NotFound):
        await room.mark(reader, first, "assigned", assignee="nobody@x.org")
    with pytest.raises(NotFound):  # who may not read the channel has no such gap
        await room.mark(admin("acme", "b"), first, "closed")
    with pytest.raises(Forbidden):
        await room.list_all(replace(reader, role=Role.MEMBER))

    assert (await room.mark(reader, first, "out_of_scope")).state == "out_of_scope"
    assert (await room.mark(reader, first, "open")).state == "open"
    fixed_clock.advance(3600)
    await ask(database, "How do I reset the printer queue", "ch:secret", grounded=True)
    assert [gap.state for gap in await room.list_all(reader)] == ["open"]  # it was not seen here
    await ask(database, "How do I reset the printer queue", "ch:help", grounded=True)
    assert [gap.state for gap in await room.list_all(reader)] == ["answered"]
    fixed_clock.advance(3600)
    await ask(database, "How do I reset the printer queue?", "ch:help")
    assert [gap.state for gap in await room.list_all(reader)] == ["open"]  # and is missing again


async def test_an_answer_somebody_found_not_helpful_is_a_gap_until_its_time_is_over(
    database: Database, fixed_clock: Clock
) -> None:
    turn = await ask(database, "Is the canteen open?", "ch:help", grounded=True, feedback=-1)
    room, reader = gaps_of(database), admin("acme", "a", "ch:help")
    assert [gap.id for gap in await room.list_all(reader, days=30)] == [turn]
    async with database.write() as session:
        await session.execute(update(Turn).values(created_at=fixed_clock.at - timedelta(days=31)))
    assert await room.list_all(reader, days=30) == []


def test_audiences_are_ones_own_and_those_of_ones_channels() -> None:
    seen = gate.audiences_seen(admin("acme", "me", "ch:a", "kb:x", "tenant", "g:1", "w:2"))
    assert seen == {"u:me", "ch:a"}
    assert gaps.MARKS == ("open", "assigned", "closed", "out_of_scope")


def test_nothing_asked_is_no_gap() -> None:
    import numpy as np

    assert cluster(np.zeros((0, 4), np.float32), []) == []
    assert name_of([terms_of("Where is the printer?")], [terms_of("Where is the printer?")])
