"""A `Reply` as messages of Discord's REST interface, within its limits. Pure.

The text is plain `content`: every client shows it, and an answer grows there by edits.
Sources, buttons and thumbs follow in a second message of Components V2; a reply without sources and
thumbs is plain throughout, so that other words can take its place: a message once of V2 stays so
(`is_v2`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bots import replies
from bots.discord import markup, splitting
from bots.replies import Button, Reply, SourceLine
from engine.chats.feedback import REASONS

Json = dict[str, Any]

ROW, BUTTON, SELECT, INPUT, TEXT, SEPARATOR, LABEL = 1, 2, 3, 4, 10, 14, 18  # component types
SUPPRESS_EMBEDS, V2 = 1 << 2, 1 << 15  # flags of a message
DISPLAY_MAX = 4_000  # characters of all a V2 message shows
ROW_MAX = 5  # buttons of a row
BUTTONS_MAX = 20  # a plain message has 5 rows at most, one of V2 40 components, nested ones counted
LABEL_MAX, ID_MAX = 80, 100  # characters of a button's label and of a custom id
OPTIONS_MAX, OPTION_MAX = 25, 100  # of a select menu; characters of each
TITLE_MAX = 45  # of a form, and of the label of each of its fields
PREFIX = "sj:"  # our custom ids
MODES = {
    "mention": "When I am mentioned",
    "auto": "Also unprompted, when I am sure",
    "off": "Never",
}
_STYLES = {"primary": 1, "": 2, "danger": 4}
_CALLS = re.compile(r"<@(?:!|(?P<role>&))?(?P<id>\d{1,20})>")


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A file that goes with a message."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One message to send: its JSON and its files."""

    body: Json
    files: Sequence[OutgoingFile] = ()


def render(reply: Reply, *, streamed: bool = True) -> list[OutgoingMessage]:
    """The messages of a reply, in order; one at least.

    With `streamed` false, one that needs V2 and fits is one message of it.
    """
    if not (reply.sources or reply.rated):
        parts = _contents(reply, note=_note(reply)) or [
            OutgoingMessage(_content("\u2014"))
        ]  # none is empty
        if reply.buttons:
            rows = _rows(map(_button, reply.buttons[:BUTTONS_MAX]))
            parts[-1].body["components"] = list(rows)
        return parts
    rest = _details(reply)
    if not streamed and not reply.calls:
        text = markup.render(_markdown(reply), reply.sources)
        shown = [*_display(text), {"type": SEPARATOR, "divider": True, "spacing": 1}, *rest]
        if displayed(shown) <= DISPLAY_MAX:
            return [OutgoingMessage(_v2(shown))]
    return [*_contents(reply), OutgoingMessage(_v2(rest))]


def _contents(reply: Reply, *, note: str = "") -> list[OutgoingMessage]:
    """The text as plain messages; what would take too many is a file."""
    markdown = _markdown(reply)
    text = markup.render(markdown, reply.sources)
    called = [call for whom in reply.calls if (call := _CALLS.fullmatch(whom))]
    others = [markup.escape(whom) for whom in reply.calls if not _CALLS.fullmatch(whom)]
    # The one place that notifies people: only those an admin has set.
    whom = " ".join([*(call.group() for call in called), *others])
    text = "\n".join(filter(None, [f"{whom} {text}".strip(), note]))
    pieces = splitting.split(text)
    files: list[OutgoingFile] = []
    if len(pieces) > splitting.PARTS_MAX:
        first, data = splitting.as_file(text, markdown)
        pieces, files = [first], [OutgoingFile(splitting.FILE, data)]
    parts = [OutgoingMessage(_content(piece)) for piece in pieces]
    if parts and called:
        parts[0].body["allowed_mentions"] = _allowed(called)
    return [OutgoingMessage(parts[0].body, files), *parts[1:]] if parts else []


def _markdown(reply: Reply) -> str:
    shown = markup.table(reply.columns, reply.rows) if reply.rows else ""
    return "\n\n".join(filter(None, [reply.text.strip(), shown]))


def _allowed(called: Sequence[re.Match[str]]) -> Json:
    allowed: Json = {"parse": []}
    for call in called:
        ids = allowed.setdefault("roles" if call["role"] else "users", [])
        if call["id"] not in ids:
            ids.append(call["id"])
    return allowed


def _content(text: str) -> Json:
    return {"content": text, "flags": SUPPRESS_EMBEDS, "allowed_mentions": {"parse": []}}


def _v2(components: Sequence[Json]) -> Json:
    return {"flags": V2, "components": [*components], "allowed_mentions": {"parse": []}}


# What follows the text


def _details(reply: Reply) -> list[Json]:
    """Sources, note, buttons and thumbs as components."""
    out: list[Json] = []
    room = DISPLAY_MAX - 200 - LABEL_MAX * min(BUTTONS_MAX, len(reply.buttons))
    note = _note(reply)
    lines = list(_source_lines(reply.sources, room - splitting.size(note)))
    out += _display("\n".join(lines)) + _display(note)
    buttons = [_button(button) for button in reply.buttons[:BUTTONS_MAX]]
    return [*out, *_rows([*buttons, *(_thumbs(reply.rated) if reply.rated else ())])]


def _note(reply: Reply) -> str:
    return f"-# *{markup.escape(splitting.cut(reply.note, 500))}*" if reply.note.strip() else ""


def _display(text: str) -> list[Json]:
    return [{"type": TEXT, "content": text}] if text.strip() else []


def _source_lines(sources: Sequence[SourceLine], room: int) -> Iterator[str]:
    for source in sources:
        line = f"-# **{source.n}** {markup.link(source.url, splitting.cut(source.title, 300))}"
        if source.detail:
            line += f" · {markup.escape(splitting.cut(source.detail, 300))}"
        room -= splitting.size(line) + 1
        if room < 0:
            return
        yield line


def _rows(buttons: Iterable[Json]) -> Iterator[Json]:
    """Buttons in rows, duplicates left out: Discord refuses two with the same id."""
    unique = list({button["custom_id"]: button for button in buttons}.values())
    for start in range(0, len(unique), ROW_MAX):
        yield {"type": ROW, "components": unique[start : start + ROW_MAX]}


def _button(button: Button) -> Json:
    return {
        "type": BUTTON,
        "style": _STYLES[button.style],
        "label": splitting.cut(button.label.strip() or "…", LABEL_MAX),
        "custom_id": custom_id(button.action, button.value),
    }


def _thumbs(post_id: str) -> list[Json]:
    ways = ((replies.RATE_UP, "👍"), (replies.RATE_DOWN, "👎"))
    return [
        {
            "type": BUTTON,
            "style": _STYLES[""],
            "emoji": {"id": None, "name": thumb},
            "custom_id": custom_id(action, post_id),
        }
        for action, thumb in ways
    ]


def displayed(components: Sequence[Mapping[str, Any]]) -> int:
    """Characters that components show; labels of buttons are counted too, to be safe."""
    return sum(
        splitting.size(str(component.get("content") or component.get("label") or ""))
        + displayed(component.get("components") or ())
        for component in components
    )


# Buttons that come back


def custom_id(action: str, value: str) -> str:
    """The id by which a pressed button says what it is for; it lasts as long as its message."""
    id_ = f"{PREFIX}{action}:{value}"
    if len(id_) > ID_MAX:
        raise ValueError(
            f"The button {action!r} has a value of {len(value)} characters: shorten it."
        )
    return id_


def pressed_action(custom_id: str) -> tuple[str, str]:
    """Our action and value of a pressed button or a sent form; empty where it is none of ours."""
    if not custom_id.startswith(PREFIX):
        return "", ""
    action, _, value = custom_id.removeprefix(PREFIX).partition(":")
    return action, value


def has_buttons(message: Mapping[str, Any]) -> bool:
    """Whether a message has buttons of ours."""
    return any(True for _ in _pressable(message))


def is_of(message: Mapping[str, Any], post_id: str) -> bool:
    """Whether a message has buttons of this post."""
    return any(value.partition(":")[0] == post_id for _, value in _pressable(message))


def is_v2(message: Mapping[str, Any]) -> bool:
    """Whether a message, or a body to send, is of Components V2: it can't become a plain one."""
    return bool(int(message.get("flags") or 0) & V2)


def _pressable(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for item in message.get("components") or ():
        action, value = pressed_action(str(item.get("custom_id") or ""))
        if action:
            yield action, value
        yield from _pressable(item)


# Forms


def setup_form(kbs: Sequence[str], channel: str, *, kb: str = "", mode: str = "mention") -> Json:
    """Which knowledge base answers a channel, and when; with a question to try it.

    Of more knowledge bases than a menu holds, or with longer names, one is typed.
    """
    if not kbs:
        raise ValueError("A set-up form needs a knowledge base to choose from.")
    if len(kbs) <= OPTIONS_MAX and all(len(name) <= OPTION_MAX for name in kbs):
        choice = _select("kb", [(name, name) for name in kbs], kb if kb in kbs else kbs[0])
    else:
        choice = _input("kb", value=kb or kbs[0], most=200)
    modes = [(label, name) for name, label in MODES.items()]
    return {
        "custom_id": custom_id(replies.BIND, ""),
        "title": splitting.cut(f"Set up #{markup.calm(channel)}", TITLE_MAX),
        "components": [
            _label("Answer from", choice),
            _label("When", _select("mode", modes, mode)),
            _label("A question to try it with", _input("question", most=500, required=False)),
        ],
    }


def reason_form(post_id: str) -> Json:
    """What was wrong with an answer."""
    reasons = [(reason.capitalize(), reason) for reason in REASONS]
    return {
        "custom_id": custom_id(replies.REASON, post_id),
        "title": "What was wrong?",
        "components": [
            _label("The answer is", _select("reason", reasons, REASONS[0])),
            _label("What would be right?", _input("text", most=2000, long=True, required=False)),
        ],
    }


def _label(label: str, component: Json) -> Json:
    return {"type": LABEL, "label": label, "component": component}


def _select(name: str, options: Sequence[tuple[str, str]], chosen: str) -> Json:
    return {
        "type": SELECT,
        "custom_id": name,
        "required": True,
        "options": [
            {"label": label, "value": value, "default": value == chosen} for label, value in options
        ],
    }


def _input(
    name: str, *, most: int, value: str = "", long: bool = False, required: bool = True
) -> Json:
    field: Json = {
        "type": INPUT,
        "custom_id": name,
        "style": 2 if long else 1,
        "required": required,
        "max_length": most,
    }
    return field | ({"value": value} if value else {})
