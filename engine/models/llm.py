"""Any large language model, through pydantic-ai: complete, stream, extract to a schema.

`open_language_model` reads "openai:gpt-…", "anthropic:claude-…" or "ollama:llama3.2"; with a base
URL, "openai:…" is whatever speaks OpenAI's chat API there. `engine/answers/agent.py` calls tools with
`PydanticLanguageModel.converse`. pydantic-ai takes seconds to import, so that happens in a thread when a
model is first used. What a provider says in an error goes nowhere: it may quote the prompt or the key.
"""

# ruff: noqa: PLC0415 (see above)

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import anyio.to_thread
import httpx2

from engine.clock import now
from engine.errors import ConfigurationError, ToolsRefused, Unavailable
from engine.models.port import (
    Completion,
    Extraction,
    Message,
    ModelTurn,
    RequestedCall,
    T,
    ToolResult,
    ToolSpec,
)
from engine.net.http import is_loopback, parse_retry_after
from engine.net.ssrf import GuardedTransport

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import Model
    from pydantic_ai.settings import ModelSettings

_BASE_URLS: dict[str, str] = {  # said here, so that no library takes them from the environment
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "ollama": "http://localhost:11434/v1",
}
PROVIDERS = tuple(_BASE_URLS)
_UNREADABLE = "returned an unreadable response: try again, then check llm.base_url"
_STREAM_FACTOR = 4  # a stream may last that many timeouts, if pieces keep coming
_EXTRACT_RETRIES = 1  # the model sees what was wrong with its first try


class PydanticLanguageModel:
    """A `LanguageModel` on a pydantic-ai model; also a context manager that closes it.

    `timeout_s` bounds a whole answer and its retries; of a stream, the wait for the first piece
    and between pieces.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[str], Model],
        client: httpx2.AsyncClient,
        *,
        timeout_s: float,
        retries: int,
        temperature: float | None = None,
    ) -> None:
        self.name = name
        self._temperature = temperature
        self._build = build
        self._client = client
        self._timeout_s = timeout_s
        self._retries = retries
        self._model: Model | None = None
        self.takes_tools = True  # until the endpoint refuses them

    def __repr__(self) -> str:
        return f"PydanticLanguageModel({self.name})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def load(self) -> Model:
        """The pydantic-ai model, built at the first call."""
        if self._model is None:
            self._model = await anyio.to_thread.run_sync(self._build, self.name.partition(":")[2])
        return self._model

    def tuned(self, *, name: str = "", temperature: float | None = None) -> PydanticLanguageModel:
        """The same provider's model `name` (empty: this one), at this temperature."""
        provider, _, own = self.name.partition(":")
        asked, colon, other = name.partition(":")
        known = colon and asked in _BASE_URLS  # "llama3.2:1b" is the name of one model
        if known and asked != provider:
            raise ConfigurationError(
                f"The model {name!r} is another provider's: this installation uses {provider}."
            )
        chosen = (other if known else name) or own
        return PydanticLanguageModel(
            f"{provider}:{chosen}",
            self._build,
            self._client,
            timeout_s=self._timeout_s,
            retries=self._retries,
            temperature=self._temperature if temperature is None else temperature,
        )

    async def complete(self, system: str, prompt: str, *, max_tokens: int = 1024) -> Completion:
        """One answer to one prompt."""
        model = await self.load()
        from pydantic_ai.direct import model_request

        with self.errors():
            response = await model_request(
                model,
                _messages(system, prompt),
                model_settings=self.settings(max_tokens=max_tokens),
            )
        return _completion(response)

    async def stream(
        self, system: str, prompt: str, *, max_tokens: int = 1024
    ) -> AsyncIterator[str | Completion]:
        """Pieces of the answer as they come; the last item is the whole `Completion`."""
        model = await self.load()
        from pydantic_ai.direct import model_request_stream

        settings = self.settings(max_tokens=max_tokens)
        settings["first_event_timeout"] = self._timeout_s
        settings["request_timeout"] = self._timeout_s * _STREAM_FACTOR
        with self.errors():
            async with model_request_stream(
                model, _messages(system, prompt), model_settings=settings
            ) as response:
                async for event in response:
                    if piece := _text_of(event):
                        yield piece
            yield _completion(response.get())

    async def converse(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        *,
        max_tokens: int = 1024,
    ) -> AsyncIterator[str | ModelTurn]:
        """The next turn of a conversation with tools; see `ToolLanguageModel`."""
        model = await self.load()
        from pydantic_ai.direct import model_request_stream
        from pydantic_ai.exceptions import ModelRequestRejectedError
        from pydantic_ai.models import ModelRequestParameters
        from pydantic_ai.tools import ToolDefinition

        offered = [
            ToolDefinition(
                name=tool.name,
                parameters_json_schema=dict(tool.schema),
                description=tool.description,
            )
            for tool in tools
        ]
        settings = self.settings(max_tokens=max_tokens)
        settings["first_event_timeout"] = self._timeout_s
        settings["request_timeout"] = self._timeout_s * _STREAM_FACTOR
        try:
            with self.errors():
                async with model_request_stream(
                    model,
                    _history(system, messages),
                    model_settings=settings,
                    model_request_parameters=ModelRequestParameters(function_tools=offered),
                ) as response:
                    async for event in response:
                        if piece := _text_of(event):
                            yield piece
                yield _turn(response.get())
        except Unavailable as error:
            if offered and isinstance(error.__context__, ModelRequestRejectedError):
                self.takes_tools = False
                raise ToolsRefused(f"The language model {self.name} takes no tools.") from None
            raise

    async def extract(
        self, system: str, prompt: str, schema: type[T], *, max_tokens: int = 1024
    ) -> Extraction[T]:
        """What the prompt says, as an instance of `schema`; one that does not fit is asked for again."""
        model = await self.load()
        from pydantic_ai import Agent

        agent: Agent[None, T] = Agent(
            model,
            output_type=schema,
            instructions=system,
            retries=_EXTRACT_RETRIES,
            model_settings=self.settings(max_tokens=max_tokens),
        )
        with self.errors():
            result = await agent.run(prompt)
        usage = result.usage
        return Extraction(result.output, usage.input_tokens, usage.output_tokens)

    async def aclose(self) -> None:
        """Close the connections; idempotent."""
        await self._client.aclose()

    def settings(self, *, max_tokens: int) -> ModelSettings:
        """The request settings every call of this model uses."""
        chosen: ModelSettings = {
            "max_tokens": max_tokens,
            "request_timeout": self._timeout_s,
            "max_retries": self._retries,
        }
        if self._temperature is not None:
            chosen["temperature"] = self._temperature
        return chosen

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what pydantic-ai and its clients raise into `Unavailable`, without their words."""
        from pydantic_ai.exceptions import AgentRunError, ModelAPIError

        try:
            yield
        except ModelAPIError as error:
            raise self._unavailable(error) from None
        except (httpx2.HTTPError, TimeoutError):
            raise Unavailable(
                f"The connection to the language model {self.name} broke off: try again."
            ) from None
        except (AgentRunError, ValueError):
            raise Unavailable(f"The language model {self.name} {_UNREADABLE}.") from None

    def _unavailable(self, error: Exception) -> Unavailable:
        from pydantic_ai import exceptions as e

        advice: dict[type[Exception], str] = {  # the first that fits
            e.ModelAuthenticationError: "rejected the key: check llm.api_key",
            e.ModelNotFoundError: "is not known there: check llm.model and llm.base_url",
            e.ModelContextWindowExceededError: "can't process a prompt that long: shorten it",
            e.ModelQuotaExceededError: "has no quota left: see your account there",
            e.ModelRateLimitError: "gets too many requests: wait a moment, or raise your limit "
            "there",
            e.ModelRequestTimeout: f"did not respond within {self._timeout_s:g} s: try again, or "
            "raise llm.timeout_s",
            e.ModelTimeoutError: f"did not respond within {self._timeout_s:g} s: try again, or "
            "raise llm.timeout_s",
            e.ModelConnectionError: "can't be reached: check that it runs and that llm.base_url "
            "is right",
            e.ModelRequestRejectedError: "refused the request: check llm.model",
            e.ModelServerError: "failed on its side: try again later",
            e.ModelUnavailableError: "is overloaded: try again later",
        }
        words = next(
            (text for kind, text in advice.items() if isinstance(error, kind)),
            _UNREADABLE,
        )
        headers = getattr(error, "headers", None) or {}
        return Unavailable(
            f"The language model {self.name} {words}.",
            retry_after_s=parse_retry_after(headers.get("retry-after"), at=now()),
        )


def open_language_model(
    model: str,
    *,
    base_url: str = "",
    api_key: str = "",
    timeout_s: float = 60.0,
    retries: int = 2,
    guarded: bool = False,
    allow_private: bool = False,
) -> PydanticLanguageModel:
    """The model named "provider:name"; opens no connection yet.

    `guarded` is for addresses that a tenant gives: private ones are reached only where the
    operator allows that, and no proxy of the environment is used.

    `ConfigurationError` for an unknown provider, or a key that is missing where one is needed.
    """
    provider, colon, name = model.partition(":")
    if not colon or not name or provider not in _BASE_URLS:
        raise ConfigurationError(
            f"llm.model is {model!r}: write openai:<name>, anthropic:<name> or ollama:<name> (any "
            "OpenAI-compatible server: openai:<name> with llm.base_url)."
        )
    if not api_key and not base_url and provider != "ollama":
        raise ConfigurationError(f"llm.api_key is not set and {model} needs one.")
    url = httpx2.URL(base_url or _BASE_URLS[provider])
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigurationError("llm.base_url is not an http or https URL: write https://host/v1.")
    client = httpx2.AsyncClient(
        timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, 10.0)),
        trust_env=not guarded and not is_loopback(url.host),
        transport=GuardedTransport(allow_private=allow_private) if guarded else None,
        follow_redirects=False,  # the key goes nowhere else
    )
    # the clients insist on some key
    build = partial(_build_model, provider, str(url), api_key or "none", client)
    return PydanticLanguageModel(model, build, client, timeout_s=timeout_s, retries=retries)


def _build_model(
    provider: str, base_url: str, api_key: str, client: httpx2.AsyncClient, name: str
) -> Model:
    if provider == "anthropic":
        from pydantic_ai.models.anthropic import AnthropicModel
        from pydantic_ai.providers.anthropic import AnthropicProvider

        return AnthropicModel(
            name,
            provider=AnthropicProvider(base_url=base_url, api_key=api_key, http_client=client),
        )
    if provider == "ollama":
        from pydantic_ai.models.ollama import OllamaModel
        from pydantic_ai.providers.ollama import OllamaProvider

        return OllamaModel(
            name, provider=OllamaProvider(base_url=base_url, api_key=api_key, http_client=client)
        )
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIChatModel(
        name, provider=OpenAIProvider(base_url=base_url, api_key=api_key, http_client=client)
    )


def _messages(system: str, prompt: str) -> list[ModelMessage]:
    from pydantic_ai import ModelRequest

    return [ModelRequest.user_text_prompt(prompt, instructions=system or None)]


def _completion(response: ModelResponse) -> Completion:
    usage = response.usage
    return Completion(response.text or "", usage.input_tokens, usage.output_tokens)


def _text_of(event: object) -> str:
    """The text an event of a stream adds; thinking and the rest add none."""
    from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta

    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.part.content
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    return ""


def _history(system: str, messages: Sequence[Message]) -> list[ModelMessage]:
    """A conversation as pydantic-ai has it; results that follow one another are one request."""
    from pydantic_ai.messages import (
        ModelRequest,
        ModelResponse,
        TextPart,
        ToolCallPart,
        ToolReturnPart,
        UserPromptPart,
    )

    found: list[ModelMessage] = []
    waiting: list[UserPromptPart | ToolReturnPart] = []
    for message in messages:
        match message:
            case str():
                waiting.append(UserPromptPart(message))
            case ToolResult():
                waiting.append(
                    ToolReturnPart(message.name, message.text, tool_call_id=message.call_id)
                )
            case ModelTurn():
                found.append(ModelRequest(waiting, instructions=system or None))
                waiting = []
                said = [TextPart(message.text)] if message.text else []
                calls = [
                    ToolCallPart(call.name, dict(call.arguments or {}), tool_call_id=call.id)
                    for call in message.calls
                ]
                found.append(ModelResponse([*said, *calls]))
    found.append(ModelRequest(waiting, instructions=system or None))
    return found


def _turn(response: ModelResponse) -> ModelTurn:
    usage = response.usage
    calls = [
        RequestedCall(call.tool_call_id, call.tool_name, _arguments(call.args))
        for call in response.tool_calls
    ]
    return ModelTurn(response.text or "", tuple(calls), usage.input_tokens, usage.output_tokens)


def _arguments(given: object) -> Mapping[str, Any] | None:
    if isinstance(given, str):
        try:
            given = json.loads(given or "{}")
        except ValueError:
            return None
    return {} if given is None else given if isinstance(given, dict) else None
