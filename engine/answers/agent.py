"""A model writes the answer: from numbered passages, asking for another search where it must.

The protocol is plain text, so that small models manage it: an answer with marks [n], or one line
`SEARCH: …`, or `NO ANSWER`; with a toolbox also `TOOL: server/tool {…}`. Searches, calls, prompt
size and time are bounded. `ask.py` runs this and has
`answer.py` check what comes out; nothing here decides what is shown in the end.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from engine.answers.answer import CitableSource
from engine.answers.conversations import PastTurn
from engine.answers.prompts import load_prompt
from engine.answers.toolbox import Toolbox, Wanted, as_hit, parse_wanted
from engine.domain import Delta, Hit, Searching
from engine.errors import Unavailable
from engine.markup.links import sanitise
from engine.models.port import Completion, LanguageModel

Search = Callable[[str], Awaitable[Sequence[Hit]]]

_SEARCH = re.compile(r"^\W*SEARCH\s*:\s*(.{2,300})$", re.IGNORECASE | re.MULTILINE)
_NO_ANSWER = re.compile(r"^\W*NO[ _-]?ANSWER\b", re.IGNORECASE)
_HELD = 16  # characters held back until it is clear that they are no control line
_PIECE = re.compile(r".*?(?:[.!?。！？…][\"')*\]]*\s|\n)", re.DOTALL)  # noqa: RUF001
PAST_ANSWER_CHARS = 600


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a model may spend on one answer."""

    searches: int = 2  # after the first
    tool_calls: int = 3  # of other servers' tools
    seconds: float = 120.0
    passage_chars: int = 24_000  # of all passages together, about 6k tokens
    max_tokens: int = 1024


@dataclass(frozen=True, slots=True)
class Style:
    """How an answer is to be written. `language`: a name, or empty for that of the question."""

    prompt: Literal["answer", "longer"] = "answer"
    language: str = ""


@dataclass(slots=True)
class Draft:
    """What the model wrote and all that it saw. `refused`: it says that nothing answers."""

    text: str = ""
    refused: bool = False
    sources: list[CitableSource] = field(default_factory=list)
    used: list[Hit] = field(default_factory=list)  # what tools returned
    input_tokens: int = 0
    output_tokens: int = 0

    def see(self, hits: Sequence[Hit], budget: Budget) -> None:
        """Number the passages of `hits` that are new and fit, best passages of all hits first."""
        known = {source.passage.id for source in self.sources}
        room = budget.passage_chars - sum(len(source.passage.text) for source in self.sources)
        depth = max((len(hit.passages) for hit in hits), default=0)
        for rank in range(depth):
            for hit in hits:
                passage = hit.passages[rank] if rank < len(hit.passages) else None
                if passage is None or passage.id in known or len(passage.text) > room:
                    continue
                room -= len(passage.text)
                known.add(passage.id)
                self.sources.append(CitableSource(len(self.sources) + 1, hit, passage))


async def write(
    model: LanguageModel,
    question: str,
    past: Sequence[PastTurn],
    hits: Sequence[Hit],
    search: Search,
    budget: Budget,
    toolbox: Toolbox | None = None,
    style: Style | None = None,
) -> AsyncIterator[Searching | Delta | Draft]:
    """The answer as it is written; the `Draft` comes last. `Unavailable` when the model is away.

    Raises `TimeoutError` when the budget's time is over.
    """
    style = style or Style()
    draft = Draft()
    draft.see(hits, budget)
    deadline = asyncio.get_running_loop().time() + budget.seconds
    searches, calls = budget.searches, budget.tool_calls if toolbox is not None else 0
    while True:
        offered = toolbox.describe() if toolbox is not None and calls else ""
        prompt = render_prompt(
            question,
            past,
            draft.sources,
            may_search=searches > 0,
            tools=offered,
            language=style.language,
        )
        draft.text = ""
        async for piece in _stream(model, style.prompt, prompt, draft, budget, deadline):
            yield piece
        wanted = parse_wanted(draft.text) if calls and toolbox is not None else None
        if wanted is not None and toolbox is not None:
            calls -= 1
            yield Searching(wanted.key)
            async with asyncio.timeout_at(deadline):
                draft.used.append(as_hit(len(draft.used), wanted.key, await _use(toolbox, wanted)))
            draft.see(draft.used, budget)
            continue
        asked = _SEARCH.match(draft.text)
        if asked is None or not searches:
            break
        searches -= 1
        query = asked[1].strip(" \"'`")
        yield Searching(query)
        async with asyncio.timeout_at(deadline):
            draft.see(await search(query), budget)
    draft.refused = bool(
        _NO_ANSWER.match(draft.text)
        or _SEARCH.match(draft.text)
        or parse_wanted(draft.text)
        or not draft.text.strip()
    )
    yield draft


async def _use(toolbox: Toolbox, wanted: Wanted) -> str:
    """What a tool said; a failure is something the model can continue from."""
    try:
        return await toolbox.use(wanted)
    except Unavailable as error:
        return f"{error} Go on without it."


async def _stream(
    model: LanguageModel, system: str, prompt: str, draft: Draft, budget: Budget, deadline: float
) -> AsyncIterator[Delta]:
    """Whole sentences as the model writes them, safe to show; the text gathers in `draft`."""
    texts = [source.passage.text for source in draft.sources]
    shown, waiting = False, ""
    pieces = model.stream(load_prompt(system), prompt, max_tokens=budget.max_tokens)
    async with asyncio.timeout_at(deadline):
        async for piece in pieces:
            if isinstance(piece, Completion):
                draft.text = piece.text
                draft.input_tokens += piece.input_tokens
                draft.output_tokens += piece.output_tokens
                continue
            waiting += piece
            if not shown and (len(waiting.lstrip()) < _HELD or _is_control(waiting)):
                continue
            while match := _PIECE.match(waiting):
                waiting = waiting[match.end() :]
                shown = True
                yield Delta(sanitise(match.group(), sources=texts))
    if waiting.strip() and not _is_control(waiting):
        yield Delta(sanitise(waiting, sources=texts))


def _is_control(text: str) -> bool:
    start = text.lstrip(" \t\n*`\"'#>-").casefold()
    return start.startswith(("search:", "search :", "tool:", "tool :", "no answer", "no_answer"))


def render_prompt(
    question: str,
    past: Sequence[PastTurn],
    sources: Sequence[CitableSource],
    *,
    may_search: bool,
    tools: str = "",
    language: str = "",
) -> str:
    """The prompt: passages as data between fences nobody can guess, then what was said, then asked."""
    fence = secrets.token_hex(6)
    parts = []
    for source in sources:
        title = " ".join(f"{source.hit.title} {source.passage.context}".split())[:200]
        parts.append(f"<<<{fence} passage {source.n}: {title}\n{source.passage.text}\n{fence}>>>")
    if not sources:
        parts.append("(No passage was found.)")
    if past:
        said = "\n".join(
            f"Q: {turn.question}\nA: {turn.answer[:PAST_ANSWER_CHARS]}" for turn in past
        )
        parts.append(f"<<<{fence} earlier in this conversation\n{said}\n{fence}>>>")
    if tools:
        parts.append(
            "Tools you may use, one call a reply, as one line and nothing else:"
            f' TOOL: server/tool {{"argument": "value"}}\n{tools}'
        )
    if not may_search:
        parts.append("No further search is possible: answer from these passages, or NO ANSWER.")
    if language:
        parts.append(f"Answer in {language}, whatever the language of the question.")
    parts.append(f"Question: {question}")
    return "\n\n".join(parts)


async def rewrite(model: LanguageModel, question: str, past: Sequence[PastTurn]) -> str:
    """The question on its own, in the model's words; the question where it fails to."""
    said = "\n".join(f"Q: {turn.question}\nA: {turn.answer[:200]}" for turn in past)
    completion = await model.complete(
        load_prompt("standalone"), f"{said}\n\nLast question: {question}", max_tokens=120
    )
    lines = [line.strip(" \"'`") for line in completion.text.splitlines() if line.strip()]
    if not lines or len(lines[0]) > 4 * len(question) + 300:
        return question
    return lines[0].removeprefix("Question:").strip()
