"""Interactions with the fake Discord: commands registered, used, answered; buttons, menus, forms.

The bot's side is Discord's: an interaction is answered once, within three seconds of the world's
time, and its webhook lives a quarter of an hour. The people's side can do what a client shows them
and nothing else: a command that is not registered, or a button that is switched off, fails the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.fakes.discord_checks import (
    COMPONENTS_V2,
    EPHEMERAL,
    LABEL,
    ROW,
    SELECTS,
    Refused,
    check_choices,
    check_commands,
    check_message,
    check_modal,
    invalid,
    walk,
)
from tests.fakes.discord_rest import Call, Rest
from tests.fakes.discord_routes import Routes
from tests.fakes.discord_talk import Talk
from tests.fakes.discord_world import ADMINISTRATOR, THREADS, Guild, Json, World

COMMAND, COMPONENT, AUTOCOMPLETE, SUBMIT = 2, 3, 4, 5  # interactions
MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9  # answers
LOADING = 1 << 7
DEADLINE_S, LIFE_S = 3.0, 900.0
USER_OPTION, CHANNEL_OPTION, ROLE_OPTION, FILE_OPTION = 6, 7, 8, 11


@dataclass
class Interaction:
    """What a person did, and how the bot answered it."""

    id: str
    token: str
    type: int
    user_id: str
    channel_id: str
    guild_id: str | None
    created_at: datetime
    data: Json
    message: Json | None = None  # that a pressed component is in
    kind: int = 0  # of the answer; 0 while there is none
    original: Json | None = None
    followups: list[Json] = field(default_factory=list)
    edits: list[Json] = field(default_factory=list)  # what edits of its messages asked for
    choices: list[Json] = field(default_factory=list)
    modal: Json | None = None
    gone: set[str] = field(default_factory=set)

    @property
    def is_done(self) -> bool:
        """Whether it was answered with more than "thinking"."""
        thinking = self.original is not None and self.original["flags"] & LOADING
        return self.kind != 0 and not thinking

    @property
    def shown(self) -> list[Json]:
        """The messages it was answered with that still exist."""
        first = [] if self.original is None or self.kind in {6, 7} else [self.original]
        return [item for item in (*first, *self.followups) if item["id"] not in self.gone]

    @property
    def text(self) -> str:
        """All they say."""
        return "\n".join(map(text_of, self.shown))

    @property
    def is_private(self) -> bool:
        """Whether only who asked sees the answer."""
        return all(item["flags"] & EPHEMERAL for item in self.shown)


class Interactions:
    """See the module. `deadline_s` and `life_s` are counted in the world's time."""

    def __init__(self, world: World, talk: Talk, routes: Routes, rest: Rest) -> None:
        self.world = world
        self.talk = talk
        self.routes = routes
        self.deadline_s, self.life_s = DEADLINE_S, LIFE_S
        self.commands: dict[str, list[Json]] = {}  # by server, "" for everywhere
        self.all: dict[str, Interaction] = {}  # by token
        base, hook = "/applications/{application}", "/webhooks/{application}/{token}"
        for where in (f"{base}/commands", f"{base}/guilds/{{guild}}/commands"):
            rest.add("GET", where, self._registered)
            rest.add("PUT", where, self._register)
        respond = "/interactions/{interaction}/{token}/callback"
        rest.add("POST", respond, self._respond, is_open=True)
        rest.add("POST", hook, self._follow_up, is_open=True)
        for method, handler in (
            ("GET", self._get),
            ("PATCH", self._patch),
            ("DELETE", self._delete),
        ):
            rest.add(method, f"{hook}/messages/{{message}}", handler, is_open=True)

    # Commands are registered

    def _registered(self, _: Call, application: str, guild: str = "") -> list[Json]:
        self._ours(application)
        return self.commands.get(guild, [])

    def _register(self, call: Call, application: str, guild: str = "") -> list[Json]:
        self._ours(application)
        check_commands(call.body)
        self.commands[guild] = [
            {"type": 1, "description": "", "options": []}
            | item
            | {"id": self.world.new_id(), "application_id": application, "version": "1"}
            | ({"guild_id": guild} if guild else {})
            for item in call.body
        ]
        return self.commands[guild]

    def _ours(self, application: str) -> None:
        if application != self.world.application_id:
            raise Refused(403, 20012, "You are not authorized to perform this action")

    # The bot answers

    def _respond(self, call: Call, interaction: str, token: str) -> Json | None:
        found = self.all.get(token)
        age_s = 0.0 if found is None else (self.world.now() - found.created_at).total_seconds()
        if found is None or found.id != interaction or age_s > self.deadline_s:
            raise Refused(404, 10062, "Unknown interaction")
        if found.kind:
            raise Refused(400, 40060, "Interaction has already been acknowledged.")
        kind, data = int(call.body["type"]), call.body.get("data") or {}
        self._check_kind(found, kind)
        self._answer(found, kind, data, call.files)
        found.kind = kind
        if call.query.get("with_response", "0") not in {"1", "true"}:
            return None
        acknowledged = {
            "id": found.id,
            "type": found.type,
            "response_message_loading": kind == DEFERRED,
            "response_message_ephemeral": bool(int(data.get("flags") or 0) & EPHEMERAL),
        }
        if found.original is None:
            return {"interaction": acknowledged}
        acknowledged["response_message_id"] = found.original["id"]
        return {
            "interaction": acknowledged,
            "resource": {"type": kind, "message": found.original},
        }

    @staticmethod
    def _check_kind(found: Interaction, kind: int) -> None:
        in_place = found.message is not None
        fits = {
            COMMAND: {MESSAGE, DEFERRED, MODAL},
            COMPONENT: {MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, MODAL},
            AUTOCOMPLETE: {CHOICES},
            SUBMIT: {MESSAGE, DEFERRED} | ({DEFERRED_UPDATE, UPDATE} if in_place else set()),
        }
        if kind not in fits[found.type]:
            raise invalid("type", f"{kind} doesn't answer {found.type}.", "BASE_TYPE_CHOICES")

    def _answer(
        self, found: Interaction, kind: int, data: Json, files: Mapping[str, bytes]
    ) -> None:
        if kind == MESSAGE:
            check_message(data, len(files), ephemeral=True)
            found.original = self._make(found, data, files)
        elif kind == DEFERRED:
            flags = int(data.get("flags") or 0)
            if flags & ~(EPHEMERAL | COMPONENTS_V2):
                raise invalid("data.flags", "Only EPHEMERAL may be set.", "MESSAGE_FLAGS")
            found.original = self._make(found, {"flags": flags & EPHEMERAL | LOADING}, {})
        elif kind in {UPDATE, DEFERRED_UPDATE}:
            assert found.message is not None
            found.original = found.message
            if kind == UPDATE:
                self._rewrite(found, found.message, data, files)
        elif kind == CHOICES:
            check_choices(data.get("choices") or [])
            found.choices = list(data.get("choices") or [])
        else:
            check_modal(data)
            found.modal = data

    def _make(
        self, found: Interaction, payload: Mapping[str, Any], files: Mapping[str, bytes]
    ) -> Json:
        """A message of an answer: kept in the channel unless only one person sees it."""
        message = self.routes.make(found.channel_id, payload, files)
        message["webhook_id"] = self.world.application_id
        message["application_id"] = self.world.application_id
        message["interaction_metadata"] = {
            "id": found.id,
            "type": found.type,
            "user": self.world.users[found.user_id],
            "authorizing_integration_owners": {"0": found.guild_id or "0"},
        }
        if found.type == COMMAND:
            message["type"] = 20 if found.data.get("type", 1) == 1 else 23
        return message if self.talk.is_hidden(message) else self.world.keep(message)

    def _alive(self, token: str) -> Interaction:
        found = self.all.get(token)
        if found is None or not found.kind:
            raise Refused(404, 10015, "Unknown Webhook")
        if (self.world.now() - found.created_at).total_seconds() > self.life_s:
            raise Refused(401, 50027, "Invalid Webhook Token")
        return found

    def _follow_up(self, call: Call, application: str, token: str) -> Json:
        self._ours(application)
        found = self._alive(token)
        check_message(call.body or {}, len(call.files), ephemeral=True)
        if found.original is not None and found.original["flags"] & LOADING:
            # The first one takes the place of "thinking", and its privacy.
            return self._rewrite(found, found.original, call.body, call.files)
        message = self._make(found, call.body, call.files)
        found.followups.append(message)
        return message

    def _one(self, token: str, message: str) -> tuple[Interaction, Json]:
        found = self._alive(token)
        known = [*([found.original] if found.original else []), *found.followups]
        for item in known:
            is_meant = (message == "@original" and item is found.original) or item["id"] == message
            if is_meant and item["id"] not in found.gone:
                return found, item
        raise Refused(404, 10008, "Unknown Message")

    def _get(self, _: Call, application: str, token: str, message: str) -> Json:
        self._ours(application)
        return self._one(token, message)[1]

    def _patch(self, call: Call, application: str, token: str, message: str) -> Json:
        self._ours(application)
        found, one = self._one(token, message)
        return self._rewrite(found, one, call.body or {}, call.files)

    def _rewrite(
        self,
        found: Interaction,
        message: Json,
        payload: Mapping[str, Any],
        files: Mapping[str, bytes],
    ) -> Json:
        private = message["flags"] & EPHEMERAL
        changes, before = dict(payload), dict(message)
        if changes.get("flags") is not None:
            changes["flags"] = (
                int(changes["flags"]) & ~EPHEMERAL
            )  # fixed when it was first answered
        message["flags"] &= ~(LOADING | EPHEMERAL)
        try:
            self.routes.rewrite(message, changes, files, silent=bool(private))
        except Refused:
            message |= before
            raise
        message["flags"] |= private
        found.edits.append(dict(payload))
        return message

    def _delete(self, _: Call, application: str, token: str, message: str) -> None:
        self._ours(application)
        found, one = self._one(token, message)
        found.gone.add(one["id"])
        if not self.talk.is_hidden(one):
            self.talk.delete(one["channel_id"], one["id"])

    # People use them

    def slash(self, user_id: str, channel_id: str, name: str, /, **options: Any) -> Interaction:
        """Use a command: `slash(ada, talk, "kb bind", channel=talk, name="handbook")`."""
        command, inner, path = self._find(user_id, channel_id, name)
        chosen, resolved = self._options(channel_id, inner, options)
        for option in inner.get("options") or ():
            assert not option.get("required") or option["name"] in options, f"{option} is needed"
        return self._use(COMMAND, user_id, channel_id, command, path, chosen, resolved)

    def complete(
        self, user_id: str, channel_id: str, name: str, focused: str, typed: str, /, **options: Any
    ) -> Interaction:
        """Type into an option that completes itself; `choices` of the answer are what is offered."""
        command, inner, path = self._find(user_id, channel_id, name)
        option = next(item for item in inner["options"] if item["name"] == focused)
        assert option.get("autocomplete"), f"{focused} of /{name} has no autocomplete"
        chosen, resolved = self._options(channel_id, inner, options)
        chosen.append({"name": focused, "type": option["type"], "value": typed, "focused": True})
        return self._use(AUTOCOMPLETE, user_id, channel_id, command, path, chosen, resolved)

    def choose(self, user_id: str, channel_id: str, name: str, target_id: str) -> Interaction:
        """Choose an entry of a message's or a person's context menu."""
        command = self._visible(user_id, channel_id, name, kinds=(2, 3))
        resolved: Json = {}
        if command["type"] == 3:
            message = self.world.find_message(channel_id, target_id)
            resolved["messages"] = {target_id: message}
        else:
            resolved = self._person(channel_id, target_id)
        data = {
            "id": command["id"],
            "name": name,
            "type": command["type"],
            "target_id": target_id,
            "resolved": resolved,
        }
        return self._send(COMMAND, user_id, channel_id, data)

    def press(self, user_id: str, message: Json, label: str) -> Interaction:
        """Press the button with this label, or this emoji."""
        for item in walk(message["components"]):
            shown = (item.get("label"), (item.get("emoji") or {}).get("name"))
            if item["type"] == 2 and label in shown:
                assert not item.get("disabled"), f"{label!r} is switched off"
                assert item.get("custom_id"), f"{label!r} is a link"
                data = {
                    "custom_id": item["custom_id"],
                    "component_type": 2,
                    "id": item.get("id", 0),
                }
                return self._send(COMPONENT, user_id, message["channel_id"], data, message)
        raise AssertionError(f"no button {label!r} in {message['components']}")

    def select(self, user_id: str, message: Json, *values: str) -> Interaction:
        """Choose in the message's only select menu, by value or by label."""
        menu = next(item for item in walk(message["components"]) if item["type"] in SELECTS)
        named = {option["label"]: option["value"] for option in menu.get("options") or ()}
        chosen = [named.get(value, value) for value in values]
        known = set(named.values())
        assert menu["type"] != 3 or known.issuperset(chosen), f"{chosen} is not offered"
        resolved: Json = {}
        for item in chosen if menu["type"] == 8 else []:
            resolved.setdefault("channels", {})[item] = self._channel(item, user_id)
        data = {
            "custom_id": menu["custom_id"],
            "component_type": menu["type"],
            "id": menu.get("id", 0),
            "values": chosen,
            "resolved": resolved,
        }
        return self._send(COMPONENT, user_id, message["channel_id"], data, message)

    def submit(self, opened: Interaction, /, **values: Any) -> Interaction:
        """Send off the form an interaction was answered with; values by custom id."""
        assert opened.modal is not None, "no form was shown"
        fields = [
            item
            for item in walk(opened.modal["components"])
            if item["type"] not in {ROW, LABEL, 10}
        ]
        ids = {item["custom_id"] for item in fields}
        assert ids.issuperset(values), f"the form has {ids}"
        components = []
        for item in fields:
            value = values.get(item["custom_id"], "" if item["type"] == 4 else [])
            assert value or not item.get("required", True), f"{item['custom_id']} is needed"
            component = {"type": item["type"], "custom_id": item["custom_id"], "id": 1}
            component["value" if item["type"] in {4, 21, 23} else "values"] = value
            components.append({"type": LABEL, "id": 2, "component": component})
        data = {"custom_id": opened.modal["custom_id"], "components": components, "resolved": {}}
        return self._send(SUBMIT, opened.user_id, opened.channel_id, data, opened.message)

    # How a client comes to what it sends

    def _visible(self, user_id: str, channel_id: str, name: str, *, kinds: Sequence[int]) -> Json:
        guild, _ = self.world.find_channel(channel_id)
        here = [*self.commands.get(guild.id if guild else "", []), *self.commands.get("", [])]
        for item in here:
            if item["name"] == name and item["type"] in kinds:
                contexts = item.get("contexts")
                place = 0 if guild else 1
                assert contexts is None or place in contexts, f"{name} is not offered here"
                assert guild or item.get("dm_permission", True), f"{name} is for servers"
                needed = item.get("default_member_permissions")
                held = self.world.permissions(channel_id, user_id)
                allowed = needed is None or guild is None or held & ADMINISTRATOR
                assert allowed or not int(needed or 0) & ~held, f"{name} is hidden from {user_id}"
                return item
        raise AssertionError(f"{name!r} is not registered: {[item['name'] for item in here]}")

    def _find(self, user_id: str, channel_id: str, name: str) -> tuple[Json, Json, list[Json]]:
        first, *rest = name.split()
        command = inner = self._visible(user_id, channel_id, first, kinds=(1,))
        path: list[Json] = []
        for part in rest:
            found = [item for item in inner.get("options") or () if item["name"] == part]
            assert found, f"{part!r} is no part of /{name}"
            inner = found[0]
            path.append({"name": part, "type": inner["type"]})
        nested = [item for item in inner.get("options") or () if item["type"] in {1, 2}]
        assert not nested, f"/{name} is a group"
        return command, inner, path

    def _options(
        self, channel_id: str, inner: Json, options: Mapping[str, Any]
    ) -> tuple[list[Json], Json]:
        known = {item["name"]: item for item in inner.get("options") or ()}
        assert known.keys() >= options.keys(), f"{inner['name']} takes {sorted(known)}"
        chosen: list[Json] = []
        resolved: Json = {}
        for name, given in options.items():
            option, value = known[name], given
            if option["type"] == FILE_OPTION:
                filename, data = value
                [made] = self.routes.attach(channel_id, "", {filename: data})
                resolved.setdefault("attachments", {})[made["id"]] = made
                value = made["id"]
            elif option["type"] == CHANNEL_OPTION:
                resolved.setdefault("channels", {})[value] = self._channel(value, "")
            elif option["type"] == USER_OPTION:
                for key, rows in self._person(channel_id, value).items():
                    resolved.setdefault(key, {}).update(rows)
            elif option["type"] == ROLE_OPTION:
                guild, _ = self.world.in_guild(channel_id)
                resolved.setdefault("roles", {})[value] = guild.roles[value]
            else:
                _fits(option, value)
            chosen.append({"name": name, "type": option["type"], "value": value})
        return chosen, resolved

    def _channel(self, channel_id: str, user_id: str) -> Json:
        guild, channel = self.world.in_guild(channel_id)
        held = self.world.permissions(channel_id, user_id or guild.owner_id)
        keys = {"id", "name", "type", "parent_id", "guild_id"}
        if channel["type"] in THREADS:
            return channel | {"permissions": str(held)}
        return {key: value for key, value in channel.items() if key in keys} | {
            "permissions": str(held)
        }

    def _person(self, channel_id: str, user_id: str) -> Json:
        guild, _ = self.world.find_channel(channel_id)
        resolved: Json = {"users": {user_id: self.world.users[user_id]}}
        if guild is not None and user_id in guild.members:
            member = {k: v for k, v in guild.members[user_id].items() if k != "user"}
            held = str(self.world.permissions(channel_id, user_id))
            resolved["members"] = {user_id: member | {"permissions": held}}
        return resolved

    def _use(
        self,
        type_: int,
        user_id: str,
        channel_id: str,
        command: Json,
        path: Sequence[Json],
        chosen: list[Json],
        resolved: Json,
    ) -> Interaction:
        options = chosen
        for part in reversed(path):
            options = [part | {"options": options}]
        data = {"id": command["id"], "name": command["name"], "type": 1, "options": options}
        data |= {"guild_id": command["guild_id"]} if "guild_id" in command else {}
        return self._send(type_, user_id, channel_id, data | {"resolved": resolved})

    def _send(
        self, type_: int, user_id: str, channel_id: str, data: Json, message: Json | None = None
    ) -> Interaction:
        guild, channel = self.world.find_channel(channel_id)
        id_ = self.world.new_id()
        made = Interaction(
            id=id_,
            token=f"token-of-{id_}",
            type=type_,
            user_id=user_id,
            channel_id=channel_id,
            guild_id=guild.id if guild else None,
            created_at=self.world.now(),
            data=data,
            message=message,
        )
        self.all[made.token] = made
        event: Json = {
            "id": id_,
            "application_id": self.world.application_id,
            "type": type_,
            "token": made.token,
            "version": 1,
            "channel_id": channel_id,
            "channel": channel,
            "data": data,
            "locale": "en-US",
            "app_permissions": str(self.world.permissions(channel_id, self.world.bot_id)),
            "attachment_size_limit": 10_485_760,
            "entitlements": [],
            "authorizing_integration_owners": {"0": guild.id if guild else "0"},
            "context": 0 if guild else 1,
        }
        if message is not None:
            event["message"] = message
        event |= self._actor(guild, user_id, channel_id)
        self.world.emit("INTERACTION_CREATE", event, guild.id if guild else None, 0)
        return made

    def _actor(self, guild: Guild | None, user_id: str, channel_id: str) -> Json:
        if guild is None:
            return {"user": self.world.users[user_id]}
        held = str(self.world.permissions(channel_id, user_id))
        return {
            "guild_id": guild.id,
            "guild": {"id": guild.id, "locale": "en-US", "features": []},
            "guild_locale": "en-US",
            "member": guild.members[user_id] | {"permissions": held},
        }


def _fits(option: Json, value: Any) -> None:
    """What a client lets a person type."""
    types: dict[int, Any] = {3: str, 4: int, 5: bool, 10: (int, float)}
    assert isinstance(value, types.get(option["type"], str)), f"{option['name']}: {value!r}"
    if option.get("choices"):
        assert value in {item["value"] for item in option["choices"]}, f"{value!r} is not offered"
    size = len(value) if isinstance(value, str) else value
    least, most = (
        ("min_length", "max_length") if isinstance(value, str) else ("min_value", "max_value")
    )
    assert option.get(least) is None or size >= option[least], f"{value!r} is too small"
    assert option.get(most) is None or size <= option[most], f"{value!r} is too large"


def text_of(message: Mapping[str, Any]) -> str:
    """Everything a message says: content, texts of components and their labels, embeds."""
    parts = [str(message.get("content") or "")]
    for item in walk(message.get("components") or []):
        parts += [str(item[key]) for key in ("content", "label") if item.get(key)]
    for embed in message.get("embeds") or ():
        parts += [str(embed[key]) for key in ("title", "description") if embed.get(key)]
        for item in embed.get("fields") or ():
            parts += [item["name"], item["value"]]
    return "\n".join(filter(None, parts))


async def until(condition: Callable[[], object], bound_s: float = 60.0) -> None:
    """Wait for something the bot does."""
    async with asyncio.timeout(bound_s):
        while not condition():  # noqa: ASYNC110 (the fake sends no signal)
            await asyncio.sleep(0.005)
