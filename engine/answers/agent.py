"""A model writes the answer: from numbered passages, looking up more where it must.

One loop serves both ways of asking for more. Where the model takes tools it calls them natively
(`ToolLanguageModel`); where not, it writes one line: `SEARCH: …`, `READ ON: 3`, `LIST: …`, `TOOL:
server/tool {…}`. Requests, calls, tokens, passages and time are bounded, and reserved before they
are spent. `ask.py` runs this; `answer.py` checks what comes out, sentence by sentence.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from engine.answers.answer import Checked, DraftReader, Unsupported
from engine.answers.conversations import PastTurn
from engine.answers.ledger import AgentState, Keep
from engine.answers.lookups import (
    CLOSED,
    LIST_DOCUMENTS,
    OWN,
    READ_ON,
    SEARCH,
    Desk,
    Lookups,
    tool_name,
)
from engine.answers.prompts import load_prompt, prompt_label
from engine.answers.support import CitableSource
from engine.answers.toolbox import Toolbox, parse_wanted
from engine.domain import Delta, Hit, Searching
from engine.errors import ToolsRefused, Unavailable
from engine.models.port import (
    Completion,
    LanguageModel,
    Message,
    ModelTurn,
    RequestedCall,
    ToolLanguageModel,
    ToolResult,
    ToolSpec,
)

_LINE = re.compile(r"^\W*(SEARCH|READ ON|LIST)\s*:\s*(.{1,300})$", re.IGNORECASE | re.MULTILINE)
_NO_ANSWER = re.compile(r"^\W*NO[ _-]?ANSWER\b", re.IGNORECASE)
_HELD = 16  # characters held back until it is clear that they are no control line
_STARTS = ("search:", "search :", "read on", "list:", "list :", "tool:", "tool :", "no answer",
           "no_answer")  # fmt: skip
PAST_ANSWER_CHARS = 600
CHARS_A_TOKEN = 3  # at least: what a request is reckoned to cost before it is made


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a model may spend on one answer."""

    requests: int = 8
    searches: int = 4  # look-ups of our own after the first search
    tool_calls: int = 3  # of other servers' tools
    tokens: int = 100_000  # given and written, of all requests together
    seconds: float = 120.0
    passage_chars: int = 24_000  # of all passages together, about 6k tokens
    max_tokens: int = 1024


@dataclass(frozen=True, slots=True)
class Style:
    """How an answer is to be written. `language`: a name, or empty for that of the question.

    `native` False has even a model that takes tools write the lines of the plain protocol.
    """

    prompt: Literal["answer", "longer"] = "answer"
    language: str = ""
    unsupported: Unsupported = "drop"
    instructions: str = ""  # the caller's, below ours
    native: bool = True


@dataclass(slots=True)
class Draft:
    """What the model wrote and all that it saw. `refused`: it says that nothing answers.

    `checked` is what its sources carry of it, `prompt` the name and version of its instructions.
    """

    text: str = ""
    checked: Checked = field(default_factory=lambda: Checked("", (), grounded=False))
    refused: bool = False
    sources: list[CitableSource] = field(default_factory=list)
    used: list[Hit] = field(default_factory=list)  # what tools returned
    prompt: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


async def write(
    model: LanguageModel,
    question: str,
    past: Sequence[PastTurn],
    hits: Sequence[Hit],
    lookups: Lookups | None,
    budget: Budget,
    toolbox: Toolbox | None = None,
    style: Style | None = None,
    *,
    state: AgentState | None = None,
    keep: Keep | None = None,
) -> AsyncIterator[Searching | Delta | Draft]:
    """The answer as it is written; the `Draft` comes last. `Unavailable` when the model is away.

    `state` is that of a loop that was interrupted: what it asked and did is not repeated, unless its
    passages may not be read any more; then it starts again. `keep` is awaited after each step, and
    before a call that has an effect. A `state` that is given also counts the tokens of a loop that
    fails. Raises `TimeoutError` when the budget's time is over.
    """
    style = style or Style()
    state = state or AgentState()
    state.keep = keep
    loop = _Loop(question, past, hits, lookups, budget, toolbox, style, state)
    await loop.begin()
    speaker: _Speaker = _Plain(model)
    if isinstance(model, ToolLanguageModel) and model.takes_tools and style.native:
        speaker = _Native(model)
    try:
        async for event in loop.run(speaker):
            yield event
    except ToolsRefused:  # at its first request: nothing was said or called
        loop.state.messages.clear()
        async for event in loop.run(_Plain(model)):
            yield event


class _Speaker(Protocol):
    """A model that takes a turn: pieces of checked text, then the turn itself."""

    suffix: str  # of the prompt's name

    def turn(
        self, loop: _Loop, tools: Sequence[ToolSpec], reader: DraftReader
    ) -> AsyncIterator[Delta | ModelTurn]:
        """The next turn; `tools` are what it may call in it."""

    def reckoned(self, loop: _Loop) -> int:
        """About how many characters the next request sends."""


class _Loop:
    """One answer under way: what was asked, what its model has seen, and what is left to spend."""

    def __init__(
        self,
        question: str,
        past: Sequence[PastTurn],
        hits: Sequence[Hit],
        lookups: Lookups | None,
        budget: Budget,
        toolbox: Toolbox | None,
        style: Style,
        state: AgentState,
    ) -> None:
        self.question, self.past, self.hits = question, past, hits
        self.budget, self.style, self.toolbox = budget, style, toolbox
        self.state = state
        self.state.fence = state.fence or secrets.token_hex(6)
        self.desk = Desk(lookups, toolbox, state.fence, budget.passage_chars)
        self.deadline = asyncio.get_running_loop().time() + budget.seconds

    async def begin(self) -> None:
        """Number the passages: those of an interrupted loop again, or the ones just found."""
        if self.state.messages and await self.desk.restore(self.state):
            return
        if self.state.messages:
            self.state.messages.clear()
            self.state.calls.clear()
        added = self.desk.see(self.hits)
        self.state.chunks = [part.id for source in added for part in source.parts]

    async def run(self, speaker: _Speaker) -> AsyncIterator[Searching | Delta | Draft]:
        """Turns of the model and the calls between them, until it answers or nothing is left."""
        reader, tools = self._reader(), list(OWN)
        turn = self._pending()
        if turn is not None and not turn.calls:
            reader.feed(turn.text)
        while True:
            if turn is None:
                tools, reader = self._offered(speaker), self._reader()
                async for event in speaker.turn(self, tools, reader):
                    if isinstance(event, ModelTurn):
                        turn = event
                    else:
                        yield event
                if turn is None:
                    raise Unavailable("The language model ended without a word: try again.")
                self._count(turn)
                self.state.messages.append(turn)
                await self.state.kept()
            if not turn.calls or not tools:
                break
            for call in turn.calls:
                yield Searching(self.desk.describe(call))
            await self._carry_out(turn)
            turn = None
        yield self._draft(speaker, turn, reader)

    def _reader(self) -> DraftReader:
        return DraftReader(
            self.desk.sources, question=self.question, unsupported=self.style.unsupported
        )

    def _pending(self) -> ModelTurn | None:
        """The turn an interrupted loop was at: its calls are not answered yet, or it was the last."""
        last = self.state.messages[-1] if self.state.messages else None
        return last if isinstance(last, ModelTurn) else None

    async def _carry_out(self, turn: ModelTurn) -> None:
        at = len(self.state.messages)
        calls = [(f"{at}:{n}", call) for n, call in enumerate(turn.calls)]
        async with asyncio.timeout_at(self.deadline):
            results = await self.desk.carry_out(self.state, calls, *self._left())
        self.state.messages += [
            ToolResult(call.id, call.name, text)
            for call, text in zip(turn.calls, results, strict=True)
        ]
        await self.state.kept()

    def _count(self, turn: ModelTurn) -> None:
        self.state.requests += 1
        self.state.input_tokens += turn.input_tokens
        self.state.output_tokens += turn.output_tokens

    def _left(self) -> tuple[int, int]:
        """How many look-ups and calls of other servers' tools are left."""
        external = sum(self.desk.is_external(record.name) for record in self.state.calls.values())
        own = len(self.state.calls) - external
        allowed = self.budget.tool_calls if self.toolbox is not None else 0
        return max(0, self.budget.searches - own), max(0, allowed - external)

    def _offered(self, speaker: _Speaker) -> list[ToolSpec]:
        """The tools of the next turn: none where it must be the last that can be paid."""
        one = speaker.reckoned(self) // CHARS_A_TOKEN + self.budget.max_tokens
        spent = self.state.input_tokens + self.state.output_tokens
        is_last = self.state.requests + 1 >= self.budget.requests
        if is_last or spent + 2 * one > self.budget.tokens:
            return []
        own, external = self._left()
        return self.desk.tools(lookups=own > 0, external=external > 0)

    def _draft(self, speaker: _Speaker, turn: ModelTurn, reader: DraftReader) -> Draft:
        text = turn.text
        refused = bool(turn.calls or _NO_ANSWER.match(text) or not text.strip())
        refused = refused or _is_control(text)
        name = f"{self.style.prompt}{speaker.suffix}"
        return Draft(
            text=text,
            checked=Checked("", (), grounded=False) if refused else reader.finish(),
            refused=refused,
            sources=self.desk.sources,
            used=self.desk.used,
            prompt=prompt_label(name),
            input_tokens=self.state.input_tokens,
            output_tokens=self.state.output_tokens,
        )


class _Native:
    """A model that calls tools natively."""

    suffix = "_tools"

    def __init__(self, model: ToolLanguageModel) -> None:
        self._model = model

    async def turn(
        self, loop: _Loop, tools: Sequence[ToolSpec], reader: DraftReader
    ) -> AsyncIterator[Delta | ModelTurn]:
        """The next turn of the conversation so far."""
        messages = self._messages(loop, tools)
        system = _system(loop.style, self.suffix)
        pieces = self._model.converse(system, messages, tools, max_tokens=loop.budget.max_tokens)
        shown = _Shown(reader)
        async with asyncio.timeout_at(loop.deadline):
            async for piece in pieces:
                if isinstance(piece, ModelTurn):
                    for delta in [] if piece.calls else shown.end():
                        yield delta
                    yield piece
                elif text := shown.piece(piece):
                    yield Delta(text)

    def reckoned(self, loop: _Loop) -> int:
        """The passages, and everything that was said since."""
        said = sum(
            len(message.text) for message in loop.state.messages if not isinstance(message, str)
        )
        return said + sum(len(source.passage.text) for source in loop.desk.sources) + 4_000

    @staticmethod
    def _messages(loop: _Loop, tools: Sequence[ToolSpec]) -> list[Message]:
        first = len(loop.state.chunks)
        numbered = [s for s in loop.desk.sources if s.parts and s.parts[0].id in loop.state.chunks]
        opening = render_prompt(
            loop.question,
            loop.past,
            numbered if first else [],
            loop.desk,
            may_search=True,
            language=loop.style.language,
        )
        messages: list[Message] = [opening, *loop.state.messages]
        if not tools:
            messages.append(CLOSED)
        return messages


class _Plain:
    """A model that asks for more in a line of text."""

    suffix = ""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    async def turn(
        self, loop: _Loop, tools: Sequence[ToolSpec], reader: DraftReader
    ) -> AsyncIterator[Delta | ModelTurn]:
        """The next reply to all passages seen so far."""
        names = {tool.name for tool in tools}
        external = loop.desk.tools(lookups=False, external=True)
        offered = (
            loop.toolbox.describe() if loop.toolbox and names & {t.name for t in external} else ""
        )
        prompt = render_prompt(
            loop.question,
            loop.past,
            loop.desk.sources,
            loop.desk,
            may_search=SEARCH.name in names,
            tools=offered,
            language=loop.style.language,
            said=_unnumbered(loop.state.messages),
        )
        pieces = self._model.stream(
            _system(loop.style, self.suffix), prompt, max_tokens=loop.budget.max_tokens
        )
        shown = _Shown(reader)
        async with asyncio.timeout_at(loop.deadline):
            async for piece in pieces:
                if isinstance(piece, Completion):
                    for delta in shown.end():
                        yield delta
                    calls = _calls(piece.text, loop, names)
                    yield ModelTurn(piece.text, calls, piece.input_tokens, piece.output_tokens)
                elif text := shown.piece(piece):
                    yield Delta(text)

    def reckoned(self, loop: _Loop) -> int:
        """The passages with all that stands around them."""
        return sum(len(source.passage.text) for source in loop.desk.sources) + 4_000


def _system(style: Style, suffix: str) -> str:
    """Our rules, and below them what the caller instructs, which can't undo any."""
    rules = load_prompt(f"{style.prompt}{suffix}")
    if not style.instructions:
        return rules
    return (
        f"{rules}\n\nThe caller also asks for what follows. Do so only as far as the rules above"
        f" allow:\n{style.instructions}"
    )


class _Shown:
    """Text on its way to the reader, held back while it may still be a control line."""

    def __init__(self, reader: DraftReader) -> None:
        self._reader = reader
        self._held: str | None = ""

    def piece(self, piece: str) -> str:
        """What can be shown after this piece."""
        if self._held is None:
            return self._reader.feed(piece)
        self._held += piece
        if len(self._held.lstrip()) < _HELD or _is_control(self._held):
            return ""
        held, self._held = self._held, None
        return self._reader.feed(held)

    def end(self) -> list[Delta]:
        """What can be shown at the end."""
        if self._held and _is_control(self._held):
            return []
        text = (self._reader.feed(self._held) if self._held else "") + self._reader.settle()
        return [Delta(text)] if text else []


def _is_control(text: str) -> bool:
    return text.lstrip(" \t\n*`\"'#>-").casefold().startswith(_STARTS)


def _calls(text: str, loop: _Loop, names: set[str]) -> tuple[RequestedCall, ...]:
    """The call that a reply's line asks for, if it is one that was offered."""
    wanted = parse_wanted(text)
    if wanted is not None and loop.toolbox is not None:
        server, _, name = wanted.key.partition("/")
        known = next((tool for tool in loop.toolbox.tools if tool.key == wanted.key), None)
        called = tool_name(known) if known else f"{server}__{name}"
        is_open = called in names or (known is None and bool(names))
        return (RequestedCall("", called, wanted.arguments),) if is_open else ()
    line = _LINE.match(text)
    if line is None or SEARCH.name not in names:
        return ()
    said = line[2].strip(" \"'`")
    match line[1].casefold():
        case "read on":
            number = re.search(r"\d+", said)
            return (RequestedCall("", READ_ON.name, {"passage": int(number[0]) if number else 0}),)
        case "list":
            return (RequestedCall("", LIST_DOCUMENTS.name, {"about": said}),)
    return (RequestedCall("", SEARCH.name, {"query": said}),)


def _unnumbered(messages: Sequence[Message]) -> str:
    """What calls came to besides passages: reasons, and lists of titles."""
    texts = [message.text for message in messages if isinstance(message, ToolResult)]
    return "\n".join(text.partition("<<<")[0].strip() for text in texts).strip()


def render_prompt(
    question: str,
    past: Sequence[PastTurn],
    sources: Sequence[CitableSource],
    desk: Desk,
    *,
    may_search: bool,
    tools: str = "",
    language: str = "",
    said: str = "",
) -> str:
    """The prompt: passages as data between fences nobody can guess, then what was said, then asked."""
    fence = desk.fence
    parts = [desk.show(source) for source in sources] or ["(No passage was found.)"]
    if past:
        told = "\n".join(
            f"Q: {turn.question}\nA: {turn.answer[:PAST_ANSWER_CHARS]}" for turn in past
        )
        parts.append(f"<<<{fence} earlier in this conversation\n{told}\n{fence}>>>")
    if said:
        parts.append(f"<<<{fence} what your look-ups came to\n{said}\n{fence}>>>")
    if tools:
        parts.append(
            "Tools you may use, one call a reply, as one line and nothing else:"
            f' TOOL: server/tool {{"argument": "value"}}\n{tools}'
        )
    if not may_search:
        parts.append(CLOSED)
    if language:
        parts.append(f"Answer in {language}, whatever the language of the question.")
    parts.append(f"Question: {question}")
    return "\n\n".join(parts)


async def rewrite(
    model: LanguageModel, question: str, past: Sequence[PastTurn]
) -> tuple[str, Completion]:
    """The question on its own, in the model's words, or as it is where it fails to; and the cost."""
    said = "\n".join(f"Q: {turn.question}\nA: {turn.answer[:200]}" for turn in past)
    completion = await model.complete(
        load_prompt("standalone"), f"{said}\n\nLast question: {question}", max_tokens=120
    )
    lines = [line.strip(" \"'`") for line in completion.text.splitlines() if line.strip()]
    if not lines or len(lines[0]) > 4 * len(question) + 300:
        return question, completion
    return lines[0].removeprefix("Question:").strip(), completion
