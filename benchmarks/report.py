"""results/README.md, made from the JSON files beside it: each promise with what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import RESULTS


@dataclass(frozen=True)
class Promise:
    """A figure, where it stands (file, then keys of its results), and what was promised of it.

    Without a bound nothing was promised: it is only told.
    """

    what: str
    file: str
    keys: tuple[str, ...]
    unit: str
    bound: float | None
    at_most: bool = True

    @property
    def promised(self) -> str:
        if self.bound is None:
            return "-"
        return f"{'≤' if self.at_most else '≥'} {self.bound:,g} {self.unit}".rstrip()

    def verdict(self, value: float) -> str:
        if self.bound is None:
            return ""
        kept = value <= self.bound if self.at_most else value >= self.bound
        return "kept" if kept else "missed"


def _search(chunks: str, tokens: str, *, promised: bool) -> list[Promise]:
    what = f"search, {int(chunks):,} chunks, {tokens} ACL tokens"
    at = chunks, "tokens", tokens
    return [
        Promise(f"{what}: p50", "search", (*at, "p50_ms"), "ms", 20 if promised else None),
        Promise(f"{what}: p95", "search", (*at, "p95_ms"), "ms", 35 if promised else None),
        Promise(
            f"{what}: recall@10", "search", (*at, "recall@10"), "", 0.95 if promised else None,
            at_most=False,
        ),
    ]  # fmt: skip


def _handbook(what: str, key: str, bound: float, *, at_most: bool = False) -> Promise:
    keys = "handbook", "answers", key
    return Promise(f"handbook: {what}", "quality", keys, "questions", bound, at_most=at_most)


PROMISES = (
    _handbook("of 31 answerable questions, gold page in the top 5", "in_top_5", 28),
    _handbook("of these, grounded with a citation on the gold page", "cited_gold", 27),
    _handbook(
        "of 3 unanswerable questions, grounded", "grounded_without_answer", 0, at_most=True
    ),
    Promise(
        "share of 200 foreign questions that end grounded: the first 200 of xquad-en",
        "quality", ("handbook", "foreign_first_200"), "", 0.05,
    ),
    Promise(
        "the same of 200 drawn at random", "quality", ("handbook", "foreign_random_200"), "", 0.05,
    ),
    Promise(
        "Cranfield, hybrid nDCG@10",
        "quality", ("cranfield", "hybrid", "ndcg@10"), "", 0.425, at_most=False,
    ),
    Promise("`scrubjay --help`", "footprint", ("help", "median_s"), "s", 0.3),
    Promise("warm `up` until ready", "footprint", ("ready", "median_s"), "s", 3),
    Promise("Ctrl-C until it has ended", "footprint", ("stop", "median_s"), "s", 10),
    Promise(
        "memory (PSS) of all processes a minute after an ask and an ingest",
        "footprint", ("memory_pss_mb", "sum"), "MB", 500,
    ),
    Promise(
        "ingestion as a share of the raw embedder",
        "ingestion", ("model", "share_of_raw"), "", 0.9, at_most=False,
    ),
    Promise(
        "20 files of 1 MB, free embedder",
        "ingestion", ("free_large_files", "chunks_per_s"), "chunks/s", 2000, at_most=False,
    ),
    Promise(
        "the handbook, free embedder",
        "ingestion", ("free_handbook", "documents_per_s"), "documents/s", 60, at_most=False,
    ),
    *(
        Promise(f"a document of {size}, from `add` until {what}", "searchable", (size, key), "s", None)
        for size in ("5 kB", "100 kB", "500 kB")
        for what, key in (
            ("a keyword search finds its end", "first_keyword_answer_s"),
            ("its vectors are complete", "vectors_complete_s"),
        )
    ),
    Promise(
        "a document of 500 kB ingested anew, nothing changed",
        "searchable", ("500 kB", "reindex_unchanged_s"), "s", None,
    ),
    *(
        told
        for size, tokens, promised in (
            ("10000", "100", False),
            ("100000", "10", False),
            ("100000", "100", True),
            ("100000", "1000", False),
            ("1000000", "100", False),
        )
        for told in _search(size, tokens, promised=promised)
    ),
    Promise(
        "recall@10 of the semantic leg alone, 100,000 chunks, no filter",
        "index", ("100000", "unfiltered", "recall@10"), "", 0.95, at_most=False,
    ),
    Promise(
        "search p95 while a worker ingests, against idle",
        "search", ("100000", "while_ingesting", "ratio_of_p95"), "times", 3,
    ),
    Promise(
        "text PDFs to text, times faster than markitdown, the slowest of them",
        "parsing", ("text_pdfs_times_faster",), "times", 20, at_most=False,
    ),
    Promise(
        "files that markitdown turns into text faster",
        "parsing", ("slower_than_markitdown",), "", 0,
    ),
    Promise(
        "rounds of kill -9 that ended otherwise than an undisturbed run",
        "kill", ("rounds_that_ended_otherwise",), "", 0,
    ),
    Promise(
        "CPU of an MCP call above the bare SDK's echo, the worst of six cells",
        "mcp", ("calls", "cpu_ms_above_bare_max"), "ms", 1,
    ),
    Promise(
        "growth of memory in 10 minutes of MCP calls by 32 clients",
        "mcp", ("soak", "growth_percent"), "%", 5,
    ),
    Promise(
        "acknowledging Slack, 20 questions at once, the slowest",
        "slack", ("reaction", "ack_ms_max"), "ms", 200,
    ),
    Promise(
        "until a question's first sign, 20 at once, the slowest",
        "slack", ("reaction", "sign_ms_max"), "ms", 1000,
    ),
    Promise(
        "deferring a Discord interaction, 20 at once, the slowest",
        "discord", ("reaction", "defer_ms_max"), "ms", 200,
    ),
    Promise(
        "a Slack message, from its event until a search finds it: p50",
        "freshness", ("channel", "found_s_p50"), "s", None,
    ),
    Promise(
        "the same: p95", "freshness", ("channel", "found_s_p95"), "s", 5,
    ),
    Promise(
        "`/health` p95 beside 50 clients that ask, against idle",
        "probes", ("50", "p95_ratio"), "times", None,
    ),
    Promise(
        "attempts spent beside 20 busy loops on one core: handbook and a Discord export",
        "starved", ("hashing", "attempts_beyond_the_first"), "", 0,
    ),
    Promise(
        "the right MCP tool first, 75 tasks with a live model",
        "tool_choice", ("right_tool",), "", 0.9, at_most=False,
    ),
)  # fmt: skip


def write_report(folder: Path = RESULTS) -> Path:
    """Write the table anew; returns where."""
    files = {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}
    lines = [
        "# What was measured",
        "",
        "Made by `make bench` from the JSON files beside it, which hold every round.",
        "",
        *_machines(files),
        "",
        "| | promised | measured | |",
        "|---|---|---|---|",
        *(_row(promise, _look_up(files, promise)) for promise in PROMISES),
        "",
        *_quality(files.get("quality", {}).get("results", {})),
        "",
        *_parsing(files.get("parsing", {}).get("results", {}).get("files", {})),
    ]
    path = folder / "README.md"
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return path


def _machines(files: Mapping[str, Any]) -> list[str]:
    described = {
        "{cpu}, {cores} cores, {memory_gib} GiB, {system}, Python {python}".format(**f["machine"])
        for f in files.values()
    }
    loads = [load for f in files.values() for load in _loads(f["results"])]
    busy = f" Load while measuring: {min(loads):.1f} to {max(loads):.1f}." if loads else ""
    return [f"Machine: {'; '.join(sorted(described))}.{busy}"]


def _loads(value: object) -> list[float]:
    if isinstance(value, dict):
        own = [float(value["load"])] if "load" in value else []
        return own + [load for inner in value.values() for load in _loads(inner)]
    if isinstance(value, list):
        return [load for inner in value for load in _loads(inner)]
    return []


def _look_up(files: Mapping[str, Any], promise: Promise) -> float | None:
    value: Any = files.get(promise.file, {}).get("results", {})
    for key in promise.keys:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return float(len(value) if isinstance(value, list) else value)


def _row(promise: Promise, value: float | None) -> str:
    if value is None:
        return f"| {promise.what} | {promise.promised} | not measured | |"
    measured = f"{value:,g} {promise.unit}".rstrip()
    return f"| {promise.what} | {promise.promised} | {measured} | {promise.verdict(value)} |"


def _quality(results: Mapping[str, Any]) -> list[str]:
    ranked = {name: found for name, found in results.items() if "hybrid" in found}
    if not ranked:
        return []
    cell: Callable[[Any], str] = lambda found: f"{found['ndcg@10']:.3f}" if found else "-"  # noqa: E731
    return [
        "| nDCG@10 | keyword | semantic | hybrid | BM25 to beat |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {cell(found.get('keyword'))} | {cell(found.get('semantic'))} |"
            f" {cell(found['hybrid'])} | {found.get('bm25_to_beat')} |"
            for name, found in ranked.items()
        ),
    ]


def _parsing(files: Mapping[str, Any]) -> list[str]:
    if not files:
        return []
    return [
        (
            "Files to text, processor time of one core, peak memory of the process, and how many times"
            " faster than markitdown (`raw`: it hands the file back as it is):"
        ),
        "",
        "| file | MB/s | pages/s | peak MB | markitdown MB/s | peak MB | times faster |",
        "|---|---|---|---|---|---|---|",
        *(_parsed(name, row) for name, row in files.items()),
    ]


def _parsed(name: str, row: Mapping[str, Any]) -> str:
    ours, theirs, size = row["ours"], row.get("markitdown", {}), row["bytes"] / 1e6
    if "seconds" not in ours:
        return f"| {name} | {ours['error']} | | | | | |"
    seconds = ours["seconds"]
    pages = f"{ours['pages'] / seconds:,.0f}" if ours["pages"] else ""
    cells = f"| {name} | {size / seconds:,.2f} | {pages} | {ours['peak_mb']} |"
    if "seconds" not in theirs:
        return f"{cells} {'not read' if theirs else 'not measured'} | | |"
    times = "raw" if theirs["letters"] == row["bytes"] else f"{theirs['seconds'] / seconds:.1f}"
    return f"{cells} {size / theirs['seconds']:,.2f} | {theirs['peak_mb']} | {times} |"


if __name__ == "__main__":
    write_report()
