"""Beside any load: probes answer, the loop stays free, and what is too much is refused in time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import httpx2
import pytest

from api import probing
from cli.serve import build_host
from engine.admission import TURNS
from engine.answers.ask import Asker
from engine.documents.adding import NewDocument
from engine.engine import Engine
from engine.runtime import open_engine
from engine.search.retrieval import Retriever
from ingestion.host import run_worker
from tests.fakes.homes import home_settings, make_token
from tests.fakes.installations import parse_inline
from tests.fakes.loop_monitor import watched_loop

LONGEST_S = 0.1  # of the loop's processor, in one callback
ROUNDS = 3  # what takes long does so in each; a busy machine now and then
ORIGIN = "http://127.0.0.1:7337"
QUESTION = {"question": "How often is pump number 7 checked, and by whom?"}


@pytest.fixture(scope="module")
def busy_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with some hundred pages of some length."""
    home = tmp_path_factory.mktemp("busy")

    async def fill() -> None:
        async with open_engine(home_settings(home)) as engine:
            owner = await engine.people.owner()
            await engine.knowledge_bases.create(owner, "pumps")
            owner = await engine.people.owner()
            pages = [
                NewDocument(
                    data="\n\n".join(
                        f"# Pump {n}, part {part}\n\nPump number {n} is checked by team {part} every"
                        f" {part + 2} weeks. Its pressure is {n * part} bar, and the gauge is read"
                        " twice. " + "The record is kept in the yellow folder. " * 6
                        for part in range(12)
                    ).encode(),
                    filename=f"pump-{n}.md",
                )
                for n in range(120)
            ]
            await engine.documents.add_many(owner, "pumps", pages)
            with pytest.MonkeyPatch.context() as patch:
                parse_inline(patch)
                await run_worker(engine, asyncio.Event(), idle_exit_s=0)

    asyncio.run(fill())
    return home


@asynccontextmanager
async def serving(home: Path, **server: object) -> AsyncIterator[tuple[httpx2.AsyncClient, Engine]]:
    settings = home_settings(home, **{f"server__{name}": value for name, value in server.items()})
    async with open_engine(settings) as engine:
        token = await make_token(engine)
        app = build_host(engine, settings)
        transport = httpx2.ASGITransport(app, client=("127.0.0.1", 4), raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(
                transport=transport,
                base_url="http://127.0.0.1:7337",
                headers={"authorization": f"Bearer {token}"},
                timeout=None,
            ) as client,
        ):
            yield client, engine


async def test_no_callback_of_the_loop_takes_long_while_many_ask(busy_home: Path) -> None:
    async with serving(busy_home) as (client, _):

        async def ask() -> int:
            return (await client.post("/api/v1/ask", json=QUESTION)).status_code

        async def search() -> int:
            body = {"query": "the gauge of pump 11", "limit": 20}
            return (await client.post("/api/v1/search", json=body)).status_code

        await asyncio.gather(ask(), search())  # what is loaded at the first use
        for _ in range(ROUNDS):
            with watched_loop(longest_s=LONGEST_S) as monitor:
                # A full collection comes at some time, and stops the loop wherever it begins.
                asyncio.get_running_loop().call_soon(gc.collect)
                codes = await asyncio.gather(
                    *(ask() for _ in range(12)), *(search() for _ in range(12))
                )
            if not monitor.over:
                break
    assert set(codes) == {200}
    assert monitor.callbacks > 100
    assert monitor.over == []


async def hold(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let no search and no answer end before the event is set."""
    gate = asyncio.Event()
    search, ask = Retriever.search, Asker.ask

    async def slow_search(self: Retriever, *given: object, **more: object) -> object:
        await gate.wait()
        return await search(self, *given, **more)  # type: ignore[arg-type]

    async def slow_ask(self: Asker, *given: object, **more: object) -> AsyncIterator[object]:
        await gate.wait()
        async for event in ask(self, *given, **more):  # type: ignore[arg-type]
            yield event

    monkeypatch.setattr(Retriever, "search", slow_search)
    monkeypatch.setattr(Asker, "ask", slow_ask)
    return gate


async def full(client: httpx2.AsyncClient, engine: Engine, count: int) -> list[asyncio.Task[int]]:
    """So many questions under way."""

    async def ask() -> int:
        return (await client.post("/api/v1/ask", json=QUESTION)).status_code

    tasks = [asyncio.create_task(ask()) for _ in range(count)]
    with anyio.fail_after(60):
        while engine.admission.running < count:  # noqa: ASYNC110 (no event to wait for)
            await asyncio.sleep(0.01)
    return tasks


async def test_what_is_too_much_is_refused_at_every_door_with_a_time_to_come_again(
    filled_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = await hold(monkeypatch)
    async with serving(filled_home, questions_at_once=3) as (client, engine):
        tasks = await full(client, engine, 3)
        stream = {"accept": "text/event-stream"}
        refused = [
            await client.post("/api/v1/ask", json=QUESTION),
            await client.post("/api/v1/ask", json=QUESTION, headers=stream),
            await client.post("/api/v1/search", json={"query": "pump"}),
            await client.post("/ask", data={"q": "pump"}, headers={"origin": ORIGIN}),
            await client.get("/", params={"q": "pump"}),
        ]
        assert [answer.status_code for answer in refused] == [503] * 5
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert "as many as this server takes at once" in refused[0].json()["detail"]
        assert "as many as this server takes at once" in refused[4].text
        called = await client.post(
            "/mcp",
            json={
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": {"name": "search", "arguments": {"query": "pump"}},
            },
            headers={"accept": "application/json, text/event-stream"},
        )
        assert "Try again in" in called.text
        assert int(called.headers["retry-after"]) >= 1
        # What costs little is served all the while.
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/api/v1/documents")).status_code == 200
        gate.set()
        assert await asyncio.gather(*tasks) == [200] * 3
        assert (await client.post("/api/v1/search", json={"query": "pump"})).status_code == 200
        figures = engine.admission.figures()
    assert figures == {"questions_admitted_total": 4, "questions_refused_total": 6}


async def test_those_that_compute_take_turns(
    filled_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, under_way, most = Asker.ask, 0, 0

    async def counted(self: Asker, *given: object, **more: object) -> AsyncIterator[object]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            async for event in ask(self, *given, **more):  # type: ignore[arg-type]
                yield event
        finally:
            under_way -= 1

    monkeypatch.setattr(Asker, "ask", counted)
    async with serving(filled_home) as (client, _):
        asked = (client.post("/api/v1/ask", json=QUESTION) for _ in range(3 * TURNS))
        answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {200}
    assert most == TURNS


async def test_probes_wait_for_no_thread_and_no_connection(
    filled_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "AGAIN_S", 0.0)
    monkeypatch.setattr(probing, "PATIENCE_S", 60.0)
    async with serving(filled_home) as (client, engine), AsyncExitStack() as stack:
        limiter = anyio.to_thread.current_default_thread_limiter()
        for n in range(int(limiter.total_tokens)):  # every thread that others may have is taken
            await limiter.acquire_on_behalf_of(n)
            stack.callback(limiter.release_on_behalf_of, n)
        for _ in range(engine.settings.database.pool_size + engine.settings.database.max_overflow):
            await stack.enter_async_context(engine.db.read())
        with anyio.fail_after(60):
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/ready")).json() == {"status": "ok"}


async def test_a_slow_look_is_answered_for_by_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probing, "AGAIN_S", 0.0)
    monkeypatch.setattr(probing, "PATIENCE_S", 0.0)
    go_on = asyncio.Event()
    found = {"index": "It is gone."}

    async def look() -> dict[str, str]:
        await go_on.wait()
        return dict(found)

    probes = probing.Probing(look)
    first = asyncio.create_task(probes.failing())
    done, _ = await asyncio.wait([first], timeout=0.1)
    assert not done  # nothing is known yet
    go_on.set()
    assert await first == ["index"]
    go_on.clear()
    found.clear()
    assert await probes.failing() == ["index"]  # at once, while the next look is under way
    go_on.set()
    with anyio.fail_after(60):
        while await probes.failing():  # noqa: ASYNC110 (each asks again)
            await asyncio.sleep(0)
    go_on.clear()
    monkeypatch.setattr(probing, "LASTS_S", 0.0)
    late = asyncio.create_task(probes.failing())
    done, _ = await asyncio.wait([late], timeout=0.1)
    assert not done  # too old to be told
    go_on.set()
    assert await late == []


async def test_many_probes_at_once_are_one_look(
    filled_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    async with serving(filled_home) as (client, engine):
        health = engine.operations.health

        async def counted() -> dict[str, str]:
            nonlocal looks
            looks += 1
            return await health()

        monkeypatch.setattr(client._transport.app.state.service.probing, "_probe", counted)  # type: ignore[attr-defined]
        answers = await asyncio.gather(*(client.get("/health") for _ in range(30)))
    assert {answer.status_code for answer in answers} == {200}
    assert looks == 1
