"""How soon a document is found: `python -m benchmarks.searchable`.

A document is added to a warm `scrubjay worker` with MiniLM; the clock runs from `add` until a
keyword search finds the word that stands at its end, and until its vectors are complete. Then the
knowledge base is ingested anew, first as it is, then cut otherwise.
Every round is kept, with the load of the machine; the best counts (a neighbour only ever adds time).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

from benchmarks.results import write_results
from benchmarks.workers import Home, large_files, open_home
from engine.documents.adding import NewDocument

SIZES = {"5 kB": 5_000, "100 kB": 100_000, "500 kB": 500_000}
LONGEST_S = 300.0
LOOK_AGAIN_S = 0.02


async def one_round(size: int, number: int) -> dict[str, float]:
    word = f"zyxquill{number}"
    (made,) = large_files(1, size)
    data = (made.data or b"") + f"\n\n## Last\n\nThe {word} stands here.\n".encode()
    with tempfile.TemporaryDirectory() as folder:
        async with open_home(Path(folder), model="minilm") as home, asyncio.timeout(LONGEST_S):
            start = time.perf_counter()
            new = NewDocument(data=data, filename=made.filename, external_id=made.external_id)
            added = await home.engine.documents.add(home.owner, home.kb_id, new)
            while not await _found(home, word):  # noqa: ASYNC110 (a row tells nobody)
                await asyncio.sleep(LOOK_AGAIN_S)
            words_s = time.perf_counter() - start
            await _ready(home, added.document_id)
            vectors_s = time.perf_counter() - start
            again_s = await _reindexed(home)
            await home.engine.knowledge_bases.update(home.owner, home.kb_id, chunking={"size": 200})
            cut_s = await _reindexed(home)
            chunks = await home.chunks()
    return {
        "first_keyword_answer_s": round(words_s, 2),
        "vectors_complete_s": round(vectors_s, 2),
        "reindex_unchanged_s": round(again_s, 2),
        "reindex_cut_otherwise_s": round(cut_s, 2),
        "chunks": chunks,
        "load": round(os.getloadavg()[0], 1),
    }


async def _found(home: Home, word: str) -> bool:
    return bool(
        (await home.engine.search.find(home.owner, word, kb=home.kb_id, mode="keyword")).hits
    )


async def _ready(home: Home, document_id: str) -> None:
    async for _ in home.engine.documents.follow(home.owner, [document_id], every_s=LOOK_AGAIN_S):
        pass
    document = await home.engine.documents.get(home.owner, document_id)
    if document.state != "ready":
        raise RuntimeError(f"the document was not ingested: {document.error}")


async def _reindexed(home: Home) -> float:
    start = time.perf_counter()
    for document_id in await home.engine.knowledge_bases.reindex(home.owner, home.kb_id):
        await _ready(home, document_id)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    results: dict[str, object] = {}
    for name, size in SIZES.items():
        measured = [asyncio.run(one_round(size, number)) for number in range(rounds)]
        best = {key: min(item[key] for item in measured) for key in measured[0]}
        results[name] = {**best, "rounds": measured}
        print(name, best)
    print(write_results("searchable", results))


if __name__ == "__main__":
    main()
