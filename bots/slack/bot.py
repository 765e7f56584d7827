"""The running Slack bot: its API, app, answer worker and connection, for one open engine.

`open_slack_bot` creates it; `run` works until `stop` is set; `handle` answers what Slack sends over
HTTP, for the host that owns the routes. With an app token events come over Socket Mode, and a
watchdog reconnects when the connection goes quiet.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs

from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.adapter.socket_mode.async_internals import send_async_response
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from bots.answer_worker import AnswerWorker
from bots.slack import installing, intake, manifest
from bots.slack.adapter import SlackPlatform
from bots.slack.app import SlackApp
from bots.slack.client import SlackApi, SlackTrouble, open_api
from engine.engine import Engine
from engine.errors import ConfigurationError, EngineError, Unauthenticated, Unavailable

log = logging.getLogger(__name__)

PING_S = 10.0
LOOK_S = 5.0  # how often the watchdog looks
QUIET_S = 30.0  # a connection that is down so long is replaced
RECONNECT_S = (1.0, 60.0)  # the first pause, the longest
PURGE_S = 3600.0
PAGE = (
    '<!doctype html><meta charset="utf-8"><title>{title}</title>'
    '<link rel="stylesheet" href="/static/app.css"><main><h1>{title}</h1><p>{text}</p></main>'
)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the host sends back."""

    status: int
    body: str = ""
    headers: Mapping[str, str] | None = None


class _SocketHandler(AsyncSocketModeHandler):
    """Bolt's handler of a socket, with the app's own dispatch."""

    def __init__(self, app: SlackApp, app_token: str, **options: Any) -> None:  # noqa: ANN401 (Bolt's)
        super().__init__(app.bolt, app_token, **options)
        self._app = app

    async def handle(self, client: SocketModeClient, req: SocketModeRequest) -> None:  # type: ignore[override]
        """Answer one envelope."""
        began = time.time()
        try:
            response = await self._app.dispatch(req.payload or {})
        except EngineError as error:
            log.warning("what Slack sent was not taken on; it sends it again: %s", error)
            return
        await send_async_response(client, req, response, began)


class SlackBot:
    """See the module. Get one from `open_slack_bot`. A given worker is run by its owner."""

    def __init__(
        self, engine: Engine, api: SlackApi, answer_worker: AnswerWorker | None = None
    ) -> None:
        self._engine = engine
        self._settings = engine.settings
        self.api = api
        self.platform = SlackPlatform(engine, api)
        self._runs_worker = answer_worker is None
        self.answer_worker = answer_worker or AnswerWorker(engine, {})
        self.answer_worker.serve(self.platform)
        self.app = SlackApp(engine, self.platform, self.answer_worker)
        self.connected = asyncio.Event()
        self.platform.connection = self._connection
        self._connected_since: float | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Connect, answer, and keep house, until `stop`."""
        await self.introduce()
        async with asyncio.TaskGroup() as tasks:
            if self._runs_worker:
                tasks.create_task(self.answer_worker.run(stop))
            tasks.create_task(self._keep_house(stop))
            if self._settings.slack.app_token.get_secret_value():
                tasks.create_task(self._listen(stop))
        await self.app.aclose()

    def _connection(self) -> str:
        """How events come, since when, and when the last one came."""
        last = self.app.last_event_at
        ago = "" if last is None else f", the last {round(time.monotonic() - last)} s ago"
        if not self._settings.slack.app_token.get_secret_value():
            return f"over HTTP{ago}"
        if not self.connected.is_set() or self._connected_since is None:
            return "the socket is down; reconnecting"
        minutes = round((time.monotonic() - self._connected_since) / 60)
        return f"over a socket, open for {minutes} min{ago}"

    async def introduce(self) -> None:
        """Store the installation of the token in the settings, if there is one."""
        token = self._settings.slack.bot_token.get_secret_value()
        if not token:
            return
        try:
            new = await installing.of_token(self._settings, self.api, token)
        except SlackTrouble as trouble:
            if trouble.retry_in_s is not None:
                raise Unavailable("Slack can't be reached: check the network.") from None
            raise ConfigurationError(
                f"slack.bot_token is rejected by Slack ({trouble.code}): copy the Bot User OAuth"
                " Token of your app again."
            ) from None
        owner = await self._engine.people.owner()
        await self._engine.chats.installations.install(owner.tenant_id, new)
        missing = (
            sorted(set(manifest.scopes_of(self._settings.slack)) - set(new.scopes))
            if new.scopes
            else []
        )
        if missing:
            log.warning(
                "the Slack app lacks scopes; install it again with the manifest",
                extra={"scopes": missing},
            )
            self.api.missing["auth.test"] = ",".join(missing)
        self.app.forget()

    # Socket Mode

    async def _listen(self, stop: asyncio.Event) -> None:
        """Hold a connection; build a new one where it could not be made, or has gone quiet."""
        pause_s = RECONNECT_S[0]
        while not stop.is_set():
            handler = _SocketHandler(
                self.app,
                self._settings.slack.app_token.get_secret_value(),
                web_client=self.api.client(),
                ping_interval=PING_S,
                logger=logging.getLogger("slack_bolt.socket"),
            )
            try:
                await handler.connect_async()  # type: ignore[no-untyped-call]
                pause_s = RECONNECT_S[0]
                await self._watch(handler, stop)
            except Exception as error:  # noqa: BLE001 (whatever it was, it is tried again)
                log.warning(
                    "Slack's socket could not be opened; trying again",
                    extra={"error": type(error).__name__, "in_s": pause_s},
                )
                await _pause(stop, pause_s)
                pause_s = min(2 * pause_s, RECONNECT_S[1])
            finally:
                self.connected.clear()
                with contextlib.suppress(Exception):
                    await handler.close_async()  # type: ignore[no-untyped-call]

    async def _watch(self, handler: AsyncSocketModeHandler, stop: asyncio.Event) -> None:
        down_since: float | None = None
        self._connected_since = time.monotonic()
        self.connected.set()
        while not stop.is_set():
            if await handler.client.is_connected():
                down_since = None
            else:
                down_since = down_since or time.monotonic()
                if time.monotonic() - down_since > QUIET_S:
                    log.warning("Slack's socket has gone quiet; reconnecting")
                    return
            await _pause(stop, LOOK_S)

    async def _keep_house(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._engine.chats.installations.purge_due()
            except EngineError as error:
                log.warning("what uninstalled workspaces left was not purged: %s", error)
            await _pause(stop, PURGE_S)

    # HTTP

    async def handle(
        self,
        method: str,
        path: str,
        headers: Mapping[str, Sequence[str]],
        query: str,
        body: bytes,
    ) -> HttpAnswer:
        """Answer a request for one of our paths."""
        if path == manifest.EVENTS_PATH and method == "POST":
            return await self._handle_event(headers, body)
        if path == manifest.INSTALL_PATH and method == "GET":
            return self._handle_install(query)
        if path == manifest.REDIRECT_PATH and method == "GET":
            return await self._handle_redirect(query)
        return HttpAnswer(405, "", {"Allow": "POST" if path == manifest.EVENTS_PATH else "GET"})

    async def _handle_event(self, headers: Mapping[str, Sequence[str]], body: bytes) -> HttpAnswer:
        secret = self._settings.slack.signing_secret.get_secret_value()
        if not secret:
            return HttpAnswer(404)  # nothing could be verified
        given = {name.lower(): values for name, values in headers.items()}
        if not intake.is_signed(secret, given, body, now=time.time()):
            log.info("a request that Slack did not sign was refused")
            return HttpAnswer(401)
        payload = intake.read_body(body, next(iter(given.get("content-type", ())), ""))
        if payload is None:
            log.warning("Slack sent a body that is no payload")
            return HttpAnswer(400)
        response = await self.app.dispatch(payload)
        kept = {name: values[0] for name, values in response.headers.items() if values}
        return HttpAnswer(response.status, response.body or "", kept)

    def _handle_install(self, query: str) -> HttpAnswer:
        state = _parameter(query, "state")
        try:
            self._engine.chats.installations.verify_install(state)
        except Unauthenticated as error:
            return _page(403, "This link is no longer valid", str(error))
        url = installing.authorize_url(self._settings, self.api, state)
        return HttpAnswer(302, "", {"Location": url})

    async def _handle_redirect(self, query: str) -> HttpAnswer:
        if _parameter(query, "error"):
            return _page(200, "Not installed", "Installation cancelled.")
        try:
            tenant_id = self._engine.chats.installations.verify_install(_parameter(query, "state"))
            new = await installing.exchange(self._settings, self.api, _parameter(query, "code"))
            if new.team_id:  # what the exchange does not tell: the address, and the bot's own id
                own = await installing.of_token(self._settings, self.api, new.token)
                new = replace(new, url=own.url, bot_id=own.bot_id)
            await self._engine.chats.installations.install(tenant_id, new)
        except SlackTrouble as trouble:
            log.warning("an install failed: %s", trouble)
            return _page(
                502, "Not installed", "Slack did not accept it. Open the install link again."
            )
        except EngineError as error:
            return _page(403, "Not installed", str(error))
        self.app.forget()
        return _page(
            200,
            "Scrubjay is installed",
            f"It is in {new.name or 'your workspace'} now: invite it to a channel, and mention it.",
        )


def _page(status: int, title: str, text: str) -> HttpAnswer:
    body = PAGE.format(title=html.escape(title), text=html.escape(text))
    return HttpAnswer(status, body, {"Content-Type": "text/html; charset=utf-8"})


def _parameter(query: str, name: str) -> str:
    return parse_qs(query).get(name, [""])[0]


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


@asynccontextmanager
async def open_slack_bot(
    engine: Engine, answer_worker: AnswerWorker | None = None
) -> AsyncIterator[SlackBot]:
    """The bot of an open engine; everything it holds is closed on exit."""
    async with open_api(engine.settings.slack) as api:
        bot = SlackBot(engine, api, answer_worker)
        try:
            yield bot
        finally:
            bot.answer_worker.leave(bot.platform)
