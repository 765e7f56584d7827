"""Names, questions and ids with characters that no file, log or database should be given."""

from __future__ import annotations

from pathlib import Path

from engine.documents import NewDocument
from engine.runtime import open_engine
from tests.fakes.homes import home_settings


async def test_control_characters_are_never_kept(tmp_path: Path) -> None:
    async with open_engine(home_settings(tmp_path)) as engine:
        await engine.create_kb(await engine.owner(), "team")
        owner = await engine.owner()
        await engine.add_document(owner, "team", NewDocument(data=b"x", filename="a\0b\r\nc.md"))
        [listed] = (await engine.list_documents(owner)).documents
        assert listed.title == "a b  c.md"
        for name in ("a\0b", "a\nb"):
            new = NewDocument(data=b"x", filename="x.md", external_id=name)
            await engine.add_document(owner, "team", new)
        documents = (await engine.list_documents(owner)).documents
        assert {document.external_id for document in documents} >= {"a%00b", "a%0Ab"}
        assert (await engine.search(owner, "a\0b")).query == "a b"
