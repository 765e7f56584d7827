"""DiscordChatExporter's HTML, read as the mapping that its JSON of the same channel would be.

A page is read as a stream, and what was read is let go. It tells no id of the channel (the file's
name does) and often none of the server (the address of its icon does); when a message was edited
stands there in the words of whoever exported it, so only that it was edited is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from lxml import etree

from engine.errors import InvalidInput
from ingestion.sources.discord_markdown import classes, markdown

HEAD_BYTES = 256 * 1024  # the styles stand before anything else: some 40 kB
DIRECT_MESSAGES = "Direct Messages"  # what the exporter calls the server of direct messages

_PREAMBLE = re.compile(rb"""<div\s+class=["']?preamble["'\s>]""")
_CHATLOG = re.compile(rb"""<div\s+class=["']?chatlog["'\s>]""")
_IN_NAME = re.compile(r"\[(\d{15,21})\]")
_ICON = re.compile(r"/(?:icons|guilds)/(\d{15,21})/")
_MESSAGE_ID = re.compile(r"(?:chatlog__message-container|message)-(\d+)")
_TARGET = re.compile(r"scrollToMessage\(\s*event\s*,\s*['\"]?(\d+)")
_ATTACHMENT = re.compile(r"/attachments/\d+/(\d+)/")
_MEDIA_TITLE = re.compile(r"(?:Image|Video|Audio): (.+) \([^()]*\)", re.DOTALL)

_AUTHOR = frozenset(
    {"chatlog__author", "chatlog__author-name", "chatlog__system-notification-author"}
)
_BOT = frozenset({"chatlog__author-tag", "chatlog__bot-label", "chatlog__bot-tag"})
_REPLY = frozenset({"chatlog__reply", "chatlog__reference"})
_NOTICES = {  # beginnings of the words of a notice, and the type that JSON gives
    "joined": "GuildMemberJoin",
    "pinned": "ChannelPinnedMessage",
    "started a thread": "ThreadCreated",
    "changed the channel name": "ChannelNameChange",
    "changed the channel icon": "ChannelIconChange",
    "added": "RecipientAdd",
    "removed": "RecipientRemove",
    "left": "RecipientRemove",
    "started a call": "Call",
}


@dataclass(slots=True)
class _Page:
    """What was read of a page so far."""

    title: str = ""
    icon: str = ""
    entries: list[str] = field(default_factory=list)
    told: str | None = None  # "Exported 1,234 message(s)"
    author: dict[str, Any] | None = None  # of the group that is open
    reply: Mapping[str, Any] = field(default_factory=dict)  # what the next message answers
    messages: dict[str, Mapping[str, Any]] = field(default_factory=dict)


def is_head(head: bytes) -> bool:
    """Whether the first `HEAD_BYTES` of a file are those of an HTML export."""
    return _PREAMBLE.search(head) is not None and _CHATLOG.search(head) is not None


def read(name: str, data: bytes) -> tuple[Mapping[str, Any], list[str]]:
    """The export that a page holds, as JSON would tell it, and in words what to be wary of.

    `guild.id` is empty where nothing tells it. Raises `InvalidInput` that says what to do if the
    page is no export, or nothing tells its channel's id.
    """
    page = _Page()
    try:
        _read(data, page)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise InvalidInput(f"{name} is damaged: export it again.", field="path") from error
    if len(page.entries) < 2 or (page.told is None and not page.messages):
        raise InvalidInput(
            f"{name} is not an export of a Discord channel, or is damaged: export it again.",
            field="path",
        )
    ids = _IN_NAME.findall(PurePosixPath(name).name)
    guild, channel = page.entries[0], _channel_name(page)
    is_direct = guild == DIRECT_MESSAGES
    if not ids and not is_direct:
        raise InvalidInput(
            f"{name} does not tell its channel's id: rename it to end in the id in square brackets "
            f"('{channel} [123456789012345678].html'), or export the channel as JSON.",
            field="path",
        )
    icon = _ICON.search(page.icon)
    guild_id = ids[0] if len(ids) > 1 else icon[1] if icon else ""
    export = {
        "guild": {"id": guild_id, "name": guild},
        "channel": {
            "id": ids[-1] if ids else "",
            "name": channel,
            "type": "DirectTextChat" if is_direct else "",
        },
        "messages": list(page.messages.values()),
    }
    return export, _warnings(name, page)


def _channel_name(page: _Page) -> str:
    """The last part of "Category / channel"; a thread's own name may have a slash in it."""
    _, _, name = page.title.partition(f"{page.entries[0]} - ")
    path = page.entries[1]
    return name if name and path.endswith(f" / {name}") else path.rsplit(" / ", 1)[-1]


def _warnings(name: str, page: _Page) -> list[str]:
    if page.told is None:
        return [f"{name} ends early: what it holds was read, but export it again."]
    digits = "".join(character for character in page.told if character.isdecimal())[:12]
    count = len(page.messages)
    if not digits or int(digits) == count:
        return []
    said = f"{name} says that it holds {int(digits):,} messages; {count:,} were found"
    return [f"{said}: export it again if some are missing."]


def _read(data: bytes, page: _Page) -> None:
    within = 0  # messages that are open: one inside another is no message of its own
    for event, element in etree.iterparse(
        BytesIO(data),
        events=("start", "end"),
        html=True,
        encoding="utf-8",
        no_network=True,
        remove_comments=True,
        remove_pis=True,
    ):
        names = classes(element)
        is_message = bool(_message_id(element))
        if event == "start":
            within += is_message
            if "chatlog__message-group" in names:
                page.author, page.reply = None, {}
            continue
        if is_message:
            within -= 1
            if not within:
                _keep(element, page)
                element.clear(keep_tail=False)
        elif "chatlog__message-group" in names:
            element.clear(keep_tail=False)
            parent = element.getparent()
            while parent is not None and element.getprevious() is not None:
                del parent[0]
        else:
            _take(element, names, page)


def _take(element: etree._Element, names: frozenset[str], page: _Page) -> None:
    """What stands outside of messages' own text: the page's head and foot, authors, what is answered."""
    if names & _AUTHOR and element.get("data-user-id"):
        page.author = {
            "id": element.get("data-user-id"),
            "name": element.get("title") or "",
            "nickname": _words(element),
            "isBot": False,
        }
    elif names & _BOT and page.author is not None:
        page.author["isBot"] = True
    elif names & _REPLY:
        page.reply = _reply(element)
    elif element.tag == "title" and not page.title:
        page.title = _words(element)
    elif "preamble__guild-icon" in names:
        page.icon = element.get("src") or ""
    elif "preamble__entry" in names:
        page.entries.append(_words(element))
    elif "postamble__entry" in names and page.told is None:
        page.told = _words(element)


def _message_id(element: etree._Element) -> str:
    told = element.get("data-message-id") or ""
    if told.isdecimal():
        return str(told)
    found = _MESSAGE_ID.fullmatch(element.get("id") or "")
    return found[1] if found else ""


def _words(element: etree._Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _keep(element: etree._Element, page: _Page) -> None:
    """Keep the message that has just ended."""
    message_id = _message_id(element)
    notice = _first(element, "chatlog__system-notification-content")
    content = _first(element, "chatlog__content")
    found: dict[str, Any] = {
        "id": message_id,
        "type": "Default",
        "content": "" if content is None else markdown(_text_of(content)),
        "author": dict(page.author or {}),
        "isPinned": any(
            name.endswith("--pinned") for child in element.iter("div") for name in classes(child)
        ),
        "attachments": [_attachment(file) for file in _all(element, "chatlog__attachment")],
        "reactions": list(_reactions(element)),
    }
    if notice is not None:
        words = _words(notice)
        found["type"] = next(
            (kind for start, kind in _NOTICES.items() if words.startswith(start)), "System"
        )
        found["content"] = words
    found |= page.reply
    page.reply = {}
    page.messages.setdefault(message_id, found)


def _reply(element: etree._Element) -> Mapping[str, Any]:
    for child in element.iter():
        if target := _TARGET.search(child.get("onclick") or ""):
            return {"type": "Reply", "reference": {"messageId": target[1]}}
    words = _first(element, "chatlog__reply-content")
    used = words is not None and _words(words).startswith("used /")
    return {"type": "ChatInputCommand" if used else "Reply"}


def _text_of(content: etree._Element) -> etree._Element:
    """What holds the text itself, without the mark of an edit."""
    for name in ("chatlog__markdown-preserve", "preserve-whitespace"):
        if (inner := _first(content, name)) is not None:
            return inner
    return content


def _all(element: etree._Element, name: str) -> list[etree._Element]:
    return [child for child in element.iter("div", "span") if name in classes(child)]


def _first(element: etree._Element, name: str) -> etree._Element | None:
    return next((child for child in element.iter("div", "span") if name in classes(child)), None)


def _attachment(element: etree._Element) -> dict[str, Any]:
    url = next(
        (link for child in element.iter() if (link := child.get("href") or child.get("src"))), ""
    )
    titles = (_MEDIA_TITLE.fullmatch(child.get("title") or "") for child in element.iter())
    name = next((title[1] for title in titles if title), "")
    generic = _first(element, "chatlog__attachment-generic-name")
    if not name and generic is not None:
        name = _words(generic)
    found = _ATTACHMENT.search(url)
    return {
        "id": found[1] if found else "",
        "fileName": name or PurePosixPath(unquote(_path(url))).name,
    }


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _reactions(element: etree._Element) -> Iterator[dict[str, Any]]:
    for reaction in _all(element, "chatlog__reaction"):
        image = next(reaction.iter("img"), None)
        count = _first(reaction, "chatlog__reaction-count")
        digits = "" if count is None else _words(count)
        if image is not None and image.get("alt") and digits.isdecimal() and len(digits) < 10:
            yield {"emoji": {"name": image.get("alt")}, "count": int(digits)}
