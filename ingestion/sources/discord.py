"""Discord read over its REST interface: channels, forums and their public threads, members.

One page a call of `read_page`: a channel's own messages newest first, then its threads, active and
archived. Private threads are left out: who is in them is told to nobody but them. A channel is
public where @everyone may read it and nobody is denied it; of every other one the readers are
worked out from roles and overwrites.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx2

from engine import clock
from engine.channels import NewChannel, NewPerson, Place
from engine.errors import Unavailable
from engine.limits import Limits
from engine.messages import DISCORD_EPOCH_MS, MessageKind, NewMessage, NewThread, posted_at
from engine.sources import Reading, Whole
from ingestion.sources.reader import Page, Refused, Wait

API = "https://discord.com/api/v10/"
PAGE = 100  # messages, Discord's most
MEMBERS_PAGE = 1000
RATE_PER_S = 5.0  # of all calls for one server; Discord allows a bot 50 in all
BURST = 10.0
LONGEST_PAUSE_S = 5.0  # between the calls of one step
REPAIRED = timedelta(days=30)
OVERLAP = timedelta(days=1)
SETTLED = timedelta(minutes=5)  # what was posted since may be kept already and not listed yet
CACHED_S = 600.0  # how long a server's members are remembered while its channels are synced
EMPTY = 20  # messages without a word: the bot may not read content

TEXT, VOICE, NEWS, STAGE, FORUM, MEDIA = 0, 2, 5, 13, 15, 16
KINDS = {TEXT: "text", VOICE: "voice", NEWS: "text", STAGE: "voice", FORUM: "forum", MEDIA: "forum"}
PUBLIC_THREADS = frozenset({10, 11})  # of announcements, public
TALK, COMMANDS = frozenset({0, 19}), frozenset({20, 23})  # message types
VIEW, HISTORY, ADMINISTRATOR = 1 << 10, 1 << 16, 1 << 3  # permission bits
READS = VIEW | HISTORY

_GONE = "The bot may not read #{channel}: give it View Channel and Read Message History there."
_TOKEN = "Discord no longer accepts the bot's token: set a new one."  # noqa: S105
_CONTENT = "Discord shows the bot no text: turn on Message Content Intent in its Developer Portal."
_MEMBERS = (
    "Discord tells the bot no members: turn on Server Members Intent in its Developer Portal."
)


@dataclass(frozen=True, slots=True)
class DiscordAccess:
    """How a server is reached."""

    token: str = field(repr=False)
    base_url: str = API
    timeout_s: float = 20.0


AccessOf = Callable[[Place], Awaitable[DiscordAccess]]


@dataclass(frozen=True, slots=True)
class _Guild:
    """What decides who reads what in a server."""

    owner: str
    everyone: int  # permissions of @everyone
    roles: Mapping[str, int]
    members: Sequence[Mapping[str, Any]]
    channels: Mapping[str, Mapping[str, Any]]
    at: datetime


class DiscordReader:
    """A `Reader` of every connected Discord server."""

    def __init__(self, access_of: AccessOf, limits: Limits) -> None:
        self._access_of = access_of
        self._limits = limits
        self._guilds: dict[str, _Guild] = {}

    # History

    async def read_page(self, reading: Reading) -> Page:
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

    async def _read_own(self, reading: Reading, cursor: _Cursor) -> Page:
        if reading.kind == "forum":
            cursor.own_done = True
            return await self._list_threads(reading, cursor)
        rows = await self._messages(reading, reading.channel, cursor.before)
        kept = [row for row in rows if _id(row) >= cursor.floor]
        whole = _whole(rows, kept, cursor.floor, cursor.before)
        cursor.pages += 1
        if rows:
            cursor.before = str(min(map(_id, rows)))
            cursor.reached = posted_at(cursor.before).isoformat()
        cursor.own_done = len(rows) < PAGE or len(kept) < len(rows)
        return Page([to_message(row) for row in kept], cursor.dump(), more=True, wholes=whole)

    async def _list_threads(self, reading: Reading, cursor: _Cursor) -> Page:
        found: list[Mapping[str, Any]] = []
        if not cursor.archived_before:
            answer = await self._get(
                reading.place, f"guilds/{_guild(reading.place)}/threads/active"
            )
            found += [one for one in _list(answer, "threads") if _is_in(one, reading.channel)]
        query: dict[str, Any] = {"limit": PAGE}
        if cursor.archived_before:
            query["before"] = cursor.archived_before
        path = f"channels/{reading.channel}/threads/archived/public"
        goes_on = not cursor.archived_before
        answer = await self._get(reading.place, path, goes_on=goes_on, **query)
        archived = _list(answer, "threads")
        found += [one for one in archived if _is_in(one, reading.channel)]
        changed = [one for one in found if _last(one) >= cursor.floor]
        known = {one for one, _ in cursor.threads}
        cursor.threads += [[str(one["id"]), ""] for one in changed if str(one["id"]) not in known]
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
            threads=[_thread(one) for one in found],
        )

    async def _read_thread(self, reading: Reading, cursor: _Cursor) -> Page:
        thread, before = cursor.threads[0]
        whole: list[Whole] = []
        try:
            rows = await self._messages(reading, thread, before)
        except Refused:  # deleted, or private by now: what is known of it stands no more
            rows, whole = [], [Whole(frozenset(), thread=thread)]
        kept = [row for row in rows if _id(row) >= cursor.floor or not cursor.repairing]
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
        messages = [to_message(row, thread) for row in kept]
        return Page(messages, cursor.dump(), more=more, wholes=whole)

    async def _messages(
        self, reading: Reading, channel: str, before: str
    ) -> list[Mapping[str, Any]]:
        query: dict[str, Any] = {"limit": PAGE} | ({"before": before} if before else {})
        found = await self._get(reading.place, f"channels/{channel}/messages", **query)
        rows = [row for row in _rows(found) if str(row.get("id", "")).isdecimal()]
        said = [row for row in rows if row.get("type") in TALK and not _is_bot(row)]
        if len(said) >= EMPTY and not any(
            row.get("content") or row.get("attachments") or row.get("sticker_items") for row in said
        ):
            raise Refused(_CONTENT)
        return rows

    # People and channels

    async def read_people(self, place: Place) -> list[NewPerson]:
        """Everyone on the server; bots are no full members."""
        guild = await self._load(place, anew=True)
        return [_person(row) for row in guild.members]

    async def read_channels(self, place: Place) -> list[NewChannel]:
        """The channels that hold text."""
        guild = await self._load(place)
        return [
            NewChannel(
                external_id=id_,
                name=str(row.get("name") or id_),
                is_public=_is_public(guild, row),
                kind=KINDS[row["type"]],
            )
            for id_, row in guild.channels.items()
            if row.get("type") in KINDS
        ]

    async def read_members(self, place: Place, channel: str) -> list[str]:
        """Who may read a channel, by roles and overwrites."""
        guild = await self._load(place)
        row = guild.channels.get(channel)
        if row is None:
            raise Refused(_GONE.format(channel=channel), lost=True)
        return [_subject(one) for one in guild.members if may_read(guild, row, one)]

    async def _load(self, place: Place, *, anew: bool = False) -> _Guild:
        known = self._guilds.get(place.workspace_id)
        if known is not None and not anew and clock.now() - known.at < timedelta(seconds=CACHED_S):
            return known
        at, id_ = clock.now(), _guild(place)
        told = await self._get(place, f"guilds/{id_}")
        channels = _rows(await self._get(place, f"guilds/{id_}/channels", goes_on=True))
        members: list[Mapping[str, Any]] = []
        after = "0"
        while True:
            path = f"guilds/{id_}/members"
            some = _rows(
                await self._get(place, path, goes_on=True, limit=MEMBERS_PAGE, after=after)
            )
            members += [one for one in some if isinstance(one.get("user"), Mapping)]
            if len(some) < MEMBERS_PAGE:
                break
            after = str(max(int(_subject(one)) for one in some))
        roles = {str(one["id"]): int(one.get("permissions") or 0) for one in _list(told, "roles")}
        guild = _Guild(
            owner=str(told.get("owner_id") or ""),
            everyone=roles.get(id_, 0),
            roles=roles,
            members=members,
            channels={str(one["id"]): one for one in channels},
            at=at,
        )
        self._guilds[place.workspace_id] = guild
        return guild

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
        await self._spend(place, goes_on=goes_on)
        try:
            async with (
                asyncio.timeout(access.timeout_s + 5),
                httpx2.AsyncClient(
                    base_url=access.base_url,
                    headers={"Authorization": f"Bot {access.token}"},
                    timeout=access.timeout_s,
                ) as client,
            ):
                answer = await client.get(path, params=query)
        except (TimeoutError, httpx2.HTTPError, OSError) as error:
            raise Unavailable("Discord can't be reached; it is asked again.") from error
        if answer.status_code == 429:
            raise await self._told_to_wait(place, answer)
        if answer.status_code >= 500:
            raise Unavailable("Discord has a fault of its own; it is asked again.")
        if answer.status_code == 401:
            raise Refused(_TOKEN, lost=True)
        if answer.status_code in {403, 404}:
            if path.endswith("/members"):
                raise Refused(_MEMBERS)
            raise Refused(_GONE.format(channel=path.split("/")[1]), lost=True)
        if answer.status_code != 200:
            raise Refused(f"Discord refused ({answer.status_code}) when it was asked for a page.")
        try:
            return answer.json()
        except ValueError as error:
            raise Unavailable("Discord answered nonsense; it is asked again.") from error

    async def _spend(self, place: Place, *, goes_on: bool) -> None:
        held = await self._limits.get(_paused_key(place))
        if held is not None:
            raise Wait(max(0.1, float(held) - clock.now().timestamp()), "Discord asked to wait")
        wait_s = await self._limits.take(
            f"{place.tenant_id}:discord:{place.external_id}", rate_per_s=RATE_PER_S, burst=BURST
        )
        if wait_s > 0 and goes_on:
            await asyncio.sleep(min(wait_s, LONGEST_PAUSE_S))
        elif wait_s > 0:
            raise Wait(wait_s, "the calls set aside for reading are used up")

    async def _told_to_wait(self, place: Place, answer: httpx2.Response) -> Wait:
        try:
            wait_s = max(0.1, float(answer.headers.get("Retry-After") or 5))
        except ValueError:
            wait_s = 5.0
        until = clock.now().timestamp() + wait_s
        await self._limits.put(_paused_key(place), f"{until:.3f}".encode(), ttl_s=wait_s)
        return Wait(wait_s, "Discord asked to wait")


# Who may read


def may_read(guild: _Guild, channel: Mapping[str, Any], member: Mapping[str, Any]) -> bool:
    """Whether a member sees a channel and its history: Discord's own rules, in its order.

    Roles add up; then the channel's overwrites for @everyone, for the roles together, and for the
    member. Owners and administrators see all.
    """
    subject = _subject(member)
    own = [str(role) for role in member.get("roles") or ()]
    allowed = guild.everyone
    for role in own:
        allowed |= guild.roles.get(role, 0)
    if subject == guild.owner or allowed & ADMINISTRATOR:
        return True
    overwrites = {str(one.get("id")): one for one in _list(channel, "permission_overwrites")}
    everyone_id = next((id_ for id_ in overwrites if _is_everyone(channel, id_)), "")
    allowed = _overwritten(allowed, [overwrites[everyone_id]] if everyone_id else [])
    allowed = _overwritten(allowed, [overwrites[role] for role in own if role in overwrites])
    allowed = _overwritten(allowed, [overwrites[subject]] if subject in overwrites else [])
    return allowed & READS == READS


def _overwritten(allowed: int, overwrites: Sequence[Mapping[str, Any]]) -> int:
    deny = allow = 0
    for one in overwrites:
        deny |= int(one.get("deny") or 0)
        allow |= int(one.get("allow") or 0)
    return (allowed & ~deny) | allow


def _is_everyone(channel: Mapping[str, Any], overwrite_id: str) -> bool:
    return overwrite_id == str(channel.get("guild_id"))  # @everyone has the server's own id


def _is_public(guild: _Guild, channel: Mapping[str, Any]) -> bool:
    """@everyone may read, and no overwrite takes that from some."""
    overwrites = _list(channel, "permission_overwrites")
    everyone = [one for one in overwrites if _is_everyone(channel, str(one.get("id")))]
    others = [one for one in overwrites if one not in everyone]
    allowed = _overwritten(guild.everyone, everyone)
    return allowed & READS == READS and not any(int(one.get("deny") or 0) & READS for one in others)


def _person(row: Mapping[str, Any]) -> NewPerson:
    user = row["user"]
    name = row.get("nick") or user.get("global_name") or user.get("username") or user["id"]
    return NewPerson(_subject(row), str(name), is_full_member=not user.get("bot"))


def _subject(member: Mapping[str, Any]) -> str:
    return str(member["user"].get("id"))


# Messages


def to_message(raw: Mapping[str, Any], thread: str = "") -> NewMessage:
    """A message of Discord's REST interface or gateway."""
    author = raw.get("author")
    told = author if isinstance(author, Mapping) else {}
    reference = raw.get("message_reference")
    replies = raw.get("type") == 19 and isinstance(reference, Mapping)
    kind: MessageKind = "message" if raw.get("type", 0) in TALK else "system"
    if _is_bot(raw) or raw.get("type") in COMMANDS:
        kind = "bot"
    starts = raw.get("thread")
    if not thread and isinstance(starts, Mapping):
        thread = str(starts.get("id") or "")
    edited = raw.get("edited_timestamp")
    return NewMessage(
        external_id=str(raw["id"]),
        text=str(raw.get("content") or ""),
        author=str(told.get("id") or ""),
        author_name=str(told.get("global_name") or told.get("username") or ""),
        thread=thread,
        reply_to=str(reference.get("message_id") or "") if replies and reference else "",
        kind=kind,
        edited_at=datetime.fromisoformat(edited) if isinstance(edited, str) and edited else None,
        reactions={
            str(one["emoji"].get("name") or ""): int(one.get("count") or 0)
            for one in _list(raw, "reactions")
            if isinstance(one.get("emoji"), Mapping)
        },
        files=[
            {
                "id": str(one.get("id") or ""),
                "name": str(one.get("filename") or ""),
                "mime": str(one.get("content_type") or ""),
                "size_bytes": int(one.get("size") or 0),
            }
            for one in _list(raw, "attachments")
        ],
        raw={"type": raw.get("type", 0), "pinned": bool(raw.get("pinned"))},
    )


def _is_bot(raw: Mapping[str, Any]) -> bool:
    author = raw.get("author")
    return bool(raw.get("webhook_id")) or bool(isinstance(author, Mapping) and author.get("bot"))


def _thread(row: Mapping[str, Any]) -> NewThread:
    told = row.get("thread_metadata")
    archived = bool(told.get("archived")) if isinstance(told, Mapping) else False
    tags = [str(one) for one in row.get("applied_tags") or ()]
    return NewThread(
        str(row["id"]), str(row.get("name") or ""), {"archived": archived, "tags": tags}
    )


def _is_in(row: Mapping[str, Any], channel: str) -> bool:
    return str(row.get("parent_id")) == channel and row.get("type") in PUBLIC_THREADS


def _last(row: Mapping[str, Any]) -> int:
    value = str(row.get("last_message_id") or row.get("id") or 0)
    return int(value) if value.isdecimal() else 0


def _archived_at(row: Mapping[str, Any]) -> str:
    told = row.get("thread_metadata")
    return str(told.get("archive_timestamp") or "") if isinstance(told, Mapping) else ""


def _whole(
    rows: Sequence[Mapping[str, Any]], kept: Sequence[Mapping[str, Any]], floor: int, before: str
) -> list[Whole]:
    """The stretch of a channel that a page covers, from one end to the other."""
    if not rows:
        return []
    ids = list(map(_id, rows))
    low = floor if len(kept) < len(rows) else (min(ids) if len(rows) == PAGE else floor)
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
    floor: int = 0

    @classmethod
    def load(cls, reading: Reading) -> _Cursor:
        known = {key: reading.cursor[key] for key in cls.__slots__ if key in reading.cursor}
        cursor = cls(**{"started": clock.now().isoformat(), **known})
        if not known and reading.since is not None:
            cursor.floor = snowflake(reading.since)
        if cursor.done and not cursor.repairing and reading.repair_at > cursor.repaired:
            cursor._begin_repair(reading)
        return cursor

    def _begin_repair(self, reading: Reading) -> None:
        """Read again from a day before the newest known, thirty days at least."""
        floor = clock.now() - REPAIRED
        if reading.newest is not None:
            floor = min(floor, reading.newest - OVERLAP)
        if reading.since is not None:
            floor = max(floor, reading.since)
        self.floor, self.before, self.archived_before = snowflake(floor), "", ""
        self.own_done = self.listed = False
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
