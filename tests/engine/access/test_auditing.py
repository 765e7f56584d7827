"""The audit log as a chain: whatever is done to its rows shows."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import delete, select, text, update

from engine.access import auditing, gate
from engine.db.session import Database
from engine.db.tables import AuditEvent
from engine.domain import Principal
from engine.operations import audit_log
from engine.people import tenants


@pytest.fixture
async def owner(database: Database) -> Principal:
    tenant, person = await tenants.ensure_default(database)
    async with database.read() as session:
        return await gate.principal_of_user(session, tenant.id, person.user_id)


async def write(database: Database, owner: Principal, count: int) -> None:
    for at in range(count):
        async with database.write() as session:
            detail = {"before": at, "after": {"share": 1.0, "list": [1e16, "ü", None, True]}}
            await gate.audit(session, owner, "thing.change", f"t{at}", detail)


async def faults(database: Database, owner: Principal) -> list[str]:
    async with database.read() as session:
        return list((await audit_log.verify_chain(session, owner)).faults)


async def test_rows_as_they_were_written_hold(database, owner):
    await write(database, owner, 5)
    assert await faults(database, owner) == []
    async with database.read() as session:
        report = await audit_log.verify_chain(session, owner)
        exported = await audit_log.export_audit(session, owner)
    assert report.rows == len(exported) == 6  # the tenant's creation is the first
    assert [row["number"] for row in exported] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "what", ["detail", "actor", "removed", "last removed", "swapped", "forged"]
)
async def test_whatever_is_done_to_a_row_shows(database, owner, what: str):
    await write(database, owner, 4)
    async with database.write() as session:
        rows = list(await session.scalars(select(AuditEvent).order_by(AuditEvent.number)))
        one = update(AuditEvent).where(AuditEvent.id == rows[2].id)
        if what == "detail":
            await session.execute(one.values(detail={"before": 0}))
        elif what == "actor":
            await session.execute(one.values(actor="somebody"))
        elif what == "removed":
            await session.execute(delete(AuditEvent).where(AuditEvent.id == rows[2].id))
        elif what == "last removed":
            await session.execute(delete(AuditEvent).where(AuditEvent.id == rows[-1].id))
        elif what == "swapped":
            await session.execute(one.values(number=4))
            await session.execute(
                update(AuditEvent).where(AuditEvent.id == rows[3].id).values(number=3)
            )
        else:  # edited, and its own digest made anew: the next row shows it
            rows[2].actor = "somebody"
            rows[2].digest = auditing.chained(rows[1].digest, rows[2])
    assert await faults(database, owner) != []


async def test_changes_at_once_make_one_chain_a_tenant(database, owner):
    async def change(at: int) -> None:
        await database.run_write(
            lambda session: gate.audit(session, owner, "thing.change", f"t{at}")
        )

    await asyncio.gather(*(change(at) for at in range(8)))
    assert await faults(database, owner) == []


async def test_a_change_of_any_tenant_changes_the_version_of_access(database, owner):
    async def version() -> int:
        return await database.run_read(gate.access_version)

    seen = [await version()]
    await write(database, owner, 1)
    seen.append(await version())
    async with database.write() as session:
        await auditing.append(session, "acme", "system", "thing.change")
    seen.append(await version())
    assert len(set(seen)) == 3


async def test_rows_of_before_the_chain_are_no_fault(database, owner):
    async with database.write() as session:
        await session.execute(text("UPDATE audit_event SET number = 0, digest = ''"))
        await session.execute(text("DELETE FROM audit_head"))
    await write(database, owner, 2)
    assert await faults(database, owner) == []
