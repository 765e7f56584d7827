"""Every kind of message the Discord bot sends, from fixed values: golden JSON, and pictures of it.

`python -m tests.fakes.discord_samples` writes the golden file, the page in docs and, where Chromium
is, the pictures. The renderer here draws them approximately as Discord does.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence

from bots.discord import components
from bots.discord.components import OutgoingMessage
from bots.replies import Reply
from tests.fakes import message_samples
from tests.fakes.message_samples import ROOT, Idiom, Json, post

GOLDEN = ROOT / "tests" / "golden" / "discord_messages.json"
PAGE = ROOT / "docs" / "reference" / "discord-messages.md"
IDIOM = Idiom(
    platform="discord",
    permalink="https://discord.com/channels/700/710/720",
    group="<@&730>",
    pinging="Ask @everyone, <@740>, <@&730> & join https://discord.gg/jays [1].",
)
WHOLE = " · as one message"
STEPS = (
    ("Arrive", "Ask at the *front desk* for the key that opens the door, it is `KEY-7`."),
    ("Open", "Turn it twice to the left, then [call the lead](https://handbook.example/lead)."),
)
WIDE = "\n".join(["| step | what to do |", "|---|---|", *(f"| {a} | {b} |" for a, b in STEPS)])
MARKED = (
    "#### Ports\n\n| service | port |\n|---|---|\n| search | 8080 |\n| café | 443 |\n\n"
    f"{WIDE}\n\n~~~sh\nleave new --advance\n~~~\n\n- [x] see <b>handbook.example</b> [1]\n"
)


def samples() -> dict[str, Reply]:
    """Each message by its heading on the page: those of every bot, and Discord's own."""
    shared = message_samples.samples(IDIOM)
    answer = shared["An answer in a channel"]
    source = answer.sources[0]
    long = "\n\n".join(f"**Step {n}.** " + "Say what you need. " * 18 for n in range(1, 8))
    code = (
        "Run all of it:\n\n```py\n"
        + f"print({'one more word, ' * 5!r})\n" * 34
        + "```\nThat is all [1]."
    )
    return shared | {
        "Tables, code and headings": Reply(MARKED, [source], kind="answer"),
        "Two messages of text": Reply(long, [source], kind="answer"),
        "Code split over messages": Reply(code, [source], kind="answer"),
    }


def golden() -> Json:
    """What is compared: the messages of each reply, and the forms."""
    made: Json = {}
    for name, reply in samples().items():
        made[name] = [part.body for part in components.render(reply)]
        whole = [part.body for part in components.render(reply, streamed=False)]
        if whole != made[name]:
            made[name + WHOLE] = whole
    made["The form that sets up a channel"] = components.setup_form(
        ["handbook", "support"], "help", kb="handbook", mode="mention"
    )
    made["What was wrong with an answer"] = components.reason_form(post().id)
    return made


# Pictures


STYLE = """
body{font:15px/1.4 "gg sans","Noto Sans","DejaVu Sans",Arial,sans-serif;color:#dbdee1;margin:0;
background:#313338}.m{display:flex;gap:14px;padding:14px 18px 4px;width:640px;box-sizing:border-box}
.a{width:40px;height:40px;border-radius:50%;background:#1d4e89;color:#fff;display:grid;
place-items:center;font-weight:700;flex:none}.w{flex:1;min-width:0}
.n{font-weight:600;color:#f2f3f5}.t{font-size:10px;background:#5865f2;border-radius:3px;
padding:1px 5px;color:#fff;margin-left:5px;vertical-align:1px}.x{white-space:pre-wrap;
overflow-wrap:anywhere;margin:2px 0}.x ul{margin:0;padding-left:20px;white-space:normal}
code{background:#2b2d31;border-radius:4px;font:13px/1.3 "DejaVu Sans Mono",monospace;padding:1px 4px}
pre{background:#2b2d31;border:1px solid #1e1f22;border-radius:4px;padding:8px;margin:4px 0;
font:13px/1.3 "DejaVu Sans Mono","Noto Sans Mono CJK SC",monospace;white-space:pre-wrap}
h1,h2,h3{margin:6px 0;color:#f2f3f5}h1{font-size:22px}h2{font-size:19px}h3{font-size:16px}
a{color:#00a8fc;text-decoration:none}small{display:block;font-size:12px;color:#949ba4}
blockquote{border-left:4px solid #4e5058;margin:2px 0;padding-left:10px}
.b{background:#4e5058;color:#fff;border-radius:8px;padding:6px 14px;font-weight:500;font-size:14px;
margin:4px 8px 4px 0;display:inline-block}.b1{background:#5865f2}.b4{background:#da373c}
hr{border:0;border-top:1px solid #4e5058;margin:6px 0}.l{font-size:10px;color:#949ba4;padding:4px 18px 8px}
.u{background:#5865f24d;color:#c9cdfb;border-radius:3px;padding:0 2px}
.s{border-top:1px dashed #4e5058;margin-top:6px}
"""


def _inline(text: str) -> str:
    out = html.escape(text, quote=False)
    out = re.sub(r"\[((?:\[[^\]]*\]|[^\[\]])+)\]\(&lt;(.+?)&gt;\)", r'<a href="\2">\1</a>', out)
    out = re.sub(r"(?<!\()&lt;(https?://.+?)&gt;", r'<a href="\1">\1</a>', out)
    out = re.sub(r"&lt;@&amp;\d+&gt;", '<span class="u">@people</span>', out)
    out = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", out)
    out = re.sub(r"(?<![\\*\w])\*([^*\n]+)\*", r"<i>\1</i>", out)
    return re.sub(r"\\([\\`*_~|\[\]#-]|&lt;|&gt;)", r"\1", out)


def _line(line: str) -> str:
    if heading := re.match(r"(#{1,3}) (.+)", line):
        return f"<h{len(heading[1])}>{_spans(heading[2])}</h{len(heading[1])}>"
    if line.startswith("-# "):
        return f"<small>{_spans(line[3:])}</small>"
    if line.startswith("> "):
        return f"<blockquote>{_spans(line[2:])}</blockquote>"
    if line.startswith("- "):
        return f"<ul><li>{_spans(line[2:])}</li></ul>"
    return f"{_spans(line)}\n"


def _spans(text: str) -> str:
    return "".join(
        f"<code>{html.escape(piece[1:-1])}</code>" if piece.startswith("`") else _inline(piece)
        for piece in re.split(r"((?<!\\)`[^`\n]+`)", text)
    )


def _shown(text: str) -> str:
    pieces = re.split(r"(```\w*\n.*?\n```\n?)", text, flags=re.DOTALL)
    return "".join(
        f"<pre>{html.escape(piece.strip().removesuffix('```').partition(chr(10))[2].rstrip())}</pre>"
        if piece.startswith("```")
        else "".join(map(_line, piece.split("\n"))).removesuffix("\n")
        for piece in pieces
    )


def draw(component: Json) -> str:
    """One component as HTML."""
    match component["type"]:
        case components.TEXT:
            return f'<div class="x">{_shown(component["content"])}</div>'
        case components.SEPARATOR:
            return "<hr>"
        case components.ROW:
            return f"<div>{''.join(map(draw, component['components']))}</div>"
        case components.BUTTON:
            label = component.get("label") or component["emoji"]["name"]
            return f'<span class="b b{component["style"]}">{html.escape(label)}</span>'
        case _:
            return ""


def picture(name: str, parts: Sequence[OutgoingMessage]) -> str:
    """Messages one after the other as a page."""
    drawn = []
    for part in parts:
        text = part.body.get("content") or ""
        rows = "".join(map(draw, part.body.get("components") or ()))
        drawn.append((f'<div class="x">{_shown(text)}</div>' if text else "") + rows)
    body = '<div class="s"></div>'.join(drawn)
    return (
        f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style><div class="m"><div class="a">S'
        f'</div><div class="w"><span class="n">Scrubjay</span><span class="t">APP</span>{body}</div>'
        f'</div><div class="l">{html.escape(name)} · approximate drawing, not by Discord; a dashed'
        " line separates messages</div>"
    )


def slug(name: str) -> str:
    """A file name."""
    return message_samples.slug(IDIOM, name)


def page() -> str:
    """The page in docs."""
    intro = (
        "The bot's messages, as pictures and as JSON of Discord's REST interface. The text is"
        " plain `content`, in as many messages as it takes. Under an answer, its sources, note,"
        " buttons and thumbs follow in a message of Components V2; where nothing is streamed and"
        " everything fits, all of it is one such message. A renderer draws the pictures"
        " approximately as Discord does. The JSON is exactly what the bot sends; a test compares"
        " it.\n\nSlack has three things that Discord lacks: the app's home (`/kb help`,"
        " `/kb sources` and `/kb health` show the same), suggested prompts, and a form that changes"
        " while it is open."
    )
    return message_samples.page(IDIOM, golden(), intro=intro, what="JSON", pictured=samples())


def write() -> None:
    """Write the golden file, the page and the pictures."""
    GOLDEN.write_text(json.dumps(golden(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    pages = {
        slug(name): picture(name, components.render(reply)) for name, reply in samples().items()
    }
    message_samples.draw(pages)


if __name__ == "__main__":
    write()
