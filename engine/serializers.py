"""Hits, answers and documents as JSON, the same in every interface.

The fields are a promise: add, never rename. `url_of` gives the URL of a hit or citation; an
interface with a viewer passes one that links documents without a URL to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from pydantic_core import to_jsonable_python

from engine.answers.history import ConversationInfo, TurnInfo
from engine.assistants.rows import AssistantInfo
from engine.assistants.widgets import WidgetInfo
from engine.documents.documents import DocumentInfo
from engine.documents.knowledge_bases import KbInfo
from engine.documents.progress import DocumentProgress
from engine.domain import Answer, Answered, AnswerEvent, Citation, Delta, Hit, SearchResult
from engine.operations.status import Status
from engine.search.pages import Page

UrlOf = Callable[[str, str], str]  # of a document's own address and the id of a passage


def own_url(url: str, id: str) -> str:  # noqa: A002, ARG001 (the signature of a UrlOf)
    """The document's own URL, or an empty text."""
    return url


def plain(value: object) -> Any:  # noqa: ANN401 (JSON)
    """A frozen value of the engine as JSON: its fields by name, times as text."""
    return to_jsonable_python(value)


def search(
    result: SearchResult, url_of: UrlOf = own_url, *, include_metadata: bool = True
) -> dict[str, Any]:
    """The hits of a search, best first, its notice, and what its query was read as."""
    hits = [hit(item, url_of, include_metadata=include_metadata) for item in result.hits]
    return {"hits": hits, "notice": result.notice, **reading(result)}


def reading(value: SearchResult | Answer) -> dict[str, Any]:
    """What was searched for where that is not what was typed, and why."""
    return {"searched": value.searched, "steps": [asdict(step) for step in value.steps]}


def hit(value: Hit, url_of: UrlOf = own_url, *, include_metadata: bool = True) -> dict[str, Any]:
    """One hit with its best passage and, unless left out, what is known of its document."""
    found = {
        "id": value.id,
        "document_id": value.document_id,
        "title": value.title,
        "url": url_of(value.url, value.id),
        "where": value.passages[0].where,
        "text": value.text,
        "score": value.score,
        "confidence": value.confidence,
        "scores": asdict(value.scores),
    }
    return found | metadata(value) if include_metadata else found


def metadata(value: Hit) -> dict[str, Any]:
    """What is known of a hit's document; a text is empty where it is not."""
    return {
        "knowledge_base": value.kb_name,
        "source": value.source,
        "author": value.author,
        "updated_at": value.updated_at.isoformat(timespec="seconds") if value.updated_at else "",
        "tags": list(value.tags),
        "metadata": dict(value.fields),
    }


def answer(value: Answer, url_of: UrlOf = own_url) -> dict[str, Any]:
    """An answer and its citations."""
    return {
        "answer": value.text,
        "grounded": value.grounded,
        "outcome": value.outcome,
        "confidence": value.confidence,
        "citations": [citation(item, url_of) for item in value.citations],
        "conversation_id": value.conversation_id,
        **reading(value),
        "choices": list(value.choices),
    }


def conversation(value: ConversationInfo) -> dict[str, Any]:
    """One conversation, without its turns."""
    return {
        "id": value.id,
        "name": value.name,
        "door": value.door,
        "turn_count": value.turn_count,
        "created_at": value.created_at.isoformat(timespec="seconds"),
        "updated_at": value.updated_at.isoformat(timespec="seconds"),
        "assistant": value.assistant,
    }


def conversation_markdown(
    value: ConversationInfo, turns: Sequence[TurnInfo], url_of: UrlOf = own_url
) -> str:
    """A conversation as Markdown, oldest question first, each answer with its sources."""
    lines = [f"# {value.name}", ""]
    for item in turns:
        lines += [f"## {item.question}", "", item.answer.text, ""]
        if item.is_readable and item.answer.citations:
            lines += [
                f"{cited.n}. {cited.title}: {url_of(cited.url, cited.id)}"
                for cited in item.answer.citations
            ] + [""]
    return "\n".join(lines)


def file_name(name: str, otherwise: str) -> str:
    """A name as the stem of a file's: "Sick leave?" is sick-leave."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:60].strip("-") or otherwise


def assistant(value: AssistantInfo) -> dict[str, Any]:
    """An assistant or a search app with its settings."""
    return {
        "id": value.id,
        **value.profile.model_dump(mode="json"),
        "owner": value.owner,
        "may_edit": value.may_edit,
        "version": value.version,
        "created_at": value.created_at.isoformat(timespec="seconds"),
        "updated_at": value.updated_at.isoformat(timespec="seconds"),
    }


def widget(value: WidgetInfo, base_url: str = "") -> dict[str, Any]:
    """A widget; with the server's address also the tag that a page shows it by."""
    shown = {
        "id": value.id,
        "assistant": value.assistant,
        "readers": value.readers,
        "key": value.key,
        "origins": list(value.origins),
        "created_at": value.created_at.isoformat(timespec="seconds"),
    }
    return shown | ({"tag": widget_tag(value.id, base_url)} if base_url else {})


def widget_tag(widget_id: str, base_url: str) -> str:
    """What a page that shows the widget carries."""
    return f'<script src="{base_url}/widget.js" data-widget="{widget_id}" async></script>'


def turn(value: TurnInfo, url_of: UrlOf = own_url) -> dict[str, Any]:
    """A question and its answer, with what it took."""
    return {
        "id": value.id,
        "question": value.question,
        **answer(value.answer, url_of),
        "readable": value.is_readable,
        "model": value.answer.model,
        "prompt": value.answer.prompt,
        "input_tokens": value.answer.input_tokens,
        "output_tokens": value.answer.output_tokens,
        "took_ms": round(value.took_ms, 1),
        "created_at": value.created_at.isoformat(timespec="seconds"),
    }


def citation(value: Citation, url_of: UrlOf = own_url) -> dict[str, Any]:
    """One numbered quote."""
    return {
        "n": value.n,
        "id": value.id,
        "document_id": value.document_id,
        "title": value.title,
        "url": url_of(value.url, value.id),
        "where": value.where,
        "quote": value.quote,
        **said_by(value),
    }


def said_by(value: Citation) -> dict[str, Any]:
    """Who wrote a chat message and when; nothing for other documents."""
    return {"author": value.author, "posted_at": value.posted_at} if value.author else {}


def answer_event(event: AnswerEvent, url_of: UrlOf = own_url) -> dict[str, Any]:
    """An event of an answer's stream; `answered` is last and authoritative."""
    if isinstance(event, Answered):
        return answer(event.answer, url_of)
    if isinstance(event, Delta):
        return {"text": event.text}
    return {"query": event.query}


def documents(listed: Sequence[DocumentInfo]) -> dict[str, Any]:
    """Documents with their state."""
    return {"documents": [document(item) for item in listed]}


def document(value: DocumentInfo) -> dict[str, Any]:
    """One document with its state."""
    return {
        "id": value.id,
        "title": value.title,
        "state": str(value.state),
        "vectors": str(value.vectors),
        "error": value.error,
        "hidden": value.hidden,
        "chunks_created": value.chunk_count,
        "tags": list(value.tags),
        "metadata": dict(value.fields),
        "features": dict(value.features),
    }


def document_progress(value: DocumentProgress) -> dict[str, Any]:
    """The progress of a document by component, and the seconds it probably still takes."""
    return {
        "id": value.id,
        "title": value.title,
        "state": value.state,
        "vectors": value.vectors,
        "progress": round(value.progress, 4),
        "message": value.message,
        "chunks": value.chunk_count,
        "error": value.error,
        "components": dict(value.components),
        "left_s": value.left_s,
    }


def knowledge_base(value: KbInfo) -> dict[str, Any]:
    """One knowledge base."""
    return {
        "id": value.id,
        "name": value.name,
        "description": value.description,
        "documents": value.document_count,
        "updated_at": value.updated_at.isoformat(timespec="seconds"),
        "supported_formats": list(value.formats),
    }


def page(value: Page, url_of: UrlOf = own_url) -> dict[str, Any]:
    """A page of a document's text; `next_id` fetches the one after it."""
    return {
        "id": value.id,
        "document_id": value.document_id,
        "title": value.title,
        "url": url_of(value.url, value.id),
        "where": value.where,
        "text": value.text,
        "knowledge_base": value.kb_name,
        "updated_at": value.updated_at.isoformat(timespec="seconds") if value.updated_at else "",
        "next_id": value.next_id,
        "prev_id": value.prev_id,
        "changed": value.changed,
    }


def status(value: Status) -> dict[str, Any]:
    """Counts by knowledge base, work in progress, workers."""
    return {
        "knowledge_bases": [
            {
                "id": kb.id,
                "name": kb.name,
                "documents": kb.documents,
                "chunks": kb.chunks,
                "states": dict(kb.states),
                "without_vectors": kb.without_vectors,
                "space": kb.space,
                "next_space": kb.next_space,
                "moved": kb.moved,
                "updated_at": kb.updated_at.isoformat(timespec="seconds"),
            }
            for kb in value.knowledge_bases
        ],
        "jobs": {lane: dict(states) for lane, states in value.jobs.items()},
        "workers": len(value.workers),
        "waiting": value.waiting,
    }
