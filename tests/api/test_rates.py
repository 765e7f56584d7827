"""REST has a rate for each credential, and says what is left of it."""

from __future__ import annotations

import pytest

from api.rates import HELD_MAX, RequestRates
from engine.clock import new_id
from engine.domain import Principal, Role
from engine.engine import Engine
from engine.errors import Unavailable
from engine.limits import RedisLimits
from tests.api.conftest import OpenClient
from tests.fakes.databases import redis_url
from tests.fakes.homes import make_token

PATH = "/api/v1/knowledge_bases"


def credential(name: str) -> Principal:
    return Principal("t", "u", "", Role.MEMBER, frozenset(), frozenset(), api_token_id=name)


async def test_who_calls_too_often_is_told_when_to_come_back(
    open_client: OpenClient, engine: Engine
) -> None:
    other = {"authorization": f"Bearer {await make_token(engine)}"}
    async with open_client(requests_per_minute=6, requests_burst=2) as client:
        answers = [await client.get(PATH) for _ in range(3)]
        others = await client.get(PATH, headers=other)
        page = await client.get("/health")
    refused = answers[2]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["ratelimit"] for answer in answers] == [
        *('"api";r=1;t=10', '"api";r=0;t=10', '"api";r=0;t=10'),
    ]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"api";q=2;w=20'}
    assert refused.headers["retry-after"] == "10"
    assert refused.json()["code"] == "rate_limited"
    assert others.status_code == 200
    assert "ratelimit" not in page.headers


async def test_a_bucket_fills_again() -> None:
    now = [0.0]
    rates = RequestRates(6, 2, clock=lambda: now[0])
    waits = [(await rates.take(credential("a"))).wait_s for _ in range(3)]
    now[0] = 10.0
    assert waits == [0, 0, 10]
    assert (await rates.take(credential("a"))).wait_s == 0


async def test_servers_on_one_redis_share_a_count() -> None:
    limits = RedisLimits(redis_url())
    try:
        one, two = (RequestRates(6, 2, shared=limits) for _ in range(2))
        who = credential(new_id())
        waits = [(await rates.take(who)).wait_s for rates in (one, two, one)]
    finally:
        await limits.aclose()
    assert waits[:2] == [0, 0]
    assert 9 < waits[2] <= 10


async def test_without_its_redis_a_server_counts_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> float:
        raise Unavailable("Redis can't be reached")

    monkeypatch.setattr(engine.limits, "take", away)
    rates = RequestRates(6, 1, shared=engine.limits)
    waits = [(await rates.take(credential("a"))).wait_s for _ in range(2)]
    assert waits[0] == 0
    assert 9 < waits[1] <= 10


async def test_counts_never_grow_without_bound() -> None:
    rates = RequestRates(1, 1)
    for n in range(HELD_MAX + 100):
        await rates.take(credential(str(n)))
    assert len(rates._full_at) == HELD_MAX
