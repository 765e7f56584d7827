"""Slack read over its Web API: history newest first, threads, people, channels, members.

One page a call of `read_page`. The budget of each method is shared by all processes through
`engine/limits.py` and leaves a fifth for the bot's own calls. An app that Slack throttles (15
messages a minute, as it does with apps distributed outside its Marketplace) is noticed and stopped:
its terms would not let it keep what it reads either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from engine import clock
from engine.chats.accounts import NewPerson
from engine.chats.channels import NewChannel
from engine.chats.messages import NewMessage, posted_at
from engine.chats.places import Place
from engine.chats.slack_messages import is_gone, to_channel, to_message, to_person
from engine.chats.source_reading import SourceReading, Whole
from engine.errors import DocumentError, InvalidInput, Unavailable
from engine.limits import Limits
from engine.net.fetching import fetch
from ingestion.convert.formats import SUFFIXES
from ingestion.sources.reader import HistoryPage, ReadFile, ReadingRefused, Roster, Wait

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient

PAGE = 500  # messages asked for; Slack allows 999
MEMBERS_PAGE = 1000
THROTTLED_PAGE = 15  # messages a throttled app gets, whatever it asked for
THROTTLED_WAIT_S = 60.0
LONGEST_PAUSE_S = 5.0  # between the pages of one list
SHARE = 0.8  # of each method's rate; the rest is the bot's
# Calls a minute and team, by Slack's tiers (2: 20, 3: 50, 4: 100).
RATES = {
    "files.info": 100,
    "conversations.history": 50,
    "conversations.info": 50,
    "conversations.members": 100,
    "conversations.replies": 50,
    "users.conversations": 50,
    "users.list": 20,
}
SLACK_FILES = "files.slack.com"
FILE_TIMEOUT_S = 60.0
OVERLAP = timedelta(days=1)
SETTLED = timedelta(minutes=5)  # what was posted since may be kept already and not listed yet
REPAIRED = timedelta(days=30)  # how far back late replies and missed deletes are looked for

_GONE = "The bot can't see #{channel}: invite it there, or remove the channel."
_TOKEN = "Slack no longer accepts the app's token: install the app again."  # noqa: S105
_SCOPE = "The app lacks the scope {needed}: add it and install the app again."
_THROTTLED = (
    "Slack gives this app 15 messages a minute, as it does to apps that are distributed outside its"
    " Marketplace, and does not let them store any: channel history needs an app that belongs"
    " to your organisation."
)
_HISTORY = frozenset({"conversations.history", "conversations.replies"})
_PASSING = frozenset({"fatal_error", "internal_error", "request_timeout", "service_unavailable"})
_LOST = frozenset(
    {"channel_not_found", "is_archived", "not_in_channel", "method_not_supported_for_channel_type"}
)
_REVOKED = frozenset(
    {
        "account_inactive",
        "app_uninstalled",
        "invalid_auth",
        "not_authed",
        "org_login_required",
        "team_access_not_granted",
        "token_expired",
        "token_revoked",
    }
)


@dataclass(frozen=True, slots=True)
class SlackAccess:
    """How a workspace is reached. `reading` is `live` where no message may be kept."""

    token: str = field(repr=False)
    base_url: str = ""
    reading: str = "index"
    timeout_s: float = 30.0


AccessOf = Callable[[Place], Awaitable[SlackAccess]]


class SlackReader:
    """A `Reader` of every connected Slack workspace."""

    def __init__(self, access_of: AccessOf, limits: Limits) -> None:
        self._access_of = access_of
        self._limits = limits

    async def read_page(self, reading: SourceReading) -> HistoryPage:
        """A page of history, or of one thread found on the page before."""
        cursor = _SlackCursor.load(reading)
        if cursor.threads:
            return await self._read_thread(reading, cursor)
        if cursor.repair:
            return await self._repair(reading, cursor)
        if cursor.done:
            return HistoryPage((), cursor.dump(), more=False)
        return await self._read_back(reading, cursor)

    async def _read_back(self, reading: SourceReading, cursor: _SlackCursor) -> HistoryPage:
        arguments: dict[str, Any] = {"channel": reading.channel, "limit": PAGE}
        if cursor.before:
            arguments["latest"] = cursor.before
        if reading.since is not None:
            arguments["oldest"] = f"{reading.since.timestamp():.6f}"
        answer = await self._call(reading.place, "conversations.history", **arguments)
        rows = _rows(answer)
        more = bool(answer.get("has_more")) and bool(rows)
        if more and len(rows) <= THROTTLED_PAGE:
            raise ReadingRefused(_THROTTLED)
        cursor.pages += 1
        cursor.threads = _roots(rows)
        if rows:
            cursor.before = min(str(row["ts"]) for row in rows)
            cursor.reached = posted_at(cursor.before).isoformat()
        cursor.done = not more
        return _page(rows, cursor, more=more or bool(cursor.threads))

    async def _read_thread(self, reading: SourceReading, cursor: _SlackCursor) -> HistoryPage:
        root = cursor.threads[0]
        arguments: dict[str, Any] = {"channel": reading.channel, "ts": root, "limit": PAGE}
        if cursor.thread_page:
            arguments["cursor"] = cursor.thread_page
        try:
            answer = await self._call(reading.place, "conversations.replies", **arguments)
        except _NoThread:  # deleted with all its replies
            answer = {"messages": []}
        rows = _rows(answer)
        first = not cursor.thread_page
        cursor.thread_page = _next(answer)
        whole: list[Whole] = []
        if not cursor.thread_page:
            cursor.threads = cursor.threads[1:]
            if first:  # the thread in one piece: what is not in it no longer exists
                standing = frozenset(str(row["ts"]) for row in rows if not is_gone(row))
                whole = [Whole(thread=root, standing=standing)]
        cursor.pages += 1
        more = bool(cursor.threads or cursor.repair or not cursor.done)
        return _page(rows, cursor, more=more, wholes=whole)

    async def _repair(self, reading: SourceReading, cursor: _SlackCursor) -> HistoryPage:
        """Recent pages once more: what is missing was deleted, what is new came unheard."""
        repair = cursor.repair
        arguments: dict[str, Any] = {
            "channel": reading.channel,
            "limit": PAGE,
            "oldest": repair["floor"],
        }
        if repair.get("before"):
            arguments["latest"] = repair["before"]
        answer = await self._call(reading.place, "conversations.history", **arguments)
        rows = _rows(answer)
        more = bool(answer.get("has_more")) and bool(rows)
        if more and len(rows) <= THROTTLED_PAGE:
            raise ReadingRefused(_THROTTLED)
        cursor.pages += 1
        cursor.threads = _roots(rows, changed_since=repair.get("last", ""))
        low = min((str(row["ts"]) for row in rows), default=repair["floor"])
        settled = f"{(clock.now() - SETTLED).timestamp():.6f}"
        high = repair.get("before") or max([*(str(row["ts"]) for row in rows), settled])
        wholes = []
        if rows:
            standing = frozenset(str(row["ts"]) for row in rows if not is_gone(row))
            lower_bound = low if more else repair["floor"]
            wholes = [Whole(low=lower_bound, high=high, standing=standing)]
        if more:
            cursor.repair = {**repair, "before": low}
        else:
            cursor.repair = {}
            cursor.repaired = clock.now().isoformat()
        return _page(rows, cursor, more=more or bool(cursor.threads), wholes=wholes)

    async def read_people(self, place: Place) -> list[NewPerson]:
        """Everyone of the workspace, guests and people of other organisations included."""
        rows = [page async for page in self._pages(place, "users.list", "members", limit=PAGE)]
        return [to_person(row, place.external_id) for row in rows if row.get("id")]

    async def read_channels(self, place: Place) -> list[NewChannel]:
        """The channels the bot is in; direct messages are never asked for."""
        types = "public_channel,private_channel"
        rows = [
            page
            async for page in self._pages(
                place, "users.conversations", "channels", types=types, limit=PAGE
            )
        ]
        return [to_channel(row, team_id=place.external_id) for row in rows if row.get("id")]

    async def read_members(self, place: Place, channel: str) -> Roster:
        """Who is in a channel."""
        at = clock.now()
        subjects = [
            str(page)
            async for page in self._pages(
                place, "conversations.members", "members", channel=channel, limit=MEMBERS_PAGE
            )
        ]
        return Roster(subjects, at)

    async def read_file(self, place: Place, file_id: str, *, max_bytes: int) -> ReadFile | str:
        """What was posted, asked for by its id: its address is known for the moment only."""
        answer = await self._call(place, "files.info", file=file_id)
        found = answer.get("file")
        file: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
        access = await self._access_of(place)
        url = str(file.get("url_private_download") or file.get("url_private") or "")
        suffix = PurePosixPath(str(file.get("name") or "")).suffix.lower()
        ours = urlsplit(access.base_url).hostname or ""  # where tests have their Slack
        if why := _left_out(file, url, suffix, hosts={SLACK_FILES, ours}, max_bytes=max_bytes):
            return why
        try:
            got = await fetch(
                url,
                allow_private=bool(ours),
                max_bytes=max_bytes,
                timeout_s=FILE_TIMEOUT_S,
                bearer=access.token,
            )
        except (DocumentError, InvalidInput) as error:
            if isinstance(error, DocumentError) and error.retry:
                raise Unavailable(str(error)) from None
            return str(error)
        if got.mime == "text/html" and suffix not in {".html", ".htm", ".xhtml"}:
            return "Slack showed a login page: the app lacks the scope files:read"
        return ReadFile(got.data, suffix)

    async def _pages(self, place: Place, method: str, key: str, **arguments: Any) -> Any:  # noqa: ANN401
        while True:
            goes_on = "cursor" in arguments
            answer = await self._call(place, method, goes_on=goes_on, **arguments)
            for item in answer.get(key) or ():
                yield item
            following = _next(answer)
            if not following:
                return
            arguments["cursor"] = following

    async def _call(
        self,
        place: Place,
        method: str,
        *,
        goes_on: bool = False,
        **arguments: Any,  # noqa: ANN401
    ) -> Mapping[str, Any]:
        """One answer; `goes_on` for a further page of a list, which would else begin again."""
        from slack_sdk.errors import SlackApiError  # noqa: PLC0415 (an optional extra)

        access = await self._access_of(place)
        if access.reading == "live":
            raise ReadingRefused(_THROTTLED)
        await self._spend(place, method, goes_on=goes_on)
        client = _client(access)
        try:
            async with asyncio.timeout(access.timeout_s + 5):
                answer = await client.api_call(method, http_verb="GET", params=arguments)
        except SlackApiError as error:
            raise await self._fault(place, method, error, arguments) from None
        except (TimeoutError, OSError) as error:
            raise Unavailable("Slack did not answer in time; Scrubjay tries again.") from error
        except Exception as error:
            if type(error).__module__.startswith("aiohttp"):
                raise Unavailable("Slack can't be reached; Scrubjay tries again.") from error
            raise
        data = answer.data
        return data if isinstance(data, Mapping) else {}

    async def _spend(self, place: Place, method: str, *, goes_on: bool) -> None:
        """Take a call from the budget that all processes share, or say how long to wait."""
        held = await self._limits.get(_paused_key(place, method))
        if held is not None:
            raise Wait(max(1.0, float(held) - clock.now().timestamp()), "Slack asked to wait")
        rate = RATES[method] * SHARE / 60
        wait_s = await self._limits.take(
            f"{place.tenant_id}:slack:{place.external_id}:{method}",
            rate_per_s=rate,
            burst=max(1.0, rate * 30),
        )
        if wait_s > 0 and goes_on:
            await asyncio.sleep(min(wait_s, LONGEST_PAUSE_S))
        elif wait_s > 0:
            raise Wait(wait_s, "the calls Slack allows a minute are used up")

    async def _fault(
        self,
        place: Place,
        method: str,
        error: Any,  # noqa: ANN401 (SlackApiError, of an optional extra)
        arguments: Mapping[str, Any],
    ) -> Exception:
        response = error.response
        status = int(getattr(response, "status_code", 200) or 200)
        data = response.data if isinstance(response.data, Mapping) else {}
        code = str(data.get("error") or "")
        if status == 429 or code == "ratelimited":
            headers = {key.lower(): value for key, value in dict(response.headers or {}).items()}
            return await self._told_to_wait(place, method, _seconds(headers.get("retry-after")))
        if status >= 500 or code in _PASSING:
            return Unavailable("Slack has an internal error; Scrubjay tries again.")
        if code == "thread_not_found":
            return _NoThread()
        return _refusal(code or str(status), method, data, str(arguments.get("channel", "")))

    async def _told_to_wait(self, place: Place, method: str, wait_s: float) -> Exception:
        # No other process need find out by itself.
        until = clock.now().timestamp() + wait_s
        await self._limits.put(_paused_key(place, method), f"{until:.3f}".encode(), ttl_s=wait_s)
        if method in _HISTORY and wait_s >= THROTTLED_WAIT_S:
            return ReadingRefused(_THROTTLED)
        return Wait(wait_s, "Slack asked to wait")


def _refusal(code: str, method: str, data: Mapping[str, Any], channel: str) -> ReadingRefused:
    if code in _LOST:
        return ReadingRefused(_GONE.format(channel=channel), lost=True)
    if code == "missing_scope":
        return ReadingRefused(_SCOPE.format(needed=data.get("needed") or "it needs"))
    if code in _REVOKED:
        return ReadingRefused(_TOKEN, lost=True)
    return ReadingRefused(f"Slack refused ({code}) when asked for {method}.")


def _left_out(
    file: Mapping[str, Any], url: str, suffix: str, *, hosts: Collection[str], max_bytes: int
) -> str:
    """Why a file is not fetched; empty where it is. The token is shown to Slack alone."""
    host = urlsplit(url).hostname
    if file.get("is_external") or not host or host not in hosts:
        return "it is not stored at Slack"
    if suffix not in SUFFIXES:
        return f"files of this kind ({suffix or 'none'}) are not read"
    size_bytes = int(file.get("size") or 0)
    if size_bytes > max_bytes:
        return f"it is too large: it has {size_bytes:,} bytes, and the limit is {max_bytes:,}"
    return ""


class _NoThread(Exception):
    """The thread is not there."""


@dataclass(slots=True)
class _SlackCursor:
    """How far a channel is read, as it is stored on its source.

    `before` is the oldest ts of the pages read, `threads` the roots whose replies are still to be
    read, `repair` what is being read again: from `before` down to `floor`.
    """

    started: str
    pages: int = 0
    before: str = ""
    reached: str = ""
    threads: list[str] = field(default_factory=list)
    thread_page: str = ""
    done: bool = False
    repair: dict[str, str] = field(default_factory=dict)
    repaired: str = ""
    gaps: list[Any] = field(default_factory=list)

    @classmethod
    def load(cls, reading: SourceReading) -> _SlackCursor:
        known = {key: reading.cursor[key] for key in cls.__slots__ if key in reading.cursor}
        cursor = cls(**{"started": clock.now().isoformat(), **known})
        if cursor.done and not cursor.repair and reading.repair_at > cursor.repaired:
            cursor.repair = _repair_from(reading, cursor)
        return cursor

    def dump(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in self.__slots__}


def _repair_from(reading: SourceReading, cursor: _SlackCursor) -> dict[str, str]:
    """What to read again: the last thirty days, or all since a day before the newest known.

    Of the threads in it those that were replied to since the last time, or started lately.
    """
    lower_bound = clock.now() - REPAIRED
    if reading.newest is not None:
        lower_bound = min(lower_bound, reading.newest - OVERLAP)
    if reading.since is not None:
        lower_bound = max(lower_bound, reading.since)
    last = datetime.fromisoformat(cursor.repaired or cursor.started) - OVERLAP
    return {"floor": f"{lower_bound.timestamp():.6f}", "last": f"{last.timestamp():.6f}"}


def _rows(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = answer.get("messages")
    rows = found if isinstance(found, Sequence) else []
    return [row for row in rows if isinstance(row, Mapping) and row.get("ts")]


def _roots(rows: Sequence[Mapping[str, Any]], *, changed_since: str = "") -> list[str]:
    """Roots whose replies are to be read, newest first."""
    return [
        str(row["ts"])
        for row in rows
        if row.get("reply_count") and str(row.get("latest_reply") or "9") > changed_since
    ]


def _page(
    rows: Sequence[Mapping[str, Any]],
    cursor: _SlackCursor,
    *,
    more: bool,
    wholes: Sequence[Whole] = (),
) -> HistoryPage:
    return HistoryPage(list(_messages(rows)), cursor.dump(), more, wholes=wholes)


def _messages(rows: Sequence[Mapping[str, Any]]) -> Iterator[NewMessage]:
    for row in rows:
        message = to_message(row)
        if message is not None:
            yield message


def _next(answer: Mapping[str, Any]) -> str:
    metadata = answer.get("response_metadata")
    return str(metadata.get("next_cursor") or "") if isinstance(metadata, Mapping) else ""


def _seconds(value: object) -> float:
    try:
        return max(1.0, float(str(value)))
    except ValueError:
        return 30.0


def _paused_key(place: Place, method: str) -> str:
    return f"{place.tenant_id}:slack-paused:{place.external_id}:{method}"


def _client(access: SlackAccess) -> AsyncWebClient:
    from slack_sdk.web.async_client import AsyncWebClient  # noqa: PLC0415 (an optional extra)

    options: dict[str, Any] = {"base_url": access.base_url} if access.base_url else {}
    return AsyncWebClient(
        token=access.token, timeout=max(1, int(access.timeout_s)), retry_handlers=[], **options
    )
