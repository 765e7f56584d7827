"""The answer worker: claims the bots' jobs, and ends each with a reply or the reason for none.

One process runs one answer worker for all of its platforms; several processes share the work by
leases, as workers do. A job that is taken over continues in the message that is already shown, and
an answer that exists is shown again rather than asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bots import narrowed, replies
from bots.interactions import Interactions
from bots.keepalive import with_keepalive
from bots.phrases import language_of, speak, t
from bots.platform import Platform, ReplyTarget, StreamingReply, Undelivered
from bots.presenting import (
    BY_BOT,
    FORWARDED,
    LOCALE,
    LONGER,
    UNREAD,
    SilentReply,
    show,
    show_passages,
    target_of,
)
from bots.publishing import (
    FOR_CHANNEL,
    PREVIEWED,
    SHARED_BY,
    channel_of,
    fingerprint,
    preview_of_answer,
    shared_answer,
)
from engine import clock
from engine.access import gate
from engine.access.principals import FRESH
from engine.chats.behaviour import Behaviour
from engine.chats.callers import Caller
from engine.chats.post_rows import PostInfo, PostState, answer_kind, interaction_kind
from engine.clock import new_id
from engine.domain import Answer, Answered, Audience, Delta, JobState, Searching
from engine.engine import Engine
from engine.errors import (
    CreditsExhausted,
    EngineError,
    Forbidden,
    InvalidInput,
    LeaseLost,
    NotFound,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from engine.jobs import claims, endings, leases
from engine.jobs.leases import ClaimedJob

log = logging.getLogger(__name__)

_BETWEEN_US = (
    CreditsExhausted,
    Forbidden,
    InvalidInput,
    NotFound,
    RateLimited,
    Unauthenticated,
)
POLL_S = 0.5  # how soon work that another process took on is noticed
RENEW_S = 1.0
STOP_GRACE_S = 4.0
INTERACTIONS_AT_ONCE = 8  # commands and buttons don't wait behind answers
RETRY_FIRST_S = 2.0


@dataclass(slots=True)
class _BotJob:
    job: ClaimedJob
    task: asyncio.Task[None]
    stopped: bool = False  # the worker closes: give the job back


@dataclass(frozen=True, slots=True)
class _Case:
    """A question, with all that answering it takes."""

    job: ClaimedJob
    post: PostInfo
    target: ReplyTarget
    platform: Platform
    caller: Caller
    behaviour: Behaviour
    audience: Audience
    note: str = ""


@dataclass(slots=True)
class _BotSlots:
    answers: int
    interactions: int = INTERACTIONS_AT_ONCE
    running: dict[str, _BotJob] = field(default_factory=dict)

    def free(self, *, answers: bool) -> int:
        busy = sum(_is_answer(item.job) is answers for item in self.running.values())
        return (self.answers if answers else self.interactions) - busy


def _is_answer(job: ClaimedJob) -> bool:
    return job.kind.startswith("answer:")


class AnswerWorker:
    """Answers and interactions for the workspaces of `platforms`, by name."""

    def __init__(self, engine: Engine, platforms: Mapping[str, Platform]) -> None:
        self.id = f"bot-{socket.gethostname()}-{os.getpid()}-{new_id()[-6:]}"
        self._engine = engine
        self._platforms = dict(platforms)
        self._interactions = Interactions(engine, self._platforms, self.wake)
        self._slots = _BotSlots(engine.settings.bots.answers_at_once)
        self._lease_s = engine.settings.jobs.lease_s
        self._work = asyncio.Event()
        self._signs: set[asyncio.Task[None]] = set()

    def serve(self, platform: Platform) -> None:
        """Work for one more platform from now on."""
        self._platforms[platform.name] = platform
        self.wake()

    def leave(self, platform: Platform) -> None:
        """Take nothing more on for a platform."""
        self._platforms.pop(platform.name, None)

    def wake(self) -> None:
        """There is work."""
        self._work.set()

    def show_seen(self, target: ReplyTarget, *, ahead: int) -> None:
        """Show that a question was received, as a background task that may fail."""
        task = asyncio.create_task(self._show_seen(target, ahead))
        self._signs.add(task)
        task.add_done_callback(self._signs.discard)

    async def _show_seen(self, target: ReplyTarget, ahead: int) -> None:
        with contextlib.suppress(Undelivered, EngineError):
            waits = max(0, ahead - self._slots.answers + 1)
            await self._platforms[target.platform].show_seen(target, ahead=waits)

    # The loop

    async def run(self, stop: asyncio.Event, *, until_idle: bool = False) -> None:
        """Work until `stop` is set, or with `until_idle` until nothing is left to claim."""
        renewing = asyncio.create_task(self._keep_leases())
        try:
            while not stop.is_set():
                self._work.clear()
                claimed = await self._claim()
                # A job that ended while it looked may have left another.
                idle = not (claimed or self._slots.running or self._work.is_set())
                if until_idle and idle:
                    break
                if not claimed:
                    await self._pause(stop)
        finally:
            await self._close()
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing

    async def _pause(self, stop: asyncio.Event) -> None:
        """Until there is work, a job has ended, `stop` is set, or it is time to look again."""
        waits = [asyncio.create_task(self._work.wait()), asyncio.create_task(stop.wait())]
        try:
            await asyncio.wait(waits, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _claim(self) -> bool:
        some = False
        for answers in (True, False):
            kinds = [
                (answer_kind if answers else interaction_kind)(name) for name in self._platforms
            ]
            free = self._slots.free(answers=answers)
            if free <= 0 or not kinds:
                continue
            try:
                found = await claims.claim(
                    self._engine.db, self.id, kinds=kinds, lease_s=self._lease_s, limit=free
                )
            except Unavailable as error:
                log.warning("no job could be claimed: %s", error)
                return False
            for job in found:
                some = True
                task = asyncio.create_task(self._see_through(job))
                self._slots.running[job.id] = _BotJob(job, task)
        return some

    async def _keep_leases(self) -> None:
        while True:
            held = list(self._slots.running.values())
            try:
                lost = await leases.renew_all(
                    self._engine.db, [item.job for item in held], lease_s=self._lease_s
                )
            except Unavailable as error:
                log.warning("leases were not renewed: %s", error)
                lost = set()
            for item in held:
                if item.job.id in lost:
                    item.task.cancel()
            await asyncio.sleep(min(self._lease_s / 3, RENEW_S))

    async def _close(self) -> None:
        running = list(self._slots.running.values())
        for item in running:
            item.stopped = True
            item.task.cancel()
        tasks = [item.task for item in running] + list(self._signs)
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_GRACE_S)

    async def _see_through(self, job: ClaimedJob) -> None:
        """Run one job to its end, and record the outcome in its row."""
        try:
            if _is_answer(job):
                await self._answer(job)
            else:
                await self._interactions.run(job)
        except asyncio.CancelledError:
            await self._settle_cancelled(job)
        except Undelivered as error:
            log.warning("a reply was not delivered: %s", error)
            await self._give_back(job, str(error), error.retry_in_s)
        except LeaseLost as error:
            log.info("%s", error)
        except Unavailable as error:
            log.warning("a job has to wait: %s", error)
            await self._give_back(job, str(error), error.retry_after_s or RETRY_FIRST_S)
        except Exception:  # the error boundary of a job
            log.exception("job %s (%s) failed", job.id, job.kind)
            await self._give_back(job, "An unexpected error stopped it.", RETRY_FIRST_S)
        finally:
            self._slots.running.pop(job.id, None)
            self.wake()

    async def _settle_cancelled(self, job: ClaimedJob) -> None:
        running = self._slots.running.get(job.id)

        with contextlib.suppress(EngineError):
            if running is not None and running.stopped:
                await self._engine.db.run_write(lambda session: endings.release(session, job))
            else:
                await self._engine.db.run_write(
                    lambda session: endings.finish(session, job, state=JobState.CANCELLED)
                )

    async def _give_back(self, job: ClaimedJob, error: str, retry_in_s: float | None) -> None:
        try:
            await self._engine.db.run_write(
                lambda session: endings.fail(
                    session,
                    job,
                    error,
                    retry=retry_in_s is not None,
                    # A platform's Retry-After is obeyed; without one, later from time to time.
                    retry_in_s=retry_in_s,
                )
            )
        except EngineError as lost:
            log.info("%s", lost)

    # One answer

    async def _answer(self, job: ClaimedJob) -> None:
        chat = self._engine.chats
        post = await chat.posts.get(job.tenant_id, job.payload["post_id"])
        if post.state in {PostState.ENDED, PostState.SILENT, PostState.WITHDRAWN, PostState.FAILED}:
            await chat.posts.end(post, post.state, job=job)
            return
        platform = self._platforms[post.platform]
        target = target_of(post, job)
        speak(await language_of(post.question) or target.details.get(LOCALE, ""))
        is_private = post.surface == "private"
        streaming: StreamingReply = SilentReply(platform, target, private=is_private)
        if post.addressed:
            again = job.attempt > 1 or job.lost > 0
            streaming = platform.open_streaming_reply(post, target, again=again)
        try:
            case = await self._open_case(job, post, target, platform)
            reply = await self._reply(case, streaming)
        except asyncio.CancelledError:
            running = self._slots.running.get(job.id)
            if running is None or not running.stopped:
                with contextlib.suppress(Undelivered):
                    await streaming.abandon()
            raise
        except (Undelivered, LeaseLost):
            raise
        except Exception as error:  # noqa: BLE001 (the person who asked gets a reason)
            await self._apologise(job, post, platform, streaming, error)
            return
        if reply is None:
            await chat.posts.end(post, PostState.SILENT, job=job)
            return
        try:
            message_id = await streaming.finish(reply)
        except Undelivered as trouble:
            if trouble.retry_in_s is not None or SHARED_BY not in target.details:
                raise
            # Who shares it is waiting for it to appear, and may not know that the bot isn't there.
            await platform.whisper(target, replies.unreachable())
            await chat.posts.end(post, PostState.FAILED, job=job)
            return
        await chat.posts.end(post, PostState.ENDED, job=job, message_id=message_id)

    async def _open_case(
        self, job: ClaimedJob, post: PostInfo, target: ReplyTarget, platform: Platform
    ) -> _Case:
        chat = self._engine.chats
        await platform.learn(target)
        if job.attempt == 1 and SHARED_BY not in target.details:  # it was a question before
            await chat.question_limits.spend(post.sender, post.channel)
        caller = await chat.senders.caller(post.sender)
        if job.attempt == 1:
            await self._engine.quotas.take_request(caller.principal)
        behaviour = await chat.senders.behaviour(post.sender)
        if behaviour.language:
            speak(behaviour.language)
        for_channel = FOR_CHANNEL in target.details
        audience = await chat.senders.audience(caller, "channel" if for_channel else post.surface)
        if BY_BOT in target.details:  # it asks for the channel, and reads what everyone there may
            may_read = replace(caller.principal, tokens=audience.tokens)
            caller = replace(caller, principal=may_read)
        note = ""
        if post.surface == "channel":
            channel = await chat.senders.channel(post.sender)
            synced = channel.members_synced_at if channel is not None else None
            if synced is None or synced <= clock.now() - FRESH:
                note = t(replies.UNKNOWN_AUDIENCE)
        return _Case(job, post, target, platform, caller, behaviour, audience, note)

    async def _reply(self, case: _Case, streaming: StreamingReply) -> replies.Reply | None:
        """The reply to show, or None where an overheard question is better left alone."""
        if SHARED_BY in case.target.details:
            return await self._shared(case)
        turn_id = case.target.details.get(LONGER, "")
        answer = await self._stored(case)
        try:
            answer = answer or await self._new(case, streaming)
        except (Unavailable, TimeoutError) as error:
            if not turn_id:
                raise
            log.info("no more detail was written: %s", error)
            return await self._passages(case, turn_id)
        if FOR_CHANNEL in case.target.details:
            return await self._preview(case, answer)
        sure = answer.grounded and answer.has_sources
        if not case.post.addressed and (
            not sure or answer.confidence * 100 < case.behaviour.threshold
        ):
            return None
        shown = await show(self._engine, case.caller, case.audience, case.post, answer)
        reply = replies.answered(shown, now=clock.now(), detailed=bool(turn_id))
        if case.post.surface == "channel" and (place := await self._place(case)):
            reply = narrowed.with_reasons(reply, shown, place)
        if case.post.addressed and not turn_id:
            reply = replies.with_live(reply, await self._live(case))
        if files := case.target.details.get(UNREAD):
            reply = replace(reply, note=f"{replies.unread(files)} {reply.note}".strip())
        if case.note:
            reply = replace(reply, note=" ".join(filter(None, [case.note, reply.note])))
        return reply

    async def _place(self, case: _Case) -> narrowed.NarrowedChannel | None:
        narrowing = await self._engine.chats.senders.narrowing(case.post.sender)
        if narrowing is None:
            return None
        return narrowed.NarrowedChannel(narrowing, case.platform.command, case.behaviour.anonymous)

    async def _shared(self, case: _Case) -> replies.Reply:
        """A private answer for its channel, word for word as it was previewed, or a refusal."""
        by = case.target.details[SHARED_BY]
        reply = await shared_answer(self._engine, case.caller, case.audience, case.post, by)
        channel = await channel_of(self._engine, case.post)
        if fingerprint(reply, channel) != case.target.details.get(PREVIEWED):
            raise InvalidInput(replies.not_shared(channel), field="channel")
        return reply

    async def _preview(self, case: _Case, answer: Answer) -> replies.Reply:
        """What a channel may be told, for the person who asked to share a private answer with it."""
        if not answer.has_sources:
            channel = await channel_of(self._engine, case.post)
            raise InvalidInput(replies.not_shared(channel), field="channel")
        post = replace(case.post, turn_id=answer.turn_id)
        return await preview_of_answer(
            self._engine, case.caller, case.audience, post, asked_again=True
        )

    async def _new(self, case: _Case, streaming: StreamingReply) -> Answer:
        """An answer that everyone who will see it may see, noted on the post."""
        chat = self._engine.chats
        answer = await self._ask(case, streaming)
        if not await chat.posts.may_be_shown(case.caller, case.audience, answer):
            # A source was removed, or closed to someone, while it was written.
            answer = await self._ask(case, SilentReply(case.platform, case.target))
            if not await chat.posts.may_be_shown(case.caller, case.audience, answer):
                raise Unavailable("the sources of an answer changed while it was written")
        if answer.turn_id:
            await chat.posts.note_turn(case.post, answer.turn_id)
        return answer

    async def _passages(self, case: _Case, turn_id: str) -> replies.Reply:
        """More detail without a model's help."""
        given = await self._engine.chats.posts.stored_answer(case.caller, case.audience, turn_id)
        return await show_passages(self._engine, case.caller, case.audience, case.post, given)

    async def _live(self, case: _Case) -> list[replies.SourceLine]:
        """What the platform's own search finds, for eyes that may see it; nothing if it fails."""
        sender = case.post.sender
        members = gate.workspace_token(sender.workspace_id) in case.audience.tokens
        if case.post.surface == "channel" and not members:
            return []
        try:
            found = await case.platform.search_live(
                case.target, case.post.question, all_are_members=members
            )
        except Undelivered as trouble:
            log.warning("the platform's own search did not answer: %s", trouble)
            return []
        if case.behaviour.anonymous:
            return [replace(source, detail="") for source in found]
        return found

    async def _stored(self, case: _Case) -> Answer | None:
        """The answer an earlier attempt came to, if it may still be shown."""
        if case.post.turn_id is None:
            return None
        try:
            return await self._engine.chats.posts.stored_answer(
                case.caller, case.audience, case.post.turn_id
            )
        except NotFound:
            return None

    async def _ask(self, case: _Case, streaming: StreamingReply) -> Answer:
        chat = self._engine.chats
        turn_id = case.target.details.get(LONGER, "")
        if turn_id:
            events = chat.elaborate(case.caller, case.audience, case.post, turn_id, case.behaviour)
        else:
            context = case.target.details.get(FORWARDED, "")
            events = chat.ask(
                case.caller, case.audience, case.post, case.behaviour, context=context
            )
        try:
            async with with_keepalive(streaming) as shown:
                async for event in events:
                    match event:
                        case Searching(query):
                            await shown.step(f"Searching for “{replies.one_line(query)[:80]}”")
                        case Delta(text):
                            await shown.grow(text)
                        case Answered(answer):
                            return answer
        except NotFound as error:
            if case.behaviour.kb and not turn_id:
                place = await self._place(case) if case.post.surface == "channel" else None
                said = narrowed.not_open(place) if place else t(replies.KB_NOT_YOURS)
                raise NotFound(said) from error
            raise
        raise Unavailable("the answer ended before it was complete")

    async def _apologise(
        self,
        job: ClaimedJob,
        post: PostInfo,
        platform: Platform,
        streaming: StreamingReply,
        error: Exception,
    ) -> None:
        incident = new_id()[-8:]
        if isinstance(error, RateLimited):
            log.info("a question was over the limit")
        else:
            log.error(
                "a question was not answered, incident %s",
                incident,
                exc_info=None if isinstance(error, EngineError) else error,
                extra={"reason": str(error) if isinstance(error, EngineError) else ""},
            )
        message_id = None
        if post.addressed:
            reply = replies.apology(error, incident, platform.command)
            if isinstance(error, _BETWEEN_US) and post.surface == "channel":
                # What someone may not do, or not yet, is between the bot and them.
                if isinstance(error, NotFound):
                    reply = narrowed.or_privately(reply, post)
                await platform.whisper(target_of(post, job), reply)
                await streaming.abandon()
            else:
                message_id = await streaming.finish(reply)
        await self._engine.chats.posts.end(post, PostState.FAILED, job=job, message_id=message_id)
