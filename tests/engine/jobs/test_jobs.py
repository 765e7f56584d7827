"""Jobs on each database; the suite is in tests/contracts/jobs.py."""

from __future__ import annotations

import pytest

from engine.clock import new_id
from engine.db.session import Database
from engine.db.tables import Acl, Document, KnowledgeBase, Source
from engine.jobs.endings import LONGEST_RETRY_S, backoff_s
from tests.contracts.jobs import *  # noqa: F403


@pytest.fixture
async def document(database: Database) -> str:
    """The id of a pending document of acme."""
    kb, source, acl, document = (new_id() for _ in range(4))
    mine = {"tenant_id": "acme"}
    async with database.write() as session:
        session.add(KnowledgeBase(id=kb, name="kb", space="s", dimension=3, **mine))
        session.add(Acl(id=acl, digest="d", tokens=["tenant"], **mine))
        await session.flush()
        session.add(Source(id=source, kb_id=kb, kind="upload", name="upload", **mine))
        await session.flush()
        session.add(
            Document(
                id=document,
                kb_id=kb,
                source_id=source,
                external_id="x",
                title="X",
                acl_id=acl,
                **mine,
            )
        )
    return document


def test_delays_grow_to_a_bound():
    for attempts in (1, 5, 50, 5000):
        assert 1 <= backoff_s(attempts) <= LONGEST_RETRY_S
