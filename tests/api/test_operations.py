"""Health, metrics, correlation, stopping: what operators and machines rely on."""

from __future__ import annotations

import asyncio
import logging
import re
import socket

import httpx2
import pytest

from api.keyless import is_same_user
from api.metrics import MetricsRegistry
from api.problems import TABLE
from cli.serve import serve
from engine import errors
from engine.engine import Engine
from engine.errors import EngineError, Unavailable
from tests.fakes.homes import home_settings


@pytest.fixture(autouse=True)
def looked_at_each_time(client, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    service = client._transport.app.state.service
    monkeypatch.setattr(service.probing, "_probe", lambda: engine.operations.health())  # noqa: PLW0108
    monkeypatch.setattr("api.probing.AGAIN_S", -1)
    monkeypatch.setattr("api.probing.PATIENCE_S", 20)


async def test_health_says_no_more_than_ok_or_not(
    client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await client.get("/ready")).json() == {"status": "ok"}

    async def ill() -> dict[str, str]:
        return {"database": "the disk of /var/secret is full", "index": ""}

    monkeypatch.setattr(engine.operations, "health", ill)
    answer = await client.get("/health")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable"}


async def test_ready_names_exactly_what_fails_and_not_why(
    client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ill() -> dict[str, str]:
        return {"database": "", "files": "the disk of /var/secret is full", "index": ""}

    monkeypatch.setattr(engine.operations, "health", ill)
    answer = await client.get("/ready")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "failing": ["files"]}


async def test_metrics_count_requests_by_route_and_work_by_state(client) -> None:
    await client.post("/api/v1/search", json={"query": "hotels"})
    text = (await client.get("/metrics")).text
    assert (
        'scrubjay_http_requests_total{method="POST",route="/api/v1/search",status="200"} 1' in text
    )
    assert re.search(r'scrubjay_documents\{state="ready"\} \d', text)
    assert "scrubjay_workers_alive 0" in text
    assert 'scrubjay_search_duration_seconds_count{door="http"} 1' in text


def test_metrics_render_as_prometheus_reads_them() -> None:
    metrics = MetricsRegistry()
    metrics.observe("d_seconds", 0.2, route='a"b')
    metrics.count("n_total")
    lines = metrics.render([("g", {}, 2)], [("m_total", {"process": "w"}, 3)]).splitlines()
    assert lines[-2:] == ["# TYPE m_total counter", 'm_total{process="w"} 3']
    assert lines[:2] == ["# TYPE n_total counter", "n_total 1"]
    assert 'd_seconds_bucket{route="a\\"b",le="0.25"} 1' in lines
    assert 'd_seconds_bucket{route="a\\"b",le="0.1"} 0' in lines
    assert "g 2" in lines


async def test_a_callers_correlation_id_is_kept_when_it_is_plain(client) -> None:
    kept = await client.get("/health", headers={"x-request-id": "abc-123"})
    minted = await client.get("/health", headers={"x-request-id": "a b{}"})
    assert kept.headers["x-request-id"] == "abc-123"
    assert len(minted.headers["x-request-id"]) == 32


async def test_a_crash_shows_an_id_and_nothing_else(
    client, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(*_: object, **__: object) -> None:
        raise KeyError("password of the database")

    monkeypatch.setattr(engine.knowledge_bases, "list_readable", crash)
    with caplog.at_level(logging.ERROR):
        answer = await client.get("/api/v1/knowledge_bases")
    assert answer.status_code == 500
    assert "password" not in answer.text
    assert answer.json()["correlation_id"] == answer.headers["x-request-id"]
    assert "Traceback" in caplog.text


def test_every_error_of_the_engine_has_its_status() -> None:
    found = {
        item.code
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, EngineError)
    }
    assert found == set(TABLE)


async def test_the_server_stops_within_three_seconds_and_ends_open_streams(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def endless(*_: object, **__: object):
        from engine.domain import Searching

        yield Searching("x")
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(engine.answers, "ask", endless)
    settings = home_settings(engine.settings.home, server__port=0)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    serving = asyncio.create_task(
        serve(engine, settings, ready=ready, stop=stop, keyless=is_same_user)
    )
    address = await asyncio.wait_for(ready, 60)
    async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
        body = {"question": "x"}
        headers = {"accept": "text/event-stream"}
        async with client.stream("POST", "/api/v1/ask", json=body, headers=headers) as answer:
            parts = answer.aiter_text()
            assert "searching" in await anext(parts)
            await begun.wait()
            stop.set()
            async with asyncio.timeout(60):
                assert [part async for part in parts] == []
                await serving


async def test_a_taken_port_is_told_with_what_to_do(engine: Engine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = home_settings(engine.settings.home, server__port=port)
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        with pytest.raises(Unavailable, match=f"Port {port} .* --port"):
            await serve(engine, settings, ready=ready, stop=asyncio.Event())
        with pytest.raises(Unavailable):
            await ready
