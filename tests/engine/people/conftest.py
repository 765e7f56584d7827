"""A tenant with its owner, people who can sign in, and who signs them in."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from engine.access import gate
from engine.db.session import Database
from engine.db.tables import User
from engine.domain import Principal, Role
from engine.limits import SqlLimits
from engine.people import members, passwords, tenants
from engine.people.sessions import SignedIn, SignInClient
from engine.people.sign_in import SignIn
from engine.secrets import Secrets
from tests.fakes.smtp_server import no_mail

PASSWORD = "plum kettle orbit 42"
ISSUER = "https://ask.example.com"
HOME = SignInClient(address="192.0.2.7", agent="Firefox")


@dataclass
class Site:
    """One tenant's people and the object that signs them in."""

    db: Database
    owner: Principal
    secrets: Secrets
    sign_in: SignIn

    async def join(self, name: str, role: Role = Role.MEMBER, password: str = PASSWORD) -> str:
        """A member with a password; their user id."""
        kept = await passwords.hash_password(password)
        async with self.db.write() as session:
            member = await members.add_member(
                session, self.owner, email=f"{name}@x.org", name=name, role=role
            )
            (await session.get_one(User, member.user_id)).password_hash = kept
        return member.user_id

    async def enter(
        self, name: str, password: str = PASSWORD, *, kind: str = "api", **client: str
    ) -> SignedIn:
        return await self.sign_in.with_password(
            f"{name}@x.org",
            password,
            kind=kind,
            client=SignInClient(**({"address": HOME.address} | client)),
        )

    async def who(self, user_id: str) -> Principal:
        async with self.db.read() as session:
            return await gate.principal_of_user(session, self.owner.tenant_id, user_id)


@pytest.fixture
async def owner(database: Database) -> Principal:
    tenant, person = await tenants.ensure_default(database)
    async with database.read() as session:
        return await gate.principal_of_user(session, tenant.id, person.user_id)


@pytest.fixture
def site(database: Database, owner: Principal) -> Site:
    secrets = Secrets(["k" * 40])
    return Site(
        database,
        owner,
        secrets,
        SignIn(database, secrets, SqlLimits(database), no_mail(database, secrets), issuer=ISSUER),
    )
