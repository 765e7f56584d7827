"""Changing one's own address: by a link to the new one, and what it ends at the old one."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from engine.db.tables import AuditEvent
from tests.api.test_mail_story import FORM, NEW, PASSWORD, URL, Site, bearer, join, site

__all__ = ["site"]

CHANGE = "/api/v1/user/email/change"


async def confirmed(site: Site, email: str = "ada@example.com") -> dict[str, str]:
    said = {"email": email, "password": PASSWORD}
    token = (await site.client.post("/api/v1/user/login", json=said)).json()["access_token"]
    confirmed = await site.client.post(
        "/api/v1/user/step_up", json={"password": PASSWORD}, headers=bearer(token)
    )
    return bearer(confirmed.json()["access_token"])


async def request(site: Site, email: str, headers: dict[str, str]) -> str:
    asked = await site.client.post(CHANGE, json={"email": email}, headers=headers)
    assert (asked.status_code, asked.json()) == (202, {"email": email}), asked.text
    return await site.next_link()


async def can_sign_in(site: Site, email: str) -> bool:
    said = {"email": email, "password": PASSWORD}
    return (await site.client.post("/api/v1/user/login", json=said)).status_code == 200


async def test_a_new_address_proves_itself_and_the_old_one_is_told(site: Site):
    await join(site)
    headers = await confirmed(site)
    link = await request(site, "ada@new.example", headers)
    assert site.server.taken[-1]["to"] == "ada@new.example"
    assert await can_sign_in(site, "ada@example.com")  # nothing has changed yet
    done = await site.client.put(CHANGE, json={"link": link})
    assert (done.status_code, done.json()) == (200, {"email": "ada@new.example"})
    assert (
        await can_sign_in(site, "ada@example.com"),
        await can_sign_in(site, "ada@new.example"),
    ) == (
        False,
        True,
    )
    assert (await site.client.get("/api/v1/user", headers=headers)).status_code == 401
    await site.work()
    told = site.server.taken[-1]
    assert told["to"] == "ada@example.com"
    assert "changed to ada@new.example" in told.get_body(("plain",)).get_content()
    again = await site.client.put(CHANGE, json={"link": link})
    assert again.status_code == 410
    async with site.engine.db.read() as session:
        [row] = await session.scalars(select(AuditEvent).where(AuditEvent.action == "email.change"))
    assert row.detail == {"before": "ada@example.com", "after": "ada@new.example"}


async def test_links_to_the_old_address_are_worthless_afterwards(site: Site):
    await join(site)
    headers = await confirmed(site)
    first = await request(site, "ada@first.example", headers)
    await site.client.post("/api/v1/user/password_reset", json={"email": "ada@example.com"})
    reset = await site.next_link()
    link = await request(site, "ada@new.example", headers)
    assert (await site.client.put(CHANGE, json={"link": first})).status_code == 410  # replaced
    assert (await site.client.put(CHANGE, json={"link": link})).status_code == 200
    body = {"link": reset, "new_password": NEW}
    assert (await site.client.put("/api/v1/user/password_reset", json=body)).status_code == 410
    assert (await site.client.put(CHANGE, json={"link": reset})).status_code == 410


async def test_an_address_of_somebody_else_is_said_to_nobody_but_its_reader(site: Site):
    await join(site, "bob@example.com")
    await join(site)
    headers = await confirmed(site)
    link = await request(site, "bob@example.com", headers)  # answers as for any other
    assert site.server.taken[-1]["to"] == "bob@example.com"
    refused = await site.client.put(CHANGE, json={"link": link})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert await can_sign_in(site, "ada@example.com")
    assert await can_sign_in(site, "bob@example.com")


async def test_an_address_is_changed_after_a_confirmation_alone(site: Site):
    await join(site)
    said = {"email": "ada@example.com", "password": PASSWORD}
    token = (await site.client.post("/api/v1/user/login", json=said)).json()["access_token"]
    body = {"email": "eve@evil.example"}
    refused = await site.client.post(CHANGE, json=body, headers=bearer(token))
    assert (refused.status_code, refused.json()["code"]) == (403, "step_up_required")
    headers = await confirmed(site)
    for email, status in (("ada@example.com", 409), ("no address", 422), ("a@b\r\nc", 422)):
        wrong = await site.client.post(CHANGE, json={"email": email}, headers=headers)
        assert wrong.status_code == status, wrong.text


async def test_a_person_changes_their_address_on_the_pages_and_stays_signed_in(site: Site):
    await join(site)
    form = {"email": "ada@example.com", "password": PASSWORD, "return_to": "/"}
    await site.client.post("/sign-in", data=form, headers=FORM)
    page = await site.client.get("/account", headers=FORM)
    csrf = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    sent = {"csrf": csrf, "email": "ada@new.example"}
    to_confirm = await site.client.post("/account/email", data=sent, headers=FORM)
    assert to_confirm.headers["location"] == "/account/confirm"
    await site.client.post(
        "/account/confirm", data={"csrf": csrf, "password": PASSWORD}, headers=FORM
    )
    asked = await site.client.post("/account/email", data=sent, headers=FORM)
    assert "on its way to ada@new.example" in asked.text
    await site.work()
    url = site.server.links()[-1]
    assert url.startswith(f"{URL}/change-address#")
    assert (await site.client.get("/change-address", headers=FORM)).status_code == 200
    done = await site.client.post(
        "/change-address", data={"link": url.partition("#")[2]}, headers=FORM
    )
    assert "You sign in with ada@new.example" in done.text
    assert "ada@new.example" in (await site.client.get("/account", headers=FORM)).text


@pytest.mark.parametrize("who", ["ada@example.com", "nobody@example.com", "off@example.com"])
async def test_no_link_to_reset_goes_to_who_may_not_sign_in(site: Site, who: str):
    await join(site, "off@example.com")
    await join(site)
    owner = await site.engine.people.owner()
    await site.engine.people.change_member(owner, "off@example.com", active=False)
    await site.work()
    before = len(site.server.taken)
    asked = await site.client.post("/api/v1/user/password_reset", json={"email": who})
    assert asked.status_code == 202
    await site.work()
    assert len(site.server.taken) - before == (1 if who.startswith("ada") else 0)
