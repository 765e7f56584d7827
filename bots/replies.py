"""What the bot says, as values that every platform can show: `Reply`.

All wording is here: answers with their sources, apologies with a reason and what still works,
greetings, limits, confirmations. Pure; an adapter renders a `Reply` with its platform's means and
within its limits. Text is Markdown; `[1]` in it refers to the source with that number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from bots.phrases import t
from engine.answers.answer import NO_SOURCE, describe_unanswered
from engine.answers.clarifying import parse as parse_choices
from engine.answers.clarifying import topic_of
from engine.chats.answer_rows import SourceFacts
from engine.chats.chats import SourceLink
from engine.chats.feedback import REASONS
from engine.chats.post_rows import PostInfo
from engine.commands.results import CommandResult
from engine.commands.table import Command
from engine.domain import Answer, Citation, Hit, SearchResult
from engine.errors import (
    CreditsExhausted,
    EngineError,
    Forbidden,
    IndexDamaged,
    InvalidInput,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from engine.markup.plain import plain, without_commands

SOURCES_MAX = 5
BRIEF_MAX = 900  # characters of an answer in a channel; the rest is behind "More detail"
QUOTE_MAX = 180
QUOTE_PAIRS = {"“": "”", "«": "»", "「": "」", "(": ")", "[": "]"}

MAY_BE = "This may not answer the question: check it."
UNBACKED = "Not every sentence of this is backed by a source: check it."

BUTTON_MAX = 75  # characters, Slack's; Discord's are 80
Style = Literal["", "primary", "danger"]


@dataclass(frozen=True, slots=True)
class Button:
    """A button. `action` is ours, `value` the id of a post or of a confirmation."""

    action: str
    label: str
    value: str = ""
    style: Style = ""


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A source under an answer: title, author, age. It has a `url`, or a button that `opens` it."""

    n: int
    title: str
    url: str = ""
    detail: str = ""
    opens: str = ""  # the passage that the button names


@dataclass(frozen=True, slots=True)
class Reply:
    """One message. `rated` is the post whose thumbs are shown; `calls` are people to notify."""

    text: str
    sources: Sequence[SourceLine] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    note: str = ""
    buttons: Sequence[Button] = ()
    rated: str = ""
    calls: Sequence[str] = ()
    kind: Literal["answer", "notice", "trouble"] = "notice"


# Actions of buttons


MORE, HUMAN, RESOLVED, SHARE = "more", "human", "resolved", "share"
PRIVATELY = "privately"
POST_CALL, POST_ANSWER = "post_call", "post_answer"  # the yes to a preview
KEEP, DELETE, RERUN, CONFIRM, CANCEL = "keep", "delete", "rerun", "confirm", "cancel"
RATE_UP, RATE_DOWN, REASON, BIND, MENTION = "rate_up", "rate_down", "reason", "bind", "mention"
ABOUT, SUMMARISE, SIMILAR, SAVE = "about", "summarise", "similar", "save"
OPEN, CHOOSE = "open", "choose"


# Answers


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer with all it takes to show it."""

    answer: Answer
    post: PostInfo
    links: Mapping[int, SourceLink] = field(default_factory=dict)  # by a citation's number
    facts: Mapping[str, SourceFacts] = field(default_factory=dict)  # by document


def answered(shown: Shown, *, now: datetime, detailed: bool = False) -> Reply:
    """An answer with its sources, or what was searched without success and what came closest."""
    answer, post = shown.answer, shown.post
    if not answer.has_sources:
        return _unanswered(shown)
    text, numbers = _brief(answer, limit=None if detailed else BRIEF_MAX)
    cited = [c for c in answer.citations if c.n in numbers]
    text, sources = _sources(text, cited, shown, now)
    notes = []
    if answer.outcome == "maybe":
        notes.append(t(UNBACKED) if NO_SOURCE in answer.text else t(MAY_BE))
    if post.surface == "private":
        notes.append(t("Only you can see this."))
    return Reply(
        text,
        sources=sources,
        note=" ".join(notes),
        buttons=[*_openers(sources), *_buttons(post, more=not detailed)],
        rated=post.id,
        kind="answer",
    )


def _brief(answer: Answer, *, limit: int | None) -> tuple[str, set[int]]:
    """The text up to whole paragraphs, lines or sentences within `limit`, and the marks in it."""
    text = answer.text.strip()
    if limit is not None and len(text) > limit:
        text = _cut(text, limit)
    kept = [c.n for c in answer.citations if f"[{c.n}]" in text][:SOURCES_MAX]
    for citation in answer.citations:
        if citation.n not in kept:
            text = text.replace(f"[{citation.n}]", "")
    return text.strip(), set(kept)


def _cut(text: str, limit: int) -> str:
    fences = 0
    for pattern in (r"\n\s*\n", r"\n", r"(?<=[.!?…。])\]?\s"):
        ends = [m.start() for m in re.finditer(pattern, text[: limit + 1]) if m.start() > 80]
        for end in reversed(ends):
            fences = text[:end].count("```")
            if fences % 2 == 0:
                return text[:end].rstrip() + " …"
    return text[:limit].rsplit(" ", 1)[0] + " …" + ("\n```" if fences % 2 else "")


def _sources(
    text: str, cited: Sequence[Citation], shown: Shown, now: datetime
) -> tuple[str, list[SourceLine]]:
    """One line for each document and link, numbered from 1 in the order of the text."""
    order = sorted(cited, key=lambda citation: text.find(f"[{citation.n}]"))
    lines: dict[tuple[str, str], SourceLine] = {}
    renumbered: dict[int, int] = {}
    for citation in order:
        link = shown.links.get(citation.n, SourceLink())
        key = (citation.document_id, link.url or link.opens)
        if key not in lines:
            facts = shown.facts.get(citation.document_id, SourceFacts())
            posted = datetime.fromisoformat(citation.posted_at) if citation.posted_at else None
            parts = [citation.author or facts.author, age(posted or facts.updated_at, now)]
            detail = " · ".join(part for part in parts if part)
            title = one_line(citation.title) or "Untitled"
            if link == SourceLink():  # no link: the quote itself is the proof
                detail = " · ".join(filter(None, [detail, f"“{quote(citation.quote)}”"]))
            lines[key] = SourceLine(len(lines) + 1, title, link.url, detail, link.opens)
        renumbered[citation.n] = lines[key].n
    text = re.sub(
        r"\[(\d{1,3})\]",
        lambda m: f"[{renumbered[int(m[1])]}]" if int(m[1]) in renumbered else "",
        text,
    )
    text = re.sub(r"(\[\d+\])(?:\s*\1)+", r"\1", text)
    return text, list(lines.values())


def detailed(
    shown: Shown, passages: Sequence[tuple[Citation, str]], *, now: datetime, limit: int
) -> Reply:
    """The whole answer, then each passage it cites, as its source has it."""
    answer = shown.answer
    text, numbers = _brief(answer, limit=None)
    text, sources = _sources(text, [c for c in answer.citations if c.n in numbers], shown, now)
    out = [text]
    for citation, passage in passages:
        room = limit - sum(map(len, out))
        if room < 200 or citation.n not in numbers:
            break
        quoted = _cut(passage.strip(), room) if len(passage) > room else passage.strip()
        words = [plain(line).strip() for line in quoted.splitlines()]
        lines = "\n".join(f"> {line}" for line in words if line)
        out.append(f"**{one_line(citation.title)}**\n{lines}")
    return Reply("\n\n".join(out), sources, buttons=_openers(sources), kind="answer")


def shared(reply: Reply, question: str, by: str) -> Reply:
    """A private answer as its channel sees it."""
    asked = f"> {one_line(question)[:300]}"
    return replace(
        reply, text=f"{asked}\n\n{reply.text}", note=t("Shared by {name}.", name=one_line(by))
    )


def preview(
    reply: Reply,
    channel: str,
    action: str,
    value: str,
    *,
    calls_people: bool = False,
    narrowed: bool = False,
) -> Reply:
    """A message as it will be posted, for the one person who decides whether it is.

    `narrowed`: their own answer rests on more than the channel may read, and this one does not.
    """
    name = one_line(channel)
    intro = t("This is what everyone in #{name} will see:", name=name)
    if narrowed:
        intro = t(
            "Not everyone in #{name} may read all that your answer rests on. From what they may"
            " read, this is what everyone in #{name} will see:",
            name=name,
        )
    notes = [reply.note, t("Only you can see this until you post it.")]
    if calls_people:
        notes.append(t("The people that an admin has set are notified."))
    return replace(
        reply,
        text=f"{intro}\n\n{reply.text}",
        note=" ".join(filter(None, notes)),
        buttons=[
            Button(action, t("Post it"), value, "primary"),
            Button(KEEP, t("Don't post"), split_post(value)),
        ],
        calls=(),
        rated="",
    )


def split_post(value: str) -> str:
    """The post's id in the value of a button."""
    return value.partition(":")[0]


def not_shared(channel: str) -> str:
    """Why an answer stays private."""
    return t(
        "I didn't post this: not everyone in #{name} may read all of its sources, or they changed."
        " Mention me in the channel for an answer that everyone there may read.",
        name=one_line(channel),
    )


def with_live(reply: Reply, live: Sequence[SourceLine]) -> Reply:
    """A reply with messages that the platform's own search has just found, as further sources."""
    if not live:
        return reply
    first = max((source.n for source in reply.sources), default=0) + 1
    numbered = [replace(source, n=first + at) for at, source in enumerate(live)]
    marks = " ".join(f"[{source.n}]" for source in numbered)
    text = f"{reply.text}\n\nMatching messages, found just now: {marks}"
    return replace(reply, text=text, sources=[*reply.sources, *numbered])


def _unanswered(shown: Shown) -> Reply:
    answer, post = shown.answer, shown.post
    if choices := parse_choices(answer.text):
        return _asked_back(choices, post)
    sources = [
        _found_line(n, hit, shown.links.get(-n), hit.kb_name)
        for n, hit in enumerate(_closest(answer), start=1)
    ]
    text = answer.text.strip()
    if sources:
        text = re.sub(r" ?The closest pages are: .*?\.(?= Try|$)", "", text)
        text += "\n\nClosest: " + " ".join(f"[{source.n}]" for source in sources)
    note = t("Only you can see this.") if post.surface == "private" else ""
    buttons = [*_openers(sources), *_for_all(post)]
    return Reply(text, sources, note=note, buttons=buttons, kind="answer")


def _asked_back(choices: Sequence[str], post: PostInfo) -> Reply:
    """A question back, with a button for each thing the question may be about."""
    buttons = [
        Button(CHOOSE, topic_of(choice)[:BUTTON_MAX], f"{post.id}:{n}")
        for n, choice in enumerate(choices, start=1)
    ]
    note = t("Only you can see this.") if post.surface == "private" else ""
    text = t("What is this about? Choose one, or say it in a sentence:")
    return Reply(text, note=note, buttons=[*buttons, *_for_all(post)], kind="answer")


def _found_line(n: int, hit: Hit, link: SourceLink | None, detail: str) -> SourceLine:
    link = link or SourceLink()
    return SourceLine(n, one_line(hit.title) or "Untitled", link.url, detail, link.opens)


def _openers(sources: Sequence[SourceLine]) -> list[Button]:
    """A button for each source that is opened by one: whoever presses gets a link of their own."""
    return [Button(OPEN, f"Open [{line.n}]", line.opens) for line in sources if line.opens]


def _closest(answer: Answer) -> list[Hit]:
    return [hit for hit in answer.hits if hit.confidence >= 0.2][:3]


def closest_ids(answer: Answer) -> dict[int, tuple[str, str]]:
    """Address and id of what came closest, by the number `answered` looks its link up by."""
    if answer.has_sources:
        return {}
    return {-n: (hit.url, hit.id) for n, hit in enumerate(_closest(answer), start=1)}


def _buttons(post: PostInfo, *, more: bool) -> list[Button]:
    buttons = [Button(MORE, t("More detail"), post.id)] if more else []
    if post.surface == "private" and post.sender.channel_id is not None:
        buttons.insert(0, Button(SHARE, t("Share with channel"), post.id, "primary"))
    return buttons + _for_all(post)


def _for_all(post: PostInfo) -> list[Button]:
    """Buttons of every reply to a question; in a direct message there is no one else to ask."""
    buttons = (
        [Button(HUMAN, t("Ask a human"), post.id)] if post.sender.channel_id is not None else []
    )
    if post.surface != "private":
        buttons.append(Button(DELETE, t("Delete"), post.id))
    return buttons


def age(when: datetime | None, now: datetime) -> str:
    """How old a source is: "3 mo old"; empty where it gives no date."""
    if when is None:
        return ""
    days = max(0, (now - when) // timedelta(days=1))
    if days < 1:
        return "today"
    for size, unit in ((365, "y"), (30, "mo"), (7, "w")):
        if days >= size:
            return f"{days // size} {unit} old"
    return f"{days} d old"


def one_line(text: str) -> str:
    """A title as one line without control characters."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", " ", text).split())


def quote(text: str) -> str:
    """A passage cut to what fits under an answer."""
    words = one_line(plain(text)).strip('“”"')
    cut = words if len(words) <= QUOTE_MAX else words[: QUOTE_MAX - 1].rstrip()
    open_ = [close for mark, close in QUOTE_PAIRS.items() if cut.count(mark) > cut.count(close)]
    return cut + ("…" if cut != words else "") + "".join(reversed(open_))


# Everything else


def from_command(result: CommandResult) -> Reply:
    """The result of a command."""
    if result.found is not None:
        return found(result.found)
    return Reply(result.text, columns=result.columns, rows=result.rows)


def found(result: SearchResult, links: Mapping[str, SourceLink] | None = None) -> Reply:
    """The hits of a search, each with its best passage."""
    if not result.hits:
        return Reply(without_commands(result.notice or describe_unanswered(result, ())))
    sources = [
        _found_line(n, hit, (links or {}).get(hit.id), f"{hit.kb_name} · “{quote(hit.text)}”")
        for n, hit in enumerate(result.hits, start=1)
    ]
    said = f"Found for “{one_line(result.query)[:100]}”:"
    return Reply(said, sources, buttons=_openers(sources))


def opened(title: str, url: str) -> Reply:
    """A link to a source for the person who pressed its button."""
    return Reply(
        "Here it is [1]. The link is yours alone: it works for ten minutes, in the browser that"
        " opens it first.",
        [SourceLine(1, one_line(title) or "Untitled", url)],
        note="Only you can see this.",
    )


def closed() -> Reply:
    """Nothing to open: the source is gone, or not for the person who pressed."""
    return Reply(
        "I can't open this for you: it no longer exists, or you don't have access to it.",
        kind="trouble",
    )


def greeting(command: str) -> Reply:
    """What the bot does, for someone who says hello."""
    return Reply(
        t(
            "Hello! Ask me anything that your team has written down; I answer with links to my"
            " sources. Mention me in a channel, or just message me here. `{command} help` lists what"
            " else I do.",
            command=command,
        )
    )


def onboarding(command: str, *, keeps: bool = False) -> Reply:
    """What the bot says when it is added to a channel."""
    kept = (
        "I store this channel's messages, so that I can answer from them."
        if keeps
        else "I don't store messages of this channel unless an admin turns that on."
    )
    return Reply(
        "Hello! Mention me with a question and I answer in a thread, from what everyone in this"
        f" channel may read, with links to my sources. {kept} `{command} help` shows more.",
        buttons=[
            Button(BIND, "Bind this channel", "", "primary"),
            Button(MENTION, "Just mention me", ""),
        ],
    )


def queued(ahead: int) -> str:
    """The status line of a question that has to wait."""
    noun = "question" if ahead == 1 else "questions"
    return f"{ahead} {noun} ahead of yours…"


def unread(files: str) -> str:
    """Attached files are not read with a question."""
    return t(
        "I did not read what is attached ({files}): I answer from knowledge bases, so a file has to"
        " be added to one first.",
        files=one_line(files)[:300],
    )


def refused(why: str, command: str, files: str = "") -> Reply:
    """Why there is no answer here."""
    words = {
        "files alone": f"{unread(files)} {t('Ask me something in words.')}",
        "off": t(
            "I am turned off in this channel. An admin can change that with `{command} mode`.",
            command=command,
        ),
        "not for you": t(
            "In this channel I answer only some people, as an admin has set. You can ask me in a"
            " direct message."
        ),
        "too long": t("That question is too long: please keep it under 4,000 characters."),
    }
    return Reply(words[why], kind="trouble")


def confirm(command: Command, line: str, confirm_id: str) -> Reply:
    """Ask for confirmation before something is deleted."""
    return Reply(
        f"Run `{line}`?\n{command.help} This can't be undone.",
        buttons=[
            Button(CONFIRM, t("Yes, do it"), confirm_id, "danger"),
            Button(CANCEL, t("No"), confirm_id),
        ],
        note=t("Only you can confirm it, within a minute."),
    )


def rerun(post: PostInfo) -> Reply:
    """The question was edited: offer to answer it again."""
    return Reply(
        t("You changed your question. Should I answer the new one?"),
        buttons=[
            Button(RERUN, t("Answer again"), post.id, "primary"),
            Button(KEEP, t("No"), post.id),
        ],
    )


def rated_down(post_id: str) -> Reply:
    """Ask someone who gave a thumbs down what was wrong."""
    buttons = [Button(REASON, reason.capitalize(), f"{post_id}:{reason}") for reason in REASONS]
    return Reply(t("Thank you. What was wrong with it?"), buttons=buttons)


def thanked() -> Reply:
    """Thanks for a rating."""
    return Reply(t("Thank you, that helps."))


def escalated(post: PostInfo, question: str, group: str) -> Reply:
    """Ask for a person's help in the thread."""
    said = [t("Someone asked for help with: “{question}”", question=one_line(question)[:300])]
    if not group:
        said.append(t("No one is set to be notified: if you know the answer, please help."))
    return Reply(
        " ".join(said),
        calls=[group] if group else [],
        buttons=[Button(RESOLVED, t("Mark resolved"), post.id, "primary")],
    )


def already_called() -> Reply:
    """A call for help is made once."""
    return Reply(t("Someone has already been asked."))


def declined() -> Reply:
    """The answer to a no."""
    return Reply(t("OK, I did nothing."))


def unreachable() -> Reply:
    """What was meant for a channel can't be posted there."""
    return Reply(t("I can't post in this channel: invite me to it first."), kind="trouble")


def resolved(by: str) -> Reply:
    """A person has helped."""
    return Reply(t("Resolved by {name}. ✅", name=by))


# Trouble


NO_PERMISSION = "You don't have permission to do this here."
KB_NOT_YOURS = (
    "Questions here are answered from a knowledge base that you don't have access to. Ask an"
    " admin to grant it to this workspace."
)
UNKNOWN_AUDIENCE = (
    "I can't check right now who can see this channel, so I'm using only this channel's messages."
)


def apology(error: Exception, incident: str, command: str) -> Reply:
    """Why there is no answer; the text of an exception is shown only if it is ours."""
    return Reply(explain(error, incident, command), kind="trouble")


def explain(error: Exception, incident: str, command: str) -> str:  # noqa: PLR0911 (a row each)
    """A text for each kind of error: what happened, and what still works or what to do."""
    if not isinstance(error, EngineError):
        return t(
            "Sorry, something went wrong and I couldn't answer. Ask again, or give your admin the"
            " incident number {incident}.",
            incident=incident,
        )
    said = without_commands(str(error))
    match error:
        case RateLimited():
            return f"{said} Ask again {in_words(error.retry_after_s)}."
        case IndexDamaged():
            return t(
                "Sorry, my search index is damaged and I can't search until it is rebuilt. Your"
                " admin can look up incident {incident}.",
                incident=incident,
            )
        case Unavailable():
            return t(
                "Sorry, I can't reach something I need right now. Nothing is lost: ask again in a"
                " minute. `{command} health` shows what is missing (incident {incident}).",
                command=command,
                incident=incident,
            )
        case Forbidden():
            return f"{t(NO_PERMISSION)} {said}"
        case Unauthenticated() | NotFound() | InvalidInput() | TooLarge() | CreditsExhausted():
            return said
        case _:
            return f"That did not work: {said}"


def in_words(seconds: float) -> str:
    """A wait in words: "in 5 minutes"."""
    if seconds < 90:
        return f"in {max(1, round(seconds))} seconds"
    minutes = round(seconds / 60)
    return f"in {minutes} minutes" if minutes < 90 else f"in {round(minutes / 60)} hours"
