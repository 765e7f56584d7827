"""`/v1`: the part of OpenAI's API that its clients need to ask, and to make vectors.

`model` says what is asked: `scrubjay` everything the caller may read, `scrubjay/NAME` one knowledge
base, `assistant:SLUG` an assistant. The answer is for the key's owner alone, and passes the same gate, limits and checks as at
`/api/v1/ask`. A stream sends the checked answer only, because it can't take words back.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.openai_shape import (
    DONE,
    ChatCompletion,
    EmbeddingReply,
    EmbeddingsReply,
    ModelReply,
    ModelsReply,
    chunks,
    completion,
    error_of,
    event,
    model,
)
from api.operations import returns
from api.permitted import permitted
from api.problems import HttpRefusal, problem_of
from api.schemas import Body, read_body
from api.service import Service, is_answer, last_answer, principal_of, service_of
from api.streams import MEDIA_TYPE, begun, stream
from engine.access.gate import require
from engine.answers.conversations import PastTurn
from engine.assistants.rows import AssistantInfo
from engine.domain import Answered, AnswerEvent, Principal, Scope
from engine.errors import EngineError, InvalidInput, NotFound
from engine.search.links import Links

log = logging.getLogger(__name__)

EVERYTHING = "scrubjay"
ASSISTANT = "assistant:"
TEXTS_MAX = 256  # of one call for vectors
PAST_MAX = 6  # questions of the past that are read, as of a conversation
WAITING = ": working\n\n"


class TextPart(BaseModel):
    """A part of a message; images and sound can't be read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """A message of a conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    refusal: str | None = None
    annotations: list[dict[str, Any]] | None = None

    @property
    def said(self) -> str:
        """What it says; parts of it on lines of their own."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "\n".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """What a stream also sends."""

    model_config = ConfigDict(frozen=True)

    include_usage: bool = False


class ChatBody(Body):
    """`POST /v1/chat/completions`.

    How a model draws its words (`temperature` and the like) is not for a caller to choose: such a
    field is taken and has no effect. What would change the form of the answer is refused.
    """

    model: Annotated[str, Field(min_length=1, max_length=220)]
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=500)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    # Without effect
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    user: str | None = None
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    # Refused, unless they ask for nothing
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    tools: list[Any] | None = None
    tool_choice: str | dict[str, Any] | None = None
    functions: list[Any] | None = None
    function_call: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None

    def refused(self) -> str:
        """The first field that asks for what there is not; empty: none."""
        asked: dict[str, object] = {
            "n": self.n not in {None, 1},
            "logprobs": self.logprobs,
            "top_logprobs": self.top_logprobs,
            "logit_bias": self.logit_bias,
            "tools": self.tools,
            "tool_choice": _calls(self.tool_choice),
            "functions": self.functions,
            "function_call": _calls(self.function_call),
            "response_format": (self.response_format or {}).get("type", "text") != "text",
            "modalities": (self.modalities or ["text"]) != ["text"],
            "audio": self.audio,
        }
        return next((name for name, value in asked.items() if value), "")


def _calls(choice: str | dict[str, Any] | None) -> bool:
    """Whether a choice of tools wants one called."""
    return choice not in {None, "auto", "none"} if isinstance(choice, str | None) else True


class VectorsBody(Body):
    """`POST /v1/embeddings`; `input_type` `query` embeds what is asked, not what is searched."""

    model: Annotated[str, Field(min_length=1, max_length=220)]
    input: str | Annotated[list[str], Field(min_length=1, max_length=TEXTS_MAX)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    input_type: Literal["document", "query"] = "document"
    user: str | None = None


@returns(ChatCompletion)
@returns(None, media_type=MEDIA_TYPE)
async def chat(request: Request) -> Response:
    """Answer the last message of a conversation, with citations in its annotations.

    The messages before it are its context; nothing of them is kept.
    """
    service = service_of(request)
    principal = await principal_of(request)
    body = await read_body(request, ChatBody)
    principal, assistant = await _assistant(service, principal, body.model)
    require(principal, Scope.KB_ASK)
    if field := body.refused():
        raise InvalidInput(f"{field} is not supported here: leave it out.", field=field)
    kb = "" if assistant else await _knowledge_base(service, principal, body.model)
    question, past, instructions = _read(body.messages)
    links = await service.links(request, principal)
    asked = service.engine.answers.ask(
        principal,
        service.engine.people.audience_of_asker(principal),
        question,
        kb=kb,
        door="http",
        past=past,
        instructions=instructions,
        assistant=assistant,
    )
    events = permitted(request, principal, asked, is_last=is_answer)
    if body.stream:
        return stream(_as_events(service, await begun(events), links, body))
    with service.timed("ask"):
        answer = await last_answer(events)
    made = completion(answer, links.url, model=body.model, created=int(time.time()))
    return JSONResponse(made)


async def _as_events(
    service: Service, events: AsyncIterator[AnswerEvent], links: Links, body: ChatBody
) -> AsyncIterator[str]:
    include_usage = body.stream_options is not None and body.stream_options.include_usage
    created = int(time.time())
    try:
        with service.timed("ask"):
            async for item in events:
                if not isinstance(item, Answered):
                    yield WAITING
                    continue
                for chunk in chunks(
                    item.answer,
                    links.url,
                    model=body.model,
                    created=created,
                    include_usage=include_usage,
                ):
                    yield event(chunk)
    except Exception as error:
        if not isinstance(error, EngineError):
            log.exception("a stream broke off")
        yield event(dict(error_of(problem_of(error))))
        return
    yield DONE


async def _assistant(
    service: Service, principal: Principal, name: str
) -> tuple[Principal, AssistantInfo | str]:
    """The assistant that a model's name asks, empty where it asks none; and who may ask it."""
    if not name.startswith(ASSISTANT):
        return principal, ""
    try:
        return await service.engine.assistants.admitted(principal, name.removeprefix(ASSISTANT))
    except NotFound:
        raise _no_model(name) from None


async def _knowledge_base(service: Service, principal: Principal, name: str) -> str:
    """What a model's name asks; empty: everything the caller may read."""
    if name == EVERYTHING:
        return ""
    prefix, _, kb = name.partition("/")
    if prefix != EVERYTHING or not kb:
        raise _no_model(name)
    try:
        return (await service.engine.knowledge_bases.get(principal, kb)).id
    except NotFound:
        raise _no_model(name) from None


def _no_model(name: str) -> HttpRefusal:
    return HttpRefusal(
        404,
        f"There is no model {name[:100]!r} for this key: GET /v1/models lists those there are.",
        code="model_not_found",
        field="model",
    )


def _read(messages: Sequence[ChatMessage]) -> tuple[str, list[PastTurn], str]:
    """The question, what was asked and answered before it, and what the caller instructs."""
    instructions = [m.said for m in messages if m.role in {"system", "developer"}]
    said = [message for message in messages if message.role in {"user", "assistant"}]
    if not said or said[-1].role != "user":
        raise InvalidInput("The last message must be the user's.", field="messages")
    past: list[PastTurn] = []
    asked = ""
    for message in said[:-1]:
        text = message.said
        if message.role == "user":
            asked = f"{asked}\n{text}".strip()
        elif asked:
            past.append(PastTurn(asked, text, grounded=False))
            asked = ""
    question = f"{asked}\n{said[-1].said}".strip()
    if not question:
        raise InvalidInput("The last message is empty: ask something.", field="messages")
    return question, past[-PAST_MAX:], "\n".join(instructions).strip()


@returns(ModelsReply)
async def models(request: Request) -> Response:
    """What `model` can be: of a question, and of vectors."""
    principal = await principal_of(request)
    return JSONResponse({"object": "list", "data": await _models(request, principal)})


@returns(ModelReply)
async def show_model(request: Request) -> Response:
    """One of them."""
    principal = await principal_of(request)
    name = request.path_params["model"]
    for item in await _models(request, principal):
        if item["id"] == name:
            return JSONResponse(item)
    raise _no_model(name)


async def _models(request: Request, principal: Principal) -> list[ModelReply]:
    engine = service_of(request).engine
    of_assistants = [
        model(f"{ASSISTANT}{item.slug}", created=int(item.created_at.timestamp()))
        for item in await engine.assistants.askable(principal)
    ]
    if principal.assistants is not None:  # a key that asks these alone
        return of_assistants
    require(principal, Scope.KB_READ)
    kbs = await engine.knowledge_bases.list_readable(principal)
    of_kbs = [
        model(f"{EVERYTHING}/{kb.name}", created=int(kb.created_at.timestamp())) for kb in kbs
    ]
    return [model(EVERYTHING), *of_kbs, *of_assistants, model(engine.embedder.space.name)]


@returns(EmbeddingsReply)
async def embeddings(request: Request) -> Response:
    """EmbeddingsReply of texts, by the model that documents are searched with."""
    principal = await principal_of(request)
    require(principal, Scope.KB_READ)
    engine = service_of(request).engine
    body = await read_body(request, VectorsBody)
    embedder = engine.embedder
    if body.model != embedder.space.name:
        raise _no_model(body.model)
    if body.dimensions not in {None, embedder.space.dimension}:
        raise InvalidInput(
            f"dimensions: this model's vectors have {embedder.space.dimension}.",
            field="dimensions",
        )
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not all(text.strip() for text in texts):
        raise InvalidInput("input: a text is empty.", field="input")
    async with engine.admission.admitted():
        tokens = await asyncio.to_thread(embedder.count_tokens, texts)
        if max(tokens) > embedder.max_tokens:
            raise InvalidInput(
                f"input: a text has {max(tokens):,} tokens; this model takes"
                f" {embedder.max_tokens:,}.",
                field="input",
            )
        if body.input_type == "query":
            made = np.stack([await embedder.embed_query(text) for text in texts])
        else:
            made = await embedder.embed_documents(texts)
    data: list[EmbeddingReply] = [
        {"object": "embedding", "index": at, "embedding": _coded(row, body.encoding_format)}
        for at, row in enumerate(made)
    ]
    total = sum(tokens)
    used = {"prompt_tokens": total, "total_tokens": total}
    return JSONResponse({"object": "list", "data": data, "model": body.model, "usage": used})


def _coded(row: Any, form: str) -> list[float] | str:  # noqa: ANN401 (a numpy row)
    if form == "base64":
        return base64.b64encode(np.asarray(row, dtype="<f4").tobytes()).decode()
    return [float(value) for value in row]


ROUTES = (
    Route("/v1/chat/completions", chat, methods=["POST"]),
    Route("/v1/embeddings", embeddings, methods=["POST"]),
    Route("/v1/models", models, methods=["GET"]),
    Route("/v1/models/{model:path}", show_model, methods=["GET"]),
)
