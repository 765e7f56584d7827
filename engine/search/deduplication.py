"""The same said in several channels, shown once among the hits of a search.

A short conversation's document says what was said in it, as digests; a hit whose every message
is in another's is left out. Only what the searcher may read is compared: a copy that they may
not see hides none that they may.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from engine.domain import Hit

LEAST_LETTERS = 20  # of some message: "thank you all!" alone is said everywhere
MOST = 5  # messages of a conversation that may be a copy: a longer one is a conversation
SAID = "said"  # in a document's details


def digests(texts: Iterable[str]) -> list[str]:
    """What a conversation's details keep of its messages; nothing where they are many, or short."""
    said_texts = {" ".join(text.casefold().split()) for text in texts}
    if len(said_texts) > MOST or not any(
        sum(map(str.isalpha, item)) >= LEAST_LETTERS for item in said_texts
    ):
        return []
    return sorted(blake2b(item.encode(), digest_size=8).hexdigest() for item in said_texts)


def shown_once(hits: Sequence[Hit]) -> list[Hit]:
    """Hits without those that say nothing which another does not; the fuller one keeps the place."""
    kept: list[tuple[frozenset[str], Hit]] = []
    for hit in hits:
        stored = hit.metadata.get(SAID)
        said = frozenset(map(str, stored)) if isinstance(stored, list) else frozenset()
        at = next((n for n, (other, _) in enumerate(kept) if _is_copy(said, other)), None)
        if at is None:
            kept.append((said, hit))
        elif said > kept[at][0]:
            kept[at] = (said, hit)
    return [hit for _, hit in kept]


def _is_copy(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one and other) and (one <= other or other < one)
