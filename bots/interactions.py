"""Everything a bot does except answering: commands, buttons, shortcuts, greetings.

Each interaction is a job, so that a press is never lost, and is done once however often it is
delivered. The engine checks what a command may do; here it is confirmed where it deletes something.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bots import replies
from bots.conversation import Pressed
from bots.phrases import language_of, speak
from bots.platform import Platform, ReplyTarget, Undelivered
from bots.presenting import LOCALE, LONGER, show_passages, target_of, target_of_payload
from bots.publishing import (
    FOR_CHANNEL,
    PREVIEWED,
    SHARED_BY,
    channel_of,
    fingerprint,
    preview_of_answer,
    shared_answer,
    split_value,
)
from engine.answers import clarifying
from engine.chats.callers import Caller
from engine.chats.chats import SourceLink
from engine.chats.feedback import REASONS
from engine.chats.post_rows import NewQuestion, PostInfo, PostState, finish_interaction, sender_of
from engine.clock import new_id
from engine.commands import runner
from engine.commands.everyone import unknown
from engine.commands.table import Effect, Parsed, UnknownCommand, parse
from engine.domain import Audience, SearchResult
from engine.engine import Engine
from engine.errors import EngineError, Forbidden, InvalidInput, LeaseLost, NotFound
from engine.jobs.leases import ClaimedJob

log = logging.getLogger(__name__)

THREAD_CHARS = 12_000  # of a thread that is saved

Press = Callable[["Interactions", Pressed, Caller, ReplyTarget], Awaitable[None]]


class Interactions:
    """Runs the bots' jobs that are not answers. `wake` wakes the worker for a new question."""

    def __init__(
        self, engine: Engine, platforms: Mapping[str, Platform], wake: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._platforms = platforms
        self._wake = wake

    async def run(self, job: ClaimedJob) -> None:
        """Run one interaction and finish its job; an error is shown to the person who acted."""
        sender = sender_of(job)
        payload = job.payload
        target = target_of_payload(payload, sender)
        platform = self._platforms[target.platform]
        said = str((payload.get("inbound") or {}).get("text") or "")
        speak(await language_of(said) or target.details.get(LOCALE, ""))
        try:
            await _INTERACTIONS[payload["do"]](self, payload, target, platform)
        except LeaseLost:
            raise
        except Undelivered as trouble:
            if trouble.retry_in_s is not None:
                raise
            log.warning("a reply could not be sent: %s", trouble)
            with suppress(Undelivered):  # where a private reply still reaches them
                await platform.whisper(target, replies.unreachable())
        except Exception as error:
            incident = new_id()[-8:]
            if not isinstance(error, EngineError):
                log.exception("an interaction failed, incident %s", incident)
            await platform.whisper(target, replies.apology(error, incident, platform.command))
        await self._engine.db.run_write(lambda session: finish_interaction(session, job))

    # Messages

    async def _greet(self, _: Mapping[str, Any], target: ReplyTarget, platform: Platform) -> None:
        await platform.say(target, replies.greeting(platform.command))

    async def _nod(self, _: Mapping[str, Any], target: ReplyTarget, platform: Platform) -> None:
        await platform.nod(target, target.message_id)

    async def _refuse(
        self, payload: Mapping[str, Any], target: ReplyTarget, platform: Platform
    ) -> None:
        refused = replies.refused(payload["why"], platform.command, payload.get("files", ""))
        await platform.whisper(target, refused)

    async def _onboard(
        self, payload: Mapping[str, Any], target: ReplyTarget, platform: Platform
    ) -> None:
        del payload
        await platform.learn(target)
        await platform.say(target, replies.onboarding(platform.command))

    async def _withdraw(
        self, _: Mapping[str, Any], target: ReplyTarget, platform: Platform
    ) -> None:
        chat = self._engine.chats
        for post in await chat.posts.answers_to(target.sender, target.channel, target.message_id):
            await chat.posts.withdraw(post, forget=True)
            if post.message_id and post.surface != "private":
                await platform.remove(target_of(post), post.message_id)

    async def _rerun(
        self, payload: Mapping[str, Any], target: ReplyTarget, platform: Platform
    ) -> None:
        posts = await self._engine.chats.posts.answers_to(
            target.sender, target.channel, target.message_id
        )
        live = [post for post in posts if post.state is not PostState.WITHDRAWN]
        if not live or live[0].question == payload["question"]:
            return
        key = f"{target.sender.tenant_id}:edited:{live[0].id}"
        await self._engine.limits.put(key, payload["question"].encode(), ttl_s=3600)
        await platform.whisper(target, replies.rerun(live[0]))

    # Commands

    async def _run_words(
        self, payload: Mapping[str, Any], target: ReplyTarget, platform: Platform
    ) -> None:
        await self._command(payload["line"], target, platform)

    async def _run_said(
        self, payload: Mapping[str, Any], target: ReplyTarget, platform: Platform
    ) -> None:
        await self._command(payload["said"]["line"], target, platform)

    async def _command(self, line: str, target: ReplyTarget, platform: Platform) -> None:
        await platform.learn(target)
        caller = await self._engine.chats.senders.caller(target.sender)
        try:
            parsed = parse(line)
        except UnknownCommand as error:
            reply = replies.from_command(unknown(caller, error.said, line))
            await platform.whisper(target, reply)
            return
        runner.require(caller, parsed.command)
        if parsed.command.effect is Effect.DESTROYS:
            confirm_id = await self._engine.chats.confirmations.ask(caller, line)
            await platform.whisper(target, replies.confirm(parsed.command, line, confirm_id))
            return
        await platform.whisper(target, await self._result(caller, parsed, target))

    async def _result(
        self, caller: Caller, parsed: Parsed, target: ReplyTarget | None = None
    ) -> replies.Reply:
        """What a command has done or found; `target` where an announcement of it goes."""
        result = await runner.run(self._engine, caller, parsed)
        if result.announcement and target is not None and not target.is_direct:
            await self._platforms[target.platform].say(
                replace(target, thread=""), replies.Reply(result.announcement)
            )
        if target is not None and parsed.command.name == "health":
            rows = await self._platforms[target.platform].health(target)
            result = replace(result, rows=[*result.rows, *map(list, rows)])
        if result.found is not None:
            return replies.found(result.found, self._links(result.found))
        return replies.from_command(result)

    def _links(self, found: SearchResult) -> dict[str, SourceLink]:
        return {hit.id: self._engine.chats.source_link(hit.url, hit.id) for hit in found.hits}

    # Buttons

    async def _press(
        self, payload: Mapping[str, Any], target: ReplyTarget, platform: Platform
    ) -> None:
        del platform
        pressed = Pressed(**payload["pressed"])
        press = _PRESSES.get(pressed.action)
        if press is None:
            raise NotFound("This button no longer works.")
        caller = await self._engine.chats.senders.caller(target.sender)
        await press(self, pressed, caller, target)

    async def _post(self, pressed: Pressed, caller: Caller) -> PostInfo:
        post = await self._engine.chats.posts.get_for(
            caller.sender, pressed.value.partition(":")[0]
        )
        if post.surface != "channel" and post.sender.identity_id != caller.sender.identity_id:
            raise NotFound("This answer no longer exists.")
        if not pressed.details.get(LOCALE):
            speak(await language_of(post.question))
        return post

    async def _shown_post(self, pressed: Pressed, caller: Caller) -> PostInfo:
        """A post whose question and reply nobody has deleted: more may be done with it."""
        post = await self._post(pressed, caller)
        if post.state is PostState.WITHDRAWN:
            raise NotFound("This answer no longer exists.")
        return post

    async def _open(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        """A link to a source for whoever pressed, if they may read it now."""
        del caller
        platform = self._platforms[target.platform]
        await platform.learn(target)
        try:
            title, url = await self._engine.chats.open_source(target.sender, pressed.value)
        except (InvalidInput, NotFound):
            await platform.whisper(target, replies.closed())
            return
        await platform.whisper(target, replies.opened(title, url))

    async def _rate(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        post = await self._post(pressed, caller)
        up = pressed.action == replies.RATE_UP
        await self._engine.chats.posts.rate(caller, post.id, 1 if up else -1)
        platform = self._platforms[target.platform]
        if up:
            await platform.whisper(target, replies.thanked())
        elif not pressed.details.get("form"):  # else the platform has opened a form that asks
            await platform.whisper(target, replies.rated_down(post.id))

    async def _reason(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        post = await self._post(pressed, caller)
        reason = pressed.details.get("reason") or pressed.value.partition(":")[2]
        if reason not in REASONS:
            raise InvalidInput(f"Choose one of {', '.join(REASONS)}.", field="reason")
        text = pressed.details.get("text", "")
        await self._engine.chats.posts.rate(caller, post.id, -1, reason=reason, text=text)
        await self._platforms[target.platform].whisper(target, replies.thanked())

    async def _more(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        """The answer in more detail: written by a model if there is one, else its passages."""
        chat = self._engine.chats
        post = await self._shown_post(pressed, caller)
        audience = await chat.senders.audience(replace(caller, sender=post.sender), post.surface)
        if post.turn_id is None:
            raise NotFound("This answer no longer exists.")
        answer = await chat.posts.stored_answer(caller, audience, post.turn_id)
        if self._engine.answers.writes and answer.citations:
            await self._write_more(pressed, caller, target, post)
            return
        reply = await show_passages(self._engine, caller, audience, post, answer)
        platform = self._platforms[target.platform]
        if post.surface == "private":
            await platform.whisper(target, reply)
        else:
            await platform.say(target_of(post), reply)

    async def _write_more(
        self, pressed: Pressed, caller: Caller, target: ReplyTarget, post: PostInfo
    ) -> None:
        # A message that only one person sees may be gone: they may want it again.
        again = f":{pressed.key}" if post.surface == "private" else ""
        accepted = await self._engine.chats.posts.accept(
            NewQuestion(
                platform=target.platform,
                sender=replace(caller.sender, channel_id=post.sender.channel_id),
                surface=post.surface,
                channel=post.channel,
                question=post.question,
                thread=post.thread,
                key=f"longer:{post.id}{again}",
                details={"details": {**target.details, LONGER: post.turn_id}},
            )
        )
        if not accepted.is_new:
            already = replies.Reply("More detail was already requested: see this thread.")
            await self._platforms[target.platform].whisper(target, already)
        self._wake()

    async def _choose(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        """Ask what an unclear question was said to be about, where it was asked."""
        chat = self._engine.chats
        post = await self._shown_post(pressed, caller)
        audience = await chat.senders.audience(replace(caller, sender=post.sender), post.surface)
        if post.turn_id is None:
            raise NotFound("This question no longer exists.")
        answer = await chat.posts.stored_answer(caller, audience, post.turn_id)
        number = split_value(pressed.value)[1]
        choices = dict(enumerate(clarifying.parse(answer.text), start=1))
        if not number.isdecimal() or int(number) not in choices:
            raise NotFound("This choice no longer exists.")
        await chat.posts.accept(
            NewQuestion(
                platform=target.platform,
                sender=replace(caller.sender, channel_id=post.sender.channel_id),
                surface=post.surface,
                channel=post.channel,
                question=choices[int(number)],
                thread=post.thread,
                key=f"choose:{post.id}:{number}",
                details={"details": dict(target.details)},
            )
        )
        self._wake()

    async def _human(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        """Call for help: at once about what the channel has seen, else with a preview first."""
        post = await self._shown_post(pressed, caller)
        if post.sender.channel_id is None:
            raise InvalidInput(
                "No one else can see this conversation: ask in a channel where people can help.",
                field="channel",
            )
        if post.surface == "channel":
            await self._call_for_help(post, caller, target)
        elif post.escalated_at is not None:
            await self._platforms[target.platform].whisper(target, replies.already_called())
        else:
            await self._preview_call(post, caller, target)

    async def _preview_call(self, post: PostInfo, caller: Caller, target: ReplyTarget) -> None:
        call, channel = await self._call(post, caller)
        value = f"{post.id}:{fingerprint(call, channel)}"
        shown = replies.preview(
            call, channel, replies.POST_CALL, value, calls_people=bool(call.calls)
        )
        await self._platforms[target.platform].whisper(target, shown)

    async def _post_call(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        """The yes to a call for help: it is posted if it still reads as it was previewed."""
        post = await self._shown_post(pressed, caller)
        call, channel = await self._call(post, caller)
        if split_value(pressed.value)[1] != fingerprint(call, channel):
            await self._preview_call(post, caller, target)
            return
        await self._call_for_help(post, caller, target)

    async def _call(self, post: PostInfo, caller: Caller) -> tuple[replies.Reply, str]:
        behaviour = await self._engine.chats.senders.behaviour(caller.sender)
        call = replies.escalated(post, post.question, behaviour.escalate_to)
        return call, await channel_of(self._engine, post)

    async def _call_for_help(self, post: PostInfo, caller: Caller, target: ReplyTarget) -> None:
        platform = self._platforms[target.platform]
        call, _ = await self._call(post, caller)
        if not await self._engine.chats.posts.escalate(post):
            await platform.whisper(target, replies.already_called())
            return
        try:
            await platform.say(target_of(post), call)
        except Undelivered:
            await self._engine.chats.posts.undo_escalation(post)
            raise

    async def _resolved(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        post = await self._post(pressed, caller)
        if await self._engine.chats.posts.resolve(post):
            platform = self._platforms[target.platform]
            done = replies.resolved(caller.principal.name)
            await platform.replace(target, pressed.message_id, done)

    async def _share(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        """Show what a channel would see of a private answer, to the person who may post it there.

        If not everyone there may read all of its sources, the question is asked again for what they
        may read, and that is what is shown, to the same person.
        """
        post = await self._shown_post(pressed, caller)
        audience = await self._channel_audience(post, caller)
        try:
            shown = await preview_of_answer(self._engine, caller, audience, post)
        except InvalidInput:
            await self._ask_for_channel(post, pressed, target)
            return
        await self._platforms[target.platform].whisper(target, shown)

    async def _privately(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        """Answer a question of the channel for the eyes of who pressed, from what they may read."""
        post = await self._shown_post(pressed, caller)
        await self._ask_privately(post.question, caller, target, pressed)

    async def _channel_audience(self, post: PostInfo, caller: Caller) -> Audience:
        if post.sender.channel_id is None:
            raise NotFound("There is no channel to share this with.")
        senders = self._engine.chats.senders
        return await senders.audience(replace(caller, sender=post.sender), "channel")

    async def _ask_for_channel(self, post: PostInfo, pressed: Pressed, target: ReplyTarget) -> None:
        await self._engine.chats.posts.accept(
            NewQuestion(
                platform=target.platform,
                sender=post.sender,
                surface="private",
                channel=post.channel,
                question=post.question,
                question_id=post.question_id,
                thread=post.thread,
                key=f"preview:{post.id}:{pressed.key}",
                details={"details": {**target.details, FOR_CHANNEL: "yes"}},
            )
        )
        self._wake()

    async def _post_answer(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        """The yes to a preview; the answer worker posts it if it still reads the same."""
        posts = self._engine.chats.posts
        post = await self._shown_post(pressed, caller)
        seen = split_value(pressed.value)[1]
        channel = await channel_of(self._engine, post)
        audience = await self._channel_audience(post, caller)
        by = caller.principal.name
        reply = await shared_answer(self._engine, caller, audience, post, by)
        if fingerprint(reply, channel) != seen:
            await self._share(pressed, caller, target)
            return
        details = {**target.details, SHARED_BY: by, PREVIEWED: seen}
        new = NewQuestion(
            platform=target.platform,
            sender=post.sender,
            surface="channel",
            channel=post.channel,
            question=post.question,
            question_id=post.question_id,  # deleting it deletes what was shared
            thread=post.thread,
            turn_id=post.turn_id,
            key=f"share:{post.id}",
            details={"details": details},
        )
        accepted = await posts.accept(new)
        if not accepted.is_new:
            earlier = await posts.get(caller.sender.tenant_id, accepted.post_id)
            if earlier.state is not PostState.FAILED:
                already = replies.Reply("It was posted already.")
                await self._platforms[target.platform].whisper(target, already)
                return
            await posts.accept(replace(new, key=f"share:{post.id}:{pressed.key}"))
        self._wake()

    async def _delete(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        post = await self._post(pressed, caller)
        if post.sender.identity_id != caller.sender.identity_id and not caller.is_admin:
            raise Forbidden("Only the person who asked, or an admin, can delete an answer.")
        await self._engine.chats.posts.withdraw(post)
        message_id = post.message_id or pressed.message_id
        await self._platforms[target.platform].remove(target_of(post), message_id)

    async def _again(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        """Answer an edited question, and remove the old answer."""
        post = await self._post(pressed, caller)
        if post.sender.identity_id != caller.sender.identity_id:
            raise Forbidden("Only the person who asked can have it answered again.")
        key = f"{caller.sender.tenant_id}:edited:{post.id}"
        question = await self._engine.limits.get(key)
        if question is None:
            raise NotFound("That was a while ago: ask the question again.")
        await self._engine.chats.posts.withdraw(post)
        if post.message_id and post.surface != "private":
            await self._platforms[target.platform].remove(target_of(post), post.message_id)
        await self._engine.chats.posts.accept(
            NewQuestion(
                platform=target.platform,
                sender=post.sender,
                surface=post.surface,
                channel=post.channel,
                question=question.decode(),
                question_id=post.question_id,
                thread=post.thread,
                key=f"again:{post.id}",
                details={"details": dict(target.details)},
            )
        )
        self._wake()

    async def _nothing(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        """A button that declines: nothing is done, and they are told so."""
        del pressed, caller
        await self._platforms[target.platform].whisper(target, replies.declined())

    async def _confirm(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        line = await self._engine.chats.confirmations.take(caller, pressed.value)
        reply = await self._result(caller, parse(line), target)
        await self._platforms[target.platform].whisper(target, reply)

    async def _cancel(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        await self._engine.chats.confirmations.take(caller, pressed.value)
        await self._platforms[target.platform].whisper(
            target, replies.Reply("Nothing was changed.")
        )

    async def _bind(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        """Apply the form's values, or without a form list the commands to type."""
        platform = self._platforms[target.platform]
        kb, mode = pressed.details.get("kb", ""), pressed.details.get("mode", "")
        if not kb:
            await platform.whisper(target, await self._result(caller, parse("setup")))
            return
        channel = pressed.details.get("channel") or target.channel
        said = [await self._result(caller, parse(f'bind {channel} "{kb}"'))]
        if mode:
            said.append(await self._result(caller, parse(f"mode {mode} {channel}")))
        await platform.whisper(target, replies.Reply("\n".join(reply.text for reply in said)))
        if question := pressed.details.get("question", "").strip():
            await self._ask_privately(question, caller, target, pressed)

    async def _mention(self, _: Pressed, caller: Caller, target: ReplyTarget) -> None:
        del caller
        await self._platforms[target.platform].whisper(
            target, replies.Reply("OK, I'll answer here when someone mentions me.")
        )

    # Shortcuts on a message

    async def _about(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        text = pressed.details.get("text", "").strip()
        if not text:
            raise InvalidInput("This message has no text to search for.", field="message")
        await self._ask_privately(text[:4000], caller, target, pressed)

    async def _similar(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        text = pressed.details.get("text", "").strip()
        reply = await self._result(caller, parse(f"search {text[:400]}" if text else "search"))
        await self._platforms[target.platform].whisper(target, reply)

    async def _summarise(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        del pressed
        platform = self._platforms[target.platform]
        said = await platform.read_thread(target)
        if (await self._engine.chats.senders.behaviour(caller.sender)).anonymous:
            numbers = {name: n for n, name in enumerate(dict.fromkeys(n for n, _ in said), start=1)}
            said = [(f"Person {numbers[name]}", text) for name, text in said]
        summary = await self._engine.chats.summarise(caller, said)
        await platform.whisper(target, replies.Reply(summary, note="Only you can see this."))

    async def _save(self, pressed: Pressed, caller: Caller, target: ReplyTarget) -> None:
        """Store a thread's question and the message that answers it, for its channel's readers."""
        if not caller.is_curator:
            raise Forbidden(
                "Only curators can save answers. An admin can make you one with `roles give`."
            )
        platform = self._platforms[target.platform]
        unnamed = (await self._engine.chats.senders.behaviour(caller.sender)).anonymous
        said = await platform.read_thread(target)
        text = pressed.details.get("text", "").strip()
        if not said or not text:
            raise InvalidInput("This message has no text to save.", field="message")
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
            target, replies.Reply(f"Saved in **{name}**. I can answer from it within a minute.")
        )

    async def _ask_privately(
        self, question: str, caller: Caller, target: ReplyTarget, pressed: Pressed
    ) -> None:
        await self._engine.chats.posts.accept(
            NewQuestion(
                platform=target.platform,
                sender=caller.sender,
                surface="private",
                channel=target.channel,
                question=question,
                thread=target.thread,
                key=f"private:{pressed.key}" if pressed.key else "",
                details={"details": dict(target.details)},
            )
        )
        self._wake()


_INTERACTIONS: Mapping[str, Callable[..., Awaitable[None]]] = {
    "command": Interactions._run_said,  # noqa: SLF001 (its own table)
    "greet": Interactions._greet,  # noqa: SLF001
    "nod": Interactions._nod,  # noqa: SLF001
    "onboard": Interactions._onboard,  # noqa: SLF001
    "press": Interactions._press,  # noqa: SLF001
    "refuse": Interactions._refuse,  # noqa: SLF001
    "rerun": Interactions._rerun,  # noqa: SLF001
    "run": Interactions._run_words,  # noqa: SLF001
    "withdraw": Interactions._withdraw,  # noqa: SLF001
}
_PRESSES: Mapping[str, Press] = {
    replies.ABOUT: Interactions._about,  # noqa: SLF001
    replies.BIND: Interactions._bind,  # noqa: SLF001
    replies.CANCEL: Interactions._cancel,  # noqa: SLF001
    replies.CHOOSE: Interactions._choose,  # noqa: SLF001
    replies.CONFIRM: Interactions._confirm,  # noqa: SLF001
    replies.DELETE: Interactions._delete,  # noqa: SLF001
    replies.HUMAN: Interactions._human,  # noqa: SLF001
    replies.KEEP: Interactions._nothing,  # noqa: SLF001
    replies.MENTION: Interactions._mention,  # noqa: SLF001
    replies.MORE: Interactions._more,  # noqa: SLF001
    replies.POST_ANSWER: Interactions._post_answer,  # noqa: SLF001
    replies.POST_CALL: Interactions._post_call,  # noqa: SLF001
    replies.PRIVATELY: Interactions._privately,  # noqa: SLF001
    replies.RATE_DOWN: Interactions._rate,  # noqa: SLF001
    replies.RATE_UP: Interactions._rate,  # noqa: SLF001
    replies.OPEN: Interactions._open,  # noqa: SLF001
    replies.REASON: Interactions._reason,  # noqa: SLF001
    replies.RERUN: Interactions._again,  # noqa: SLF001
    replies.RESOLVED: Interactions._resolved,  # noqa: SLF001
    replies.SAVE: Interactions._save,  # noqa: SLF001
    replies.SHARE: Interactions._share,  # noqa: SLF001
    replies.SIMILAR: Interactions._similar,  # noqa: SLF001
    replies.SUMMARISE: Interactions._summarise,  # noqa: SLF001
}
