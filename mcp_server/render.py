"""Results as models read them: one compact JSON text and the same object, within a budget.

Clients disagree on which of the two the model sees, so both have everything. Sizes are in tokens
of the JSON, counted on the safe side (`tokens.py`); a cut result says how to get the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from mcp_types import CallToolResult, TextContent

from mcp_server.tokens import count_tokens, fitting

SEARCH_BUDGET = 6_000  # tokens; Claude Code refuses results over 25,000
FETCH_BUDGET = 8_000
SNIPPET_CHARS = 900
SNIPPET_BUDGET = 1_500  # rare scripts take three tokens a character
ENVELOPE = 300  # tokens of what is around a page's items: cursor, notice, names


def result(value: Mapping[str, object]) -> CallToolResult:
    """A tool's answer."""
    return CallToolResult(
        content=[TextContent(type="text", text=_json(value))], structured_content=dict(value)
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def failure(text: str, *, code: str, incident: str) -> CallToolResult:
    """A tool's refusal: text to act on, its code, and the incident to look up in the log."""
    return CallToolResult(
        content=[TextContent(type="text", text=text)],
        is_error=True,
        _meta={"code": code, "incident": incident},
    )


def fit(text: str, budget: int) -> int:
    """How many characters of `text` fit into the budget as JSON, ending at a line if they can."""
    wanted = budget
    end = fitting(text, wanted)
    while end and (used := count_tokens(_json(text[:end]))) > budget:
        wanted = min(wanted - 1, wanted * budget // used)
        end = fitting(text, wanted)
    return end


def snippet(text: str) -> str:
    """The beginning of a passage, cut at a word."""
    text = text.strip()
    end = min(SNIPPET_CHARS, fit(text[:SNIPPET_CHARS], SNIPPET_BUDGET))
    if len(text) <= end:
        return text
    shown, *_ = text[:end].rsplit(None, 1) or [text[:end]]
    return f"{shown} …"


def page_within(items: Sequence[Mapping[str, object]], budget: int) -> int:
    """How many of the items, in order, fit into the budget with what is around them; one at least."""
    used = ENVELOPE
    for count, item in enumerate(items):
        used += count_tokens(_json(item))
        if used > budget and count:
            return count
    return len(items)
