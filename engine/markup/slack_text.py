"""Slack's way to write a message, as Markdown. Mentions stay as they are; names come later.

`blocks` of type rich_text say exactly what the author wrote; older messages and exports have only
`text`, Slack's mrkdwn. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

INDENT_MAX = 8  # levels of a list, as Slack's editor has them
_CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)
_ANGLE = re.compile(r"<([^<>\n]+)>")
_BOLD = re.compile(r"(?<![\w*])\*(?=\S)([^*\n]+?)(?<=\S)\*(?![\w*])")
_STRIKE = re.compile(r"(?<![\w~])~(?=\S)([^~\n]+?)(?<=\S)~(?![\w~])")
_MENTION = re.compile(r"[@#][A-Z0-9]{3,30}(?:\|.*)?")
_BULLET = re.compile(r"^([ \t]*)[•◦▪] ?", re.MULTILINE)


def to_markdown(message: Mapping[str, Any]) -> str:
    """The words of a message: from its rich text where it has that, else from its mrkdwn."""
    blocks = message.get("blocks")
    if isinstance(blocks, Sequence) and not isinstance(blocks, str):
        rich = [
            block
            for block in blocks
            if isinstance(block, Mapping) and block.get("type") == "rich_text"
        ]
        if rich and len(rich) == len(blocks):
            return "\n\n".join(filter(None, map(_rich_text, rich))).strip()
    return mrkdwn(str(message.get("text") or ""))


def mrkdwn(text: str) -> str:
    """Slack's mrkdwn as Markdown; code is only unescaped."""
    parts = _CODE.split(text)
    return "".join(
        _unescape(_ANGLE.sub(_plain_angle, part) if number % 2 else _prose(part))
        for number, part in enumerate(parts)
    )


def _prose(text: str) -> str:
    text = _STRIKE.sub(r"~~\1~~", _BOLD.sub(r"**\1**", text))
    return _BULLET.sub(r"\1- ", _ANGLE.sub(_angle, text))


def _unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _angle(match: re.Match[str]) -> str:
    inner = match[1]
    if _MENTION.fullmatch(inner):
        return match.group()
    if inner.startswith("!"):
        return _special(inner)
    address, bar, label = inner.partition("|")
    if not bar or address in {label, f"mailto:{label}"} or _same(label, address):
        return address.removeprefix("mailto:")
    return f"[{label}]({address})"


def _same(label: str, address: str) -> bool:
    """Slack makes links of bare domains: <http://a.org|a.org>."""
    return address.partition("://")[2].rstrip("/") == label.rstrip("/")


def _plain_angle(match: re.Match[str]) -> str:
    """Inside code a link is what it says."""
    inner = match[1]
    if _MENTION.fullmatch(inner) or inner.startswith("!"):
        return match.group()
    address, _, label = inner.partition("|")
    return label or address


def _special(inner: str) -> str:
    """<!here>, <!subteam^S1|@group>, <!date^1392734382^{date}|Feb 18>: their words."""
    command, _, label = inner.partition("|")
    if label:
        return label
    name = command.removeprefix("!").partition("^")
    return f"@{name[2] or name[0]}" if name[0] == "subteam" else f"@{name[0]}"


# Rich text


def _rich_text(block: Mapping[str, Any]) -> str:
    return "\n\n".join(filter(None, (_section(element) for element in _elements(block))))


def _elements(block: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = block.get("elements")
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def _section(element: Mapping[str, Any]) -> str:
    match element.get("type"):
        case "rich_text_preformatted":
            code = "".join(_plain(entry) for entry in _elements(element)).strip("\n")
            return f"```\n{code}\n```"
        case "rich_text_quote":
            said = "".join(_inline(entry) for entry in _elements(element))
            return "\n".join(f"> {line}" for line in said.split("\n"))
        case "rich_text_list":
            indent = "  " * _depth(element.get("indent"))
            ordered = element.get("style") == "ordered"
            items = ["".join(_inline(i) for i in _elements(entry)) for entry in _elements(element)]
            return "\n".join(
                f"{indent}{f'{number}.' if ordered else '-'} {item}"
                for number, item in enumerate(items, start=1)
            )
    return "".join(_inline(entry) for entry in _elements(element)).strip("\n")


def _depth(indent: object) -> int:
    return min(indent, INDENT_MAX) if isinstance(indent, int) else 0


def _plain(element: Mapping[str, Any]) -> str:
    return str(element.get("text") or element.get("url") or "")


def _inline(element: Mapping[str, Any]) -> str:
    text = _said(element)
    style = element.get("style")
    if not isinstance(style, Mapping) or not text.strip():
        return text
    if style.get("code"):
        return f"`{text}`"
    lead, tail = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    for name, mark in (("bold", "**"), ("italic", "*"), ("strike", "~~")):
        if style.get(name):
            text = f"{lead}{mark}{text.strip()}{mark}{tail}"
    return text


def _said(element: Mapping[str, Any]) -> str:
    said = str(element.get("text") or "")
    match element.get("type"):
        case "link":
            url = str(element.get("url") or "")
            said = f"[{said}]({url})" if said and said != url else url
        case "user":
            said = f"<@{element.get('user_id')}>"
        case "channel":
            said = f"<#{element.get('channel_id')}>"
        case "usergroup":
            said = f"@{element.get('usergroup_id')}"
        case "broadcast":
            said = f"@{element.get('range')}"
        case "emoji":
            said = _emoji(str(element.get("unicode") or "")) or f":{element.get('name')}:"
        case "date":
            said = str(element.get("fallback") or "")
    return said


def _emoji(code: str) -> str:
    try:
        return "".join(chr(int(part, 16)) for part in code.split("-")) if code else ""
    except (ValueError, OverflowError):
        return ""
