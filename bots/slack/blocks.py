"""A `Reply` as Block Kit, within Slack's limits. Pure.

The text is a `markdown` block, sources a `context` block, buttons an `actions` block, thumbs a
`context_actions` block. `fallback` is the whole reply without blocks, for clients and policies that
refuse the newer ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bots import replies
from bots.replies import Button, Reply, SourceLine
from bots.slack import markup

Block = dict[str, Any]

MARKDOWN_MAX = 12_000  # characters of all markdown blocks of a message
CONTEXT_MAX = 2_900  # of a context element; the limit is 3,000
FALLBACK_MAX = 3_900  # of `text`; longer ones are cut at 4,000
ROWS_MAX, CELL_MAX = 100, 300
BUTTONS_MAX = 25  # of an actions block
PREFIX = "sj:"  # our action ids
RATE = f"{PREFIX}rate"
SHORTCUTS = {
    replies.ABOUT: "Ask about this",
    replies.SUMMARISE: "Summarise thread",
    replies.SIMILAR: "Find similar",
    replies.SAVE: "Save as answer",
}


def render(reply: Reply) -> tuple[str, list[Block]]:
    """The fallback text and the blocks of a reply."""
    blocks: list[Block] = []
    text = markup.quieten(linked(reply.text, reply.sources))
    if reply.calls:
        # The one place that notifies people: only those an admin has set.
        calls = " ".join(filter(None, map(call, reply.calls)))
        blocks.append(_section(f"{calls} {markup.escape(reply.text)}"[:CONTEXT_MAX]))
    elif text.strip():
        blocks.append({"type": "markdown", "text": text[:MARKDOWN_MAX]})
    if reply.rows:
        blocks.append(_table(reply.columns, reply.rows))
    if reply.sources:
        blocks.append(_context(_source_lines(reply.sources)))
    if reply.note:
        blocks.append(_context([f"_{markup.escape(reply.note)}_"]))
    if reply.buttons:
        blocks.append({"type": "actions", "elements": [*map(_button, reply.buttons)][:BUTTONS_MAX]})
    if reply.rated:
        blocks.append(_thumbs(reply.rated))
    return fallback(reply), blocks


def fallback(reply: Reply) -> str:
    """The reply as plain text, with its sources as links."""
    parts = [markup.plain(reply.text)]
    if reply.calls:
        parts[0] = " ".join([*filter(None, map(call, reply.calls)), parts[0]])
    parts += [" · ".join(map(markup.escape, row)) for row in reply.rows[:20]]
    parts += _source_lines(reply.sources)
    if reply.note:
        parts.append(markup.escape(reply.note))
    return "\n".join(part for part in parts if part)[:FALLBACK_MAX]


def linked(text: str, sources: Sequence[SourceLine]) -> str:
    """The marks [n] as links to their sources, outside code."""
    urls = {source.n: source.url for source in sources}

    def mark(match: re.Match[str]) -> str:
        url = urls.get(int(match[1]), "")
        return f"[[{match[1]}]]({_target(url)})" if url else match.group()

    parts = re.split(r"(```.*?```|`[^`\n]*`)", text, flags=re.DOTALL)
    return "".join(
        part if part.startswith("`") else re.sub(r"\[(\d{1,3})\](?!\()", mark, part)
        for part in parts
    )


def _target(url: str) -> str:
    return url.replace("(", "%28").replace(")", "%29").replace(" ", "%20").replace("<", "%3C")


def call(whom: str) -> str:
    """A mention of whom an admin set: a person or group as Slack wrote it, else nothing."""
    found = re.fullmatch(r"<(?:@[UW][A-Z0-9]{2,20}|!subteam\^S[A-Z0-9]{2,20})(?:\|[^<>]*)?>", whom)
    return found.group() if found else markup.escape(whom)


def _source_lines(sources: Sequence[SourceLine]) -> list[str]:
    lines = []
    room = CONTEXT_MAX
    for source in sources:
        line = f"*{source.n}*  {markup.link(source.url, source.title)}"
        if source.detail:
            line += f" · {markup.escape(source.detail)}"
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    return lines


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _context(lines: Sequence[str]) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": "\n".join(lines)}]}


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Block:
    shown = [list(columns), *map(list, rows)] if any(columns) else [*map(list, rows)]
    return {
        "type": "table",
        "rows": [[_cell(value) for value in row] for row in shown[:ROWS_MAX]],
        "column_settings": [{"is_wrapped": True}] * min(20, len(shown[0])),
    }


def _cell(value: str) -> Block:
    text = value.strip("`")[:CELL_MAX]
    return {"type": "raw_text", "text": text or "–"}  # noqa: RUF001 (a cell must not be empty)


def _button(button: Button) -> Block:
    element: Block = {
        "type": "button",
        "action_id": f"{PREFIX}{button.action}:{_digest(button.value)}",
        "text": {"type": "plain_text", "text": button.label[:75], "emoji": True},
        "value": button.value or "-",
    }
    if button.style:
        element["style"] = button.style
    return element


def _digest(value: str) -> str:
    """Distinguishes buttons of one action: an action id may occur once in a block."""
    return value.rpartition(":")[2].replace(" ", "-")[-12:]


def _thumbs(post_id: str) -> Block:
    def thumb(label: str, value: str) -> Block:
        return {
            "text": {"type": "plain_text", "text": label},
            "value": value,
            "accessibility_label": label,
        }

    return {
        "type": "context_actions",
        "elements": [
            {
                "type": "feedback_buttons",
                "action_id": RATE,
                "positive_button": thumb("Helpful", f"up:{post_id}"),
                "negative_button": thumb("Not helpful", f"down:{post_id}"),
            }
        ],
    }


def pressed_action(action: Mapping[str, Any]) -> tuple[str, str]:
    """Our action and value of a pressed element; empty where it is none of ours."""
    action_id, value = str(action.get("action_id", "")), str(action.get("value", ""))
    if action_id == RATE:
        way, _, post_id = value.partition(":")
        return (replies.RATE_UP if way == "up" else replies.RATE_DOWN), post_id
    if not action_id.startswith(PREFIX):
        return "", ""
    return action_id.removeprefix(PREFIX).split(":")[0], "" if value == "-" else value
