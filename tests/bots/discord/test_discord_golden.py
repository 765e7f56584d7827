"""What Discord is sent is what was looked at: golden JSON, its page, and Discord's limits."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots import replies
from bots.discord import components, splitting
from bots.replies import Button, Reply, SourceLine
from tests.fakes import discord_samples
from tests.fakes.message_samples import PICTURES

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # its voice, which the bot has none of
    import discord
    from discord.components import _component_factory

HINT = "run `python -m tests.fakes.discord_samples` and look at what changed"
PINGS = re.compile(r"<@[!&]?\d|@everyone|@here")
TEXTS = st.text(max_size=400)
REPLIES = st.builds(
    Reply,
    text=st.text(max_size=14_000) | st.text(max_size=60),
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
    rows=st.lists(st.tuples(TEXTS, TEXTS), max_size=30),
    note=TEXTS,
    buttons=st.lists(
        st.builds(
            Button,
            action=st.just(replies.MORE),
            label=TEXTS,
            value=st.uuids().map(str),
            style=st.sampled_from(["", "primary", "danger"]),
        ),
        max_size=24,
    ),
    rated=st.sampled_from(["", "post"]),
    calls=st.lists(st.sampled_from(["<@&730>", "<@740>", "the <@&1> team", "@everyone"]), max_size=2),
)  # fmt: skip


def every(parts: list[dict]) -> Iterator[dict]:
    """Components of components too."""
    for part in parts:
        yield part
        yield from every(
            part.get("components") or ([part["component"]] if "component" in part else [])
        )


def check_body(body: dict) -> None:
    """What Discord would refuse, and what discord.py would read otherwise."""
    shown = body.get("components") or []
    nested = list(every(shown))
    ids = [item["custom_id"] for item in nested if "custom_id" in item]
    assert len(ids) == len(set(ids))
    assert all(1 <= len(id_) <= 100 for id_ in ids)
    for item in nested:
        match item["type"]:
            case 1:
                assert 1 <= len(item["components"]) <= 5
            case 2:
                assert item.get("label") or item.get("emoji")
                assert splitting.size(item.get("label", "")) <= 80
            case 10:
                assert item["content"].strip()
    if components.is_v2(body):
        assert "content" not in body
        assert 1 <= len(nested) <= 40
        assert sum(splitting.size(item.get("content", "")) for item in nested) <= 4_000
    else:
        assert body["content"].strip()
        assert splitting.size(body["content"]) <= 2_000
        assert len(shown) <= 5
        assert all(item["type"] == 1 for item in shown)
    for item in shown:
        assert same(_component_factory(item).to_dict(), item)
    if components.is_v2(body):
        view = discord.ui.LayoutView(timeout=None)
        for item in shown:
            view.add_item(discord.ui.view._component_to_item(_component_factory(item)))
        assert len(view.to_components()) == len(shown)


def same(read: object, sent: object) -> bool:
    """Whether all that was sent was read; discord.py adds what it takes for granted."""
    if isinstance(sent, dict):
        return isinstance(read, dict) and all(
            value is None or same(read.get(key), value) for key, value in sent.items()
        )
    if isinstance(sent, list):
        return len(read) == len(sent) and all(map(same, read, sent))
    return read == sent


def check_form(form: dict) -> None:
    assert 1 <= len(form["title"]) <= 45
    assert 1 <= len(form["components"]) <= 5
    assert len(form["custom_id"]) <= 100
    for label in form["components"]:
        assert len(label["label"]) <= 45
        read = _component_factory(label)
        assert same(read.to_dict(), label)
        assert read.component is not None
        options = label["component"].get("options")
        assert options is None or 1 <= len(options) <= 25
        assert sum(option["default"] for option in options or ()) <= 1


def test_every_message_is_as_it_was_looked_at():
    kept = json.loads(discord_samples.GOLDEN.read_text(encoding="utf-8"))
    assert kept == discord_samples.golden(), HINT


def test_the_page_shows_the_same_and_has_its_pictures():
    assert discord_samples.PAGE.read_text(encoding="utf-8") == discord_samples.page(), HINT
    for name in discord_samples.samples():
        assert (PICTURES / f"{discord_samples.slug(name)}.png").is_file(), name


def test_discord_takes_every_message_and_form():
    for value in discord_samples.golden().values():
        if isinstance(value, dict):
            check_form(value)
        else:
            for body in value:
                check_body(body)


@given(REPLIES, st.booleans())
def test_any_reply_fits_discord_and_calls_only_whom_an_admin_set(reply, streamed):
    parts = components.render(reply, streamed=streamed)
    set_by_admin = [call for call in reply.calls if call.startswith("<@")]
    for n, part in enumerate(parts):
        check_body(part.body)
        sent = json.dumps(part.body, ensure_ascii=False)
        called = set(set_by_admin) if n == 0 else set()
        assert set(PINGS.findall(sent)) <= {call[:-3] for call in called}
        allowed = part.body["allowed_mentions"]
        assert allowed["parse"] == []
        ids = [*allowed.get("users", ()), *allowed.get("roles", ())]
        assert set(ids) == {re.sub(r"\D", "", call) for call in called}
    assert len(parts) <= splitting.PARTS_MAX + 1


@pytest.mark.parametrize(
    "name", ["Added to a channel", "Confirming a deletion", "The question was edited"]
)
@pytest.mark.parametrize("streamed", [True, False])
def test_what_is_replaced_once_its_button_is_pressed_is_one_plain_message(name, streamed):
    (part,) = components.render(discord_samples.samples()[name], streamed=streamed)
    assert "content" in part.body
    assert components.has_buttons(part.body)
    assert not components.is_v2(part.body)


def test_a_reply_without_anything_is_a_message_all_the_same():
    (part,) = components.render(Reply(" "))
    assert part.body["content"].strip()


def test_a_long_answer_is_a_file_and_the_buttons_still_follow():
    said = "A sentence with [1] in it. " * 600
    source = SourceLine(1, "Leave", "https://handbook.example/leave")
    first, last = components.render(Reply(said, [source], rated="p", kind="answer"))
    assert [(file.name, file.data.decode()) for file in first.files] == [
        ("answer.md", said.strip())
    ]
    assert first.body["content"].endswith("answer.md.")
    assert components.is_of(last.body, "p")


@pytest.mark.parametrize("value", ["", "0000p0st", "0000p0st:not for me"])
def test_a_pressed_button_says_its_action_and_value(value):
    assert components.pressed_action(components.custom_id(replies.REASON, value)) == (
        replies.REASON,
        value,
    )


def test_buttons_of_others_are_none_of_ours():
    assert components.pressed_action("other:more:1") == ("", "")
    assert not components.has_buttons(
        {"components": [{"type": 1, "components": [{"custom_id": "x"}]}]}
    )
    assert not components.has_buttons({})


def test_a_value_too_long_for_a_button_is_an_error_and_not_another_value():
    with pytest.raises(ValueError, match="shorten it"):
        components.custom_id(replies.MORE, "x" * 100)


def test_a_message_is_known_by_the_post_its_buttons_are_of():
    *_, last = components.render(discord_samples.samples()["An answer in a channel"])
    assert components.is_of(last.body, discord_samples.post().id)
    assert not components.is_of(last.body, "another")


def test_more_knowledge_bases_than_a_menu_holds_are_typed():
    many = components.setup_form([f"kb{n}" for n in range(26)], "h" * 99, kb="kb25", mode="off")
    check_form(many)
    assert many["components"][0]["component"]["value"] == "kb25"
    few = components.setup_form(["a", "b"], "help", kb="gone")
    assert few["components"][0]["component"]["options"][0]["default"]
    with pytest.raises(ValueError, match="needs a knowledge base"):
        components.setup_form([], "help")
