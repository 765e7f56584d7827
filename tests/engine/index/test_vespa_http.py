"""The wire to Vespa: what is tried again, what is held back, and what a fault becomes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EngineError, IndexFull, TooLarge, Unavailable
from engine.index import vespa_http
from engine.index.vespa_http import VespaHttp
from engine.index.vespa_throttle import Throttle

WHOLE = {"root": {"fields": {"totalCount": 0}, "coverage": {"coverage": 100, "full": True}}}

Answer = Callable[[httpx2.Request], httpx2.Response]


def reply(status: int = 200, body: object = None, **headers: str) -> Answer:
    return lambda _: httpx2.Response(status, json=body if body is not None else {}, headers=headers)


def reset(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ReadError("connection reset by peer", request=request)


class Server:
    """Gives the answers of a script in order, the last one for ever; notes what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(request)


def talking_to(server: Server, **options: float) -> VespaHttp:
    async def no_wait(_seconds: float) -> None:
        await asyncio.sleep(0)

    return VespaHttp(
        "http://vespa:8080",
        transport=httpx2.MockTransport(server),
        sleep=no_wait,
        **{"query_timeout_s": 5, "feed_timeout_s": 5, **options},  # type: ignore[arg-type]
    )


# Queries


async def test_a_whole_answer_comes_back_as_its_root() -> None:
    server = Server(reply(body=WHOLE))
    root = await talking_to(server).query({"yql": "select * from t where true", "q": "fox"})
    assert root == WHOLE["root"]
    sent = json.loads(server.requests[0].content)
    assert (sent["q"], sent["ranking.softtimeout.enable"]) == ("fox", False)
    assert 0 < int(sent["timeout"].removesuffix("ms")) < 5000


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (reply(503, {"root": {"errors": [{"code": 10}]}}), "could not answer"),
        (reply(504, {"root": {"errors": [{"code": 12}]}}), "could not answer"),
        (reply(200, {"root": {"errors": [{"code": 5}]}}), "could not answer"),
        (reply(404), "could not answer"),
        (
            reply(body={"root": {"coverage": {"coverage": 50, "full": False}}}),
            "from 50 % of its documents",
        ),
        (
            reply(
                body={
                    "root": {
                        "coverage": {
                            "coverage": 100,
                            "degraded": {"timeout": True, "match-phase": False},
                        }
                    }
                }
            ),
            "from 100 % of its documents",
        ),
        (reset, "can't be reached"),
    ],
)
async def test_an_answer_from_some_documents_or_none_is_an_error(answer: Answer, says: str) -> None:
    server = Server(answer)
    with pytest.raises(Unavailable, match=says):
        await talking_to(server).query({"yql": "…"})
    assert len(server.requests) == 3

    passing = Server(answer, reply(body=WHOLE))
    assert await talking_to(passing).query({"yql": "…"}) == WHOLE["root"]


async def test_a_query_nobody_understands_is_not_asked_again() -> None:
    body = {"root": {"errors": [{"code": 4, "message": "no field secret-word"}]}}
    server = Server(reply(400, body))
    with pytest.raises(Unavailable, match="scrubjay vespa deploy") as caught:
        await talking_to(server).query({"yql": "…"})
    assert len(server.requests) == 1
    assert "secret-word" not in str(caught.value)


async def test_a_silent_vespa_is_given_up_in_time() -> None:
    async def silent(_request: httpx2.Request) -> httpx2.Response:
        await asyncio.Event().wait()
        raise AssertionError

    client = VespaHttp(
        "http://vespa:8080",
        transport=httpx2.MockTransport(silent),
        query_timeout_s=0.05,
        feed_timeout_s=0.05,
    )
    async with asyncio.timeout(60):
        with pytest.raises(Unavailable, match=r"in time.*vespa\.query_timeout_s"):
            await client.query({"yql": "…"})
        with pytest.raises(Unavailable, match=r"in time.*vespa\.feed_timeout_s"):
            await client.put("t", "a", {})
    assert client.throttle.under_way == 0


# Documents


async def test_a_document_travels_by_its_quoted_key() -> None:
    server = Server(reply())
    client = talking_to(server)
    assert await client.put("t_a", "d/1?x=1#é", {"n": 1}, condition="t_a.version <= 7") == "done"
    request = server.requests[0]
    assert request.url.raw_path.startswith(
        b"/document/v1/scrubjay/t_a/docid/d%2F1%3Fx%3D1%23%C3%A9?"
    )
    assert request.url.params["condition"] == "t_a.version <= 7"
    assert request.url.params["create"] == "true"
    assert json.loads(request.content) == {"fields": {"n": 1}}

    await client.update("t_a", "d", {"acl": ["x"]})
    assert json.loads(server.requests[1].content) == {"fields": {"acl": {"assign": ["x"]}}}
    await client.remove("t_a", "d")
    assert server.requests[2].method == "DELETE"


async def test_a_newer_document_wins_in_silence() -> None:
    client = talking_to(Server(reply(412)))
    assert await client.put("t", "a", {}, condition="t.version <= 1") == "newer"
    assert client.figures.newer == 1


@pytest.mark.parametrize("fault", [reply(429), reply(503), reply(504), reply(500), reset])
async def test_a_passing_fault_is_waited_for(fault: Answer) -> None:
    server = Server(fault, fault, fault, reply())
    assert await talking_to(server).put("t", "a", {}) == "done"
    assert len(server.requests) == 4


async def test_overload_halves_what_is_under_way_and_success_lets_it_grow() -> None:
    client = talking_to(Server(reply(429), reply()))
    await client.put("t", "a", {})
    assert client.throttle.limit == pytest.approx(8 + 1 / 8)
    for _ in range(100):
        await client.put("t", "a", {})
    assert client.throttle.limit > 15
    assert client.figures.overloads == 1


async def test_a_vespa_that_stays_overloaded_is_an_error_in_time() -> None:
    async with asyncio.timeout(60):
        with pytest.raises(Unavailable, match="HTTP 429"):
            await talking_to(Server(reply(429)), feed_timeout_s=0.05).put("t", "a", {})


async def test_a_full_vespa_holds_all_writes_back_but_not_removals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(VespaHttp, "_now", lambda _: now[0])
    server = Server(reply(507), reply())
    client = talking_to(server)
    with pytest.raises(IndexFull, match="is full: add memory") as caught:
        await client.put("t", "a", {})
    assert caught.value.retry_after_s == vespa_http.FULL_RETRY_S
    for write in (client.put, client.update):
        with pytest.raises(IndexFull):
            await write("t", "b", {})
    assert len(server.requests) == 1  # nothing was sent: the queue pauses as a whole
    assert client.is_blocked
    await client.remove("t", "a")
    assert len(server.requests) == 2
    now[0] += vespa_http.BLOCKED_S
    assert not client.is_blocked
    await client.put("t", "a", {})


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (400, Unavailable, "scrubjay vespa deploy"),
        (404, Unavailable, "scrubjay vespa deploy"),
        (403, Unavailable, "check vespa.url"),
        (413, TooLarge, "too large"),
    ],
)
async def test_what_trying_again_would_not_mend_is_said_at_once(
    status: int, error: type[EngineError], says: str
) -> None:
    server = Server(reply(status, {"message": "secret-word"}))
    with pytest.raises(error, match=says) as caught:
        await talking_to(server).put("t", "a", {})
    assert len(server.requests) == 1
    assert "secret-word" not in str(caught.value)


async def test_a_body_over_the_limit_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vespa_http, "_BODY_MAX", 100)
    server = Server(reply())
    with pytest.raises(TooLarge, match="Split the document"):
        await talking_to(server).put("t", "a", {"text": "x" * 200})
    assert server.requests == []


async def test_whether_a_document_is_there_is_told_from_a_type_nobody_knows() -> None:
    missing = {"pathId": "/document/v1/scrubjay/t/docid/a"}
    assert not await talking_to(Server(reply(404, missing))).exists("t", "a")
    assert await talking_to(Server(reply(200, missing | {"fields": {}}))).exists("t", "a")
    with pytest.raises(Unavailable, match="scrubjay vespa deploy"):
        await talking_to(Server(reply(404))).exists("t", "a")
    with pytest.raises(Unavailable, match="scrubjay vespa deploy"):
        await talking_to(Server(reply(400))).exists("t", "a")


async def test_a_visit_and_a_removal_go_on_until_nothing_continues() -> None:
    pages = [
        {"documents": [{"id": "1", "fields": {"n": 1}}], "continuation": "next"},
        {"documents": [], "continuation": "more"},
        {"documents": [{"id": "2", "fields": {"n": 2}}]},
    ]
    server = Server(*(reply(body=page) for page in pages))
    found = [fields async for fields in talking_to(server).visit("t", "kb", ("n",))]
    assert found == [{"n": 1}, {"n": 2}]
    assert [r.url.params.get("continuation") for r in server.requests] == [None, "next", "more"]
    assert server.requests[0].url.params["fieldSet"] == "t:n"

    server = Server(*(reply(body=page) for page in pages))
    await talking_to(server).remove_where("t", "kb", 't.kb_id == "k"')
    assert [r.url.params.get("continuation") for r in server.requests] == [None, "next", "more"]


async def test_no_more_operations_are_under_way_than_the_throttle_allows() -> None:
    under_way = highest = 0

    async def slow(_request: httpx2.Request) -> httpx2.Response:
        nonlocal under_way, highest
        under_way += 1
        highest = max(highest, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return httpx2.Response(200, json={})

    client = VespaHttp("http://vespa:8080", transport=httpx2.MockTransport(slow))
    client.throttle.limit = 3.0
    client.throttle._most = 3
    await asyncio.gather(*(client.put("t", str(n), {}) for n in range(50)))
    assert highest == 3


async def test_a_cancelled_wait_gives_its_turn_to_the_next() -> None:
    throttle = Throttle(start=1, most=1)
    order: list[str] = []

    async def take(name: str, until: asyncio.Event) -> None:
        async with throttle.slot():
            order.append(name)
            await until.wait()

    gate = asyncio.Event()
    first = asyncio.create_task(take("first", gate))
    second = asyncio.create_task(take("second", gate))
    third = asyncio.create_task(take("third", gate))
    await asyncio.sleep(0)
    second.cancel()
    gate.set()
    async with asyncio.timeout(60):
        await asyncio.gather(first, third)
    assert order == ["first", "third"]
    assert throttle.under_way == 0


@given(st.lists(st.booleans(), max_size=300))
def test_the_limit_stays_within_its_bounds(went_well: list[bool]) -> None:
    throttle = Throttle(start=16, most=64)
    for good in went_well:
        if good:
            throttle.grow()
        else:
            throttle.halve(throttle._round)
        assert 1 <= throttle.limit <= 64


def test_refusals_of_one_round_halve_once() -> None:
    throttle = Throttle(start=64, most=64)
    for _ in range(40):
        throttle.halve(0)
    assert throttle.limit == 32
