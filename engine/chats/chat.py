"""The verbs of the chat bots: what a bot does with a message, each in one short transaction.

`Engine.chat` is a `Chat`. It knows no platform: ids of messages and channels are the platform's
own words, kept as they came. Who sees an answer is decided here, from where it will stand.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.answers.answer_languages import name_of
from engine.answers.conversations import open_conversation
from engine.answers.summaries import summarise
from engine.chats import arrivals, posts, workspaces
from engine.chats.arrivals import Arrival, Arriving, Take
from engine.chats.forgetting import SAVED, saved_key
from engine.chats.posts import Accepted, NewQuestion, PostInfo, PostState, SourceFacts, Surface
from engine.chats.workspaces import (
    Behaviour,
    Caller,
    ChannelInfo,
    Installed,
    Met,
    NewInstallation,
    Person,
    Sighting,
    Stale,
)
from engine.commands import administration
from engine.db.tables import Tenant
from engine.documents import knowledge_bases
from engine.documents.documents import NewDocument
from engine.documents.knowledge_bases import KbInfo
from engine.domain import Answer, AnswerEvent, Audience, Citation, Principal, Role, Scope
from engine.errors import NotFound, RateLimited, Unauthenticated
from engine.jobs.claims import ClaimedJob
from engine.search.links import is_web_address
from engine.search.pages import Page

if TYPE_CHECKING:
    from engine.commands.administration import Told
    from engine.commands.table import Parsed
    from engine.engine import Engine

WINDOW_S = 300.0  # of the limits on questions
CONFIRM_S = 60.0  # how long a confirmation waits for its button
LINK_LIFE = timedelta(days=7)  # of a link to the viewer
KEY_LIFE = timedelta(hours=1)  # of a key that connects a workspace


class Chat:
    """What the bots ask of the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._db = engine.db
        # Channels that were kept when last looked at: there a message is likely written, so it is
        # not looked at first. What is true is asked in its transaction.
        self._kept: set[tuple[str, str, str]] = set()

    # Installations

    async def install(self, tenant_id: str, new: NewInstallation) -> str:
        """Keep an installation, and bind its workspace to the tenant; its id."""
        secrets = self._engine.secrets
        return await self._db.run_write(
            lambda session: workspaces.install(session, secrets, tenant_id, new)
        )

    async def bind_workspace(self, tenant_id: str, platform: str, team_id: str, name: str) -> str:
        """A workspace without an installation: the terminal's, or that of a token in the settings."""
        return await self._db.run_write(
            lambda session: workspaces.bind_workspace(session, tenant_id, platform, team_id, name)
        )

    async def find_installation(
        self, platform: str, *, team_id: str, enterprise_id: str = ""
    ) -> Installed:
        """The installation that speaks in a team; `NotFound` where there is none."""
        async with self._db.read() as session:
            return await workspaces.find_installation(
                session,
                self._engine.secrets,
                platform,
                team_id=team_id,
                enterprise_id=enterprise_id,
            )

    async def installation_of(self, met: Met) -> Installed:
        """The installation that speaks in a workspace."""
        async with self._db.read() as session:
            return await workspaces.installation_of(
                session, self._engine.secrets, met.tenant_id, met.workspace_id
            )

    async def list_installations(self) -> list[Installed]:
        """Every installation, for the process that serves them all."""
        async with self._db.read() as session:
            return await workspaces.list_installations(session, self._engine.secrets)

    async def pause_installation(
        self, platform: str, *, team_id: str, enterprise_id: str = ""
    ) -> list[str]:
        """The bot was removed: nothing of the workspace is read from now on."""
        return await self._db.run_write(
            lambda session: workspaces.pause_installation(
                session, platform, team_id=team_id, enterprise_id=enterprise_id
            )
        )

    async def purge_due(self) -> int:
        """Delete what paused installations left, once their time is over."""
        return await self._db.run_write(workspaces.purge_due)

    def sign_install(self, principal: Principal) -> str:
        """The state of an OAuth install: whose tenant the workspace will belong to; ten minutes."""
        gate.require(principal, Scope.KB_ADMIN)
        until = clock.now() + workspaces.LINK_LIFE
        return self._engine.secrets.sign(
            "oauth-state", f"install:{principal.tenant_id}", expires_at=until
        )

    def verify_install(self, state: str) -> str:
        """The tenant of a state that `sign_install` made; `Unauthenticated` for any other."""
        kind, _, tenant_id = self._engine.secrets.verify("oauth-state", state).partition(":")
        if kind != "install":
            raise Unauthenticated("This link is not one for installing.")
        return tenant_id

    def sign_key(self, principal: Principal) -> str:
        """A key that connects one workspace to the principal's tenant, for an hour."""
        gate.require(principal, Scope.KB_ADMIN)
        payload = f"key:{principal.tenant_id}:{clock.new_id()}"
        return self._engine.secrets.sign("oauth-state", payload, expires_at=clock.now() + KEY_LIFE)

    async def redeem_key(self, key: str, workspace: str) -> str:
        """The tenant of a key that `sign_key` made, which this workspace has from now on.

        `Unauthenticated` for any other, and for one that another workspace has used.
        """
        kind, _, rest = self._engine.secrets.verify("oauth-state", key.strip()).partition(":")
        tenant_id, _, nonce = rest.partition(":")
        if kind != "key" or not nonce:
            raise Unauthenticated("This is no key for connecting a workspace.")
        lease_s = KEY_LIFE.total_seconds()
        name = f"{tenant_id}:key:{nonce}"
        if not await self._engine.limits.acquire(name, workspace, lease_s=lease_s):
            raise Unauthenticated("This key was used already: ask for a new one.")
        return tenant_id

    # Who wrote from where

    async def homes_of(self, platform: str, person: str) -> list[str]:
        """The workspaces somebody was met in, where they were met last first."""
        async with self._db.read() as session:
            return await workspaces.homes_of(session, platform, person)

    async def meet(self, seen: Sighting) -> Met:
        """The rows of who wrote, and where, made where they are new."""
        met = None
        with suppress(NotFound):  # a team of an organisation, seen for the first time
            async with self._db.read() as session:
                met = await workspaces.meet(session, seen)
        if met is not None:
            return met
        return await self._db.run_write(lambda session: workspaces.introduce(session, seen))

    async def receive(self, new: Arriving, take: Take) -> tuple[Arrival, Accepted | None]:
        """A message came: keep it where its channel is kept, and take on what `take` makes of it.

        One transaction, shared with other messages that come at the same moment; a message that
        asks nothing and is not kept is only looked at. `NotFound` in a workspace of nobody.
        """
        threshold = self._engine.settings.bots.auto_threshold
        place = (new.seen.platform, new.seen.workspace, new.channel)
        if not new.addressed and not (new.heard and place in self._kept):
            with suppress(NotFound):
                arrival = await self._db.run_read(
                    lambda session: arrivals.look(session, new, default_threshold=threshold)
                )
                if arrivals.asks_nothing(arrival, new, take):
                    return arrival, None
        arrival, accepted = await self._db.run_grouped(
            lambda session: arrivals.receive(session, new, take, default_threshold=threshold)
        )
        if arrival.kept_in is not None:
            self._kept.add(place)
        else:
            self._kept.discard(place)
        return arrival, accepted

    async def learn_person(self, met: Met, person: Person) -> None:
        """Keep what the platform says of somebody."""
        await self._db.run_write(lambda session: workspaces.learn_person(session, met, person))

    async def stale(self, met: Met) -> Stale:
        """What the platform should be asked of anew before an answer rests on it."""
        async with self._db.read() as session:
            return await workspaces.what_is_stale(session, met)

    async def unknown_people(self, met: Met, subjects: Collection[str]) -> list[str]:
        """Those of a channel's members that nothing, or nothing fresh, is known of."""
        async with self._db.read() as session:
            return await workspaces.unknown_people(session, met, subjects)

    async def names_of(self, met: Met, subjects: Collection[str]) -> dict[str, str]:
        """Names by the platform's ids, of those that are known."""
        async with self._db.read() as session:
            return await workspaces.names_of(session, met, subjects)

    async def learn_channel(
        self,
        met: Met,
        *,
        name: str,
        is_public: bool,
        members: Collection[str],
        people: Mapping[str, Person],
        bots: Collection[str] = (),
        asked_at: datetime | None = None,
    ) -> None:
        """Keep what the platform, asked at `asked_at`, says of a channel and of all in it."""
        await self._db.run_write(
            lambda session: workspaces.learn_channel(
                session,
                met,
                name=name,
                is_public=is_public,
                members=members,
                people=people,
                bots=bots,
                asked_at=asked_at,
            )
        )

    async def messages_in(self, met: Met, channel: str, thread: str) -> set[str]:
        """The messages in a thread that are known to show an answer."""
        async with self._db.read() as session:
            return await posts.messages_in(session, met.workspace_id, channel, thread)

    async def open_terminal(self, principal: Principal, channel: str) -> tuple[Sighting, Met]:
        """The workspace that `scrubjay chat` plays in: all members of the tenant are in it."""
        return await self._db.run_write(
            lambda session: workspaces.open_terminal(session, principal, channel)
        )

    async def caller(self, met: Met) -> Caller:
        """Who somebody is now."""
        async with self._db.read() as session:
            return await workspaces.caller_of(session, met)

    async def admin(self, principal: Principal, workspace: str, channel: str = "") -> Caller:
        """A member at the command line, as somebody who says commands in a workspace."""
        async with self._db.read() as session:
            return await workspaces.admin_caller(session, principal, workspace, channel)

    async def behaviour(self, met: Met) -> Behaviour:
        """What is set for the place somebody writes in."""
        threshold = self._engine.settings.bots.auto_threshold
        async with self._db.read() as session:
            return await workspaces.behaviour_of(session, met, default_threshold=threshold)

    async def channel(self, met: Met) -> ChannelInfo | None:
        """The channel somebody writes in."""
        async with self._db.read() as session:
            return await workspaces.get_channel(session, met)

    async def audience(self, caller: Caller, surface: Surface) -> Audience:
        """Who will see an answer there."""
        met = caller.met
        if surface != "channel":
            return gate.audience_of_asker(caller.principal)
        if met.channel_id is None:
            raise NotFound("No such channel.")
        async with self._db.read() as session:
            return await gate.audience_of_channel(session, met.tenant_id, met.channel_id)

    async def linked_member(self, met: Met) -> str:
        """The name of the member an account is linked to, or an empty text."""
        async with self._db.read() as session:
            return await workspaces.linked_member(session, met)

    async def link(self, principal: Principal, code: str) -> str:
        """Link the account a code was made for to the principal; its name."""
        secrets = self._engine.secrets
        return await self._db.run_write(
            lambda session: workspaces.link_account(session, secrets, principal, code)
        )

    # Questions and their posts

    async def accept(self, new: NewQuestion) -> Accepted:
        """Take a question on; the same one again is taken on once."""
        return await self._db.run_write(lambda session: posts.accept(session, new))

    async def post(self, tenant_id: str, post_id: str) -> PostInfo:
        """One post."""
        async with self._db.read() as session:
            return await posts.get_post(session, tenant_id, post_id)

    async def managed_kbs(self, caller: Caller) -> list[KbInfo]:
        """All knowledge bases, for whoever manages them."""
        async with self._db.read() as session:
            return await knowledge_bases.list_managed_kbs(session, caller.principal)

    async def post_for(self, met: Met, post_id: str) -> PostInfo:
        """A post for somebody who pressed one of its buttons."""
        async with self._db.read() as session:
            return await posts.post_for(session, met, post_id)

    async def posts_to(self, met: Met, channel: str, question_id: str) -> list[PostInfo]:
        """The posts that answer a message."""
        async with self._db.read() as session:
            return await posts.posts_to(
                session, met.tenant_id, met.workspace_id, channel, question_id
            )

    async def whose_question(
        self, platform: str, channel: str, message_id: str
    ) -> tuple[str, str] | None:
        """Workspace and person of a message that was a question; None for any other message."""
        async with self._db.read() as session:
            return await posts.whose_question(session, platform, channel, message_id)

    async def workspace_of_post(self, platform: str, person: str, post_id: str) -> str | None:
        """The workspace of an answer to somebody; None for any other."""
        async with self._db.read() as session:
            return await posts.workspace_of_post(session, platform, person, post_id)

    async def recent_posts(self, met: Met, *, limit: int = 5) -> list[PostInfo]:
        """Somebody's own last questions that were answered."""
        async with self._db.read() as session:
            return await posts.recent_posts(session, met.tenant_id, met.identity_id, limit=limit)

    async def note_message(self, post_id: str, message_id: str) -> None:
        """A reply stands there from now on."""
        await self._db.run_write(lambda session: posts.note_message(session, post_id, message_id))

    async def note_turn(self, post_id: str, turn_id: str) -> None:
        """The answer of a post exists."""
        await self._db.run_write(lambda session: posts.note_turn(session, post_id, turn_id))

    async def end_post(
        self,
        post_id: str,
        state: PostState,
        *,
        job: ClaimedJob | None = None,
        message_id: str | None = None,
    ) -> None:
        """What became of a post, and with it of its job."""
        await self._db.run_write(
            lambda session: posts.end_post(session, post_id, state, job=job, message_id=message_id)
        )

    async def withdraw(self, post_id: str, *, forget: bool = False) -> None:
        """The reply was deleted, or with `forget` the question: then its words go as well."""
        await self._db.run_write(lambda session: posts.withdraw(session, post_id, forget=forget))

    async def escalate(self, post_id: str) -> bool:
        """Somebody wants a person's help; False where that was asked before."""
        return await self._db.run_write(lambda session: posts.escalate(session, post_id))

    async def resolve(self, post_id: str) -> bool:
        """A person has helped; False where that was said before."""
        return await self._db.run_write(lambda session: posts.resolve(session, post_id))

    async def rate(
        self, caller: Caller, post_id: str, rating: int, *, reason: str = "", text: str = ""
    ) -> None:
        """Keep somebody's opinion of an answer."""
        await self._db.run_write(
            lambda session: posts.rate(session, caller, post_id, rating, reason=reason, text=text)
        )

    # Asking

    async def ask(
        self, caller: Caller, audience: Audience, post: PostInfo, behaviour: Behaviour
    ) -> AsyncIterator[AnswerEvent]:
        """The answer to a post, in the conversation of its thread, for who will see it."""
        place = post.thread or post.question_id or post.id
        key = f"{post.workspace}:{post.channel}:{place}"
        if post.surface == "private":  # what one person sees is not part of the channel's talk
            key += f":{post.person}"
        door = post.platform

        async def open_(session: AsyncSession) -> str:
            return await open_conversation(session, caller.principal, door=door, external_id=key)

        conversation_id = await self._db.run_write(open_)
        async for event in self._engine.ask(
            caller.principal,
            audience,
            post.question,
            kb=behaviour.kb,
            conversation_id=conversation_id,
            door=door,
            language=name_of(behaviour.language),
        ):
            yield event

    async def elaborate(
        self,
        caller: Caller,
        audience: Audience,
        post: PostInfo,
        turn_id: str,
        behaviour: Behaviour,
    ) -> AsyncIterator[AnswerEvent]:
        """A given answer at more length, from the same sources, for who will see it."""
        async for event in self._engine.elaborate(
            caller.principal,
            audience,
            turn_id,
            door=post.platform,
            language=name_of(behaviour.language),
        ):
            yield event

    async def stored_answer(self, caller: Caller, audience: Audience, turn_id: str) -> Answer:
        """An answer that was given, if this audience may still read all it rests on."""
        async with self._db.read() as session:
            return await posts.stored_answer(
                session, caller.met.tenant_id, turn_id, audience, caller.principal
            )

    async def may_be_shown(self, caller: Caller, audience: Audience, answer: Answer) -> bool:
        """Whether everyone who will see an answer may read what it cites, at this moment."""
        async with self._db.read() as session:
            return await posts.may_be_shown(
                session, caller.principal, audience, [one.id for one in answer.citations]
            )

    async def facts_of(
        self, caller: Caller, audience: Audience, citations: Sequence[Citation]
    ) -> dict[str, SourceFacts]:
        """Author and age of what is cited, by document id."""
        async with self._db.read() as session:
            return await posts.facts_of(session, caller.principal, audience, citations)

    async def read_page(self, caller: Caller, audience: Audience, id: str) -> Page:  # noqa: A002
        """A page of text that everyone in the audience may read."""
        tokens = gate.usable_tokens(caller.principal, audience)
        return await self._engine.fetch(replace(caller.principal, tokens=tokens), id)

    def link_to(self, caller: Caller, audience: Audience, url: str, id: str) -> str:  # noqa: A002
        """Where a citation is opened by whoever sees the answer; empty where nobody could.

        A document's own web address, else the viewer's page, signed for the audience.
        """
        if is_web_address(url):
            return url
        base = self._engine.settings.server.public_url
        if not base:
            return ""
        if audience.key.startswith("ch:"):
            who = f"ch-{audience.key[3:]}"
        else:
            who = caller.principal.user_id or f"i-{caller.met.identity_id}"
        payload = f"{caller.met.tenant_id}:{who}:{id}"
        from_now = clock.now() + LINK_LIFE
        return f"{base}/v/{self._engine.secrets.sign('viewer-links', payload, expires_at=from_now)}"

    async def open_link(self, tenant_id: str, who: str, id: str) -> Page:  # noqa: A002
        """The page of a link that was made for an account or for a channel's audience."""
        kind, _, whose = who.partition("-")
        async with self._db.read() as session:
            if kind == "i":
                principal = await gate.principal_of_identity(session, tenant_id, whose)
            else:
                audience = await gate.audience_of_channel(session, tenant_id, whose)
                principal = Principal(
                    tenant_id,
                    None,
                    audience.label,
                    Role.GUEST,
                    audience.tokens,
                    gate.ROLE_SCOPES[Role.GUEST],
                )
        return await self._engine.fetch(principal, id)

    # Threads

    async def summarise(self, caller: Caller, said: Sequence[tuple[str, str]]) -> str:
        """A thread in a few sentences, for who could read it themselves.

        `said` is author and text of each message. Without a language model: its first message and
        the sentences that say the most.
        """
        gate.require(caller.principal, Scope.KB_ASK)
        return await summarise(self._engine.model, said)

    async def save_answer(
        self,
        caller: Caller,
        *,
        question: str,
        answer: str,
        by: str = "",
        url: str = "",
        message_id: str = "",
        question_id: str = "",
    ) -> str:
        """Keep a question and its answer as a document that whoever sees the channel may read.

        It goes into the knowledge base of the place, whose name is returned. Raises `NotFound`
        where none is bound and `Forbidden` for who may not write there.
        """
        behaviour = await self.behaviour(caller.met)
        if not behaviour.kb or caller.met.channel_id is None:
            raise NotFound(
                "There is no knowledge base to save it in: an admin binds one to this channel."
            )
        kb = await self._engine.get_kb(caller.principal, behaviour.kb)
        title = " ".join(question.split())[:120]
        text = f"# {title}\n\nQuestion: {question.strip()}\n\nAnswer: {answer.strip()}\n"
        new = NewDocument(
            data=text.encode(),
            filename="answer.md",
            title=title,
            url=url,
            external_id=f"{SAVED}{caller.platform}:{caller.workspace}:{message_id or url}",
            acl=[gate.channel_token(caller.met.channel_id)],
            details={
                "author": by,
                "saved_by": "" if behaviour.anonymous else caller.principal.name,
                "kind": "answer",
                # Deleting one of these deletes it.
                "messages": [
                    saved_key(caller.channel, one) for one in (question_id, message_id) if one
                ],
            },
        )
        await self._engine.add_document(caller.principal, kb.id, new)
        return kb.name

    # Limits

    async def limits_of(self, tenant_id: str) -> dict[str, int]:
        """Questions in five minutes (user, channel, tenant) and tokens-a-day; 0 is no limit."""
        chosen = self._engine.settings.bots
        limits = {
            "user": chosen.questions_per_person,
            "channel": chosen.questions_per_channel,
            "tenant": chosen.questions_per_tenant,
            "tokens-a-day": chosen.tokens_per_day,
        }
        async with self._db.read() as session:
            tenant = await session.get_one(Tenant, tenant_id)
            own: Mapping[str, int] = tenant.settings.get("bot_limits", {})
        return {name: int(own.get(name, value)) for name, value in limits.items()}

    async def spend_question(self, met: Met, channel: str) -> None:
        """Count a question; `RateLimited` says whose limit is reached and when it is over."""
        limits = await self.limits_of(met.tenant_id)
        if (budget := limits["tokens-a-day"]) and await self._spent_today(met.tenant_id) >= budget:
            midnight = (24 * 3600) - (clock.now() - _today()).total_seconds()
            raise RateLimited(
                "Your organisation's answers have used up today's tokens.", retry_after_s=midnight
            )
        whose = {
            "user": (f"{met.tenant_id}:chat:i:{met.identity_id}", "You have"),
            "channel": (f"{met.tenant_id}:chat:c:{met.workspace_id}:{channel}", "This channel has"),
            "tenant": (f"{met.tenant_id}:chat", "Your organisation has"),
        }
        for name, (key, who) in whose.items():
            limit = limits[name]
            if not limit:
                continue
            wait_s = await self._engine.limits.take(
                key, rate_per_s=limit / WINDOW_S, burst=float(limit)
            )
            if wait_s > 0:
                questions = "question" if limit == 1 else "questions"
                raise RateLimited(
                    f"{who} asked {limit} {questions} in five minutes, which is the limit.",
                    retry_after_s=wait_s,
                )

    async def _spent_today(self, tenant_id: str) -> int:
        async with self._db.read() as session:
            return await posts.tokens_spent(session, tenant_id, _today())

    # Commands

    async def run_command(self, caller: Caller, parsed: Parsed) -> Told:
        """Do what a command says, for whoever may; what changes leaves an audit row."""
        return await administration.run(self._engine, caller, parsed)

    async def ask_to_confirm(self, caller: Caller, line: str) -> str:
        """The id under which a command waits a minute for its confirmation by the same person."""
        confirm_id = clock.new_id()
        stored = {"line": line, "identity": caller.met.identity_id, "channel": caller.channel}
        await self._engine.limits.put(
            _confirm_key(caller.met, confirm_id), json.dumps(stored).encode(), ttl_s=CONFIRM_S
        )
        return confirm_id

    async def confirmed(self, caller: Caller, confirm_id: str) -> str:
        """The command that waits under an id; `NotFound` once its minute is over or for others."""
        key = _confirm_key(caller.met, confirm_id)
        raw = await self._engine.limits.get(key)
        stored = json.loads(raw) if raw is not None else {}
        if stored.get("identity") != caller.met.identity_id:
            raise NotFound(
                "There is nothing to confirm: only who asked for it can, within a minute."
            )
        await self._engine.limits.forget(key)
        return str(stored["line"])


def _confirm_key(met: Met, confirm_id: str) -> str:
    return f"{met.tenant_id}:confirm:{confirm_id}"


def _today() -> datetime:
    return datetime.combine(clock.now().date(), time(), tzinfo=UTC)
