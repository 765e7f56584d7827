"""Names, questions and ids with characters that no file, log or database should be given."""

from __future__ import annotations

from pathlib import Path

from engine.documents.adding import NewDocument
from engine.runtime import open_engine
from tests.fakes.homes import home_settings


async def test_control_characters_are_never_kept(tmp_path: Path) -> None:
    async with open_engine(home_settings(tmp_path)) as engine:
        await engine.knowledge_bases.create(await engine.people.owner(), "team")
        owner = await engine.people.owner()
        await engine.documents.add(owner, "team", NewDocument(data=b"x", filename="a\0b\r\nc.md"))
        [listed] = (await engine.documents.page(owner)).documents
        assert listed.title == "a b  c.md"
        for name in ("a\0b", "a\nb"):
            new = NewDocument(data=b"x", filename="x.md", external_id=name)
            await engine.documents.add(owner, "team", new)
        documents = (await engine.documents.page(owner)).documents
        assert {document.external_id for document in documents} >= {"a%00b", "a%0Ab"}
        assert (await engine.search.find(owner, "a\0b")).query == "a b"
