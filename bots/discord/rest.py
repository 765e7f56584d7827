"""Calls to Discord's REST interface with one bot's token, errors in our words.

Every process of the bot uses this, whether it holds the gateway or not. Nothing here waits for a
rate limit that is longer than a moment: `DiscordTrouble` says when to try again, and the job does.
Too many refusals in a row pause all calls, before Discord bans the address.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp

from bots.discord.components import OutgoingFile
from bots.platform import Undelivered
from engine.settings import DiscordSettings

log = logging.getLogger(__name__)

API = "https://discord.com/api/v10"
AGENT = "DiscordBot (scrubjay, 1)"
RETRY_S = 5.0  # after a fault of Discord's own, or of the network
PATIENCE_S = 1.5  # a bucket that frees up so soon is waited for
INVALID_MAX, INVALID_WINDOW_S = 8_000, 600.0  # at 10,000 refusals in ten minutes Discord bans

# Discord's own numbers for what went wrong.
UNKNOWN_CHANNEL, UNKNOWN_MESSAGE, UNKNOWN_WEBHOOK = 10003, 10008, 10015
UNKNOWN_INTERACTION, ACKNOWLEDGED, TOKEN_OVER = 10062, 40060, 50027
MISSING_ACCESS, CANNOT_DM, MISSING_PERMISSIONS = 50001, 50007, 50013
EMPTY_MESSAGE, WRONG_CHANNEL, BAD_FORM = 50006, 50024, 50035
THREAD_EXISTS, THREAD_LOCKED = 160004, 160005
# An interaction that can't be replied to any more.
LAPSED = frozenset({UNKNOWN_WEBHOOK, UNKNOWN_INTERACTION, TOKEN_OVER})
# The bot may not speak there, whatever is tried.
SHUT = frozenset({MISSING_ACCESS, MISSING_PERMISSIONS, THREAD_LOCKED, UNKNOWN_CHANNEL})


class DiscordTrouble(Undelivered):
    """Discord refused a call: its HTTP `status`, and `code`, its own number for why."""

    def __init__(
        self, status: int, code: int, *, call: str, said: str = "", retry_in_s: float | None = None
    ) -> None:
        words = f" {code}: {said}" if code else f" {said}".rstrip()
        super().__init__(f"Discord answered {status}{words} to {call}", retry_in_s=retry_in_s)
        self.status = status
        self.code = code


class DiscordApi:
    """REST with the bot's token. Get one from `open_api`."""

    def __init__(self, settings: DiscordSettings, session: aiohttp.ClientSession) -> None:
        self.base_url = settings.api_base_url.rstrip("/") or API
        self._token = settings.bot_token.get_secret_value()
        self._timeout = aiohttp.ClientTimeout(total=settings.timeout_s)
        self._session = session
        self._free_at: dict[str, float] = {}  # monotonic, by bucket; "" is all of them
        self._refusals: deque[float] = deque()
        self._me: dict[str, Any] = {}

    async def me(self) -> Mapping[str, Any]:
        """The bot's own account, with the id of its application; asked for once."""
        if not self._me:
            account = await self.call("GET", "users/@me")
            application = await self.call("GET", "oauth2/applications/@me")
            self._me = {**account, "application_id": str(application["id"])}
        return self._me

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,  # noqa: ANN401 (JSON)
        *,
        query: Mapping[str, str | int] | None = None,
        files: Sequence[OutgoingFile] = (),
        reason: str = "",
    ) -> Any:  # noqa: ANN401 (JSON)
        """What Discord answers; `DiscordTrouble` where it refuses or can't be reached.

        A path that begins with `interactions` or `webhooks` carries its own token.
        """
        name = f"{method} {bucket_of(method, path).partition(' ')[2]}"
        await self._wait_for(bucket_of(method, path), name)
        headers = {"User-Agent": AGENT}
        if not path.startswith(("interactions/", "webhooks/")):
            headers["Authorization"] = f"Bot {self._token}"
        if reason:
            headers["X-Audit-Log-Reason"] = quote(reason[:400])
        try:
            async with self._session.request(
                method,
                f"{self.base_url}/{path}",
                params=query,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                **_content(body, files),
            ) as response:
                said = await response.read()
                return self._answered(response, said, bucket_of(method, path), name)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("Discord can't be reached: %s", type(error).__name__)
            raise DiscordTrouble(
                0, 0, call=name, said="(unreachable)", retry_in_s=RETRY_S
            ) from None

    def _answered(
        self, response: aiohttp.ClientResponse, said: bytes, bucket: str, call: str
    ) -> Any:  # noqa: ANN401 (JSON)
        value = _parsed(said)
        fields: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        if response.status < 300:
            if response.headers.get("X-RateLimit-Remaining") == "0":
                after_s = _seconds(response.headers.get("X-RateLimit-Reset-After"), 1.0)
                self._free_at[bucket] = time.monotonic() + after_s
            return value
        if response.status in {401, 403, 429}:
            self._refusals.append(time.monotonic())
        retry_in_s = None
        if response.status == 429:
            # Without a Via header it is Cloudflare who says so, and perhaps not in JSON.
            header = response.headers.get("Retry-After")
            retry_in_s = _seconds(fields.get("retry_after"), _seconds(header, RETRY_S))
            everywhere = bool(fields.get("global")) or not response.headers.get("Via")
            self._free_at["" if everywhere else bucket] = time.monotonic() + retry_in_s
        elif response.status >= 500:
            retry_in_s = RETRY_S
        code = fields.get("code")
        raise DiscordTrouble(
            response.status,
            code if isinstance(code, int) else 0,
            call=call,
            said=str(fields.get("message") or "")[:120],
            retry_in_s=retry_in_s,
        )

    async def _wait_for(self, bucket: str, call: str) -> None:
        now = time.monotonic()
        while self._refusals and self._refusals[0] < now - INVALID_WINDOW_S:
            self._refusals.popleft()
        if len(self._refusals) >= INVALID_MAX:
            wait_s = self._refusals[0] + INVALID_WINDOW_S - now
            raise DiscordTrouble(
                0, 0, call=call, said="(too many refusals: paused)", retry_in_s=wait_s
            )
        wait_s = max(self._free_at.get("", 0.0), self._free_at.get(bucket, 0.0)) - now
        if wait_s > PATIENCE_S:
            raise DiscordTrouble(429, 0, call=call, said="(paused)", retry_in_s=wait_s)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if len(self._free_at) > 1_000:
            self._free_at = {key: at for key, at in self._free_at.items() if at > now}


def bucket_of(method: str, path: str) -> str:
    """What Discord counts together: the route with its major id, tokens and other ids left out."""
    parts = path.split("/")
    kept = [part if i < 2 or not re.search(r"\d{5}", part) else "*" for i, part in enumerate(parts)]
    if parts[0] in {"interactions", "webhooks"}:
        kept[1:3] = ["*", "*"]
    return f"{method} {'/'.join(kept)}"


def _content(body: Any, files: Sequence[OutgoingFile]) -> dict[str, Any]:  # noqa: ANN401 (JSON)
    if not files:
        return {} if body is None else {"json": body}
    form = aiohttp.FormData(quote_fields=False)
    attached = [{"id": n, "filename": file.name} for n, file in enumerate(files)]
    form.add_field(
        "payload_json",
        json.dumps({**(body or {}), "attachments": attached}),
        content_type="application/json",
    )
    for n, file in enumerate(files):
        form.add_field(f"files[{n}]", file.data, filename=file.name, content_type="text/markdown")
    return {"data": form}


def _parsed(said: bytes) -> Any:  # noqa: ANN401 (JSON)
    try:
        return json.loads(said) if said else None
    except ValueError:
        return None


def _seconds(value: object, otherwise: float) -> float:
    try:
        return max(0.05, float(str(value)))
    except ValueError:
        return otherwise


@asynccontextmanager
async def open_api(settings: DiscordSettings) -> AsyncIterator[DiscordApi]:
    """The API with its session, closed on exit."""
    async with aiohttp.ClientSession(trust_env=True) as session:
        yield DiscordApi(settings, session)
    await asyncio.sleep(0)  # aiohttp closes its transports in the next turn of the loop
