"""The tools, prompts and resources that the official conformance suite calls by name.

Registered beside our own on the same server, so that every scenario passes through our credentials,
rates, audit and transport. What each must do stands in the suite's own descriptions.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.mcpserver.resources import FunctionResource
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    ClientCapabilities,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    MissingRequiredClientCapabilityErrorData,
    SamplingCapability,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)

from mcp_server.server import KnowledgeServer

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
Content = TextContent | ImageContent | AudioContent | EmbeddedResource


def text(said: str) -> TextContent:
    """One block of text."""
    return TextContent(type="text", text=said)


def embedded(uri: str, said: str, mime: str = "text/plain") -> EmbeddedResource:
    """One block that holds a resource."""
    contents = TextResourceContents(uri=uri, mime_type=mime, text=said)
    return EmbeddedResource(type="resource", resource=contents)


def form(message: str, name: str, kind: str = "string") -> ElicitRequest:
    """A question with one field."""
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(prompt: str, max_tokens: int = 100) -> CreateMessageRequest:
    """A prompt for the client's model."""
    return CreateMessageRequest(
        params=CreateMessageRequestParams(
            messages=[SamplingMessage(role="user", content=text(prompt))], max_tokens=max_tokens
        )
    )


def add_fixtures(server: KnowledgeServer) -> None:
    """Register everything."""
    _add_plain_tools(server)
    _add_asking_tools(server)
    _add_multi_round_tools(server)
    _add_prompts(server)
    _add_resources(server)
    _add_handlers(server)


def _add_plain_tools(server: KnowledgeServer) -> None:  # noqa: C901 (a list of small ones)
    @server.tool(structured_output=False)
    async def test_simple_text() -> str:
        """Text."""
        return "This is a simple text response for testing."

    @server.tool(structured_output=False)
    async def test_image_content() -> list[Content]:
        """An image."""
        return [ImageContent(type="image", data=PNG, mime_type="image/png")]

    @server.tool(structured_output=False)
    async def test_audio_content() -> list[Content]:
        """A sound."""
        return [AudioContent(type="audio", data=WAV, mime_type="audio/wav")]

    @server.tool(structured_output=False)
    async def test_embedded_resource() -> list[Content]:
        """A resource."""
        return [embedded("test://embedded-resource", "This is an embedded resource content.")]

    @server.tool(structured_output=False)
    async def test_multiple_content_types() -> list[Content]:
        """Three kinds."""
        data = '{"test":"data","value":123}'
        return [
            text("Multiple content types test:"),
            ImageContent(type="image", data=PNG, mime_type="image/png"),
            embedded("test://mixed-content-resource", data, "application/json"),
        ]

    @server.tool(structured_output=False)
    async def test_tool_with_logging(ctx: Context) -> str:
        """Three log records on the way."""
        for said in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.info(said)
            await asyncio.sleep(0.05)
        return "done"

    @server.tool(structured_output=False)
    async def test_logging_tool(ctx: Context) -> str:
        """One log record, for who wants them."""
        await ctx.info("logged")
        return "done"

    @server.tool(structured_output=False)
    async def test_tool_with_progress(ctx: Context) -> str:
        """Three reports on the way."""
        for progress in (0, 50, 100):
            await ctx.report_progress(progress, 100)
            await asyncio.sleep(0.05)
        return "done"

    @server.tool(structured_output=False)
    async def test_error_handling() -> str:
        """Always an error."""
        raise ToolError("This tool intentionally returns an error for testing")

    @server.tool(structured_output=False)
    async def test_trigger_tool_change(ctx: Context) -> str:
        """Says that the tools changed."""
        await ctx.notify_tools_changed()
        return "done"

    @server.tool(structured_output=False)
    async def test_trigger_prompt_change(ctx: Context) -> str:
        """Says that the prompts changed."""
        await ctx.notify_prompts_changed()
        return "done"

    @server.tool(structured_output=False)
    async def test_missing_capability(ctx: Context) -> str:
        """Needs a client that samples."""
        capabilities = ctx.client_capabilities
        if capabilities is None or capabilities.sampling is None:
            data = MissingRequiredClientCapabilityErrorData(
                required_capabilities=ClientCapabilities(sampling=SamplingCapability())
            )
            raise MCPError(
                code=MISSING_REQUIRED_CLIENT_CAPABILITY,
                message="The client did not declare sampling",
                data=data.model_dump(by_alias=True, mode="json", exclude_none=True),
            )
        return "done"


def _add_asking_tools(server: KnowledgeServer) -> None:
    async def elicited(
        ctx: Context, message: str, properties: dict[str, Any], *required: str
    ) -> str:
        schema = {"type": "object", "properties": properties, "required": list(required)}
        answer = await ctx.session.elicit(message, schema, ctx.request_context.request_id)
        return f"action={answer.action}, content={json.dumps(answer.content)}"

    @server.tool(structured_output=False)
    async def test_sampling(prompt: str, ctx: Context) -> str:
        """Asks the client's model."""
        answer = await ctx.session.create_message(
            [SamplingMessage(role="user", content=text(prompt))],
            max_tokens=100,
            related_request_id=ctx.request_context.request_id,
        )
        said = answer.content.text if isinstance(answer.content, TextContent) else ""
        return f"LLM response: {said}"

    @server.tool(structured_output=False)
    async def test_elicitation(message: str, ctx: Context) -> str:
        """Asks the person."""
        properties = {
            "username": {"type": "string", "description": "User's response"},
            "email": {"type": "string", "description": "User's email address"},
        }
        return f"User response: {await elicited(ctx, message, properties, 'username', 'email')}"

    @server.tool(structured_output=False)
    async def test_streaming_elicitation(ctx: Context) -> InputRequiredResult | str:
        """Asks within the result, never beside it."""
        if ctx.input_responses:
            return "done"
        return InputRequiredResult(input_requests={"name": form("What is your name?", "name")})

    @server.tool(structured_output=False)
    async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
        """Fields with defaults."""
        properties = {
            "name": {"type": "string", "default": "John Doe"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {
                "type": "string",
                "enum": ["active", "inactive", "pending"],
                "default": "active",
            },
            "verified": {"type": "boolean", "default": True},
        }
        return f"Elicitation completed: {await elicited(ctx, 'Please check', properties)}"

    @server.tool(structured_output=False)
    async def test_elicitation_sep1330_enums(ctx: Context) -> str:
        """Every kind of choice."""
        titled = [
            {"const": f"value{n}", "title": f"{word} Option"}
            for n, word in enumerate(("First", "Second", "Third"), 1)
        ]
        options = ["option1", "option2", "option3"]
        properties = {
            "untitledSingle": {"type": "string", "enum": options},
            "titledSingle": {"type": "string", "oneOf": titled},
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
            "titledMulti": {"type": "array", "items": {"anyOf": titled}},
        }
        return f"Elicitation completed: {await elicited(ctx, 'Please choose', properties)}"


def _answer(ctx: Context, key: str) -> Any:
    return (ctx.input_responses or {}).get(key)


def _field(answer: Any, name: str) -> str | None:
    if not isinstance(answer, ElicitResult) or not answer.content:
        return None
    value = answer.content.get(name)
    return None if value is None else str(value)


def _add_multi_round_tools(server: KnowledgeServer) -> None:  # noqa: C901 (a list of small ones)
    @server.tool(structured_output=False)
    async def test_input_required_result_elicitation(ctx: Context) -> InputRequiredResult | str:
        """One question."""
        name = _field(_answer(ctx, "user_name"), "name")
        if name is None:
            return InputRequiredResult(
                input_requests={"user_name": form("What is your name?", "name")}
            )
        return f"Hello, {name}!"

    @server.tool(structured_output=False)
    async def test_input_required_result_sampling(ctx: Context) -> InputRequiredResult | str:
        """One prompt."""
        answer = _answer(ctx, "capital_question")
        if not isinstance(answer, CreateMessageResult):
            return InputRequiredResult(
                input_requests={"capital_question": sampling("What is the capital of France?")}
            )
        return answer.content.text if isinstance(answer.content, TextContent) else "no text"

    @server.tool(structured_output=False)
    async def test_input_required_result_list_roots(ctx: Context) -> InputRequiredResult | str:
        """The client's folders."""
        answer = _answer(ctx, "client_roots")
        if not isinstance(answer, ListRootsResult):
            return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})
        return "Roots: " + ", ".join(str(root.uri) for root in answer.roots)

    @server.tool(structured_output=False)
    async def test_input_required_result_request_state(ctx: Context) -> InputRequiredResult | str:
        """State that comes back."""
        if _field(_answer(ctx, "confirm"), "ok") is None:
            return InputRequiredResult(
                input_requests={"confirm": form("Please confirm", "ok", "boolean")},
                request_state="waiting",
            )
        return "state-ok" if ctx.request_state == "waiting" else "state-lost"

    @server.tool(structured_output=False)
    async def test_input_required_result_multiple_inputs(ctx: Context) -> InputRequiredResult | str:
        """Three kinds of question at once."""
        keys = {"user_name", "greeting", "client_roots"}
        if not keys <= set(ctx.input_responses or {}):
            return InputRequiredResult(
                input_requests={
                    "user_name": form("What is your name?", "name"),
                    "greeting": sampling("Generate a greeting", 50),
                    "client_roots": ListRootsRequest(),
                },
                request_state="all-three",
            )
        return "All inputs received"

    @server.tool(structured_output=False)
    async def test_input_required_result_multi_round(ctx: Context) -> InputRequiredResult | str:
        """Two questions, one after the other."""
        if ctx.request_state == "round-2" and (color := _field(_answer(ctx, "step2"), "color")):
            return f"Favorite color: {color}"
        if ctx.request_state == "round-1" and _field(_answer(ctx, "step1"), "name"):
            question = form("Step 2: What is your favorite color?", "color")
            return InputRequiredResult(input_requests={"step2": question}, request_state="round-2")
        question = form("Step 1: What is your name?", "name")
        return InputRequiredResult(input_requests={"step1": question}, request_state="round-1")

    @server.tool(structured_output=False)
    async def test_input_required_result_tampered_state(ctx: Context) -> InputRequiredResult | str:
        """State nobody can change: the SDK seals it, and refuses a broken seal."""
        if ctx.request_state is None:
            return InputRequiredResult(
                input_requests={"confirm": form("Please confirm", "ok", "boolean")},
                request_state="sealed",
            )
        if ctx.request_state != "sealed":
            raise MCPError(code=INVALID_PARAMS, message="requestState was changed")
        return "intact"

    @server.tool(structured_output=False)
    async def test_input_required_result_capabilities(ctx: Context) -> InputRequiredResult | str:
        """Asks only what the client can answer."""
        capabilities = ctx.client_capabilities or ClientCapabilities()
        asked: dict[str, Any] = {}
        if capabilities.elicitation is not None:
            asked["name"] = form("What is your name?", "name")
        if capabilities.sampling is not None:
            asked["greeting"] = sampling("Generate a greeting")
        if not asked or ctx.input_responses:
            return "done"
        return InputRequiredResult(input_requests=asked)


def _add_prompts(server: KnowledgeServer) -> None:
    @server.prompt()
    def test_simple_prompt() -> str:
        """Text."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """Text with both arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803
        """A resource and a request."""
        return [
            UserMessage(embedded(resourceUri, "Embedded resource content for testing.")),
            UserMessage("Please process the embedded resource above."),
        ]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """An image and a request."""
        return [
            UserMessage(ImageContent(type="image", data=PNG, mime_type="image/png")),
            UserMessage("Please analyze the image above."),
        ]

    @server.prompt()
    async def test_input_required_result_prompt(ctx: Context) -> InputRequiredResult | str:
        """A prompt that asks first."""
        context = _field(_answer(ctx, "user_context"), "context")
        if context is None:
            question = form("What context should the prompt use?", "context")
            return InputRequiredResult(input_requests={"user_context": question})
        return f"Use this context: {context}"


def _add_resources(server: KnowledgeServer) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        import base64

        return base64.b64decode(PNG)

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:  # noqa: A002
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    server.add_resource(
        FunctionResource.from_function(
            lambda: "Watched.", uri="test://watched-resource", name="watched"
        )
    )


def _add_handlers(server: KnowledgeServer) -> None:
    async def done(_: object, __: object) -> EmptyResult:
        return EmptyResult()

    low_level = server._lowlevel_server
    low_level.add_request_handler("logging/setLevel", SetLevelRequestParams, done)
    low_level.add_request_handler("resources/subscribe", SubscribeRequestParams, done)
    low_level.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, done)
