"""Workflows in the console by forms alone: built, mended, run, published, and edited by two."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from html import unescape
from typing import Any

import httpx2

from api.templates import MEDIA_TYPES, static_file
from engine.domain import Role
from engine.engine import Engine
from ingestion.host import run_worker
from tests.api.test_sign_in import FORM, HTML, away, csrf_of, enter, full_buckets, signing_member

__all__ = ["away", "full_buckets"]  # fixtures

W = "/console/workflows"


async def made(client: httpx2.AsyncClient, name: str, **sent: str) -> str:
    """The path of a workflow made by the form."""
    answer = await client.post(W, data={"name": name, "from": "blank"} | sent, headers=FORM)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def add(client: httpx2.AsyncClient, path: str, kind: str, after: str) -> str:
    """The id of a step that the form added."""
    sent = {"do": "add", "type": kind, "after": after}
    answer = await client.post(path, data=sent, headers=FORM)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"].rpartition("/")[2])


def controls(page: str) -> dict[str, str]:
    """What the form of a step holds, as a browser would send it."""
    form = page[
        page.index('id="parameters"') : page.index("</form>", page.index('id="parameters"'))
    ]
    found: dict[str, str] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        name, value = (re.search(rf'{key}="([^"]*)"', tag) for key in ("name", "value"))
        if name and ("checkbox" not in tag or " checked" in tag):
            found[name[1]] = unescape(value[1]) if value else "on"
    for name, text in re.findall(
        r'<textarea[^>]*name="([^"]*)"[^>]*>(.*?)</textarea>', form, re.DOTALL
    ):
        found[name] = unescape(text)
    for name, text in re.findall(
        r'<select[^>]*name="([^"]*)"[^>]*>(.*?)</select>', form, re.DOTALL
    ):
        chosen = re.search(r'<option(?: value="([^"]*)")? selected>([^<]*)', text)
        found[name] = ""
        if chosen:
            found[name] = unescape(chosen[2] if chosen[1] is None else chosen[1])
    return found


async def fill(client: httpx2.AsyncClient, path: str, step: str, **values: str) -> httpx2.Response:
    """Change fields of a step's form; a double underscore is a dot."""
    page = await client.get(f"{path}/steps/{step}", headers=HTML)
    sent = controls(page.text) | {name.replace("__", "."): text for name, text in values.items()}
    return await client.post(f"{path}/steps/{step}", data=sent, headers=FORM)


async def draft(client: httpx2.AsyncClient, path: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"{path}/draft")).json()
    return found


async def test_a_flow_is_built_run_answered_edited_and_published_by_forms_alone(
    client: httpx2.AsyncClient, engine: Engine
) -> None:
    path = await made(client, "refunds")
    ask = await add(client, path, "Ask", "begin")
    say = await add(client, path, "Message", ask)
    form = await client.get(f"{path}/steps/{ask}", headers=HTML)
    assert "{{begin.query}}" in form.text  # what it can refer to
    await fill(
        client,
        path,
        ask,
        message="Refund {{begin.query}}?",
        fields__0__type="number",
        **{"fields.0.$key": "amount", "fields.0.required": "on"},
    )
    saved = await fill(client, path, say, text="Paid {{ask.amount}}.")
    assert saved.headers["location"] == path
    page = await client.get(path, headers=HTML)
    assert "ready to run" in page.text
    started = await client.post(
        f"{path}/run", data={"query": "A coat", "version": "draft"}, headers=FORM
    )
    run = started.headers["location"]
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    waiting = await client.get(run, headers=HTML)
    assert "Refund A coat?" in waiting.text
    sent = {"do": "reply", "path": "ask", "amount": "12"}
    assert (await client.post(run, data=sent, headers=FORM)).status_code == 303
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    done = await client.get(run, headers=HTML)
    assert "Paid 12." in done.text
    assert "<svg" in done.text
    shown = await client.get(f"{path}/publish", headers=HTML)
    assert "The first version" in shown.text
    rev = (await draft(client, path))["rev"]
    published = await client.post(f"{path}/publish", data={"rev": str(rev)}, headers=FORM)
    assert published.status_code == 303
    await fill(client, path, say, text="Sent {{ask.amount}}.")
    changed = await client.get(f"{path}/publish", headers=HTML)
    assert "message: text Paid {{ask.amount}}. → Sent {{ask.amount}}." in unescape(changed.text)
    restored = await client.post(
        f"{path}/versions",
        data={"number": "1", "rev": str((await draft(client, path))["rev"])},
        headers=FORM,
    )
    assert restored.status_code == 303
    assert "Paid" in json.dumps((await draft(client, path))["flow"])
    listed = await client.get("/console/runs?state=done", headers=HTML)
    assert run in listed.text


async def test_a_fault_is_shown_at_its_step_and_its_field(client: httpx2.AsyncClient) -> None:
    path = await made(client, "faulty")
    say = await add(client, path, "Message", "begin")
    stays = await fill(client, path, say, text="{{begin.nothing}}")
    assert stays.headers["location"] == f"{path}/steps/{say}"
    page = (await client.get(stays.headers["location"], headers=HTML)).text
    assert 'aria-invalid="true"' in page
    assert "does not write" in page
    listed = await client.get(path, headers=HTML)
    assert "1 to mend" in listed.text
    refused = await client.get(f"{path}/publish", headers=HTML)
    assert "can&#39;t be published" in refused.text or "can't be published" in refused.text


async def test_steps_are_connected_moved_and_removed_and_choices_follow(
    client: httpx2.AsyncClient,
) -> None:
    path = await made(client, "moves")
    one = await add(client, path, "Message", "begin")
    two = await add(client, path, "Rewrite", one)
    await client.post(path, data={"do": "earlier", "step": two}, headers=FORM)
    edges = [(e["source"], e["target"]) for e in (await draft(client, path))["flow"]["edges"]]
    assert sorted(edges) == [("begin", two), (two, one)]
    circle = await client.post(
        path, data={"do": "connect", "step": one, "other": two}, headers=FORM
    )
    assert "circle" in circle.text
    kind = await add(client, path, "Categorize", two)
    await fill(
        client,
        path,
        kind,
        **{"classes.0.name": "refund", "classes.0.to": one, "text": "{{begin.query}}"},
    )
    state = await draft(client, path)
    assert state["choices"][kind] == {one: "refund"}
    await client.post(path, data={"do": "remove", "step": one}, headers=FORM)
    left = await draft(client, path)
    assert "to" not in left["flow"]["components"][-1]["param"]["classes"][0]


async def canvas(
    client: httpx2.AsyncClient, path: str, state: dict[str, Any], change: dict[str, Any]
) -> httpx2.Response:
    """Save another text of a step, as the canvas does; `state` is what it rests on."""
    flow = json.loads(json.dumps(state["flow"]))
    for step in flow["components"]:
        if step["id"] in change:
            step["param"] = change[step["id"]]
    sent = {"flow": flow, "base": state["flow"], "rev": state["rev"]}
    return await client.post(f"{path}/draft", json=sent, headers={"origin": FORM["origin"]})


async def test_two_who_edit_one_flow_lose_nothing_and_are_told(client: httpx2.AsyncClient) -> None:
    path = await made(client, "shared")
    await add(client, path, "Message", "begin")
    await add(client, path, "Message", "message")
    seen = await draft(client, path)
    first = await canvas(client, path, seen, {"message": {"text": "Hers"}})
    assert first.status_code == 200, first.text
    second = await canvas(client, path, seen, {"message_2": {"text": "His"}})
    assert second.status_code == 200, second.text
    assert "saved meanwhile" in second.json()["told"]
    texts = json.dumps((await draft(client, path))["flow"])
    assert "Hers" in texts
    assert "His" in texts
    both = await canvas(client, path, seen, {"message": {"text": "Theirs too"}})
    assert both.status_code == 409
    assert both.json()["conflicts"] == ["message, text"]
    assert "Hers" in json.dumps(both.json()["theirs"])
    assert "Hers" in json.dumps((await draft(client, path))["flow"])  # not overwritten
    copied = await client.post(
        f"{path}/copy", data={"flow": json.dumps(seen["flow"])}, headers=FORM
    )
    assert copied.headers["location"] == f"{W}/shared-1"


async def test_two_forms_of_one_step_show_both_before_anything_is_saved(
    client: httpx2.AsyncClient,
) -> None:
    path = await made(client, "forms")
    say = await add(client, path, "Message", "begin")
    page = controls((await client.get(f"{path}/steps/{say}", headers=HTML)).text)
    await fill(client, path, say, text="Hers")
    clash = await client.post(f"{path}/steps/{say}", data=page | {"text": "His"}, headers=FORM)
    assert clash.status_code == 409
    assert "Hers" in clash.text
    assert "His" in clash.text
    again = controls(clash.text) | {"resolve": "mine"}
    assert again["text"] == "His"
    assert (await client.post(f"{path}/steps/{say}", data=again, headers=FORM)).status_code == 303
    assert "His" in json.dumps((await draft(client, path))["flow"])


async def test_who_may_not_edit_sees_what_to_run_and_nothing_else(
    client: httpx2.AsyncClient, engine: Engine, away: httpx2.AsyncClient
) -> None:
    path = await made(client, "open")
    await add(client, path, "Message", "begin")
    rev = (await draft(client, path))["rev"]
    await client.post(f"{path}/publish", data={"rev": str(rev)}, headers=FORM)
    hidden = await made(client, "hidden-draft")
    await enter(away, await signing_member(engine, "mallory", Role.MEMBER))
    listed = await away.get(W, headers=HTML)
    assert path in listed.text
    assert "hidden-draft" not in listed.text
    assert "New workflow" not in listed.text
    shown = await away.get(path, headers=HTML, follow_redirects=True)
    assert "Run it" in shown.text
    assert "Publish" not in shown.text
    assert (await away.get(hidden, headers=HTML)).status_code == 404
    for page in ("draft", "steps/begin"):
        assert (await away.get(f"{path}/{page}", headers=HTML)).status_code == 403
    token = await csrf_of(away)
    sent = {"do": "remove", "step": "message", "csrf": token}
    assert (await away.post(path, data=sent, headers=FORM)).status_code == 403
    started = await away.post(f"{path}/run", data={"query": "Hello", "csrf": token}, headers=FORM)
    assert started.status_code == 303
    run = started.headers["location"]
    assert (await away.get(run, headers=HTML)).status_code == 200
    assert (await client.get(run, headers=HTML)).status_code == 404  # another person's
    assert "mallory" in (await client.get("/console/runs", headers=HTML)).text  # that it ran


async def test_every_component_has_a_form_that_keeps_what_it_is_given(
    client: httpx2.AsyncClient, engine: Engine
) -> None:
    kinds = [item["type"] for item in engine.workflows.describe_components()]
    path = await made(client, "all")
    for kind in kinds:
        if kind != "Begin":
            step = await add(client, path, kind, "begin")
            before = await draft(client, path)
            answer = await fill(client, path, step)
            assert answer.status_code == 303, answer.text
            assert (await draft(client, path))["flow"] == before["flow"], kind


def test_all_scripts_and_all_styles_together_stay_small() -> None:
    sizes = {name: len(gzip.compress(static_file(name)[0])) for name in MEDIA_TYPES}
    assert sum(size for name, size in sizes.items() if name.endswith(".js")) <= 40_000
    assert sum(size for name, size in sizes.items() if name.endswith(".css")) <= 24_000
