"""Gateway events, handed on to the core: messages, commands, buttons, forms, servers.

An interaction is deferred before anything else; then a job is written, and nothing slow happens
here. Events about one message are handled in their order. Forms are opened here too, because
Discord accepts one only as the first reply, within three seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from bots import replies
from bots.answer_worker import AnswerWorker
from bots.background import BackgroundTasks
from bots.conversation import Ask, InboundMessage, Kind
from bots.discord import completion, components, intake, payloads, tree
from bots.discord.adapter import DiscordPlatform
from bots.discord.delivery import ASKED_IN
from bots.discord.directory import Directory, Where
from bots.discord.history import DiscordHistoryListener
from bots.discord.onboarding import Onboarding
from bots.discord.payloads import COMMAND, COMPLETION, COMPONENT, FORM, NAME, Interaction, Us
from bots.discord.rest import ACKNOWLEDGED, LAPSED, DiscordTrouble
from bots.inbound_handler import InboundHandler
from bots.platform import ReplyTarget
from engine import clock
from engine.chats.sender_rows import Person, Sender, SenderRef
from engine.clock import new_id
from engine.engine import Engine
from engine.errors import EngineError, NotFound

log = logging.getLogger(__name__)

# How an interaction is replied to at once.
MESSAGE, DEFERRED, DEFERRED_UPDATE, CHOICES, MODAL = 4, 5, 6, 8, 9
EPHEMERAL = 1 << 6
FORM_S = 2.0  # Discord waits three seconds for a form
MESSAGES = frozenset({"MESSAGE_CREATE", "MESSAGE_DELETE", "MESSAGE_DELETE_BULK", "MESSAGE_UPDATE"})
SOLVED = frozenset({"answered", "done", "resolved", "solved"})  # names of tags in a forum

Raw = dict[str, Any]


class DiscordApp:
    """See the module. `on_event` takes a gateway event; what follows is a background task."""

    def __init__(
        self, engine: Engine, platform: DiscordPlatform, answer_worker: AnswerWorker
    ) -> None:
        self._engine = engine
        self._platform = platform
        self._answer_worker = answer_worker
        self._inbound_handler = InboundHandler(engine, answer_worker.wake)
        self._history_listener = DiscordHistoryListener(engine)
        self.directory = Directory()
        self.onboarding = Onboarding(engine, platform, self.directory, self._inbound_handler)
        self._lines: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.background = BackgroundTasks()
        self._homes: dict[str, str] = {}

    def on_event(self, name: str, raw: object) -> Raw | None:
        """Handle a gateway event; returns it as it may be read, None where it can't be.

        Nothing is awaited here, so that events keep their order.
        """
        data = intake.read_event(name, raw)
        if data is None:
            log.warning("an event of Discord's was not understood", extra={"event": name})
            return None
        self.directory.on_event(name, data)
        if name not in MESSAGES:  # those are stored before they are answered, in order
            self.background.start(self._history_listener.on_event(name, data))
        match name:
            case "INTERACTION_CREATE":
                self.background.start(self._on_interaction(data))
            case "MESSAGE_CREATE" | "MESSAGE_UPDATE":
                self.background.start(self._in_line(self.on_message, name, data))
            case "MESSAGE_DELETE" | "MESSAGE_DELETE_BULK":
                self.background.start(self._in_line(self._on_deleted, name, data))
            case "THREAD_DELETE":
                self.background.start(self._on_thread_deleted(data))
            case "READY":
                self.background.start(self.onboarding.compare(data))
            case "GUILD_CREATE":
                self.background.start(self.onboarding.joined(data))
            case "GUILD_DELETE" if not data.get("unavailable"):
                self.background.start(self.onboarding.left(str(data.get("id"))))
            case _:
                pass
        if name.startswith("GUILD_"):
            self._platform.forget(str(data.get("guild_id") or data.get("id")))
        return data

    async def aclose(self) -> None:
        """Wait for the background tasks to end."""
        await self.background.aclose(within_s=5)

    async def _in_line(
        self, work: Callable[[str, Raw], Awaitable[None]], name: str, data: Raw
    ) -> None:
        ids = sorted(str(item) for item in data.get("ids") or [data.get("id")])
        lines = [self._lines.setdefault(id_, asyncio.Lock()) for id_ in ids]
        async with contextlib.AsyncExitStack() as held:
            for line in lines:
                await held.enter_async_context(line)
            await work(name, data)

    # Messages

    async def on_message(self, event: str, data: Raw, *, late: bool = False) -> None:
        """A message that was written or edited, from the gateway or from the channel's history.

        A `late` one is answered only if it called the bot: no one waits for more.
        """
        await self._history_listener.on_event(event, data)
        us = await self._us(str(data.get("guild_id") or ""))
        where = await self._where(data)
        kind: Kind = "edited" if event == "MESSAGE_UPDATE" else "new"
        workspace = str(data.get("guild_id") or "")
        author = str((data.get("author") or {}).get("id") or "")
        if not workspace and author != us.bot_id:
            workspace = await self._home(author)
        mentions = "<#" in str(data.get("content") or "")
        message = payloads.read_message(
            data,
            where,
            workspace,
            us,
            now=clock.now(),
            kind=kind,
            channels=self.directory.names_of(workspace) if mentions else None,
        )
        if message is None or message.by_us or (late and not (message.calls_bot or message.thread)):
            return
        try:
            await self._keep(message, str(data.get("channel_id")))
        except NotFound:
            if message.calls_bot or message.place == "direct":
                await self.onboarding.explain(workspace, str(data.get("channel_id")))

    async def _keep(self, message: InboundMessage, asked_in: str) -> None:
        details = {ASKED_IN: asked_in}
        decision, accepted = await self._inbound_handler.message(message, details)
        if isinstance(decision, Ask) and decision.addressed and accepted and accepted.is_new:
            target = ReplyTarget(
                message.platform,
                message.workspace,
                message.channel,
                message.author,
                accepted.sender,
                thread=message.thread or message.message_id,
                message_id=message.message_id,
                is_direct=message.place == "direct",
                details=details,
            )
            self._answer_worker.show_seen(target, ahead=accepted.ahead)

    async def _on_deleted(self, event: str, data: Raw) -> None:
        """Messages were deleted; the event carries neither their text nor their authors."""
        await self._history_listener.on_event(event, data)
        ids = [str(item) for item in data.get("ids") or ([data["id"]] if "id" in data else [])]
        where = await self._where(data)
        for id_ in ids:
            await self._withdraw(where, id_)

    async def _on_thread_deleted(self, data: Raw) -> None:
        """A post in a forum has the id of its first message."""
        await self._withdraw(Where(str(data.get("parent_id"))), str(data.get("id")))

    async def _withdraw(self, where: Where, message_id: str) -> None:
        whose = await self._engine.chats.posts.whose_question(NAME, where.channel, message_id)
        if whose is None:
            return
        workspace, person = whose
        gone = InboundMessage(
            platform=NAME,
            workspace=workspace,
            channel=where.channel,
            place=where.place,
            message_id=message_id,
            author=person,
            text="",
            kind="deleted",
            thread="" if where.thread == message_id else where.thread,
        )
        await self._inbound_handler.message(gone)

    async def _where(self, data: Raw) -> Where:
        id_ = str(data.get("channel_id"))
        if not data.get("guild_id"):
            return Where(id_, place="direct")
        raw = self.directory.channel(id_)
        if raw is None:
            try:
                raw = await self._platform.api.call("GET", f"channels/{id_}")
            except DiscordTrouble:
                return Where(id_)
            self.directory.put_channel(raw)
        return self.directory.where(raw)

    def _channel_name(self, id_: str) -> str:
        raw = self.directory.channel(id_)
        return str(raw.get("name") or "") if raw is not None else ""

    async def _us(self, guild_id: str) -> Us:
        me = await self._platform.api.me()
        guild = self.directory.guild(guild_id) or {}
        for role in guild.get("roles") or ():
            if str((role.get("tags") or {}).get("bot_id")) == str(me["id"]):
                return Us(str(me["id"]), str(role.get("id")))
        return Us(str(me["id"]))

    async def _home(self, person: str) -> str:
        """The server of a direct message: where its author last asked, else one they belong to."""
        if homes := await self._engine.chats.senders.homes_of(NAME, person):
            return homes[0]
        return await self.onboarding.find_home(person)

    # Interactions

    async def _on_interaction(self, data: Raw) -> None:
        interaction = payloads.read_interaction(data)
        if interaction.kind == COMPLETION:
            await self._on_completion(interaction)
        elif interaction.kind == COMMAND and interaction.action:
            await self._on_menu(interaction)
        elif interaction.kind == COMMAND:
            await self._on_command(interaction)
        elif interaction.kind == COMPONENT:
            await self._on_press(interaction)
        elif interaction.kind == FORM:
            await self._on_form(interaction)

    async def _on_command(self, interaction: Interaction) -> None:
        given = tree.read(interaction.data)
        if given.command is not None and given.command.name == "setup":
            await self._open_setup(interaction)
            return
        await self._defer(interaction)
        if given.path == f"{tree.EVERYONES} {tree.REGISTER}":
            await self._guarded(
                interaction, self._register(interaction, str(given.values.get("key") or ""))
            )
            return

        async def take() -> None:
            workspace = await self._workspace(interaction)
            await self._inbound_handler.said(payloads.read_said(interaction, given, workspace))

        await self._guarded(interaction, take())

    async def _register(self, interaction: Interaction, key: str) -> None:
        said = await self.onboarding.register(interaction, key)
        await self._reply(interaction, replies.Reply(said))

    async def _on_form(self, interaction: Interaction) -> None:
        await self._defer(interaction)
        if (
            interaction.action == replies.BIND
            and interaction.guild
            and interaction.where.place == "channel"
        ):
            # Before the first question in a channel only its id is known.
            with contextlib.suppress(NotFound):
                sender = await self._sender(interaction, interaction.guild)
                await self._platform.learn(
                    ReplyTarget(
                        NAME,
                        interaction.guild,
                        interaction.where.channel,
                        interaction.person,
                        sender,
                    )
                )
        await self._take_press(interaction, "fill")

    async def _on_menu(self, interaction: Interaction) -> None:
        await self._defer(interaction)

        async def take() -> None:
            workspace = await self._workspace(interaction)
            pressed = payloads.read_menu(interaction, workspace, await self._us(interaction.guild))
            if pressed is not None:
                await self._inbound_handler.pressed(pressed)

        await self._guarded(interaction, take())

    async def _on_press(self, interaction: Interaction) -> None:
        if interaction.action == replies.RATE_DOWN:
            _, post_id = components.pressed_action(str(interaction.data.get("custom_id", "")))
            await self._call_back(interaction, MODAL, components.reason_form(post_id))
            await self._take_press(interaction, "follow", form="yes")
            return
        if interaction.action == replies.BIND:
            await self._open_setup(interaction)
            return
        await self._call_back(interaction, DEFERRED_UPDATE)
        await self._take_press(interaction, "follow")
        if interaction.action == replies.RESOLVED and interaction.where.thread:
            await self._mark_solved(interaction.where)

    async def _take_press(self, interaction: Interaction, way: Any, **more: str) -> None:  # noqa: ANN401
        async def take() -> None:
            pressed = payloads.read_press(interaction, await self._workspace(interaction), way)
            if pressed is None:
                raise NotFound("This button no longer works.")
            details = {**pressed.details, **more}
            await self._inbound_handler.pressed(replace(pressed, details=details))

        await self._guarded(interaction, take())

    async def _mark_solved(self, where: Where) -> None:
        """Give a forum's post the tag that says so, where the forum has one."""
        parent = self.directory.channel(where.channel) or {}
        thread = self.directory.channel(where.thread) or {}
        tags = [str(item) for item in thread.get("applied_tags") or ()]
        for tag in parent.get("available_tags") or ():
            if str(tag.get("name")).lower() in SOLVED and str(tag.get("id")) not in tags:
                applied = [*tags, str(tag["id"])][:5]
                path = f"channels/{where.thread}"
                await self._platform.api.call("PATCH", path, {"applied_tags": applied})
                return

    # Replying at once

    async def _defer(self, interaction: Interaction) -> None:
        await self._call_back(interaction, DEFERRED, {"flags": EPHEMERAL})

    async def _call_back(
        self, interaction: Interaction, kind: int, data: Raw | None = None
    ) -> bool:
        """The first reply, which Discord accepts within three seconds; False where it did not.

        The work continues all the same: its outcome is sent in another way.
        """
        path = f"interactions/{interaction.id}/{interaction.token}/callback"
        body = {"type": kind} | ({"data": data} if data is not None else {})
        for last in (False, True):
            try:
                await self._platform.api.call("POST", path, body)
            except DiscordTrouble as trouble:
                if trouble.retry_in_s is not None and not last:
                    continue
                level = logging.INFO if trouble.code in LAPSED | {ACKNOWLEDGED} else logging.WARNING
                log.log(level, "an interaction was not acknowledged: %s", trouble)
                return trouble.code == ACKNOWLEDGED
            else:
                return True
        return False

    async def _guarded(self, interaction: Interaction, work: Awaitable[None]) -> None:
        """Queue something, or reply why not: the one place for every error of a command."""
        try:
            await work
        except NotFound as error:
            known = not interaction.guild or await self.onboarding.is_known(interaction.guild)
            said = str(error) if known else self.onboarding.explanation(interaction.guild)
            await self._reply(interaction, replies.Reply(said, kind="trouble"))
        except Exception as error:
            incident = new_id()[-8:]
            if not isinstance(error, EngineError):
                log.exception("an interaction was not taken on, incident %s", incident)
            await self._reply(interaction, replies.apology(error, incident, self._platform.command))

    async def _reply(self, interaction: Interaction, reply: replies.Reply) -> None:
        """A reply without a job behind it."""
        way = "fill" if interaction.kind in {COMMAND, FORM} else "follow"
        sender = Sender("", "", "", None)
        details = payloads.reply_details(interaction, way)  # type: ignore[arg-type]
        target = ReplyTarget(
            NAME,
            interaction.guild,
            interaction.where.channel,
            interaction.person,
            sender,
            details=details,
        )
        if not await self._platform.delivery.respond(target, reply):
            log.info("an interaction could not be replied to any more")

    async def _workspace(self, interaction: Interaction) -> str:
        """The server of an interaction; in a direct message, that of the answer it is about."""
        if interaction.guild:
            return interaction.guild
        _, value = components.pressed_action(str(interaction.data.get("custom_id", "")))
        post_id = value.partition(":")[0]
        found = None
        if post_id:
            found = await self._engine.chats.posts.workspace_of(NAME, interaction.person, post_id)
        workspace = found or await self._home(interaction.person)
        if not workspace:
            raise NotFound(self.onboarding.explanation(""))
        return workspace

    # Forms and completion

    async def _open_setup(self, interaction: Interaction) -> None:
        """The set-up form with its present values, or a message where that takes too long."""
        try:
            async with asyncio.timeout(FORM_S):
                kind, data = MODAL, await self._setup_form(interaction)
        except (EngineError, TimeoutError) as error:
            said = str(error) or "I'm busy right now: try again in a moment."
            kind, data = MESSAGE, {"content": said[:1900], "flags": EPHEMERAL}
        await self._call_back(interaction, kind, data)

    async def _setup_form(self, interaction: Interaction) -> Raw:
        workspace = await self._workspace(interaction)
        sender = await self._sender(interaction, workspace)
        caller = await self._engine.chats.senders.caller(sender)
        kbs = await self._engine.knowledge_bases.list_managed(caller.principal)
        channel = await self._engine.chats.senders.channel(sender)
        if channel is None:
            raise NotFound("Do this in the channel you want to set up.")
        behaviour = await self._engine.chats.senders.behaviour(sender)
        bound = next((kb.name for kb in kbs if kb.id == behaviour.kb), "")
        names = [kb.name for kb in kbs]
        if not names:
            create = tree.worded("`create`")
            raise NotFound(f"There is no knowledge base yet. Create one first: {create}.")
        return components.setup_form(
            names, self._channel_name(interaction.where.channel), kb=bound, mode=behaviour.mode
        )

    async def _sender(self, interaction: Interaction, workspace: str) -> Sender:
        """The sender of an interaction, with what the interaction itself says of them."""
        channel = "" if interaction.where.place == "direct" else interaction.where.channel
        sender = await self._engine.chats.senders.meet(
            SenderRef(NAME, workspace, interaction.person, channel)
        )
        if interaction.member:
            person = Person(interaction.name, is_full_member=True, is_admin=interaction.is_manager)
            await self._engine.chats.senders.learn_person(sender, person)
        return sender

    async def _on_completion(self, interaction: Interaction) -> None:
        choices: list[Raw] = []
        try:
            async with asyncio.timeout(FORM_S):
                workspace = await self._workspace(interaction)
                caller = await self._engine.chats.senders.caller(
                    await self._sender(interaction, workspace)
                )
                given = tree.read(interaction.data)
                choices = await completion.choices(
                    self._engine, caller, given, self.directory, workspace, interaction.member
                )
        except (EngineError, TimeoutError) as error:
            log.info("nothing is completed: %s", error)
        await self._call_back(interaction, CHOICES, {"choices": choices})
