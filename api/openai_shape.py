"""Answers, models, vectors and errors in the form that OpenAI's clients expect. Pure.

`api/routes/openai.py` sends them. Fields of ours are under `scrubjay`, which such clients pass on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from starlette.responses import Response
from typing_extensions import TypedDict

from api.problems import Problem
from engine import serializers
from engine.domain import Answer, Outcome
from engine.telemetry import correlation_id

_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {"unauthenticated": "invalid_api_key", "rate_limited": "rate_limit_exceeded"}
_MARK = re.compile(r"\[(\d{1,3})\]")
_PIECE = re.compile(r"\S*\s*")  # a word with the blanks behind it: a stream is sent word by word


class OpenAIError(TypedDict):
    """An error; `param` names the field that is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None
    correlation_id: str


class OpenAIErrorReply(TypedDict):
    """An error as OpenAI's API has it."""

    error: OpenAIError


class UrlCitation(TypedDict):
    """Where the answer cites a page: the characters of its number in the text."""

    start_index: int
    end_index: int
    title: str
    url: str


class ChatCitedPassage(TypedDict):
    """What is cited, to the letter."""

    n: int
    id: str
    document_id: str
    where: str
    quote: str


class ChatAnnotation(TypedDict):
    """A citation of an answer."""

    type: Literal["url_citation"]
    url_citation: UrlCitation
    scrubjay: ChatCitedPassage


class ChatVerdict(TypedDict):
    """What the answer is worth: `not_found` means that the text says so."""

    outcome: Outcome
    grounded: bool
    confidence: float
    conversation_id: str


class ChatAnswer(TypedDict):
    """The answer."""

    role: Literal["assistant"]
    content: str
    refusal: None
    annotations: list[ChatAnnotation]


class ChatChoice(TypedDict):
    """The only choice."""

    index: int
    message: ChatAnswer
    finish_reason: Literal["stop"]
    logprobs: None


class ChatUsage(TypedDict):
    """Tokens that a language model read and wrote; 0 where none did."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(TypedDict):
    """An answer with its citations."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage
    scrubjay: ChatVerdict


class ModelReply(TypedDict):
    """What can be asked, or what makes vectors."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelsReply(TypedDict):
    """All of them."""

    object: Literal["list"]
    data: list[ModelReply]


class EmbeddingReply(TypedDict):
    """The vector of a text: numbers, or their 32-bit floats in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(TypedDict):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsReply(TypedDict):
    """EmbeddingsReply of unit length, in the order of the texts."""

    object: Literal["list"]
    data: list[EmbeddingReply]
    model: str
    usage: EmbeddingUsage


def completion(
    answer: Answer, url_of: serializers.UrlOf, *, model: str, created: int
) -> ChatCompletion:
    """A whole answer."""
    return {
        "id": _id(answer),
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": answer.text,
                    "refusal": None,
                    "annotations": citations_of(answer, url_of),
                },
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": usage(answer),
        "scrubjay": verdict(answer),
    }


def chunks(
    answer: Answer,
    url_of: serializers.UrlOf,
    *,
    model: str,
    created: int,
    include_usage: bool,
) -> Iterator[dict[str, Any]]:
    """The same as a stream: its text by words, then citations and verdict, then what it took."""
    head = {
        "id": _id(answer),
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
    }
    usages: dict[str, Any] = {"usage": None} if include_usage else {}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**head, "choices": [choice], **usages}

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for piece in _PIECE.findall(answer.text):
        if piece:
            yield chunk({"content": piece})
    last = chunk({"annotations": citations_of(answer, url_of)}, "stop")
    yield {**last, "scrubjay": verdict(answer)}
    if include_usage:
        yield {**head, "choices": [], "usage": usage(answer)}


def _id(answer: Answer) -> str:
    return f"chatcmpl-{answer.turn_id or correlation_id()}"


def citations_of(answer: Answer, url_of: serializers.UrlOf) -> list[ChatAnnotation]:
    """One for each place in the text that cites; at its end for a citation without a number there."""
    places: dict[int, list[tuple[int, int]]] = {}
    for found in _MARK.finditer(answer.text):
        places.setdefault(int(found[1]), []).append(found.span())
    end = len(answer.text)
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": start,
                "end_index": stop,
                "title": cited.title,
                "url": url_of(cited.url, cited.id),
            },
            "scrubjay": {
                "n": cited.n,
                "id": cited.id,
                "document_id": cited.document_id,
                "where": cited.where,
                "quote": cited.quote,
            },
        }
        for cited in answer.citations
        for start, stop in places.get(cited.n, [(end, end)])
    ]


def verdict(answer: Answer) -> ChatVerdict:
    """What the answer is worth."""
    return {
        "outcome": answer.outcome,
        "grounded": answer.grounded,
        "confidence": answer.confidence,
        "conversation_id": answer.conversation_id,
    }


def usage(answer: Answer) -> ChatUsage:
    """Tokens of the language model, if one wrote the answer."""
    total = answer.input_tokens + answer.output_tokens
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": total,
    }


def model(id_: str, *, created: int = 0) -> ModelReply:
    """A model of `/v1/models`."""
    return {"id": id_, "object": "model", "created": created, "owned_by": "scrubjay"}


def event(data: dict[str, Any]) -> str:
    """An event of a stream, as OpenAI sends them: without a name."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


DONE = "data: [DONE]\n\n"


def error_of(problem: Problem) -> OpenAIErrorReply:
    """A problem in OpenAI's form."""
    kind = _KINDS.get(problem.status, "server_error" if problem.status >= 500 else "")
    return {
        "error": {
            "message": problem.detail,
            "type": kind or "invalid_request_error",
            "param": problem.field or None,
            "code": _CODES.get(problem.code, problem.code),
            "correlation_id": correlation_id(),
        }
    }


def error_response(problem: Problem) -> Response:
    """The same as a response; a body that is wrong is 400 there, and not 422."""
    return Response(
        json.dumps(error_of(problem), ensure_ascii=False),
        status_code=400 if problem.status == 422 else problem.status,
        headers=dict(problem.headers),
        media_type="application/json",
    )
