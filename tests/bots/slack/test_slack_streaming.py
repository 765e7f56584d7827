"""An answer that a model writes, as it shows in Slack: streamed, edited, taken over, apologised for."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from bots import keepalive
from bots.slack import streaming
from engine.errors import Unavailable
from tests.fakes.library import ScriptedModel
from tests.fakes.slack import Fault
from tests.fakes.slack_rooms import said, until

SICK = "How many hours of advanced sick leave can I request?"
WRITTEN = (
    "You can request up to 240 hours of advanced sick leave [1]. "
    "Ask <!channel> or see https://evil.example/?q=secret for more. "
    "You can request it in advance [1]."
)


@pytest.fixture
def writes(place, monkeypatch):
    """Let a model write, and each piece be shown at once."""
    monkeypatch.setattr(streaming, "FLUSH_S", 0.0)
    monkeypatch.setattr(streaming, "UPDATE_S", 0.0)

    def use(*written: str | Exception) -> None:
        place.notes.engine.answers._asker._model = ScriptedModel(*written)

    return use


async def test_an_answer_is_streamed_and_ends_as_the_checked_text_with_blocks(place, writes):
    writes(WRITTEN)
    [shown] = await place.say("UBOB", f"{place.mention} {SICK}")
    methods = [name for name, _ in place.slack.calls if name.startswith("chat.")]
    assert methods[0] == "chat.startStream"
    assert methods[-2:] == ["chat.stopStream", "chat.update"]
    assert "chat.appendStream" in methods
    begun = place.slack.called("chat.startStream")[0]
    assert (begun["recipient_team_id"], begun["recipient_user_id"]) == ("T1", "UBOB")
    assert "streaming_until" not in shown
    assert shown["blocks"][0]["text"].startswith("You can request up to 240 hours")
    assert [b["type"] for b in shown["blocks"]][-2:] == ["actions", "context_actions"]


async def test_nothing_a_model_writes_notifies_anyone_or_leads_astray(place, writes):
    writes(WRITTEN.replace("leave [1]", "leave <@UADA> @channel [1]"))
    await place.say("UBOB", f"{place.mention} {SICK}")
    sent = json.dumps([args for name, args in place.slack.calls if name.startswith("chat.")])
    assert "evil.example" not in sent
    for pinging in ("<!channel>", "<!here>", "<@UADA>", "@channel "):
        assert pinging not in sent


async def test_the_eyes_come_with_the_question_and_go_with_the_answer(place):
    event = place.slack.write(place.team, "C1", "UBOB", f"{place.mention} {SICK}")
    await place.event(event)
    await place.bot.app.aclose()
    async with asyncio.timeout(60):
        while not place.slack.reactions:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert place.slack.reactions == {("C1", event["ts"], "eyes")}
    await place.drain()
    assert place.slack.reactions == set()


async def test_a_stream_that_slack_has_ended_goes_on_as_edits(place, writes):
    writes(WRITTEN)

    def expire(method: str, _: object) -> None:
        if method == "chat.startStream":
            place.slack.clock += 301

    place.slack.after = expire
    [shown] = await place.say("UBOB", f"{place.mention} {SICK}")
    assert "240 hours" in said(shown)
    assert len(place.slack.called("chat.update")) >= 2


@pytest.mark.parametrize("error", ["ratelimited", "unknown_method", "fatal_error"])
async def test_where_no_stream_can_be_begun_the_message_is_edited(place, writes, error):
    writes(WRITTEN)
    place.slack.faults["chat.startStream"] = [Fault(error, retry_after=1)]
    [shown] = await place.say("UBOB", f"{place.mention} {SICK}")
    assert "240 hours" in said(shown)
    assert place.slack.called("chat.appendStream") == []


async def test_a_model_that_is_away_is_mentioned_and_the_documents_still_answer(place, writes):
    writes(Unavailable("no route to 10.1.2.3"))
    [shown] = await place.say("UBOB", f"{place.mention} {SICK}")
    assert "240 hours" in said(shown)
    assert "The language model did not answer" in said(shown)
    assert "10.1.2.3" not in said(shown)


async def test_an_apology_replaces_what_was_streamed(place, writes, monkeypatch):
    original = place.notes.engine.answers.ask

    async def breaking(*args, **more):
        async for event in original(*args, **more):
            yield event
            if type(event).__name__ == "Delta":
                raise RuntimeError("secret internals")

    writes(WRITTEN)
    monkeypatch.setattr(place.notes.engine.answers, "ask", breaking)
    [shown] = await place.say("UBOB", f"{place.mention} {SICK}")
    assert "something went wrong and I couldn't answer" in said(shown)
    assert "240 hours" not in said(shown)
    assert "secret internals" not in said(place.slack.calls)


@pytest.mark.parametrize(
    ("method", "faults"),
    [
        ("chat.postMessage", [Fault("ratelimited", retry_after=0)] * 2),
        ("chat.postMessage", [Fault("internal_error", status=500)]),
        ("chat.postMessage", [Fault(drop=True)]),
    ],
)
async def test_slack_faults_delay_an_answer_and_never_lose_or_double_it(
    place, monkeypatch, method, faults
):
    monkeypatch.setattr("bots.slack.client.RETRY_S", 0.0)
    place.slack.faults[method] = list(faults)
    await place.say("UBOB", f"{place.mention} {SICK}")
    async with asyncio.timeout(60):
        while not place.slack.shown(place.team, "C1"):
            await asyncio.sleep(0.05)
            await place.drain()
    assert len(place.slack.shown(place.team, "C1")) == 1


async def test_blocks_that_slack_refuses_are_left_out(place):
    refusals = [Fault("invalid_blocks"), Fault("invalid_blocks")]
    place.slack.faults["chat.postMessage"] = refusals
    [shown] = await place.say("UBOB", f"{place.mention} {SICK}")
    assert shown["blocks"] == []
    assert "240 hours" in shown["text"]
    assert "<https://docs.example/leave|Sick leave>" in shown["text"]


async def test_a_revoked_token_pauses_the_workspace(place):
    place.team.revoked = True
    assert await place.say("UBOB", f"{place.mention} {SICK}") == []
    [installed] = await place.notes.engine.chats.installations.list_all()
    assert (installed.state, installed.token) == ("paused", "")


async def test_a_missing_scope_is_named_to_admins(place):
    place.team.scopes = {"chat:write", "users:read", "channels:read", "channels:history"}
    await place.say("UBOB", f"{place.mention} {SICK}")
    assert place.bot.app.health() == [("Slack", "is missing the scopes reactions:write")]
    _, [reply] = await place.command("UADA", "health")
    assert "missing: reactions:write" in said(reply)
    assert "over HTTP, the last" in said(reply)


async def test_twenty_questions_at_once_are_acknowledged_at_once(place):
    began = time.thread_time()
    for n in range(20):
        event = place.slack.write(
            place.team, "C2", "UADA" if n % 2 else "UBOB", f"{place.mention} {SICK}"
        )
        assert (await place.event(event)).status == 200
    assert time.thread_time() - began < 20
    await place.drain()
    answered = [m for m in place.slack.shown(place.team, "C2") if "240 hours" in said(m)]
    assert len(answered) == 20


class SilentModel(ScriptedModel):
    """Says nothing until `go` is set; then a sentence, silence until `on`, and the rest."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.go, self.on = asyncio.Event(), asyncio.Event()

    async def stream(self, system, prompt, *, max_tokens=1024):
        whole = self._next(prompt)
        await self.go.wait()
        first, _, rest = whole.text.partition(". ")
        yield f"{first}. "
        await self.on.wait()
        yield rest
        yield whole


async def test_a_silent_model_lets_neither_status_nor_stream_lapse(place, writes, monkeypatch):
    monkeypatch.setattr(keepalive, "SILENCE_S", 0.02)
    writes()
    model = place.notes.engine.answers._asker._model = SilentModel(WRITTEN)
    saying = asyncio.create_task(place.say("UBOB", f"{place.mention} {SICK}"))

    def calls_showing_it(method: str) -> list:
        return [
            c
            for c in place.slack.called(method)
            if keepalive.STILL in json.dumps(c, ensure_ascii=False)
        ]

    await until(lambda: len(calls_showing_it("assistant.threads.setStatus")) >= 2)
    model.go.set()
    await until(lambda: len(calls_showing_it("chat.appendStream")) >= 2)
    model.on.set()
    [shown] = await saying
    assert keepalive.STILL not in json.dumps(shown["blocks"], ensure_ascii=False)
    assert "240 hours" in said(shown)
    tasks = {json.dumps(c["chunks"]) for c in calls_showing_it("chat.appendStream")}
    assert len(tasks) == 1  # one task that lives on, not one a sign
