"""Results as models read them: one compact JSON text and the same object, within a budget.

Clients disagree on which of the two the model sees, so both have everything. Sizes are in
estimated tokens; a cut result says how to get the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from mcp_types import CallToolResult, TextContent

SEARCH_BUDGET = 6_000  # tokens; Claude Code refuses results over 25,000
FETCH_BUDGET = 8_000
SNIPPET_CHARS = 900


def result(value: Mapping[str, object]) -> CallToolResult:
    """A tool's answer."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=dict(value)
    )


def failure(text: str, *, code: str, incident: str) -> CallToolResult:
    """A tool's refusal: text to act on, its code, and the incident to look up in the log."""
    return CallToolResult(
        content=[TextContent(type="text", text=text)],
        is_error=True,
        _meta={"code": code, "incident": incident},
    )


def estimated_tokens(text: str) -> int:
    """About how many tokens a text is to a model: one for 4 plain letters, one for any other.

    Close for English, Chinese and Japanese; on the safe side for accented letters.
    """
    plain = len(text.encode("ascii", "ignore"))
    return (plain + 3) // 4 + len(text) - plain


def fit(text: str, budget: int) -> int:
    """How many characters of `text` fit into the budget, ending at a line break if there is one."""
    if estimated_tokens(text) <= budget:
        return len(text)
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if estimated_tokens(text[:middle]) <= budget:
            low = middle
        else:
            high = middle - 1
    line = text.rfind("\n", low * 3 // 4, low)
    return line + 1 if line > 0 else low


def snippet(text: str) -> str:
    """The beginning of a passage, cut at a word."""
    text = text.strip()
    if len(text) <= SNIPPET_CHARS:
        return text
    return text[:SNIPPET_CHARS].rsplit(None, 1)[0] + " …"


def page_within(items: Sequence[Mapping[str, object]], budget: int) -> int:
    """How many of the items, in order, fit into the budget; at least one."""
    used = 0
    for count, item in enumerate(items):
        used += estimated_tokens(json.dumps(item, ensure_ascii=False))
        if used > budget and count:
            return count
    return len(items)
