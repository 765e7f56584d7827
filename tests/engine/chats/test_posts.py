"""Questions are accepted once, however often and however much at once they are delivered."""

from __future__ import annotations

import asyncio
from pathlib import Path

from engine.chats import post_rows
from engine.chats.post_rows import AcceptedQuestion, NewQuestion, PostState
from engine.chats.sender_rows import Sender, SenderRef, locate
from engine.db.session import Database
from tests.fakes.chats import ChatWorld


async def sender_in(database: Database, folder: Path) -> Sender:
    world = await ChatWorld.create(database, folder, imported=False)
    await world.keep("C1", "general", is_public=True, members=["U1"])
    async with database.read() as session:
        return await locate(session, SenderRef("slack", "T-acme", "U1", "C1"))


async def accept(database: Database, sender: Sender, key: str) -> AcceptedQuestion:
    new = NewQuestion("slack", sender, "channel", "C1", "Who waters the garden?", key=key)
    return await database.run_write(lambda session: post_rows.accept(session, new))


async def test_an_accepted_question_says_how_many_wait_before_it(
    database: Database, tmp_path: Path
) -> None:
    sender = await sender_in(database, tmp_path)
    first, again, second, unkeyed = [
        await accept(database, sender, key) for key in ("1", "1", "2", "")
    ]
    assert [(it.is_new, it.ahead) for it in (first, second, unkeyed)] == [
        (True, 0),
        (True, 1),
        (True, 2),
    ]
    assert (again.post_id, again.job_id, again.is_new) == (first.post_id, first.job_id, False)


async def test_a_question_delivered_many_times_at_once_is_accepted_once(
    database: Database, tmp_path: Path
) -> None:
    sender = await sender_in(database, tmp_path)
    took = await asyncio.gather(*(accept(database, sender, "same") for _ in range(8)))
    assert [it.is_new for it in took].count(True) == 1
    assert len({it.post_id for it in took}) == 1


async def test_another_tenants_id_of_a_post_changes_nothing(
    database: Database, tmp_path: Path
) -> None:
    sender = await sender_in(database, tmp_path)
    post_id = (await accept(database, sender, "1")).post_id

    async def post() -> post_rows.PostInfo:
        async with database.read() as session:
            return await post_rows.get_post(session, sender.tenant_id, post_id)

    async def change_all(tenant_id: str) -> None:
        async with database.write() as session:
            await post_rows.note_message(session, tenant_id, post_id, "m1")
            await post_rows.note_turn(session, tenant_id, post_id, "")
            await post_rows.end_post(session, tenant_id, post_id, PostState.FAILED, message_id="m2")
            done = [
                await post_rows.escalate(session, tenant_id, post_id),
                await post_rows.resolve(session, tenant_id, post_id),
            ]
            await post_rows.withdraw(session, tenant_id, post_id, forget=True)
        assert done == [tenant_id == sender.tenant_id] * 2

    before = await post()
    await change_all("another")
    assert await post() == before
    await change_all(sender.tenant_id)
    after = await post()
    assert (after.state, after.message_id, after.question) == (
        PostState.WITHDRAWN,
        "m2",
        "(forgotten)",
    )
    assert after.resolved_at is not None
