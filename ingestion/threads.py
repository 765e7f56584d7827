"""Chat messages become documents: a thread is one, and so is each stretch of talk outside threads.

Pure: `derive` takes whole conversations and gives texts with the place of every message in them,
so that each chunk and citation leads to the message it came from. The job that calls it is
`channel_jobs.py`. A text looks like this; the headings are searched and shown, quotes leave them
out:

    #### Ada, 2026-03-01 10:00

    How do I raise the limit of neighbours?

    #### Brook

    Change `MAX_NEIGHBOURS` and build it yourself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from engine.chats.channel_changes import (
    GAP,
    MENTION,
    ChannelChanges,
    ChannelConversation,
    StoredMessage,
)
from engine.chats.derived import THREAD_MIME
from engine.chats.messages import is_solved
from engine.search.deduplication import SAID, digests
from ingestion.convert.document import Block, BlockKind, Converted, clean

LONGEST = timedelta(hours=2)  # of a stretch of talk
MOST = 50  # messages of one
TITLE_CHARS = 100
SAYS_WHEN = timedelta(hours=1)  # after such a pause a heading gives the time again
SAME_BREATH = timedelta(minutes=10)  # within it the same author's next message needs no heading
LEAST_LETTERS = 12  # of a stretch of talk: "thanks!" alone answers nothing


@dataclass(frozen=True, slots=True)
class ThreadDocument:
    """A conversation as a document; `spans` are (start, end, message id) in the text."""

    external_id: str
    title: str
    url: str
    converted: Converted
    spans: Sequence[tuple[int, int, str]]
    updated_at: datetime
    details: Mapping[str, object] = field(default_factory=dict)
    files: Sequence[tuple[str, str]] = ()  # name and blob of what was posted in it


def derive(changes: ChannelChanges) -> list[ThreadDocument]:
    """The documents of these conversations; a conversation that says nothing has none."""
    found: list[ThreadDocument] = []
    for conversation in changes.conversations:
        if conversation.thread:
            document = _document(changes, conversation, conversation.messages)
            found += [document] if document else []
            continue
        for stretch in windows(conversation.messages):
            document = _document(changes, conversation, stretch)
            found += [document] if document else []
    return found


def windows(messages: Sequence[StoredMessage]) -> list[list[StoredMessage]]:
    """Messages outside threads, in order, cut where talk paused, lasted long, or grew long.

    An answer that names the message it replies to goes where that one is, also after a pause.
    """
    cut: list[list[StoredMessage]] = []
    place: dict[str, int] = {}
    for message in messages:
        asked_in = place.get(message.reply_to) if message.reply_to else None
        if asked_in is not None:
            at = asked_in
        elif cut and _goes_on(cut[-1], message):
            at = len(cut) - 1
        else:
            cut.append([])
            at = len(cut) - 1
        cut[at].append(message)
        place[message.external_id] = at
    return cut


def _goes_on(window: Sequence[StoredMessage], message: StoredMessage) -> bool:
    return (
        message.posted_at - window[-1].posted_at <= GAP
        and message.posted_at - window[0].posted_at <= LONGEST
        and len(window) < MOST
    )


def _document(
    changes: ChannelChanges, conversation: ChannelConversation, messages: Sequence[StoredMessage]
) -> ThreadDocument | None:
    said = [(message, body(message, changes.names)) for message in messages]
    said = [(message, text) for message, text in said if text]
    if not said:
        return None
    files = [file for message, _ in said for file in _kept_files(message)]
    few = _letters(text for _, text in said) < LEAST_LETTERS
    if few and not conversation.thread and not files:
        return None
    first, last = said[0][0], said[-1][0]
    title = conversation.title or title_of(
        body(message, changes.names, named=False) for message, _ in said
    )
    day = f"{first.posted_at:%Y-%m-%d}"
    writer = _ConversationWriter((f"#{changes.channel} · {day}",))
    for message, text in said:
        writer.add(message, text)
    title = title or f"#{changes.channel}, {day}"
    kind = "thread" if conversation.thread else "window"
    replied = bool(conversation.thread) and any(
        message.author != first.author for message, _ in said
    )
    key = conversation.thread or first.external_id
    tags = list(conversation.details.get("tags") or ())
    return ThreadDocument(
        external_id=f"{kind}:{key}",
        title=title,
        url=first.url,
        converted=Converted(
            text=writer.text,
            blocks=writer.blocks,
            mime=THREAD_MIME,
            title=title,
            created_at=first.posted_at,
            updated_at=last.posted_at,
        ),
        spans=writer.spans,
        updated_at=last.posted_at,
        details={
            "channel": changes.channel,
            "platform": changes.platform,
            "kind": kind,
            "messages": len(said),
            "people": len({message.author for message, _ in said}),
            "author": first.name,
            # Where what opened a thread ends, once others have replied: it asks, they answer.
            **({"opening_end": writer.spans[0][1]} if replied else {}),
            SAID: digests(body(message, changes.names, named=False) for message, _ in said),
            "solved": any(message.is_solution for message, _ in said) or is_solved(tags),
            **({"tags": tags} if tags else {}),
        },
        files=files,
    )


def _kept_files(message: StoredMessage) -> list[tuple[str, str]]:
    kept = []
    for file in message.files:
        if file.get("blob"):
            name, suffix = str(file.get("name") or "file"), str(file.get("suffix") or "")
            kept.append((name if name.lower().endswith(suffix) else name + suffix, file["blob"]))
    return kept


class _ConversationWriter:
    """The text of a conversation in the making."""

    def __init__(self, path: tuple[str, ...]) -> None:
        self._path = path
        self._pieces: list[str] = []
        self._length = 0
        self._last: StoredMessage | None = None
        self._told_at: datetime | None = None
        self._who = path
        self.blocks: list[Block] = []
        self.spans: list[tuple[int, int, str]] = []

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def add(self, message: StoredMessage, text: str) -> None:
        """Append a message, under a heading where another person speaks or time has passed."""
        last = self._last
        if (
            last is None
            or last.author != message.author
            or last.name != message.name
            or message.posted_at - last.posted_at > SAME_BREATH
            or message.is_solution
        ):
            self._head(message)
        start = None
        for kind, piece in _blocks(text):
            began = self._append(kind, piece, 0, self._who)
            start = began if start is None else start
        if start is not None:
            self.spans.append((start, self._length, message.id))
        self._last = message

    def _head(self, message: StoredMessage) -> None:
        who = " ".join(message.name.split())
        if self._told_at is None or message.posted_at - self._told_at > SAYS_WHEN:
            who = f"{who}, {message.posted_at:%Y-%m-%d %H:%M}"
            self._told_at = message.posted_at
        if message.is_solution:
            who = f"{who} ✅"
        self._who = (*self._path, who)
        self._append("heading", f"#### {who}", 4, self._who)

    def _append(self, kind: BlockKind, text: str, level: int, path: tuple[str, ...]) -> int:
        if self._pieces:
            self._pieces.append("\n\n")
            self._length += 2
        start = self._length
        self._pieces.append(text)
        self._length += len(text)
        self.blocks.append(Block(kind, start, self._length, level, None, path))
        return start


_FENCED = re.compile(r"[ \t]*```(?:([A-Za-z0-9_+#-]{1,20})\n)?(.*?)(?:```[ \t]*|\Z)", re.DOTALL)
_EMOJI = re.compile(r"<a?(:\w+:)\d+>")
_BLANK = re.compile(r"\n\s*\n+")


def body(message: StoredMessage, names: Mapping[str, str], *, named: bool = True) -> str:
    """What a message says, with names for mentions and code set apart; its files by name.

    Not `named`: without the mentions.
    """
    text = MENTION.sub(lambda match: _mention(match, names) if named else " ", clean(message.text))
    text = _EMOJI.sub(r"\1", text)
    text = _FENCED.sub(_fence, text)
    files = [str(file.get("name") or "") for file in message.files]
    listed = "\n".join(f"[file: {' '.join(name.split())}]" for name in files if name.strip())
    text = _BLANK.sub("\n\n", text).strip()
    return f"{text}\n\n{listed}".strip()


def _mention(match: re.Match[str], names: Mapping[str, str]) -> str:
    mark = "#" if match.group().startswith("<#") else "@"
    label = match.group()[1:-1].partition("|")[2]
    known = names.get(match[1]) or label or match[1]
    return f"{mark}{known.removeprefix(mark)}"


def _fence(match: re.Match[str]) -> str:
    code = match[2].strip("\n")
    if not code.strip():
        return ""
    return f"\n\n```{match[1] or ''}\n{code}\n```\n\n"


def _blocks(text: str) -> Iterator[tuple[BlockKind, str]]:
    """A message's paragraphs and its code, in order."""
    paragraph: list[str] = []
    fenced: list[str] = []
    for line in text.split("\n"):
        if fenced:
            fenced.append(line)
            if line.startswith("```"):
                yield "code", "\n".join(fenced)
                fenced = []
        elif line.startswith("```") or not line.strip():
            if paragraph:
                yield "paragraph", "\n".join(paragraph)
            paragraph = []
            fenced = [line] if line.strip() else []
        else:
            paragraph.append(line)
    if fenced or paragraph:
        yield ("code" if fenced else "paragraph"), "\n".join(fenced or paragraph)


_LINK = re.compile(r"\[([^\]\n]*)\]\([^)\s]*\)")
_ADDRESS = re.compile(r"https?://[^\s)>\]]+")
_MARKS = re.compile(r"[*_~`>#]+")
_GREETING = re.compile(
    r"^(?:\W|(?:hi|hello|hey|good (?:morning|evening|afternoon)|everyone|all|folks|guys|there)\b)+",
    re.IGNORECASE,
)
_SLUG = re.compile(r"[\W\d_]+")


def title_of(texts: Iterable[str]) -> str:
    """The first words that say something, as a title; else those of the first address."""
    addresses: list[str] = []
    for text in texts:
        for line in text.split("\n"):
            if line.startswith(("```", "[file:")):
                break
            addresses += _ADDRESS.findall(line)
            words = _ADDRESS.sub(" ", _LINK.sub(r"\1", line))
            words = " ".join(_MARKS.sub(" ", _GREETING.sub("", words)).split())
            if _letters([words]) >= LEAST_LETTERS:
                return _shortened(words)
    return _shortened(next(filter(None, map(_words_of, addresses)), ""))


def _words_of(address: str) -> str:
    """What an address says: blog.example.org: significant sample."""
    parts = urlsplit(address)
    slug = next((part for part in reversed(parts.path.split("/")) if part), "")
    said = " ".join(word for word in _SLUG.split(slug.rpartition(".")[0] or slug) if len(word) > 1)
    return f"{parts.netloc.removeprefix('www.')}: {said}" if said else parts.netloc


def _shortened(words: str) -> str:
    if len(words) <= TITLE_CHARS:
        return words
    return f"{words[:TITLE_CHARS].rsplit(' ', 1)[0]}…"


def _letters(texts: Iterable[str]) -> int:
    """Letters that carry meaning: one of a script without spaces counts for three."""
    return sum(
        3 if letter > "\u2e7f" else 1 for text in texts for letter in text if letter.isalnum()
    )
