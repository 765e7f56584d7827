"""Forms and the app's home, as Slack views. Pure.

A form's `private_metadata` holds ids only, `<value>|<channel>`; rights are checked again when it
comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bots import replies
from bots.slack import blocks, markup
from engine.chats.feedback import REASONS
from engine.chats.post_rows import PostInfo

View = dict[str, Any]
FORM = f"{blocks.PREFIX}form:"
OPTIONS_MAX = 100
MODES = {
    "mention": "When I am mentioned",
    "auto": "Also unprompted, when I am sure",
    "off": "Never",
}
PROMPTS = (
    ("What can you do?", "What can you help me with?"),
    ("What do you know?", "sources"),
    ("Who sees my questions?", "privacy"),
)


@dataclass(frozen=True, slots=True)
class HomeView:
    """What a person's home shows."""

    name: str
    linked_to: str
    kbs: Sequence[tuple[str, int]]
    recent: Sequence[PostInfo]
    command: str
    is_admin: bool
    health: Sequence[tuple[str, str]] = ()


def home(value: HomeView) -> View:
    """The app's home: what answers here, my account, what I asked."""
    readable = [f"*{_escaped(name)}*  {count:,} documents" for name, count in value.kbs[:10]]
    account = (
        f"Linked to {_escaped(value.linked_to)}."
        if value.linked_to
        else f"Not linked to a membership: run `{value.command} link`."
    )
    out = [
        _header(f"Hello {value.name}"[:140]),
        _section(
            "Mention me in a channel, or write to me in *Messages*."
            f" `{value.command} help` lists what else I do."
        ),
        _header("What I answer from, for you"),
        _section("\n".join(readable) or "Nothing yet: you have no access to a knowledge base."),
        _header("Your account"),
        _section(account),
        _header("What you asked"),
    ]
    recent = [f"• {_escaped(replies.one_line(post.question)[:120])}" for post in value.recent]
    out.append(_section("\n".join(recent) or "Nothing yet."))
    if value.is_admin:
        well = [
            f"{'🟢' if not fault else '🔴'} {name} {_escaped(fault)}"
            for name, fault in value.health
        ]
        out += [_header("Status"), _section("\n".join(well) or "Everything works.")]
    return {"type": "home", "blocks": out}


def loading(title: str) -> View:
    """What a form shows at once, while what goes into it is looked up."""
    return {
        "type": "modal",
        "title": _plain(title),
        "close": _plain("Cancel"),
        "blocks": [_section("One moment…")],
    }


def setup_form(
    kbs: Sequence[str], channel: str, channel_name: str, *, kb: str = "", mode: str = "mention"
) -> View:
    """Which knowledge base answers a channel, and when; with a question to try it."""
    if not kbs:
        view = loading("Set up")
        view["blocks"] = [
            _section("There is no knowledge base yet. Create one first: `create <name>`.")
        ]
        return view
    options = [_option(name, name) for name in kbs[:OPTIONS_MAX]]
    chosen = next((option for option in options if option["value"] == kb[:75]), options[0])
    modes = [_option(label, name) for name, label in MODES.items()]
    now = next(item for item in modes if item["value"] == mode)
    return {
        "type": "modal",
        "callback_id": FORM + replies.BIND,
        "private_metadata": f"|{channel}",
        "title": _plain("Set up"),
        "submit": _plain("Save"),
        "close": _plain("Cancel"),
        "blocks": [
            _section(f"How I answer in *#{_escaped(channel_name)}*"),
            _input("kb", "Answer from", _select(options, chosen)),
            _input("mode", "When", _select(modes, now)),
            _input(
                "question",
                "A question to try it with",
                {"type": "plain_text_input", "max_length": 500},
                optional=True,
            ),
        ],
    }


def setup_refused() -> list[dict[str, Any]]:
    """For people who may not set the bot up."""
    return [_section("Only admins of this workspace can set me up.")]


def setup_elsewhere() -> list[dict[str, Any]]:
    """In a direct message there is no channel to set up."""
    return [_section("Do this in the channel you want to set up.")]


def reason_form(post_id: str, channel: str) -> View:
    """What was wrong with an answer."""
    return {
        "type": "modal",
        "callback_id": FORM + replies.REASON,
        "private_metadata": f"{post_id}|{channel}",
        "title": _plain("What was wrong?"),
        "submit": _plain("Send"),
        "close": _plain("Skip"),
        "blocks": [
            _input(
                "reason",
                "The answer is",
                {
                    "type": "radio_buttons",
                    "options": [_option(reason.capitalize(), reason) for reason in REASONS],
                    "initial_option": _option(REASONS[0].capitalize(), REASONS[0]),
                },
            ),
            _input(
                "text",
                "What would be right?",
                {"type": "plain_text_input", "multiline": True, "max_length": 2000},
                optional=True,
            ),
        ],
    }


def prompts() -> list[dict[str, str]]:
    """Suggestions for someone who opens the messages tab."""
    return [{"title": title, "message": message} for title, message in PROMPTS]


def _escaped(text: str) -> str:
    return markup.escape(text)


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text[:75], "emoji": True}


def _header(text: str) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": text[:150], "emoji": True}}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:3000]}}


def _option(label: str, value: str) -> dict[str, Any]:
    return {"text": _plain(label), "value": value[:75]}


def _select(options: list[dict[str, Any]], chosen: dict[str, Any]) -> dict[str, Any]:
    return {"type": "static_select", "options": options, "initial_option": chosen}


def _input(
    name: str, label: str, element: dict[str, Any], *, optional: bool = False
) -> dict[str, Any]:
    return {
        "type": "input",
        "block_id": name,
        "label": _plain(label),
        "optional": optional,
        "element": {**element, "action_id": name},
    }
