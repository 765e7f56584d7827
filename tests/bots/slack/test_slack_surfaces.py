"""Buttons, shortcuts, forms, the home and the manifest, as Slack delivers and shows them."""

from __future__ import annotations

import json
import time

import pytest

from bots import replies
from bots.slack import blocks, manifest
from engine.settings import SlackSettings
from tests.fakes.slack import form
from tests.fakes.slack_rooms import find_action, said

SICK = "How many hours of advanced sick leave can I request?"


async def test_every_button_of_an_answer_does_what_it_says(place):
    await place.command("UADA", "escalate-to <!subteam^S012345|@support>")
    [answer] = await place.say("UBOB", f"{place.mention} {SICK}")
    thanks = await place.press("UBOB", answer, "Helpful")
    assert "Thank you" in said(thanks)
    await place.press("UBOB", answer, "More detail")
    detail = place.slack.shown(place.team, "C1")[-1]
    assert "> You can request up to 240 hours" in said(detail)
    await place.press("UGUS", answer, "Ask a human")
    called = place.slack.shown(place.team, "C1")[-1]
    assert called["blocks"][0]["text"]["text"].startswith(
        "<!subteam^S012345|@support> Someone asked for help with"
    )
    await place.press("UADA", called, "Mark resolved")
    assert "Resolved by Owner" in said(called)
    refused = await place.press("UGUS", answer, "Delete")
    assert "Only the person who asked" in said(refused)
    await place.press("UBOB", answer, "Delete")
    assert answer not in place.slack.shown(place.team, "C1")


async def test_a_thumb_down_opens_a_form_and_what_it_says_is_kept(place):
    [answer] = await place.say("UBOB", f"{place.mention} {SICK}")
    await place.press("UBOB", answer, "Not helpful")
    [view] = place.slack.views.values()
    assert view["title"]["text"] == "What was wrong?"
    submitted = {
        "type": "view_submission",
        "team": {"id": place.team.id},
        "user": {"id": "UBOB"},
        "view": view
        | {
            "state": {
                "values": {
                    "reason": {"reason": {"selected_option": {"value": "outdated"}}},
                    "text": {"text": {"value": "it is 300 now"}},
                }
            }
        },
    }
    assert (await place.post(form(submitted))).status == 200
    await place.drain()
    _, [report] = await place.command("UADA", "feedback report")
    assert "outdated it is 300 now" in said(report)


async def test_an_answer_by_command_is_shared_with_its_channel(place):
    _, [private] = await place.command("UBOB", f"ask {SICK}")
    [preview] = await place.press("UBOB", private, "Share with channel")
    assert not place.slack.shown(place.team, "C1")
    await place.press("UBOB", preview, "Post it")
    [shared] = place.slack.shown(place.team, "C1")
    assert "240 hours" in said(shared)
    assert "Shared by Ubob." in said(shared)
    _, [secret] = await place.command("UADA", "ask What is the salary of the chief gardener?")
    assert "81,000" in said(secret)
    await place.press("UADA", secret, "Share with channel")
    assert "81,000" not in said(place.slack.shown(place.team, "C1"))


async def shortcut(place, user: str, action: str, message: dict) -> list:
    before = len(place.slack.responses)
    body = {
        "type": "message_action",
        "callback_id": f"sj:{action}",
        "team": {"id": place.team.id},
        "user": {"id": user},
        "channel": {"id": "C1"},
        "message": message,
        "action_ts": place.slack.next_ts(),
        "response_url": place.slack.response_url(),
        "trigger_id": place.slack.trigger(),
    }
    assert (await place.post(form(body))).status == 200
    await place.drain()
    return place.slack.responses[before:]


async def test_the_shortcuts_on_a_message(place):
    root = place.slack.write(place.team, "C1", "UGUS", f"{SICK} I am new here.")
    more = {"thread_ts": root["ts"]}
    place.slack.write(place.team, "C1", "UBOB", "Up to 240 hours, and ask your lead early.", **more)
    place.slack.write(place.team, "C1", "UADA", "The lead answers within two days.", **more)
    [about] = await shortcut(place, "UGUS", "about", root)
    assert "240 hours of advanced sick leave" in said(about)
    [similar] = await shortcut(place, "UGUS", "similar", root)
    assert "Sick leave" in said(similar)
    [summary] = await shortcut(place, "UGUS", "summarise", root)
    assert "2 replies; what stands out:" in said(summary)
    assert "**Ubob**: Up to 240 hours, and ask your lead early." in said(summary)
    [refused] = await shortcut(place, "UGUS", "save", root)
    assert "Only curators" in said(refused)


async def test_an_admin_sets_a_channel_up_in_a_form(place):
    body = place.slack.command(place.team, "UADA", "C1", "setup")
    from urllib.parse import urlencode

    await place.post(urlencode(body))
    await place.drain()
    [view] = place.slack.views.values()
    assert [b["block_id"] for b in view["blocks"] if b["type"] == "input"] == [
        "kb",
        "mode",
        "question",
    ]
    values = {
        "kb": {"kb": {"selected_option": {"value": "notes"}}},
        "mode": {"mode": {"selected_option": {"value": "auto"}}},
        "question": {"question": {"value": SICK}},
    }
    submitted = {
        "type": "view_submission",
        "team": {"id": place.team.id},
        "user": {"id": "UADA"},
        "view": view | {"state": {"values": values}},
    }
    await place.post(form(submitted))
    await place.drain()
    assert "are now answered from **notes**" in said(place.slack.ephemerals)
    assert "240 hours" in said(place.slack.ephemerals)
    _, [shown] = await place.command("UADA", "show")
    assert "auto" in said(shown)


@pytest.mark.parametrize("user", ["UBOB", "UGUS"])
async def test_the_set_up_form_is_empty_for_others_and_its_forgery_does_nothing(place, user):
    from urllib.parse import urlencode

    await place.post(urlencode(place.slack.command(place.team, user, "C1", "setup")))
    await place.drain()
    [view] = place.slack.views.values()
    assert "Only admins of this workspace" in said(view)
    forged = {
        "type": "view_submission",
        "team": {"id": place.team.id},
        "user": {"id": user},
        "view": {
            "id": "V9",
            "type": "modal",
            "callback_id": "sj:form:bind",
            "private_metadata": "|C1",
            "state": {"values": {"kb": {"kb": {"selected_option": {"value": "board"}}}}},
        },
    }
    await place.post(form(forged))
    await place.drain()
    assert "You don't have permission to do this here" in said(place.slack.ephemerals)


async def test_invited_the_bot_says_once_what_it_does(place):
    place.slack.add_channel(place.team, "C5", "new", "UADA")
    joined = {
        "type": "member_joined_channel",
        "user": place.team.bot_user_id,
        "channel": "C5",
        "inviter": "UADA",
        "event_ts": "1.1",
    }
    for _ in range(2):
        await place.event(joined)
    await place.drain()
    [hello] = place.slack.shown(place.team, "C5")
    assert "I don't store messages of this channel unless" in said(hello)
    assert find_action(hello, "Bind this channel")
    await place.press("UADA", hello, "Bind this channel", channel="C5")
    assert [view["title"]["text"] for view in place.slack.views.values()] == ["Set up"]


async def test_the_home_shows_what_is_mine(place):
    await place.say("UBOB", f"{place.mention} {SICK}")
    for user in ("UBOB", "UGUS"):
        await place.event(
            {"type": "app_home_opened", "user": user, "channel": f"D{user}", "tab": "home"}
        )
        await place.bot.app.aclose()
    assert SICK.rstrip("?") in said(place.slack.homes["UBOB"])
    assert SICK.rstrip("?") not in said(place.slack.homes["UGUS"])
    for home in place.slack.homes.values():
        assert "board" not in said(home)


async def test_opening_the_messages_offers_prompts(place):
    opened = {"type": "app_home_opened", "user": "UBOB", "channel": "DUBOB", "tab": "messages"}
    await place.event(opened)
    await place.bot.app.aclose()
    assert place.slack.prompts[0]["prompts"][0]["title"] == "What can you do?"


async def test_a_table_of_commands_fits_slack(place):
    _, [helped] = await place.command("UADA", "help")
    assert any(block["type"] == "table" for block in helped["blocks"])


# The manifest agrees with what is listened to


def test_the_manifest_names_what_the_bot_handles():
    made = manifest.manifest(SlackSettings())
    listed = made["features"]["shortcuts"]
    assert {s["callback_id"] for s in listed} == {f"sj:{name}" for name in blocks.SHORTCUTS}
    assert made["settings"]["socket_mode_enabled"]
    assert [c["command"] for c in made["features"]["slash_commands"]] == ["/kb"]
    assert set(made["settings"]["event_subscriptions"]["bot_events"]) == set(manifest.EVENTS)
    for event, scope in {
        "app_mention": "app_mentions:read",
        "message.channels": "channels:history",
        "message.groups": "groups:history",
        "message.im": "im:history",
        "message.mpim": "mpim:history",
        "user_change": "users:read",
    }.items():
        assert event in manifest.EVENTS
        assert scope in made["oauth_config"]["scopes"]["bot"]
    handled = {replies.ABOUT, replies.SAVE, replies.SIMILAR, replies.SUMMARISE}
    assert set(blocks.SHORTCUTS) == handled


def test_over_http_the_manifest_says_where():
    made = manifest.manifest(SlackSettings(), public_url="https://kb.example.com")
    url = "https://kb.example.com/slack/events"
    assert made["settings"]["event_subscriptions"]["request_url"] == url
    assert made["features"]["slash_commands"][0]["url"] == url
    assert not made["settings"]["socket_mode_enabled"]
    assert json.dumps(made)


async def test_an_acknowledgement_takes_a_moment(place):
    taken = []
    for n in range(10):
        event = place.slack.write(place.team, "C1", "UBOB", f"{place.mention} {SICK} {n}")
        at = time.thread_time()
        await place.event(event)
        taken.append(time.thread_time() - at)
    assert sorted(taken)[5] < 2
    await place.bot.app.aclose()
