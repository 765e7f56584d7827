"""What Slack is sent is what was looked at: golden JSON, its page, and Slack's limits."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from bots import replies
from bots.replies import Button, Reply, SourceLine
from bots.slack import blocks, markup
from tests.fakes import slack_samples
from tests.fakes.slack import check_blocks, check_message, check_view

HINT = "run `python -m tests.fakes.slack_samples` and look at what changed"
TEXTS = st.text(max_size=400)
REPLIES = st.builds(
    Reply,
    text=st.text(max_size=14_000),
    sources=st.lists(
        st.builds(
            SourceLine,
            n=st.integers(1, 99),
            title=TEXTS,
            url=st.sampled_from(["", "https://a.example/b?c=(d)|<e>"]),
            detail=TEXTS,
        ),
        max_size=8,
    ),
    columns=st.just(("a", "b")),
    rows=st.lists(st.tuples(TEXTS, TEXTS), max_size=120),
    note=TEXTS.filter(str.strip) | st.just(""),
    buttons=st.lists(
        st.builds(Button, action=st.just(replies.MORE), label=TEXTS.filter(str.strip), value=st.uuids().map(str)),
        max_size=3,
        unique_by=lambda button: button.value[-12:],
    ),
    rated=st.sampled_from(["", "post"]),
)  # fmt: skip


def test_every_message_is_as_it_was_looked_at():
    assert json.loads(slack_samples.GOLDEN.read_text(encoding="utf-8")) == slack_samples.golden(), (
        HINT
    )


def test_the_page_shows_the_same_and_has_its_pictures():
    assert slack_samples.PAGE.read_text(encoding="utf-8") == slack_samples.page(), HINT
    for name in slack_samples.samples():
        assert (slack_samples.PICTURES / f"{slack_samples.slug(name)}.png").is_file(), name


def test_slack_takes_every_message_and_view():
    for value in slack_samples.golden().values():
        if value.get("type") in {"modal", "home"}:
            check_view(value)
        else:
            check_message(value)


@given(REPLIES)
def test_any_reply_fits_slack_and_notifies_no_one(reply):
    text, rendered = blocks.render(reply)
    check_blocks(rendered)
    assert len(text) <= blocks.FALLBACK_MAX
    sent = json.dumps([text, rendered], ensure_ascii=False)
    for pinging in ("<!channel", "<!here", "<!everyone", "<@", "@channel ", "@here "):
        assert pinging not in sent


@given(st.text(alphabet="<>!@#|&abc channelhere", max_size=200))
def test_text_made_quiet_notifies_no_one_and_loses_nothing(text):
    quiet = markup.quieten(text)
    assert quiet.replace("\u200b", "") == text.replace("\u200b", "")
    for pinging in ("<!", "<@", "<#"):
        assert pinging not in quiet


@given(st.text(max_size=200))
def test_text_of_slack_is_read_without_an_error(text):
    said, _, _ = markup.read_text(text, bot_user_id="UBOT")
    assert "<@UBOT>" not in said
