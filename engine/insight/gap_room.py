"""Gaps: what people asked and did not find. `Engine.gaps` is a `Gaps`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.db.session import Database
from engine.domain import Principal
from engine.errors import NotFound
from engine.insight import gaps
from engine.insight.clustering import CLOSE, E5_CLOSE
from engine.insight.gaps import QuestionGap
from engine.models.port import Embedder
from engine.search.confidence import E5_SPACES
from engine.search.search import Search

VECTORS_KEPT = 5_000  # of questions, in memory
NEAREST = 3


@dataclass(frozen=True, slots=True)
class NearDocument:
    """A document that comes closest to a gap, and how likely it is to answer."""

    document_id: str
    title: str
    url: str
    kb_name: str
    confidence: float


@dataclass(frozen=True, slots=True)
class GapDetails:
    """A gap, and what comes closest to answering it among what the reader may see."""

    gap: QuestionGap
    nearest: Sequence[NearDocument]


class Gaps:
    """The verbs of gaps; a reader sees questions they asked, or that a channel of theirs did."""

    def __init__(
        self, db: Database, embedder: Embedder, search: Search, *, close: float | None = None
    ) -> None:
        """`close` is the likeness from which questions mean the same; else as the space needs."""
        self._db = db
        self._embedder = embedder
        self._search = search
        self._close = close or (E5_CLOSE if embedder.space.name in E5_SPACES else CLOSE)
        self._vectors: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    async def list_all(self, principal: Principal, *, days: int = 90) -> list[QuestionGap]:
        """What was not or badly answered in the last days, the weightiest first."""
        async with self._db.read() as session:
            poor, good = await gaps.read_asked(session, principal, days=days)
            marks = await gaps.read_marks(
                session, principal.tenant_id, [one.turn_id for one in poor]
            )
        vectors = await self._embedded(gaps.texts_of(poor, good) if poor else [])
        return gaps.gather(poor, good, vectors, marks, close=self._close)

    async def get(self, principal: Principal, gap_id: str, *, days: int = 90) -> GapDetails:
        """One of them, with the documents that come closest; `NotFound` for any other."""
        found = await self._find(principal, gap_id, days)
        result = await self._search.find(principal, found.question, limit=NEAREST)
        return GapDetails(
            found,
            [
                NearDocument(hit.document_id, hit.title, hit.url, hit.kb_name, hit.confidence)
                for hit in result.hits
            ],
        )

    async def mark(
        self, principal: Principal, gap_id: str, state: str, *, assignee: str = "", days: int = 90
    ) -> QuestionGap:
        """Assign, close, reopen it, or set it aside as out of scope; it as it is then."""
        found = await self._find(principal, gap_id, days)
        await self._db.run_write(
            lambda session: gaps.mark(session, principal, found, state, assignee)
        )
        return await self._find(principal, gap_id, days)

    async def _find(self, principal: Principal, gap_id: str, days: int) -> QuestionGap:
        for gap in await self.list_all(principal, days=days):
            if gap_id in gap.turn_ids:
                return gap
        raise NotFound("No such gap among the questions you may see.")

    async def _embedded(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """A vector a text; those embedded before are remembered, as far as memory is given."""
        missing = [text for text in texts if text not in self._vectors]
        if missing:
            rows = await self._embedder.embed_documents([self._fitting(text) for text in missing])
            self._vectors.update(zip(missing, rows, strict=True))
        found = {text: self._vectors[text] for text in texts}
        while len(self._vectors) > VECTORS_KEPT:
            self._vectors.popitem(last=False)
        return found

    def _fitting(self, text: str) -> str:
        """As much of a text as the embedder takes."""
        while self._embedder.count_tokens([text])[0] > self._embedder.max_tokens:
            text = text[: len(text) // 2]
        return text
