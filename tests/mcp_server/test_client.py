"""Tools of other servers: which are offered, who approves, what their results may do."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from engine.answers.support import CitableSource
from engine.answers.toolbox import RESULT_CHARS, ExternalTool, Toolbox, matching, parse_wanted
from engine.db.session import Database, open_database
from engine.domain import Answered, Audience
from engine.engine import Engine
from engine.errors import ConfigurationError, Forbidden, InvalidInput, Unavailable
from engine.net.ssrf import GuardedTransport
from engine.runtime import open_engine
from mcp_server.client import FILE, McpTools, ServerEntry, load_servers
from tests.fakes.databases import SqliteDatabases
from tests.fakes.homes import home_settings, make_member_token
from tests.fakes.library import Library, ScriptedModel
from tests.mcp_server.hosts import free_port

ROOT = Path(__file__).parents[2]
STDIO = ServerEntry(
    command=sys.executable, args=["-m", "tests.fakes.mcp_stranger"], env={"PYTHONPATH": str(ROOT)}
)
CALL = 'TOOL: tracker/ticket_status {"number": 7}'


@pytest.fixture(scope="module")
def http_port() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.mcp_stranger", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


def test_the_operators_file_names_servers_and_every_fault(tmp_path: Path) -> None:
    assert load_servers(tmp_path) == {}
    (tmp_path / FILE).write_text(
        '[servers.tracker]\ncommand = "npx"\nargs = ["tracker"]\n'
        '[servers.wiki]\nurl = "https://wiki.example.com/mcp"\nheaders = {Authorization = "x"}\n',
        encoding="utf-8",
    )
    assert sorted(load_servers(tmp_path)) == ["tracker", "wiki"]
    for text, said in (
        ("[servers.x]\n", "give either command or url"),
        ('[servers.x]\nurl = "ftp://a"\n', "servers.x: url"),
        ('[servers.x]\ncommand = "a"\nshell = true\n', "servers.x: shell"),
        ('[servers."a/b"]\ncommand = "a"\n', "is not a valid name"),
        ("servers = [", "can't be read"),
        ("other = 1\n", "unknown other"),
    ):
        (tmp_path / FILE).write_text(text, encoding="utf-8")
        with pytest.raises(ConfigurationError, match=said.replace(".", r"\.")):
            load_servers(tmp_path)


async def test_tools_are_listed_and_called_over_both_wires(http_port: int) -> None:
    over_http = ServerEntry(url=f"http://127.0.0.1:{http_port}/mcp")
    gone = ServerEntry(url="http://127.0.0.1:1/mcp")
    tools = McpTools({"a": STDIO, "b": over_http, "c": gone}, allow_private=True)
    found = {tool.key: tool for tool in await tools.list_tools()}
    names = ("ticket_status", "lies", "fails", "hangs")
    assert list(found) == [f"{server}/{name}" for server in "ab" for name in names]
    for server in "ab":
        said = await tools.call(found[f"{server}/ticket_status"], {"number": 7})
        assert said == "Ticket 7 was closed on Friday by Ada.\n"


async def test_what_fails_says_nothing_of_theirs_and_what_is_long_is_cut(
    http_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = McpTools(
        {"b": ServerEntry(url=f"http://127.0.0.1:{http_port}/mcp")}, allow_private=True
    )
    with pytest.raises(Unavailable) as refused:
        await tools.call(ExternalTool("b", "fails", "", {}), {})
    assert str(refused.value) == "b/fails refused the call."
    assert len(await tools.call(ExternalTool("b", "lies", "", {}), {})) == RESULT_CHARS
    monkeypatch.setattr("mcp_server.client.CALL_S", 1.0)
    with pytest.raises(Unavailable, match="b/hangs did not respond"):
        await tools.call(ExternalTool("b", "hangs", "", {}), {})


async def test_private_addresses_are_not_called(http_port: int) -> None:
    tools = McpTools({"b": ServerEntry(url=f"http://127.0.0.1:{http_port}/mcp")})
    assert await tools.list_tools() == []
    async with httpx2.AsyncClient(transport=GuardedTransport()) as client:
        for url in (f"http://127.0.0.1:{http_port}/mcp", "http://169.254.169.254/latest"):
            with pytest.raises(Unavailable, match="private or reserved"):
                await client.get(url)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with open_engine(home_settings(tmp_path)) as opened:
        yield opened


async def test_a_tenants_admin_says_which_tools_answers_may_use(engine: Engine) -> None:
    owner = await engine.people.owner()
    tools = [ExternalTool("tracker", name, "", {}) for name in ("ticket_status", "delete")]
    assert matching(tools, await engine.answers.allowed_tools(owner)) == []
    await engine.answers.allow_tools(owner, "tracker/ticket_*", on=True)
    assert matching(tools, await engine.answers.allowed_tools(owner)) == tools[:1]
    assert await engine.answers.allow_tools(owner, "tracker/ticket_*", on=False) == []
    member = await engine.people.authenticate(await make_member_token(engine))
    with pytest.raises(Forbidden):
        await engine.answers.allow_tools(member, "tracker/*", on=True)
    with pytest.raises(InvalidInput, match="matches no tool name"):
        await engine.answers.allow_tools(owner, "everything", on=True)


@pytest.mark.parametrize(
    ("text", "key", "arguments"),
    [
        (CALL, "tracker/ticket_status", {"number": 7}),
        ('**TOOL:** a/b {"x": {"y": [1]}}', None, None),
        ('  `TOOL: a/b {"x": 1}`', "a/b", {"x": 1}),
        ("TOOL: a/b {broken}", "a/b", None),
        ("TOOL: a/b {}", "a/b", {}),
        ("The TOOL: a/b {} is good [1].", None, None),
        ("TOOL: a/b", None, None),
    ],
)
def test_calls_are_read_from_what_a_model_writes(
    text: str, key: str | None, arguments: dict[str, Any] | None
) -> None:
    wanted = parse_wanted(text)
    assert (wanted.key if wanted else None) == key
    assert (wanted.arguments if wanted else None) == arguments


class Recorded:
    """External tools that answer from a table, and an approver that says what it is told."""

    def __init__(self, *, says: bool = True, fails: bool = False) -> None:
        self.says = says
        self.fails = fails
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.called: list[str] = []

    async def list_tools(self) -> list[ExternalTool]:
        schema = {"properties": {"number": {"type": "integer"}}}
        return [ExternalTool("tracker", "ticket_status", "Status of a ticket.", schema)]

    async def call(self, tool: ExternalTool, arguments: Mapping[str, Any]) -> str:
        self.called.append(tool.key)
        if self.fails:
            raise Unavailable("tracker/ticket_status did not answer.")
        return f"Ticket {arguments['number']} was closed on Friday by Ada.\n"

    async def approve(self, tool: ExternalTool, arguments: Mapping[str, Any]) -> bool:
        self.asked.append((tool.key, arguments))
        return self.says

    async def box(self) -> Toolbox:
        return Toolbox(await self.list_tools(), self, self.approve)


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabases:
    return SqliteDatabases(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture
async def db(databases: SqliteDatabases, tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(databases.new(tmp_path)) as opened:
        yield opened


@pytest.fixture
async def library(db: Database, tmp_path: Path) -> Library:
    made = await Library.create(db, tmp_path)
    made.kb_id = await made.add_kb("team")
    await made.add(made.kb_id, "Tickets", "Tickets are kept in the tracker.")
    return made


async def answered(library: Library, model: ScriptedModel, **how: Any) -> Any:
    principal, _ = library.reader(library.kb_id)
    how.setdefault("audience", Audience("i:", "only Ada", principal.tokens))
    given = how.pop("audience")
    async for event in library.asker(model).ask(
        principal, given, "What became of ticket 7?", **how
    ):
        if isinstance(event, Answered):
            return event.answer
    raise AssertionError("no answer")


async def test_an_answer_rests_on_what_an_approved_call_returned(library: Library) -> None:
    tools = Recorded()
    model = ScriptedModel(CALL, "Ticket 7 was closed on Friday by Ada [2].")
    answer = await answered(library, model, toolbox=await tools.box())
    assert tools.asked == [("tracker/ticket_status", {"number": 7})]
    assert answer.grounded
    [citation] = answer.citations
    assert (citation.document_id, citation.url) == ("", "")
    assert citation.title == "what tracker/ticket_status returned"
    assert "tracker/ticket_status (takes: number): Status of a ticket." in model.prompts[0]
    assert "closed on Friday" in model.prompts[1]
    assert [hit.title for hit in answer.hits] == ["Tickets"]


async def test_a_refused_call_is_not_made(library: Library) -> None:
    tools = Recorded(says=False)
    model = ScriptedModel(CALL, "NO ANSWER")
    answer = await answered(library, model, toolbox=await tools.box())
    assert tools.called == []
    assert "did not allow this call" in model.prompts[1]
    assert not answer.grounded


async def test_a_tool_that_is_away_does_not_end_the_answer(library: Library) -> None:
    tools = Recorded(fails=True)
    model = ScriptedModel(CALL, "Tickets are kept in the tracker [1].")
    answer = await answered(library, model, toolbox=await tools.box())
    assert answer.grounded
    assert "Go on without it." in model.prompts[1]


async def test_calls_are_bounded(library: Library) -> None:
    tools = Recorded()
    model = ScriptedModel(*(CALL.replace("7", str(n)) for n in range(4)))
    answer = await answered(library, model, toolbox=await tools.box())
    assert len(tools.called) == 3
    assert "Tools you may use" not in model.prompts[3]
    assert not answer.grounded


async def test_in_a_channel_there_are_no_tools(library: Library) -> None:
    tools = Recorded()
    model = ScriptedModel("Tickets are kept in the tracker [1].")
    principal, _ = library.reader(library.kb_id)
    channel = Audience("ch:general", "#general", principal.tokens)
    await answered(library, model, toolbox=await tools.box(), audience=channel)
    assert tools.asked == []
    assert "Tools you may use" not in model.prompts[0]


async def test_what_a_tool_says_stands_between_fences(library: Library) -> None:
    tools = Recorded()
    model = ScriptedModel(CALL, "NO ANSWER")
    await answered(library, model, toolbox=await tools.box())
    prompt = model.prompts[1]
    fence = prompt.partition("<<<")[2].split()[0]
    fenced = prompt.partition("what tracker/ticket_status returned")[2].partition(f"{fence}>>>")[0]
    assert "closed on Friday" in fenced


def test_sources_of_tools_are_no_chunks() -> None:
    from engine.answers.toolbox import as_hit
    from engine.domain import parse_chunk_id

    hit = as_hit(0, "tracker/ticket_status", "x")
    assert parse_chunk_id(CitableSource(1, hit, hit.passages[0]).passage.id) is None
