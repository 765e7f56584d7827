"""What every kind of source must do, over a fake of it that is a small world with an oracle.

A `Rig` says how the world is changed and what it allows; the checks here are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.domain import Principal
from tests.fakes.sources import SourceInstallation


@dataclass
class Rig:
    """An installation with one source called `it`, and the oracle of what it reads."""

    notes: SourceInstallation
    people: dict[str, Principal]  # by the source's name of them
    items: Callable[[], set[str]]  # titles of everything in the source
    can_read: Callable[[str, str], bool]  # person, title

    async def sync(self) -> None:
        """One more sync, and people with what they hold then."""
        await self.notes.sync("it")
        await self.refresh()

    async def refresh(self) -> None:
        for name in self.people:
            self.people[name] = await self.notes.engine.people.act_as(
                self.notes.owner, f"{name}@example.com"
            )

    async def readable(self, person: str) -> set[str]:
        """The titles of the documents that somebody sees in lists."""
        principal = self.people[person]
        kbs = await self.notes.engine.knowledge_bases.list_readable(principal)
        if "notes" not in {kb.name for kb in kbs}:
            return set()
        page = await self.notes.engine.documents.page(principal, "notes", limit=500)
        return {one.title for one in page.documents}


async def agrees(rig: Rig, because: str = "") -> None:
    """Nobody sees, finds or counts more or less than they may."""
    titles = rig.items()
    for person, principal in rig.people.items():
        wanted = {title for title in titles if rig.can_read(person, title)}
        assert await rig.readable(person) == wanted, (because, person)
        found = await rig.notes.engine.search.find(principal, "said here", mode="keyword", limit=50)
        assert {hit.title for hit in found.hits} <= wanted, (because, person)
        kbs = await rig.notes.engine.knowledge_bases.list_readable(principal)
        counts = [kb.document_count for kb in kbs if kb.name == "notes"]
        assert counts == ([len(wanted)] if counts else []), (because, person)
