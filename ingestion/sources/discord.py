"""Discord read over its REST interface: channels, forums and their threads, people, who reads what.

One page a call of `read_page`: a channel's own messages newest first, then its public threads,
active and archived. A private thread the bot was let into is a channel of its own, and read only
where somebody who is in it had it added. Who reads what is worked out in `engine.discord_access`.

The calls of every process are counted together: those of a server, those of the bot, and the
refusals among them, as Discord shuts out an address that is refused too often.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx2

from engine import clock
from engine.access.discord_access import (
    PRIVATE_THREAD,
    PUBLIC_THREADS,
    Server,
    is_bot,
    may_read,
    may_read_thread,
    role_bits,
    subject_of,
)
from engine.chats.accounts import NewPerson
from engine.chats.channels import NewChannel
from engine.chats.discord_messages import (
    STARTER,
    TALK,
    is_by_bot,
    to_channels,
    to_message,
    to_person,
    to_thread,
)
from engine.chats.freshness import CHANGED_AT
from engine.chats.messages import DISCORD_EPOCH_MS, posted_at
from engine.chats.places import Place
from engine.chats.source_reading import SourceReading, Whole
from engine.errors import Unavailable
from engine.limits import Limits
from ingestion.sources.reader import Page, Refused, Roster, Wait

API = "https://discord.com/api/v10"
PAGE = 100  # messages, Discord's most
MEMBERS_PAGE = 1000
RATE_PER_S, BURST = 5.0, 10.0  # of the calls for one server
BOT_RATE_PER_S = 25.0  # of all calls; Discord allows a bot 50, of which answers need their share
# Calls that may be refused. At 10,000 in ten minutes Discord shuts the address out; this allows
# 3,000 at most, and whoever finds the allowance spent lets everything rest for that long.
REFUSALS, REFUSALS_S = 1_500, 600.0
FORBIDDEN_MAX = 5  # threads in a row that may not be read: then neither is the channel
LONGEST_PAUSE_S = 5.0  # between the calls of one step
REPAIRED = timedelta(days=30)
OVERLAP = timedelta(days=1)
SETTLED = timedelta(minutes=5)  # what was posted since may be kept already and not listed yet
CACHED_S = 600.0  # how long a server's members are remembered while its channels are synced
EMPTY = 20  # messages without a word: the bot may not read content

_GONE = "The bot may not read #{channel}: give it View Channel and Read Message History there."
_TOKEN = "Discord no longer accepts the bot's token: set a new one."  # noqa: S105
_LEFT = "The bot is not on the server any more: invite it again."
_CONTENT = "Discord shows the bot no text: turn on Message Content Intent in its Developer Portal."
_MEMBERS = (
    "Discord tells the bot no members: turn on Server Members Intent in its Developer Portal."
)


@dataclass(frozen=True, slots=True)
class DiscordAccess:
    """How a server is reached; `base_url` goes as far as /api/v10, without a slash."""

    token: str = field(repr=False)
    base_url: str = API
    timeout_s: float = 20.0


AccessOf = Callable[[Place], Awaitable[DiscordAccess]]


class _Forbidden(Refused):
    """Discord won't show this to the bot."""


@dataclass(frozen=True, slots=True)
class _Guild:
    """A server as it was at `at`, with its members and the bot's own id."""

    server: Server
    members: Sequence[Mapping[str, Any]]
    bot: str
    at: datetime

    def bot_reads(self, channel: Mapping[str, Any]) -> bool:
        """Whether the bot itself may read a channel."""
        me = next((member for member in self.members if subject_of(member) == self.bot), None)
        return me is not None and may_read(self.server, channel, me)


class DiscordReader:
    """A `Reader` of every connected Discord server."""

    def __init__(self, access_of: AccessOf, limits: Limits) -> None:
        self._access_of = access_of
        self._limits = limits
        self._guilds: dict[str, _Guild] = {}

    # History

    async def read_page(self, reading: SourceReading) -> Page:
        """A page of the channel itself, a list of its threads, or a page of one of them."""
        cursor = _Cursor.load(reading)
        if not cursor.own_done:
            return await self._read_own(reading, cursor)
        if not cursor.listed:
            return await self._list_threads(reading, cursor)
        if cursor.threads:
            return await self._read_thread(reading, cursor)
        cursor.end()
        return Page((), cursor.dump(), more=False)

    async def _read_own(self, reading: SourceReading, cursor: _Cursor) -> Page:
        if reading.kind == "forum":
            cursor.own_done = True
            return await self._list_threads(reading, cursor)
        rows = await self._messages(reading, reading.channel, cursor.before)
        if not rows and not cursor.before:
            await self._check_readable(reading)
        kept = [row for row in rows if _id(row) >= cursor.lower_bound]
        whole = _whole(rows, kept, cursor.lower_bound, cursor.before)
        cursor.pages += 1
        if rows:
            cursor.before = str(min(map(_id, rows)))
            cursor.reached = posted_at(cursor.before).isoformat()
        cursor.own_done = len(rows) < PAGE or len(kept) < len(rows)
        cursor.listed = reading.kind == "thread"  # threads have none of their own
        return Page([to_message(row) for row in kept], cursor.dump(), more=True, wholes=whole)

    async def _check_readable(self, reading: SourceReading) -> None:
        """An empty channel is empty, or Discord shows its history to the bot no more."""
        guild = await self._load(reading.place)
        known = guild.server
        row = known.channels.get(reading.channel)
        if row is None and (thread := known.threads.get(reading.channel)):
            row = known.channels.get(str(thread.get("parent_id")))
        if row is None or not guild.bot_reads(row):
            raise Refused(_GONE.format(channel=reading.channel), lost=True)

    async def _list_threads(self, reading: SourceReading, cursor: _Cursor) -> Page:
        found: list[Mapping[str, Any]] = []
        if not cursor.archived_before:
            answer = await self._get(
                reading.place, f"guilds/{_guild(reading.place)}/threads/active"
            )
            found += [item for item in _list(answer, "threads") if _is_in(item, reading.channel)]
        query: dict[str, Any] = {"limit": PAGE}
        if cursor.archived_before:
            query["before"] = cursor.archived_before
        path = f"channels/{reading.channel}/threads/archived/public"
        goes_on = not cursor.archived_before
        answer = await self._get(reading.place, path, goes_on=goes_on, **query)
        archived = _list(answer, "threads")
        found += [item for item in archived if _is_in(item, reading.channel)]
        parent = await self._parent(reading) if found else None
        changed = [item for item in found if _last(item) >= cursor.lower_bound]
        known = {one for one, _ in cursor.threads}
        cursor.threads += [
            [str(item["id"]), ""] for item in changed if str(item["id"]) not in known
        ]
        more = bool(answer.get("has_more")) and bool(archived)
        cursor.archived_before = _archived_at(archived[-1]) if more else ""
        cursor.listed = not (more and cursor.archived_before)
        cursor.pages += 1
        if cursor.listed and not cursor.threads:
            cursor.end()
        return Page(
            (),
            cursor.dump(),
            more=not (cursor.listed and not cursor.threads),
            threads=[to_thread(item, parent) for item in found],
        )

    async def _parent(self, reading: SourceReading) -> Mapping[str, Any] | None:
        """The forum, which knows what its tags are called; None where there are no tags."""
        if reading.kind != "forum":
            return None
        found = await self._get(reading.place, f"channels/{reading.channel}", goes_on=True)
        return found if isinstance(found, Mapping) else None

    async def _read_thread(self, reading: SourceReading, cursor: _Cursor) -> Page:
        thread, before = cursor.threads[0]
        whole: list[Whole] = []
        try:
            rows = await self._messages(reading, thread, before)
            cursor.forbidden = 0
        except Refused as refusal:  # deleted, or private by now: what is known of it stands no more
            rows, whole = [], [Whole(frozenset(), thread=thread)]
            cursor.forbidden += isinstance(refusal, _Forbidden)
            if not refusal.lost or cursor.forbidden >= FORBIDDEN_MAX:
                raise
        kept = [row for row in rows if _id(row) >= cursor.lower_bound or not cursor.repairing]
        if len(rows) < PAGE or len(kept) < len(rows):
            if not before and rows and len(rows) < PAGE:
                standing = {str(row["id"]) for row in rows} | {thread}
                whole = [Whole(frozenset(standing), thread=thread)]
            cursor.threads = cursor.threads[1:]
        else:
            cursor.threads[0] = [thread, str(min(map(_id, rows)))]
        cursor.pages += 1
        more = bool(cursor.threads)
        if not more:
            cursor.end()
        messages = [to_message(row, thread) for row in kept if row.get("type") != STARTER]
        return Page(messages, cursor.dump(), more=more, wholes=whole)

    async def _messages(
        self, reading: SourceReading, channel: str, before: str
    ) -> list[Mapping[str, Any]]:
        query: dict[str, Any] = {"limit": PAGE} | ({"before": before} if before else {})
        found = await self._get(reading.place, f"channels/{channel}/messages", **query)
        rows = [row for row in _rows(found) if str(row.get("id", "")).isdecimal()]
        said = [row for row in rows if row.get("type") in TALK and not is_by_bot(row)]
        if len(said) >= EMPTY and not any(
            row.get("content") or row.get("attachments") or row.get("sticker_items") for row in said
        ):
            raise Refused(_CONTENT)
        return rows

    # People and channels

    async def read_people(self, place: Place) -> list[NewPerson]:
        """Everyone on the server; bots are no full members."""
        guild = await self._load(place, anew=True)
        return [to_person(row) for row in guild.members]

    async def read_channels(self, place: Place) -> list[NewChannel]:
        """The channels that hold text the bot may read, and the private threads it is in."""
        guild = await self._load(place)
        known = guild.server
        seen = {id_ for id_, row in known.channels.items() if guild.bot_reads(row)}
        return [
            channel
            for channel in to_channels(known)
            if channel.external_id in seen or channel.external_id in known.threads
        ]

    async def read_members(self, place: Place, channel: str) -> Roster:
        """Who reads a channel, by roles and overwrites, or a private thread; bots left out."""
        guild = await self._load(place)
        known, people = guild.server, [member for member in guild.members if not is_bot(member)]
        thread = known.threads.get(channel)
        if thread is not None:
            parent, inside = await self._read_inside(place, guild, thread)
            readers = [
                person for person in people if may_read_thread(known, parent, person, inside)
            ]
            return Roster([subject_of(reader) for reader in readers], guild.at)
        row = known.channels.get(channel)
        if row is None or not guild.bot_reads(row):
            raise Refused(_GONE.format(channel=channel), lost=True)
        readers = [person for person in people if may_read(known, row, person)]
        return Roster([subject_of(reader) for reader in readers], guild.at)

    async def _read_inside(
        self, place: Place, guild: _Guild, thread: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], frozenset[str]]:
        parent = guild.server.channels.get(str(thread.get("parent_id")))
        if parent is None:
            raise Refused(_GONE.format(channel=thread["id"]), lost=True)
        path = f"channels/{thread['id']}/thread-members"
        rows = _rows(await self._get(place, path, goes_on=True))
        return parent, frozenset(str(row.get("user_id")) for row in rows)

    async def _load(self, place: Place, *, anew: bool = False) -> _Guild:
        """The server: what is remembered of it, unless it is old or something changed since."""
        known = self._guilds.get(place.workspace_id)
        if known is not None and not anew and _still_so(known, place):
            return known
        at, id_ = clock.now(), _guild(place)
        me = await self._get(place, "users/@me")
        told = await self._get(place, f"guilds/{id_}", goes_on=True)
        channels = _rows(await self._get(place, f"guilds/{id_}/channels", goes_on=True))
        active = await self._get(place, f"guilds/{id_}/threads/active", goes_on=True)
        private = [item for item in _list(active, "threads") if item.get("type") == PRIVATE_THREAD]
        server = Server(
            id_,
            owner=str(told.get("owner_id") or ""),
            roles=role_bits(_list(told, "roles")),
            channels={str(channel["id"]): channel for channel in channels},
            threads={str(item["id"]): item for item in private},
        )
        guild = _Guild(server, await self._read_all_members(place), str(me.get("id")), at)
        self._guilds[place.workspace_id] = guild
        return guild

    async def _read_all_members(self, place: Place) -> list[Mapping[str, Any]]:
        members: list[Mapping[str, Any]] = []
        after, path = "0", f"guilds/{_guild(place)}/members"
        while True:
            some = _rows(
                await self._get(place, path, goes_on=True, limit=MEMBERS_PAGE, after=after)
            )
            members += [item for item in some if isinstance(item.get("user"), Mapping)]
            if len(some) < MEMBERS_PAGE:
                return members
            after = str(max(int(subject_of(item)) for item in some))

    # Asking

    async def _get(
        self,
        place: Place,
        path: str,
        *,
        goes_on: bool = False,
        **query: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401 (JSON)
        """One answer; `goes_on` for a further call of a step, which would else begin again."""
        access = await self._access_of(place)
        await self._spend(place, access.token, goes_on=goes_on)
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
            raise Unavailable("Discord can't be reached; it is asked again.") from error
        if answer.status_code in {401, 403, 429}:
            await self._count_refusal(access.token)
        if answer.status_code == 429:
            raise await self._told_to_wait(place, access.token, answer)
        if answer.status_code >= 500:
            raise Unavailable("Discord has a fault of its own; it is asked again.")
        if answer.status_code != 200:
            raise _refusal(answer.status_code, path)
        try:
            return answer.json()
        except ValueError as error:
            raise Unavailable("Discord answered nonsense; it is asked again.") from error

    async def _spend(self, place: Place, token: str, *, goes_on: bool) -> None:
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
        if wait_s > 0 and goes_on:
            await asyncio.sleep(min(wait_s, LONGEST_PAUSE_S))
        elif wait_s > 0:
            raise Wait(wait_s, "the calls set aside for reading are used up")

    async def _told_to_wait(self, place: Place, token: str, answer: httpx2.Response) -> Wait:
        """For how long, which all workers keep to; the whole bot where Discord says so."""
        try:
            wait_s = max(0.1, float(answer.headers.get("Retry-After") or 5))
        except ValueError:
            wait_s = 5.0
        # Without a Via it is Cloudflare that refuses the address, whoever asks from it.
        everything = "X-RateLimit-Global" in answer.headers or "Via" not in answer.headers
        key = f"discord-rest:{_bot(token)}" if everything else _paused_key(place)
        await self._rest(key, wait_s)
        return Wait(wait_s, "Discord asked to wait")

    async def _count_refusal(self, token: str) -> None:
        """Let everything rest for a while, should too many calls be refused."""
        left_out = await self._limits.take(
            f"discord-refused:{_bot(token)}", rate_per_s=REFUSALS / REFUSALS_S, burst=REFUSALS
        )
        if left_out > 0:
            await self._rest(f"discord-rest:{_bot(token)}", REFUSALS_S)

    async def _rest(self, key: str, seconds: float) -> None:
        until = clock.now().timestamp() + seconds
        await self._limits.put(key, f"{until:.3f}".encode(), ttl_s=seconds)


def _still_so(known: _Guild, place: Place) -> bool:
    changed = str(place.settings.get(CHANGED_AT) or "")
    fresh = clock.now() - known.at < timedelta(seconds=CACHED_S)
    return fresh and (not changed or known.at > datetime.fromisoformat(changed))


def _refusal(status: int, path: str) -> Refused:
    if status == 401:
        return Refused(_TOKEN, lost=True)
    if status in {403, 404} and path.endswith("members"):
        return Refused(_MEMBERS)
    if status in {403, 404} and path.startswith("guilds/"):
        return Refused(_LEFT, lost=True)
    if status in {403, 404}:
        kind = _Forbidden if status == 403 else Refused
        return kind(_GONE.format(channel=path.split("/")[1]), lost=True)
    return Refused(f"Discord refused ({status}) when it was asked for a page.")


def _bot(token: str) -> str:
    """Names a bot in shared keys, without a word of its token."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def _is_in(row: Mapping[str, Any], channel: str) -> bool:
    return str(row.get("parent_id")) == channel and row.get("type") in PUBLIC_THREADS


def _last(row: Mapping[str, Any]) -> int:
    value = str(row.get("last_message_id") or row.get("id") or 0)
    return int(value) if value.isdecimal() else 0


def _archived_at(row: Mapping[str, Any]) -> str:
    told = row.get("thread_metadata")
    return str(told.get("archive_timestamp") or "") if isinstance(told, Mapping) else ""


def _whole(
    rows: Sequence[Mapping[str, Any]],
    kept: Sequence[Mapping[str, Any]],
    lower_bound: int,
    before: str,
) -> list[Whole]:
    """The stretch of a channel that a page covers, from one end to the other."""
    if not rows:
        return []
    ids = list(map(_id, rows))
    low = lower_bound if len(kept) < len(rows) else (min(ids) if len(rows) == PAGE else lower_bound)
    settled = snowflake(clock.now() - SETTLED)
    high = int(before) - 1 if before else max(*ids, settled)
    return [Whole(frozenset(str(row["id"]) for row in rows), low=str(low), high=str(high))]


def snowflake(at: datetime) -> int:
    """The least id of a message posted then."""
    return max(0, int(at.timestamp() * 1000) - DISCORD_EPOCH_MS) << 22


@dataclass(slots=True)
class _Cursor:
    """Where reading stands: `before` in the channel itself, `threads` as [id, before]."""

    started: str
    pages: int = 0
    before: str = ""
    reached: str = ""
    own_done: bool = False
    listed: bool = False
    archived_before: str = ""
    threads: list[list[str]] = field(default_factory=list)
    done: bool = False
    repairing: bool = False
    repaired: str = ""
    lower_bound: int = 0
    forbidden: int = 0  # threads in a row

    @classmethod
    def load(cls, reading: SourceReading) -> _Cursor:
        known = {key: reading.cursor[key] for key in cls.__slots__ if key in reading.cursor}
        cursor = cls(**{"started": clock.now().isoformat(), **known})
        if not known and reading.since is not None:
            cursor.lower_bound = snowflake(reading.since)
        if cursor.done and not cursor.repairing and reading.repair_at > cursor.repaired:
            cursor._begin_repair(reading)
        return cursor

    def _begin_repair(self, reading: SourceReading) -> None:
        """Read again from a day before the newest known, thirty days at least."""
        lower_bound = clock.now() - REPAIRED
        if reading.newest is not None:
            lower_bound = min(lower_bound, reading.newest - OVERLAP)
        if reading.since is not None:
            lower_bound = max(lower_bound, reading.since)
        self.lower_bound, self.before, self.archived_before = snowflake(lower_bound), "", ""
        self.own_done = self.listed = False
        self.forbidden = 0
        self.threads, self.repairing = [], True

    def end(self) -> None:
        """All is read, or read again."""
        if self.repairing:
            self.repaired = clock.now().isoformat()
        self.done, self.repairing = True, False

    def dump(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in self.__slots__}


def _guild(place: Place) -> str:
    return place.external_id


def _paused_key(place: Place) -> str:
    return f"{place.tenant_id}:discord-paused:{place.external_id}"


def _id(row: Mapping[str, Any]) -> int:
    return int(row["id"])


def _rows(found: object) -> list[Mapping[str, Any]]:
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []


def _list(row: object, key: str) -> list[Mapping[str, Any]]:
    return _rows(row.get(key)) if isinstance(row, Mapping) else []
