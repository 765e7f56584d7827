"""Every kind of message the Slack bot sends, from fixed values: golden JSON, and pictures of it.

`python -m tests.fakes.slack_samples` writes the golden file, the page in docs and, where Chromium is,
the pictures. The renderer here draws them approximately as Slack does.
"""

from __future__ import annotations

import html
import json
import re

from bots.replies import Reply
from bots.slack import blocks, views
from tests.fakes import message_samples
from tests.fakes.message_samples import PICTURES, ROOT, Idiom, post
from tests.fakes.slack import Json

__all__ = ["PICTURES"]

GOLDEN = ROOT / "tests" / "golden" / "slack_messages.json"
PAGE = ROOT / "docs" / "reference" / "slack-messages.md"
IDIOM = Idiom(
    platform="slack",
    permalink="https://acme.slack.com/archives/C1/p1",
    group="<!subteam^S0123456|@people>",
    pinging="Ask <!channel> and <@U1> & @here [1].",
)


def samples() -> dict[str, Reply]:
    """Each message by its heading on the page."""
    return message_samples.samples(IDIOM)


def golden() -> Json:
    """What is compared: fallback text and blocks of each message, and the views."""
    made: Json = {}
    for name, reply in samples().items():
        text, rendered = blocks.render(reply)
        made[name] = {"text": text, "blocks": rendered}
    made["The form that sets up a channel"] = views.setup_form(
        ["handbook", "support"], "C1", "help", kb="handbook", mode="mention"
    )
    made["What was wrong with an answer"] = views.reason_form(post().id, "C1")
    made["The home"] = views.home(
        views.HomeView(
            "Ada", "Ada Lovelace", [("handbook", 214)], [post()], "/kb", True, [("database", "")]
        )
    )
    return made


# Pictures


STYLE = """
body{font:15px/1.46 Lato,"Helvetica Neue",Arial,sans-serif;color:#1d1c1d;margin:0;background:#fff}
.m{display:flex;gap:10px;padding:14px 18px;width:640px;box-sizing:border-box}
.a{width:36px;height:36px;border-radius:6px;background:#1d4e89;color:#fff;display:grid;
place-items:center;font-weight:700;flex:none}
.n{font-weight:900}.t{font-size:11px;background:#e8e8e8;border-radius:2px;padding:1px 4px;
color:#616061;margin-left:5px}p{margin:2px 0 6px}ul{margin:2px 0 6px;padding-left:22px}
code{background:#f6f6f6;border:1px solid #ddd;border-radius:3px;color:#c01343;font-size:12px;padding:1px 3px}
a{color:#1264a3;text-decoration:none}.c{font-size:13px;color:#616061;margin:4px 0}
.b{border:1px solid #bbb;border-radius:8px;padding:5px 11px;font-weight:700;font-size:13px;
margin:4px 6px 2px 0;display:inline-block}.primary{background:#007a5a;color:#fff;border-color:#007a5a}
.danger{color:#fff;background:#e01e5a;border-color:#e01e5a}.f{color:#616061;font-size:15px;margin-top:4px}
table{border-collapse:collapse;font-size:13px;margin:4px 0}td{border:1px solid #ddd;padding:4px 9px}
tr:first-child td{background:#f8f8f8;font-weight:700}blockquote{border-left:4px solid #ddd;margin:2px 0;
padding-left:10px}.l{font-size:10px;color:#999;padding:0 18px 8px}
.u{background:#f2c74466;color:#b8860b;border-radius:3px;padding:0 2px}
"""


def _inline(text: str) -> str:
    out = html.escape(text, quote=False)
    out = re.sub(r"`([^`]+)`", r"<code>\1</code>", out)
    out = re.sub(r"\[\[(\d+)\]\]\(([^)]+)\)", r'<a href="\2">[\1]</a>', out)
    out = re.sub(r"\[([^\]]+)\]\((https?:[^)]+)\)", r'<a href="\2">\1</a>', out)
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", out)


def _markdown(text: str) -> str:
    out: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = paragraph.split("\n")
        if all(line.startswith("- ") for line in lines):
            items = "".join(f"<li>{_inline(line[2:])}</li>" for line in lines)
            out.append(f"<ul>{items}</ul>")
        elif all(line.startswith("> ") for line in lines):
            said = "<br>".join(_inline(line[2:]) for line in lines)
            out.append(f"<blockquote>{said}</blockquote>")
        else:
            out.append("<p>" + "<br>".join(map(_inline, lines)) + "</p>")
    return "".join(out)


def _mrkdwn(text: str) -> str:
    """Slack has escaped what is not its own already."""
    out = re.sub(r"<(https?:[^|>]+)\|([^>]+)>", r'<a href="\1">\2</a>', text)
    out = re.sub(r"<!subteam\^[^|>]+\|([^>]+)>", r'<span class="u">\1</span>', out)
    out = re.sub(r"(?<!\w)\*([^*\n]+)\*", r"<b>\1</b>", out)
    out = re.sub(r"(?<!\w)_([^_\n]+)_(?!\w)", r"<i>\1</i>", out)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", out).replace("\n", "<br>")


def draw(block: Json) -> str:  # noqa: PLR0911 (a kind of block each)
    """One block as HTML."""
    match block["type"]:
        case "markdown":
            return _markdown(block["text"])
        case "section":
            return f"<p>{_mrkdwn(block['text']['text'])}</p>"
        case "context":
            return f'<div class="c">{_mrkdwn(block["elements"][0]["text"])}</div>'
        case "actions":
            return "".join(
                f'<span class="b {e.get("style", "")}">{html.escape(e["text"]["text"])}</span>'
                for e in block["elements"]
            )
        case "context_actions":
            return '<div class="f">👍 &nbsp; 👎</div>'
        case "table":
            rows = "".join(
                "<tr>" + "".join(f"<td>{html.escape(c['text'])}</td>" for c in row) + "</tr>"
                for row in block["rows"]
            )
            return f"<table>{rows}</table>"
        case _:
            return ""


def picture(name: str, drawn: list[Json]) -> str:
    """A message as a page."""
    body = "".join(map(draw, drawn))
    return (
        f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style><div class="m"><div class="a">S'
        f'</div><div><span class="n">Scrubjay</span><span class="t">APP</span>{body}</div></div>'
        f'<div class="l">{html.escape(name)} · approximate drawing, not by Slack</div>'
    )


def slug(name: str) -> str:
    """A file name."""
    return message_samples.slug(IDIOM, name)


def page() -> str:
    """The page in docs."""
    intro = (
        "The bot's messages, as pictures and as Block Kit JSON. A renderer draws the pictures"
        " approximately as Slack does. The JSON is exactly what the bot sends; a test compares it."
    )
    return message_samples.page(IDIOM, golden(), intro=intro, what="Block Kit", pictured=samples())


def write() -> None:
    """Write the golden file, the page and the pictures."""
    GOLDEN.write_text(json.dumps(golden(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    pages = {
        slug(name): picture(name, blocks.render(reply)[1]) for name, reply in samples().items()
    }
    message_samples.draw(pages)


if __name__ == "__main__":
    write()
