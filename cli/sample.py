"""The sample knowledge base: a real employee handbook, public domain, with one real question."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.documents.adding import NewDocument
from engine.domain import Lane

if TYPE_CHECKING:
    from engine.domain import Principal
    from engine.engine import Engine

NAME = "handbook"
DESCRIPTION = "Sample: the TTS handbook of the US government's 18F, in the public domain"
QUESTION = "How many hours may I carry over in annual leave?"
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


async def seed(engine: Engine, owner: Principal) -> int:
    """Create the sample knowledge base in an installation without one; the number of pages."""
    root = folder()
    if root is None or await engine.knowledge_bases.list_readable(owner):
        return 0
    kb = await engine.knowledge_bases.create(owner, NAME, description=DESCRIPTION)
    owner = await engine.people.owner()  # who now may read it
    pages = sorted(root.rglob("*.md"))
    new = [
        NewDocument(path=page, filename=page.name, external_id=page.relative_to(root).as_posix())
        for page in pages
    ]
    for start in range(0, len(new), BATCH):
        await engine.documents.add_many(owner, kb.id, new[start : start + BATCH], lane=Lane.BULK)
    return len(new)
