"""Subjects of identity providers: whom they act for, and who stays outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from engine.db.tables import Identity, User
from engine.domain import Role, Scope
from engine.engine import Engine
from engine.errors import Forbidden, Unauthenticated
from engine.people.subjects import Subject
from engine.runtime import open_engine
from tests.fakes.homes import home_settings

ISSUER = "https://login.example.com/" + "a" * 60
READ = frozenset({Scope.KB_READ})


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with open_engine(home_settings(tmp_path)) as opened:
        await opened.people.add_member(await opened.people.owner(), "ada@example.com")
        yield opened


async def test_a_verified_address_finds_its_member_once_and_the_subject_from_then_on(
    engine: Engine,
) -> None:
    first = await engine.people.principal_of_subject(
        "default", Subject(ISSUER, "sub-1", "Ada@example.com", READ)
    )
    later = await engine.people.principal_of_subject("default", Subject(ISSUER, "sub-1", "", READ))
    assert (first.name, first.role, first.scopes) == ("ada", Role.MEMBER, READ)
    assert later == first
    async with engine.db.read() as session:
        assert len(list(await session.scalars(select(Identity)))) == 1


async def test_scopes_of_a_token_never_widen_the_role(engine: Engine) -> None:
    every = frozenset(Scope)
    who = Subject(ISSUER, "sub-1", "ada@example.com", every)
    principal = await engine.people.principal_of_subject("default", who)
    assert principal.scopes == {Scope.KB_READ, Scope.KB_ASK}


@pytest.mark.parametrize("email", ["", "eve@example.com", "Owner"])
async def test_nobody_becomes_a_member_by_signing_in(engine: Engine, email: str) -> None:
    with pytest.raises(Forbidden, match="is not a member here"):
        await engine.people.principal_of_subject("default", Subject(ISSUER, "sub-2", email, READ))


async def test_a_name_that_looks_like_an_address_is_nobodys_address(engine: Engine) -> None:
    async with engine.db.write() as session:
        ada = (await session.scalars(select(User).where(User.email == "ada@example.com"))).one()
        ada.name = "boss@example.com"
    with pytest.raises(Forbidden):
        await engine.people.principal_of_subject(
            "default", Subject(ISSUER, "sub-3", "boss@example.com", READ)
        )


async def test_the_same_subject_of_another_issuer_is_somebody_else(engine: Engine) -> None:
    await engine.people.principal_of_subject(
        "default", Subject(ISSUER, "sub-1", "ada@example.com", READ)
    )
    with pytest.raises(Forbidden):
        await engine.people.principal_of_subject(
            "default", Subject(ISSUER + "b", "sub-1", "", READ)
        )


async def test_a_removed_member_stays_outside(engine: Engine) -> None:
    who = Subject(ISSUER, "sub-1", "ada@example.com", READ)
    await engine.people.principal_of_subject("default", who)
    await engine.people.remove_member(await engine.people.owner(), "ada@example.com")
    with pytest.raises(Forbidden):
        await engine.people.principal_of_subject("default", who)


async def test_a_token_without_a_subject_is_refused(engine: Engine) -> None:
    with pytest.raises(Unauthenticated):
        await engine.people.principal_of_subject(
            "default", Subject(ISSUER, "", "ada@example.com", READ)
        )


async def test_a_second_subject_with_the_same_address_takes_nothing_over(engine: Engine) -> None:
    await engine.people.principal_of_subject(
        "default", Subject(ISSUER, "sub-1", "ada@example.com", READ)
    )
    other = Subject(ISSUER, "sub-2", "ada@example.com", READ)
    with pytest.raises(Forbidden, match="linked to another account"):
        await engine.people.principal_of_subject("default", other)
    async with engine.db.read() as session:
        assert list(await session.scalars(select(Identity.subject))) == ["sub-1"]


async def test_an_admin_lets_a_member_sign_in_with_a_new_account(engine: Engine) -> None:
    old, new = (Subject(ISSUER, name, "ada@example.com", READ) for name in ("sub-1", "sub-2"))
    first = await engine.people.principal_of_subject("default", old)
    member, gone = await engine.people.unlink_member(await engine.people.owner(), "ada@example.com")
    assert (member.user_id, gone) == (first.user_id, 1)
    assert await engine.people.principal_of_subject("default", new) == first
    with pytest.raises(Forbidden, match="linked to another account"):
        await engine.people.principal_of_subject("default", old)


async def test_only_an_admin_unlinks(engine: Engine) -> None:
    ada = await engine.people.principal_of_subject(
        "default", Subject(ISSUER, "sub-1", "ada@example.com", READ)
    )
    with pytest.raises(Forbidden):
        await engine.people.unlink_member(ada, "ada@example.com")
