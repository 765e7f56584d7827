"""What a bot was asked and what it posted. `Engine.chats.posts` is a `Posts`.

Each verb is one short transaction over `post_rows.py`, `answer_rows.py` and `feedback.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from engine.chats import answer_rows, feedback, post_rows
from engine.chats.answer_rows import SourceFacts
from engine.chats.callers import Caller
from engine.chats.feedback import BotUsage, Rated
from engine.chats.post_rows import AcceptedQuestion, NewQuestion, PostInfo, PostState
from engine.chats.sender_rows import Sender
from engine.db.session import Database
from engine.domain import Answer, Audience, Citation, Principal
from engine.jobs.leases import ClaimedJob


class Posts:
    """The verbs of questions and of the posts that answer them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def accept(self, new: NewQuestion) -> AcceptedQuestion:
        """Accept a question, once however often it comes."""
        return await self._db.run_write(lambda session: post_rows.accept(session, new))

    async def get(self, tenant_id: str, post_id: str) -> PostInfo:
        """One post."""
        async with self._db.read() as session:
            return await post_rows.get_post(session, tenant_id, post_id)

    async def get_for(self, sender: Sender, post_id: str) -> PostInfo:
        """A post for somebody who pressed one of its buttons."""
        async with self._db.read() as session:
            return await post_rows.post_for(session, sender, post_id)

    async def answers_to(self, sender: Sender, channel: str, question_id: str) -> list[PostInfo]:
        """The posts that answer a message."""
        async with self._db.read() as session:
            return await post_rows.posts_to(
                session, sender.tenant_id, sender.workspace_id, channel, question_id
            )

    async def whose_question(
        self, platform: str, channel: str, message_id: str
    ) -> tuple[str, str] | None:
        """Workspace and person of a message that was a question; None for any other message."""
        async with self._db.read() as session:
            return await post_rows.whose_question(session, platform, channel, message_id)

    async def workspace_of(self, platform: str, person: str, post_id: str) -> str | None:
        """The workspace of an answer to somebody; None for any other."""
        async with self._db.read() as session:
            return await post_rows.workspace_of_post(session, platform, person, post_id)

    async def recent(self, sender: Sender, *, limit: int = 5) -> list[PostInfo]:
        """Somebody's own last questions that were answered."""
        async with self._db.read() as session:
            return await post_rows.recent_posts(
                session, sender.tenant_id, sender.identity_id, limit=limit
            )

    async def messages_in(self, sender: Sender, channel: str, thread: str) -> set[str]:
        """The messages in a thread that are known to show an answer."""
        async with self._db.read() as session:
            return await post_rows.messages_in(session, sender.workspace_id, channel, thread)

    async def note_message(self, post: PostInfo, message_id: str) -> None:
        """This message shows the reply from now on."""
        tenant_id = post.sender.tenant_id
        await self._db.run_write(
            lambda session: post_rows.note_message(session, tenant_id, post.id, message_id)
        )

    async def note_turn(self, post: PostInfo, turn_id: str) -> None:
        """The answer of a post exists."""
        tenant_id = post.sender.tenant_id
        await self._db.run_write(
            lambda session: post_rows.note_turn(session, tenant_id, post.id, turn_id)
        )

    async def end(
        self,
        post: PostInfo,
        state: PostState,
        *,
        job: ClaimedJob | None = None,
        message_id: str | None = None,
    ) -> None:
        """What became of a post, and with it of its job."""
        tenant_id = post.sender.tenant_id
        await self._db.run_write(
            lambda session: post_rows.end_post(
                session, tenant_id, post.id, state, job=job, message_id=message_id
            )
        )

    async def withdraw(self, post: PostInfo, *, forget: bool = False) -> None:
        """The reply was deleted, or with `forget` the question: then its words go as well."""
        tenant_id = post.sender.tenant_id
        await self._db.run_write(
            lambda session: post_rows.withdraw(session, tenant_id, post.id, forget=forget)
        )

    async def escalate(self, post: PostInfo) -> bool:
        """Somebody wants a person's help; False where that was asked before."""
        tenant_id = post.sender.tenant_id
        return await self._db.run_write(
            lambda session: post_rows.escalate(session, tenant_id, post.id)
        )

    async def undo_escalation(self, post: PostInfo) -> None:
        """The call for help could not be posted: it may be tried again."""
        tenant_id = post.sender.tenant_id
        await self._db.run_write(
            lambda session: post_rows.undo_escalation(session, tenant_id, post.id)
        )

    async def resolve(self, post: PostInfo) -> bool:
        """A person has helped; False where that was said before."""
        tenant_id = post.sender.tenant_id
        return await self._db.run_write(
            lambda session: post_rows.resolve(session, tenant_id, post.id)
        )

    async def rate(
        self, caller: Caller, post_id: str, rating: int, *, reason: str = "", text: str = ""
    ) -> None:
        """Keep somebody's opinion of an answer."""
        await self._db.run_write(
            lambda session: feedback.rate(
                session, caller, post_id, rating, reason=reason, text=text
            )
        )

    async def feedback_report(self, principal: Principal) -> tuple[int, int, list[Rated]]:
        """How many were glad of an answer, how many not, and the last that were not."""
        async with self._db.read() as session:
            return await feedback.feedback_report(session, principal)

    async def usage(self, principal: Principal, since: datetime) -> BotUsage:
        """Counts of the tenant's chat questions since a time."""
        async with self._db.read() as session:
            return await feedback.usage(session, principal, since)

    async def stored_answer(self, caller: Caller, audience: Audience, turn_id: str) -> Answer:
        """An answer that was given, if this audience may still read all it rests on."""
        async with self._db.read() as session:
            return await answer_rows.stored_answer(
                session, caller.sender.tenant_id, turn_id, audience, caller.principal
            )

    async def may_be_shown(self, caller: Caller, audience: Audience, answer: Answer) -> bool:
        """Whether everyone who will see an answer may read what it cites, at this moment."""
        async with self._db.read() as session:
            return await answer_rows.may_be_shown(
                session, caller.principal, audience, [citation.id for citation in answer.citations]
            )

    async def facts_of(
        self, caller: Caller, audience: Audience, citations: Sequence[Citation]
    ) -> dict[str, SourceFacts]:
        """Author and age of what is cited, by document id."""
        async with self._db.read() as session:
            return await answer_rows.facts_of(session, caller.principal, audience, citations)
