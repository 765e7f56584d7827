"""Keys, credits and quotas at the doors: what REST answers, and in which headers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from cli.main import main
from cli.serve import build_host
from engine.domain import Scope
from engine.engine import Engine
from engine.runtime import open_engine
from tests.api.conftest import OpenClient
from tests.fakes.homes import home_settings, make_token, this_user
from tests.fakes.openai_server import OpenAIServer, Text

KEY = "sk-test-0123456789abcdefghij"
QUESTION = {"question": "How many hours of sick leave can I request?"}


@pytest.fixture
async def provider() -> AsyncIterator[tuple[OpenAIServer, str]]:
    fake = OpenAIServer(key=KEY)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield fake, f"http://127.0.0.1:{port}/v1"


@pytest.fixture
async def priced(
    engine: Engine, provider: tuple[OpenAIServer, str]
) -> AsyncIterator[httpx2.AsyncClient]:
    """A host whose tenant has a key of its own, which a server on this machine takes."""
    settings = home_settings(engine.settings.home, processing__allow_private_urls=True)
    async with open_engine(settings) as opened:
        owner = await opened.people.owner()
        await opened.llms.set_key(owner, "openai:gpt-4o", api_key=KEY, base_url=provider[1])
        await opened.llms.set_default(owner, "openai:gpt-4o")
        app = build_host(opened, settings, keyless=this_user)
        transport = httpx2.ASGITransport(
            app, client=("127.0.0.1", 4000), raise_app_exceptions=False
        )
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:7337") as client,
        ):
            yield client
        await opened.llms.set_default(owner, "")
        await opened.llms.remove_key(owner, "openai:gpt-4o")


async def test_an_answer_written_with_a_tenants_key_is_booked_and_refused_without_credits(
    engine: Engine, priced: httpx2.AsyncClient, provider: tuple[OpenAIServer, str]
) -> None:
    fake, _ = provider
    owner = await engine.people.owner()
    await engine.llms.grant(owner, "default", credits=1)
    fake.enqueue(Text("You can request up to 240 hours of advanced sick leave [1]."))

    answered = await priced.post("/api/v1/ask", json=QUESTION)
    used = await priced.get("/api/v1/usage?by=model")
    await engine.llms.grant(owner, "default", credits=-2)
    refused = await priced.post("/api/v1/ask", json=QUESTION)
    await engine.llms.grant(owner, "default", credits=100, enforced=False)

    assert answered.status_code == 200, answered.text
    assert "240 hours" in answered.json()["answer"]
    assert KEY in fake.requests[0].headers["authorization"]
    [model] = used.json()["usage"]
    assert (model["name"], model["calls"] >= 1, model["cost"] > 0) == ("openai:gpt-4o", True, True)
    assert used.json()["credits"]["balance"] == pytest.approx(1 - model["cost"])
    assert (refused.status_code, refused.json()["code"]) == (402, "credits_exhausted")
    assert "scrubjay tenant credits default --add" in refused.json()["detail"]


async def test_a_private_base_url_is_not_called_unless_the_operator_allows_it(
    engine: Engine, client: httpx2.AsyncClient, provider: tuple[OpenAIServer, str]
) -> None:
    fake, url = provider
    owner = await engine.people.owner()
    await engine.llms.set_key(owner, "openai:gpt-4o", api_key=KEY, base_url=url)
    await engine.llms.set_default(owner, "openai:gpt-4o")
    try:
        answered = await client.post("/api/v1/ask", json=QUESTION)
    finally:
        await engine.llms.set_default(owner, "")
        await engine.llms.remove_key(owner, "openai:gpt-4o")
    assert answered.status_code == 200
    assert "language model did not answer" in answered.json()["answer"]
    assert fake.requests == []


async def test_keys_are_set_by_a_confirmed_admin_and_shown_masked(
    engine: Engine, client: httpx2.AsyncClient
) -> None:
    token = {"Authorization": f"Bearer {await make_token(engine, *Scope)}"}
    made = await client.put("/api/v1/llm/keys/openai:*", json={"api_key": KEY})
    refused = await client.put("/api/v1/llm/keys/openai:*", json={"api_key": KEY}, headers=token)
    listed = await client.get("/api/v1/llm/keys", headers=token)
    models = await client.get("/api/v1/llm/models?capability=embedding&provider=openai")
    wrong = await client.put("/api/v1/llm/keys/nobody:x", json={"api_key": KEY})
    removed = await client.delete("/api/v1/llm/keys/openai:*")

    assert made.json() == {
        "name": "openai:*",
        "api_key": "sk-…ghij",
        "base_url": "",
        "enabled": True,
    }
    assert (refused.status_code, refused.json()["code"]) == (403, "step_up_required")
    assert listed.json()["keys"] == [made.json()]
    assert {m["name"] for m in models.json()["models"]} >= {"openai:text-embedding-3-small"}
    assert (wrong.status_code, wrong.json()["field"]) == (422, "model")
    assert KEY not in wrong.text + listed.text
    assert removed.json() == {"removed": "openai:*"}


async def test_a_quota_of_requests_is_in_the_headers_and_ends_in_429(
    engine: Engine, open_client: OpenClient
) -> None:
    owner = await engine.people.owner()
    key = {"Authorization": f"Bearer {await make_token(engine)}"}
    path = "/api/v1/knowledge_bases"
    await engine.quotas.set(owner, "key", "requests-per-minute", 2)
    try:
        async with open_client() as client:
            answers = [await client.get(path, headers=key) for _ in range(3)]
            free = await client.get(path)
    finally:
        await engine.quotas.remove(owner, "key", "requests-per-minute")
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit-policy"].endswith(', "key";q=2;w=60')
    assert answers[2].headers["ratelimit"].startswith('"key";r=0;t=')
    assert 0 < int(answers[2].headers["retry-after"]) <= 30
    assert "Each API token may send 2 requests a minute" in answers[2].json()["detail"]
    assert free.status_code == 200


async def test_a_tenant_that_holds_as_many_documents_as_it_may_gets_no_more(
    engine: Engine, client: httpx2.AsyncClient
) -> None:
    owner = await engine.people.owner()
    kinds = {"documents": "5 documents", "bytes": "100 bytes"}
    for kind, said in kinds.items():
        await engine.quotas.bound(owner, "default", kind, int(said.split()[0]))
        files = [("file", (f"{n}.md", f"# Note {kind} {n}\n\nText.\n" * 9)) for n in range(4)]
        refused = await client.post("/api/v1/documents", files=files, data={"kb": "team"})
        await engine.quotas.bound(owner, "default", kind, None)
        assert (refused.status_code, refused.json()["code"]) == (409, "quota_reached")
        assert said in refused.json()["detail"]
        assert "whoever runs this installation" in refused.json()["detail"]


def test_the_command_line_manages_credits_keys_and_quotas(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import io

    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path))
    monkeypatch.setenv("SCRUBJAY_EMBEDDING__MODEL", "hashing")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{KEY}\n"))
    assert main(["llm", "set", "openai:*"]) == 0
    assert main(["llm", "default", "openai:gpt-4o"]) == 0
    assert main(["tenant", "credits", "default", "--add", "2.5"]) == 0
    assert main(["tenant", "limit", "default", "tokens-per-day", "1000"]) == 0
    assert main(["quota", "set", "user", "requests-per-minute", "9"]) == 0
    capsys.readouterr()
    assert main(["llm", "list"]) == main(["llm", "usage"]) == main(["quota", "list"]) == 0
    said = capsys.readouterr()
    assert "sk-…ghij" in said.out
    assert "answers are written by openai:gpt-4o" in said.err
    assert "2.5000 credits left" in said.err
    assert "by the operator" in said.out
    assert KEY not in said.out + said.err
    assert main(["llm", "models", "--provider", "anthropic", "--json"]) == 0
