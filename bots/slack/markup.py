"""Text between Slack's way of writing and Markdown, and text made safe to post. Pure.

What came from Slack is read for its words: names for mentions, labels for links. What goes out is
Markdown in a `markdown` block, so little is converted; but nothing in it may notify anyone.
"""

from __future__ import annotations

import re

_ZERO_WIDTH = "\u200b"
_SPECIAL = re.compile(r"<(@|#|!)([^<>|]+)(?:\|([^<>]*))?>")
_LINK = re.compile(r"<((?:https?|mailto|tel):[^<>|\s]+)(?:\|([^<>]*))?>")
_CALL = re.compile(r"<(?=[!@#])|(?<![\w@])@(?=(?:channel|here|everyone)\b)")


def read_text(text: str, *, bot_user_id: str = "") -> tuple[str, bool, bool]:
    """A message's words, whether it calls the bot, and whether it first calls someone else."""
    first = _SPECIAL.match(text.lstrip())
    calls_others = first is not None and first[1] != "#" and first[2] != bot_user_id
    calls_bot = bool(bot_user_id) and f"<@{bot_user_id}" in text
    if calls_bot:
        text = re.sub(rf"<@{re.escape(bot_user_id)}(?:\|[^<>]*)?>[:,]?", " ", text)
    text = _SPECIAL.sub(_name, text)
    text = _LINK.sub(lambda m: m[2] or m[1], text)
    return unescape(text).strip(), calls_bot, calls_others and not calls_bot


def _name(match: re.Match[str]) -> str:
    kind, id_, label = match[1], match[2], match[3]
    if kind == "#":
        return f"#{label or id_}"
    if kind == "!":
        name = id_.split("^")[0]
        return label or (f"@{name}" if name in {"channel", "here", "everyone"} else name)
    return f"@{label or id_}"


def unescape(text: str) -> str:
    """Slack's three entities as characters."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def escape(text: str) -> str:
    """Characters as Slack's three entities: nothing in `text` is then a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def quieten(markdown: str) -> str:
    """Markdown that notifies no one: an invisible mark splits `<` from `!`, `@`, `#`."""
    return _CALL.sub(lambda match: match.group() + _ZERO_WIDTH, markdown)


def link(url: str, label: str) -> str:
    """A link in mrkdwn; without an address the label alone."""
    shown = escape(label).replace("|", "¦").replace("\n", " ")
    if not url:
        return shown
    target = url.replace("&", "&amp;").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")
    return f"<{target}|{shown}>"


def plain(markdown: str) -> str:
    """Markdown as Slack's fallback text: what notifications and old clients show."""
    text = re.sub(r"\[([^\[\]]*)\]\((https?://[^()\s]+)\)", r"\1", markdown)
    text = re.sub(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", r"*\2*", text)
    return escape(text)
