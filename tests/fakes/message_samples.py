"""Every kind of message the bots send, from fixed values, and pages that show them.

`slack_samples.py` and `discord_samples.py` render them with their platform's means.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bots import replies
from bots.replies import Reply
from engine.chats.answer_rows import SourceFacts
from engine.chats.chats import SourceLink
from engine.chats.post_rows import PostInfo, PostState
from engine.chats.sender_rows import Sender
from engine.commands.results import CommandResult
from engine.commands.table import find_command
from engine.domain import Answer, Citation, Hit, Passage, ScoreParts, SearchResult
from engine.errors import RateLimited

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
TEXT = (
    "You can request up to 240 hours of advanced sick leave [1]. Your lead approves it, usually within"
    " two days [2].\n\n- Say how many hours you need [1]\n- Run `leave new --advance` to begin"
)


def citation(n: int, title: str, url: str, quote: str) -> Citation:
    """A citation of document `n`."""
    return Citation(n, f"{n:032x}.0", f"d{n}", f"{n:032x}", title, url, quote, 0, len(quote))


@dataclass(frozen=True, slots=True)
class Idiom:
    """What a platform writes in its own way."""

    platform: str
    permalink: str
    group: str  # whom an admin has set to be notified
    pinging: str  # text that must not notify anyone


def citations(idiom: Idiom) -> tuple[Citation, Citation]:
    """A page and a message."""
    return (
        citation(
            1, "Leave types", "https://handbook.example/leave", "You can request up to 240 hours."
        ),
        citation(2, "#people · how long does approval take?", idiom.permalink, "Usually two days."),
    )


FACTS = {
    "d1": SourceFacts("", NOW - timedelta(days=400)),
    "d2": SourceFacts("Grace", NOW - timedelta(days=95)),
}


def post(
    surface: str = "channel", question: str = "How much sick leave can I get early?"
) -> PostInfo:
    """A post as the answer worker has it."""
    sender = Sender("t", "w", "i", None if surface == "direct" else "c")
    return PostInfo(
        id="0000000000000000000000000000p0st",
        job_id="j",
        sender=sender,
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


def samples(idiom: Idiom) -> dict[str, Reply]:
    """Each message by its heading on the page."""
    cited = citations(idiom)
    answer = Answer(
        TEXT, grounded=True, confidence=0.9, citations=cited, searched_kbs=("handbook",)
    )
    urls = {c.n: SourceLink(c.url) for c in cited}
    opened = {c.n: SourceLink(opens=f"{c.n:032x}.{c.n}") for c in cited}
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
        idiom.pinging,
        grounded=True,
        confidence=0.9,
        citations=cited[:1],
        searched_kbs=(),
    )
    shared = replies.shared(
        replies.answered(replies.Shown(answer, post(), urls, FACTS), now=NOW),
        "How much sick leave can I get early?",
        "Ada",
    )
    value = f"{post().id}:0123456789ab"
    return {
        "An answer in a channel": replies.answered(
            replies.Shown(answer, post(), urls, FACTS), now=NOW
        ),
        "An answer only you can see": replies.answered(
            replies.Shown(answer, post("private"), urls, FACTS), now=NOW
        ),
        "Before it is shared": replies.preview(shared, "help", replies.POST_ANSWER, value),
        "Shared with the channel": shared,
        "Sources that a button opens": replies.answered(
            replies.Shown(answer, post(), opened, FACTS), now=NOW
        ),
        "A source was opened": replies.opened(
            cited[0].title, "https://scrubjay.example/v/a1.b.c.d"
        ),
        "A source can't be opened": replies.closed(),
        "Nothing found": replies.answered(
            replies.Shown(nothing, post(), {-1: SourceLink(hits[0].url)}, {}), now=NOW
        ),
        "Search results": replies.found(
            SearchResult(hits, "receipts", "hybrid", ("handbook",), 214, 12.0),
            {"x.0": SourceLink(hits[0].url)},
        ),
        "Someone is asked for help": replies.escalated(post(), post().question, idiom.group),
        "A limit is reached": replies.apology(
            RateLimited(
                "You have asked 10 questions in five minutes, which is the limit.",
                retry_after_s=150,
            ),
            "1a2b3c4d",
            "/kb",
        ),
        "Something is down": replies.apology(RuntimeError("never shown"), "1a2b3c4d", "/kb"),
        "Added to a channel": replies.onboarding("/kb"),
        "Confirming a deletion": replies.confirm(delete, "delete old-wiki", "c0nf1rm"),
        "The question was edited": replies.rerun(post()),
        "A command result": replies.from_command(
            CommandResult("Settings of #help:", ("setting", "value", "set for"), rows)
        ),
        "Text that must not notify anyone": replies.answered(
            replies.Shown(hostile, post(), urls, {}), now=NOW
        ),
    }


# Pages and pictures


MEASURE = (
    "<script>document.title = Math.ceil(document.body.getBoundingClientRect().height)</script>"
)


def slug(idiom: Idiom, name: str) -> str:
    """A file name."""
    return f"{idiom.platform}-" + re.sub(r"[^a-z]+", "-", name.lower()).strip("-")


def page(
    idiom: Idiom, golden: Mapping[str, Json], *, intro: str, what: str, pictured: Collection[str]
) -> str:
    """The page in docs: each message as a picture and as the JSON that is sent."""
    module = f"tests.fakes.{idiom.platform}_samples"

    out = [
        f"<!-- Generated by `python -m {module}`; change the code, not this page. -->\n",
        f"# {idiom.platform.capitalize()} messages\n",
        f"{intro}\n",
    ]
    for name, value in golden.items():
        out.append(f"## {name}\n")
        if name in pictured:
            out.append(f"![{name}](../pictures/{slug(idiom, name)}.png)\n")
        shown = json.dumps(value, indent=1, ensure_ascii=False)
        out.append(f"<details><summary>{what}</summary>\n\n```json\n{shown}\n```\n\n</details>\n")
    return "\n".join(out)


def draw(pages: Mapping[str, str]) -> None:
    """Pictures in docs by their file names, of HTML; without Chromium none."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.stdout.write("no Chromium here: the pictures stay as they are\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, text in pages.items():
            source = Path(folder) / f"{name}.html"
            source.write_text(text + MEASURE, encoding="utf-8")
            dom = _look(chromium, source, "--window-size=640,800", "--dump-dom")
            tall = re.search(r"<title>(\d+)</title>", dom)
            size = f"--window-size=640,{tall[1] if tall else 460}"
            _look(chromium, source, size, f"--screenshot={PICTURES / f'{name}.png'}")


def _look(chromium: str, source: Path, *options: str) -> str:
    always = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
    done = subprocess.run(
        [chromium, *always, *options, f"file://{source}"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return done.stdout.decode()
