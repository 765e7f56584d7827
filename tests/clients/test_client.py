"""`scrubjay-client` against a real server, and against answers that a script gives."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tomllib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

import scrubjay_client
from engine.domain import Scope
from scrubjay_client import (
    Answered,
    AsyncClient,
    Client,
    Conflict,
    ConnectionFailed,
    Delta,
    Forbidden,
    InvalidRequest,
    NotFound,
    ProblemError,
    RateLimited,
    Searching,
    ServerError,
    Unauthenticated,
    Unavailable,
    aio,
    client,
)
from scrubjay_client.policy import Policy
from tests.fakes.homes import PAGES, make_token
from tests.fakes.live_server import LiveServer, live_server

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "python"
QUESTION = "How many hours of advanced sick leave can I request?"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LiveServer]:
    async with live_server(tmp_path) as found:
        yield found


async def test_the_readmes_program_runs(server: LiveServer, tmp_path: Path) -> None:
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    readme = (PACKAGE / "README.md").read_text(encoding="utf-8")
    program = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0]
    assert "http://127.0.0.1:7337" in program
    program = program.replace("http://127.0.0.1:7337", server.address)
    program = program.replace("sj_…", server.key)
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        cwd=tmp_path,
        env={"PYTHONPATH": str(PACKAGE / "src"), "PYTHONIOENCODING": "utf-8"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, faults = await asyncio.wait_for(running.communicate(), 240)
    assert running.returncode == 0, faults.decode()
    lines = said.decode().splitlines()
    assert lines[0].startswith("Hotels ")
    assert "3 documents" in lines
    assert "240 hours" in said.decode()
    assert any(line.startswith("[1] Sick leave: ") for line in lines)


async def test_the_readmes_second_program_streams_an_answer(server: LiveServer) -> None:
    readme = (PACKAGE / "README.md").read_text(encoding="utf-8")
    program = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    program = program.replace("http://127.0.0.1:7337", server.address)
    program = program.replace("sj_…", server.key)
    body = "".join(f"    {line}\n" for line in program.splitlines() if "import" not in line)
    names: dict[str, Any] = {"AsyncClient": AsyncClient, "Answered": Answered, "Delta": Delta}
    said: list[str] = []
    names["print"] = lambda *parts, **_: said.append(" ".join(map(str, parts)))
    exec(f"async def main():\n{body}", names)
    await names["main"]()
    assert said[-1] == "not_found"  # nothing is stored yet


async def test_both_clients_keep_files_in_folders(server: LiveServer) -> None:
    content = b"# A\n\nAlpha text.\n"

    def sync() -> list[str]:
        with Client(server.address, token=server.key) as scrubjay:
            scrubjay.create_knowledge_base("sync")
            folder = scrubjay.create_folder("Sync")
            [file] = scrubjay.add_files([("a.md", content)], folder=folder.id)
            document = scrubjay.link_file(file.id, "sync")
            [link] = scrubjay.get_file(file.id).knowledge_bases
            assert link.document_id == document
            assert scrubjay.download_file(file.id) == content
            moved = scrubjay.change_file(file.id, name="b.md", folder="")
            scrubjay.unlink_file(file.id, "sync")
            scrubjay.delete_file(folder.id)
            return [moved.path, *(one.name for one in scrubjay.list_files())]

    async def asynchronous() -> list[str]:
        async with AsyncClient(server.address, token=server.key) as scrubjay:
            await scrubjay.create_knowledge_base("async")
            folder = await scrubjay.create_folder("Async")
            [file] = await scrubjay.add_files([("a.md", content)], folder=folder.id, kb="async")
            [link] = (await scrubjay.get_file(file.id)).knowledge_bases
            assert link.knowledge_base == "async"
            assert await scrubjay.download_file(file.id) == content
            with pytest.raises(Conflict):
                await scrubjay.delete_file(folder.id)
            await scrubjay.delete_file(folder.id, documents="delete")
            return [one.name async for one in scrubjay.list_files()]

    assert await asyncio.to_thread(sync) == ["b.md", "b.md"]
    assert await asynchronous() == ["b.md"]


async def test_both_clients_do_everything_with_a_knowledge_base(server: LiveServer) -> None:
    def sync() -> list[str]:
        with Client(server.address, token=server.key) as scrubjay:
            made = scrubjay.create_knowledge_base("one", config={"chunk_size": 100})
            again = scrubjay.update_knowledge_base("one", description="first")
            added = scrubjay.upload(
                made.id, [("a.md", b"# A\n\nAlpha text.\n")], processing_config={"tags": ["x"]}
            )
            [document] = scrubjay.wait(added)
            listed = list(scrubjay.list_documents("one", state="ready"))
            scrubjay.delete_document(document.id)
            names = [kb.name for kb in scrubjay.list_knowledge_bases()]
            left = scrubjay.stats("one").document_count
            scrubjay.delete_knowledge_base("one")
            assert listed[0].tags == ["x"]
            return [again.description, document.state, *names, str(left)]

    found = await asyncio.to_thread(sync)
    async with AsyncClient(server.address, token=server.key) as scrubjay:
        made = await scrubjay.create_knowledge_base("one", config={"chunk_size": 100})
        again = await scrubjay.update_knowledge_base("one", description="first")
        added = await scrubjay.upload(
            made.id, [("a.md", b"# A\n\nAlpha text.\n")], processing_config={"tags": ["x"]}
        )
        [document] = await scrubjay.wait(added)
        listed = [item async for item in scrubjay.list_documents("one", state="ready")]
        await scrubjay.delete_document(document.id)
        names = [kb.name for kb in await scrubjay.list_knowledge_bases()]
        left = (await scrubjay.stats("one")).document_count
        await scrubjay.delete_knowledge_base("one")
        who = await scrubjay.request("GET", "/api/v1/user")
    assert [again.description, document.state, *names, str(left)] == found
    assert found[:3] == ["first", "ready", "one"]
    assert listed[0].tags == ["x"]
    assert who["role"] == "owner"


async def test_a_stream_of_an_answer_ends_with_the_answer(server: LiveServer) -> None:
    async with AsyncClient(server.address, token=server.key) as scrubjay:
        kb = await scrubjay.create_knowledge_base("leave")
        await scrubjay.wait(await scrubjay.upload(kb.id, [("l.md", PAGES["leave.md"].encode())]))
        events = [event async for event in scrubjay.ask_stream(QUESTION, kb="leave")]
        follow_up = await scrubjay.ask(
            "And for how many hours?", conversation_id=events[-1].answer.conversation_id
        )

    def sync() -> list[object]:
        with Client(server.address, token=server.key) as scrubjay:
            return list(scrubjay.ask_stream(QUESTION, kb="leave"))

    kinds = [type(event) for event in await asyncio.to_thread(sync)]
    assert isinstance(events[0], Searching)
    assert isinstance(events[-1], Answered)
    assert kinds == [type(event) for event in events]
    assert "240 hours" in events[-1].answer.text
    assert events[-1].answer.citations[0].title == "Sick leave"
    assert follow_up.conversation_id == events[-1].answer.conversation_id


async def test_problems_become_typed_errors(server: LiveServer) -> None:
    reader = await make_token(server.engine, Scope.KB_READ)
    async with (
        AsyncClient(server.address, token=server.key) as owner,
        AsyncClient(server.address, token=reader) as guest,
        AsyncClient(server.address, token="sj_wrong") as stranger,
    ):
        await owner.create_knowledge_base("taken")
        with pytest.raises(Conflict):
            await owner.create_knowledge_base("taken")
        with pytest.raises(InvalidRequest) as wrong:
            await owner.search("", limit=0)
        with pytest.raises(NotFound) as absent:
            await owner.get_knowledge_base("nowhere")
        with pytest.raises(Forbidden):
            await guest.create_knowledge_base("mine")
        with pytest.raises(Unauthenticated):
            await stranger.list_knowledge_bases()
        with pytest.raises(NotFound):
            [_ async for _ in owner.ask_stream("x", kb="nowhere")]
    assert [field for field, _ in wrong.value.faults] == ["query", "limit"]
    assert (absent.value.status, absent.value.code) == (404, "not_found")
    assert len(absent.value.correlation_id) == 32
    assert str(absent.value) == absent.value.detail


# Against answers that a script gives: both clients, the same script.

Script = list[httpx2.Response | Exception]
Run = Callable[[Script], tuple[object, list[httpx2.Request], list[float]]]


def refusal(status: int, retry_after: str = "") -> httpx2.Response:
    body = {"detail": "Not now.", "code": "unavailable", "correlation_id": "c-1"}
    return httpx2.Response(
        status, json=body, headers={"Retry-After": retry_after} if retry_after else {}
    )


def done() -> httpx2.Response:
    return httpx2.Response(200, json={"knowledge_bases": []})


@pytest.fixture(params=["sync", "async"])
def scripted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls `use(client)` with answers of a script; returns result, requests and waits."""

    def run(
        script: Script, use: Callable[[Any], Any]
    ) -> tuple[Any, list[httpx2.Request], list[float]]:
        asked: list[httpx2.Request] = []
        waits: list[float] = []

        def answer(sent: httpx2.Request) -> httpx2.Response:
            asked.append(sent)
            following = script.pop(0)
            if isinstance(following, Exception):
                raise following
            content, headers = following.content, following.headers  # a response is used once
            return httpx2.Response(following.status_code, content=content, headers=headers)

        transport = httpx2.MockTransport(answer)
        if request.param == "sync":
            monkeypatch.setattr(client.time, "sleep", waits.append)
            http = httpx2.Client(transport=transport)
            return use(Client("http://test", token="t", http=http)), asked, waits

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        async def main() -> Any:
            monkeypatch.setattr(aio.asyncio, "sleep", sleep)
            http = httpx2.AsyncClient(transport=transport)
            return await use(AsyncClient("http://test", token="t", http=http))

        return asyncio.run(main()), asked, waits

    return run


def test_what_was_refused_for_now_is_sent_again_after_the_time_named(scripted: Any) -> None:
    script: Script = [refusal(429, "2"), refusal(503, "1"), done()]
    found, asked, waits = scripted(script, lambda c: c.list_knowledge_bases())
    assert (found, len(asked), waits) == ([], 3, [2.0, 1.0])
    assert asked[0].headers["authorization"] == "Bearer t"


def test_a_safe_request_is_sent_again_without_a_time_too(scripted: Any) -> None:
    _, asked, waits = scripted([refusal(503), done()], lambda c: c.list_knowledge_bases())
    assert (len(asked), waits) == (2, [0.5])


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ([refusal(503)], Unavailable),  # a POST that may have done something
        ([refusal(429, "3600")], RateLimited),  # too long to wait
        ([refusal(429, "1")] * 4, RateLimited),
        ([refusal(500)], ServerError),
        ([httpx2.Response(502, text="<html>Bad gateway</html>")], ServerError),
        ([httpx2.ConnectError("refused")], ConnectionFailed),
    ],
)
def test_what_can_not_be_sent_again_is_raised(
    scripted: Any, script: Script, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as raised:
        scripted(list(script), lambda c: c.create_knowledge_base("x"))
    if isinstance(raised.value, ProblemError) and raised.value.status != 502:
        assert raised.value.correlation_id == "c-1"


def test_names_in_paths_are_quoted(scripted: Any) -> None:
    kb = httpx2.Response(200, json={"id": "1", "name": "a/b", "colour": "new"})
    found, asked, _ = scripted([kb], lambda c: c.get_knowledge_base("a/b ?"))
    assert asked[0].url.raw_path == b"/api/v1/knowledge_bases/a%2Fb%20%3F"
    assert found.name == "a/b"


def test_a_stream_that_fails_raises_what_the_server_says() -> None:
    body = 'event: searching\ndata: {"query": "x"}\n\nevent: error\ndata: ' + json.dumps(
        {"code": "conflict", "detail": "Changed.", "correlation_id": "c-2"}
    )
    answer = httpx2.Response(200, text=body + "\n\n")
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: answer))
    with pytest.raises(Conflict) as raised:
        list(Client("http://test", http=http).ask_stream("x"))
    assert raised.value.correlation_id == "c-2"


def test_a_policy_waits_no_longer_than_it_may() -> None:
    error = RateLimited("x", status=429, retry_after_s=5)
    assert Policy(longest_wait_s=5).wait_s(error, attempt=0, is_safe=False) == 5
    assert Policy(longest_wait_s=4).wait_s(error, attempt=0, is_safe=False) is None
    assert Policy(retries=0).wait_s(error, attempt=0, is_safe=True) is None


def test_both_clients_have_the_same_methods() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")} - {"close", "aclose"}

    assert public(Client) == public(AsyncClient)


def test_the_package_is_typed_and_licensed_as_the_repository() -> None:
    metadata = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (PACKAGE / "src" / "scrubjay_client" / "py.typed").exists()
    assert (PACKAGE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert (metadata["license"], metadata["dependencies"]) == ("Apache-2.0", ["httpx2>=2"])
    assert sorted(scrubjay_client.__all__) == scrubjay_client.__all__
