"""Everything a bot does besides answering: commands, buttons, shortcuts, greetings.

Each errand is a job, so a press that came is not lost, and one that came twice is done once. What
a command may do is checked in the engine; here it is confirmed where it destroys something.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from bots import replies
from bots.conversation import Joined, Pressed, Said
from bots.platform import Platform, Spot, Undelivered
from bots.showing import LONGER, show_passages, spot_of
from engine.chats.callers import Caller
from engine.chats.feedback import REASONS
from engine.chats.post_rows import NewQuestion, PostInfo, PostState, finish_errand, met_of
from engine.chats.sender_rows import Met
from engine.clock import new_id
from engine.commands import administration
from engine.commands.table import Effect, parse
from engine.domain import SearchResult
from engine.engine import Engine
from engine.errors import EngineError, Forbidden, InvalidInput, LeaseLost, NotFound
from engine.jobs.claims import ClaimedJob

log = logging.getLogger(__name__)

THREAD_CHARS = 12_000  # of a thread that is saved

Press = Callable[["Errands", Pressed, Caller, Spot], Awaitable[None]]


class Errands:
    """Runs the bots' jobs that are no answers. `wake` tells the desk of a question they took on."""

    def __init__(
        self, engine: Engine, platforms: Mapping[str, Platform], wake: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._platforms = platforms
        self._wake = wake

    async def run(self, job: ClaimedJob) -> None:
        """Do one errand and finish its job; whoever wanted it hears of an error."""
        met = met_of(job)
        payload = job.payload
        spot = _spot(payload, met)
        platform = self._platforms[spot.platform]
        try:
            await _ERRANDS[payload["do"]](self, payload, spot, platform)
        except (LeaseLost, Undelivered):
            raise
        except Exception as error:
            incident = new_id()[-8:]
            if not isinstance(error, EngineError):
                log.exception("an errand failed, incident %s", incident)
            await platform.whisper(spot, replies.apology(error, incident, platform.command))
        await self._engine.db.run_write(lambda session: finish_errand(session, job))

    # Messages

    async def _greet(self, _: Mapping[str, Any], spot: Spot, platform: Platform) -> None:
        await platform.say(spot, replies.greeting(platform.command))

    async def _nod(self, _: Mapping[str, Any], spot: Spot, platform: Platform) -> None:
        await platform.nod(spot, spot.message_id)

    async def _refuse(self, payload: Mapping[str, Any], spot: Spot, platform: Platform) -> None:
        await platform.whisper(spot, replies.refused(payload["why"], platform.command))

    async def _onboard(self, payload: Mapping[str, Any], spot: Spot, platform: Platform) -> None:
        del payload
        await platform.learn(spot)
        await platform.say(spot, replies.onboarding(platform.command))

    async def _withdraw(self, _: Mapping[str, Any], spot: Spot, platform: Platform) -> None:
        chat = self._engine.chats
        for post in await chat.posts.answers_to(spot.met, spot.channel, spot.message_id):
            await chat.posts.withdraw(post.id, forget=True)
            if post.message_id and post.surface != "private":
                await platform.remove(spot_of(post), post.message_id)

    async def _rerun(self, payload: Mapping[str, Any], spot: Spot, platform: Platform) -> None:
        posts = await self._engine.chats.posts.answers_to(spot.met, spot.channel, spot.message_id)
        live = [post for post in posts if post.state is not PostState.WITHDRAWN]
        if not live or live[0].question == payload["question"]:
            return
        key = f"{spot.met.tenant_id}:edited:{live[0].id}"
        await self._engine.limits.put(key, payload["question"].encode(), ttl_s=3600)
        await platform.whisper(spot, replies.rerun(live[0]))

    # Commands

    async def _run_words(self, payload: Mapping[str, Any], spot: Spot, platform: Platform) -> None:
        await self._command(payload["line"], spot, platform)

    async def _run_said(self, payload: Mapping[str, Any], spot: Spot, platform: Platform) -> None:
        await self._command(payload["said"]["line"], spot, platform)

    async def _command(self, line: str, spot: Spot, platform: Platform) -> None:
        await platform.learn(spot)
        caller = await self._engine.chats.senders.caller(spot.met)
        parsed = parse(line)
        administration.require(caller, parsed.command)
        if parsed.command.effect is Effect.DESTROYS:
            confirm_id = await self._engine.chats.confirmations.ask(caller, line)
            await platform.whisper(spot, replies.confirm(parsed.command, line, confirm_id))
            return
        await platform.whisper(spot, await self._told(caller, line, spot))

    async def _told(self, caller: Caller, line: str, spot: Spot | None = None) -> replies.Reply:
        told = await administration.run(self._engine, caller, parse(line))
        if told.announce and spot is not None and not spot.is_direct:
            await self._platforms[spot.platform].say(
                replace(spot, thread=""), replies.Reply(told.announce)
            )
        if spot is not None and parse(line).command.name == "health":
            rows = await self._platforms[spot.platform].health(spot)
            told = replace(told, rows=[*told.rows, *map(list, rows)])
        if told.found is not None:
            return replies.found(told.found, self._urls(caller, told.found))
        return replies.told(told)

    def _urls(self, caller: Caller, found: SearchResult) -> dict[str, str]:
        audience = self._engine.people.audience_of_asker(caller.principal)
        return {
            hit.id: self._engine.chats.link_to(caller, audience, hit.url, hit.id)
            for hit in found.hits
        }

    # Buttons

    async def _press(self, payload: Mapping[str, Any], spot: Spot, platform: Platform) -> None:
        del platform
        pressed = Pressed(**payload["pressed"])
        press = _PRESSES.get(pressed.action)
        if press is None:
            raise NotFound("This button is not known any more.")
        caller = await self._engine.chats.senders.caller(spot.met)
        await press(self, pressed, caller, spot)

    async def _post(self, pressed: Pressed, caller: Caller) -> PostInfo:
        post = await self._engine.chats.posts.get_for(caller.met, pressed.value.partition(":")[0])
        if post.surface != "channel" and post.met.identity_id != caller.met.identity_id:
            raise NotFound("This answer is not known any more.")
        return post

    async def _rate(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        post = await self._post(pressed, caller)
        up = pressed.action == replies.RATE_UP
        await self._engine.chats.posts.rate(caller, post.id, 1 if up else -1)
        platform = self._platforms[spot.platform]
        if up:
            await platform.whisper(spot, replies.thanked())
        elif not pressed.details.get("form"):  # else the platform has opened a form that asks
            await platform.whisper(spot, replies.rated_down(post.id))

    async def _reason(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        post = await self._post(pressed, caller)
        reason = pressed.details.get("reason") or pressed.value.partition(":")[2]
        if reason not in REASONS:
            raise InvalidInput(f"Choose one of {', '.join(REASONS)}.", field="reason")
        text = pressed.details.get("text", "")
        await self._engine.chats.posts.rate(caller, post.id, -1, reason=reason, text=text)
        await self._platforms[spot.platform].whisper(spot, replies.thanked())

    async def _more(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        """The answer at more length: written by the desk where a model can, else its passages."""
        chat = self._engine.chats
        post = await self._post(pressed, caller)
        audience = await chat.senders.audience(caller, post.surface)
        if post.turn_id is None:
            raise NotFound("This answer is not known any more.")
        answer = await chat.posts.stored_answer(caller, audience, post.turn_id)
        if self._engine.answers.writes and answer.citations:
            await self._write_more(pressed, caller, spot, post)
            return
        reply = await show_passages(self._engine, caller, audience, post, answer)
        platform = self._platforms[spot.platform]
        if post.surface == "private":
            await platform.whisper(spot, reply)
        else:
            await platform.say(spot_of(post), reply)

    async def _write_more(
        self, pressed: Pressed, caller: Caller, spot: Spot, post: PostInfo
    ) -> None:
        # What one person sees may be gone from their screen: they may want it again.
        again = f":{pressed.key}" if post.surface == "private" else ""
        accepted = await self._engine.chats.posts.accept(
            NewQuestion(
                platform=spot.platform,
                met=caller.met,
                surface=post.surface,
                channel=post.channel,
                question=post.question,
                thread=post.thread,
                key=f"longer:{post.id}{again}",
                details={"details": {**spot.details, LONGER: post.turn_id}},
            )
        )
        if not accepted.is_new:
            told = replies.Reply("More detail was asked for already: it stands in this thread.")
            await self._platforms[spot.platform].whisper(spot, told)
        self._wake()

    async def _human(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        post = await self._post(pressed, caller)
        platform = self._platforms[spot.platform]
        if post.met.channel_id is None:
            raise InvalidInput(
                "Nobody else reads this conversation: ask in a channel where people can help.",
                field="channel",
            )
        if not await self._engine.chats.posts.escalate(post.id):
            await platform.whisper(spot, replies.Reply("A human was asked for this already."))
            return
        behaviour = await self._engine.chats.senders.behaviour(caller.met)
        await platform.say(
            spot_of(post), replies.escalated(post, post.question, behaviour.escalate_to)
        )

    async def _resolved(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        post = await self._post(pressed, caller)
        if await self._engine.chats.posts.resolve(post.id):
            platform = self._platforms[spot.platform]
            done = replies.resolved(caller.principal.name)
            await platform.replace(spot, pressed.message_id, done)

    async def _share(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        """Show a private answer to its channel, if everyone there may read all it rests on.

        The desk checks that; otherwise it asks the question anew for the channel, and what comes
        of that all may read.
        """
        chat = self._engine.chats
        post = await self._post(pressed, caller)
        if post.met.channel_id is None or post.turn_id is None:
            raise NotFound("There is no channel to share this with.")
        await chat.posts.accept(
            NewQuestion(
                platform=spot.platform,
                met=caller.met,
                surface="channel",
                channel=post.channel,
                question=post.question,
                thread=post.thread,
                turn_id=post.turn_id,
                key=f"share:{post.id}",
                details={"details": {"shared_by": caller.principal.name}},
            )
        )
        self._wake()

    async def _delete(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        post = await self._post(pressed, caller)
        if post.met.identity_id != caller.met.identity_id and not caller.is_admin:
            raise Forbidden("Only who asked, or an admin, may delete an answer.")
        await self._engine.chats.posts.withdraw(post.id)
        message_id = post.message_id or pressed.message_id
        await self._platforms[spot.platform].remove(spot_of(post), message_id)

    async def _again(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        """Answer an edited question: the old answer goes."""
        post = await self._post(pressed, caller)
        if post.met.identity_id != caller.met.identity_id:
            raise Forbidden("Only who asked may have it answered again.")
        key = f"{caller.met.tenant_id}:edited:{post.id}"
        question = await self._engine.limits.get(key)
        if question is None:
            raise NotFound("That was a while ago: ask the question again.")
        await self._engine.chats.posts.withdraw(post.id)
        if post.message_id and post.surface != "private":
            await self._platforms[spot.platform].remove(spot_of(post), post.message_id)
        await self._engine.chats.posts.accept(
            NewQuestion(
                platform=spot.platform,
                met=post.met,
                surface=post.surface,
                channel=post.channel,
                question=question.decode(),
                question_id=post.question_id,
                thread=post.thread,
                key=f"again:{post.id}",
                details={"details": dict(spot.details)},
            )
        )
        self._wake()

    async def _nothing(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        """A button that declines: pressing it says all there is to say."""

    async def _confirm(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        line = await self._engine.chats.confirmations.take(caller, pressed.value)
        reply = await self._told(caller, line, spot)
        await self._platforms[spot.platform].whisper(spot, reply)

    async def _cancel(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        await self._engine.chats.confirmations.take(caller, pressed.value)
        await self._platforms[spot.platform].whisper(spot, replies.Reply("Nothing was changed."))

    async def _bind(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        """The form's values, or without a form what can be typed."""
        platform = self._platforms[spot.platform]
        kb, mode = pressed.details.get("kb", ""), pressed.details.get("mode", "")
        if not kb:
            await platform.whisper(spot, await self._told(caller, "setup"))
            return
        channel = pressed.details.get("channel") or spot.channel
        said = [await self._told(caller, f'bind {channel} "{kb}"')]
        if mode:
            said.append(await self._told(caller, f"mode {mode} {channel}"))
        await platform.whisper(spot, replies.Reply("\n".join(reply.text for reply in said)))
        if question := pressed.details.get("question", "").strip():
            await self._ask_privately(question, caller, spot, pressed)

    async def _mention(self, _: Pressed, caller: Caller, spot: Spot) -> None:
        del caller
        await self._platforms[spot.platform].whisper(
            spot, replies.Reply("Fine: I answer here when I am mentioned.")
        )

    # Shortcuts on a message

    async def _about(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        text = pressed.details.get("text", "").strip()
        if not text:
            raise InvalidInput("This message has no words I could look up.", field="message")
        await self._ask_privately(text[:4000], caller, spot, pressed)

    async def _similar(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        text = pressed.details.get("text", "").strip()
        reply = await self._told(caller, f"search {text[:400]}" if text else "search")
        await self._platforms[spot.platform].whisper(spot, reply)

    async def _summarise(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        del pressed
        platform = self._platforms[spot.platform]
        said = await platform.read_thread(spot)
        if (await self._engine.chats.senders.behaviour(caller.met)).anonymous:
            numbers = {name: n for n, name in enumerate(dict.fromkeys(n for n, _ in said), start=1)}
            said = [(f"Person {numbers[name]}", text) for name, text in said]
        summary = await self._engine.chats.summarise(caller, said)
        await platform.whisper(spot, replies.Reply(summary, note="Only you can see this."))

    async def _save(self, pressed: Pressed, caller: Caller, spot: Spot) -> None:
        """Keep a thread's question and the message that answers it, readable where it was said."""
        if not caller.is_curator:
            raise Forbidden("Saving answers is for curators: an admin makes one with `roles give`.")
        platform = self._platforms[spot.platform]
        unnamed = (await self._engine.chats.senders.behaviour(caller.met)).anonymous
        said = await platform.read_thread(spot)
        text = pressed.details.get("text", "").strip()
        if not said or not text:
            raise InvalidInput("This message has no words to save.", field="message")
        name = await self._engine.chats.save_answer(
            caller,
            question=said[0][1],
            answer=text,
            by="" if unnamed else pressed.details.get("author_name", ""),
            url=pressed.details.get("url", ""),
            message_id=pressed.message_id,
            question_id=pressed.thread,
        )
        await platform.whisper(
            spot, replies.Reply(f"Saved in **{name}**: I answer from it within a minute.")
        )

    async def _ask_privately(
        self, question: str, caller: Caller, spot: Spot, pressed: Pressed
    ) -> None:
        await self._engine.chats.posts.accept(
            NewQuestion(
                platform=spot.platform,
                met=caller.met,
                surface="private",
                channel=spot.channel,
                question=question,
                thread=spot.thread,
                key=f"private:{pressed.key}" if pressed.key else "",
                details={"details": dict(spot.details)},
            )
        )
        self._wake()


def _spot(payload: Mapping[str, Any], met: Met) -> Spot:
    """Where an errand's outcome is said."""
    if "said" in payload:
        said = Said(**payload["said"])
        return Spot(
            said.platform,
            said.workspace,
            said.channel,
            said.person,
            met,
            is_direct=said.place == "direct",
            details=said.details,
        )
    if "pressed" in payload:
        pressed = Pressed(**payload["pressed"])
        return Spot(
            pressed.platform,
            pressed.workspace,
            pressed.channel,
            pressed.person,
            met,
            thread=pressed.thread,
            message_id=pressed.message_id,
            is_direct=pressed.place == "direct",
            details=pressed.details,
        )
    if "joined" in payload:
        joined = Joined(**payload["joined"])
        return Spot(joined.platform, joined.workspace, joined.channel, joined.by, met)
    inbound = payload["inbound"]
    return Spot(
        inbound["platform"],
        inbound["workspace"],
        inbound["channel"],
        inbound["author"],
        met,
        thread=inbound["thread"] or ("" if inbound["place"] == "direct" else inbound["message_id"]),
        message_id=inbound["message_id"],
        is_direct=inbound["place"] == "direct",
        details=payload.get("details") or {},
    )


_ERRANDS: Mapping[str, Callable[..., Awaitable[None]]] = {
    "command": Errands._run_said,  # noqa: SLF001 (its own table)
    "greet": Errands._greet,  # noqa: SLF001
    "nod": Errands._nod,  # noqa: SLF001
    "onboard": Errands._onboard,  # noqa: SLF001
    "press": Errands._press,  # noqa: SLF001
    "refuse": Errands._refuse,  # noqa: SLF001
    "rerun": Errands._rerun,  # noqa: SLF001
    "run": Errands._run_words,  # noqa: SLF001
    "withdraw": Errands._withdraw,  # noqa: SLF001
}
_PRESSES: Mapping[str, Press] = {
    replies.ABOUT: Errands._about,  # noqa: SLF001
    replies.BIND: Errands._bind,  # noqa: SLF001
    replies.CANCEL: Errands._cancel,  # noqa: SLF001
    replies.CONFIRM: Errands._confirm,  # noqa: SLF001
    replies.DELETE: Errands._delete,  # noqa: SLF001
    replies.HUMAN: Errands._human,  # noqa: SLF001
    replies.KEEP: Errands._nothing,  # noqa: SLF001
    replies.MENTION: Errands._mention,  # noqa: SLF001
    replies.MORE: Errands._more,  # noqa: SLF001
    replies.RATE_DOWN: Errands._rate,  # noqa: SLF001
    replies.RATE_UP: Errands._rate,  # noqa: SLF001
    replies.REASON: Errands._reason,  # noqa: SLF001
    replies.RERUN: Errands._again,  # noqa: SLF001
    replies.RESOLVED: Errands._resolved,  # noqa: SLF001
    replies.SAVE: Errands._save,  # noqa: SLF001
    replies.SHARE: Errands._share,  # noqa: SLF001
    replies.SIMILAR: Errands._similar,  # noqa: SLF001
    replies.SUMMARISE: Errands._summarise,  # noqa: SLF001
}
