"""The accounts of people on chat platforms: what is known of them, and which members they are.

Only an import links accounts by address; on a connected workspace people link their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.access.principals import EXTERNAL
from engine.chats.batches import batches
from engine.chats.derivation import channels_of, derive_again
from engine.chats.freshness import placed_since
from engine.chats.places import Place
from engine.db.tables import Identity, Membership, Message, User
from engine.domain import Principal, Scope
from engine.errors import Forbidden, InvalidInput, NotFound


@dataclass(frozen=True, slots=True)
class NewPerson:
    """An account: `subject` is the platform's id. Guests and external people are no full members."""

    subject: str
    name: str
    is_full_member: bool = False
    is_external: bool = False  # of another organisation; else, if no full member, a guest
    email: str = ""


async def put_people(
    session: AsyncSession,
    place: Place,
    people: Iterable[NewPerson],
    *,
    at: datetime | None = None,
) -> dict[str, str]:
    """Identity ids by subject. The messages of a person with a new name are derived again.

    With `at`, when people were asked about, those who were placed since stay as they are.
    """
    people = {person.subject: person for person in people}.values()
    placed = await placed_since(session, place, at)
    known: dict[str, Identity] = {}
    for some in batches([person.subject for person in people]):
        rows = await session.scalars(
            select(Identity).where(
                Identity.tenant_id == place.tenant_id,
                Identity.provider == place.provider,
                Identity.subject.in_(some),
            )
        )
        known |= {row.subject: row for row in rows}
    renamed = []
    for person in people:
        name = person.name[:200]
        row = known.get(person.subject)
        if row is None:
            row = known[person.subject] = Identity(
                id=clock.new_id(),
                tenant_id=place.tenant_id,
                provider=place.provider,
                subject=person.subject,
                workspace_id=place.workspace_id,
                name=name,
                is_full_member=person.is_full_member,
                platform_role=EXTERNAL if person.is_external else "",
            )
            session.add(row)
            continue
        if row.id in placed:
            continue
        if name and row.name != name:
            renamed.append(person.subject)
        row.name, row.is_full_member = name or row.name, person.is_full_member
        row.workspace_id = place.workspace_id
        if person.is_external or row.platform_role == EXTERNAL:
            row.platform_role = EXTERNAL if person.is_external else ""
    await session.flush()
    for some in batches(renamed):
        theirs = and_(channels_of(place.workspace_id), Message.author.in_(some))
        await derive_again(session, place.tenant_id, theirs)
    return {subject: row.id for subject, row in known.items()}


async def only_people(
    session: AsyncSession, place: Place, subjects: Collection[str], *, at: datetime
) -> None:
    """These were everyone in the workspace at `at`: nobody else is a full member of it."""
    present, placed = set(subjects), await placed_since(session, place, at)
    rows = await session.scalars(
        select(Identity).where(
            Identity.tenant_id == place.tenant_id,
            Identity.provider == place.provider,
            Identity.workspace_id == place.workspace_id,
            Identity.is_full_member.is_(True),
        )
    )
    for row in rows:
        if row.subject not in present and row.id not in placed:
            row.is_full_member = False
    await session.flush()


async def identity_id_of(session: AsyncSession, place: Place, subject: str) -> str | None:
    """Our id of an account, None where it is not known."""
    return (await identity_ids_of(session, place, [subject])).get(subject)


async def identity_ids_of(
    session: AsyncSession, place: Place, subjects: Collection[str]
) -> dict[str, str]:
    """Our ids of accounts, by the platform's; unknown ones are left out."""
    found: dict[str, str] = {}
    for some in batches(sorted(set(subjects))):
        rows = await session.execute(
            select(Identity.subject, Identity.id).where(
                Identity.tenant_id == place.tenant_id,
                Identity.provider == place.provider,
                Identity.subject.in_(some),
            )
        )
        found |= {row.subject: row.id for row in rows}
    return found


async def link_by_email(session: AsyncSession, place: Place, people: Iterable[NewPerson]) -> int:
    """Link accounts of an import to the tenant's members with the same address; says how many."""
    if place.provider == place.platform:
        raise Forbidden("People of a connected workspace link their own accounts.")
    subjects = {person.email.lower(): person.subject for person in people if person.email}
    linked = 0
    for some in batches(sorted(subjects)):
        rows = await session.execute(
            select(User.id, User.email)
            .join(Membership, Membership.user_id == User.id)
            .where(Membership.tenant_id == place.tenant_id, User.email.in_(some))
        )
        for user_id, email in rows.all():
            await session.execute(
                update(Identity)
                .where(
                    Identity.tenant_id == place.tenant_id,
                    Identity.provider == place.provider,
                    Identity.subject == subjects[email or ""],
                )
                .values(user_id=user_id)
            )
            linked += 1
    return linked


async def admit_importer(session: AsyncSession, principal: Principal, place: Place) -> None:
    """Let the person who imports an export read its public channels: they hold the file already."""
    if principal.user_id is None:
        raise Forbidden(
            "Only members can import an export: link this account to a membership first."
        )
    subject = f"importer:{principal.user_id}"
    person = NewPerson(subject, principal.name, is_full_member=True)
    ids = await put_people(session, place, [person])
    await session.execute(
        update(Identity).where(Identity.id == ids[subject]).values(user_id=principal.user_id)
    )


@dataclass(frozen=True, slots=True)
class PersonInfo:
    """An account, for admins: `subject` is the platform's id."""

    workspace_id: str
    subject: str
    name: str


async def find_person(session: AsyncSession, principal: Principal, ref: str) -> PersonInfo:
    """An account of the tenant's workspaces by the platform's id, or by a name only it has."""
    gate.require(principal, Scope.KB_ADMIN)
    name = ref.removeprefix("@")
    rows = (
        await session.execute(
            select(Identity.workspace_id, Identity.subject, Identity.name)
            .where(
                Identity.tenant_id == principal.tenant_id,
                Identity.workspace_id.is_not(None),
                or_(Identity.subject == name, Identity.name == name),
            )
            .limit(2)
        )
    ).all()
    if not rows:
        raise NotFound(f"No one called {ref!r} is in any workspace.")
    if len(rows) > 1:
        raise InvalidInput(f"Several people are called {ref!r}: use an id.", field="person")
    return PersonInfo(rows[0][0] or "", rows[0][1], rows[0][2])
