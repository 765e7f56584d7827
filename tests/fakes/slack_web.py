"""Slack's Web API on loopback, as far as reading history goes: strict, paged, throttled, faulty.

It answers as Slack documents: GET or POST, form or query, `{"ok": false, "error": …}` with status
200, newest first, cursors that are opaque, 429 with Retry-After. `now` is the clock its rates go
by. A call Slack would refuse for its arguments is kept in `violations`.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Json = dict[str, Any]
TOKEN = "xoxb-1-fake"
TIERS = {
    "conversations.history": 50,
    "conversations.info": 50,
    "conversations.members": 100,
    "conversations.replies": 50,
    "users.conversations": 50,
    "users.list": 20,
}
LIMIT_MAX = 999


@dataclass(frozen=True)
class Fault:
    """An answer that is none: a status, an error of Slack's, or a dropped connection (status 0)."""

    status: int = 200
    error: str = ""
    retry_after_s: float | None = None
    more: Json = field(default_factory=dict)


@dataclass
class FakeSlack:
    """One workspace. Messages are Slack's own JSON, by channel; replies are next to their roots."""

    now: Callable[[], float]
    team: str = "T-acme"  # as `ChatWorld` calls it
    app_class: str = "internal"  # or "distributed"
    throttle: bool = True
    users: list[Json] = field(default_factory=list)
    channels: dict[str, Json] = field(default_factory=dict)
    members: dict[str, list[str]] = field(default_factory=dict)
    messages: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    scopes: set[str] | None = None  # None: all
    revoked: bool = False
    faults: dict[str, deque[Fault | None]] = field(default_factory=lambda: defaultdict(deque))
    calls: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    url: str = ""
    _spent: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    # Setting the scene

    def person(self, user_id: str, name: str, **flags: Any) -> None:
        """A person; flags as Slack has them (is_restricted, is_bot, deleted)."""
        self.users.append(
            {"id": user_id, "team_id": self.team, "name": name.lower(), "deleted": False}
            | {"profile": {"display_name": name, "real_name": name}}
            | flags
        )

    def channel(
        self, channel_id: str, name: str, *, private: bool = False, members: list[str] | None = None
    ) -> None:
        """A channel the bot is in."""
        self.channels[channel_id] = {
            "id": channel_id,
            "name": name,
            "is_channel": True,
            "is_private": private,
            "is_im": False,
            "is_mpim": False,
            "is_archived": False,
            "is_ext_shared": False,
            "is_member": True,
            "created": 1_600_000_000,
        }
        self.members[channel_id] = list(members or [])

    def say(self, channel_id: str, ts: str, user: str, text: str, **more: Any) -> Json:
        """A message, in its place; a reply is counted on its root."""
        message = {"type": "message", "ts": ts, "user": user, "text": text, **more}
        here = self.messages[channel_id]
        here.append(message)
        here.sort(key=lambda item: str(item["ts"]))
        root_ts = more.get("thread_ts")
        if root_ts and root_ts != ts:
            for root in here:
                if root["ts"] == root_ts:
                    root["thread_ts"] = root_ts
                    root["reply_count"] = int(root.get("reply_count", 0)) + 1
                    root["latest_reply"] = max(str(root.get("latest_reply", "")), ts)
        return message

    def edit(self, channel_id: str, ts: str, text: str, edited_ts: str) -> None:
        """Someone edits a message."""
        for message in self.messages[channel_id]:
            if message["ts"] == ts:
                message |= {"text": text, "edited": {"user": message["user"], "ts": edited_ts}}

    def delete(self, channel_id: str, ts: str) -> None:
        """A message goes; a root with replies leaves a tombstone."""
        here = self.messages[channel_id]
        for message in list(here):
            if message["ts"] != ts:
                continue
            if message.get("reply_count"):
                message |= {"subtype": "tombstone", "text": "This message was deleted."}
                message.pop("user", None)
            else:
                here.remove(message)

    # Answering

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any method of the API."""
        method = request.match_info["method"]
        self.calls[method] += 1
        arguments = dict(request.query)
        if request.method == "POST":
            if request.content_type == "application/json":
                arguments |= {key: str(value) for key, value in (await request.json()).items()}
            else:
                arguments |= {key: str(value) for key, value in (await request.post()).items()}
        waiting = self.faults[method]
        fault = waiting.popleft() if waiting else None
        if fault is not None:
            return await self._fail(request, fault)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"ok": False, "error": "not_authed"})
        if self.revoked:
            return web.json_response({"ok": False, "error": "token_revoked"})
        wait_s = self._throttled(method)
        if wait_s > 0:
            return web.json_response(
                {"ok": False, "error": "ratelimited"},
                status=429,
                headers={"Retry-After": str(int(wait_s) + 1)},
            )
        answer = getattr(self, f"_{method.replace('.', '_')}", None)
        if answer is None:
            self.violations.append(f"unknown method {method}")
            return web.json_response({"ok": False, "error": "unknown_method"})
        return web.json_response(answer(arguments))

    async def _fail(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.status == 0:
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
        headers = {} if fault.retry_after_s is None else {"Retry-After": f"{fault.retry_after_s:g}"}
        if fault.status >= 500:
            return web.Response(status=fault.status, text="upstream SECRET", headers=headers)
        body = {"ok": False, "error": fault.error or "ratelimited"} | fault.more
        return web.json_response(body, status=fault.status or 500, headers=headers)

    def _throttled(self, method: str) -> float:
        """How long to wait; 0 where the call is within the tier's rate."""
        if not self.throttle:
            return 0.0
        allowed = TIERS.get(method, 100)
        is_history = method in {"conversations.history", "conversations.replies"}
        if self.app_class == "distributed" and is_history:
            allowed = 1
        spent, now = self._spent[method], self.now()
        while spent and spent[0] <= now - 60:
            spent.popleft()
        if len(spent) >= allowed:
            return spent[0] + 60 - now
        spent.append(now)
        return 0.0

    def _visible(self, arguments: Json) -> Json | None:
        channel = self.channels.get(str(arguments.get("channel")))
        if channel is None:
            return {"ok": False, "error": "channel_not_found"}
        if not channel["is_member"]:
            return {"ok": False, "error": "not_in_channel"}
        needed = "groups:history" if channel["is_private"] else "channels:history"
        if self.scopes is not None and needed not in self.scopes:
            provided = ",".join(sorted(self.scopes))
            return {"ok": False, "error": "missing_scope", "needed": needed, "provided": provided}
        return None

    def _limit(self, arguments: Json, default: int = 100) -> int:
        limit = int(arguments.get("limit") or default)
        if not 1 <= limit <= 1000:
            self.violations.append(f"limit {limit}")
        return min(limit, 15) if self.app_class == "distributed" else min(limit, LIMIT_MAX)

    def _conversations_history(self, arguments: Json) -> Json:
        refused = self._visible(arguments)
        if refused is not None:
            return refused
        oldest, latest = str(arguments.get("oldest", "")), str(arguments.get("latest", ""))
        inclusive = arguments.get("inclusive") in {"1", "true"}
        found = [
            message
            for message in reversed(self.messages[str(arguments["channel"])])
            if message.get("thread_ts") in {None, message["ts"]}
            or message.get("subtype") == "thread_broadcast"
        ]
        if latest:
            found = [m for m in found if m["ts"] < latest or (inclusive and m["ts"] == latest)]
        if oldest:
            found = [m for m in found if m["ts"] > oldest or (inclusive and m["ts"] == oldest)]
        return self._paged(found, arguments, "messages")

    def _conversations_replies(self, arguments: Json) -> Json:
        refused = self._visible(arguments)
        if refused is not None:
            return refused
        root = str(arguments.get("ts"))
        found = [
            message
            for message in self.messages[str(arguments["channel"])]
            if message["ts"] == root or message.get("thread_ts") == root
        ]
        if not found:
            return {"ok": False, "error": "thread_not_found"}
        return self._paged(found, arguments, "messages")

    def _conversations_members(self, arguments: Json) -> Json:
        refused = self._visible(arguments)
        if refused is not None:
            return refused
        return self._paged(self.members[str(arguments["channel"])], arguments, "members")

    def _conversations_info(self, arguments: Json) -> Json:
        channel = self.channels.get(str(arguments.get("channel")))
        if channel is None:
            return {"ok": False, "error": "channel_not_found"}
        return {"ok": True, "channel": channel}

    def _users_conversations(self, arguments: Json) -> Json:
        if "im" in str(arguments.get("types")):
            self.violations.append("direct messages asked for")
        found = [item for item in self.channels.values() if item["is_member"]]
        return self._paged(found, arguments, "channels")

    def _users_list(self, arguments: Json) -> Json:
        return self._paged(self.users, arguments, "members")

    def _auth_test(self, _: Json) -> Json:
        return {"ok": True, "url": "https://acme.slack.com/", "team_id": self.team, "user_id": "UB"}

    def _paged(self, rows: list[Any], arguments: Json, key: str) -> Json:
        start = 0
        if arguments.get("cursor"):
            try:
                start = int(base64.b64decode(str(arguments["cursor"])).decode().partition(":")[2])
            except ValueError:
                return {"ok": False, "error": "invalid_cursor"}
        end = start + self._limit(arguments)
        more = end < len(rows)
        cursor = base64.b64encode(f"next:{end}".encode()).decode() if more else ""
        copied = json.loads(json.dumps(rows[start:end]))
        answer = {"ok": True, key: copied, "response_metadata": {"next_cursor": cursor}}
        return answer | ({"has_more": more} if key == "messages" else {})


@asynccontextmanager
async def open_slack(now: Callable[[], float]) -> AsyncIterator[FakeSlack]:
    """The fake, listening; it fails the test in the end where Slack would have refused."""
    fake = FakeSlack(now)
    app = web.Application()
    app.router.add_route("*", "/api/{method}", fake.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}/api/"
    try:
        yield fake
    finally:
        await runner.cleanup()
    assert fake.violations == []
