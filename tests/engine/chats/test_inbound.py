"""Inbound messages, on each database: one transaction, however many come at once."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select

from engine.chats import inbound
from engine.chats.inbound import HistoryUpdate, InboundContext, NewInbound
from engine.chats.messages import NewMessage
from engine.chats.post_rows import AcceptedQuestion, NewQuestion
from engine.chats.sender_rows import SenderRef
from engine.db.session import Database
from engine.db.tables import Identity, Message, Post
from engine.errors import NotFound
from tests.fakes.chats import ChatWorld


def asks(question_id: str, context: InboundContext) -> NewQuestion:
    return NewQuestion(
        "slack", context.sender, "channel", "C1", "Who waters it?", question_id, key=question_id
    )


def new_inbound(person: str, text: str, ts: str, **more) -> NewInbound:
    message = NewMessage(ts, text, author=person)
    sender_ref = SenderRef("slack", "T-acme", person, "C1")
    return NewInbound(sender_ref, "C1", history_update=HistoryUpdate([message]), **more)


async def receive(
    database: Database, new: NewInbound, take
) -> tuple[InboundContext, AcceptedQuestion | None]:
    return await database.run_grouped(
        lambda session: inbound.receive(session, new, take, default_threshold=65)
    )


async def count(database: Database, table: type) -> int:
    async with database.read() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> ChatWorld:
    world = await ChatWorld.create(database, tmp_path, imported=False)
    await world.keep("C1", "general", is_public=True, members=["U1"])
    return world


async def test_messages_at_once_are_stored_and_accepted_once_each(
    database: Database, world: ChatWorld
) -> None:
    before = await count(database, Message)
    ids = [f"1700000{n:03}.000100" for n in range(20)]
    new = [(new_inbound(f"U{n % 5}", "Who waters it?", ts), ts) for n, ts in enumerate(ids)]
    took = await asyncio.gather(
        *(receive(database, message, partial(asks, ts)) for message, ts in new + new)
    )
    assert [accepted.is_new for _, accepted in took if accepted].count(True) == 20
    assert await count(database, Message) == before + 20
    assert await count(database, Post) == 20
    assert all(context.kept_in for context, _ in took)


async def test_a_sender_who_asks_nothing_gets_no_row_where_no_history_is_kept(
    database: Database, world: ChatWorld
) -> None:
    before = await count(database, Identity)
    new = NewInbound(SenderRef("slack", "T-acme", "U77", "C2"), "C2", addressed=False)
    context, accepted = await receive(database, new, lambda _: None)
    assert (context.sender.identity_id, context.kept_in, accepted) == ("", None, None)
    assert await count(database, Identity) == before
    asked = NewInbound(SenderRef("slack", "T-acme", "U77", "C2"), "C2")
    context, accepted = await receive(database, asked, partial(asks, "q"))
    assert accepted is not None
    assert context.sender.identity_id
    assert await count(database, Identity) == before + 1


async def test_a_message_of_an_unknown_workspace_fails_and_those_beside_it_do_not(
    database: Database, world: ChatWorld
) -> None:
    stranger = NewInbound(SenderRef("slack", "T-nobody", "U1", "C1"), "C1")
    good = new_inbound("U1", "Who waters it?", "1700000902.000100")
    outcomes = await asyncio.gather(
        receive(database, good, partial(asks, "good")),
        receive(database, stranger, partial(asks, "stranger")),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], tuple)
    assert isinstance(outcomes[1], NotFound)
    assert await count(database, Post) == 1
