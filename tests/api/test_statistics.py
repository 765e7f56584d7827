"""Statistics and processes over HTTP, in the console, and on the command line, after real questions."""

from __future__ import annotations

import json

import httpx2
import pytest

from cli.main import main
from engine.domain import Scope
from engine.engine import Engine
from engine.errors import Unavailable
from tests.api.conftest import OpenClient
from tests.api.test_sign_in import HTML
from tests.fakes.homes import home_settings, make_token

QUESTION = {"question": "How many hours of sick leave can I request?"}
NOWHERE = {"question": "Which zebra won the lottery of Ouagadougou?"}


async def _away(*_: object, **__: object) -> None:
    raise Unavailable("The index is away.")


async def written(engine: Engine) -> None:
    """Everything that was noted is in the log."""
    log = engine._query_log
    assert log is not None
    await log.flush()


async def test_questions_searches_and_errors_are_counted_once_each_where_they_were_asked(
    client: httpx2.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written(engine)
    before = (await client.get("/api/v1/statistics?days=1")).json()["total"]
    answered = await client.post("/api/v1/ask", json=QUESTION)
    await client.post("/api/v1/ask", json=NOWHERE)
    with monkeypatch.context() as broken:
        broken.setattr(engine.index, "search", _away)
        refused = await client.post("/api/v1/ask", json=QUESTION)
    await client.post("/api/v1/search", json={"query": "sick leave"})
    await written(engine)
    found = (await client.get("/api/v1/statistics?days=1&by=door")).json()
    total = found["total"]

    assert answered.json()["grounded"]
    assert refused.status_code == 503
    counted = {
        name: total["questions"][name] - before["questions"][name]
        for name in ("questions", "answered", "failed")
    }
    assert counted == {"questions": 3, "answered": 1, "failed": 1}
    assert total["searches"]["searches"] - before["searches"]["searches"] == 4
    assert total["questions"]["p95_ms"] > 0
    assert [g["name"] for g in found["groups"] if g["questions"]["questions"]] == ["http"]
    assert (
        sum(g["questions"]["questions"] for g in found["groups"])
        == (total["questions"]["questions"])
    )
    # What was counted before still means the same: searches, and no questions.
    queries = (await client.get("/api/v1/statistics/queries?days=1")).json()
    assert queries["total"]["searches"] == total["searches"]["searches"]


async def test_a_range_or_a_grouping_that_is_none_is_refused(client: httpx2.AsyncClient) -> None:
    for query in ("first=2026-02-02&last=2026-02-01", "by=person", "days=0", "kb=nowhere"):
        refused = await client.get(f"/api/v1/statistics?{query}")
        assert refused.status_code in {400, 404, 422}, query


async def test_numbers_need_their_scope(open_client: OpenClient, engine: Engine) -> None:
    read = await make_token(engine, Scope.KB_READ)
    manage = await make_token(engine, Scope.KB_READ, Scope.KB_MANAGE)
    watch = await make_token(engine, Scope.OPS_READ)
    async with open_client(peer="192.0.2.7", public_url="https://kb.example.com") as client:

        async def status(path: str, token: str) -> int:
            sent = {"Authorization": f"Bearer {token}", "Host": "kb.example.com"}
            return (await client.get(path, headers=sent)).status_code

        assert await status("/api/v1/statistics", read) == 403
        assert await status("/api/v1/statistics", manage) == 200
        assert await status("/api/v1/statistics/processes", manage) == 403
        assert await status("/api/v1/statistics/processes", watch) == 200


async def test_processes_and_queries_are_measured_by_the_names_monitoring_knows(
    client: httpx2.AsyncClient,
) -> None:
    await client.post("/api/v1/search", json={"query": "sick leave"})
    shown = (await client.get("/metrics")).text
    [server] = (await client.get("/api/v1/statistics/processes")).json()["processes"]

    processed = 'scrubjay_queries_processed_total{process="server"} '
    assert float(shown.partition(processed)[2].split()[0]) >= 1
    assert 'scrubjay_query_errors_total{process="server"} ' in shown
    assert 'scrubjay_query_execution_time_seconds_bucket{kind="search",le="+Inf"}' in shown
    assert "# TYPE scrubjay_process_memory_bytes gauge" in shown
    assert "# TYPE scrubjay_process_cpu_seconds_total counter" in shown
    assert server["process"] == "server"
    assert server["figures"]["process_memory_bytes"] > 10_000_000
    assert server["figures"]["process_cpu_seconds_total"] > 0
    assert server["figures"]["process_storage_free_bytes"] > 0


async def test_the_page_shows_every_number_of_its_charts_in_a_table(
    client: httpx2.AsyncClient, engine: Engine
) -> None:
    await client.post("/api/v1/ask", json=QUESTION)
    await written(engine)
    found = (await client.get("/api/v1/statistics?days=7")).json()
    page = await client.get("/console/insight?days=7&by=door", headers=HTML)

    assert page.status_code == 200
    assert page.text.count("<svg ") == 3
    assert page.text.count('role="img"') == 3
    assert "style=" not in page.text  # the policy of the page forbids it
    last = [group for group in found["groups"] if group["questions"]["questions"]][-1]
    day, asked = last["key"], last["questions"]
    assert f"{day}, answered: {asked['answered']:,}" in page.text
    row = page.text.partition(f'<th scope="row">{day}</th>')[2].partition("</tr>")[0]
    assert row.count("<td") == 16
    assert f'<td class="number">{asked["questions"]:,}</td>' in row
    assert '<a href="/console/insight"' in page.text
    # A page that is not there for somebody is not offered to them either
    assert (await client.get("/console/insight?by=person", headers=HTML)).status_code in {400, 422}


async def test_the_command_line_shows_the_same_numbers(
    client: httpx2.AsyncClient, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    await client.post("/api/v1/ask", json=QUESTION)
    await written(engine)
    found = (await client.get("/api/v1/statistics?days=2&by=kb")).json()
    home = str(home_settings(engine.settings.home).home)

    def run(*arguments: str) -> str:
        assert main(["--home", home, "insight", "stats", *arguments]) == 0
        return capsys.readouterr().out

    from asyncio import to_thread

    said = json.loads(await to_thread(run, "--days", "2", "--by", "kb", "--json"))
    assert said["total"]["questions"] == found["total"]["questions"]
    assert said["groups"] == found["groups"]
    assert "not found" in await to_thread(run, "--days", "2")
    assert await to_thread(main, ["--home", home, "insight", "stats", "--first", "soon"]) == 1
    assert "is no date" in capsys.readouterr().err


async def test_days_in_which_nothing_was_asked_show_what_to_do_and_no_empty_charts(
    client: httpx2.AsyncClient,
) -> None:
    await client.post("/api/v1/knowledge_bases", json={"name": "silent"})
    page = await client.get("/console/insight?days=7&kb=silent", headers=HTML)
    assert "Nothing was asked or searched" in page.text
    assert "<svg" not in page.text.partition("<h1>Insight")[2]
