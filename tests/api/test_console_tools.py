"""The console's pages of tools, secrets and status: forms alone, and nothing for who may not."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from engine.domain import Role
from engine.engine import Engine
from engine.tools.plugin_manager import PluginManager
from tests.api.test_sign_in import FORM, HTML, away, csrf_of, enter, full_buckets, signing_member
from tests.fakes.tool_plugins import MANIFEST, write_plugin

__all__ = ["away", "full_buckets"]

PATH = "/console/tools"


@pytest.fixture
def house(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    write_plugin(tmp_path / "plugins")
    write_plugin(tmp_path / "plugins", "newer", manifest=MANIFEST.replace(">=0.1", ">=99"))
    plugins = PluginManager(tmp_path, tmp_path / "plugins", distributions=[])
    monkeypatch.setattr(engine, "tools", plugins)
    return engine


async def test_tools_are_allowed_and_no_longer(client: httpx2.AsyncClient, house: Engine) -> None:
    owner = await house.people.owner()
    page = (await client.get(PATH, headers=HTML)).text
    assert "Looks the weather up." in page
    assert "needs Scrubjay &gt;=99" in page
    for do, allowed in (("allow", ["plugin/weather"]), ("deny", [])):
        sent = await client.post(
            f"{PATH}/allowed", data={"tool": "weather", "do": do}, headers=FORM
        )
        assert sent.status_code == 303
        assert await house.answers.allowed_tools(owner) == allowed
    wrong = await client.post(f"{PATH}/allowed", data={"tool": "a b", "do": "allow"}, headers=FORM)
    assert wrong.status_code == 422


async def test_a_secret_is_kept_shown_by_name_and_forgotten(client: httpx2.AsyncClient) -> None:
    given = {"name": "crm", "value": "s3cret-of-the-crm", "hosts": "api.example.com"}
    assert (await client.post(f"{PATH}/secrets", data=given, headers=FORM)).status_code == 303
    page = (await client.get(PATH, headers=HTML)).text
    assert "api.example.com" in page
    assert given["value"] not in page
    assert (
        await client.post(f"{PATH}/secrets/remove", data={"name": "crm"}, headers=FORM)
    ).status_code == 303
    assert "None yet." in (await client.get(PATH, headers=HTML)).text
    wrong = await client.post(f"{PATH}/secrets", data={"name": "No Name"}, headers=FORM)
    assert wrong.status_code == 422


async def test_the_status_says_that_all_is_well(client: httpx2.AsyncClient) -> None:
    page = (await client.get("/console/insight/status", headers=HTML)).text
    assert "Everything works." in page
    assert "team" in page


async def test_they_are_for_admins_and_secrets_for_who_has_just_confirmed(
    away: httpx2.AsyncClient, engine: Engine
) -> None:
    await enter(away, await signing_member(engine, "carl", Role.CURATOR))
    for path in (PATH, "/console/insight/status"):
        assert (await away.get(path, headers=HTML)).status_code == 403
    assert "/console/tools" not in (await away.get("/console/workflows", headers=HTML)).text
    await enter(away, await signing_member(engine, "ada", Role.ADMIN))
    given = {"name": "crm", "value": "s3cret", "csrf": await csrf_of(away)}
    asked = await away.post(f"{PATH}/secrets", data=given, headers=FORM)
    assert (asked.status_code, asked.headers["location"].partition("?")[0]) == (
        303,
        "/account/confirm",
    )
