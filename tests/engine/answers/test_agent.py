"""The loop of a model that answers, natively with tools and in the plain protocol, over real HTTP."""

import json
from dataclasses import replace

import pytest

from engine.access.gate import audience_of_asker
from engine.answers.agent import Budget, Style, write
from engine.answers.ask import Asker, _Turn
from engine.answers.ledger import AgentState
from engine.answers.lookups import AGAIN, CLOSED, invalid, tool_name
from engine.answers.packing import pack
from engine.answers.prompts import load_prompt, prompt_label
from engine.answers.toolbox import ExternalTool, Toolbox
from engine.db.session import Database
from engine.domain import Answered, Delta, Hit, Passage, ScoreParts, Searching
from engine.errors import Unavailable
from engine.models.llm import open_language_model
from tests.fakes.library import Library
from tests.fakes.openai_server import KEY, Fault, Text, ToolCall, ToolCalls, open_server

QUESTION = "How many hours of advanced sick leave can I request?"
LEAVE = (
    "You can request up to 240 hours of advanced sick leave.\n\n"
    "Ask your supervisor in writing, two weeks before.\n\n"
    "The leave office decides within five business days."
)
WRITTEN = "You can request up to 240 hours of advanced sick leave [1]."
VOUCHERS = "Travel vouchers are due within five business days [{}]."


@pytest.fixture
async def library(database: Database, tmp_path):
    made = await Library.create(database, tmp_path)
    yield made
    await made.index.aclose()


@pytest.fixture
async def handbook(library):
    kb = await library.add_kb("handbook")
    await library.add(kb, "Advanced sick leave", LEAVE)
    await library.add(kb, "Travel", "Travel vouchers are due within five business days.")
    return kb


@pytest.fixture
async def server():
    async with open_server() as opened:
        yield opened


@pytest.fixture
async def model(server):
    opened = open_language_model(
        "openai:scripted", base_url=server.base_url, api_key=KEY, retries=0
    )
    yield opened
    await opened.aclose()


async def ask(asker: Asker, reader, question: str = QUESTION, **options):
    seen = [event async for event in asker.ask(*reader, question, **options)]
    assert isinstance(seen[-1], Answered)
    return seen[-1].answer, seen


def shown(events) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def results(request) -> list[str]:
    """What the calls of a request came to."""
    return [m["content"] for m in request.body["messages"] if m["role"] == "tool"]


async def test_a_model_that_takes_tools_is_offered_them_and_answers_in_a_stream(
    library, handbook, server, model
):
    server.enqueue(Text(WRITTEN, pieces=5))
    answer, events = await ask(library.asker(model), library.reader(handbook))
    assert answer.grounded
    assert shown(events) == WRITTEN
    [request] = server.requests
    assert [tool["function"]["name"] for tool in request.body["tools"]] == [
        "search", "read_on", "list_documents",
    ]  # fmt: skip
    assert answer.prompt == prompt_label("answer_tools")


async def test_it_searches_reads_on_and_lists_and_cites_what_that_showed(
    library, handbook, server, model
):
    server.enqueue(
        ToolCalls(
            (
                ToolCall({"query": "travel vouchers"}, "search"),
                ToolCall({"about": "sick leave"}, "list_documents"),
            )
        ),
        ToolCall({"passage": 1}, "read_on"),
        Text(VOUCHERS.format(2)),
    )
    asker = library.asker(model)
    answer, events = await ask(asker, library.reader(handbook), "Who decides when it rains?")
    asked = [event.query for event in events if isinstance(event, Searching)]
    assert asked[1:3] == ["travel vouchers", "sick leave"]
    first, second, last = server.requests
    assert len(results(first)) == 0
    assert len(results(second)) == 2
    assert "- Advanced sick leave" in results(second)[1]
    assert len(results(last)) == 3
    assert answer.input_tokens == 33  # three requests of eleven
    assert "vouchers" in answer.text or answer.outcome == "not_found"


async def test_an_endpoint_that_refuses_tools_is_asked_in_plain_text_and_so_from_then_on(
    library, handbook, server, model
):
    server.enqueue(Fault(400), Text("SEARCH: travel vouchers"), Text(WRITTEN), Text(WRITTEN))
    answer, events = await ask(library.asker(model), library.reader(handbook))
    assert answer.grounded
    assert shown(events) == WRITTEN
    assert ["tools" in request.body for request in server.requests] == [True, False, False]
    assert answer.prompt == prompt_label("answer")
    await ask(library.asker(model), library.reader(handbook))
    assert "tools" not in server.requests[-1].body


@pytest.mark.parametrize(
    ("line", "expected"),
    [("READ ON: 1", "Ask your supervisor"), ("LIST: travel", "Travel"), ("SEARCH: vouchers", "vouchers")],
)  # fmt: skip
async def test_the_plain_protocol_has_the_same_look_ups(
    library, handbook, server, model, line, expected
):
    model.takes_tools = False
    server.enqueue(Text(line), Text(WRITTEN))
    _, events = await ask(library.asker(model), library.reader(handbook))
    assert expected in json.dumps(server.requests[1].body)
    assert line not in shown(events)


async def test_bad_arguments_and_unknown_tools_are_told_to_the_model(
    library, handbook, server, model
):
    server.enqueue(
        ToolCall({"query": 5, "zzz": 1}, "search"),
        ToolCall({"query": 5}, "search"),
        ToolCall({}, "delete_everything"),
        Text(WRITTEN),
    )
    answer, _ = await ask(library.asker(model), library.reader(handbook))
    assert answer.grounded
    assert results(server.requests[-1]) == [
        "Unknown arguments: zzz.",
        "query must be of type string; it was 5.",
        "There is no tool 'delete_everything'. There are: search, read_on, list_documents.",
    ]


async def test_the_same_call_is_made_once(library, handbook, server, model):
    server.enqueue(
        *[ToolCall({"query": "travel vouchers"}, "search")] * 2, Text(VOUCHERS.format(2))
    )
    await ask(library.asker(model), library.reader(handbook))
    assert results(server.requests[-1])[1] == AGAIN


async def test_at_the_limit_a_model_is_asked_once_more_without_tools(
    library, handbook, server, model
):
    calls = [ToolCall({"query": f"thing {n}"}, "search") for n in range(20)]
    server.enqueue(*calls[:5], Text(WRITTEN))
    asker = library.asker(model)
    asker._budget = Budget(requests=6, searches=9)
    answer, _ = await ask(asker, library.reader(handbook))
    assert answer.grounded
    assert len(server.requests) == 6
    assert "tools" not in server.requests[-1].body
    assert CLOSED in json.dumps(server.requests[-1].body)


async def test_tokens_are_reserved_before_a_request(library, handbook, server, model):
    server.enqueue(Text(WRITTEN))
    asker = library.asker(model)
    asker._budget = Budget(tokens=3_000)
    await ask(asker, library.reader(handbook))
    assert "tools" not in server.requests[0].body  # what a second request takes is not there


async def test_the_tokens_of_a_rewrite_and_of_a_model_that_fails_are_counted(
    library, handbook, server, model
):
    asker, reader = library.asker(model), library.reader(handbook)
    server.enqueue(Text(WRITTEN))
    first, _ = await ask(asker, reader)
    server.enqueue(Text("How do I request sick leave?", input_tokens=50), Text(WRITTEN))
    told, _ = await ask(asker, reader, "And how?", conversation_id=first.conversation_id)
    assert told.input_tokens == 61
    server.enqueue(ToolCall({"query": "vouchers"}, "search"), Fault(500))
    fallen, _ = await ask(asker, reader)
    assert (fallen.input_tokens, fallen.model) == (11, "")


# Tools of other servers


class Tracker:
    """A server with one tool; `called` says how often it was asked."""

    tool = ExternalTool(
        "tracker",
        "find_issue",
        "Finds issues.",
        {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
    )

    def __init__(self) -> None:
        self.called: list[dict] = []

    async def list_tools(self):
        return [self.tool]

    async def call(self, tool, arguments):
        self.called.append(dict(arguments))
        return "Issue 7 is closed since Tuesday."

    def toolbox(self, *, yes: bool = True) -> Toolbox:
        async def approve(tool, arguments):
            return yes

        return Toolbox([self.tool], self, approve)


async def test_a_tool_of_another_server_is_called_after_a_yes_and_cited(
    library, handbook, server, model
):
    tracker = Tracker()
    principal, _ = library.reader(handbook)
    reader = (principal, audience_of_asker(principal))
    server.enqueue(
        ToolCall({"id": "7"}, tool_name(Tracker.tool)), Text("Issue 7 is closed since Tuesday [3].")
    )
    answer, _ = await ask(
        library.asker(model), reader, "Is issue 7 closed?", toolbox=tracker.toolbox()
    )
    assert tracker.called == [{"id": "7"}]
    assert answer.citations[0].title == "what tracker/find_issue returned"


async def test_without_a_yes_nothing_is_called(library, handbook, server, model):
    tracker = Tracker()
    principal, _ = library.reader(handbook)
    server.enqueue(ToolCall({"id": "7"}, tool_name(Tracker.tool)), Text("NO ANSWER"))
    await ask(
        library.asker(model),
        (principal, audience_of_asker(principal)),
        toolbox=tracker.toolbox(yes=False),
    )
    assert tracker.called == []
    assert "did not allow this call" in results(server.requests[-1])[0]


# A loop that is interrupted


class Stopped(Exception):
    """The process ends here."""


async def run(library, reader, model, toolbox, state, keep):
    asker = library.asker(model)
    hits = (await library.retriever().search(*reader, QUESTION)).hits
    turn = _Turn(reader[0], reader[1], QUESTION, QUESTION, (), None, None, None, toolbox)
    events = write(
        model, QUESTION, (), hits, asker._lookups(turn, []), Budget(), toolbox, Style(),
        state=state, keep=keep,
    )  # fmt: skip
    return [event async for event in events][-1]


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
async def test_a_loop_that_is_resumed_repeats_no_request_and_no_call(
    library, handbook, server, model, steps
):
    """Stopped after any step, then resumed from what was kept: each call is made once."""
    tracker, reader = Tracker(), library.reader(handbook)
    server.enqueue(
        ToolCalls(
            (
                ToolCall({"query": "travel vouchers"}, "search"),
                ToolCall({"id": "7"}, tool_name(Tracker.tool)),
            )
        ),
        Text("Issue 7 is closed since Tuesday [3]. " + WRITTEN),
    )
    kept: list[dict] = []

    async def keep(state):
        kept.append(json.loads(json.dumps(state.to_json())))
        if len(kept) == steps:
            raise Stopped

    try:
        draft = await run(library, reader, model, tracker.toolbox(), AgentState(), keep)
    except (Stopped, ExceptionGroup):
        state = AgentState.from_json(kept[-1])
        draft = await run(library, reader, model, tracker.toolbox(), state, None)
    assert len(server.requests) == 2
    assert len(tracker.called) <= 1
    assert "240 hours" in draft.checked.text
    assert draft.input_tokens == 22


async def test_a_call_with_an_unclear_end_is_not_made_again(library, handbook, server, model):
    tracker, reader = Tracker(), library.reader(handbook)
    server.enqueue(ToolCall({"id": "7"}, tool_name(Tracker.tool)), Text(WRITTEN))
    kept: list[dict] = []

    async def keep(state):
        kept.append(json.loads(json.dumps(state.to_json())))
        if any(record.begun and not record.ended for record in state.calls.values()):
            raise Stopped

    with pytest.raises(Stopped):
        await run(library, reader, model, tracker.toolbox(), AgentState(), keep)
    draft = await run(
        library, reader, model, tracker.toolbox(), AgentState.from_json(kept[-1]), None
    )
    assert tracker.called == []
    assert "is not known" in results(server.requests[-1])[0]
    assert "240 hours" in draft.checked.text


async def test_a_model_that_is_away_is_said_to_be(server, model):
    server.enqueue(Fault(503))
    with pytest.raises(Unavailable):
        async for _ in model.converse("", ["hello"], ()):
            pass


# What is put before a model


def hit(*texts: str, title: str = "Leave", n: int = 1, gap: int = 2) -> Hit:
    passages, position = [], 0
    for ordinal, text in enumerate(texts):
        passages.append(
            Passage(f"{n:032x}.{ordinal}", ordinal, text, f"{title}\nSick leave", position, position + len(text))
        )  # fmt: skip
        position += len(text) + gap
    return Hit(
        passages[0].id, f"d{n}", f"{n:032x}", "kb", "Handbook", title, "", 0.9, 0.8,
        ScoreParts(0.0, 5.0, 5.0, None, 0.9, 0.9), tuple(passages),
    )  # fmt: skip


def test_neighbours_are_one_passage_and_a_citation_names_the_chunk_it_is_in():
    [source] = pack([], [hit("One hour is given.", "Two hours are asked.")], 1_000)
    assert source.passage.text == "One hour is given.\n\nTwo hours are asked."
    part, start, end = source.part_at(20, 40)
    assert (part.ordinal, part.text[start:end]) == (1, "Two hours are asked.")


def test_what_is_there_already_is_not_shown_again():
    first = hit("You get 240 hours of leave a year, all of you.", n=1)
    again = hit("You get 240 hours of leave a year, all of you!", n=2)
    other = hit("You get 120 hours of leave a year, all of you.", n=3)
    packed = pack([], [first, again, other], 1_000)
    assert [source.hit.document_id for source in packed] == ["d1", "d3"]
    assert pack(packed, [first], 1_000) == []


def test_passages_of_different_places_stay_apart_and_fit_the_room():
    far = hit("a" * 60, "b" * 60, gap=500)
    assert [source.passage.text[0] for source in pack([], [far], 1_000)] == ["a", "b"]
    assert [source.passage.text[0] for source in pack([], [far], 100)] == ["a"]


def test_every_prompt_names_its_version():
    for name in ("answer", "answer_tools", "longer", "longer_tools", "standalone", "summary"):
        label = prompt_label(name)
        assert label.partition("/")[2].isdecimal()
        assert "Version" not in load_prompt(name)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (None, "not a JSON object"),
        ({}, "lack id"),
        ({"id": 7}, "must be of type string"),
        ({"id": "7"}, ""),
    ],
)
def test_arguments_are_checked_before_a_call(arguments, fault):
    said = invalid(Tracker.tool.schema, arguments)
    assert fault in said if fault else said == ""


def test_a_tools_name_fits_every_provider():
    assert tool_name(replace(Tracker.tool, server="a.b", name="x y" * 40)).isascii()
    assert len(tool_name(replace(Tracker.tool, name="n" * 200))) == 64
