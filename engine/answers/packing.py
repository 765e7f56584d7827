"""What of the passages found is put before a model: whole, once each, under their headings.

A passage comes with its neighbours as one text; what is there already is not shown again, nor is a
passage that says the same in nearly the same words. `agent.py` numbers and shows what is packed.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from engine.answers.support import CitableSource
from engine.domain import Hit, Passage
from engine.index.analysis import analyse
from engine.markup.matching import fold

GAP_MAX = 4  # characters between two chunks of one text: blank lines
SAME = 0.9  # of the terms that two passages share, from which on they say the same
HEAD_MAX = 200


def pack(packed: Sequence[CitableSource], hits: Sequence[Hit], room: int) -> list[CitableSource]:
    """The sources that `hits` add to those `packed`, numbered on, in at most `room` characters.

    The best passage of every hit comes before the second of any.
    """
    shown = {part.id for source in packed for part in source.parts}
    terms = [_terms(source.passage) for source in packed]
    texts = [fold(source.passage.text)[0] for source in packed]
    added: list[CitableSource] = []
    blocks = [(hit, _blocks(hit)) for hit in hits]
    for rank in range(max((len(found) for _, found in blocks), default=0)):
        for hit, found in blocks:
            parts = found[rank] if rank < len(found) else []
            parts = [part for part in parts if part.id not in shown]
            passage = _joined(parts)
            if passage is None or len(passage.text) > room:
                parts = parts[:1]
                passage = _joined(parts)
            if passage is None or len(passage.text) > room:
                continue
            said, own = fold(passage.text)[0], _terms(passage)
            shown.update(part.id for part in parts)
            if any(said in text for text in texts) or any(_same(own, other) for other in terms):
                continue
            room -= len(passage.text)
            texts.append(said)
            terms.append(own)
            n = len(packed) + len(added) + 1
            added.append(CitableSource(n, hit, passage, tuple(parts)))
    return added


def head(source: CitableSource) -> str:
    """Title and headings above a passage, on one line: "Leave > Sick leave"."""
    title = " ".join(source.hit.title.split())
    above = " > ".join(line.strip() for line in source.passage.context.splitlines() if line.strip())
    named = above if above.startswith(title) else f"{title} > {above}" if above else title
    return named[:HEAD_MAX]


def _blocks(hit: Hit) -> list[list[Passage]]:
    """The passages of a hit with those that stand right beside them, the best one's first.

    Within a block they are in the document's order.
    """
    by_ordinal = {passage.ordinal: passage for passage in hit.passages}
    found: list[list[Passage]] = []
    taken: set[int] = set()
    for passage in hit.passages:
        if passage.ordinal in taken:
            continue
        first = last = passage.ordinal
        while first - 1 in by_ordinal and first - 1 not in taken:
            first -= 1
        while last + 1 in by_ordinal and last + 1 not in taken:
            last += 1
        block = [by_ordinal[n] for n in range(first, last + 1)]
        if _joined(block) is None:
            block = [passage]
        taken.update(part.ordinal for part in block)
        found.append(block)
    return found


def _joined(parts: Sequence[Passage]) -> Passage | None:
    """Chunks that follow one another as one passage, with the first one's id; None where they don't."""
    if not parts:
        return None
    text, end = parts[0].text, parts[0].end
    for part in parts[1:]:
        gap = part.start - end
        if gap > GAP_MAX or part.start < parts[0].start:
            return None
        text += "\n" * gap + part.text if gap >= 0 else part.text[-gap:]
        end = max(end, part.end)
    return replace(parts[0], text=text, end=parts[0].start + len(text))


def _terms(passage: Passage) -> frozenset[str]:
    return frozenset(analyse(passage.text, "en"))


def _same(left: AbstractSet[str], right: AbstractSet[str]) -> bool:
    """Whether two passages have nearly the same terms; figures must be the same ones."""
    if not left or not right:
        return False
    figures = {term for term in left ^ right if any(map(str.isdigit, term))}
    return not figures and len(left & right) / len(left | right) >= SAME
