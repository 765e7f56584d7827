"""`/conversations/{id}` and `/ask`: a conversation as a page, with answers that outlast a reload.

A question is posted, its answer runs to its end in `Answering`, and the page reads along: at once,
after a reload, in a second tab. Without a script the page looks again until the answer is there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from api import cookies
from api.permitted import permitted
from api.prose import render_prose
from api.routes.console.visit import Visit, field, sent, tabs_for, visit
from api.schemas import QUESTION_MAX
from api.service import Service, is_answer
from api.streams import MEDIA_TYPE, event, failure, stream
from api.templates import render, render_page
from engine import serializers
from engine.access.gate import require
from engine.answers.history import TurnInfo
from engine.domain import Answer, Answered, AnswerEvent, Delta, Scope
from engine.errors import EngineError, InvalidInput
from engine.search.links import Links, is_web_address
from engine.search.query_steps import describe_steps

LISTED = 40  # conversations at the side
NAME_MAX = 80  # of a question that names its conversation


def path_of(conversation_id: str) -> str:
    """A conversation's page."""
    return f"/conversations/{conversation_id}"


async def ask(request: Request) -> Response:
    """Answer a posted question, in a new conversation or its own; the page of it reads along.

    Who accepts a stream of events reads the answer here.
    """
    here, form = await sent(request)
    require(here.principal, Scope.KB_ASK)
    question, kb = field(form, "q")[:QUESTION_MAX], field(form, "kb")
    assistant = field(form, "assistant")
    if not question:
        raise InvalidInput("q: give a question.", field="q")
    answers, known = here.engine.answers, field(form, "conversation")
    if known:
        conversation = await answers.get_conversation(here.principal, known)
    else:
        conversation = await answers.start_conversation(
            here.principal, name=_short(question), door="http", assistant=assistant
        )
    links = await here.service.links(request, here.principal)
    asked = answers.ask(
        here.principal,
        here.engine.people.audience_of_asker(here.principal),
        question,
        kb=kb,
        conversation_id=conversation.id,
        door="http",
    )
    events = permitted(request, here.principal, asked, is_last=is_answer)
    answering = here.service.answering
    try:
        answering.begin(conversation.id, question, _events(here.service, events, links))
        await answering.begun(conversation.id)
    except EngineError:
        if not known:
            await answers.delete_conversation(here.principal, conversation.id)
        raise
    if MEDIA_TYPE in request.headers.get("accept", "") or "text/html" not in request.headers.get(
        "accept", ""
    ):
        return stream(_from(conversation.id, answering.follow(conversation.id)))
    asked_for = {"asked": question} | ({"kb": kb} if kb else {})
    return RedirectResponse(f"{path_of(conversation.id)}?{urlencode(asked_for)}", status_code=303)


async def _from(conversation_id: str, events: AsyncIterator[str]) -> AsyncIterator[str]:
    yield event("conversation", {"id": conversation_id, "path": path_of(conversation_id)})
    async for item in events:
        yield item


async def _events(
    service: Service, events: AsyncIterator[AnswerEvent], links: Links
) -> AsyncIterator[str]:
    has_begun = False
    try:
        with service.timed("ask"):
            async for item in events:
                if isinstance(item, Answered):
                    yield event("answered", {"html": render_answer(item.answer, links)})
                elif isinstance(item, Delta):
                    yield event("delta", {"text": item.text})
                else:
                    yield event("searching", {"query": item.query})
                has_begun = True
    except Exception as error:
        if not has_begun:
            raise
        yield failure(error)


def render_answer(answer: Answer, links: Links, *, anchor: str = "cite") -> str:
    """An answer with its citations as HTML; each opens highlighted in its document."""
    return render(
        "answer.html",
        anchor=anchor,
        answer=answer,
        reading=describe_steps(answer.steps),
        text=render_prose(
            answer.text, refs={citation.n for citation in answer.citations}, anchor=anchor
        ),
        citations=[
            (
                citation,
                render_prose(citation.quote),
                f"{links.viewer(citation.id)}?quote={citation.start}-{citation.end}#passage",
                citation.url if is_web_address(citation.url) else "",
            )
            for citation in answer.citations
        ],
    )


async def show(request: Request) -> Response:
    """A conversation of one's own, oldest question first."""
    here = await visit(request)
    answers, id_ = here.engine.answers, request.path_params["id"]
    conversation = await answers.get_conversation(here.principal, id_)
    turns = await answers.list_turns(here.principal, id_)
    links = await here.service.links(request, here.principal)
    pending = here.service.answering.question(id_)
    asked = request.query_params.get("asked", "")[:QUESTION_MAX]
    # Asked and neither answered nor under way: the server was stopped in between.
    lost = asked if asked and not pending and not _answers(turns, asked) else ""
    page = render_page(
        "conversation.html",
        **await frame(here, id_),
        conversation=conversation,
        turns=[(turn, _rendered(turn, links)) for turn in turns],
        pending=pending,
        lost=lost,
    )
    page.headers["Referrer-Policy"] = "same-origin"
    page.headers["X-Robots-Tag"] = "noindex, nofollow"
    return page


async def frame(here: Visit, conversation_id: str = "") -> dict[str, Any]:
    """What pages that ask show besides: who is there, their conversations, what may be searched."""
    conversations = []
    if Scope.KB_ASK in here.principal.scopes:
        conversations = await here.engine.answers.list_conversations(here.principal, limit=LISTED)
    return {
        "tabs": tabs_for(here.principal),
        "here": here.request.url.path if conversation_id else "/",
        "principal": here.principal,
        "csrf": cookies.csrf_token(here.engine.secrets, here.principal),
        "conversations": [item for item in conversations if item.turn_count],
        "conversation_id": conversation_id,
        "kb": here.request.query_params.get("kb", ""),
        "kbs": await here.engine.knowledge_bases.list_readable(here.principal),
        "assistants": await here.engine.assistants.list_all(here.principal),
        "assistant": here.request.query_params.get("assistant", ""),
    }


def _rendered(turn: TurnInfo, links: Links) -> str:
    return render_answer(turn.answer, links, anchor=f"cite-{turn.id}") if turn.is_readable else ""


def _answers(turns: list[TurnInfo], asked: str) -> bool:
    return bool(turns) and " ".join(turns[-1].question.split()) == " ".join(asked.split())


async def events(request: Request) -> Response:
    """The answer under way, from its beginning; 204 where none is."""
    here = await visit(request)
    id_ = request.path_params["id"]
    await here.engine.answers.get_conversation(here.principal, id_)
    if not here.service.answering.question(id_):
        return Response(status_code=204)
    return stream(here.service.answering.follow(id_))


async def change(request: Request) -> Response:
    """Stop the answer under way, rename the conversation, or delete it."""
    here, form = await sent(request)
    answers, id_, what = here.engine.answers, request.path_params["id"], field(form, "do")
    await answers.get_conversation(here.principal, id_)
    if what == "stop":
        here.service.answering.stop(id_)
    elif what == "rename":
        await answers.rename_conversation(here.principal, id_, field(form, "name"))
    elif what == "delete":
        here.service.answering.stop(id_)
        await answers.delete_conversation(here.principal, id_)
        return RedirectResponse("/", status_code=303)
    else:
        raise InvalidInput("Choose what to do.", field="do")
    return RedirectResponse(path_of(id_), status_code=303)


async def export(request: Request) -> Response:
    """A conversation as a Markdown file."""
    here = await visit(request)
    answers, id_ = here.engine.answers, request.path_params["id"]
    conversation = await answers.get_conversation(here.principal, id_)
    url_of = (await here.service.links(request, here.principal)).url
    turns = await answers.list_turns(here.principal, id_)
    name = serializers.file_name(conversation.name, "conversation")
    return Response(
        serializers.conversation_markdown(conversation, turns, url_of),
        media_type="text/markdown; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.md"'},
    )


def _short(question: str) -> str:
    words = " ".join(question.split())
    return words if len(words) <= NAME_MAX else words[: NAME_MAX - 1].rsplit(" ", 1)[0] + "…"


ROUTES = (
    Route("/ask", ask, methods=["POST"]),
    Route("/conversations/{id}", show, methods=["GET"]),
    Route("/conversations/{id}", change, methods=["POST"]),
    Route("/conversations/{id}/events", events, methods=["GET"]),
    Route("/conversations/{id}/export", export, methods=["GET"]),
)
