"""Slack on loopback: the Web API, Socket Mode, response URLs and OAuth, with Slack's own refusals.

It keeps teams, people, channels and messages; checks tokens, scopes, membership, blocks and stream
states as Slack does; and fails on demand. Its shapes follow Slack's reference and the captured
payloads that `tests/bots/slack/test_fake_slack.py` holds it to. Slack's servers themselves it is not.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import WSMsgType, web

Json = dict[str, Any]

MARKDOWN_MAX, SECTION_MAX, BLOCKS_MAX, TEXT_MAX = 12_000, 3_000, 50, 40_000
STREAM_LIFE_S = 300.0
SHARES = ("is_shared", "is_ext_shared", "is_org_shared", "is_pending_ext_shared")


@dataclass
class Fault:
    """How the next call of a method fails: an error of Slack's, an HTTP status, or no answer."""

    error: str = "ratelimited"
    status: int = 200
    retry_after: int | None = None
    drop: bool = False


@dataclass
class Team:
    """A workspace the app is installed in."""

    id: str
    name: str
    token: str
    bot_user_id: str
    bot_id: str
    enterprise_id: str = ""
    scopes: set[str] = field(default_factory=set)  # empty: every one
    users: dict[str, Json] = field(default_factory=dict)
    channels: dict[str, Json] = field(default_factory=dict)
    messages: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    revoked: bool = False


class Refused(Exception):
    """What Slack answers instead: `{ok: false, error}`."""

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.error = error
        self.more = more


SCOPES = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "chat.startStream": "chat:write",
    "conversations.info": "channels:read",
    "conversations.members": "channels:read",
    "conversations.replies": "channels:history",
    "reactions.add": "reactions:write",
    "files.info": "files:read",
    "users.info": "users:read",
    "users.list": "users:read",
    "assistant.threads.setStatus": "assistant:write",
}


class FakeSlack:
    """See the module. `base_url` is what `slack.api_base_url` is set to."""

    def __init__(self) -> None:
        self.base_url = ""
        self.teams: dict[str, Team] = {}
        self.calls: list[tuple[str, Json]] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.ephemerals: list[Json] = []
        self.responses: list[Json] = []
        self.files: dict[str, bytes] = {}
        self.files_info: dict[str, Json] = {}  # what `files.info` says, by id
        self.shown_to_files: list[tuple[str, str]] = []  # host and Authorization of each download
        self.views: dict[str, Json] = {}
        self.homes: dict[str, Json] = {}
        self.prompts: list[Json] = []
        self.statuses: list[tuple[str, str, str]] = []
        self.reactions: set[tuple[str, str, str]] = set()
        self.sockets: list[web.WebSocketResponse] = []
        self.acks: asyncio.Queue[Json] = asyncio.Queue()
        self.codes: dict[str, Team] = {}
        self.after: Callable[[str, Json], None] | None = (
            None  # called after every call that succeeded
        )
        self.clock = 0.0  # seconds: when streams end
        self.began_s = 1_760_000_000  # Unix time of the first message
        self._ts = 0
        self._urls: dict[str, int] = {}
        self._triggers: set[str] = set()

    # What tests set up

    def add_team(self, id_: str = "T1", *, name: str = "Acme", enterprise_id: str = "") -> Team:
        """A workspace with the bot in it."""
        team = Team(id_, name, f"xoxb-{id_}-token", f"UBOT{id_}", f"BBOT{id_}", enterprise_id)
        self.teams[id_] = team
        self.add_user(team, team.bot_user_id, is_bot=True)
        return team

    def add_user(self, team: Team, id_: str, **flags: Any) -> None:
        """A person; flags as Slack names them: is_admin, is_restricted, is_stranger …"""
        user = {
            "id": id_,
            "team_id": flags.pop("team_id", team.id),
            "name": id_.lower(),
            "is_bot": False,
            "deleted": False,
        }
        team.users[id_] = user | {"profile": {"display_name": id_.title()}} | flags

    def add_channel(
        self, team: Team, id_: str, name: str, *members: str, private: bool = False
    ) -> None:
        """A channel with its members; the bot is one of them."""
        team.channels[id_] = {
            "id": id_,
            "name": name,
            "is_channel": not id_.startswith("D"),
            "is_im": id_.startswith("D"),
            "is_private": private,
            **dict.fromkeys(SHARES, False),
            "context_team_id": team.id,
            "shared_team_ids": [team.id],
            "connected_team_ids": [],
            "pending_connected_team_ids": [],
            "members": [*members, team.bot_user_id],
        }

    def share(self, team: Team, channel: str, *others: str, how: str = "external") -> Json:
        """Share a channel with other teams (external, invited, organisation); the event of it.

        An invitation that nobody has accepted is told by no event of `channels:read`.
        """
        row = team.channels[channel]
        if how == "invited":
            row["is_pending_ext_shared"] = True
            row["pending_connected_team_ids"] = [*others]
        elif how == "organisation":
            row |= {"is_shared": True, "is_org_shared": True}
            row["shared_team_ids"] = [team.id, *others]
        else:
            row |= {"is_shared": True, "is_ext_shared": True, "is_pending_ext_shared": False}
            row["connected_team_ids"] = [*row["connected_team_ids"], *others]
            row["shared_team_ids"] = [team.id, *others]
            row["pending_connected_team_ids"] = []
        return {
            "type": "channel_shared",
            "connected_team_id": others[0] if others else "",
            "channel": channel,
            "event_ts": self.next_ts(),
        }

    def unshare(self, team: Team, channel: str) -> Json:
        """The last other team leaves a shared channel; the event of it."""
        row = team.channels[channel]
        left = row["connected_team_ids"]
        row |= dict.fromkeys(SHARES, False)
        row |= {"connected_team_ids": [], "shared_team_ids": [team.id]}
        return {
            "type": "channel_unshared",
            "previously_connected_team_id": left[0] if left else "",
            "channel": channel,
            "is_ext_shared": False,
            "event_ts": self.next_ts(),
        }

    def renumber(self, team: Team, old: str, new: str) -> Json:
        """A channel gets another id, as it may when it is shared; the event of it."""
        team.channels[new] = team.channels.pop(old) | {"id": new}
        team.messages[new] = team.messages.pop(old, [])
        return {
            "type": "channel_id_changed",
            "old_channel_id": old,
            "new_channel_id": new,
            "event_ts": self.next_ts(),
        }

    def next_ts(self) -> str:
        """The timestamp of one more message."""
        self._ts += 1
        return f"{self.began_s + self._ts}.{self._ts:06d}"

    def trigger(self) -> str:
        """A trigger id that opens one view."""
        made = f"trigger-{len(self._triggers)}-{self._ts}"
        self._triggers.add(made)
        return made

    def response_url(self) -> str:
        """A URL that answers five times."""
        id_ = f"r{len(self._urls)}"
        self._urls[id_] = 5
        return f"{self.base_url.removesuffix('/api')}/respond/{id_}"

    def write(self, team: Team, channel: str, user: str, text: str, **more: Any) -> Json:
        """A person writes a message; the event that tells of it."""
        ts = self.next_ts()
        home = str(team.users.get(user, {}).get("team_id") or team.id)
        message = {"type": "message", "user": user, "text": text, "ts": ts, "team": home}
        if home != team.id:
            message |= {"user_team": home, "source_team": home}
        message |= more
        team.messages[channel].append(message)
        kind = "im" if channel.startswith("D") else "channel"
        return message | {"channel": channel, "channel_type": kind, "event_ts": ts}

    def post_file(
        self, team: Team, channel: str, user: str, name: str, data: bytes, **more: Any
    ) -> Json:
        """A person posts a file; the event that tells of it. `served_at`: the path of its bytes."""
        file_id = f"F{len(self.files) + 1}"
        self.files[file_id] = data
        at = more.pop("served_at", "/files")
        file = {
            "id": file_id,
            "name": name,
            "title": name.partition(".")[0],
            "mimetype": more.pop("mimetype", "text/plain"),
            "size": len(data),
            "url_private_download": f"{self.base_url.removesuffix('/api')}{at}/{file_id}",
        }
        self.files_info[file_id] = file
        shared = {key: file[key] for key in ("id", "name", "title", "mimetype", "size")}
        text = more.pop("text", "")
        return self.write(team, channel, user, text, subtype="file_share", files=[shared], **more)

    def shown(self, team: Team, channel: str) -> list[Json]:
        """The bot's messages in a channel, oldest first."""
        return [m for m in team.messages[channel] if m.get("user") == team.bot_user_id]

    def called(self, method: str) -> list[Json]:
        """The arguments of every call of a method."""
        return [args for name, args in self.calls if name == method]

    # Events

    def envelope(self, team: Team, event: Mapping[str, Any], *, event_id: str = "") -> Json:
        """An event as it is delivered."""
        return {
            "type": "event_callback",
            "token": "unused",
            "team_id": team.id,
            "enterprise_id": team.enterprise_id or None,
            "api_app_id": "A1",
            "event": dict(event),
            "is_ext_shared_channel": self._is_ext_shared(team, event),
            "event_id": event_id or f"Ev{self._ts}-{len(self.calls)}",
            "event_time": 1_800_000_000,
            "authorizations": [
                {
                    "enterprise_id": team.enterprise_id or None,
                    "team_id": team.id,
                    "user_id": team.bot_user_id,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
        }

    def _is_ext_shared(self, team: Team, event: Mapping[str, Any]) -> bool:
        channel = event.get("channel")
        row = team.channels.get(channel) if isinstance(channel, str) else None
        return bool(row and row["is_ext_shared"])

    def command(self, team: Team, user: str, channel: str, text: str) -> Json:
        """A slash command as it is delivered, with a fresh trigger and response URL."""
        return {
            "command": "/kb",
            "text": text,
            "team_id": team.id,
            "enterprise_id": team.enterprise_id,
            "user_id": user,
            "channel_id": channel,
            "api_app_id": "A1",
            "response_url": self.response_url(),
            "trigger_id": self.trigger(),
        }

    def press(self, team: Team, user: str, channel: str, message: Json, action: Json) -> Json:
        """A pressed button as it is delivered."""
        return {
            "type": "block_actions",
            "team": {"id": team.id},
            "enterprise": None,
            "user": {"id": user, "team_id": team.id},
            "channel": {"id": channel},
            "container": {
                "type": "message",
                "message_ts": message.get("ts", ""),
                "channel_id": channel,
                "thread_ts": message.get("thread_ts", ""),
            },
            "message": message,
            "actions": [action | {"action_ts": self.next_ts()}],
            "response_url": self.response_url(),
            "trigger_id": self.trigger(),
        }

    async def push(self, kind: str, payload: Json) -> Json:
        """Send an envelope down the newest socket; the acknowledgement of it."""
        envelope_id = f"env-{self._ts}-{id(payload)}"
        envelope = {"envelope_id": envelope_id, "type": kind, "payload": payload}
        await self.sockets[-1].send_json(
            envelope | {"accepts_response_payload": kind != "events_api"}
        )
        async with asyncio.timeout(60):
            while True:
                ack = await self.acks.get()
                if ack.get("envelope_id") == envelope_id:
                    return ack

    # The server

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=10_000_000)
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_get("/files/{id}", self._file)
        app.router.add_get("/moved/{id}", self._moved)
        app.router.add_get("/socket", self._socket)
        app.router.add_post("/respond/{id}", self._respond)
        return app

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": 1, "debug_info": {}})
        self.sockets.append(socket)
        async for message in socket:
            if message.type == WSMsgType.TEXT and message.data.startswith("{"):
                self.acks.put_nowait(json.loads(message.data))
        return socket

    async def _respond(self, request: web.Request) -> web.Response:
        id_ = request.match_info["id"]
        if self._urls.get(id_, 0) <= 0:
            return web.Response(status=404, text="used_url")
        body = await request.json()
        try:
            check_blocks(body.get("blocks") or [])
        except Refused:
            return web.Response(status=400, text="invalid_blocks")
        self._urls[id_] -= 1
        self.responses.append(body)
        return web.Response(text="ok")

    async def _api(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        args = await _arguments(request)
        self.calls.append((method, args))
        if self.faults[method]:
            fault = self.faults[method].pop(0)
            if fault.drop:
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            status = 429 if fault.error == "ratelimited" else fault.status
            return web.json_response(
                {"ok": False, "error": fault.error}, status=status, headers=headers
            )
        headers = {}
        try:
            if method in {"apps.connections.open", "oauth.v2.access"}:
                answer = self._without_team(method, args, request)
            else:
                team = self._team(request)
                headers["x-oauth-scopes"] = ",".join(sorted(team.scopes))
                check_scope(team, method)
                answer = getattr(self, "_" + method.replace(".", "_"))(team, args)
        except Refused as refused:
            return web.json_response(
                {"ok": False, "error": refused.error} | refused.more, headers=headers
            )
        except AttributeError:
            return web.json_response({"ok": False, "error": "unknown_method"})
        if self.after is not None:
            self.after(method, answer)
        return web.json_response({"ok": True} | answer, headers=headers)

    def _team(self, request: web.Request) -> Team:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        for team in self.teams.values():
            if team.token == token:
                if team.revoked:
                    raise Refused("token_revoked")
                return team
        raise Refused("invalid_auth")

    def _without_team(self, method: str, args: Json, request: web.Request) -> Json:
        if method == "apps.connections.open":
            if not request.headers.get("Authorization", "").startswith("Bearer xapp-"):
                raise Refused("not_allowed_token_type")
            return {"url": f"ws{self.base_url.removeprefix('http').removesuffix('/api')}/socket"}
        if args.get("client_secret") != "shh" or args.get("code") not in self.codes:
            raise Refused("invalid_code")
        team = self.codes.pop(args["code"])
        return {
            "access_token": team.token,
            "token_type": "bot",
            "scope": "chat:write,commands",
            "bot_user_id": team.bot_user_id,
            "app_id": "A1",
            "team": {"id": team.id, "name": team.name},
            "enterprise": {"id": team.enterprise_id, "name": "Org"} if team.enterprise_id else None,
            "authed_user": {"id": "UADA"},
            "is_enterprise_install": False,
        }

    # Methods

    def _auth_test(self, team: Team, args: Json) -> Json:
        return {
            "url": f"https://{team.name.lower()}.slack.com/",
            "team": team.name,
            "user": "scrubjay",
            "team_id": team.id,
            "user_id": team.bot_user_id,
            "bot_id": team.bot_id,
            "enterprise_id": team.enterprise_id or None,
            "is_enterprise_install": False,
        }

    def _files_info(self, team: Team, args: Json) -> Json:
        if args["file"] not in self.files_info:
            raise Refused("file_not_found")
        return {"file": self.files_info[args["file"]]}

    async def _file(self, request: web.Request) -> web.StreamResponse:
        """Bytes for who shows a token; the page to log in for everybody else."""
        self.shown_to_files.append((request.host, request.headers.get("Authorization", "")))
        if not request.headers.get("Authorization", "").startswith("Bearer xoxb-"):
            return web.Response(text="<h1>Log in</h1>", content_type="text/html")
        data = self.files[request.match_info["id"]]
        return web.Response(body=data, content_type="application/octet-stream")

    async def _moved(self, request: web.Request) -> web.StreamResponse:
        """The same bytes, at another host."""
        port = request.url.port
        raise web.HTTPFound(f"http://localhost:{port}/files/{request.match_info['id']}")

    def _users_info(self, team: Team, args: Json) -> Json:
        if args.get("user") not in team.users:
            raise Refused("user_not_found")
        return {"user": team.users[args["user"]]}

    def _users_list(self, team: Team, args: Json) -> Json:
        own = [user for user in team.users.values() if not user.get("is_stranger")]
        return {"members": own, "response_metadata": {"next_cursor": ""}}

    def _conversations_info(self, team: Team, args: Json) -> Json:
        channel = self._channel(team, args["channel"])
        return {"channel": {k: v for k, v in channel.items() if k != "members"}}

    def _conversations_members(self, team: Team, args: Json) -> Json:
        members = self._channel(team, args["channel"])["members"]
        start = int(args.get("cursor") or 0)
        end = start + int(args.get("limit") or 100)
        cursor = str(end) if end < len(members) else ""
        return {"members": members[start:end], "response_metadata": {"next_cursor": cursor}}

    def _conversations_replies(self, team: Team, args: Json) -> Json:
        self._channel(team, args["channel"])
        root = args["ts"]
        found = [
            m
            for m in team.messages[args["channel"]]
            if m["ts"] == root or m.get("thread_ts") == root
        ]
        if not found:
            raise Refused("thread_not_found")
        if oldest := args.get("oldest"):
            found = [m for m in found if m["ts"] == root or m["ts"] > oldest]
        if not args.get("include_all_metadata"):
            found = [{k: v for k, v in m.items() if k != "metadata"} for m in found]
        return {"messages": found, "has_more": False}

    def _conversations_history(self, team: Team, args: Json) -> Json:
        self._speakable(team, args["channel"])
        roots = [m for m in team.messages[args["channel"]] if not m.get("thread_ts")]
        latest, oldest = args.get("latest") or "9", args.get("oldest") or "0"
        found = [m for m in reversed(roots) if oldest < m["ts"] < latest]
        limit = int(args.get("limit") or 100)
        page = [self._counted(team, args["channel"], m) for m in found[:limit]]
        return {"messages": page, "has_more": len(found) > limit}

    def _counted(self, team: Team, channel: str, message: Json) -> Json:
        replies = [m for m in team.messages[channel] if m.get("thread_ts") == message["ts"]]
        if not replies:
            return message
        thread = {"reply_count": len(replies), "latest_reply": replies[-1]["ts"]}
        return message | thread | {"thread_ts": message["ts"]}

    def _users_conversations(self, team: Team, args: Json) -> Json:
        found = [c for c in team.channels.values() if not c["is_im"]]
        mine = [c for c in found if team.bot_user_id in c["members"]]
        channels = [{k: v for k, v in c.items() if k != "members"} for c in mine]
        return {"channels": channels, "response_metadata": {"next_cursor": ""}}

    def _channel(self, team: Team, id_: str) -> Json:
        channel = team.channels.get(id_)
        if channel is None or (
            channel["is_private"] and team.bot_user_id not in channel["members"]
        ):
            raise Refused("channel_not_found")
        return channel

    def _speakable(self, team: Team, id_: str) -> Json:
        channel = self._channel(team, id_)
        if team.bot_user_id not in channel["members"]:
            raise Refused("not_in_channel")
        return channel

    def _chat_postMessage(self, team: Team, args: Json) -> Json:  # noqa: N802 (Slack's name)
        self._speakable(team, args["channel"])
        check_message(args)
        message = {
            "type": "message",
            "user": team.bot_user_id,
            "bot_id": team.bot_id,
            "bot_profile": {"id": team.bot_id, "name": "Scrubjay"},
            "ts": self.next_ts(),
            "text": args.get("text", ""),
            "blocks": args.get("blocks") or [],
        }
        for name in ("thread_ts", "metadata"):
            if args.get(name):
                message[name] = args[name]
        team.messages[args["channel"]].append(message)
        return {"channel": args["channel"], "ts": message["ts"], "message": message}

    def _mine(self, team: Team, args: Json) -> Json:
        for message in team.messages[args["channel"]]:
            if message["ts"] == args["ts"]:
                if message.get("user") != team.bot_user_id:
                    raise Refused("cant_update_message")
                return message
        raise Refused("message_not_found")

    def _chat_update(self, team: Team, args: Json) -> Json:
        message = self._mine(team, args)
        if self._is_streaming(message):
            raise Refused("streaming_state_conflict")
        check_message(args)
        message["text"], message["blocks"] = args.get("text", ""), args.get("blocks") or []
        if args.get("metadata"):
            message["metadata"] = args["metadata"]
        return {"channel": args["channel"], "ts": message["ts"], "text": message["text"]}

    def _chat_delete(self, team: Team, args: Json) -> Json:
        message = self._mine(team, args)
        team.messages[args["channel"]].remove(message)
        return {"channel": args["channel"], "ts": message["ts"]}

    def _chat_postEphemeral(self, team: Team, args: Json) -> Json:  # noqa: N802
        channel = self._speakable(team, args["channel"])
        if args["user"] not in channel["members"]:
            raise Refused("user_not_in_channel")
        check_message(args)
        self.ephemerals.append(args)
        return {"message_ts": self.next_ts()}

    def _chat_startStream(self, team: Team, args: Json) -> Json:  # noqa: N802
        channel = self._speakable(team, args["channel"])
        if not args.get("thread_ts"):
            raise Refused("invalid_thread_ts")
        if not channel["is_im"]:
            for name in ("recipient_team_id", "recipient_user_id"):
                if not args.get(name):
                    raise Refused(f"missing_{name}")
        message = {
            "type": "message",
            "user": team.bot_user_id,
            "bot_id": team.bot_id,
            "bot_profile": {"id": team.bot_id, "name": "Scrubjay"},
            "ts": self.next_ts(),
            "thread_ts": args["thread_ts"],
            "text": args.get("markdown_text") or "",
            "blocks": [],
            "streaming_until": self.clock + STREAM_LIFE_S,
            "tasks": [],
        }
        team.messages[args["channel"]].append(message)
        return {"channel": args["channel"], "ts": message["ts"]}

    def _is_streaming(self, message: Json) -> bool:
        until = message.get("streaming_until")
        if until is not None and self.clock >= until:
            del message["streaming_until"]
        return "streaming_until" in message

    def _stream(self, team: Team, args: Json) -> Json:
        message = self._mine(team, args)
        if not self._is_streaming(message):
            raise Refused("message_not_in_streaming_state")
        if len(args.get("markdown_text") or "") > MARKDOWN_MAX:
            raise Refused("msg_too_long")
        message["text"] += args.get("markdown_text") or ""
        message["tasks"] += args.get("chunks") or []
        return message

    def _chat_appendStream(self, team: Team, args: Json) -> Json:  # noqa: N802
        message = self._stream(team, args)
        return {"channel": args["channel"], "ts": message["ts"]}

    def _chat_stopStream(self, team: Team, args: Json) -> Json:  # noqa: N802
        message = self._stream(team, args)
        del message["streaming_until"]
        return {"channel": args["channel"], "ts": message["ts"], "message": message}

    def _assistant_search_context(self, team: Team, args: Json) -> Json:
        if args.get("action_token") != "act-1":
            raise Refused("invalid_action_token")
        words = {word for word in args["query"].lower().split() if len(word) > 3}
        found = []
        for id_, channel in team.channels.items():
            if channel["is_private"] or channel["is_im"]:
                continue
            found += [
                {
                    "author_name": m["user"].title(),
                    "channel_id": id_,
                    "channel_name": channel["name"],
                    "message_ts": m["ts"],
                    "content": m["text"],
                    "is_author_bot": "bot_id" in m,
                    "permalink": f"https://acme.slack.com/archives/{id_}/p{m['ts'].replace('.', '')}",
                }
                for m in team.messages[id_]
                if words & set(m["text"].lower().split()) and not m["text"].startswith("<@")
            ]
        return {"results": {"messages": found[: args.get("limit", 20)]}}

    def _reactions_add(self, team: Team, args: Json) -> Json:
        key = (args["channel"], args["timestamp"], args["name"])
        if key in self.reactions:
            raise Refused("already_reacted")
        self.reactions.add(key)
        return {}

    def _reactions_remove(self, team: Team, args: Json) -> Json:
        key = (args["channel"], args["timestamp"], args["name"])
        if key not in self.reactions:
            raise Refused("no_reaction")
        self.reactions.discard(key)
        return {}

    def _assistant_threads_setStatus(self, team: Team, args: Json) -> Json:  # noqa: N802
        self.statuses.append((args["channel_id"], args["thread_ts"], args["status"]))
        return {}

    def _assistant_threads_setSuggestedPrompts(self, team: Team, args: Json) -> Json:  # noqa: N802
        if not args.get("prompts") or len(args["prompts"]) > 4:
            raise Refused("invalid_prompts")
        self.prompts.append(args)
        return {}

    def _views_open(self, team: Team, args: Json) -> Json:
        if args.get("trigger_id") not in self._triggers:
            raise Refused("expired_trigger_id")
        self._triggers.discard(args["trigger_id"])
        check_view(args["view"])
        view = args["view"] | {"id": f"V{len(self.views)}"}
        self.views[view["id"]] = view
        return {"view": view}

    def _views_update(self, team: Team, args: Json) -> Json:
        if args.get("view_id") not in self.views:
            raise Refused("not_found")
        check_view(args["view"])
        self.views[args["view_id"]] = args["view"] | {"id": args["view_id"]}
        return {"view": self.views[args["view_id"]]}

    def _views_publish(self, team: Team, args: Json) -> Json:
        check_view(args["view"])
        self.homes[args["user_id"]] = args["view"]
        return {"view": args["view"]}


def check_scope(team: Team, method: str) -> None:
    """Refuse a method the token has no scope for."""
    needed = SCOPES.get(method, "")
    if team.scopes and needed and needed not in team.scopes:
        raise Refused("missing_scope", needed=needed, provided=",".join(sorted(team.scopes)))


async def _arguments(request: web.Request) -> Json:
    args: Json = dict(request.query)
    if request.content_type == "application/json":
        args |= await request.json()
    elif request.can_read_body:
        args |= dict(await request.post())
    return args


def check_message(args: Json) -> None:
    """Refuse what Slack refuses of a message."""
    if not args.get("text") and not args.get("blocks"):
        raise Refused("no_text")
    if len(args.get("text") or "") > TEXT_MAX:
        raise Refused("msg_too_long")
    check_blocks(args.get("blocks") or [])


def check_blocks(blocks: list[Json]) -> None:
    """Refuse blocks that Slack would not show."""
    if len(blocks) > BLOCKS_MAX:
        raise Refused("invalid_blocks")
    for block in blocks:
        check = _BLOCK_CHECKS.get(block.get("type", ""))
        if check is None:
            raise Refused("invalid_blocks")
        check(block)
    if sum(len(block["text"]) for block in blocks if block["type"] == "markdown") > MARKDOWN_MAX:
        raise Refused("msg_blocks_too_long")
    if sum(block["type"] == "table" for block in blocks) > 1:
        raise Refused("invalid_blocks")


def _check_context(block: Json) -> None:
    _require(0 < len(block["elements"]) <= 10)
    for element in block["elements"]:
        _require(0 < len(element["text"]) <= SECTION_MAX)


def _check_table(block: Json) -> None:
    _require(0 < len(block["rows"]) <= 100)
    for row in block["rows"]:
        _require(0 < len(row) <= 20)
        for cell in row:
            _require(cell["text"])


_BLOCK_CHECKS: Mapping[str, Callable[[Json], None]] = {
    "actions": lambda block: _check_actions(block["elements"]),
    "context": _check_context,
    "context_actions": lambda block: _require(0 < len(block["elements"]) <= 5),
    "divider": lambda block: None,
    "header": lambda block: _require(0 < len(block["text"]["text"]) <= 150),
    "input": lambda block: _require(block["label"]["text"]),
    "markdown": lambda block: _require(block["text"].strip()),
    "section": lambda block: _require(0 < len(block["text"]["text"]) <= SECTION_MAX),
    "table": _check_table,
}


def _check_actions(elements: list[Json]) -> None:
    _require(0 < len(elements) <= 25)
    ids = [element["action_id"] for element in elements]
    _require(len(set(ids)) == len(ids))
    for element in elements:
        _require(len(element["action_id"]) <= 255)
        _require(0 < len(element["text"]["text"]) <= 75)
        _require(0 < len(element.get("value", "-")) <= 2000)
        _require(element.get("style", "primary") in {"primary", "danger"})


def check_view(view: Json) -> None:
    """Refuse a view that Slack would not show."""
    _require(view.get("type") in {"home", "modal"})
    _require(len(view["blocks"]) <= 100)
    check_blocks(view["blocks"][:BLOCKS_MAX])
    _require(len(view.get("private_metadata", "")) <= 3000)
    if view["type"] == "modal":
        _require(0 < len(view["title"]["text"]) <= 24)
        has_input = any(block["type"] == "input" for block in view["blocks"])
        _require(not has_input or "submit" in view)


def _require(condition: object) -> None:
    if not condition:
        raise Refused("invalid_blocks")


def form(body: Json) -> str:
    """A payload as interactive ones are posted: JSON in a form field."""
    return urlencode({"payload": json.dumps(body)})


@asynccontextmanager
async def open_slack() -> AsyncIterator[FakeSlack]:
    """Slack on a free loopback port."""
    fake = FakeSlack()
    runner = web.AppRunner(fake.app(), shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    fake.base_url = f"http://127.0.0.1:{port}/api"
    try:
        yield fake
    finally:
        for socket in fake.sockets:
            await socket.close()
        await runner.cleanup()
