"""Discord read over its REST interface: channels, forums and their threads, people, who reads what.

One page a call of `read_page`: a channel's own messages newest first, then its public threads,
active and archived. A private thread the bot was let into is a channel of its own, and read only
where a person who is in it had it added. `engine/access/discord_access.py` works out who reads
what. `discord_rest.py` makes the calls, `discord_cursor.py` holds how far a channel is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

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
from engine.chats.messages import posted_at
from engine.chats.places import Place
from engine.chats.source_reading import SourceReading, Whole
from engine.limits import Limits
from ingestion.sources.discord_cursor import DiscordCursor, snowflake
from ingestion.sources.discord_rest import GONE, AccessOf, DiscordForbidden, DiscordRest
from ingestion.sources.reader import HistoryPage, ReadingRefused, Roster

PAGE = 100  # messages, Discord's most
MEMBERS_PAGE = 1000
FORBIDDEN_MAX = 5  # threads in a row that may not be read: then neither is the channel
SETTLED = timedelta(minutes=5)  # what was posted since may be kept already and not listed yet
CACHED_S = 600.0  # how long a server's members are remembered while its channels are synced
EMPTY = 20  # messages without a word: the bot may not read content

_CONTENT = "The bot can't see text: turn on Message Content Intent in its Developer Portal."


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
        self._rest = DiscordRest(access_of, limits)
        self._guilds: dict[str, _Guild] = {}

    # History

    async def read_page(self, reading: SourceReading) -> HistoryPage:
        """A page of the channel itself, a list of its threads, or a page of one of them."""
        cursor = DiscordCursor.load(reading)
        if not cursor.own_done:
            return await self._read_own(reading, cursor)
        if not cursor.listed:
            return await self._list_threads(reading, cursor)
        if cursor.threads:
            return await self._read_thread(reading, cursor)
        cursor.end()
        return HistoryPage((), cursor.dump(), more=False)

    async def _read_own(self, reading: SourceReading, cursor: DiscordCursor) -> HistoryPage:
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
        return HistoryPage(
            [to_message(row) for row in kept], cursor.dump(), more=True, wholes=whole
        )

    async def _check_readable(self, reading: SourceReading) -> None:
        """An empty channel is empty, or Discord shows its history to the bot no more."""
        guild = await self._load(reading.place)
        known = guild.server
        row = known.channels.get(reading.channel)
        if row is None and (thread := known.threads.get(reading.channel)):
            row = known.channels.get(str(thread.get("parent_id")))
        if row is None or not guild.bot_reads(row):
            raise ReadingRefused(GONE.format(channel=reading.channel), lost=True)

    async def _list_threads(self, reading: SourceReading, cursor: DiscordCursor) -> HistoryPage:
        found: list[Mapping[str, Any]] = []
        if not cursor.archived_before:
            answer = await self._rest.get(
                reading.place, f"guilds/{_guild(reading.place)}/threads/active"
            )
            found += [item for item in _list(answer, "threads") if _is_in(item, reading.channel)]
        query: dict[str, Any] = {"limit": PAGE}
        if cursor.archived_before:
            query["before"] = cursor.archived_before
        path = f"channels/{reading.channel}/threads/archived/public"
        is_further = not cursor.archived_before
        answer = await self._rest.get(reading.place, path, is_further=is_further, **query)
        archived = _list(answer, "threads")
        found += [item for item in archived if _is_in(item, reading.channel)]
        parent = await self._parent(reading) if found else None
        changed = [item for item in found if _last(item) >= cursor.lower_bound]
        known = {thread for thread, _ in cursor.threads}
        cursor.threads += [
            [str(item["id"]), ""] for item in changed if str(item["id"]) not in known
        ]
        more = bool(answer.get("has_more")) and bool(archived)
        cursor.archived_before = _archived_at(archived[-1]) if more else ""
        cursor.listed = not (more and cursor.archived_before)
        cursor.pages += 1
        if cursor.listed and not cursor.threads:
            cursor.end()
        return HistoryPage(
            (),
            cursor.dump(),
            more=not (cursor.listed and not cursor.threads),
            threads=[to_thread(item, parent) for item in found],
        )

    async def _parent(self, reading: SourceReading) -> Mapping[str, Any] | None:
        """The forum, which knows what its tags are called; None where there are no tags."""
        if reading.kind != "forum":
            return None
        found = await self._rest.get(reading.place, f"channels/{reading.channel}", is_further=True)
        return found if isinstance(found, Mapping) else None

    async def _read_thread(self, reading: SourceReading, cursor: DiscordCursor) -> HistoryPage:
        thread, before = cursor.threads[0]
        whole: list[Whole] = []
        try:
            rows = await self._messages(reading, thread, before)
            cursor.forbidden = 0
        except (
            ReadingRefused
        ) as refusal:  # deleted, or private by now: what is known of it no longer exists
            rows, whole = [], [Whole(frozenset(), thread=thread)]
            cursor.forbidden += isinstance(refusal, DiscordForbidden)
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
        return HistoryPage(messages, cursor.dump(), more=more, wholes=whole)

    async def _messages(
        self, reading: SourceReading, channel: str, before: str
    ) -> list[Mapping[str, Any]]:
        query: dict[str, Any] = {"limit": PAGE} | ({"before": before} if before else {})
        found = await self._rest.get(reading.place, f"channels/{channel}/messages", **query)
        rows = [row for row in _rows(found) if str(row.get("id", "")).isdecimal()]
        said = [row for row in rows if row.get("type") in TALK and not is_by_bot(row)]
        if len(said) >= EMPTY and not any(
            row.get("content") or row.get("attachments") or row.get("sticker_items") for row in said
        ):
            raise ReadingRefused(_CONTENT)
        return rows

    # People and channels

    async def read_people(self, place: Place) -> list[NewPerson]:
        """Everyone on the server; bots are no full members."""
        guild = await self._load(place, refresh=True)
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
            raise ReadingRefused(GONE.format(channel=channel), lost=True)
        readers = [person for person in people if may_read(known, row, person)]
        return Roster([subject_of(reader) for reader in readers], guild.at)

    async def _read_inside(
        self, place: Place, guild: _Guild, thread: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], frozenset[str]]:
        parent = guild.server.channels.get(str(thread.get("parent_id")))
        if parent is None:
            raise ReadingRefused(GONE.format(channel=thread["id"]), lost=True)
        path = f"channels/{thread['id']}/thread-members"
        rows = _rows(await self._rest.get(place, path, is_further=True))
        return parent, frozenset(str(row.get("user_id")) for row in rows)

    async def _load(self, place: Place, *, refresh: bool = False) -> _Guild:
        """The server: what is remembered of it, unless it is old or something changed since."""
        known = self._guilds.get(place.workspace_id)
        if known is not None and not refresh and _still_so(known, place):
            return known
        at, id_ = clock.now(), _guild(place)
        me = await self._rest.get(place, "users/@me")
        guild_row = await self._rest.get(place, f"guilds/{id_}", is_further=True)
        channels = _rows(await self._rest.get(place, f"guilds/{id_}/channels", is_further=True))
        active = await self._rest.get(place, f"guilds/{id_}/threads/active", is_further=True)
        private = [item for item in _list(active, "threads") if item.get("type") == PRIVATE_THREAD]
        server = Server(
            id_,
            owner=str(guild_row.get("owner_id") or ""),
            roles=role_bits(_list(guild_row, "roles")),
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
                await self._rest.get(place, path, is_further=True, limit=MEMBERS_PAGE, after=after)
            )
            members += [item for item in some if isinstance(item.get("user"), Mapping)]
            if len(some) < MEMBERS_PAGE:
                return members
            after = str(max(int(subject_of(item)) for item in some))


def _still_so(known: _Guild, place: Place) -> bool:
    changed = str(place.settings.get(CHANGED_AT) or "")
    fresh = clock.now() - known.at < timedelta(seconds=CACHED_S)
    return fresh and (not changed or known.at > datetime.fromisoformat(changed))


def _is_in(row: Mapping[str, Any], channel: str) -> bool:
    return str(row.get("parent_id")) == channel and row.get("type") in PUBLIC_THREADS


def _last(row: Mapping[str, Any]) -> int:
    value = str(row.get("last_message_id") or row.get("id") or 0)
    return int(value) if value.isdecimal() else 0


def _archived_at(row: Mapping[str, Any]) -> str:
    details = row.get("thread_metadata")
    return str(details.get("archive_timestamp") or "") if isinstance(details, Mapping) else ""


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


def _guild(place: Place) -> str:
    return place.external_id


def _id(row: Mapping[str, Any]) -> int:
    return int(row["id"])


def _rows(found: object) -> list[Mapping[str, Any]]:
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []


def _list(row: object, key: str) -> list[Mapping[str, Any]]:
    return _rows(row.get(key)) if isinstance(row, Mapping) else []
