"""The desk: claims the bots' jobs and sees each through to a reply, or to a reason why there is none.

One process runs one desk for all of its platforms; several processes share the work by leases, as
workers do. A job that is taken over goes on in the message that stands already, and an answer that
exists is shown again rather than asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bots import replies
from bots.alive import kept_alive
from bots.errands import Errands
from bots.platform import Platform, Screen, Spot, Undelivered
from bots.showing import LONGER, Silence, show, show_passages, spot_of
from engine import access, clock, jobs
from engine.clock import new_id
from engine.domain import Answer, Answered, Audience, Delta, JobState, Searching
from engine.engine import Engine
from engine.errors import EngineError, LeaseLost, NotFound, RateLimited, Unavailable
from engine.jobs import ClaimedJob
from engine.posts import PostInfo, PostState, answer_kind, errand_kind
from engine.principals import FRESH
from engine.workspaces import Behaviour, Caller

log = logging.getLogger(__name__)

POLL_S = 0.5  # how soon work that another process took on is noticed
RENEW_S = 1.0
STOP_GRACE_S = 4.0
ERRANDS_AT_ONCE = 8  # commands and buttons don't wait behind answers
RETRY_FIRST_S = 2.0


@dataclass(slots=True)
class _Running:
    job: ClaimedJob
    task: asyncio.Task[None]
    stopped: bool = False  # the desk closes: give the job back


@dataclass(frozen=True, slots=True)
class _Case:
    """An answer on its way."""

    job: ClaimedJob
    post: PostInfo
    spot: Spot
    platform: Platform
    caller: Caller
    behaviour: Behaviour
    audience: Audience
    note: str = ""


@dataclass(slots=True)
class _Slots:
    answers: int
    errands: int = ERRANDS_AT_ONCE
    running: dict[str, _Running] = field(default_factory=dict)

    def free(self, *, answers: bool) -> int:
        busy = sum(_is_answer(one.job) is answers for one in self.running.values())
        return (self.answers if answers else self.errands) - busy


def _is_answer(job: ClaimedJob) -> bool:
    return job.kind.startswith("answer:")


class Desk:
    """Answers and errands for the workspaces of `platforms`, by name."""

    def __init__(self, engine: Engine, platforms: Mapping[str, Platform]) -> None:
        self.id = f"bot-{socket.gethostname()}-{os.getpid()}-{new_id()[-6:]}"
        self._engine = engine
        self._platforms = dict(platforms)
        self._errands = Errands(engine, self._platforms, self.wake)
        self._slots = _Slots(engine.settings.bots.answers_at_once)
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

    def show_seen(self, spot: Spot, *, ahead: int) -> None:
        """Give a question's first sign, beside everything else; that it fails is no matter."""
        task = asyncio.create_task(self._show_seen(spot, ahead))
        self._signs.add(task)
        task.add_done_callback(self._signs.discard)

    async def _show_seen(self, spot: Spot, ahead: int) -> None:
        with contextlib.suppress(Undelivered, EngineError):
            waits = max(0, ahead - self._slots.answers + 1)
            await self._platforms[spot.platform].show_seen(spot, ahead=waits)

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
            kinds = [(answer_kind if answers else errand_kind)(name) for name in self._platforms]
            free = self._slots.free(answers=answers)
            if free <= 0 or not kinds:
                continue
            try:
                found = await jobs.claim(
                    self._engine.db, self.id, kinds=kinds, lease_s=self._lease_s, limit=free
                )
            except Unavailable as error:
                log.warning("no job could be claimed: %s", error)
                return False
            for job in found:
                some = True
                task = asyncio.create_task(self._see_through(job))
                self._slots.running[job.id] = _Running(job, task)
        return some

    async def _keep_leases(self) -> None:
        while True:
            held = list(self._slots.running.values())
            try:
                lost = await jobs.renew_all(
                    self._engine.db, [one.job for one in held], lease_s=self._lease_s
                )
            except Unavailable as error:
                log.warning("leases were not renewed: %s", error)
                lost = set()
            for one in held:
                if one.job.id in lost:
                    one.task.cancel()
            await asyncio.sleep(min(self._lease_s / 3, RENEW_S))

    async def _close(self) -> None:
        running = list(self._slots.running.values())
        for one in running:
            one.stopped = True
            one.task.cancel()
        tasks = [one.task for one in running] + list(self._signs)
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_GRACE_S)

    async def _see_through(self, job: ClaimedJob) -> None:
        """One job to its end; whatever happens, its row says so."""
        try:
            if _is_answer(job):
                await self._answer(job)
            else:
                await self._errands.run(job)
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
        except Exception:  # the rim of a job
            log.exception("job %s (%s) failed", job.id, job.kind)
            await self._give_back(job, "An unexpected error stopped it.", RETRY_FIRST_S)
        finally:
            self._slots.running.pop(job.id, None)
            self.wake()

    async def _settle_cancelled(self, job: ClaimedJob) -> None:
        running = self._slots.running.get(job.id)

        with contextlib.suppress(EngineError):
            if running is not None and running.stopped:
                await self._engine.db.run_write(lambda session: jobs.release(session, job))
            else:
                await self._engine.db.run_write(
                    lambda session: jobs.finish(session, job, state=JobState.CANCELLED)
                )

    async def _give_back(self, job: ClaimedJob, error: str, retry_in_s: float | None) -> None:
        try:
            await self._engine.db.run_write(
                lambda session: jobs.fail(
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
        chat = self._engine.chat
        post = await chat.post(job.tenant_id, job.payload["post_id"])
        if post.state in {PostState.ENDED, PostState.SILENT, PostState.WITHDRAWN, PostState.FAILED}:
            await chat.end_post(post.id, post.state, job=job)
            return
        platform = self._platforms[post.platform]
        spot = spot_of(post, job)
        screen: Screen = Silence(platform, spot)
        if post.addressed:
            again = job.attempt > 1 or job.lost > 0
            screen = platform.open_screen(post, spot, again=again)
        try:
            case = await self._open_case(job, post, spot, platform)
            reply = await self._reply(case, screen)
        except asyncio.CancelledError:
            running = self._slots.running.get(job.id)
            if running is None or not running.stopped:
                with contextlib.suppress(Undelivered):
                    await screen.abandon()
            raise
        except (Undelivered, LeaseLost):
            raise
        except Exception as error:  # noqa: BLE001 (whoever asked gets a reason)
            await self._apologise(job, post, platform, screen, error)
            return
        if reply is None:
            await chat.end_post(post.id, PostState.SILENT, job=job)
            return
        message_id = await screen.finish(reply)
        await chat.end_post(post.id, PostState.ENDED, job=job, message_id=message_id)

    async def _open_case(
        self, job: ClaimedJob, post: PostInfo, spot: Spot, platform: Platform
    ) -> _Case:
        chat = self._engine.chat
        await platform.learn(spot)
        if job.attempt == 1:
            await chat.spend_question(post.met, post.channel)
        caller = await chat.caller(post.met)
        behaviour = await chat.behaviour(post.met)
        audience = await chat.audience(caller, post.surface)
        note = ""
        if post.surface == "channel":
            channel = await chat.channel(post.met)
            synced = channel.members_synced_at if channel is not None else None
            if synced is None or synced <= clock.now() - FRESH:
                note = replies.UNKNOWN_AUDIENCE
        return _Case(job, post, spot, platform, caller, behaviour, audience, note)

    async def _reply(self, case: _Case, screen: Screen) -> replies.Reply | None:
        """The reply to show, or None where an overheard question is better left alone."""
        turn_id = case.spot.details.get(LONGER, "")
        answer = await self._stored(case)
        try:
            answer = answer or await self._new(case, screen)
        except (Unavailable, TimeoutError) as error:
            if not turn_id:
                raise
            log.info("no more detail was written: %s", error)
            return await self._passages(case, turn_id)
        sure = answer.grounded and bool(answer.citations)
        if not case.post.addressed and (
            not sure or answer.confidence * 100 < case.behaviour.threshold
        ):
            return None
        shown = await show(self._engine, case.caller, case.audience, case.post, answer)
        reply = replies.answered(shown, now=clock.now(), detailed=bool(turn_id))
        if case.post.addressed and not turn_id:
            reply = replies.with_live(reply, await self._live(case))
        if by := case.spot.details.get("shared_by"):
            reply = replies.shared(reply, case.post.question, by)
        if case.note:
            reply = replace(reply, note=" ".join(filter(None, [case.note, reply.note])))
        return reply

    async def _new(self, case: _Case, screen: Screen) -> Answer:
        """An answer that everyone who will see it may see, noted on the post."""
        chat = self._engine.chat
        answer = await self._ask(case, screen)
        if not await chat.may_be_shown(case.caller, case.audience, answer):
            # A source went away, or was closed to somebody, while it was written.
            answer = await self._ask(case, Silence(case.platform, case.spot))
            if not await chat.may_be_shown(case.caller, case.audience, answer):
                raise Unavailable("the sources of an answer changed while it was written")
        if answer.turn_id:
            await chat.note_turn(case.post.id, answer.turn_id)
        return answer

    async def _passages(self, case: _Case, turn_id: str) -> replies.Reply:
        """More detail without a model's help."""
        given = await self._engine.chat.stored_answer(case.caller, case.audience, turn_id)
        return await show_passages(self._engine, case.caller, case.audience, case.post, given)

    async def _live(self, case: _Case) -> list[replies.Source]:
        """What the platform's own search finds, for eyes that may see it; nothing if it fails."""
        met = case.post.met
        members = access.workspace_token(met.workspace_id) in case.audience.tokens
        if case.post.surface == "channel" and not members:
            return []
        try:
            found = await case.platform.search_live(
                case.spot, case.post.question, all_are_members=members
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
            return await self._engine.chat.stored_answer(
                case.caller, case.audience, case.post.turn_id
            )
        except NotFound:
            return None

    async def _ask(self, case: _Case, screen: Screen) -> Answer:
        chat = self._engine.chat
        asked = False
        turn_id = case.spot.details.get(LONGER, "")
        if turn_id:
            events = chat.elaborate(case.caller, case.audience, case.post, turn_id, case.behaviour)
        else:
            events = chat.ask(case.caller, case.audience, case.post, case.behaviour)
        try:
            async with kept_alive(screen) as shown:
                async for event in events:
                    asked = True
                    match event:
                        case Searching(query):
                            await shown.step(f"Searching for “{replies.one_line(query)[:80]}”")
                        case Delta(text):
                            await shown.grow(text)
                        case Answered(answer):
                            return answer
        except NotFound as error:
            if case.behaviour.kb and not asked and not turn_id:
                raise NotFound(replies.KB_NOT_YOURS) from error
            raise
        raise Unavailable("the answer ended before it was complete")

    async def _apologise(
        self,
        job: ClaimedJob,
        post: PostInfo,
        platform: Platform,
        screen: Screen,
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
            if isinstance(error, RateLimited) and post.surface == "channel":
                # A limit is between the bot and who reached it.
                await platform.whisper(spot_of(post, job), reply)
                await screen.abandon()
            else:
                message_id = await screen.finish(reply)
        await self._engine.chat.end_post(post.id, PostState.FAILED, job=job, message_id=message_id)
