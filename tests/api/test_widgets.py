"""Widgets: an assistant on pages of other sites, and everything that it must tell nobody there."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from api.templates import FOLDER
from engine import clock
from engine.db.tables import ApiToken
from engine.domain import Role, Scope
from engine.engine import Engine
from engine.people.api_tokens import TokenKind
from engine.runtime import open_engine
from tests.api.conftest import OpenClient
from tests.api.test_assistants import QUESTION, SECRET, make
from tests.api.test_sign_in import away, enter, signing_member
from tests.fakes.homes import fill, home_settings

__all__ = ["away"]

PATH = "/api/v1/widgets"
SITE = "https://www.example.com"
HTML = {"accept": "text/html"}
ASKS = (Scope.KB_READ, Scope.KB_ASK)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """A data folder of one's own: assistants and keys are made in it."""
    settings = home_settings(tmp_path)
    await fill(settings)
    async with open_engine(settings) as opened:
        yield opened


async def service_key(engine: Engine, *kbs: str, **more: Any) -> str:
    """The id of a service key called "site", for some knowledge bases."""
    owner = await engine.people.owner()
    known = {kb.name: kb.id for kb in await engine.knowledge_bases.list_readable(owner)}
    _, token = await engine.people.create_token(
        owner,
        "site",
        scopes=ASKS,
        kind=TokenKind.SERVICE,
        kb_ids=[known[name] for name in kbs] or None,
        **more,
    )
    return token.id


async def add(client: httpx2.AsyncClient, **body: Any) -> Any:
    made = await client.post(PATH, json={"assistant": "help", "origins": [SITE]} | body)
    assert made.status_code == 201, made.text
    return made.json()


async def ask(
    client: httpx2.AsyncClient, widget: str, question: str, conversation: str = "", **headers: str
) -> httpx2.Response:
    return await client.post(
        f"/embed/{widget}/ask",
        json={"question": question, "conversation": conversation},
        headers={"origin": str(client.base_url).rstrip("/")} | headers,
    )


def answered(response: httpx2.Response) -> Any:
    assert response.status_code == 200, response.text
    kind, data = response.text.strip().split("\n\n")[-1].split("\n")
    assert kind == "event: answered", response.text
    return json.loads(data.removeprefix("data: "))


async def test_anyone_is_answered_from_what_the_key_reads_and_only_by_the_assistant(
    client: httpx2.AsyncClient, engine: Engine
) -> None:
    await make(client, "Help", opener="Ask me.", examples=[QUESTION])
    await service_key(engine, "team")
    widget = await add(client, key="site")
    assert (widget["readers"], widget["key"], widget["origins"]) == ("anyone", "site", [SITE])
    base = str(client.base_url).rstrip("/")
    assert widget["tag"] == (
        f'<script src="{base}/widget.js" data-widget="{widget["id"]}" async></script>'
    )

    page = await client.get(f"/embed/{widget['id']}", headers=HTML)
    assert page.status_code == 200
    assert "x-frame-options" not in page.headers
    assert f"frame-ancestors {SITE};" in page.headers["content-security-policy"] + ";"
    assert "Ask me." in page.text
    assert QUESTION in page.text

    first = answered(await ask(client, widget["id"], QUESTION))
    assert "240" in first["html"]
    assert "/d/" not in first["html"]  # a visitor can't open them
    again = answered(await ask(client, widget["id"], "And for family care?", first["conversation"]))
    assert again["conversation"]
    assert "gardener" not in answered(await ask(client, widget["id"], SECRET))["html"].replace(
        SECRET, ""
    )


async def test_a_conversation_goes_on_with_its_proof_alone(
    client: httpx2.AsyncClient, engine: Engine
) -> None:
    await make(client, "Help")
    await service_key(engine, "team")
    widgets = [(await add(client, key="site"))["id"] for _ in range(2)]
    known = answered(await ask(client, widgets[0], QUESTION))["conversation"]
    listed = (await client.get("/api/v1/conversations")).json()["conversations"]
    for forged in (known[:-2] + "xx", *(item["id"] for item in listed), "nothing"):
        assert (await ask(client, widgets[0], QUESTION, forged)).status_code == 404
    assert (await ask(client, widgets[1], QUESTION, known)).status_code == 404


@pytest.mark.parametrize(
    ("kbs", "more", "said"),
    [
        ((), {}, "reads all that every member reads"),
        (("team",), {"networks": ["10.0.0.0/8"]}, "works from some networks only"),
        (("team",), {"assistants": ["other"]}, "is bound to other assistants"),
    ],
)
async def test_a_key_that_tells_too_much_or_too_little_is_refused(
    client: httpx2.AsyncClient,
    engine: Engine,
    kbs: tuple[str, ...],
    more: dict[str, Any],
    said: str,
) -> None:
    await make(client, "Help")
    await make(client, "Other")
    await service_key(engine, *kbs, **more)
    refused = await client.post(PATH, json={"assistant": "help", "origins": [SITE], "key": "site"})
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith(f"key: 'site' {said}")


@pytest.mark.parametrize(
    "origin",
    [
        "www.example.com",
        "https://*.example.com",
        "https://example.com/page",
        "https://example.com; script-src *",
        "https://user@example.com",
        "javascript:alert(1)",
        "https://example.com:port",
        "'self'",
        "*",
    ],
)
async def test_only_origins_are_taken_as_sites(client: httpx2.AsyncClient, origin: str) -> None:
    await make(client, "Help")
    refused = await client.post(PATH, json={"assistant": "help", "origins": [origin]})
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("origins: ")


async def test_it_ends_with_its_key_its_assistant_and_itself(
    client: httpx2.AsyncClient, engine: Engine
) -> None:
    await make(client, "Help")
    key = await service_key(engine, "team")
    first, second = [(await add(client, key="site"))["id"] for _ in range(2)]
    gone = await client.delete(f"{PATH}/{first}")
    assert gone.json() == {"deleted": True, "id": first}
    assert (await client.get(f"/embed/{first}", headers=HTML)).status_code == 404
    assert (await ask(client, first, QUESTION)).status_code == 404
    async with engine.db.write() as session:
        await session.execute(
            update(ApiToken).where(ApiToken.id == key).values(revoked_at=clock.now())
        )
    page = await client.get(f"/embed/{second}", headers=HTML)
    assert "not available" in page.text
    assert (await ask(client, second, QUESTION)).status_code == 401
    await client.delete("/api/v1/assistants/help")
    assert (await client.get(f"/embed/{second}", headers=HTML)).status_code == 404
    assert (await client.get(PATH)).json() == {"widgets": []}


async def test_a_page_of_another_site_and_a_form_without_origin_ask_nothing(
    client: httpx2.AsyncClient, engine: Engine
) -> None:
    await make(client, "Help")
    await service_key(engine, "team")
    widget = (await add(client, key="site"))["id"]
    assert (await ask(client, widget, QUESTION, origin=SITE)).status_code == 403
    bare = await client.post(f"/embed/{widget}/ask", json={"question": QUESTION})
    assert bare.status_code == 403


async def test_a_visitor_has_a_rate_of_their_own(open_client: OpenClient, engine: Engine) -> None:
    async with open_client(widget_questions_per_minute=2) as client:
        await make(client, "Help")
        await service_key(engine, "team")
        widget = (await add(client, key="site"))["id"]
        said = [(await ask(client, widget, QUESTION)).status_code for _ in range(3)]
    assert said == [200, 200, 429]


async def test_members_are_answered_as_themselves_and_others_asked_to_sign_in(
    away: httpx2.AsyncClient, client: httpx2.AsyncClient, engine: Engine
) -> None:
    await make(client, "Help")
    widget = (await add(client))["id"]
    stranger = await away.get(f"/embed/{widget}", headers=HTML)
    assert "Sign in" in stranger.text
    assert (await ask(away, widget, QUESTION)).status_code == 401

    await enter(away, await signing_member(engine, "ada", Role.MEMBER))
    page = await away.get(f"/embed/{widget}", headers=HTML)
    found = re.search(r'name="csrf-token" content="([^"]+)"', page.text)
    assert found is not None, page.text
    token = {"x-csrf-token": found[1]}
    first = answered(await ask(away, widget, QUESTION, **token))
    assert "/d/" in first["html"]
    assert "gardener" not in answered(await ask(away, widget, SECRET, **token))["html"].replace(
        SECRET, ""
    )
    assert (await ask(away, widget, QUESTION)).status_code == 403  # without the page's token


async def test_the_script_is_small_and_loads_from_anywhere(client: httpx2.AsyncClient) -> None:
    loaded = await client.get("/widget.js", headers={"sec-fetch-site": "cross-site"})
    assert loaded.status_code == 200
    assert loaded.headers["cross-origin-resource-policy"] == "cross-origin"
    known = await client.get("/widget.js", headers={"if-none-match": loaded.headers["etag"]})
    assert known.status_code == 304
    parts = [*(FOLDER / "static").glob("widget*"), *FOLDER.glob("widget*")]
    assert sum(part.stat().st_size for part in parts) <= 15_000
