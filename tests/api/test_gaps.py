"""Gaps over HTTP, in the console and on the command line, after real questions."""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest

from cli.main import main
from engine.domain import Scope
from engine.engine import Engine
from tests.api.conftest import OpenClient
from tests.api.test_sign_in import FORM, HTML
from tests.fakes.homes import home_settings, make_token

ZEBRA = "Which zebra won the lottery of Ouagadougou?"


async def asked(client: httpx2.AsyncClient) -> str:
    """The id of the gap of a question that nothing answers."""
    answered = await client.post("/api/v1/ask", json={"question": ZEBRA})
    assert not answered.json()["grounded"], answered.text
    found = (await client.get("/api/v1/gaps")).json()["gaps"]
    [gap] = [gap for gap in found if gap["question"] == ZEBRA]
    return str(gap["id"])


async def test_a_gap_is_found_looked_into_and_set_aside_by_forms(
    client: httpx2.AsyncClient, engine: Engine
) -> None:
    gap = await asked(client)
    page = (await client.get("/console/insight/gaps", headers=HTML)).text
    assert f'<a href="/console/insight/gaps/{gap}">{ZEBRA}</a>' in page
    shown = await client.get(f"/console/insight/gaps/{gap}", headers=HTML)
    assert ZEBRA in shown.text
    assert "What comes closest" in shown.text
    sent = {"do": "out_of_scope"}
    done = await client.post(f"/console/insight/gaps/{gap}", data=sent, headers=FORM)
    assert done.status_code == 303
    assert (await client.get(f"/api/v1/gaps/{gap}")).json()["gap"]["state"] == "out_of_scope"
    unknown = {"do": "assigned", "assignee": "nobody@example.com"}
    refused = await client.post(f"/console/insight/gaps/{gap}", data=unknown, headers=FORM)
    assert refused.status_code == 404
    assert "No member" in refused.text
    reopened = await client.patch(f"/api/v1/gaps/{gap}", json={"state": "open"})
    assert reopened.json()["state"] == "open"
    assert "style=" not in page + shown.text


async def test_another_persons_questions_are_no_gap_of_anybody_elses(
    client: httpx2.AsyncClient, open_client: OpenClient, engine: Engine
) -> None:
    """A token asks for itself alone, whoever made it."""
    gap = await asked(client)
    token = await make_token(engine, Scope.KB_READ, Scope.KB_MANAGE)
    reader = await make_token(engine, Scope.KB_READ, Scope.KB_ASK)
    member = await engine.people.owner()
    assert member.user_id is not None
    async with open_client(peer="192.0.2.7", public_url="https://kb.example.com") as other:

        async def status(path: str, secret: str) -> int:
            sent = {"Authorization": f"Bearer {secret}", "Host": "kb.example.com"}
            return (await other.get(path, headers=sent)).status_code

        assert await status("/api/v1/gaps", reader) == 403
        assert await status("/api/v1/gaps", token) == 200
        assert await status(f"/api/v1/gaps/{'0' * 32}", token) == 404
        assert await status(f"/api/v1/gaps/{gap}", reader) == 403


async def test_the_command_line_lists_shows_and_marks(
    client: httpx2.AsyncClient, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    gap = await asked(client)
    home = str(home_settings(engine.settings.home).home)

    async def run(*arguments: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, ["--home", home, "insight", "gaps", *arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    code, listed = await run("list", "--json")
    assert code == 0
    assert gap in [item["id"] for item in json.loads(listed)["gaps"]]
    assert ZEBRA in (await run("list"))[1]
    assert ZEBRA in (await run("show", gap))[1]
    code, said = await run("mark", gap, "closed")
    assert (code, "closed" in said) == (0, True)
    assert (await run("mark", "0" * 32, "closed"))[0] == 1
