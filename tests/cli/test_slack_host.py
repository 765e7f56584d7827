"""Slack's events over HTTP, through the host that `serve` and `up` run."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import httpx2
from slack_sdk.signature import SignatureVerifier

from cli.doctor import _slack
from cli.serve import build_host
from engine.runtime import open_engine
from tests.fakes.homes import home_settings, this_user
from tests.fakes.slack import open_slack

SECRET = "signing-secret-of-the-tests"


def signed(body: str) -> dict[str, str]:
    at = str(int(time.time()))
    signature = SignatureVerifier(SECRET).generate_signature(timestamp=at, body=body) or ""
    return {
        "content-type": "application/json",
        "x-slack-request-timestamp": at,
        "x-slack-signature": signature,
    }


async def test_a_signed_event_is_answered_and_nothing_is_keyless_any_more(tmp_path: Path) -> None:
    async with open_slack() as slack:
        team = slack.add_team()
        slack.add_user(team, "UADA", is_admin=True)
        slack.add_channel(team, "DUADA", "", "UADA")
        settings = home_settings(
            tmp_path,
            slack__api_base_url=slack.base_url,
            slack__bot_token=team.token,
            slack__signing_secret=SECRET,
        )
        async with open_engine(settings) as engine:
            app = build_host(engine, settings, keyless=this_user)
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
            async with (
                app.router.lifespan_context(app),
                httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:7337") as client,
            ):
                event = slack.write(team, "DUADA", "UADA", "hello")
                body = json.dumps(slack.envelope(team, event))
                async with asyncio.timeout(60):
                    while not (await engine.chats.installations.list_all()):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                answer = await client.post("/slack/events", content=body, headers=signed(body))
                assert answer.status_code == 200
                async with asyncio.timeout(60):
                    while not slack.shown(team, "DUADA"):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                assert "Ask me anything" in slack.shown(team, "DUADA")[0]["text"]
                forged = signed(body) | {"x-slack-signature": "v0=bad"}
                refused = await client.post("/slack/events", content=body, headers=forged)
                assert refused.status_code == 401
                large = await client.post("/slack/events", content="x" * 1_100_000)
                assert large.status_code == 413
                assert (await client.get("/slack/events")).status_code == 405
                assert (await client.get("/api/v1/documents")).status_code == 401


async def test_without_a_bot_there_is_no_such_address(tmp_path: Path) -> None:
    settings = home_settings(tmp_path)
    async with open_engine(settings) as engine:
        app = build_host(engine, settings, keyless=this_user)
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:7337"
        ) as client:
            assert (await client.post("/slack/events", content="{}")).status_code == 404


async def test_doctor_tells_a_good_token_from_a_revoked_one_and_missing_scopes(
    tmp_path: Path,
) -> None:
    async with open_slack() as slack:
        team = slack.add_team()
        settings = home_settings(
            tmp_path,
            slack__api_base_url=slack.base_url,
            slack__bot_token=team.token,
            slack__app_token="xapp-1",
        )
        assert (await _slack(settings)).detail == f"the tokens are accepted by {team.name}"
        team.scopes = {"chat:write"}
        assert "lacks the scopes" in (await _slack(settings)).detail
        team.revoked = True
        found = await _slack(settings)
        assert found.detail == "slack.bot_token is rejected (token_revoked)"
        assert found.todo == "copy it again from OAuth & Permissions"
