"""Calls of Discord's REST interface for reading: paced over all processes, errors explained.

The calls of every process are counted together: those of a server, those of the bot, and the
refusals among them, as Discord shuts out an address that is refused too often.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from engine import clock
from engine.chats.places import Place
from engine.errors import Unavailable
from engine.limits import Limits
from ingestion.sources.reader import ReadingRefused, Wait

API = "https://discord.com/api/v10"
RATE_PER_S, BURST = 5.0, 10.0  # of the calls for one server
BOT_RATE_PER_S = 25.0  # of all calls; Discord allows a bot 50, of which answers need their share
# Calls that may be refused. At 10,000 in ten minutes Discord shuts the address out; this allows
# 3,000 at most, and a caller that finds the allowance spent lets everything rest for that long.
REFUSALS, REFUSALS_S = 1_500, 600.0
LONGEST_PAUSE_S = 5.0  # between the calls of one step

GONE = "The bot can't read #{channel}: give it View Channel and Read Message History there."
_TOKEN = "Discord no longer accepts the bot's token: set a new one."  # noqa: S105
_LEFT = "The bot is no longer on the server: invite it again."
_MEMBERS = "The bot can't see members: turn on Server Members Intent in its Developer Portal."


@dataclass(frozen=True, slots=True)
class DiscordAccess:
    """How a server is reached; `base_url` goes as far as /api/v10, without a slash."""

    token: str = field(repr=False)
    base_url: str = API
    timeout_s: float = 20.0


AccessOf = Callable[[Place], Awaitable[DiscordAccess]]


class DiscordForbidden(ReadingRefused):
    """Discord won't show this to the bot."""


class DiscordRest:
    """Asks Discord for pages of JSON, on behalf of the workspaces it has access to."""

    def __init__(self, access_of: AccessOf, limits: Limits) -> None:
        self._access_of = access_of
        self._limits = limits

    async def get(
        self,
        place: Place,
        path: str,
        *,
        is_further: bool = False,
        **query: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401 (JSON)
        """One answer; `is_further`: a later call of a step, which would else start over."""
        access = await self._access_of(place)
        await self._spend(place, access.token, is_further=is_further)
        try:
            async with (
                asyncio.timeout(access.timeout_s + 5),
                httpx2.AsyncClient(
                    base_url=f"{access.base_url}/",
                    headers={"Authorization": f"Bot {access.token}"},
                    timeout=access.timeout_s,
                ) as client,
            ):
                answer = await client.get(path, params=query)
        except (TimeoutError, httpx2.HTTPError, OSError) as error:
            raise Unavailable("Discord can't be reached; Scrubjay tries again.") from error
        if answer.status_code in {401, 403, 429}:
            await self._count_refusal(access.token)
        if answer.status_code == 429:
            raise await self._asked_to_wait(place, access.token, answer)
        if answer.status_code >= 500:
            raise Unavailable("Discord has an internal error; Scrubjay tries again.")
        if answer.status_code != 200:
            raise _refusal(answer.status_code, path)
        try:
            return answer.json()
        except ValueError as error:
            raise Unavailable(
                "Discord returned an invalid response; Scrubjay tries again."
            ) from error

    async def _spend(self, place: Place, token: str, *, is_further: bool) -> None:
        for key in (_paused_key(place), f"discord-rest:{_bot(token)}"):
            held = await self._limits.get(key)
            if held is not None:
                wait_s = float(held) - clock.now().timestamp()
                raise Wait(max(0.1, wait_s), "Discord asked to wait")
        bot = f"discord:{_bot(token)}"
        wait_s = await self._limits.take(bot, rate_per_s=BOT_RATE_PER_S, burst=BOT_RATE_PER_S)
        wait_s = wait_s or await self._limits.take(
            f"{place.tenant_id}:discord:{place.external_id}", rate_per_s=RATE_PER_S, burst=BURST
        )
        if wait_s > 0 and is_further:
            await asyncio.sleep(min(wait_s, LONGEST_PAUSE_S))
        elif wait_s > 0:
            raise Wait(wait_s, "the calls set aside for reading are used up")

    async def _asked_to_wait(self, place: Place, token: str, answer: httpx2.Response) -> Wait:
        """For how long, which all workers keep to; the whole bot where Discord says so."""
        try:
            wait_s = max(0.1, float(answer.headers.get("Retry-After") or 5))
        except ValueError:
            wait_s = 5.0
        # Without a Via it is Cloudflare that refuses the address, whichever bot asks from it.
        everything = "X-RateLimit-Global" in answer.headers or "Via" not in answer.headers
        key = f"discord-rest:{_bot(token)}" if everything else _paused_key(place)
        await self._pause(key, wait_s)
        return Wait(wait_s, "Discord asked to wait")

    async def _count_refusal(self, token: str) -> None:
        """Let everything rest for a while, should too many calls be refused."""
        left_out = await self._limits.take(
            f"discord-refused:{_bot(token)}", rate_per_s=REFUSALS / REFUSALS_S, burst=REFUSALS
        )
        if left_out > 0:
            await self._pause(f"discord-rest:{_bot(token)}", REFUSALS_S)

    async def _pause(self, key: str, seconds: float) -> None:
        until = clock.now().timestamp() + seconds
        await self._limits.put(key, f"{until:.3f}".encode(), ttl_s=seconds)


def _refusal(status: int, path: str) -> ReadingRefused:
    if status == 401:
        return ReadingRefused(_TOKEN, lost=True)
    if status in {403, 404} and path.endswith("members"):
        return ReadingRefused(_MEMBERS)
    if status in {403, 404} and path.startswith("guilds/"):
        return ReadingRefused(_LEFT, lost=True)
    if status in {403, 404}:
        kind = DiscordForbidden if status == 403 else ReadingRefused
        return kind(GONE.format(channel=path.split("/")[1]), lost=True)
    return ReadingRefused(f"Discord refused ({status}) when it was asked for a page.")


def _bot(token: str) -> str:
    """Names a bot in shared keys, without a word of its token."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def _paused_key(place: Place) -> str:
    return f"{place.tenant_id}:discord-paused:{place.external_id}"
