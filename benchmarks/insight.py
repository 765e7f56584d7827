"""How long statistics take on a month of 50,000 questions: `python -m benchmarks.insight`.

A month is seeded with a fixed random seed: questions, the searches they made, calls of models and
opinions, in ten knowledge bases, at four doors and in forty channels. Its days are kept as a worker
does, and every figure of every grouping is compared with a count over the seeded rows in Python;
a quantile with its real one. Then the console's page, a REST query and a query of raw rows are
timed in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, timedelta
from pathlib import Path

import httpx2
import numpy as np
from sqlalchemy import insert, update

from benchmarks.results import write_results
from cli.serve import build_host
from engine.clock import new_id, now
from engine.config import load_settings
from engine.db.tables import LedgerEntry, QueryLog, Tenant
from engine.engine import Engine
from engine.insight import day_tables
from engine.insight.day_counts import count_days
from engine.insight.statistics import StatisticsGroup, last_days, read_cells
from engine.runtime import open_engine

DAYS = 30
DOORS = ("http", "slack", "discord", "mcp")
OUTCOMES = ("answered", "answered", "answered", "answered", "maybe", "not_found", "failed")
ROUNDS = 60


def seeded(tenant_id: str, kbs: Sequence[str], count: int) -> list[dict[str, object]]:
    """Rows of the query log: a question and its search for each."""
    rng = random.Random(20_261_130)
    today = now().replace(hour=0, minute=0, second=0, microsecond=0)
    channels = [f"{n:032x}" for n in range(40)]
    rows: list[dict[str, object]] = []
    for _ in range(count):
        at = (
            today
            - timedelta(days=rng.randrange(1, DAYS))
            + timedelta(seconds=rng.randrange(86_400))
        )
        door, kb = rng.choice(DOORS), rng.choice([*kbs, ""])
        took_us = min(250_000_000, round(math.exp(rng.gauss(13.0, 1.1))))
        shared = {
            "tenant_id": tenant_id,
            "user_id": f"u{rng.randrange(300)}",
            "kb_ids": [kb] if kb else [],
            "kb_id": kb,
            "confidence": rng.random(),
            "at": at.astimezone(UTC),
        }
        outcome = rng.choice(OUTCOMES)
        asked = {
            "kind": "ask",
            "mode": "",
            "hits": 3,
            "door": door,
            "channel_id": rng.choice(channels) if door in {"slack", "discord"} else "",
            "outcome": outcome,
            "error_code": "unavailable" if outcome == "failed" else "",
            "model": rng.choice(["", "openai:gpt-4o"]),
            "input_tokens": rng.randrange(4000),
            "output_tokens": rng.randrange(600),
        }
        searched = {
            "kind": "search",
            "mode": "hybrid",
            "hits": rng.randrange(8),
            "door": "",
            "channel_id": "",
            "outcome": "",
            "error_code": "",
            "model": "",
            "input_tokens": 0,
            "output_tokens": 0,
        }
        rows += [
            {"id": new_id(), "took_ms": took / 1000, "took_us": took, "turn_id": None}
            | shared
            | row
            for row, took in ((asked, took_us), (searched, max(1_000, took_us // 20)))
        ]
    return rows


async def fill(engine: Engine, tenant_id: str, rows: Sequence[dict[str, object]]) -> None:
    for start in range(0, len(rows), 5_000):
        async with engine.db.write() as session:
            await session.execute(insert(QueryLog), rows[start : start + 5_000])
    async with engine.db.write() as session:
        await session.execute(update(Tenant).values(created_at=now() - timedelta(days=DAYS)))
        spent = [
            {
                "id": new_id(),
                "tenant_id": tenant_id,
                "cause": new_id(),
                "kind": "settle",
                "amount": -n,
                "cost": n,
                "model": "openai:gpt-4o",
                "input_tokens": n,
                "output_tokens": 1,
                "day": (now() - timedelta(days=n % DAYS)).date().isoformat(),
                "at": now(),
            }
            for n in range(5_000)
        ]
        await session.execute(insert(LedgerEntry), spent)


def quantile(took_us: Sequence[int], share: float) -> float:
    return sorted(took_us)[max(1, math.ceil(share * len(took_us))) - 1] / 1000


def check_group(group: StatisticsGroup, rows: Sequence[dict[str, object]]) -> float:
    """Raise where a figure is not what the rows say; the largest error of a quantile."""
    asked = [row for row in rows if row["kind"] == "ask"]
    found = group.questions
    assert found.questions == len(asked), group.name
    for outcome in ("answered", "maybe", "not_found", "failed"):
        wanted = sum(row["outcome"] == outcome for row in asked)
        assert getattr(found, outcome) == wanted, (group.name, outcome)
    assert found.input_tokens == sum(int(str(row["input_tokens"])) for row in asked)
    assert found.output_tokens == sum(int(str(row["output_tokens"])) for row in asked)
    worst = 0.0
    took = [int(str(row["took_us"])) for row in asked]
    for share, said in ((0.5, found.p50_ms), (0.95, found.p95_ms)):
        if took and said is not None:
            real = quantile(took, share)
            worst = max(worst, abs(said - real) / real)
    return worst


async def check(engine: Engine, rows: Sequence[dict[str, object]]) -> dict[str, object]:
    """Compare every grouping with the rows."""
    owner = await engine.people.owner()
    keys: dict[str, Callable[[dict[str, object]], str]] = {
        "day": lambda row: str(row["at"])[:10],
        "kb": lambda row: str(row["kb_id"]),
        "door": lambda row: str(row["door"]),
        "channel": lambda row: str(row["channel_id"]),
        "model": lambda row: str(row["model"]),
    }
    worst, groups = 0.0, 0
    for by, key in keys.items():
        found = await engine.insight.statistics(owner, days=DAYS, by=by)  # type: ignore[arg-type]
        of: dict[str, list[dict[str, object]]] = defaultdict(list)
        for row in rows:
            if row["kind"] == "ask" or by in {"day", "kb"}:
                of[key(row)].append(row)
        for group in found.groups:
            worst = max(worst, check_group(group, of.pop(group.key, [])))
            groups += 1
        assert not of, (by, list(of)[:3])
        worst = max(worst, check_group(found.total, rows))
    async with engine.db.read() as session:
        span = last_days(DAYS)
        kept = await read_cells(session, owner.tenant_id, span, None)
        recounted = await count_days(session, owner.tenant_id, span)
    same = {cell: counted for cell, counted in kept.items() if cell.topic != "stock"} == recounted
    assert same, "kept days differ from a recount"
    return {"groups": groups, "worst_quantile_error": round(worst, 4), "cells": len(kept)}


async def timed(work: Callable[[], Awaitable[object]], rounds: int = ROUNDS) -> dict[str, float]:
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        await work()
        took.append((time.perf_counter() - start) * 1000)
    p50, p95 = np.percentile(took, [50, 95])
    return {"p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1)}


async def measure(count: int) -> dict[str, object]:
    """The whole benchmark in a throw-away folder."""
    with tempfile.TemporaryDirectory(prefix="scrubjay-bench-") as home:
        settings = load_settings(Path(home))
        async with open_engine(settings) as engine:
            owner = await engine.people.owner()
            kbs = [(await engine.knowledge_bases.create(owner, f"kb{n}")).id for n in range(10)]
            owner = await engine.people.owner()
            rows = seeded(owner.tenant_id, kbs, count)
            await fill(engine, owner.tenant_id, rows)

            async def statistics() -> object:
                return await engine.insight.statistics(owner, days=DAYS)

            open_days = await timed(statistics, 10)
            start = time.process_time()
            async with engine.db.read() as session:
                due = await day_tables.days_to_count(session, owner.tenant_id)
            for day in due:
                await day_tables.keep_day(engine.db, owner.tenant_id, day)
            keep_cpu_s = time.process_time() - start
            checked = await check(engine, rows)
            kept_days = await timed(statistics)
            app = build_host(engine, settings, keyless=lambda *_: True)
            transport = httpx2.ASGITransport(app, client=("127.0.0.1", 40_000))
            base = "http://127.0.0.1:7337"
            async with httpx2.AsyncClient(transport=transport, base_url=base) as client:

                async def page() -> object:
                    found = await client.get(
                        "/console/insight?days=30", headers={"accept": "text/html"}
                    )
                    assert found.status_code == 200, found.text[:300]
                    return found

                async def rest() -> object:
                    found = await client.get("/api/v1/statistics?days=30&by=kb")
                    assert found.status_code == 200, found.text[:300]
                    return found

                async with app.router.lifespan_context(app):
                    shown = {"page": await timed(page), "rest": await timed(rest)}
            return {
                "questions": count,
                "days_kept": len(due),
                "keep_cpu_s": round(keep_cpu_s, 2),
                **checked,
                "statistics_open_days": open_days,
                "statistics_kept_days": kept_days,
                **shown,
            }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=50_000)
    parser.add_argument("--save", action="store_true", help="keep the result")
    arguments = parser.parse_args()
    found = asyncio.run(measure(arguments.questions))
    sys.stdout.write("".join(f"{name}: {value}\n" for name, value in found.items()))
    if arguments.save:
        write_results("insight", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
