"""Discord's REST interface on loopback, as far as reading history goes.

Newest first, `before` and `limit`, archived threads in pages, members after an id, overwrites as
Discord has them, 429 with Retry-After. Ids are snowflakes.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web

from ingestion.sources.discord import HISTORY, VIEW, snowflake

Json = dict[str, Any]
TOKEN = "fake-discord-token"
GUILD = "700"


@dataclass
class FakeDiscord:
    """One server with everyone allowed to read unless a channel says otherwise."""

    members: list[Json] = field(default_factory=list)
    channels: dict[str, Json] = field(default_factory=dict)
    threads: dict[str, Json] = field(default_factory=dict)
    messages: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    roles: list[Json] = field(
        default_factory=lambda: [{"id": GUILD, "permissions": str(VIEW | HISTORY)}]
    )
    faults: deque[tuple[int, float] | None] = field(default_factory=deque)
    forbidden: set[str] = field(default_factory=set)
    content_intent: bool = True
    members_intent: bool = True
    calls: Counter[str] = field(default_factory=Counter)
    url: str = ""

    def person(self, user_id: str, name: str, *roles: str, bot: bool = False) -> None:
        """Somebody on the server."""
        user = {"id": user_id, "username": name.lower(), "global_name": name, "bot": bot}
        self.members.append({"user": user, "nick": None, "roles": list(roles)})

    def channel(self, channel_id: str, name: str, type_: int = 0, **overwrites: str) -> None:
        """A channel; overwrites are id="allow" or id="deny" (id with a leading x)."""
        self.channels[channel_id] = {
            "id": channel_id,
            "guild_id": GUILD,
            "name": name,
            "type": type_,
            "permission_overwrites": [
                {
                    "id": id_.removeprefix("x"),
                    "type": 0,
                    "allow": str(VIEW | HISTORY) if effect == "allow" else "0",
                    "deny": str(VIEW) if effect == "deny" else "0",
                }
                for id_, effect in overwrites.items()
            ],
        }

    def thread(
        self, thread_id: str, parent: str, name: str, *, archived: str = "", type_: int = 11
    ) -> None:
        """A thread below a channel; `archived` is when, in ISO 8601."""
        self.threads[thread_id] = {
            "id": thread_id,
            "parent_id": parent,
            "guild_id": GUILD,
            "name": name,
            "type": type_,
            "last_message_id": thread_id,
            "thread_metadata": {"archived": bool(archived), "archive_timestamp": archived},
        }

    def say(self, channel_id: str, at: datetime, user_id: str, text: str, **more: Any) -> str:
        """A message; its id comes back."""
        id_ = str(more.pop("id", snowflake(at) + len(self.messages[channel_id])))
        author = next(one["user"] for one in self.members if one["user"]["id"] == user_id)
        message = {"id": id_, "type": 0, "content": text, "author": author, "attachments": []}
        self.messages[channel_id].append(message | {"edited_timestamp": None} | more)
        self.messages[channel_id].sort(key=lambda one: int(one["id"]))
        if channel_id in self.threads:
            self.threads[channel_id]["last_message_id"] = id_
        return id_

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any GET."""
        path = request.match_info["path"]
        self.calls[path.rpartition("/")[2] if "/" in path else path] += 1
        fault = self.faults.popleft() if self.faults else None
        if fault is not None:
            status, retry_after_s = fault
            headers = {"Retry-After": f"{retry_after_s:g}"} if retry_after_s else {}
            return web.json_response({"message": "SECRET"}, status=status, headers=headers)
        if request.headers.get("Authorization") != f"Bot {TOKEN}":
            return web.json_response({"message": "401"}, status=401)
        found = self._answer(path.split("/"), dict(request.query))
        if found is None:
            return web.json_response({"message": "Missing Access", "code": 50001}, status=403)
        return web.json_response(found)

    def _answer(self, path: list[str], query: Json) -> Any:
        found: Any = None
        match path:
            case ["guilds", _]:
                found = {"id": GUILD, "owner_id": "1", "roles": self.roles}
            case ["guilds", _, "channels"]:
                found = list(self.channels.values())
            case ["guilds", _, "members"] if self.members_intent:
                after, limit = int(query["after"]), int(query["limit"])
                rest = sorted(self.members, key=lambda one: int(one["user"]["id"]))
                found = [one for one in rest if int(one["user"]["id"]) > after][:limit]
            case ["guilds", _, "threads", "active"]:
                active = [one for one in self.threads.values() if not self._archived(one)]
                found = {"threads": active, "members": []}
            case ["channels", channel, "threads", "archived", "public"]:
                found = self._archive(channel, query)
            case ["channels", channel, "messages"]:
                found = self._history(channel, query)
        return found

    @staticmethod
    def _archived(thread: Json) -> str:
        return str(thread["thread_metadata"]["archive_timestamp"])

    def _archive(self, channel: str, query: Json) -> Json:
        here = [
            one
            for one in self.threads.values()
            if one["parent_id"] == channel and one["type"] == 11
        ]
        found = sorted(filter(self._archived, here), key=self._archived, reverse=True)
        if "before" in query:
            found = [one for one in found if self._archived(one) < query["before"]]
        limit = min(int(query["limit"]), 3)  # small pages, so that there are several
        return {"threads": found[:limit], "has_more": len(found) > limit, "members": []}

    def _history(self, channel: str, query: Json) -> list[Json] | None:
        if channel in self.forbidden or channel not in {*self.channels, *self.threads}:
            return None
        found = list(reversed(self.messages[channel]))
        if "before" in query:
            found = [one for one in found if int(one["id"]) < int(query["before"])]
        page = found[: int(query["limit"])]
        if not self.content_intent:
            page = [one | {"content": ""} for one in page]
        return page


@asynccontextmanager
async def open_discord() -> AsyncIterator[FakeDiscord]:
    """The fake, listening."""
    fake = FakeDiscord()
    app = web.Application()
    app.router.add_get("/api/v10/{path:.*}", fake.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}/api/v10/"
    try:
        yield fake
    finally:
        await runner.cleanup()
