"""The sample knowledge base: a real employee handbook, public domain, with one real question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.sample_vectors import FILE, remember
from engine.documents.adding import NewDocument
from engine.domain import Lane

if TYPE_CHECKING:
    from engine.domain import Principal
    from engine.engine import Engine

NAME = "handbook"
DESCRIPTION = "Sample: the TTS handbook of the US government's 18F, in the public domain"
QUESTION = "How many hours may I carry over in annual leave?"
ANSWERING = frozenset({"leave.md"})  # pages that answer the question
BATCH = 50  # documents a transaction: the server answers in between


def folder() -> Path | None:
    """Where the pages are: in the wheel next to this package, or in the clone."""
    here = Path(__file__).resolve().parent
    for place in (
        here / "samples" / "handbook" / "pages",
        here.parent / "samples" / "handbook" / "pages",
    ):
        if place.is_dir():
            return place
    return None


@dataclass(frozen=True, slots=True)
class Begun:
    """A sample of which the documents that answer `QUESTION` are added, and the rest is not yet."""

    kb_id: str
    first: Sequence[str]  # ids
    rest: Sequence[NewDocument]

    @property
    def pages(self) -> int:
        """Of the whole sample."""
        return len(self.first) + len(self.rest)


async def begin(engine: Engine, owner: Principal, *, vectors: bool = True) -> Begun | None:
    """Create the sample knowledge base; None where there is one already, or no sample.

    With `vectors`, those that are shipped with the pages are known before the pages are read.
    """
    root = folder()
    if root is None or await engine.knowledge_bases.list_readable(owner):
        return None
    kb = await engine.knowledge_bases.create(owner, NAME, description=DESCRIPTION)
    owner = await engine.people.owner()  # who now may read it
    if vectors:
        await remember(engine, owner, root.parent / FILE)
    pages = sorted(root.rglob("*.md"), key=lambda page: (page.name not in ANSWERING, page))
    new = [
        NewDocument(path=page, filename=page.name, external_id=page.relative_to(root).as_posix())
        for page in pages
    ]
    answering = sum(page.name in ANSWERING for page in pages)
    first = await engine.documents.add_many(owner, kb.id, new[:answering])
    return Begun(kb.id, [added.document_id for added in first], new[answering:])


async def finish(engine: Engine, begun: Begun) -> None:
    """Add the rest of the pages."""
    owner = await engine.people.owner()  # who may write to it now
    for start in range(0, len(begun.rest), BATCH):
        some = begun.rest[start : start + BATCH]
        await engine.documents.add_many(owner, begun.kb_id, some, lane=Lane.BULK)
