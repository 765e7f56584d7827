"""Socket Mode, OAuth, several workspaces: how events and tokens come."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from sqlalchemy import select

from bots.slack import bot as module
from engine.chats.installation_rows import RETENTION
from engine.db.tables import Installation, Workspace
from tests.fakes.installations import parse_inline
from tests.fakes.slack_rooms import SlackRoom, open_slack_room, said, until

SICK = "How many hours of advanced sick leave can I request?"
PUBLIC = "https://kb.example.com"


@asynccontextmanager
async def running(place: SlackRoom):
    stop = asyncio.Event()
    task = asyncio.create_task(place.bot.run(stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(60):
            await task


@pytest.fixture
async def socket(home, slack, monkeypatch):
    """The room, whose bot may listen over Socket Mode."""
    parse_inline(monkeypatch)
    monkeypatch.setattr(module, "LOOK_S", 0.05)
    async with open_slack_room(home, slack, **{"slack.app_token": "xapp-1-A1"}) as opened:
        yield opened


async def test_an_event_over_the_socket_is_acknowledged_and_answered(socket):
    slack = socket.slack
    async with running(socket):
        await until(lambda: slack.sockets)
        event = slack.write(socket.team, "C1", "UBOB", f"{socket.mention} {SICK}")
        ack = await slack.push("events_api", slack.envelope(socket.team, event))
        assert ack.get("payload") is None
        await until(lambda: slack.shown(socket.team, "C1"))
        command = slack.command(socket.team, "UBOB", "C1", "sources")
        await slack.push("slash_commands", command)
        await until(lambda: slack.responses)
    assert "240 hours" in said(slack.shown(socket.team, "C1"))
    assert "notes" in said(slack.responses)


async def test_a_socket_that_closes_is_opened_again(socket):
    slack = socket.slack
    async with running(socket):
        await until(lambda: slack.sockets)
        await slack.sockets[0].send_json({"type": "disconnect", "reason": "refresh_requested"})
        await until(lambda: len(slack.sockets) > 1)
        event = slack.write(socket.team, "C1", "UBOB", f"{socket.mention} {SICK}")
        await slack.push("events_api", slack.envelope(socket.team, event))
        await until(lambda: slack.shown(socket.team, "C1"))


async def test_a_socket_that_goes_quiet_is_built_again_by_the_watchdog(socket, monkeypatch):
    monkeypatch.setattr(module, "QUIET_S", 0.1)
    slack = socket.slack
    async with running(socket):
        await until(lambda: slack.sockets)

        async def never(self) -> bool:
            return False

        with monkeypatch.context() as patch:
            patch.setattr("slack_sdk.socket_mode.aiohttp.SocketModeClient.is_connected", never)
            await until(lambda: len(slack.sockets) > 1)


async def test_a_workspace_is_installed_by_a_link_and_answered_without_a_restart(
    home, slack, monkeypatch
):
    parse_inline(monkeypatch)
    settings = {
        "slack.client_id": "111.222",
        "slack.client_secret": "shh",
        "server.public_url": PUBLIC,
    }
    async with open_slack_room(home, slack, **settings) as place:
        other = slack.add_team("T2", name="Bolt")
        slack.add_user(other, "UEVE", is_admin=True)
        slack.add_channel(other, "DUEVE", "", "UEVE")
        engine = place.notes.engine
        state = engine.chats.installations.sign_install(place.notes.owner)
        started = await place.bot.handle(
            "GET", "/slack/install", {}, urlencode({"state": state}), b""
        )
        url = urlsplit(started.headers["Location"])
        asked = parse_qs(url.query)
        assert started.status == 302
        assert asked["redirect_uri"] == [f"{PUBLIC}/slack/oauth_redirect"]
        assert "chat:write" in asked["scope"][0]
        slack.codes["code-1"] = other
        query = urlencode({"code": "code-1", "state": asked["state"][0]})
        done = await place.bot.handle("GET", "/slack/oauth_redirect", {}, query, b"")
        assert (done.status, "Bolt" in done.body) == (200, True)
        again = await place.bot.handle("GET", "/slack/oauth_redirect", {}, query, b"")
        assert again.status == 502
        place.team, first = other, place.team
        [shown] = await place.say(
            "UEVE", "What is the salary of the chief gardener?", channel="DUEVE"
        )
        assert "81,000" not in said(shown)
        place.team = first
        async with engine.db.read() as session:
            stored = list(await session.scalars(select(Installation.secret)))
        assert not [secret for secret in stored if "xoxb" in secret]


@pytest.mark.parametrize("state", ["", "forged", "link"])
async def test_no_one_installs_with_a_state_that_is_not_for_installing(place, state):
    if state == "link":
        _, responses = await place.command("UBOB", "link")
        state = responses[0]["blocks"][0]["text"].split("link ")[1].split(" ")[0]
    query = urlencode({"state": state, "code": "code-1"})
    for path in ("/slack/install", "/slack/oauth_redirect"):
        answer = await place.bot.handle("GET", path, {}, query, b"")
        assert answer.status == 403


async def test_two_tenants_do_not_meet(place, slack):
    engine = place.notes.engine
    other = await engine.people.create_tenant(place.notes.owner, "bolt")
    team = slack.add_team("T2", name="Bolt")
    slack.add_user(team, "UEVE", is_admin=True)
    slack.add_channel(team, "C1", "help", "UEVE")
    from bots.slack import installing

    new = await installing.of_token(engine.settings, place.bot.api, team.token)
    await engine.chats.installations.install(other.id, new)
    first, place.team = place.team, team
    [shown] = await place.say("UEVE", f"{place.mention} {SICK}")
    assert "240 hours" not in said(shown)
    _, responses = await place.command("UEVE", "list")
    assert "notes" not in said(responses)
    place.team = first
    from engine.errors import Conflict

    with pytest.raises(Conflict):
        await engine.chats.installations.install(
            other.id, await installing.of_token(engine.settings, place.bot.api, first.token)
        )


@pytest.mark.parametrize("kind", ["app_uninstalled", "tokens_revoked"])
async def test_uninstalling_hides_the_workspace_and_purges_it_a_week_later(
    place, kind, monkeypatch
):
    engine = place.notes.engine
    await place.say("UBOB", f"{place.mention} {SICK}")
    await place.event({"type": kind, "tokens": {"bot": ["UBOT"]}})
    assert await place.say("UBOB", f"{place.mention} {SICK}") == []
    assert await engine.chats.installations.purge_due() == 0
    from engine import clock

    later = clock.now() + RETENTION + RETENTION
    monkeypatch.setattr(clock, "now", lambda: later)
    assert await engine.chats.installations.purge_due() == 1
    async with engine.db.read() as session:
        assert (
            await session.scalar(select(Workspace.id).where(Workspace.platform == "slack")) is None
        )


# What must not get in


async def test_a_wrong_signature_is_refused(place):
    body = '{"type": "event_callback"}'
    answer = await place.post(body, **{"x-slack-signature": "v0=bad"})
    assert answer.status == 401
    old = await place.post(body, **{"x-slack-request-timestamp": "1"})
    assert old.status == 401
    assert place.slack.calls == place.slack.calls[:]


async def test_the_url_is_verified_with_its_challenge(place):
    answer = await place.post('{"type": "url_verification", "challenge": "abc"}')
    assert (answer.status, "abc" in answer.body) == (200, True)


async def test_an_event_of_an_unconnected_workspace_is_passed_over(place, slack):
    stranger = slack.add_team("T9")
    slack.add_channel(stranger, "C1", "x", "UADA")
    place.team, first = stranger, place.team
    before = len(slack.calls)
    assert await place.say("UADA", f"<@{stranger.bot_user_id}> {SICK}") == []
    assert len(slack.calls) == before
    place.team = first


async def test_garbage_is_refused_without_harm(place):
    for body in ("", "{", "[]", '{"type": "event_callback"}', "payload=%7B", "command=%2Fkb"):
        answer = await place.post(body)
        assert answer.status in {200, 400, 401, 404, 500}
    [shown] = await place.say("UBOB", f"{place.mention} {SICK}")
    assert "240 hours" in said(shown)
