"""The fake Slack refuses what Slack's reference says it refuses, and shapes events as it does."""

from __future__ import annotations

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import Block
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack import blocks
from tests.fakes import slack_samples
from tests.fakes.slack import FakeSlack

# https://docs.slack.dev/reference/events/message.channels, …/events-api (envelope)
EVENT = {"type", "channel", "user", "text", "ts", "event_ts", "channel_type"}
ENVELOPE = {
    "token", "team_id", "api_app_id", "event", "type", "event_id", "event_time", "authorizations",
}  # fmt: skip
COMMAND = {
    "command", "text", "team_id", "user_id", "channel_id", "api_app_id", "response_url", "trigger_id",
}  # fmt: skip
STREAM = {"channel": "C1", "recipient_team_id": "T1", "recipient_user_id": "UADA"}


@pytest.fixture
async def client(slack: FakeSlack) -> AsyncWebClient:
    team = slack.add_team()
    slack.add_user(team, "UADA")
    slack.add_channel(team, "C1", "help", "UADA")
    slack.add_channel(team, "C2", "elsewhere", "UADA")
    team.channels["C2"]["members"].remove(team.bot_user_id)
    return AsyncWebClient(token=team.token, base_url=f"{slack.base_url}/", retry_handlers=[])


async def refusal(client: AsyncWebClient, method: str, **arguments: object) -> str:
    with pytest.raises(SlackApiError) as error:
        await client.api_call(method, json=arguments)
    return str(error.value.response["error"])


def test_payloads_have_the_fields_of_the_reference(slack):
    team = slack.add_team()
    slack.add_channel(team, "C1", "help", "UADA")
    event = slack.write(team, "C1", "UADA", "hello")
    assert set(event) >= EVENT
    assert set(slack.envelope(team, event)) >= ENVELOPE
    assert set(slack.command(team, "UADA", "C1", "help")) >= COMMAND
    pressed = slack.press(team, "UADA", "C1", event, {"action_id": "x", "type": "button"})
    assert {"type", "user", "container", "trigger_id", "actions", "response_url"} <= set(pressed)


# https://docs.slack.dev/reference/objects/conversation-object, …/events/channel_shared
SHARING = {
    "is_shared", "is_ext_shared", "is_org_shared", "is_pending_ext_shared", "connected_team_ids",
    "pending_connected_team_ids", "shared_team_ids", "context_team_id",
}  # fmt: skip


async def test_a_channel_tells_with_whom_it_is_shared(client, slack):
    team = slack.teams["T1"]

    async def info() -> dict:
        return dict((await client.conversations_info(channel="C1"))["channel"])

    assert set(await info()) >= SHARING
    unshared = await info()
    assert not any(unshared[flag] for flag in SHARING if flag.startswith("is_"))
    slack.share(team, "C1", "T9", how="invited")
    assert (await info())["is_pending_ext_shared"]
    assert not (await info())["is_ext_shared"]
    shared = slack.share(team, "C1", "T9")
    assert set(shared) == {"type", "connected_team_id", "channel", "event_ts"}
    assert (await info())["connected_team_ids"] == ["T9"]
    assert slack.envelope(team, shared)["is_ext_shared_channel"] is True
    left = slack.unshare(team, "C1")
    assert {"type", "previously_connected_team_id", "channel", "is_ext_shared"} <= set(left)
    assert not (await info())["is_ext_shared"]
    assert slack.envelope(team, left)["is_ext_shared_channel"] is False
    slack.share(team, "C2", "T2", how="organisation")
    assert (await client.conversations_info(channel="C2"))["channel"]["is_org_shared"]


async def test_people_of_other_organisations_say_so_and_are_in_no_list(client, slack):
    slack.add_user(slack.teams["T1"], "UEVE", team_id="T9", is_stranger=True)
    eve = (await client.users_info(user="UEVE"))["user"]
    assert (eve["team_id"], eve["is_stranger"]) == ("T9", True)
    listed = [user["id"] for user in (await client.users_list())["members"]]
    assert "UEVE" not in listed


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("chat.postMessage", {"channel": "C9", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "C2", "text": "x"}, "not_in_channel"),
        ("chat.postMessage", {"channel": "C1"}, "no_text"),
        ("chat.update", {"channel": "C1", "ts": "1.1", "text": "x"}, "message_not_found"),
        ("chat.startStream", STREAM, "invalid_thread_ts"),
        (
            "chat.startStream",
            {"channel": "C1", "thread_ts": "1.1", "recipient_team_id": "T1"},
            "missing_recipient_user_id",
        ),
        ("chat.postEphemeral", {"channel": "C1", "user": "UX", "text": "x"}, "user_not_in_channel"),
        ("conversations.replies", {"channel": "C1", "ts": "1.1"}, "thread_not_found"),
        ("users.info", {"user": "UX"}, "user_not_found"),
        ("views.open", {"trigger_id": "made-up", "view": {}}, "expired_trigger_id"),
        ("no.such", {}, "unknown_method"),
    ],
)
async def test_it_refuses_as_slack_does(client, method, arguments, error):
    assert await refusal(client, method, **arguments) == error


async def test_a_stream_lives_five_minutes_and_is_not_edited_meanwhile(client, slack):
    root = (await client.chat_postMessage(channel="C1", text="root"))["ts"]
    begun = await client.api_call("chat.startStream", json={**STREAM, "thread_ts": root})
    at = {"channel": "C1", "ts": begun["ts"]}
    assert await refusal(client, "chat.update", **at, text="x") == "streaming_state_conflict"
    await client.api_call("chat.appendStream", json={**at, "markdown_text": "more"})
    slack.clock += 301
    assert (
        await refusal(client, "chat.appendStream", **at, markdown_text="late")
        == "message_not_in_streaming_state"
    )
    await client.api_call("chat.update", json={**at, "text": "done"})


async def test_a_trigger_opens_once_and_a_response_url_answers_five_times(client, slack):
    trigger = slack.trigger()
    view = {"type": "modal", "title": {"type": "plain_text", "text": "t"}, "blocks": []}
    await client.api_call("views.open", json={"trigger_id": trigger, "view": view})
    error = await refusal(client, "views.open", trigger_id=trigger, view=view)
    assert error == "expired_trigger_id"
    url = slack.response_url()
    async with aiohttp.ClientSession() as session:
        statuses = [(await session.post(url, json={"text": "x"})).status for _ in range(6)]
    assert statuses == [200] * 5 + [404]


async def test_a_scope_that_is_missing_is_named(client, slack):
    slack.teams["T1"].scopes = {"users:read"}
    with pytest.raises(SlackApiError) as error:
        await client.chat_postMessage(channel="C1", text="x")
    assert error.value.response["error"] == "missing_scope"
    assert error.value.response["needed"] == "chat:write"


@pytest.mark.parametrize(
    "wrong",
    [
        [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}],
        [{"type": "markdown", "text": "x" * 12_001}],
        [{"type": "divider"}] * 51,
        [{"type": "actions", "elements": []}],
        [{"type": "made_up"}],
    ],
)
async def test_blocks_over_the_limits_are_refused(client, wrong):
    error = await refusal(client, "chat.postMessage", channel="C1", text="x", blocks=wrong)
    assert error in {"invalid_blocks", "msg_blocks_too_long"}


def test_slacks_own_library_knows_every_block_we_send():
    for reply in slack_samples.samples().values():
        for block in blocks.render(reply)[1]:
            parsed = Block.parse(block)
            assert parsed is not None, block["type"]
            parsed.validate_json()
