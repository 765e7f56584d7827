"""A secret that expires is renewed by exactly one of all who need it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, SecretStr
from sqlalchemy import select, update

from engine import clock
from engine.db.tables import Credential
from engine.errors import Unavailable
from engine.sources import held_secrets
from engine.sources.contract import Renewed, SourceRefused, SourceWait
from engine.sources.held_secrets import StoredSecret
from tests.fakes.source_worlds import World, WorldConnector, WorldSettings
from tests.fakes.sources import SourceInstallation, open_sources


class RotatingFields(BaseModel):
    """A refresh token, of which each can be used once."""

    refresh_token: SecretStr


class RotatingProvider:
    """Gives a new refresh token for the present one; an old one used again ends them all.

    `lost`: how often an answer is lost on its way after the rotation. The one token before is taken
    once more, as providers do for that.
    """

    def __init__(self, lost: float = 0.0) -> None:
        self.chance = random.Random(3)
        self.lost = lost
        self.number = 0
        self.is_dead = False
        self.retried = False

    async def renew(self, method: str, values: Mapping[str, str]) -> Renewed:
        await asyncio.sleep(self.chance.random() / 500)
        given = int(values["refresh_token"].removeprefix("refresh-"))
        if given == self.number:
            self.number += 1
            self.retried = False
        elif given == self.number - 1 and not self.retried and self.lost:
            self.retried = True
        else:
            self.is_dead = True
        if self.is_dead:
            raise SourceRefused("invalid_grant: sign in again", login=True)
        if not self.retried and self.chance.random() < self.lost:
            raise Unavailable("the answer was lost")
        return Renewed(
            {"refresh_token": f"refresh-{self.number}", "access_token": f"access-{self.number}"},
            self.expires_at(),
        )

    def expires_at(self) -> datetime:
        return clock.now() + timedelta(hours=1)


class RotatingConnector(WorldConnector):
    """A world that is signed in to with a token that rotates."""

    kind: ClassVar[str] = "rotating"
    methods: ClassVar[Mapping[str, type[BaseModel]]] = {
        "oauth": RotatingFields,
        "fixed": RotatingFields,
    }
    renews: ClassVar[frozenset[str]] = frozenset({"oauth"})
    settings = WorldSettings


@pytest.fixture
async def notes(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SourceInstallation]:
    monkeypatch.setattr(held_secrets, "POLL_S", 0.002)
    monkeypatch.setattr(held_secrets, "POLLS", 500)
    async with open_sources(home, connectors={"rotating": RotatingConnector(World())}) as opened:
        yield opened


async def kept(notes: SourceInstallation, method: str = "oauth") -> str:
    info = await notes.engine.credentials.add(
        notes.owner,
        kind="rotating",
        name="it",
        method=method,
        secret={"refresh_token": "refresh-0"},
    )
    return info.id


def worker(notes: SourceInstallation, row_id: str, provider: RotatingProvider) -> StoredSecret:
    connector: Any = notes.engine.sources.connectors["rotating"]
    opener = notes.engine.sources.opener
    return StoredSecret(
        opener.db, opener.secrets, notes.owner.tenant_id, row_id, connector, provider.renew
    )


@pytest.mark.parametrize(("rounds", "lost"), [(60, 0.0), (60, 0.3)])
async def test_workers_that_renew_together_rotate_once_a_round_and_none_is_locked_out(
    notes, rounds, lost
):
    provider = RotatingProvider(lost)
    row_id = await kept(notes)
    workers = [worker(notes, row_id, provider) for _ in range(4)]
    first = [(await one.values())["access_token"] for one in workers]
    assert first == ["access-1"] * 4
    for number in range(rounds):
        found = await asyncio.gather(*(one.refused() for one in workers))
        assert {values["access_token"] for values in found} == {f"access-{number + 2}"}
    assert (provider.number, provider.is_dead) == (rounds + 1, False)
    async with notes.engine.db.read() as session:
        row = (await session.scalars(select(Credential))).one()
    assert (row.version, row.state, row.lease_until) == (rounds + 2, "ok", None)


async def test_a_token_is_used_until_it_is_about_to_expire(notes):
    provider = RotatingProvider()
    row_id = await kept(notes)
    for _ in range(3):
        assert (await worker(notes, row_id, provider).values())["access_token"] == "access-1"
    async with notes.engine.db.write() as session:
        soon = clock.now() + timedelta(minutes=4)
        await session.execute(update(Credential).values(expires_at=soon))
    assert (await worker(notes, row_id, provider).values())["access_token"] == "access-2"


async def test_a_worker_that_was_killed_while_it_renewed_blocks_nobody_for_long(notes, monkeypatch):
    provider = RotatingProvider()
    row_id = await kept(notes)
    monkeypatch.setattr(held_secrets, "POLLS", 3)
    for until, waits in ((timedelta(seconds=60), True), (timedelta(seconds=-1), False)):
        async with notes.engine.db.write() as session:
            await session.execute(
                update(Credential).values(lease_owner="dead", lease_until=clock.now() + until)
            )
        if waits:
            with pytest.raises(SourceWait):
                await worker(notes, row_id, provider).values()
        else:
            assert (await worker(notes, row_id, provider).values())["access_token"] == "access-1"


async def test_a_grant_that_ended_asks_for_a_person_and_is_not_tried_on(notes):
    provider = RotatingProvider()
    provider.is_dead = True
    row_id = await kept(notes)
    for _ in range(2):
        with pytest.raises(SourceRefused, match="invalid_grant") as caught:
            await worker(notes, row_id, provider).values()
        assert caught.value.login
        provider.is_dead, provider.number = False, 7  # it would answer; nobody asks
    info = await notes.engine.credentials.get(notes.owner, "it")
    assert (info.state, info.error) == ("needs_login", "invalid_grant: sign in again")
    provider.number = 0
    await notes.engine.credentials.replace(notes.owner, "it", secret={"refresh_token": "refresh-0"})
    assert (await worker(notes, row_id, provider).values())["access_token"] == "access-1"


async def test_a_secret_given_while_the_old_one_was_renewed_is_what_counts(notes):
    provider = RotatingProvider()
    row_id = await kept(notes)
    renew = provider.renew

    async def meanwhile(method: str, values: Mapping[str, str]) -> Renewed:
        provider.renew = renew  # type: ignore[method-assign]
        await notes.engine.credentials.replace(
            notes.owner, "it", method="fixed", secret={"refresh_token": "given meanwhile"}
        )
        return await renew(method, values)

    provider.renew = meanwhile  # type: ignore[method-assign]
    found = await worker(notes, row_id, provider).values()
    assert found == {"refresh_token": "given meanwhile"}


async def test_a_static_secret_takes_no_lease(notes, monkeypatch):
    row_id = await kept(notes, "fixed")

    def never(*_: object) -> None:
        raise AssertionError("a lease")

    monkeypatch.setattr(StoredSecret, "_take_lease", never)
    one = worker(notes, row_id, RotatingProvider())
    assert await one.values() == {"refresh_token": "refresh-0"}
    with pytest.raises(SourceRefused, match="credential"):
        await one.refused()
