"""Every kind of message the Slack bot sends, from fixed values: golden JSON, and pictures of it.

`python -m tests.fakes.slack_samples` writes the golden file, the page in docs and, where Chromium is,
the pictures. The pictures are drawn by the renderer here, which is approximately Slack's.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bots import replies
from bots.replies import Reply
from bots.slack import blocks, views
from engine.administration import Told
from engine.commands import find_command
from engine.domain import Answer, Citation, Hit, Passage, ScoreParts, SearchResult
from engine.errors import RateLimited
from engine.posts import PostInfo, PostState, SourceFacts
from engine.workspaces import Met
from tests.fakes.slack import Json

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "slack_messages.json"
PAGE = ROOT / "docs" / "reference" / "slack-messages.md"
PICTURES = ROOT / "docs" / "pictures"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
TEXT = (
    "You can request up to 240 hours of advanced sick leave [1]. Your lead approves it, usually within"
    " two days [2].\n\n- Say how many hours you need [1]\n- Run `leave new --advance` to begin"
)


def citation(n: int, title: str, url: str, quote: str) -> Citation:
    """A citation of document `n`."""
    return Citation(n, f"{n:032x}.0", f"d{n}", f"{n:032x}", title, url, quote, 0, len(quote))


CITATIONS = (
    citation(
        1, "Leave types", "https://handbook.example/leave", "You can request up to 240 hours."
    ),
    citation(
        2,
        "#people · how long does approval take?",
        "https://acme.slack.com/archives/C1/p1",
        "Usually two days.",
    ),
)
FACTS = {
    "d1": SourceFacts("", NOW - timedelta(days=400)),
    "d2": SourceFacts("Grace", NOW - timedelta(days=95)),
}


def post(
    surface: str = "channel", question: str = "How much sick leave can I get early?"
) -> PostInfo:
    """A post as the desk has it."""
    met = Met("t", "w", "i", None if surface == "direct" else "c")
    return PostInfo(
        id="0000000000000000000000000000p0st",
        job_id="j",
        met=met,
        platform="slack",
        workspace="T1",
        person="U1",
        surface=surface,  # type: ignore[arg-type]
        channel="C1",
        thread="1.0",
        question_id="1.0",
        message_id="",
        question=question,
        addressed=True,
        state=PostState.PENDING,
        turn_id=None,
        escalated_at=None,
        resolved_at=None,
        created_at=NOW,
    )


def hit(title: str, url: str, text: str) -> Hit:
    """A hit with one passage."""
    scores = ScoreParts(0, 0, 0, 0.5, 0.5, 0.5)
    passage = Passage("x.0", 0, text, "", 0, len(text))
    return Hit("x.0", "d", "r", "k", "handbook", title, url, 0.5, 0.5, scores, [passage])


def samples() -> dict[str, Reply]:
    """Each message by what it is called on the page."""
    answer = Answer(
        TEXT, grounded=True, confidence=0.9, citations=CITATIONS, searched_kbs=("handbook",)
    )
    urls = {c.n: c.url for c in CITATIONS}
    hits = (
        hit("Expense rules", "https://handbook.example/expenses", "Keep every receipt for a year."),
    )
    nothing = Answer(
        "I found no answer to this in handbook (214 documents searched). The closest pages are: Expense"
        " rules. Try the words the documents would use, or add a document that says it.",
        grounded=False,
        confidence=0.1,
        citations=(),
        searched_kbs=("handbook",),
        hits=hits,
    )
    delete = find_command("delete")
    assert delete is not None
    rows = [["mode", "auto", "channel"], ["threshold", "80 %", "workspace"]]
    hostile = Answer(
        "Ask <!channel> and <@U1> & @here [1].",
        grounded=True,
        confidence=0.9,
        citations=CITATIONS[:1],
        searched_kbs=(),
    )
    return {
        "An answer in a channel": replies.answered(
            replies.Shown(answer, post(), urls, FACTS), now=NOW
        ),
        "An answer for your eyes only": replies.answered(
            replies.Shown(answer, post("private"), urls, FACTS), now=NOW
        ),
        "Shared with the channel": replies.shared(
            replies.answered(replies.Shown(answer, post(), urls, FACTS), now=NOW),
            "How much sick leave can I get early?",
            "Ada",
        ),
        "Nothing found": replies.answered(
            replies.Shown(nothing, post(), {-1: hits[0].url}, {}), now=NOW
        ),
        "Found by a search": replies.found(
            SearchResult(hits, "receipts", "hybrid", ("handbook",), 214, 12.0),
            {"x.0": hits[0].url},
        ),
        "A human is called": replies.escalated(
            post(), post().question, "<!subteam^S0123456|@people>"
        ),
        "A limit is reached": replies.apology(
            RateLimited(
                "You have asked 10 questions in five minutes, which is the limit.",
                retry_after_s=150,
            ),
            "1a2b3c4d",
            "/kb",
        ),
        "Something is down": replies.apology(RuntimeError("never shown"), "1a2b3c4d", "/kb"),
        "Let into a channel": replies.onboarding("/kb"),
        "Before something is destroyed": replies.confirm(delete, "delete old-wiki", "c0nf1rm"),
        "The question was edited": replies.rerun(post()),
        "What a command says": replies.told(
            Told("Settings of #help:", ("setting", "value", "set for"), rows)
        ),
        "What must not call anybody": replies.answered(
            replies.Shown(hostile, post(), urls, {}), now=NOW
        ),
    }


def golden() -> Json:
    """What is compared: fallback text and blocks of each message, and the views."""
    made: Json = {}
    for name, reply in samples().items():
        text, rendered = blocks.render(reply)
        made[name] = {"text": text, "blocks": rendered}
    made["The form that sets a channel up"] = views.setup_form(
        ["handbook", "support"], "C1", "help", kb="handbook", mode="mention"
    )
    made["What was wrong with an answer"] = views.reason_form(post().id, "C1")
    made["The home"] = views.home(
        views.Home(
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
    return "slack-" + re.sub(r"[^a-z]+", "-", name.lower()).strip("-")


def page() -> str:
    """The page in docs: each message as a picture and as Block Kit JSON."""
    out = [
        "<!-- Made by `python -m tests.fakes.slack_samples`; change the code, not this page. -->\n",
        "# Slack messages\n",
        (
            "What the bot sends, as a picture and as Block Kit. The pictures are drawn by a renderer"
            " of ours that is approximately Slack's; the JSON is what is sent, and a test compares"
            " it.\n"
        ),
    ]
    made = golden()
    for name, value in made.items():
        out.append(f"## {name}\n")
        if name in samples():
            out.append(f"![{name}](../pictures/{slug(name)}.png)\n")
        shown = json.dumps(value, indent=1, ensure_ascii=False)
        out.append(
            f"<details><summary>Block Kit</summary>\n\n```json\n{shown}\n```\n\n</details>\n"
        )
    return "\n".join(out)


def write() -> None:
    """Write the golden file, the page and the pictures."""
    GOLDEN.write_text(json.dumps(golden(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.stdout.write("no Chromium here: the pictures stay as they are\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, reply in samples().items():
            _, rendered = blocks.render(reply)
            source = Path(folder) / f"{slug(name)}.html"
            source.write_text(picture(name, rendered), encoding="utf-8")
            height = 120 + 34 * json.dumps(rendered).count('"type"') // 2
            target = PICTURES / f"{slug(name)}.png"
            subprocess.run(
                [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                 f"--window-size=640,{min(height, 460)}", f"--screenshot={target}", f"file://{source}"],
                check=True, capture_output=True, timeout=60,
            )  # fmt: skip


if __name__ == "__main__":
    write()
