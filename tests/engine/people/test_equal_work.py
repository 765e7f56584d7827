"""Whether an address has an account shows in no work that is done: statements, jobs, comparisons."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine as SqlEngine
from sqlalchemy import event, func, select

from engine.db.tables import Job
from engine.errors import Unauthenticated
from engine.limits import SqlLimits
from engine.mail.mail import Mail
from engine.people import members, passwords
from engine.people.inviting import MailedLinks
from engine.settings import MailSettings
from tests.engine.people.conftest import HOME, Site

WHO = ("ada", "nobody", "off", "invited")


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements that any database is sent meanwhile, by their first words."""
    sent: list[str] = []

    def note(connection: object, cursor: object, statement: str, *more: object) -> None:
        sent.append(" ".join(statement.split()[:3]))

    event.listen(SqlEngine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(SqlEngine, "before_cursor_execute", note)


async def people(site: Site) -> None:
    await site.join("ada")
    off, invited = await site.join("off"), await site.join("invited")
    async with site.db.write() as session:
        await members.set_active(session, site.owner, off, active=False)
        from engine.db.tables import User

        (await session.get_one(User, invited)).password_hash = None


async def work_of(doing: Callable[[], Awaitable[object]]) -> tuple[list[str], int]:
    """What is sent to the database, and how many passwords are compared."""
    compared = 0
    matches = passwords._matches

    def counted(kept: str, given: str) -> bool:
        nonlocal compared
        compared += 1
        return matches(kept, given)

    with pytest.MonkeyPatch.context() as patch, statements() as sent:
        patch.setattr(passwords, "_matches", counted)
        await doing()
    return sent, compared


async def test_asking_for_a_reset_does_the_same_for_any_address(site: Site):
    await people(site)
    settings = MailSettings(host="127.0.0.1", sender="kb@example.com")
    mail = Mail(site.db, site.secrets, settings, public_url="https://ask.example.com")
    links = MailedLinks(site.db, site.secrets, SqlLimits(site.db), mail)
    seen, jobs = [], []
    for name in (*WHO, *WHO):  # each twice: the second is not the first of a minute
        seen.append(await work_of(lambda name=name: links.request_reset(f"{name}@x.org", HOME)))
        async with site.db.read() as session:
            jobs.append(await session.scalar(select(func.count()).select_from(Job)))
    assert [item for item in seen[1:4] if item != seen[0]] == []
    assert [item for item in seen[5:] if item != seen[4]] == []
    assert seen[0][0]
    assert jobs == list(range(1, 9))


async def test_a_refused_sign_in_does_the_same_for_any_address(site: Site):
    await people(site)

    async def refused(name: str) -> None:
        with pytest.raises(Unauthenticated):
            await site.enter(name, "wrong")

    seen = [await work_of(lambda name=name: refused(name)) for name in (*WHO, *WHO)]
    assert [compared for _, compared in seen] == [1] * 8
    # A row of the audit log is two statements more than a look at its head: never a comparison.
    writes = [[item for item in sent if item.startswith("BEGIN")] for sent, _ in seen]
    assert [item for item in writes[1:4] if item != writes[0]] == []
    counts = [len(sent) for sent, _ in seen]
    assert max(counts[:4]) - min(counts[:4]) <= 2
    assert len(set(counts[4:])) == 1
