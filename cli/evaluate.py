"""`eval`: measures search on a collection with relevance judgements.

The collection is loaded into a knowledge base of a throw-away data folder; the installation's
settings apply, its data is not touched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.context import Json, invocation_of, run
from engine.wording import counted

if TYPE_CHECKING:
    from engine.config import Settings
    from engine.domain import Principal
    from engine.engine import Engine
    from engine.search.evaluation import Beir, RetrievalMetrics

MODES: Sequence[Literal["keyword", "semantic", "hybrid"]] = ("keyword", "semantic", "hybrid")
DEPTH = 100  # hits asked for: what recall@100 needs
BATCH = 200  # documents accepted in one transaction


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("eval")(evaluate)


def evaluate(
    ctx: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="corpus.jsonl, queries.jsonl (plain or .gz) and qrels.tsv."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Measure search on a judged collection.

    The folder is in BEIR's layout; it reports nDCG@10, recall@100 and MRR@10 of keyword, semantic
    and hybrid search, with 95 % intervals.
    """
    run(_evaluate(ctx, folder, as_json=as_json))


async def _evaluate(ctx: typer.Context, folder: Path, *, as_json: bool) -> None:
    from cli import output, render
    from engine.runtime import open_engine
    from engine.search.evaluation import load_beir

    beir = load_beir(folder)
    with tempfile.TemporaryDirectory(prefix="scrubjay-eval-") as home:
        async with open_engine(throw_away(ctx, Path(home))) as engine:
            metrics = await measure(engine, beir)
    if as_json:
        output.show_json({mode: found.as_dict() for mode, found in metrics.items()})
        return
    rows = [
        (
            mode,
            *(
                f"{value.mean:.3f}  [{value.low:.3f}, {value.high:.3f}]"
                for value in (found.ndcg_at_10, found.recall_at_100, found.mrr_at_10)
            ),
        )
        for mode, found in metrics.items()
    ]
    output.show(render.table(("", "nDCG@10", "recall@100", "MRR@10"), rows))
    counts = f"{counted(len(beir.queries), 'query', 'queries')} over "
    output.note(f"{counts}{counted(len(beir.corpus), 'document')}; 95 % intervals")


def throw_away(ctx: typer.Context, home: Path) -> Settings:
    """The installation's settings with every place that holds data moved into `home`."""
    from engine.config import default_home, load_settings, settings_file

    invocation = invocation_of(ctx)
    file, _ = settings_file(invocation.home or default_home(), invocation.config)
    # An empty file if there is none: otherwise the throw-away folder's own would be read.
    if not file.is_file() and not invocation.config:
        file = home / "scrubjay.toml"
        file.touch()
    inside = {
        "database.url": "",
        "storage.type": "folder",
        "storage.path": "",
        "jobs.broker": "memory",
        "search.engine": "embedded",
    }
    return load_settings(home, file, inside)


async def measure(engine: Engine, beir: Beir) -> dict[str, RetrievalMetrics]:
    """Metrics of each mode over a collection, loaded into a new knowledge base.

    A query that can't be searched by meaning alone counts as one that found nothing.
    """
    from cli import output
    from engine.errors import Unavailable
    from engine.search.evaluation import evaluate as metrics_of

    kb = await engine.knowledge_bases.create(await engine.people.owner(), "eval")
    principal = await engine.people.owner()  # again: the knowledge base was granted just now
    ids = await _load(engine, principal, kb.id, beir)
    found: dict[str, RetrievalMetrics] = {}
    refused: dict[str, list[str]] = {}
    with output.Bar("searching", len(beir.queries) * len(MODES)) as bar:
        done = 0
        for mode in MODES:
            rankings = {}
            for query_id, query in beir.queries.items():
                try:
                    result = await engine.search.find(
                        principal, query, kb=kb.id, limit=DEPTH, mode=mode
                    )
                except Unavailable as error:
                    if mode != "semantic":
                        raise
                    refused.setdefault(str(error), []).append(query_id)
                else:
                    rankings[query_id] = [ids[hit.document_id] for hit in result.hits]
                done += 1
                bar.advance_to(done, f"searching: {mode}")
            found[mode] = metrics_of(rankings, beir.qrels)
    for reason, queries in refused.items():
        count = counted(len(queries), "query", "queries")
        output.note(f"semantic: {count} found nothing, the first is {queries[0]}. {reason}")
    return found


async def _load(engine: Engine, principal: Principal, kb: str, beir: Beir) -> dict[str, str]:
    """The collection's id of each document, by ours; empty documents can't be found anyway."""
    from cli.add import ingest
    from engine.documents.adding import NewDocument

    ids: dict[str, str] = {}
    filled = [(key, document) for key, document in beir.corpus.items() if document.text.strip()]
    for start in range(0, len(filled), BATCH):
        batch = filled[start : start + BATCH]
        new = [
            NewDocument(
                data=document.text.encode(),
                filename=f"{start + number}.txt",
                title=document.title,
                external_id=key,
            )
            for number, (key, document) in enumerate(batch)
        ]
        added = await engine.documents.add_many(principal, kb, new)
        ids |= {item.document_id: key for item, (key, _) in zip(added, batch, strict=True)}
    await ingest(engine, principal, list(ids))
    return ids
