"""What a bot does with a message. `Engine.chats` is a `Chats`.

It knows no platform: ids of messages and channels are the platform's, kept as they came. The
audience of an answer is decided here, from where it will be shown. Each verb is one short
transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.answers.answers import Answers
from engine.answers.conversations import open_conversation
from engine.answers.summaries import summarise
from engine.assistants.answer_languages import name_of
from engine.assistants.assistants import Assistants
from engine.chats import inbound
from engine.chats.behaviour import Behaviour
from engine.chats.callers import Caller
from engine.chats.confirmations import Confirmations
from engine.chats.forgetting import SAVED, saved_key
from engine.chats.history import History
from engine.chats.inbound import InboundContext, NewInbound, Take
from engine.chats.installations import Installations
from engine.chats.post_rows import AcceptedQuestion, PostInfo
from engine.chats.posts import Posts
from engine.chats.question_limits import QuestionLimits
from engine.chats.sender_rows import Sender
from engine.chats.senders import Senders
from engine.db.session import Database
from engine.documents.adding import NewDocument
from engine.documents.documents import Documents
from engine.documents.knowledge_bases import KnowledgeBases
from engine.domain import AnswerEvent, Audience, Scope
from engine.errors import NotFound
from engine.limits import Limits
from engine.people.language_models import LanguageModels
from engine.search.links import is_web_address, path_of
from engine.search.pages import Page
from engine.search.search import Search
from engine.secrets import Secrets
from engine.settings import BotSettings


@dataclass(frozen=True, slots=True)
class SourceLink:
    """How a source is opened: by its own address, or by a button, which names the passage."""

    url: str = ""
    opens: str = ""


class Chats:
    """What the bots ask of the engine: an object for each subject, and the verbs that need several."""

    def __init__(
        self,
        db: Database,
        secrets: Secrets,
        limits: Limits,
        *,
        search: Search,
        answers: Answers,
        assistants: Assistants,
        documents: Documents,
        knowledge_bases: KnowledgeBases,
        llms: LanguageModels,
        settings: BotSettings,
        public_url: str = "",
    ) -> None:
        self._db = db
        self._search = search
        self._answers = answers
        self._assistants = assistants
        self._documents = documents
        self._knowledge_bases = knowledge_bases
        self._llms = llms
        self._threshold = settings.auto_threshold
        self._public_url = public_url
        self.installations = Installations(db, secrets, limits)
        self.senders = Senders(db, secrets, default_threshold=settings.auto_threshold)
        self.posts = Posts(db)
        self.history = History(db)
        self.question_limits = QuestionLimits(db, limits, settings)
        self.confirmations = Confirmations(limits)
        # Channels whose history was kept at the last look: a message there is probably stored, so
        # `receive` skips the look. The transaction asks what is true.
        self._kept: set[tuple[str, str, str]] = set()

    async def receive(
        self, new: NewInbound, take: Take
    ) -> tuple[InboundContext, AcceptedQuestion | None]:
        """A message came: keep it where its channel is kept, and take on what `take` makes of it.

        One transaction, shared with other messages that come at the same moment; a message that
        asks nothing and is not kept is only looked at. `NotFound` where no tenant has the workspace.
        """
        threshold = self._threshold
        place = (new.sender_ref.platform, new.sender_ref.workspace, new.channel)
        if not new.addressed and not (new.history_update and place in self._kept):
            with suppress(NotFound):
                context = await self._db.run_read(
                    lambda session: inbound.look(session, new, default_threshold=threshold)
                )
                if inbound.asks_nothing(context, new, take):
                    return context, None
        context, accepted = await self._db.run_grouped(
            lambda session: inbound.receive(session, new, take, default_threshold=threshold)
        )
        if context.kept_in is not None:
            self._kept.add(place)
        else:
            self._kept.discard(place)
        return context, accepted

    async def ask(
        self,
        caller: Caller,
        audience: Audience,
        post: PostInfo,
        behaviour: Behaviour,
        *,
        context: str = "",
    ) -> AsyncIterator[AnswerEvent]:
        """The answer to a post, in the conversation of its thread, for the people who will see it.

        `context` is what the question is about, such as a forwarded message; it is not kept.
        """
        place = post.thread or post.question_id or post.id
        key = f"{post.workspace}:{post.channel}:{place}"
        if post.surface == "private":  # what one person sees is not part of the channel's talk
            key += f":{post.person}"
        door = post.platform

        async def open_(session: AsyncSession) -> str:
            return await open_conversation(session, caller.principal, door=door, external_id=key)

        conversation_id = await self._db.run_write(open_)
        assistant = None
        if behaviour.assistant:
            assistant = await self._assistants.bound(caller.principal, behaviour.assistant)
        async for event in self._answers.ask(
            caller.principal,
            audience,
            post.question,
            kb=behaviour.kb if assistant is None else "",
            assistant=assistant or "",
            conversation_id=conversation_id,
            door=door,
            language=name_of(behaviour.language),
            is_bounded=True,
            context=context,
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
        """A given answer at more length, from the same sources, for the people who will see it."""
        async for event in self._answers.elaborate(
            caller.principal,
            audience,
            turn_id,
            door=post.platform,
            language=name_of(behaviour.language),
        ):
            yield event

    async def read_page(self, caller: Caller, audience: Audience, id: str) -> Page:  # noqa: A002
        """A page of text that everyone in the audience may read."""
        tokens = gate.usable_tokens(caller.principal, audience)
        return await self._search.fetch(replace(caller.principal, tokens=tokens), id)

    def source_link(self, url: str, id: str) -> SourceLink:  # noqa: A002
        """How the people who see an answer open a source: its own web address, or a button of ours.

        Neither where people could not reach the server: it has no `server.public_url`.
        """
        if is_web_address(url):
            return SourceLink(url=url)
        return SourceLink(opens=id if self._public_url and path_of(id) else "")

    async def open_source(self, sender: Sender, id: str) -> tuple[str, str]:  # noqa: A002
        """Title of a source, and a link to it for the person who asks alone, for minutes.

        `NotFound` where they may not read it now: what they may read counts, not where they ask.
        """
        async with self._db.read() as session:
            principal = await gate.principal_of_identity(
                session, sender.tenant_id, sender.identity_id
            )
        page = await self._search.fetch(principal, id)
        link = self._search.sign_link_for_account(sender.tenant_id, sender.identity_id, id)
        return page.title, f"{self._public_url}/v/{link}"

    async def summarise(self, caller: Caller, said: Sequence[tuple[str, str]]) -> str:
        """A thread in a few sentences, for somebody who could read it themselves.

        `said` is author and text of each message. Without a language model: its first message and
        the sentences that say the most.
        """
        gate.require(caller.principal, Scope.KB_ASK)
        return await summarise(await self._llms.for_principal(caller.principal), said)

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
        """Keep a question and its answer as a document that everyone who sees the channel may read.

        It goes into the knowledge base of the place, whose name is returned. Raises `NotFound`
        where none is bound, and `Forbidden` for a caller who may not write there.
        """
        behaviour = await self.senders.behaviour(caller.sender)
        if not behaviour.kb or caller.sender.channel_id is None:
            raise NotFound(
                "There is no knowledge base to save it in: an admin can bind one to this channel."
            )
        kb = await self._knowledge_bases.get(caller.principal, behaviour.kb)
        title = " ".join(question.split())[:120]
        text = f"# {title}\n\nQuestion: {question.strip()}\n\nAnswer: {answer.strip()}\n"
        new = NewDocument(
            data=text.encode(),
            filename="answer.md",
            title=title,
            url=url,
            external_id=f"{SAVED}{caller.platform}:{caller.workspace}:{message_id or url}",
            acl=[gate.channel_token(caller.sender.channel_id)],
            details={
                "author": by,
                "saved_by": "" if behaviour.anonymous else caller.principal.name,
                "kind": "answer",
                # Deleting one of these deletes it.
                "messages": [
                    saved_key(caller.channel, item) for item in (question_id, message_id) if item
                ],
            },
        )
        await self._documents.add(caller.principal, kb.id, new)
        return kb.name
