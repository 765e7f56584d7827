"""Budgets hold in the tokens that models really count, whatever a document is written in.

The judges are cl100k and o200k with their vocabularies (bpe-openai); others count less of most
texts, and single digits, which here cost one each.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import uuid
import warnings
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.documents.adding import NewDocument
from engine.engine import Engine
from ingestion.host import run_worker
from mcp_server import render
from mcp_server.tokens import count_tokens, fitting
from tests.mcp_server.conftest import Assistant
from tests.mcp_server.test_tools import text_of, value_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of importlib.resources, in its import
    import bpe_openai

ENCODINGS = [bpe_openai.get_encoding(name) for name in ("cl100k_base", "o200k_base")]
PROSE = (
    "You can request up to 240 hours of advanced sick leave; approvals take two days. Für Übergrößen"
    " gilt § 3. Les congés payés s'élèvent à 25 jours. Отпуск согласуется заранее. "
    "休暇の申請は二日前までに行ってください。请提前两天提交申请。휴가는 미리 신청하세요. "
)
Make = Callable[[random.Random, int], str]


def real(text: str) -> int:
    """The most that one of the judges counts."""
    return max(len(encoding.encode_ordinary(text)) for encoding in ENCODINGS)


def drawn(*ranges: tuple[int, int]) -> Make:
    """Characters of some ranges of code points, in no order a tokenizer knows."""

    def make(rng: random.Random, n: int) -> str:
        return "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(n))

    return make


def from_letters(letters: str) -> Make:
    return lambda rng, n: "".join(rng.choice(letters) for _ in range(n))


def table(rng: random.Random, n: int) -> str:
    rows = [
        "| "
        + " | ".join(f"{rng.uniform(0, 10 ** rng.randint(1, 7)):,.2f}" for _ in range(6))
        + " |"
        for _ in range(n // 60 + 1)
    ]
    return "\n".join(["| " + " | ".join("abcdef") + " |", "|---|---|---|---|---|---|", *rows])


def listed(rng: random.Random, n: int) -> str:
    item = {"title": "Sick leave", "status": "ready", "updated_at": "2026-11-30T16:41:15+00:00"}
    ids = [uuid.UUID(int=rng.getrandbits(128)).hex for _ in range(n // 130 + 1)]
    return json.dumps([{"id": id_, "url": f"https://kb.example.com/v/{id_}"} | item for id_ in ids])


KINDS: dict[str, Make] = {
    "prose": lambda rng, n: (" ".join(rng.sample(PROSE.split(), 20)) + PROSE * n)[:n],
    "base64": lambda rng, n: base64.b64encode(rng.randbytes(n)).decode(),
    "hex": lambda rng, n: rng.randbytes(n).hex(),
    "codes": lambda rng, n: " ".join(
        str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(n // 30)
    ),
    "digits": from_letters("0123456789"),
    "letters": from_letters("abcdefghijklmnopqrstuvwxyz"),
    "words of no language": from_letters("abcdefghijklmnopqrstuvwxyz     "),
    "capitals": from_letters("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567 "),
    "signs": from_letters("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    "table": table,
    "JSON": listed,
    "CJK": drawn((0x4E00, 0x9FFF)),
    "rare CJK": drawn((0x3400, 0x4DBF), (0x20000, 0x2A6DF)),
    "Hangul": drawn((0xAC00, 0xD7A3)),
    "kana": drawn((0x3041, 0x3096), (0x30A1, 0x30FA)),
    "emoji": drawn((0x1F300, 0x1F64F), (0x1F900, 0x1FAFF)),
    "families of emoji": from_letters("👩👨👧👦\u200d\ufe0f🏽"),
    "accents": drawn((0xC0, 0xFF), (0x100, 0x17F)),
    "Cyrillic": drawn((0x410, 0x44F)),
    "Greek": drawn((0x3B1, 0x3C9)),
    "Arabic": drawn((0x621, 0x64A)),
    "Hebrew": drawn((0x5D0, 0x5EA)),
    "Devanagari": drawn((0x904, 0x939)),
    "Thai": drawn((0xE01, 0xE3A)),
    "boxes and mathematics": drawn((0x2500, 0x257F), (0x2200, 0x22FF)),
    "anything": drawn((0x20, 0x2FFF)),
}


@given(
    seed=st.integers(0, 2**32),
    kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4),
    size=st.integers(200, 1_500),
)
def test_a_count_is_never_below_the_real_one(seed: int, kinds: list[str], size: int) -> None:
    rng = random.Random(seed)
    text = "\n".join(KINDS[kind](rng, size) for kind in kinds)
    for said in (text, json.dumps(text, ensure_ascii=False), json.dumps(text)):
        assert real(said) <= count_tokens(said)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_fits_a_budget_fits_it_really(kind: str) -> None:
    text = KINDS[kind](random.Random(7), 30_000)
    end = render.fit(text, render.FETCH_BUDGET)
    assert 0 < end <= len(text)
    assert real(json.dumps(text[:end], ensure_ascii=False)) <= render.FETCH_BUDGET


def test_prose_is_not_cut_far_below_its_budget() -> None:
    text = "You can request up to 240 hours of advanced sick leave from your manager.\n" * 1_000
    kept = text[: render.fit(text, render.FETCH_BUDGET)]
    assert real(kept) >= 0.7 * render.FETCH_BUDGET
    assert kept.endswith("\n")


def test_the_edges_of_fitting() -> None:
    assert fitting("short", 8_000) == 5
    assert fitting("", 8_000) == 0
    assert render.fit("夜" * 20_000, 8_000) == 3_999
    assert render.fit("x", 0) == 0


def test_a_search_page_never_grows_over_its_budget() -> None:
    items = [{"snippet": KINDS["base64"](random.Random(n), 600)} for n in range(50)]
    shown = render.page_within(items, render.SEARCH_BUDGET)
    assert 1 <= shown < 50
    assert real(json.dumps(items[:shown])) <= render.SEARCH_BUDGET
    assert render.page_within([{"snippet": "x" * 100_000}], 10) == 1


@pytest.mark.parametrize("kind", ["rare CJK", "emoji", "base64", "prose"])
def test_a_snippet_is_short_in_every_script(kind: str) -> None:
    said = render.snippet(KINDS[kind](random.Random(3), 3_000))
    assert said.endswith("…")
    assert real(said) <= render.SNIPPET_BUDGET + 10


async def test_lists_and_searches_keep_what_they_promise(engine: Engine) -> None:
    owner = await engine.people.owner()
    await engine.knowledge_bases.create(owner, "archive")
    owner = await engine.people.owner()
    rng = random.Random(11)
    new = [
        NewDocument(
            data=f"# {n}\n\nminutes {KINDS['rare CJK'](rng, 400)}\n".encode(),
            filename=f"{n}.md",
            title=KINDS["CJK"](rng, 120),
        )
        for n in range(60)
    ]
    await engine.documents.add_many(owner, "archive", new)
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)
    client = Assistant(engine, await engine.people.owner())
    seen, cursor = [], ""
    try:
        while True:
            arguments = {"knowledge_base": "archive", "cursor": cursor}
            result = await client.call_tool("list_documents", arguments)
            assert real(text_of(result)) <= render.SEARCH_BUDGET
            seen += [document["id"] for document in value_of(result)["documents"]]
            if not (cursor := value_of(result)["next_cursor"]):
                break
        found = await client.call_tool(
            "search", {"query": "minutes", "knowledge_base": "archive", "limit": 50}
        )
        page = await client.call_tool("fetch", {"id": seen[0]})
    finally:
        await engine.knowledge_bases.delete(owner, "archive")
    assert len(set(seen)) == len(seen) == 60
    assert real(text_of(found)) <= render.SEARCH_BUDGET
    assert value_of(found)["next_cursor"]
    assert real(text_of(page)) <= render.FETCH_BUDGET
