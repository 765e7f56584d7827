"""`ask`: a finished answer with the quotes it rests on."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from mcp.server.mcpserver import Context
from pydantic import BaseModel, Field

from engine.domain import Answer, Answered, Searching
from mcp_server.caller import Caller, Door
from mcp_server.errors import AnswerTimedOut
from mcp_server.tool import KnowledgeTool

LONGEST_S = 25.0  # several clients give a call up after 30 or 60 s
PROGRESS_EVERY_S = 2.0


class Cited(BaseModel):
    n: int
    id: str
    title: str
    url: str
    quote: str


class CitedAnswer(BaseModel):
    answer: str
    citations: list[Cited]
    grounded: bool
    follow_up: str


DESCRIPTION = (
    "Answer a question from the team's documents and chats. The marks [n] name citations with exact"
    " quotes. If grounded is false, the documents do not answer it: say so."
)


def build_ask(door: Door) -> KnowledgeTool:
    """The tool behind `door`."""

    async def ask(
        context: Context,
        question: Annotated[
            str, Field(min_length=1, max_length=2000, description="One question, complete.")
        ],
        knowledge_base: Annotated[
            str, Field(max_length=200, description="Name or id; empty: all you may read.")
        ] = "",
    ) -> CitedAnswer:
        caller = await door.caller(context)
        try:
            async with asyncio.timeout(LONGEST_S):
                answer = await _answered(caller, context, question, knowledge_base)
        except TimeoutError:
            raise AnswerTimedOut(
                f"Answering timed out after {LONGEST_S:.0f} s. Call search with the same question"
                " to read the passages yourself."
            ) from None
        return _cited(caller, answer)

    return KnowledgeTool.reading(
        ask, title="Answer from the knowledge bases", description=DESCRIPTION
    )


async def _answered(caller: Caller, context: Context, question: str, knowledge_base: str) -> Answer:
    """The answer; tells the client about every two seconds that it is on its way."""
    engine, principal = caller.engine, caller.principal
    audience = engine.audience_of_asker(principal)
    told_at, steps = time.monotonic() - PROGRESS_EVERY_S, 0
    answer = None
    async for event in engine.ask(principal, audience, question, kb=knowledge_base, door="mcp"):
        if isinstance(event, Answered):
            answer = event.answer
        elif time.monotonic() - told_at >= PROGRESS_EVERY_S:
            told_at, steps = time.monotonic(), steps + 1
            message = "Searching" if isinstance(event, Searching) else "Writing the answer"
            await context.report_progress(steps, None, message)
    if answer is None:
        raise RuntimeError("an answer ended without its last event")
    return answer


def _cited(caller: Caller, answer: Answer) -> CitedAnswer:
    return CitedAnswer(
        answer=answer.text,
        citations=[
            Cited(
                n=citation.n,
                id=citation.id,
                title=citation.title,
                url=caller.links.url(citation.url, citation.id),
                quote=citation.quote,
            )
            for citation in answer.citations
        ],
        grounded=answer.grounded,
        follow_up="Call fetch with a citation's id to read around its quote."
        if answer.citations
        else "Call search with other words, or list_knowledge_bases to see what there is.",
    )
