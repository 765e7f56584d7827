"""`ask`: a finished answer with its citations."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from engine.domain import Answer, Answered, Scope, Searching
from engine.search.filters import parse_filter_line
from engine.search.query_steps import describe_steps
from mcp_server.apps import ANSWER
from mcp_server.call import current
from mcp_server.caller import McpCaller
from mcp_server.tool import KnowledgeTool


class Cited(BaseModel):
    n: int
    id: str
    title: str
    url: str
    where: str
    author: str
    posted_at: str
    quote: str


class CitedAnswer(BaseModel):
    answer: str
    citations: list[Cited]
    grounded: bool
    outcome: str
    confidence: float
    conversation_id: str
    follow_up: str
    read_as: str
    choices: list[str]


DESCRIPTION = (
    "Answer from the team's documents and chats. Marks [n] name exact quotes. outcome is answered, maybe or not_found; unless answered, the pages do not"
    " clearly answer: say so."
)


async def ask(
    question: Annotated[
        str, Field(min_length=1, max_length=2000, description="One whole question.")
    ],
    knowledge_base: Annotated[
        str, Field(max_length=200, description="Name or id; empty: all.")
    ] = "",
    conversation_id: Annotated[str, Field(max_length=64, description="Of an earlier answer.")] = "",
    filter: Annotated[  # noqa: A002 (its name on the wire)
        str, Field(max_length=500, description="As in search.")
    ] = "",
    assistant: str = "",
) -> CitedAnswer:
    """The answer, visible only to the asker."""
    call = current()
    caller = call.caller
    audience = caller.engine.people.audience_of_asker(caller.principal)
    filters, _ = parse_filter_line(filter)
    assistant = assistant or caller.engine.assistants.default(caller.principal)
    answer = None
    events = caller.engine.answers.ask(
        caller.principal,
        audience,
        question,
        kb=knowledge_base,
        conversation_id=conversation_id,
        filters=filters,
        assistant=assistant,
        door="mcp",
    )
    async for event in events:
        if isinstance(event, Answered):
            answer = event.answer
        else:
            call.doing = "Searching" if isinstance(event, Searching) else "Writing the answer"
    if answer is None:
        raise RuntimeError("an answer ended without its last event")
    call.kb_ids = sorted({hit.kb_id for hit in answer.hits})
    call.results = len(answer.citations)
    return _cited(caller, answer)


def _cited(caller: McpCaller, answer: Answer) -> CitedAnswer:
    return CitedAnswer(
        answer=answer.text,
        citations=[
            Cited(
                n=citation.n,
                id=citation.id,
                title=citation.title,
                url=caller.links.url(citation.url, citation.id),
                where=citation.where,
                author=citation.author,
                posted_at=citation.posted_at,
                quote=citation.quote,
            )
            for citation in answer.citations
        ],
        grounded=answer.grounded,
        outcome=answer.outcome,
        confidence=round(answer.confidence, 3),
        conversation_id=answer.conversation_id,
        follow_up=_follow_up(caller, answer),
        read_as=describe_steps(answer.steps),
        choices=list(answer.choices),
    )


def _follow_up(caller: McpCaller, answer: Answer) -> str:
    if answer.citations:
        reads = "Call fetch with a citation's id to read around its quote."
        return "" if caller.only_asks else reads
    if answer.choices:
        return "Ask the person which of choices they mean, then call ask with it."
    if caller.only_asks:
        return "Call ask with other words."
    return "Call search with other words, or list_knowledge_bases to see what there is."


def build_ask() -> KnowledgeTool:
    """The tool `ask`."""
    return KnowledgeTool.of(
        ask,
        scope=Scope.KB_ASK,
        title="Answer from the knowledge bases",
        description=DESCRIPTION,
        card=ANSWER,
        asks=True,
        late="Call search with the same question to read the passages yourself.",
    )
