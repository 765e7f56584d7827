"""What arrives at Slack's door and is not what Slack documents: refused or passed over, never a fault."""

from __future__ import annotations

import json
import logging
import time
from random import Random
from typing import Any
from urllib.parse import urlencode

import pytest

from bots.slack import blocks
from tests.bots.slack.test_slack_history import keep
from tests.fakes.payload_mutations import mutated
from tests.fakes.slack import form
from tests.fakes.slack_rooms import SlackRoom, said
from tests.fakes.stored_text import unstorable

SICK = "How many hours of advanced sick leave can I request?"
ROUNDS = 400

Json = dict[str, Any]


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Records with a traceback, or worse than a warning.

    A worker that stops cancels what it is doing; the pool tells of a connection it had then.
    """
    return [
        record.getMessage()
        for record in caplog.records
        if (record.exc_info or record.levelno >= logging.ERROR)
        and not record.name.startswith("sqlalchemy.pool")
    ]


def events(place: SlackRoom) -> list[Json]:
    """Events as Slack documents them, one of each kind the bot reads."""
    slack, team = place.slack, place.team
    said_ = slack.write(team, "C1", "UBOB", f"{place.mention} {SICK}")
    rich = slack.write(team, "C1", "UBOB", "see the list") | {"blocks": [RICH]}
    file = slack.post_file(team, "C1", "UBOB", "a.txt", b"text")
    base = {"channel": "C1", "channel_type": "channel", "ts": slack.next_ts()}
    new = {k: said_[k] for k in ("type", "user", "ts", "team")} | {"text": "changed"}
    return [
        said_,
        said_ | {"type": "app_mention"},
        rich,
        file,
        slack.write(team, "DUBOB", "UBOB", SICK),
        slack.write(team, "C1", "UGUS", "and then?", thread_ts=said_["ts"]),
        base | {"type": "message", "subtype": "message_changed", "message": new}
        | {"previous_message": {"text": "old", "ts": said_["ts"]}},
        base | {"type": "message", "subtype": "message_deleted", "deleted_ts": said_["ts"]}
        | {"previous_message": new},
        base | {"type": "message", "subtype": "bot_message", "bot_id": "B9", "text": "beep"}
        | {"bot_profile": {"name": "beeper"}},
        base | {"type": "message", "user": "UBOB", "text": "x", "edited": {"ts": "1.0"}}
        | {"reactions": [{"name": "eyes", "count": 2, "users": ["UADA", "UBOB"]}]},
        {"type": "member_joined_channel", "user": team.bot_user_id, "channel": "C2", "inviter": "UADA"},
        {"type": "member_joined_channel", "user": "UGUS", "channel": "C1"},
        {"type": "member_left_channel", "user": "UGUS", "channel": "C2"},
        {"type": "channel_rename", "channel": {"id": "C2", "name": "team2"}},
        {"type": "channel_archive", "channel": "C9"},
        {"type": "user_change", "user": {"id": "UGUS", "name": "gus", "profile": {"email": "g@x.y"}}},
        {"type": "app_home_opened", "user": "UBOB", "channel": "DUBOB", "tab": "home"},
        {"type": "app_home_opened", "user": "UBOB", "channel": "DUBOB", "tab": "messages"},
    ]  # fmt: skip


RICH: Json = {
    "type": "rich_text",
    "elements": [
        {
            "type": "rich_text_list",
            "style": "ordered",
            "indent": 1,
            "elements": [
                {
                    "type": "rich_text_section",
                    "elements": [
                        {"type": "text", "text": "one", "style": {"bold": True}},
                        {"type": "link", "url": "https://docs.example/leave", "text": "leave"},
                        {"type": "user", "user_id": "UADA"},
                        {"type": "emoji", "name": "eyes", "unicode": "1f440"},
                    ],
                }
            ],
        }
    ],
}


def interactions(place: SlackRoom, answer: Json) -> list[Json]:
    """Buttons, shortcuts and forms as they are posted."""
    slack, team = place.slack, place.team
    common = {"team": {"id": team.id}, "user": {"id": "UBOB"}, "trigger_id": "t"}
    common |= {"response_url": slack.response_url()}
    buttons = [e for b in answer["blocks"] for e in b.get("elements", []) if e["type"] == "button"]
    view = {"id": "V1", "callback_id": "sj:form:reason", "private_metadata": "p|C1"}
    state = {"reason": {"reason": {"selected_option": {"value": "wrong"}}}}
    state |= {"text": {"text": {"value": "no"}}}
    return [
        *(slack.press(team, "UBOB", "C1", answer, button) for button in buttons),
        common | {"type": "message_action", "callback_id": f"{blocks.PREFIX}about"}
        | {"channel": {"id": "C1"}, "message": answer, "action_ts": slack.next_ts()},
        common | {"type": "view_submission", "view": view | {"state": {"values": state}}},
        common | {"type": "view_closed", "view": view, "is_cleared": False},
        common | {"type": "block_suggestion", "action_id": "a", "block_id": "b", "value": "x"},
        common | {"type": "shortcut", "callback_id": "anything"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "headers",
    [
        {"x-slack-request-timestamp": "abc"},
        {"x-slack-request-timestamp": ""},
        {"x-slack-request-timestamp": "²"},
        {"x-slack-request-timestamp": "9" * 400},
        {"x-slack-request-timestamp": str(int(time.time()) - 400)},
        {"x-slack-request-timestamp": "-1"},
        {"x-slack-signature": ""},
        {"x-slack-signature": "v0=é\udcff"},
        {"x-slack-signature": "v0=" + "0" * 64},
    ],
)
async def test_a_request_that_slack_did_not_sign_is_refused_quietly(place, caplog, headers):
    body = json.dumps(place.slack.envelope(place.team, {"type": "message"}))
    assert (await place.post(body, **headers)).status == 401
    bare = await place.bot.handle("POST", "/slack/events", {}, "", b"\xff\x00{")
    assert bare.status == 401
    assert faults(caplog) == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '"x"',
        "a=b",
        "payload=",
        "payload=[",
        "payload=[]",
        "payload=1",
        "{" * 500,
        '{"a":' * 20000,
        "[" * 100000,
        "payload=" + "[" * 100000,
        "&" * 9000,
    ],
)
async def test_a_signed_body_that_is_no_payload_is_no_fault(place, caplog, body):
    assert (await place.post(body)).status in {200, 400}
    assert faults(caplog) == []


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "app_rate_limited", "team_id": "T1", "minute_rate_limited": 1, "api_app_id": "A"},
        {"type": "event_callback", "event": None},
        {"type": "event_callback", "event": []},
        {"type": "event_callback", "event": {"type": None}},
        {"type": "event_callback"},
        {"type": "something_new"},
        {"type": {"a": 1}, "event": {"type": "message"}},
        {"team": 5, "authorizations": 7, "type": "event_callback", "event": {"type": "message"}},
    ],
)
async def test_events_that_say_nothing_to_us_are_acknowledged(place, caplog, payload):
    assert (await place.post(json.dumps(payload))).status == 200
    assert faults(caplog) == []


async def test_closed_forms_and_suggestions_are_acknowledged(place, caplog):
    [answer] = await place.say("UBOB", f"{place.mention} {SICK}")
    closed, suggestion, shortcut = interactions(place, answer)[-3:]
    for body, said_ in ((closed, ""), (suggestion, '{"options": []}'), (shortcut, "")):
        replied = await place.post(form(body))
        assert (replied.status, replied.body) == (200, said_)
    assert faults(caplog) == []


async def test_slack_says_that_it_holds_events_back(place, caplog):
    body = {"type": "app_rate_limited", "team_id": place.team.id}
    with caplog.at_level(logging.WARNING):
        await place.post(json.dumps(body))
    assert "Slack holds events back" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 12])
async def test_no_mutation_of_a_payload_is_a_fault_and_good_ones_behind_it_are_answered(
    place, caplog, seed
):
    await keep(place)
    [answer] = await place.say("UBOB", f"{place.mention} {SICK}")
    random = Random(seed)
    statuses: dict[int, int] = {}
    for number in range(ROUNDS):
        if number % 100 == 0:
            known = events(place)
            pressed = interactions(place, answer)
        match random.randrange(4):
            case 0 | 1:
                envelope = place.slack.envelope(place.team, random.choice(known))
                body = json.dumps(mutated(envelope, random))
            case 2:
                body = form(mutated(random.choice(pressed), random))
            case _:
                fields = place.slack.command(place.team, "UBOB", "C1", f"ask {SICK}")
                fields = {k: v for k, v in mutated(fields, random).items() if v is not None}
                body = urlencode(fields, doseq=False, errors="replace")
        status = (await place.post(body)).status
        statuses[status] = statuses.get(status, 0) + 1
        assert faults(caplog) == [], body
        assert status in {200, 400}, body
    await place.drain()
    assert faults(caplog) == []
    assert statuses[200] > ROUNDS * 0.9
    assert await unstorable(place.notes.engine.db) == []
    # Bob has asked as much as one person may.
    shown = await place.say("UADA", f"{place.mention} {SICK}")
    assert any("240 hours" in said(message) for message in shown), shown
