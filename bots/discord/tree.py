"""The slash commands and context menus from the command table, and back to a line of it. Pure.

Commands for everyone are under `/kb`, those for admins under `/kb-admin`, which Discord shows only
to people who manage the server until its admins choose otherwise. That is a hint: rights are
checked when a command runs. Discord allows 25 entries a level and two levels, so a few commands are
in a group that their name does not have; `worded` puts the right path into texts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bots import replies
from bots.discord.permissions import FORUM, MANAGE_GUILD, MEDIA, NEWS, STAGE, TEXT, VOICE
from engine.commands.table import COMMANDS, Command, Parameter, Permission, find_command

Json = dict[str, Any]

EVERYONES, ADMINS = "kb", "kb-admin"
ALONE = frozenset({"ask", "search"})  # top-level commands
# Commands whose path is not their name: a word can't be a group and a command at once.
MOVED: Mapping[str, str] = {
    "answer-bots": "limits answer-bots",
    "assistant bind": "base assistant-bind",
    "assistant create": "base assistant-create",
    "assistant remove": "base assistant-remove",
    "assistant set": "base assistant-set",
    "assistant unbind": "base assistant-unbind",
    "ranking show": "base ranking-show",
    "ranking set": "base ranking-set",
    "ranking reset": "base ranking-reset",
    "create": "base create",
    "delete": "base delete",
    "feedback report": "feedback",
    "grant": "base grant",
    "limits": "limits show",
    "list": "base list",
    "reembed": "base reembed",
    "revoke": "base revoke",
    "roles": "roles show",
    "usage": "usage show",
}
GROUP_HELP: Mapping[str, str] = {
    "assistant": "Assistants: who answers, and how.",
    "base": "Knowledge bases and assistants: create and delete them, set who may read them.",
    "document": "Single documents: what may be found of them, and how.",
    "ingest": "Store a channel's messages, to answer from them.",
    "limits": "Limits on questions, and which bots may ask.",
    "people": "Members of this organisation, their roles and groups.",
    "roles": "Who can change settings here.",
    "source": "Connected sources, and pages added by their URL.",
    "usage": "Questions, searches and storage of this organisation.",
    "workflow": "Workflows: your runs, and what they ask of you.",
}
REGISTER = "register"  # in no table: it connects a server, and no one can run commands before
MENUS = {
    "Ask about this": replies.ABOUT,
    "Summarise thread": replies.SUMMARISE,
    "Find similar": replies.SIMILAR,
    "Save as answer": replies.SAVE,
}

CHAT_INPUT, MESSAGE_MENU = 1, 3  # command types
SUBCOMMAND, GROUP, STRING, INTEGER, USER, CHANNEL = 1, 2, 3, 4, 6, 7  # option types
CHOICES_MAX, DESCRIPTION_MAX, CHOICE_MAX, COMMAND_MAX = 25, 100, 100, 8_000
SHORTEST = 24  # letters of a description; `help` says all of it
OPTION_TEXT_MAX = 4_000
EVERYWHERE, IN_SERVERS = [0, 1], [0]  # contexts: a server, the bot's direct messages
CHANNEL_TYPES = [TEXT, VOICE, NEWS, STAGE, FORUM, MEDIA]
COMPLETED = frozenset({"kb", "place", "command", "url"})  # parameters that are completed


def payload() -> list[Json]:
    """All commands, as the payload of Discord's bulk call."""
    everyones = [c for c in COMMANDS if c.permission is Permission.EVERYONE]
    admins = [c for c in COMMANDS if c.permission is not Permission.EVERYONE]
    alone = [_top(c.name, c.help, _options(c)) for c in everyones if c.name in ALONE]
    shared = [c for c in everyones if c.name not in ALONE]
    kb = _top(EVERYONES, "What I know, who sees it, and your account.", _nested(shared))
    kb["options"].append(_register())
    admin = _top(ADMINS, "Set me up: channels, knowledge bases, limits, roles.", _nested(admins))
    admin |= {"contexts": IN_SERVERS, "default_member_permissions": str(MANAGE_GUILD)}
    menus = [{"type": MESSAGE_MENU, "name": name, "contexts": IN_SERVERS} for name in MENUS]
    return [*alone, kb, _fitted(admin), *menus]


def _fitted(command: Json) -> Json:
    """The command with descriptions as long as there is room: Discord counts all letters of one."""
    most = DESCRIPTION_MAX
    fitted = command
    while _letters(fitted) > COMMAND_MAX and most > SHORTEST:
        most -= 4
        fitted = _shortened(command, most)
    return fitted


def _letters(entry: Json) -> int:
    """What Discord counts of a command: names, descriptions and values, with all below."""
    own = len(entry["name"]) + len(entry.get("description", "")) + len(str(entry.get("value", "")))
    return own + sum(map(_letters, [*entry.get("options", ()), *entry.get("choices", ())]))


def _shortened(entry: Json, most: int) -> Json:
    found = dict(entry)
    if len(entry.get("description", "")) > most:
        found["description"] = (
            f"{entry['description'][: most - 1].rpartition(' ')[0].rstrip(',;:')}…"
        )
    if "options" in entry:
        found["options"] = [_shortened(option, most) for option in entry["options"]]
    return found


def digest(commands: Sequence[Json]) -> str:
    """What changes with the commands, and with nothing else."""
    return hashlib.sha256(json.dumps(commands, sort_keys=True).encode()).hexdigest()[:32]


def path_of(command: Command) -> str:
    """The path of a command on Discord: `/kb-admin limits set`."""
    if command.name in ALONE:
        return f"/{command.name}"
    top = EVERYONES if command.permission is Permission.EVERYONE else ADMINS
    return f"/{top} {MOVED.get(command.name, command.name)}"


def _top(name: str, help_: str, options: list[Json]) -> Json:
    return {
        "type": CHAT_INPUT,
        "name": name,
        "description": _described(help_),
        "contexts": EVERYWHERE,
        "integration_types": [0],
        "options": options,
    }


def _nested(commands: Sequence[Command]) -> list[Json]:
    """Subcommands, and groups of them, in the order of the table."""
    found: dict[str, Json] = {}
    for command in commands:
        group, _, name = MOVED.get(command.name, command.name).rpartition(" ")
        subcommand = {
            "type": SUBCOMMAND,
            "name": name,
            "description": _described(command.help),
            "options": _options(command),
        }
        if not group:
            found[name] = subcommand
            continue
        made = found.setdefault(
            group,
            {"type": GROUP, "name": group, "description": GROUP_HELP[group], "options": []},
        )
        made["options"].append(subcommand)
    return list(found.values())


def _register() -> Json:
    key = {
        "type": STRING,
        "name": "key",
        "description": "What `scrubjay bot discord-key` printed.",
        "required": True,
        "max_length": 500,
    }
    return {
        "type": SUBCOMMAND,
        "name": REGISTER,
        "description": "Connect this server, with a key from the person who runs me."
        " Needs Manage Server.",
        "options": [key],
    }


def _options(command: Command) -> list[Json]:
    """A command's parameters; Discord wants the required ones first, as the table has them."""
    return [_option(parameter) for parameter in command.parameters]


def _option(parameter: Parameter) -> Json:
    made: Json = {
        "type": STRING,
        "name": parameter.name,
        "description": _described(parameter.help),
        "required": parameter.required,
    }
    if parameter.choices:
        made["choices"] = [{"name": choice, "value": choice} for choice in parameter.choices]
    elif parameter.kind == "number":
        made |= {"type": INTEGER, "min_value": parameter.low, "max_value": parameter.high}
    elif parameter.kind == "channel":
        made |= {"type": CHANNEL, "channel_types": CHANNEL_TYPES}
    elif parameter.kind == "person":
        made["type"] = USER
    else:
        made["max_length"] = OPTION_TEXT_MAX
        if parameter.name in COMPLETED:
            made["autocomplete"] = True
    return made


def _described(help_: str) -> str:
    text = help_[:1].upper() + help_[1:]
    return text if len(text) <= DESCRIPTION_MAX else text[: DESCRIPTION_MAX - 1].rstrip() + "…"


# Back


@dataclass(frozen=True, slots=True)
class FilledCommand:
    """A command as it was filled in. `command` is None for `register`, or one that is gone."""

    path: str
    command: Command | None
    values: Mapping[str, Any] = field(default_factory=dict)
    focused: str = ""  # the parameter that is being typed

    @property
    def line(self) -> str:
        """The command as it would be typed."""
        name = self.command.name if self.command is not None else self.path
        parameters = self.command.parameters if self.command is not None else ()
        words = [_word(parameter, self.values.get(parameter.name)) for parameter in parameters]
        while words and words[-1] in {"", '""'}:
            words.pop()
        return " ".join([name, *words])


def read(data: Mapping[str, Any]) -> FilledCommand:
    """What was chosen and filled in, from an interaction's data."""
    path = [str(data.get("name", ""))]
    options: Sequence[Mapping[str, Any]] = data.get("options") or ()
    while len(options) == 1 and options[0].get("type") in {SUBCOMMAND, GROUP}:
        path.append(str(options[0].get("name", "")))
        options = options[0].get("options") or ()
    values = {str(option.get("name")): option.get("value") for option in options}
    focused = next((str(option.get("name")) for option in options if option.get("focused")), "")
    said = " ".join(path)
    return FilledCommand(said, _BY_PATH.get(f"/{said}"), values, focused)


def _word(parameter: Parameter, value: Any) -> str:  # noqa: ANN401 (JSON)
    if value is None:
        return '""'
    text = " ".join(str(value).split()) if not parameter.rest else str(value).strip()
    if parameter.kind == "channel" or (parameter.kind == "place" and text.isdecimal()):
        return f"<#{text}>"
    if parameter.kind == "person":
        return f"<@{text}>"
    if parameter.rest or parameter.kind in {"number", "people"}:
        return text
    return '"' + re.sub(r'["“”]', "'", text) + '"'


_BY_PATH = {path_of(command): command for command in COMMANDS}
_SPOKEN = re.compile(r"`(?:/kb )?([a-z][a-z-]*(?: [a-z][a-z-]*)?)([^`\n]*)`")


def worded(text: str) -> str:
    """A text with Discord's paths of the commands in it: `mode auto` as `/kb-admin mode auto`."""

    def place(match: re.Match[str]) -> str:
        words, rest = match[1], match[2]
        for name in (words, words.split()[0]):
            command = find_command(name)
            if command is not None:
                return f"`{path_of(command)}{words[len(name) :]}{rest}`"
        return match.group()

    return _SPOKEN.sub(place, text)
