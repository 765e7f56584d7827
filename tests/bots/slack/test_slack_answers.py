"""Stories through a signed Slack payload: what people see in the fake Slack afterwards."""

from __future__ import annotations

import json

from tests.fakes.slack_rooms import said

SICK = "How many hours of advanced sick leave can I request?"


async def test_a_mention_is_answered_in_its_thread_with_a_linked_source(place):
    [shown] = await place.say("UBOB", f"{place.mention} {SICK}")
    question = place.team.messages["C1"][0]
    assert shown["thread_ts"] == question["ts"]
    assert shown["blocks"][0]["text"] == (
        "You can request up to 240 hours of advanced sick leave. [[1]](https://docs.example/leave)"
    )
    assert "<https://docs.example/leave|Sick leave>" in said(shown)
    assert shown["metadata"]["event_type"] == "scrubjay_post"


async def test_a_direct_message_is_answered_from_what_the_asker_may_read(place):
    question = "What is the salary of the chief gardener?"
    [shown] = await place.say("UADA", question, channel="DUADA")
    assert "81,000 rupees" in said(shown)
    for user, channel in (("UBOB", "DUBOB"), ("UADA", "C1")):
        [other] = await place.say(user, f"{place.mention} {question}", channel=channel)
        assert not [w for w in ("81,000", "Salaries", "board") if w in said(other)]


async def test_an_event_that_comes_again_is_answered_once(place):
    event = place.slack.write(place.team, "C1", "UBOB", f"{place.mention} {SICK}")
    body = json.dumps(place.slack.envelope(place.team, event))
    mention = json.dumps(place.slack.envelope(place.team, event | {"type": "app_mention"}))
    for again in (body, mention, body):
        assert (await place.post(again, **{"x-slack-retry-num": "1"})).status == 200
    await place.drain()
    assert len(place.slack.shown(place.team, "C1")) == 1


async def test_a_slash_command_is_answered_for_its_asker(place):
    ack, responses = await place.command("UBOB", f"ask {SICK}")
    assert (ack.status, ack.body) == (200, "Looking it up…")
    assert "240 hours" in said(responses[0])
    assert responses[0]["response_type"] == "ephemeral"
    assert place.slack.shown(place.team, "C1") == []
