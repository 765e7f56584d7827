"""A data folder with a few pages in it, ingested by a real worker with the hashing embedder."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from engine.config import load_settings
from engine.documents.adding import NewDocument
from engine.domain import Role, Scope
from engine.engine import Engine
from engine.people import api_tokens, members
from engine.runtime import open_engine
from engine.settings import Settings
from ingestion.host import run_worker

PAGES = {
    "leave.md": "# Sick leave\n\nYou can request up to 240 hours of advanced sick leave.\n",
    "hotels.md": "# Hotels\n\nBook hotels below the *lodging rate* of the city. <b>Always.</b>\n",
    "backup.md": "# Backups\n\nThe backup of the shop runs at four in the morning.\n",
}
OTHER = "guest@example.com"
SECRET_PAGE = "# Salaries\n\nThe salary of the chief gardener is 81,000 rupees.\n"


def home_settings(home: Path, **overrides: object) -> Settings:
    """The settings of a test's data folder; `server__port=0` overrides server.port."""
    dotted = {name.replace("__", "."): value for name, value in overrides.items()}
    return load_settings(home, None, {"embedding.model": "hashing"} | dotted)


async def fill(settings: Settings, pages: Mapping[str, str] = PAGES) -> None:
    """Ingest the pages into `team`, which all members read, and a secret one for the owner alone."""
    async with open_engine(settings) as engine:
        owner = await engine.people.owner()
        await engine.knowledge_bases.create(owner, "team", description="What everyone needs.")
        await engine.knowledge_bases.create(owner, "board", grants=[f"u:{owner.user_id}"])
        owner = await engine.people.owner()
        new = [
            NewDocument(data=text.encode(), filename=name, external_id=name)
            for name, text in pages.items()
        ]
        await engine.documents.add_many(owner, "team", new)
        secret = NewDocument(data=SECRET_PAGE.encode(), filename="salaries.md")
        await engine.documents.add(owner, "board", secret)
        await run_worker(engine, asyncio.Event(), idle_exit_s=0)
        listed = (await engine.documents.page(owner)).documents
        states = {document.title: document.state for document in listed}
        if set(states.values()) != {"ready"}:
            raise RuntimeError(f"the pages were not ingested: {states}")


async def make_token(engine: Engine, *scopes: Scope) -> str:
    """A token of the local owner; reads and asks unless scopes are named."""
    secret, _ = await engine.people.create_token(
        await engine.people.owner(), "test", scopes=scopes or (Scope.KB_READ, Scope.KB_ASK)
    )
    return secret


async def make_member_token(engine: Engine, *scopes: Scope) -> str:
    """A token of a member who is not the owner and reads only what all members read."""
    owner = await engine.people.owner()
    async with engine.db.write() as session:
        known = {m.email: m for m in await members.list_members(session, owner)}
        member = known.get(OTHER) or await members.add_member(
            session, owner, email=OTHER, role=Role.MEMBER
        )
        secret, _ = await api_tokens.create_token(
            session,
            owner,
            "member",
            scopes=scopes or (Scope.KB_READ, Scope.KB_ASK),
            user_id=member.user_id,
        )
    return secret


def this_user(*_: object) -> bool:
    """Takes every peer for the user who runs Scrubjay, for requests that cross no network."""
    return True
