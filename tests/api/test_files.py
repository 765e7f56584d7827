"""Folders and files over REST: added, downloaded, moved, linked, shared, deleted."""

from __future__ import annotations

import asyncio
import uuid

from engine.domain import Role, Scope
from engine.engine import Engine
from engine.people import api_tokens, members
from ingestion.host import run_worker

LEAVE = b"# Leave\n\nStaff take twenty eight days of leave a year.\n"


def unique(word: str) -> str:
    return f"{word}-{uuid.uuid4().hex[:8]}"


async def made(client, name: str, folder: str = "") -> dict:
    answer = await client.post("/api/v1/folders", json={"name": name, "folder": folder})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def sent(client, name: str, data: bytes = LEAVE, **fields: str):
    return await client.post("/api/v1/files", files=[("file", (name, data))], data=fields)


async def token_of_curator(engine: Engine, email: str) -> str:
    owner = await engine.people.owner()
    async with engine.db.write() as session:
        added = await members.add_member(session, owner, email=email, role=Role.CURATOR)
        secret, _ = await api_tokens.create_token(
            session,
            owner,
            "curator",
            scopes=(Scope.KB_READ, Scope.KB_WRITE),
            user_id=added.user_id,
        )
    return secret


async def test_a_file_is_stored_once_put_into_two_bases_moved_replaced_and_deleted(
    client, engine: Engine
) -> None:
    staff, legal = unique("staff"), unique("legal")
    for kb in (staff, legal):
        await client.post("/api/v1/knowledge_bases", json={"name": kb})
    folder = await made(client, unique("Staff"))
    sub = await made(client, "2027", folder["path"])
    assert sub["path"] == f"{folder['name']}/2027"

    added = await sent(client, "leave.md", folder=sub["id"], kb=staff)
    assert added.status_code == 201, added.text
    [stored] = added.json()["files"]
    id_ = stored["file"]["id"]
    linked = await client.put(f"/api/v1/files/{id_}/knowledge_bases/{legal}")
    assert linked.status_code == 202
    assert linked.json()["document_id"] != stored["document"]["document_id"]
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    shown = (await client.get(f"/api/v1/files/{id_}")).json()
    assert [(one["knowledge_base"], one["state"]) for one in shown["knowledge_bases"]] == [
        (legal, "ready"),
        (staff, "ready"),
    ]

    whole = await client.get(f"/api/v1/files/{id_}/content")
    assert whole.content == LEAVE
    assert whole.headers["content-disposition"].startswith("attachment")
    assert whole.headers["x-content-type-options"] == "nosniff"
    part = await client.get(f"/api/v1/files/{id_}/content", headers={"Range": "bytes=2-6"})
    assert (part.status_code, part.content) == (206, b"Leave")

    taken = await sent(client, "leave.md", b"# Other\n", folder=sub["id"])
    assert (taken.status_code, taken.json()["code"]) == (409, "conflict")
    again = await sent(client, "leave.md", b"# Other\n", folder=sub["id"], replace="true")
    assert again.json()["files"][0]["replaced"] is True

    moved = await client.patch(
        f"/api/v1/files/{id_}", json={"folder": folder["id"], "name": "x.md"}
    )
    assert moved.json()["path"] == f"{folder['name']}/x.md"
    circle = await client.patch(f"/api/v1/files/{folder['id']}", json={"folder": sub["id"]})
    assert circle.status_code == 422
    listed = (await client.get("/api/v1/files", params={"folder": folder["path"]})).json()
    assert [one["name"] for one in listed["files"]] == ["2027", "x.md"]
    assert [one["name"] for one in listed["trail"]] == [folder["name"]]

    gone = await client.delete(f"/api/v1/files/{id_}/knowledge_bases/{staff}")
    assert gone.json()["document_id"] == stored["document"]["document_id"]
    refused = await client.delete(f"/api/v1/files/{folder['id']}")
    assert refused.status_code == 409
    assert refused.json()["detail"].endswith("Set the query parameter documents to delete or keep.")
    assert "--" not in refused.json()["detail"]
    deleted = await client.delete(f"/api/v1/files/{folder['id']}", params={"documents": "delete"})
    assert deleted.json() == {"deleted": True, "entries": 3, "documents": 1}
    assert (await client.get(f"/api/v1/files/{id_}/content")).status_code == 404


async def test_an_upload_of_documents_may_name_a_folder(client) -> None:
    kb = unique("kb")
    await client.post("/api/v1/knowledge_bases", json={"name": kb})
    folder = await made(client, unique("Inbox"))
    answer = await client.post(
        f"/api/v1/knowledge_bases/{kb}/documents",
        files=[("file", ("a.md", LEAVE)), ("file", ("b.md", b"# B\n"))],
        data={"folder": folder["name"], "tags": ""} | {"tag": "staff"},
    )
    assert answer.status_code == 202, answer.text
    ids = [one["id"] for one in answer.json()["documents"]]
    listed = (await client.get("/api/v1/files", params={"folder": folder["id"]})).json()["files"]
    assert [one["knowledge_bases"][0]["document_id"] for one in listed] == ids
    assert (await client.get(f"/api/v1/documents/{ids[0]}")).json()["tags"] == ["staff"]


async def test_what_is_not_shared_looks_like_what_does_not_exist(client, engine: Engine) -> None:
    folder = await made(client, unique("Plans"))
    await sent(client, "plan.md", folder=folder["id"])
    name = unique("ada")
    token = await token_of_curator(engine, f"{name}@x.example")
    her = {"Authorization": f"Bearer {token}"}
    absent = uuid.uuid4().hex

    async def seen(id_: str) -> list[tuple[int, str]]:
        calls = [
            client.get(f"/api/v1/files/{id_}", headers=her),
            client.get(f"/api/v1/files/{id_}/content", headers=her),
            client.get("/api/v1/files", params={"folder": id_}, headers=her),
            client.patch(f"/api/v1/files/{id_}", json={"name": "x"}, headers=her),
            client.delete(f"/api/v1/files/{id_}", headers=her),
            client.get(f"/api/v1/files/{id_}/grants", headers=her),
            client.post("/api/v1/folders", json={"name": "x", "folder": id_}, headers=her),
        ]
        answers = [await call for call in calls]
        return [(one.status_code, one.json()["detail"].replace(id_, "ID")) for one in answers]

    assert await seen(folder["id"]) == await seen(absent)
    assert {status for status, _ in await seen(absent)} == {404}
    shared = await client.put(
        f"/api/v1/files/{folder['id']}/grants/user:{name}@x.example", json={"level": "read"}
    )
    assert shared.status_code == 200, shared.text
    listed = (await client.get("/api/v1/files", headers=her)).json()["files"]
    assert [(one["name"], one["level"]) for one in listed] == [(folder["name"], "read")]
    forbidden = await client.delete(f"/api/v1/files/{folder['id']}", headers=her)
    assert forbidden.status_code == 403
    await client.delete(f"/api/v1/files/{folder['id']}/grants/user:{name}@x.example")
    assert (await client.get("/api/v1/files", headers=her)).json()["files"] == []
