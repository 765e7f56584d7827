"""Passkeys over HTTP: the pages' forms and the API."""

from __future__ import annotations

import json
import subprocess
import sys

from engine.domain import Role
from engine.engine import Engine
from tests.api.test_sign_in import (
    FORM,
    HTML,
    PASSWORD,
    csrf_of,
    enter,
    full_buckets,
    signing_member,
)
from tests.fakes.authenticator import SoftwareAuthenticator

__all__ = ["full_buckets"]

URL = "https://ask.example.com"


async def test_a_passkey_is_added_used_and_deleted_on_the_pages(open_client, engine: Engine):
    email = await signing_member(engine, "ada", Role.MEMBER)
    device = SoftwareAuthenticator(URL)
    origin = {"origin": URL}
    async with open_client(public_url=URL, base_url=URL) as client:
        form = FORM | origin
        sent = {"email": email, "password": PASSWORD, "return_to": "/"}
        await client.post("/sign-in", data=sent, headers=form)
        csrf = await csrf_of(client)
        sent = {"csrf": csrf, "password": PASSWORD}
        await client.post("/account/confirm", data=sent, headers=form)
        page = await client.get("/account", headers=HTML)
        assert 'data-passkey="/api/v1/user/passkeys/options"' in page.text
        asked = origin | {"x-csrf-token": csrf}
        refused = await client.post("/api/v1/user/passkeys/options", headers=origin)
        assert refused.status_code == 403
        options = (await client.post("/api/v1/user/passkeys/options", headers=asked)).json()
        credential = json.dumps(device.create(options["options"]))
        sent = {"csrf": csrf, "credential": credential, "name": "<phone>"}
        added = await client.post("/account/passkeys", data=sent, headers=form)
        assert "&lt;phone&gt;" in added.text
        [listed] = (await client.get("/api/v1/user/passkeys")).json()["passkeys"]
        assert listed["name"] == "<phone>"
        body = {"name": "phone"}
        path = f"/api/v1/user/passkeys/{listed['id']}"
        assert (await client.patch(path, json=body, headers=asked)).json()["name"] == "phone"
        await client.post("/sign-out", data={"csrf": csrf}, headers=form)

        page = await client.get("/sign-in", headers=HTML)
        assert "passkeys.js" in page.text
        options = (await client.post("/api/v1/user/login/passkey/options", headers=origin)).json()
        assert options["options"]["allowCredentials"] == []
        sent = {"credential": json.dumps(device.get(options["options"])), "return_to": "/account"}
        entered = await client.post("/sign-in/passkey", data=sent, headers=form)
        assert (entered.status_code, entered.headers["location"]) == (303, "/account")
        again = await client.post("/sign-in/passkey", data=sent, headers=form)
        assert again.status_code == 401

        csrf = await csrf_of(client)
        asked = origin | {"x-csrf-token": csrf}
        early = await client.delete(path, headers=asked)
        assert (early.status_code, early.json()["code"]) == (403, "step_up_required")
        page = await client.get("/account/confirm", headers=HTML)
        assert 'data-passkey="/api/v1/user/step_up/passkey/options"' in page.text
        options = (await client.post("/api/v1/user/step_up/passkey/options", headers=asked)).json()
        sent = {"csrf": csrf, "credential": json.dumps(device.get(options["options"]))}
        confirmed = await client.post("/account/passkeys/confirm", data=sent, headers=form)
        assert confirmed.status_code == 303
        assert (await client.delete(path, headers=asked)).status_code == 200
        page = await client.get("/account/confirm", headers=HTML)
        assert "/step_up/passkey" not in page.text


async def test_a_program_signs_in_and_confirms_with_a_passkey(open_client, engine: Engine):
    email = await signing_member(engine, "anna", Role.ADMIN)
    device = SoftwareAuthenticator(URL)
    async with open_client(public_url=URL, base_url=URL) as client:
        made = await client.post("/api/v1/user/login", json={"email": email, "password": PASSWORD})
        headers = {"authorization": f"Bearer {made.json()['access_token']}"}
        confirmed = await client.post(
            "/api/v1/user/step_up", json={"password": PASSWORD}, headers=headers
        )
        headers = {"authorization": f"Bearer {confirmed.json()['access_token']}"}
        options = (await client.post("/api/v1/user/passkeys/options", headers=headers)).json()
        body = {"credential": device.create(options["options"]), "name": "token"}
        kept = await client.post("/api/v1/user/passkeys", json=body, headers=headers)
        assert kept.status_code == 201, kept.text
        options = (await client.post("/api/v1/user/login/passkey/options")).json()
        body = {"credential": device.get(options["options"])}
        entered = await client.post("/api/v1/user/login/passkey", json=body)
        assert entered.status_code == 200, entered.text
        headers = {"authorization": f"Bearer {entered.json()['access_token']}"}
        member = {"email": "z@example.com"}
        refused = await client.post("/api/v1/members", json=member, headers=headers)
        assert refused.status_code == 403
        options = (
            await client.post("/api/v1/user/step_up/passkey/options", headers=headers)
        ).json()
        body = {"credential": device.get(options["options"])}
        confirmed = await client.post("/api/v1/user/step_up/passkey", json=body, headers=headers)
        headers = {"authorization": f"Bearer {confirmed.json()['access_token']}"}
        assert (
            await client.post("/api/v1/members", json=member, headers=headers)
        ).status_code == 201
        await client.delete("/api/v1/members/z@example.com", headers=headers)
        [listed] = (await client.get("/api/v1/user/passkeys", headers=headers)).json()["passkeys"]
        await client.delete(f"/api/v1/user/passkeys/{listed['id']}", headers=headers)


async def test_without_a_name_to_keep_passkeys_for_pages_offer_none(open_client, engine: Engine):
    email = await signing_member(engine, "ada", Role.MEMBER)
    async with open_client() as client:  # http://127.0.0.1
        client.headers["x-forwarded-for"] = "192.0.2.7"
        assert "passkey" not in (await client.get("/sign-in", headers=HTML)).text
        await enter(client, email)
        assert "passkey" not in (await client.get("/account", headers=HTML)).text
        asked = await client.post("/api/v1/user/login/passkey/options")
        assert (asked.status_code, asked.json()["code"]) == (409, "conflict")
        assert "server.public_url" in asked.json()["detail"]


def test_nothing_of_passkeys_is_loaded_until_one_is_used():
    code = "import sys, cli.serve; print([m for m in sys.modules if m.startswith('webauthn')])"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert shown.stdout.strip() == "[]"
