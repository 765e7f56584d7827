"""Knowledge bases in the spaces of different models, in one installation: asked together and moved."""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.config import load_settings
from engine.documents.adding import NewDocument
from engine.domain import Principal
from engine.engine import Engine
from engine.errors import InvalidInput
from engine.models.catalogue import E5, MINILM
from engine.runtime import open_engine
from engine.search.confidence import LIKELY
from ingestion.host import run_worker
from tests.fakes.installations import parse_inline
from tests.fakes.models import installed_e5

DATA = Path(__file__).parents[1] / "data"
PAGES = {
    "parking.md": b"# Parking\n\nThe garage opens at half past six on weekdays.\n",
    "leave.md": b"# Leave\n\nEmployees receive three weeks of paid holidays a year.\n",
    "invoices.md": b"# Invoices\n\nInvoices are paid within thirty days.\n",
}


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    parse_inline(monkeypatch)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "models").symlink_to(installed_e5())
    return tmp_path


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[tuple[Engine, Principal]]:
    chosen = load_settings(home, overrides={"embedding.model": "minilm"}, environ={})
    async with open_engine(chosen) as engine:
        yield engine, await engine.people.owner()


async def fill(engine: Engine, owner: Principal, name: str, model: str = "") -> Principal:
    kb = await engine.knowledge_bases.create(owner, name, model=model)
    owner = await engine.people.owner()
    for title, text in PAGES.items():
        await engine.documents.add(
            owner, kb.id, NewDocument(data=text, filename=title, external_id=title)
        )
    await work(engine)
    return owner


async def work(engine: Engine) -> None:
    await run_worker(engine, asyncio.Event(), idle_exit_s=0)


async def test_each_knowledge_base_answers_from_its_own_space_and_moves_to_another(
    home: Path,
) -> None:
    async with opened(home) as (engine, first_owner):
        owner = await fill(engine, first_owner, "english")
        owner = await fill(engine, owner, "world", model="multilingual")
        spaces = {kb.name: kb.space for kb in await engine.knowledge_bases.list_readable(owner)}
        assert spaces == {"english": MINILM.space.name, "world": E5.space.name}

        both = await engine.search.find(owner, "how long are my vacations?")
        assert both.semantic
        assert {hit.kb_name for hit in both.hits[:2]} == {"english", "world"}
        assert {hit.title for hit in both.hits[:2]} == {"Leave"}
        assert all(hit.scores.cosine is not None for hit in both.hits)

        spanish = await engine.search.find(owner, "¿Cuántas semanas de vacaciones tengo al año?")
        assert (spanish.hits[0].kb_name, spanish.hits[0].title) == ("world", "Leave")
        assert "english was searched by keywords only" in spanish.notice

        with pytest.raises(InvalidInput, match="there are minilm, minilm-int8, multilingual"):
            await engine.knowledge_bases.reembed(owner, "english", model="bert")
        queued = await engine.knowledge_bases.reembed(owner, "english", model="multilingual")
        assert (queued.to_space, queued.documents) == (E5.space.name, len(PAGES))
        await work(engine)
        assert (await engine.knowledge_bases.get(owner, "english")).space == E5.space.name
        moved = await engine.search.find(owner, "¿Cuántas semanas de vacaciones tengo al año?")
        assert "keywords only" not in moved.notice
        assert {hit.title for hit in moved.hits[:2]} == {"Leave"}
        assert (await engine.operations.reconcile(owner, repair=False)).clean


async def test_questions_in_five_languages_find_the_english_page_and_are_sure_of_it(
    home: Path,
) -> None:
    pages = [
        json.loads(line)
        for line in (DATA / "across-languages.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    async with opened(home) as (engine, first_owner):
        kb = await engine.knowledge_bases.create(first_owner, "world", model="multilingual")
        owner = await engine.people.owner()
        for page in pages:
            text = f"# {page['title']}\n\n{page['text']}\n".encode()
            new = NewDocument(data=text, filename=f"{page['title']}.md", external_id=page["title"])
            await engine.documents.add(owner, kb.id, new)
        await work(engine)
        first: dict[str, list[bool]] = {}
        sure: dict[str, list[float]] = {}
        for page in pages:
            for language, question in page["questions"].items():
                found = await engine.search.find(owner, question)
                first.setdefault(language, []).append(found.hits[0].title == page["title"])
                sure.setdefault(language, []).append(found.hits[0].confidence)

        right = {language: sum(found) for language, found in first.items()}
        assert all(count >= 8 for count in right.values()), right  # of 12
        assert sum(right.values()) >= 51, right  # of 60
        likely = {language: statistics.median(values) for language, values in sure.items()}
        assert all(value > LIKELY for value in likely.values()), likely
        other = await engine.search.find(owner, "¿Quién ganó la copa del mundo de fútbol?")
        assert other.hits[0].confidence < LIKELY


async def test_a_model_that_is_not_installed_leaves_its_knowledge_base_to_words(
    home: Path,
) -> None:
    async with opened(home) as (engine, first_owner):
        await fill(engine, first_owner, "world", model="multilingual")
    (home / "models").unlink()
    async with opened(home) as (engine, owner):
        found = await engine.search.find(owner, "invoices")

        assert found.hits[0].title == "Invoices"
        assert "Run `scrubjay model install multilingual`" in found.notice
