"""The Bolt app: verifies, acknowledges, and hands every payload on to the core.

A listener writes a job and nothing else, before the platform is acknowledged: nothing that was
acknowledged is lost. Forms are opened here too, because Slack allows three seconds for that.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Mapping
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bots import replies
from bots.answer_worker import AnswerWorker
from bots.background import BackgroundTasks
from bots.conversation import Ask, InboundMessage, Joined, Pressed, Said
from bots.inbound_handler import InboundHandler
from bots.platform import ReplyTarget
from bots.slack import intake, payloads, views
from bots.slack.adapter import SlackPlatform
from bots.slack.history import (
    SlackHistoryListener,
    channel_of,
    is_shared_outside,
    read_history_update,
)
from bots.slack.payloads import HomeOpened, Uninstalled, Whose
from engine import clock
from engine.chats.callers import Caller
from engine.chats.inbound import HistoryUpdate
from engine.chats.installation_rows import Installed
from engine.chats.sender_rows import Sender, SenderRef
from engine.commands.table import parse
from engine.engine import Engine
from engine.errors import EngineError, InvalidInput, NotFound

log = logging.getLogger(__name__)

ANYTHING = re.compile(r".*", re.DOTALL)
LOOKING = "Looking it up…"
NOT_INSTALLED = (
    "I'm not installed in this workspace: ask the person who runs me for a link to do that."
)
CACHED_S = 30.0


class SlackApp:
    """Listeners over one engine. `bolt` is dispatched to by Socket Mode or by the HTTP host."""

    def __init__(
        self, engine: Engine, platform: SlackPlatform, answer_worker: AnswerWorker
    ) -> None:
        self._engine = engine
        self._platform = platform
        self._answer_worker = answer_worker
        self._inbound_handler = InboundHandler(engine, answer_worker.wake)
        self._history_listener = SlackHistoryListener(engine, self._learn_channel)
        self._background = BackgroundTasks()
        self._installed: dict[tuple[str, str], tuple[float, Installed]] = {}
        self.last_event_at: float | None = None  # monotonic
        self.bolt = self._build()

    def _build(self) -> AsyncApp:
        async def authorize(  # a plain function: Bolt would pass a method `self` by name
            enterprise_id: str | None, team_id: str | None
        ) -> AuthorizeResult | None:
            return await self._authorize(enterprise_id, team_id)

        secret = self._engine.settings.slack.signing_secret.get_secret_value()
        app = AsyncApp(
            signing_secret=secret or "not used by Socket Mode",
            authorize=authorize,  # type: ignore[arg-type]  # None: no installation
            client=self._platform.api.client(),
            process_before_response=True,
            ignoring_self_events_enabled=False,  # `decide` ignores them, and deletions are not
            ssl_check_enabled=False,
            logger=logging.getLogger("slack_bolt"),
        )
        app.use(self._count)
        app.event(ANYTHING)(self._on_event)
        app.command(ANYTHING)(self._on_command)
        app.action(ANYTHING)(self._on_press)
        app.shortcut(ANYTHING)(self._on_press)
        app.view(ANYTHING)(self._on_press)
        return app

    async def _count(self, next_: Any) -> None:  # noqa: ANN401 (Bolt's)
        self.last_event_at = time.monotonic()
        await next_()

    async def _authorize(
        self, enterprise_id: str | None, team_id: str | None
    ) -> AuthorizeResult | None:
        """The bot's account in a workspace, from our own rows; None if it is not installed."""
        try:
            found = await self.installed(team_id or "", enterprise_id or "")
        except NotFound:
            log.info("an event of a workspace the bot is not installed in was passed over")
            return None
        return AuthorizeResult(
            enterprise_id=enterprise_id,
            team_id=team_id,
            bot_user_id=found.bot_user_id,
            bot_id=found.bot_id,
            bot_token=found.token,
        )

    async def installed(self, team_id: str, enterprise_id: str) -> Installed:
        """The installation of a team, remembered for a while."""
        key = (team_id, enterprise_id)
        known = self._installed.get(key)
        if known is not None and time.monotonic() - known[0] < CACHED_S:
            return known[1]
        found = await self._engine.chats.installations.find(
            payloads.NAME, team_id=team_id, enterprise_id=enterprise_id
        )
        self._installed[key] = (time.monotonic(), found)
        return found

    def forget(self) -> None:
        """An installation changed."""
        self._installed.clear()
        self._platform.delivery.forget()

    async def aclose(self) -> None:
        """Wait for the background tasks to end."""
        await self._background.aclose(within_s=2)

    async def dispatch(self, raw: Mapping[str, Any]) -> BoltResponse:
        """Hand on what Slack sent, once it is known to be Slack's.

        What nothing here listens to is acknowledged: Slack would only send it again.
        """
        payload = intake.read_payload(raw)
        kind = str(payload.get("type") or "")
        if kind == "app_rate_limited":
            log.warning("Slack holds events back: the workspace sends too many a minute")
        elif intake.is_understood(payload):
            # This mode tells Bolt that the request was verified.
            request = AsyncBoltRequest(body=payload, mode="socket_mode")
            enterprise_id, team_id = request.context.enterprise_id, request.context.team_id
            if kind == "url_verification" or await self._authorize(enterprise_id, team_id):
                return await self.bolt.async_dispatch(request)
            return BoltResponse(status=200, body=NOT_INSTALLED if "command" in payload else "")
        elif kind in intake.SUGGESTIONS:
            return BoltResponse(status=200, body={"options": []})
        elif kind not in intake.IGNORED:
            log.warning("a payload of Slack's was not understood", extra={"kind": kind})
        return BoltResponse(status=200, body="")

    # Listeners

    async def _on_event(self, body: dict[str, Any], context: AsyncBoltContext) -> None:
        whose = _whose(context)
        raw = body.get("event") or {}
        if is_shared_outside(body, raw, whose):
            await self._history_listener.note_shared(raw, whose)
        following = await self._history_listener.on_event(raw, whose)
        if following is not None:
            self._background.start(following())
        history_update = read_history_update(raw, whose)
        event = payloads.read_event(raw, whose, now=clock.now())
        match event:
            case InboundMessage():
                await self._keep(event, history_update, payloads.read_action_token(raw))
            case None if history_update:
                await self._history_listener.keep(history_update, whose, channel_of(raw))
            case Joined():
                await self._inbound_handler.joined(event)
            case Uninstalled():
                await self._engine.chats.installations.pause(
                    payloads.NAME, team_id=event.team_id, enterprise_id=event.enterprise_id
                )
                self.forget()
            case HomeOpened():
                self._background.start(self._show_home(event, whose))
            case _:
                pass

    async def _learn_channel(self, whose: Whose, channel: str) -> None:
        """Ask Slack who is in a channel now."""
        sender = await self._engine.chats.senders.meet(
            SenderRef(payloads.NAME, whose.team_id, whose.bot_user_id, channel, whose.enterprise_id)
        )
        target = ReplyTarget(payloads.NAME, whose.team_id, channel, whose.bot_user_id, sender)
        await self._platform.learn_channel(target)

    async def _keep(
        self, message: InboundMessage, history_update: HistoryUpdate, action_token: str
    ) -> None:
        details = {"author_team": message.author_team}
        if action_token:
            details["action_token"] = action_token
        decision, accepted = await self._inbound_handler.message(
            message, details, history_update=history_update
        )
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
            )
            self._answer_worker.show_seen(target, ahead=accepted.ahead)

    async def _on_command(
        self, ack: AsyncAck, body: dict[str, Any], context: AsyncBoltContext
    ) -> None:
        said = payloads.read_command(body, _whose(context))
        if _is_setup(said) and (trigger := body.get("trigger_id")):
            await ack()
            self._background.start(self._open_setup(said, str(trigger)))
            return
        accepted = await self._inbound_handler.said(said)
        # The first sign; the answer comes over the response_url.
        await ack(LOOKING) if accepted is not None else await ack()

    async def _on_press(
        self, ack: AsyncAck, body: dict[str, Any], context: AsyncBoltContext
    ) -> None:
        pressed = payloads.read_press(body, _whose(context))
        if pressed is None:
            await ack()
            return
        trigger = str(body.get("trigger_id", ""))
        if trigger and pressed.action == replies.RATE_DOWN:
            pressed.details["form"] = "yes"
            self._background.start(self._open_view(pressed, trigger, self._reason_form(pressed)))
        if trigger and pressed.action == replies.BIND and body.get("type") == "block_actions":
            await ack()
            self._background.start(self._open_setup(pressed, trigger))
            return
        await self._inbound_handler.pressed(pressed)
        await ack()

    # Forms

    async def _open_setup(self, said: Said | Pressed, trigger: str) -> None:
        """A form at once, filled when what goes into it is known; for admins only."""
        sender = await self._meet(said)
        installed = await self._platform.delivery.installed(sender)
        opened = await self._platform.api.call(
            installed.token, "views.open", trigger_id=trigger, view=views.loading("Set up")
        )
        view_id = str((opened.get("view") or {}).get("id", ""))
        target = ReplyTarget(said.platform, said.workspace, said.channel, said.person, sender)
        await self._platform.learn(target)
        caller = await self._engine.chats.senders.caller(sender)
        view = await self._setup_form(caller, said.channel)
        await self._platform.api.call(installed.token, "views.update", view_id=view_id, view=view)

    async def _setup_form(self, caller: Caller, channel_id: str) -> views.View:
        view = views.loading("Set up")
        try:
            kbs = await self._engine.knowledge_bases.list_managed(caller.principal)
        except EngineError:
            view["blocks"] = views.setup_refused()
            return view
        channel = await self._engine.chats.senders.channel(caller.sender)
        if channel is None:
            view["blocks"] = views.setup_elsewhere()
            return view
        behaviour = await self._engine.chats.senders.behaviour(caller.sender)
        names = [kb.name for kb in kbs]
        bound = next((kb.name for kb in kbs if kb.id == behaviour.kb), "")
        return views.setup_form(names, channel_id, channel.name, kb=bound, mode=behaviour.mode)

    async def _reason_form(self, pressed: Pressed) -> views.View:
        return views.reason_form(pressed.value, pressed.channel)

    async def _open_view(self, pressed: Pressed, trigger: str, form: Awaitable[views.View]) -> None:
        view = await form
        installed = await self._platform.delivery.installed(await self._meet(pressed))
        await self._platform.api.call(installed.token, "views.open", trigger_id=trigger, view=view)

    async def _meet(self, said: Said | Pressed) -> Sender:
        channel = "" if said.place == "direct" else said.channel
        return await self._engine.chats.senders.meet(
            SenderRef(said.platform, said.workspace, said.person, channel, said.enterprise)
        )

    # The home

    async def _show_home(self, opened: HomeOpened, whose: Whose) -> None:
        sender = await self._engine.chats.senders.meet(
            SenderRef(payloads.NAME, whose.team_id, opened.person, "", whose.enterprise_id)
        )
        target = ReplyTarget(payloads.NAME, whose.team_id, opened.channel, opened.person, sender)
        if opened.tab == "messages":
            await self._platform.delivery.call(
                sender,
                "assistant.threads.setSuggestedPrompts",
                channel_id=opened.channel,
                prompts=views.prompts(),
            )
            return
        await self._platform.learn(target)
        caller = await self._engine.chats.senders.caller(sender)
        kbs = await self._engine.knowledge_bases.list_readable(caller.principal)
        health: list[tuple[str, str]] = []
        if caller.is_admin:
            health = list((await self._engine.operations.health()).items()) + self.health()
        await self._platform.delivery.call(
            sender,
            "views.publish",
            user_id=opened.person,
            view=views.home(
                views.HomeView(
                    name=caller.principal.name,
                    linked_to=await self._engine.chats.senders.linked_member(sender),
                    kbs=[(kb.name, kb.document_count) for kb in kbs],
                    recent=await self._engine.chats.posts.recent(sender),
                    command=self._platform.command,
                    is_admin=caller.is_admin,
                    health=health,
                )
            ),
        )

    def health(self) -> list[tuple[str, str]]:
        """What is wrong between us and Slack, in words; empty texts where nothing is."""
        scopes = self._platform.missing_scopes()
        missing = f"is missing the scopes {', '.join(scopes)}" if scopes else ""
        return [("Slack", missing)]


def _whose(context: AsyncBoltContext) -> Whose:
    return Whose(
        team_id=context.team_id or "",
        enterprise_id=context.enterprise_id or "",
        bot_user_id=context.bot_user_id or "",
        bot_id=context.bot_id or "",
    )


def _is_setup(said: Said) -> bool:
    try:
        return parse(said.line).command.name == "setup"
    except InvalidInput:
        return False
