"""A small chat, and DiscordChatExporter's JSON and HTML of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

GUILD = "1343693475589463271"
CHANNEL = "1467229984284088776"
ADA = {"id": "110000000000000001", "name": "ada", "nickname": "Ada L.", "isBot": False}
BRO = {"id": "110000000000000002", "name": "brook", "nickname": "Brook", "isBot": False}
BOT = {"id": "110000000000000003", "name": "Herald", "nickname": "Herald", "isBot": True}
CDN = "https://cdn.discordapp.com"

FIRST, SECOND, THIRD, FOURTH, FIFTH = (str(1467230000000000000 + i * 10**9) for i in range(5))

MARKDOWN = (
    "**Spare key**: in the *blue* box & ~~red~~ __tin__ <here>, ask @Brook 😀 :tada:\n"
    "||Hush||, `x < y` and [the plan](https://a.example/p?x=1&y=2) https://b.example\n"
    "```py\nif a < b:\n    go()\n```\nThat is all."
)
MARKUP = (
    "<strong>Spare key</strong>: in the <em>blue</em> box &amp; <s>red</s> <u>tin</u> &lt;here&gt;, "
    'ask <span class="chatlog__markdown-mention" title="brook">@Brook</span> '
    f'<img loading="lazy" class="chatlog__emoji " alt="😀" title="grinning" src="{CDN}/x.svg"> '
    f'<img class="chatlog__emoji" alt="tada" title="tada" src="{CDN}/emojis/1.png">\n'
    '<span class="chatlog__markdown-spoiler chatlog__markdown-spoiler--hidden" '
    'onclick="showSpoiler(event, this)">Hush</span>, '
    '<code class="chatlog__markdown-pre chatlog__markdown-pre--inline">x &lt; y</code> and '
    '<a href="https://a.example/p?x=1&amp;y=2">the plan</a> '
    '<a href="https://b.example">https://b.example</a>\n'
    '<code class="chatlog__markdown-pre chatlog__markdown-pre--multiline language-py">'
    "if a &lt; b:\n    go()</code>That is all."
)


def as_json() -> dict[str, Any]:
    """The chat as the exporter's JSON has it."""
    return {
        "guild": {"id": GUILD, "name": "Radio"},
        "channel": {"id": CHANNEL, "type": "GuildTextChat", "name": "firmware"},
        "messages": [
            {"id": FIRST, "type": "Default", "content": "Where is the key?", "author": ADA}
            | {"isPinned": True},
            {"id": SECOND, "type": "Default", "content": "I need it today.", "author": ADA},
            {"id": THIRD, "type": "Reply", "content": MARKDOWN, "author": BRO}
            | {"reference": {"messageId": FIRST}}
            | {"reactions": [{"emoji": {"name": "✅"}, "count": 2}]}
            | {
                "attachments": [
                    {"id": "120000000000000001", "fileName": "plan of (all).png"},
                    {"id": "120000000000000002", "fileName": "notes.txt"},
                ]
            },
            {"id": FOURTH, "type": "Default", "content": "Build 7 is green.", "author": BOT},
            {"id": FIFTH, "type": "GuildMemberJoin", "content": "joined the server."}
            | {"author": BRO},
        ],
    }


def _author(who: dict[str, Any]) -> str:
    tag = '<span class="chatlog__author-tag">BOT</span>' if who["isBot"] else ""
    return (
        '<div class="chatlog__header"><span class="chatlog__author" style="" '
        f'title="{who["name"]}" data-user-id="{who["id"]}">{who["nickname"]}</span>{tag}'
        '<span class="chatlog__timestamp"><a href="#">1 June 2026 12:00</a></span></div>'
    )


def _content(markup: str, *, edited: bool = False) -> str:
    mark = '<span class="chatlog__edited-timestamp" title="today">(edited)</span>' if edited else ""
    return (
        '<div class="chatlog__content chatlog__markdown">'
        f'<span class="chatlog__markdown-preserve"><!--wmm:ignore-->{markup}<!--/wmm:ignore-->'
        f"</span> {mark}</div>"
    )


def message(external_id: str, inner: str, *, pinned: bool = False) -> str:
    """A message's container with what it holds."""
    more = " chatlog__message-container--pinned" if pinned else ""
    return (
        f'<div id="chatlog__message-container-{external_id}" '
        f'class="chatlog__message-container{more}" data-message-id="{external_id}">'
        f'<div class="chatlog__message"><div class="chatlog__message-aside"></div>'
        f'<div class="chatlog__message-primary">{inner}</div></div></div>'
    )


def _reply() -> str:
    return (
        '<div class="chatlog__reply"><div class="chatlog__reply-author" title="ada">Ada L.</div>'
        '<div class="chatlog__reply-content"><span class="chatlog__reply-link" '
        f"""onclick="scrollToMessage(event, '{FIRST}')">Where is the key?</span></div></div>"""
    )


def _attachments() -> str:
    at = f"{CDN}/attachments/{CHANNEL}"
    return (
        f'<div class="chatlog__attachment "><a href="{at}/120000000000000001/plan.png">'
        f'<img class="chatlog__attachment-media" src="{at}/120000000000000001/plan.png" '
        'title="Image: plan of (all).png (12.5 KB)"></a></div>'
        '<div class="chatlog__attachment"><div class="chatlog__attachment-generic">'
        '<div class="chatlog__attachment-generic-name">'
        f'<a href="{at}/120000000000000002/notes.txt">\n notes.txt\n</a></div>'
        '<div class="chatlog__attachment-generic-size">3 KB</div></div></div>'
    )


def _embed() -> str:
    return (
        '<div class="chatlog__embed"><div class="chatlog__embed-content"><div '
        'class="chatlog__markdown chatlog__markdown-preserve">A page that was linked</div></div>'
        "</div>"
    )


def _reactions() -> str:
    return (
        '<div class="chatlog__reactions"><div class="chatlog__reaction" title="white_check_mark">'
        '<img class="chatlog__emoji chatlog__emoji--small" alt="✅" src="x.svg">'
        '<span class="chatlog__reaction-count">2</span></div></div>'
    )


def groups() -> list[str]:
    """The chat's groups of messages as the exporter's HTML has them."""
    joined = (
        '<span class="chatlog__system-notification-author" title="brook" '
        f'data-user-id="{BRO["id"]}">Brook</span><span> </span>'
        '<span class="chatlog__system-notification-content"><span>joined the server.</span></span>'
    )
    return [
        message(FIRST, _author(ADA) + _content("Where is the key?"), pinned=True)
        + message(SECOND, _content("I need it today.", edited=True)),
        message(
            THIRD,
            _reply() + _author(BRO) + _content(MARKUP) + _attachments() + _embed() + _reactions(),
        ),
        message(FOURTH, _author(BOT) + _content("Build 7 is green.")),
        message(FIFTH, joined),
    ]


def as_html(
    parts: Sequence[str] | None = None,
    *,
    told: str | None = "5",
    guild: str = "Radio",
    icon: str = f"{CDN}/icons/{GUILD}/abc.png",
) -> str:
    """The exporter's HTML of groups of messages; without `told` the page has no end."""
    body = "".join(
        f'<div class="chatlog__message-group">{part}</div>\n' for part in parts or groups()
    )
    end = (
        f'</div><div class="postamble"><div class="postamble__entry">Exported {told} message(s)'
        "</div></div></body></html>"
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head><title>{guild} - firmware</title>'
        '<meta charset="utf-8"><style>.preamble__entry{margin:0}</style></head><body>'
        '<div class="preamble"><div class="preamble__guild-icon-container">'
        f'<img class="preamble__guild-icon" src="{icon}" alt="Guild icon"></div>'
        f'<div class="preamble__entry">{guild}</div>'
        '<div class="preamble__entry">Work / firmware</div></div><div class="chatlog">'
        f"{body}{'' if told is None else end}"
    )
