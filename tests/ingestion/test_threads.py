"""Messages become documents: threads, stretches of talk, names, code, and where each stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from engine.chats.channel_changes import GAP, ChannelChanges, ChannelConversation, StoredMessage
from ingestion.chunking import Chunking, split
from ingestion.convert import document as documents
from ingestion.threads import LONGEST, MOST, derive, title_of, windows

START = datetime(2026, 3, 1, 9, tzinfo=UTC)


def message(minutes: float, text: str, name: str = "Ada", **more: object) -> StoredMessage:
    at = START + timedelta(minutes=minutes)
    position = int(at.timestamp() * 1_000_000)
    values = {
        "id": f"m{position}",
        "external_id": str(position),
        "position": position,
        "thread": "",
        "reply_to": "",
        "author": name,
        "name": name,
        "text": text,
        "posted_at": at,
        "edited_at": None,
        "files": (),
        "is_solution": False,
        "url": f"https://acme.slack.com/archives/C1/p{position}",
    }
    return StoredMessage(**(values | more))  # type: ignore[arg-type]


def changes(
    *conversations: ChannelConversation, names: dict[str, str] | None = None
) -> ChannelChanges:
    return ChannelChanges(
        source_id="s1",
        tenant_id="acme",
        channel_id="c1",
        channel="general",
        platform="slack",
        conversations=conversations,
        names=names or {},
        change_ids={},
        documents=frozenset(),
        more=False,
        again_at=None,
    )


def thread(*messages: StoredMessage, title: str = "") -> ChannelConversation:
    return ChannelConversation("1", title, {}, messages)


def loose(*messages: StoredMessage) -> ChannelConversation:
    return ChannelConversation("", "", {}, messages)


def test_a_thread_is_one_document_that_says_who_said_what_and_when():
    [document] = derive(
        changes(
            thread(
                message(0, "Hi all, how do I raise the limit? <@U2>"),
                message(2, "Change this:\n```c\n#define MAX 50\n``` and build.", "Brook"),
                message(3, "It takes RAM.", "Brook"),
                message(90, "Thanks, that worked!", files=[{"name": "shot.png"}]),
            ),
            names={"U2": "Brook"},
        )
    )
    assert document.title == "how do I raise the limit?"
    assert document.converted.text == snapshot(
        """\
#### Ada, 2026-03-01 09:00

Hi all, how do I raise the limit? @Brook

#### Brook

Change this:

```c
#define MAX 50
```

and build.

It takes RAM.

#### Ada, 2026-03-01 10:30

Thanks, that worked!

[file: shot.png]\
"""
    )
    said = [document.converted.text[start:end] for start, end, _ in document.spans]
    assert said[2] == "It takes RAM."
    assert document.external_id == "thread:1"
    assert document.updated_at == START + timedelta(minutes=90)


def test_code_and_headings_keep_their_kind_and_know_who_spoke():
    [document] = derive(changes(thread(message(0, "See\n```\na = 1\n\nb = 2\n```"))))
    assert [(block.kind, block.heading_path) for block in document.converted.blocks] == snapshot(
        [
            ("heading", ("#general · 2026-03-01", "Ada, 2026-03-01 09:00")),
            ("paragraph", ("#general · 2026-03-01", "Ada, 2026-03-01 09:00")),
            ("code", ("#general · 2026-03-01", "Ada, 2026-03-01 09:00")),
        ]
    )


def test_a_fence_left_open_ends_with_its_message():
    [document] = derive(
        changes(thread(message(0, "Look: ```x = 1"), message(1, "and then?", "Brook")))
    )
    assert document.converted.text.count("```") == 2
    assert document.converted.text.endswith("#### Brook\n\nand then?")


def test_talk_outside_threads_is_cut_by_silence_length_and_count():
    quiet = windows([message(0, "a"), message(25, "b"), message(51, "c")])
    assert [[item.text for item in window] for window in quiet] == [["a", "b"], ["c"]]
    long = windows([message(minutes, str(minutes)) for minutes in range(0, 150, 10)])
    assert [len(window) for window in long] == [13, 2]
    many = windows([message(number / 10, str(number)) for number in range(70)])
    assert [len(window) for window in many] == [MOST, 20]


def test_a_reply_joins_its_question_across_a_pause():
    question = message(0, "Which board?")
    answer = message(600, "The V3.", "Brook", reply_to=question.external_id)
    other = message(601, "Lunch?")
    found = windows([question, answer, other])
    assert [[item.text for item in window] for window in found] == [
        ["Which board?", "The V3."],
        ["Lunch?"],
    ]


def test_what_says_nothing_is_no_document():
    assert derive(changes(loose(message(0, "thanks!")))) == []
    assert derive(changes(loose(message(0, "   ")))) == []
    assert derive(changes(thread())) == []


def test_a_thread_keeps_the_title_its_platform_gave():
    [document] = derive(changes(thread(message(0, "hello"), title="Buzzer per channel")))
    assert document.title == "Buzzer per channel"


def test_titles_come_from_the_first_words_or_the_first_address():
    assert title_of(["Good morning! Who has seen the *budget* sheet?"]) == snapshot(
        "Who has seen the budget sheet?"
    )
    assert title_of(["ok", "https://www.example.org/blog/significant-sample.html"]) == snapshot(
        "example.org: significant sample"
    )
    assert title_of(["stackで使うGHCのバージョン"]) == "stackで使うGHCのバージョン"
    assert title_of(["```\nx\n```", ":+1:"]) == ""


def test_unknown_people_keep_their_id_and_labels_serve_where_there_is_nothing_better():
    [document] = derive(
        changes(
            loose(message(0, "Ask <@U7|dora> or <@U8> in <#C2|lab> or <#C3>, <:yes:123> <@!42>")),
            names={"C3": "public-lab"},
        )
    )
    assert document.converted.text.endswith("Ask @dora or @U8 in #lab or #public-lab, :yes: @42")


TEXTS = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=60
) | st.sampled_from(["```", "a\n\nb", "```x```", "# not a heading", "| a | b |"])


@given(
    st.lists(st.tuples(st.floats(0.01, 60), TEXTS, st.sampled_from(["Ada", "Brook"])), max_size=12)
)
def test_every_message_stands_where_its_span_says_and_chunks_are_faithful(drawn):
    at, messages = 0.0, []
    for minutes, text, name in drawn:
        at += minutes
        messages.append(message(at, text, name))
    for document in derive(changes(loose(*messages), thread(*messages))):
        text, last = document.converted.text, 0
        for start, end, _ in document.spans:
            assert last <= start < end <= len(text)
            assert text[start:end].strip() == text[start:end].strip("\n").strip()
            last = end
        covered = "".join(text[block.start : block.end] for block in document.converted.blocks)
        assert len(covered.strip()) <= len(text)
        assert documents.decode(documents.encode(document.converted)) == document.converted
        offsets = lambda said: [(n, n + 1) for n, c in enumerate(said) if not c.isspace()]  # noqa: E731
        for span in split(document.converted, Chunking(size=128), offsets):
            assert text[span.start : span.end].strip()


@given(
    st.lists(st.floats(0.01, 40), min_size=1, max_size=130),
)
def test_no_window_is_longer_than_promised(pauses):
    at, messages = 0.0, []
    for pause in pauses:
        at += pause
        messages.append(message(at, "x"))
    found = windows(messages)
    assert [item for window in found for item in window] == messages
    for window in found:
        assert len(window) <= MOST
        assert window[-1].posted_at - window[0].posted_at <= LONGEST
        times = [item.posted_at for item in window]
        assert all(b - a <= GAP for a, b in pairwise(times))
