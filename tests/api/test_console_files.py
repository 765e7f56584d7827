"""The console's pages of files and of sources: a team's work by forms alone."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import httpx2
import pytest
from starlette.datastructures import FormData

from api.routes.console.schema_forms import form_fields, read_fields
from engine.domain import Role
from engine.engine import Engine
from engine.errors import InvalidInput
from engine.runtime import open_engine
from ingestion.connectors.kinds import open_connectors
from ingestion.host import run_worker
from tests.api.conftest import OpenClient
from tests.api.test_sign_in import (
    FORM,
    away,
    csrf_of,
    enter,
    full_buckets,
    signing_member,
)
from tests.fakes.homes import home_settings

__all__ = ["away", "full_buckets"]  # fixtures


@pytest.fixture
async def engine(filled_home: Path, tmp_path: Path) -> AsyncIterator[Engine]:
    settings = home_settings(filled_home, sources__folders=str(tmp_path))
    async with open_engine(settings, connectors=open_connectors()) as opened:
        yield opened


LEAVE = b"# Leave\n\nStaff take twenty eight days of leave a year.\n"


def unique(word: str) -> str:
    return f"{word} {uuid.uuid4().hex[:8]}"


async def posted(client: httpx2.AsyncClient, path: str, **fields: str) -> httpx2.Response:
    return await client.post(path, data=fields, headers=FORM)


async def text_of(client: httpx2.AsyncClient, path: str) -> str:
    page = await client.get(path, headers={"Accept": "text/html"})
    assert page.status_code == 200, page.text
    return unescape(page.text)


async def test_files_are_kept_put_into_a_base_moved_shared_and_deleted_without_a_script(
    client: httpx2.AsyncClient, engine: Engine
) -> None:
    kb, name = unique("Rules"), unique("Staff")
    await posted(client, "/console/knowledge", name=kb)
    made = await posted(client, "/console/files/folders", name=name, folder="")
    folder = made.headers["location"]
    assert re.fullmatch(r"/console/files/[0-9a-f]{32}", folder)
    sent = await client.post(
        f"{folder}/files",
        files=[("file", ("leave.md", LEAVE))],
        data={"kb": kb, "replace": ""},
        headers=FORM,
    )
    assert sent.status_code == 303, sent.text
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    listed = await text_of(client, folder)
    assert "1 file added." in listed
    assert kb in listed
    file = re.findall(r'href="(/console/files/[0-9a-f]{32})">leave.md', listed)[0]
    saved = await client.get(f"{file}/content")
    assert saved.content == LEAVE
    assert "ready" in await text_of(client, file)

    again = await client.post(
        f"{folder}/files", files=[("file", ("leave.md", b"# Other\n"))], headers=FORM
    )
    assert again.status_code == 409
    assert "There is a file" in unescape(again.text)

    refused = await posted(client, file, do="delete", documents="refuse")
    assert refused.status_code == 409
    assert "answers may rest on them" in unescape(refused.text)
    assert (await posted(client, file, do="unlink", to=kb)).status_code == 303
    assert "None that you can see." in await text_of(client, file)
    assert (await posted(client, file, do="link", to=kb)).status_code == 303
    assert (await posted(client, file, do="rename", to="days.md")).status_code == 303
    await posted(client, f"{file}", do="move", to="")
    assert "days.md" in await text_of(client, "/console/files")
    await posted(client, folder, do="grant", to="everyone", level="read")
    assert "everyone" in await text_of(client, f"{folder}/about")
    await posted(client, folder, do="revoke", to="tenant")
    assert "Nobody but those" in await text_of(client, f"{folder}/about")
    gone = await posted(client, file, do="delete", documents="delete")
    assert gone.headers["location"] == "/console/files"
    assert "with 1 document" in await text_of(client, "/console/files")
    await posted(client, folder, do="delete", documents="refuse")


async def test_a_member_finds_no_files_of_others_and_no_sources(
    client: httpx2.AsyncClient, away: httpx2.AsyncClient, engine: Engine
) -> None:
    made = await posted(client, "/console/files/folders", name=unique("Plans"), folder="")
    await enter(away, await signing_member(engine, uuid.uuid4().hex[:8], Role.MEMBER))
    page = await away.get("/console/files", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "Nothing here yet" in page.text
    assert "Sources" not in page.text
    hidden = await away.get(made.headers["location"], headers={"Accept": "text/html"})
    absent = await away.get(f"/console/files/{uuid.uuid4().hex}", headers={"Accept": "text/html"})
    assert (hidden.status_code, absent.status_code) == (404, 404)
    sources = await away.get("/console/sources", headers={"Accept": "text/html"})
    assert sources.status_code == 403
    token = await csrf_of(away)
    tried = await away.post(
        "/console/files/folders", data={"name": "x", "csrf": token}, headers=FORM
    )
    assert tried.status_code == 403


async def test_a_source_is_previewed_connected_paused_and_removed_by_forms(
    open_client: OpenClient, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "leave.md").write_bytes(LEAVE)
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 nothing more")
    kb, name = unique("Kept"), unique("Shelf")
    async with open_client() as client:
        await posted(client, "/console/knowledge", name=kb)
        assert "Folder" in await text_of(client, "/console/sources")
        new = "/console/sources/new/folder"
        assert 'name="set-path"' in await text_of(client, new)
        fields = {"set-path": str(tmp_path), "name": name, "kb": kb, "every": "0"}
        shown = await posted(client, new, do="preview", **fields)
        assert shown.status_code == 200, shown.text
        assert "leave.md" in shown.text
        wrong = await posted(client, new, do="add", **{**fields, "set-path": "/nowhere"})
        assert wrong.status_code == 422
        assert 'value="/nowhere"' in wrong.text  # what was typed stays
        made = await posted(client, new, do="add", **fields)
        assert made.status_code == 303, made.text
        source = made.headers["location"]
        await run_worker(engine, asyncio.Event(), idle_exit_s=0)
        page = await text_of(client, source)
        assert "1 document answers, 50 % of what is taken" in page
        assert "damaged" in page  # why the other is left out
        assert name in await text_of(client, "/console/sources")
        assert "can be read" in (await posted(client, source, do="check")).text
        for what, said in (("pause", "paused"), ("resume", "goes on"), ("sync", "being synced")):
            done = await posted(client, source, do=what)
            assert done.status_code == 303, done.text
            assert said in await text_of(client, source)
        kept = {"set-path": str(tmp_path), "set-exclude": "*.txt\n*.log", "every": "3600"}
        changed = await posted(client, source, do="settings", **kept)
        assert changed.status_code == 303, changed.text
        assert "*.txt\n*.log" in await text_of(client, source)
        odd = await posted(client, source, do="nothing")
        assert odd.status_code == 422
        unsure = await posted(client, source, do="remove", name="other")
        assert unsure.status_code == 422
        gone = await posted(client, source, do="remove", name=name)
        assert gone.headers["location"] == "/console/sources"
        assert "with 1 document" in await text_of(client, "/console/sources")
        assert "Resume" not in await text_of(client, source)  # it is being removed
        await run_worker(engine, asyncio.Event(), idle_exit_s=0)
        assert (await client.get(source, headers={"Accept": "text/html"})).status_code == 404


async def test_every_kinds_settings_have_a_form_that_reads_back_what_it_shows(
    engine: Engine,
) -> None:
    for kind in engine.sources.kinds():
        fields = form_fields(kind.settings, {})
        assert [one.name for one in fields] == list(kind.settings["properties"])
        shown = {one.key: "true" if one.value is True else one.value or "" for one in fields}
        read = read_fields(fields, FormData(shown))
        defaults = {
            name: said["default"]
            for name, said in kind.settings["properties"].items()
            if said.get("default") is not None
        }
        assert {name: read[name] for name in defaults} == defaults


def test_a_form_reads_each_kind_of_field_and_names_the_one_that_is_wrong() -> None:
    schema = {
        "$defs": {"Mode": {"enum": ["a", "b"], "type": "string"}},
        "required": ["url"],
        "properties": {
            "url": {"type": "string", "maxLength": 20},
            "mode": {"$ref": "#/$defs/Mode", "default": "a"},
            "most": {"type": "integer", "minimum": 1},
            "share": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
            "deep": {"type": "boolean", "default": True},
            "hosts": {"type": "array", "items": {"type": "string"}},
            "headers": {"type": "object"},
            "token": {"type": "string", "writeOnly": True},
        },
    }
    fields = form_fields(schema, {"token": "s3cret"})
    assert [one.widget for one in fields] == [
        "text",
        "choice",
        "number",
        "number",
        "check",
        "lines",
        "json",
        "secret",
    ]
    assert fields[-1].value == ""  # a secret is never shown
    sent = {
        "set-url": " x ",
        "set-most": "3",
        "set-share": "0.5",
        "set-hosts": "a\n\n b \n",
        "set-headers": '{"k": 1}',
    }
    assert read_fields(fields, FormData(sent)) == {
        "url": "x",
        "mode": "a",
        "most": 3,
        "share": 0.5,
        "deep": False,
        "hosts": ["a", "b"],
        "headers": {"k": 1},
    }
    for name, value in (("most", "many"), ("share", "x"), ("headers", "{")):
        with pytest.raises(InvalidInput) as refused:
            read_fields(fields, FormData({f"set-{name}": value}))
        assert refused.value.field == name
