"""One person invited, given a role, shared with, and revoked: at REST, the console, the command line
and in chat. What each door does holds at all the others at once, also for an answer on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from cli.main import main
from cli.serve import build_host
from engine.chats.callers import Caller
from engine.chats.senders import Sender
from engine.commands import runner
from engine.commands.table import parse
from engine.documents.adding import NewDocument
from tests.api.test_mail_story import FORM, PASSWORD, Site, bearer, join, open_site
from tests.fakes.homes import home_settings, this_user
from tests.fakes.smtp_server import open_mail_server

QUESTION = "When does the ferry leave?"
PAGE = b"# Ferry\n\nThe ferry leaves at nine in the morning."


@dataclass
class Story:
    site: Site
    console: httpx2.AsyncClient  # the owner at their own machine

    async def token(self) -> str:
        """What Ada's program holds: it signed in once, and nothing renews it below."""
        said = {"email": "ada@example.com", "password": PASSWORD}
        answer = await self.site.client.post("/api/v1/user/login", json=said)
        return str(answer.json()["access_token"])

    async def sees(self, token: str) -> tuple[bool, bool]:
        """Whether Ada is answered, and whether the knowledge base is listed for her."""
        client, headers = self.site.client, bearer(token)
        asked = await client.post("/api/v1/ask", json={"question": QUESTION}, headers=headers)
        assert asked.status_code == 200, asked.text
        listed = (await client.get("/api/v1/knowledge_bases", headers=headers)).json()
        names = [kb["name"] for kb in listed["knowledge_bases"]]
        return bool(asked.json()["citations"]), "harbour" in names

    async def in_chat(self, line: str) -> None:
        """A command of an admin in a workspace."""
        owner = await self.site.engine.people.owner()
        caller = Caller(owner, Sender(owner.tenant_id, "", "", None))
        await runner.run(self.site.engine, caller, parse(line))

    async def on_the_command_line(self, *words: str) -> None:
        """A command in another process's place: it opens the data folder for itself."""
        home = str(self.site.engine.settings.home)
        assert await asyncio.to_thread(main, ["--home", home, *words]) == 0


@pytest.fixture
async def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Story]:
    monkeypatch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")
    async with open_mail_server() as server, open_site(tmp_path, server) as site:
        app = build_host(site.engine, home_settings(tmp_path), keyless=this_user)
        wire = httpx2.ASGITransport(app, client=("127.0.0.1", 40000), raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=wire, base_url="http://127.0.0.1:7337") as console,
        ):
            yield Story(site, console)


async def test_invited_assigned_shared_and_revoked_each_at_another_door_holds_at_all(
    story: Story,
) -> None:
    site, engine = story.site, story.site.engine
    owner = await engine.people.owner()
    await engine.knowledge_bases.create(owner, "harbour", grants=())
    await engine.knowledge_bases.grant(owner, "harbour", "user:Owner")
    owner = await engine.people.owner()
    await engine.documents.add(owner, "harbour", NewDocument(data=PAGE, filename="ferry.md"))
    await site.work()

    await join(site)  # invited over REST, joined from the mail
    token = await story.token()
    assert await story.sees(token) == (False, False)

    await story.on_the_command_line("kb", "grant", "harbour", "user:ada@example.com")
    assert await story.sees(token) == (True, True)
    assert (await add_page(story, token)).status_code == 403  # a member reads

    ada = next(m for m in await engine.people.list_members(owner) if m.email == "ada@example.com")
    role = {"do": "role", "role": "curator"}
    sent = await story.console.post(f"/console/people/{ada.user_id}", data=role, headers=FORM_HERE)
    assert sent.status_code == 303, sent.text
    assert (await add_page(story, token)).status_code in {201, 202}  # a curator writes, same token

    asked = site.client.post("/api/v1/ask", json={"question": QUESTION}, headers=bearer(token))
    running = asyncio.create_task(asked)
    await story.in_chat("revoke harbour user:ada@example.com")
    ended = await running  # finished before, or refused: never shown afterwards
    assert ended.status_code in {200, 409}
    assert await story.sees(token) == (False, False)
    assert (await add_page(story, token)).status_code == 404  # it looks absent

    headers = await site.owner_headers()
    gone = await site.client.delete(f"/api/v1/members/{ada.user_id}", headers=headers)
    assert gone.status_code == 200
    refused = await site.client.get("/api/v1/knowledge_bases", headers=bearer(token))
    assert refused.status_code == 401


FORM_HERE = FORM | {"origin": "http://127.0.0.1:7337"}


async def add_page(story: Story, token: str) -> httpx2.Response:
    """Ada's program adds a file to the knowledge base."""
    return await story.site.client.post(
        "/api/v1/knowledge_bases/harbour/documents",
        files={"file": ("tide.md", b"# Tide\n\nThe tide is high at noon.")},
        headers=bearer(token),
    )
