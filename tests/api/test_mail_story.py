"""Mail through the doors: invitations, forgotten passwords, addresses, notices, and failing servers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import delete, select, update

from cli.serve import build_host
from engine import clock
from engine.db.tables import Ephemeral, Job
from engine.domain import JobState
from engine.engine import Engine
from engine.errors import ConfigurationError, MailRefused
from engine.jobs.kinds import MAIL
from engine.runtime import open_engine
from ingestion.host import run_worker
from tests.fakes.homes import home_settings
from tests.fakes.smtp_server import MailServer, open_mail_server

URL = "https://ask.example.com"
FORM = {"accept": "text/html", "origin": URL}
PASSWORD = "plum kettle orbit 42"
NEW = "seven grey lanterns sing"


@dataclass
class Site:
    engine: Engine
    client: httpx2.AsyncClient
    server: MailServer

    async def work(self) -> None:
        """Be the worker until nothing is due."""
        await run_worker(self.engine, asyncio.Event(), idle_exit_s=0)

    async def work_until_refused(self) -> None:
        """Be the worker until a job waits for another try."""
        stop = asyncio.Event()
        working = asyncio.create_task(run_worker(self.engine, stop))
        async with asyncio.timeout(60):
            while not any(job.error for job in await self.jobs()):  # noqa: ASYNC110 (it has no event)
                await asyncio.sleep(0.05)
        stop.set()
        await working

    async def next_link(self) -> str:
        """The secret in the last message."""
        await self.work()
        url = self.server.links()[-1]
        assert url.startswith(URL)
        return url.partition("#")[2]

    async def owner_headers(self) -> dict[str, str]:
        """The owner, who signed in and has just confirmed it."""
        owner = await self.engine.people.owner()
        if await self.engine.people.sign_in.needs_owner():
            link = await self.engine.people.sign_in.make_owner_link(owner)
            form = {"link": link, "email": "chief@example.com", "password": PASSWORD}
            assert (await self.client.post("/welcome", data=form, headers=FORM)).status_code == 303
            self.client.cookies.clear()
        said = {"email": "chief@example.com", "password": PASSWORD}
        token = (await self.client.post("/api/v1/user/login", json=said)).json()["access_token"]
        confirmed = await self.client.post(
            "/api/v1/user/step_up", json={"password": PASSWORD}, headers=bearer(token)
        )
        return bearer(confirmed.json()["access_token"])

    async def jobs(self) -> list[Job]:
        async with self.engine.db.read() as session:
            return list(await session.scalars(select(Job).order_by(Job.id)))


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def settings_of(home: Path, port: int, **more: object):
    chosen = {
        "mail__host": "127.0.0.1",
        "mail__port": port,
        "mail__security": "plain",
        "mail__sender": "Scrubjay <kb@example.com>",
        "server__public_url": URL,
    }
    return home_settings(home, **(chosen | more))


@asynccontextmanager
async def open_site(home: Path, server: MailServer, **more: object) -> AsyncIterator[Site]:
    settings = settings_of(home, server.port, **more)
    async with open_engine(settings) as engine:
        app = build_host(engine, settings, keyless=None)
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url=URL) as client,
        ):
            yield Site(engine, client, server)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with open_mail_server() as server, open_site(tmp_path, server) as opened:
        yield opened


async def invite(site: Site, email="ada@example.com", **more: object) -> httpx2.Response:
    body = {"email": email} | more
    headers = await site.owner_headers()
    return await site.client.post("/api/v1/invitations", json=body, headers=headers)


async def join(site: Site, email="ada@example.com") -> None:
    assert (await invite(site, email)).status_code == 201
    form = {"link": await site.next_link(), "name": "Ada", "password": PASSWORD}
    assert (await site.client.post("/invitation", data=form, headers=FORM)).status_code == 303
    site.client.cookies.clear()


async def test_an_invited_person_joins_from_the_mail(site: Site) -> None:
    made = await invite(site, "zoë@example.com".replace("ë", "e"), role="curator")
    assert made.status_code == 201
    assert "url" not in made.json()  # only the mailbox has the link
    link = await site.next_link()
    [message] = site.server.taken
    assert (message["to"], message["from"]) == (
        "zoe@example.com",
        "Scrubjay <kb@example.com>",
    )
    html = message.get_body(("html",)).get_content()
    assert f"{URL}/invitation#{link}" in html
    assert "newest link" in message.get_body(("plain",)).get_content()
    job = next(job for job in await site.jobs() if job.kind == MAIL)
    assert (message["message-id"], job.payload) == (f"<{job.id}@example.com>", {})

    page = await site.client.get("/invitation", headers=FORM)  # as a mail scanner opens it
    assert page.status_code == 200
    assert len(await listed(site)) == 1
    wrong = {"link": link, "name": "Zoe", "password": "short"}
    refused = await site.client.post("/invitation", data=wrong, headers=FORM)
    assert refused.status_code == 422
    assert f'value="{link}"' in refused.text  # it need not be pasted again
    form = wrong | {"password": PASSWORD}
    entered = await site.client.post("/invitation", data=form, headers=FORM)
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    shown = await site.client.get("/account", headers=FORM)
    assert "Your role: curator." in shown.text
    assert "not confirmed as your address" not in shown.text
    again = await site.client.post("/invitation", data=form, headers={"origin": URL})
    assert again.status_code == 403  # signed in now: the form needs the page's token
    site.client.cookies.clear()
    assert (await site.client.post("/invitation", data=form, headers=FORM)).status_code == 410


async def listed(site: Site) -> list[dict[str, object]]:
    headers = await site.owner_headers()
    found = await site.client.get("/api/v1/invitations", headers=headers)
    return found.json()["invitations"]


async def test_programs_invite_take_back_and_accept(site: Site) -> None:
    await invite(site, "ada@example.com")
    first = await site.next_link()
    headers = await site.owner_headers()
    gone = await site.client.delete("/api/v1/invitations/ada@example.com", headers=headers)
    assert gone.json() == {"revoked": "ada@example.com"}
    body = {"link": first, "name": "Ada", "password": PASSWORD}
    refused = await site.client.post("/api/v1/invitations/accept", json=body)
    assert (refused.status_code, refused.json()["code"]) == (410, "link_expired")
    assert await listed(site) == []

    await invite(site, "ada@example.com")
    body["link"] = await site.next_link()
    as_owner = await site.client.post(
        "/api/v1/invitations/accept", json=body, headers=await site.owner_headers()
    )
    assert as_owner.status_code == 409
    joined = await site.client.post("/api/v1/invitations/accept", json=body)
    token = joined.json()["access_token"]
    me = await site.client.get("/api/v1/user", headers=bearer(token))
    assert (me.json()["name"], me.json()["role"]) == ("Ada", "member")
    for who in (bearer(token), {}):
        refused = await site.client.post(
            "/api/v1/invitations", json={"email": "b@example.com"}, headers=who
        )
        assert refused.status_code in {401, 403}


async def test_a_forgotten_password_is_set_by_mail_once(site: Site) -> None:
    await join(site)
    page = await site.client.get("/sign-in", headers=FORM)
    assert 'href="/forgotten-password"' in page.text
    sent = await site.client.post(
        "/forgotten-password", data={"email": "Ada@example.com"}, headers=FORM
    )
    assert "If an account has this address" in sent.text
    link = await site.next_link()
    form = {"link": link, "password": NEW}
    done = await site.client.post("/set-password", data=form, headers=FORM)
    assert "Your password is set" in done.text
    assert (await site.client.post("/set-password", data=form, headers=FORM)).status_code == 410
    said = {"email": "ada@example.com", "password": NEW}
    assert (await site.client.post("/api/v1/user/login", json=said)).status_code == 200
    await site.work()
    notice = site.server.taken[-1]
    assert (notice["subject"], notice["to"]) == ("Your password was changed", "ada@example.com")
    assert link not in notice.as_string()


async def test_nobody_learns_from_a_reset_who_has_an_account(site: Site) -> None:
    """The answer, and the work behind it, are the same: a job looks the address up."""
    await join(site)
    await join(site, "gone@example.com")
    owner = await site.engine.people.owner()
    await site.engine.people.change_member(owner, "gone@example.com", active=False)
    before = len(site.server.taken)
    answers, rows = [], []
    for email in ("ada@example.com", "gone@example.com", "nobody@elsewhere.example"):
        known = {job.id for job in await site.jobs()}
        found = await site.client.post("/api/v1/user/password_reset", json={"email": email})
        answers.append((found.status_code, found.json(), sorted(found.headers)))
        [new] = [job for job in await site.jobs() if job.id not in known]
        rows.append((new.kind, new.lane, new.tenant_id, len(new.payload["sealed"]) // 40))
        assert email not in str(new.payload)
    assert answers[0] == answers[1] == answers[2]
    assert rows[0] == rows[1] == rows[2]
    assert answers[0][0] == 202
    await site.work()
    assert [str(m["to"]) for m in site.server.taken[before:]] == ["ada@example.com"]
    assert all(job.payload == {} for job in await site.jobs() if "sealed" in job.payload)


async def test_a_mailbox_is_not_filled_by_others(site: Site) -> None:
    codes = []
    for _ in range(5):
        found = await site.client.post(
            "/api/v1/user/password_reset", json={"email": "nobody@example.com"}
        )
        codes.append(found.status_code)
    assert codes == [202, 202, 202, 429, 429]


async def test_an_address_is_confirmed_by_its_mail(site: Site) -> None:
    headers = await site.owner_headers()
    form = {"email": "chief@example.com", "password": PASSWORD}
    await site.client.post("/sign-in", data=form, headers=FORM)
    page = await site.client.get("/account", headers=FORM)
    assert "chief@example.com is not confirmed" in page.text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
    sent = await site.client.post("/account/address", data={"csrf": csrf}, headers=FORM)
    assert "on its way to chief@example.com" in sent.text
    link = await site.next_link()
    assert (await site.client.get("/confirm-address", headers=FORM)).status_code == 200
    page = await site.client.get("/account", headers=FORM)
    assert "chief@example.com is not confirmed" in page.text  # looking at a link uses nothing
    done = await site.client.post("/confirm-address", data={"link": link}, headers=FORM)
    assert "chief@example.com is confirmed" in done.text
    used = await site.client.post("/confirm-address", data={"link": link}, headers=FORM)
    assert used.status_code == 410
    again = await site.client.post("/api/v1/user/email", headers=headers)
    assert again.status_code == 409


async def test_a_refusal_for_now_is_tried_again_as_the_same_message(site: Site) -> None:
    site.server.replies += ["451 try later", "250 taken"]
    await invite(site)
    await site.work_until_refused()
    [job] = [job for job in await site.jobs() if job.kind == MAIL]
    assert (job.state, site.server.taken) == (JobState.QUEUED, [])
    assert (job.run_at - clock.now()).total_seconds() > 30
    assert "451 try later" in job.error
    async with site.engine.db.write() as session:
        await session.execute(update(Job).values(run_at=clock.now()))
    link = await site.next_link()
    assert link.startswith("sj_invite_")
    assert site.server.taken[0]["message-id"] == f"<{job.id}@example.com>"


async def test_a_refusal_for_good_ends_the_message_and_what_it_held(site: Site) -> None:
    site.server.replies += ["550 no such user"]
    await invite(site)
    await site.work()
    [job] = [job for job in await site.jobs() if job.kind == MAIL]
    assert (job.state, job.payload) == (JobState.FAILED, {})
    assert "550 no such user" in job.error


async def test_programs_and_owners_try_the_mail_server(site: Site) -> None:
    headers = await site.owner_headers()
    body = {"to": "me@example.com"}
    sent = await site.client.post("/api/v1/mail/test", json=body, headers=headers)
    assert sent.json() == {"sent": "me@example.com", "server": f"127.0.0.1:{site.server.port}"}
    assert [str(m["subject"]) for m in site.server.taken] == ["Scrubjay can send mail"]
    site.server.replies += ["554 policy"]
    refused = await site.client.post("/api/v1/mail/test", json=body, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (502, "mail_refused")
    for wrong in ("a@b\r\nBcc: c@d", "nobody"):
        faulty = await site.client.post("/api/v1/mail/test", json={"to": wrong}, headers=headers)
        assert faulty.status_code == 422
    await join(site)
    said = {"email": "ada@example.com", "password": PASSWORD}
    token = (await site.client.post("/api/v1/user/login", json=said)).json()["access_token"]
    assert (
        await site.client.post("/api/v1/mail/test", json=body, headers=bearer(token))
    ).status_code == 403


async def test_no_password_leaves_in_clear(tmp_path: Path) -> None:
    """STARTTLS is asked of a server that has none: nothing is said to it, and it is said why."""
    async with open_mail_server() as server:
        settings = settings_of(
            tmp_path,
            server.port,
            mail__security="starttls",
            mail__username="kb",
            mail__password="mail-server-password",
        )
        async with open_engine(settings) as engine:
            with pytest.raises(MailRefused, match="does not offer"):
                await engine.mail.test(await engine.people.owner(), "me@example.com")
            with pytest.raises(MailRefused, match="does not offer"):
                await engine.mail.check()
        assert (server.taken, server.signed_in) == ([], 0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mail__security": "plain", "mail__host": "mail.example.com"}, "on this machine"),
        ({"mail__sender": ""}, "mail.sender is empty"),
        ({"mail__sender": "nobody"}, "an address such as"),
        ({"mail__sender": "kb@example.com\nBcc: x@y"}, "an address such as"),
        ({"server__public_url": ""}, "server.public_url is empty"),
        ({"mail__username": "kb"}, "must be set together"),
    ],
)
def test_settings_that_can_not_work_refuse_the_start(
    tmp_path: Path, wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        settings_of(tmp_path, 25, **wrong)


async def test_without_a_mail_server_the_inviter_gets_the_link(tmp_path: Path) -> None:
    async with open_mail_server() as server, open_site(tmp_path, server, mail__host="") as site:
        made = await invite(site)
        assert made.json()["url"].startswith(f"{URL}/invitation#sj_invite_")
        page = await site.client.get("/sign-in", headers=FORM)
        assert "/forgotten-password" not in page.text
        asked = await site.client.post(
            "/api/v1/user/password_reset", json={"email": "ada@example.com"}
        )
        assert asked.status_code == 409
        async with site.engine.db.write() as session:
            await session.execute(delete(Ephemeral))
        assert [job.kind for job in await site.jobs()] == []
