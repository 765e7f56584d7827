"""The command table: every command of Scrubjay, in one tuple.

Slash commands, the admin commands of the command line and the reference page are made from it. The
bots parse with `parse`, and `engine.commands.runner` does what a command says. A command has typed
parameters, the people who may use it, and an effect: it reads, changes, or destroys, which the same
person confirms first.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from engine.documents.search_settings import SETTINGS
from engine.errors import InvalidInput
from engine.models.catalogue import MODELS

Kind = Literal[
    "channel",
    "choice",
    "days",
    "kb",
    "number",
    "people",
    "person",
    "place",
    "switch",
    "text",
    "url",
]
Value = str | int | bool | tuple[str, ...]

HERE, WORKSPACE = "", "workspace"  # what a place may be besides a channel
EVERYBODY = "everyone"


class Permission(StrEnum):
    """Who may use a command."""

    EVERYONE = "everyone"
    CURATOR = "curators"
    ADMIN = "admins"


class Effect(StrEnum):
    """What a command does: what changes leaves an audit row, what destroys is confirmed."""

    READS = "reads"
    CHANGES = "changes"
    DESTROYS = "destroys"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One word of a command, or with `rest` all that is left of the line."""

    name: str
    kind: Kind
    help: str
    required: bool = True
    rest: bool = False
    choices: Sequence[str] = ()
    low: int = 0
    high: int = 1_000_000
    default: Value = ""

    @property
    def shown(self) -> str:
        """How the help writes it."""
        name = "|".join(self.choices) if self.choices else self.name
        name = {"channel": f"#{name}", "person": f"@{name}", "people": f"@{name}…"}.get(
            self.kind, name
        )
        return f"<{name}>" if self.required else f"[{name}]"


@dataclass(frozen=True, slots=True)
class Command:
    """One command; `name` may be two words."""

    name: str
    help: str
    parameters: Sequence[Parameter] = ()
    permission: Permission = Permission.EVERYONE
    effect: Effect = Effect.READS
    example: str = ""

    @property
    def usage(self) -> str:
        """The command with its parameters: `bind <#channel> <kb>`."""
        return " ".join([self.name, *(parameter.shown for parameter in self.parameters)])


@dataclass(frozen=True, slots=True)
class Parsed:
    """A command that was said, with its typed values by parameter."""

    command: Command
    values: Mapping[str, Value] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A parameter's value as text; empty where it was left out."""
        value = self.values.get(name, "")
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> int:
        """A parameter's value as a number; 0 where it was left out."""
        value = self.values.get(name, 0)
        return value if isinstance(value, int) else 0

    def many(self, name: str) -> tuple[str, ...]:
        """A parameter's values."""
        value = self.values.get(name, ())
        return value if isinstance(value, tuple) else ()


class UnknownCommand(InvalidInput):
    """No such command; `nearest` are those whose names are most like it, the likest first."""

    code = "unknown_command"

    def __init__(self, said: str, nearest: Sequence[Command]) -> None:
        named = ", ".join(f"`{command.usage}`" for command in nearest)
        super().__init__(f"There is no command “{said}”. The nearest: {named}.", field="command")
        self.said = said
        self.nearest = nearest


def _text(name: str, help_: str, *, required: bool = True) -> Parameter:
    return Parameter(name, "text", help_, required=required, rest=True)


_KB = Parameter("kb", "kb", "a knowledge base, by name")
_PLACE = Parameter(
    "place",
    "place",
    "a #channel, or “workspace” for its default; else this channel",
    required=False,
)
_PLACE_TO = Parameter(
    "place", "place", "a #channel, or the workspace", required=False, default="workspace"
)
_CHANNEL = Parameter("channel", "channel", "a channel; else this one", required=False)
_DOCUMENT = Parameter("document", "text", "its id, a passage's id, or its address")
_MEMBER = Parameter("member", "text", "a member: e-mail address or name")
_PROVIDER = Parameter("provider", "text", "an identity provider, by its key")
_SOURCE = Parameter("source", "text", "a connected source, by name")
_GROUP = Parameter("group", "text", "a group, by name")
_ROLES = ("owner", "admin", "curator", "member", "guest")
_LEVELS = ("read", "write", "manage")
_LEVEL = Parameter(
    "level", "choice", "how far; write", required=False, choices=_LEVELS, default="write"
)
QUOTAS = ("requests-per-minute", "tokens-per-day", "documents", "bytes")
_RUN = Parameter("run", "text", "a run, by its id")
_ASSISTANT = Parameter("assistant", "text", "an assistant, by its slug")
_ADMIN, _CURATOR = Permission.ADMIN, Permission.CURATOR
_CHANGES, _DESTROYS = Effect.CHANGES, Effect.DESTROYS

COMMANDS: tuple[Command, ...] = (
    Command(
        "ask",
        "Answer a question, for your eyes only.",
        (_text("question", "what you want to know"),),
        example="ask how do I expense a hotel?",
    ),
    Command(
        "search",
        "Search pages and messages without generating an answer.",
        (
            _text(
                "query",
                "what to look for; narrow it with since: until: from: in: source: tag: language:"
                " meta:name=value sort:newest",
            ),
        ),
        example="search parental leave since:2026-01 in:#people",
    ),
    Command("sources", "Show which knowledge bases answer here, and what is in them."),
    Command(
        "help",
        "List the commands, or explain one.",
        (_text("command", "a command", required=False),),
    ),
    Command("privacy", "Explain what is stored of your questions, and who can see an answer."),
    Command(
        "link", "Link this account to your membership, so that answers use everything you may read."
    ),
    Command("unlink", "Undo the link.", effect=_CHANGES),
    Command(
        "feedback",
        "Rate the last answer you got.",
        (
            Parameter("rating", "choice", "whether it helped", choices=("good", "bad")),
            _text("text", "what was wrong or right", required=False),
        ),
        effect=_CHANGES,
        example="feedback bad the limit changed in May",
    ),
    Command(
        "run",
        "Run a workflow, for your eyes only; name=value gives its inputs.",
        (
            Parameter("workflow", "text", "a workflow, by name"),
            _text("inputs", "what it asks for, as name=value", required=False),
        ),
        example="run cited-answer how do I expense a hotel?",
    ),
    Command("workflow list", "List the workflows you may run."),
    Command("workflow runs", "List your runs."),
    Command("workflow show", "Show what a run of yours came to.", (_RUN,)),
    Command("workflow questions", "Show the questions of workflows that wait for your reply."),
    Command(
        "workflow reply",
        "Answer the question of a run: a choice first, then name=value.",
        (_RUN, _text("reply", "a choice, then what is asked for", required=False)),
        effect=_CHANGES,
        example="workflow reply 0192f0c1a7e37c4e9d1b2a3c4d5e6f70 yes amount=20",
    ),
    Command("workflow cancel", "Stop a run of yours.", (_RUN,), effect=_CHANGES),
    Command("assistant list", "List the assistants you may use."),
    Command("assistant show", "Show how an assistant answers.", (_ASSISTANT,)),
    Command(
        "assistant create",
        "Create an assistant that answers from all that the asker may read.",
        (
            Parameter("name", "text", "its name"),
            _text("prompt", "how it should answer", required=False),
        ),
        _ADMIN,
        _CHANGES,
        example='assistant create "Travel help" Answer in one short paragraph.',
    ),
    Command(
        "assistant set",
        "Change one of an assistant's settings; the next answer uses it.",
        (
            _ASSISTANT,
            Parameter("setting", "text", "a setting, as `assistant show` names it"),
            _text("value", "its new value; left out: as it was at first", required=False),
        ),
        _ADMIN,
        _CHANGES,
        example="assistant set travel-help kbs handbook, policies",
    ),
    Command(
        "assistant remove",
        "Delete an assistant.",
        (_ASSISTANT,),
        _ADMIN,
        _DESTROYS,
        example="assistant remove travel-help",
    ),
    Command(
        "assistant bind",
        "Have an assistant answer questions in a channel, or in the whole workspace.",
        (_ASSISTANT, _PLACE),
        _ADMIN,
        _CHANGES,
        example="assistant bind travel-help #travel",
    ),
    Command(
        "assistant unbind",
        "Have no assistant answer there any more.",
        (_PLACE,),
        _ADMIN,
        _CHANGES,
    ),
    Command("setup", "Set this channel up step by step.", (), _ADMIN, _CHANGES),
    Command("list", "List all knowledge bases.", (), _ADMIN),
    Command(
        "create",
        "Create a knowledge base that all members may read.",
        (
            Parameter("name", "kb", "its name"),
            _text("description", "what is in it", required=False),
        ),
        _ADMIN,
        _CHANGES,
        example='create handbook "How we work"',
    ),
    Command(
        "delete",
        "Delete a knowledge base with everything in it.",
        (_KB,),
        _ADMIN,
        _DESTROYS,
        example="delete old-wiki",
    ),
    Command(
        "grant",
        "Let the workspace, a channel, group:NAME, user:E-MAIL or everyone use a knowledge base.",
        (_KB, _PLACE_TO, _LEVEL),
        _ADMIN,
        _CHANGES,
        example="grant handbook #help",
    ),
    Command(
        "revoke",
        "Remove a grant.",
        (_KB, _PLACE_TO),
        _ADMIN,
        _CHANGES,
        example="revoke handbook workspace",
    ),
    Command(
        "bind",
        "Answer a channel's questions from one knowledge base.",
        (Parameter("channel", "channel", "a channel"), _KB),
        _ADMIN,
        _CHANGES,
        example="bind #help handbook",
    ),
    Command(
        "unbind",
        "Answer a channel's questions from everything its people may read.",
        (_CHANNEL,),
        _ADMIN,
        _CHANGES,
    ),
    Command("show", "Show a channel's settings and where each is set.", (_CHANNEL,), _ADMIN),
    Command(
        "mode",
        "When to answer: if mentioned, also unprompted when it is sure, or never.",
        (Parameter("mode", "choice", "when", choices=("mention", "auto", "off")), _PLACE),
        _ADMIN,
        _CHANGES,
        example="mode auto #help",
    ),
    Command(
        "threshold",
        "How sure an unprompted answer must be, in percent.",
        (Parameter("percent", "number", "0 to 100", high=100), _PLACE),
        _ADMIN,
        _CHANGES,
        example="threshold 80",
    ),
    Command(
        "respond-to",
        "Answer only these people, or everyone.",
        (Parameter("people", "people", "people, or “everyone”"),),
        _ADMIN,
        _CHANGES,
        example="respond-to @ada @grace",
    ),
    Command(
        "answer-bots",
        "Which bots and workflows may ask by mentioning me, by their ids, or none.",
        (Parameter("bots", "people", "ids of bots or apps, or “none”"),),
        _ADMIN,
        _CHANGES,
        example="answer-bots B0123ABCD",
    ),
    Command(
        "private",
        "Whether answers in a channel are for the asker's eyes only.",
        (Parameter("switch", "switch", "on or off", choices=("on", "off")), _PLACE),
        _ADMIN,
        _CHANGES,
    ),
    Command(
        "escalate-to",
        "Whom “Ask a human” calls: a person, a group, or nobody.",
        (Parameter("group", "text", "a group or person, or “nobody”"), _PLACE),
        _ADMIN,
        _CHANGES,
        example="escalate-to @support",
    ),
    Command(
        "anonymous",
        "Whether to leave out the authors of a channel's messages where they are quoted.",
        (Parameter("switch", "switch", "on or off", choices=("on", "off")), _PLACE),
        _ADMIN,
        _CHANGES,
        example="anonymous on #help",
    ),
    Command(
        "language",
        "The language of answers that a model writes; quotes and my own phrases stay as they are.",
        (Parameter("language", "text", "German, de, …; or auto: the question's language"), _PLACE),
        _ADMIN,
        _CHANGES,
        example="language German #hilfe",
    ),
    Command(
        "ingest add",
        "Store a channel's messages and answer from them: new ones, and earlier ones with `since`.",
        (
            _CHANNEL,
            Parameter("since", "days", "how far back: 90d, or all", required=False, default=0),
        ),
        _ADMIN,
        _CHANGES,
        example="ingest add #help 365d",
    ),
    Command(
        "ingest pause",
        "Pause reading a channel; stored messages still answer.",
        (_CHANNEL,),
        _ADMIN,
        _CHANGES,
    ),
    Command("ingest resume", "Resume reading a paused channel.", (_CHANNEL,), _ADMIN, _CHANGES),
    Command(
        "ingest remove",
        "Stop reading a channel and delete its stored messages.",
        (_CHANNEL,),
        _ADMIN,
        _DESTROYS,
    ),
    Command("ingest status", "Show how far a channel's messages are read.", (_CHANNEL,), _ADMIN),
    Command(
        "source add",
        "Add a page by its address.",
        (
            Parameter("url", "url", "its address"),
            Parameter("kb", "kb", "a knowledge base; else that of this channel", required=False),
        ),
        _ADMIN,
        _CHANGES,
        example="source add https://example.com/handbook.html",
    ),
    Command(
        "source sync",
        "Sync a connected source now, or fetch a page again that was added by its address.",
        (Parameter("url", "text", "a source's name, or a page's address"),),
        _ADMIN,
        _CHANGES,
        example="source sync handbook",
    ),
    Command(
        "source connect",
        "Connect a source and keep it in step: a web site, a folder, a repository.",
        (
            Parameter("kind", "text", "its kind: web, folder, …"),
            Parameter("name", "text", "what to call it"),
            _text("settings", "its settings, as name=value; credential=NAME signs in"),
        ),
        _ADMIN,
        _CHANGES,
        example="source connect web handbook url=https://example.com/handbook/",
    ),
    Command("source list", "List the connected sources and how each last sync ended.", (), _ADMIN),
    Command("source show", "Show how far a source is.", (_SOURCE,), _ADMIN),
    Command("source check", "Check whether a source can be read now.", (_SOURCE,), _ADMIN),
    Command(
        "source why", "Show what a source has and no answer uses, and why.", (_SOURCE,), _ADMIN
    ),
    Command(
        "source pause",
        "Pause a source; what is stored keeps answering.",
        (_SOURCE,),
        _ADMIN,
        _CHANGES,
    ),
    Command("source resume", "Resume a paused source.", (_SOURCE,), _ADMIN, _CHANGES),
    Command(
        "source confirm",
        "Remove documents whose deletion was withheld because there were so many.",
        (_SOURCE,),
        _ADMIN,
        _DESTROYS,
    ),
    Command(
        "source remove",
        "Remove a source with all its documents.",
        (_SOURCE,),
        _ADMIN,
        _DESTROYS,
    ),
    Command(
        "source status", "Show what is ready, pending or failed in each knowledge base.", (), _ADMIN
    ),
    Command(
        "document hide",
        "Hide a document, or one passage of it: nothing hidden is found or quoted.",
        (_DOCUMENT,),
        _CURATOR,
        _CHANGES,
        example="document hide https://example.com/old-handbook.html",
    ),
    Command(
        "document set",
        "Set a document's metadata: `tags=a,b`, `name=value`, `feature:name=1.5`.",
        (
            Parameter("document", "text", "its id or address"),
            _text("values", "what to set, as name=value; an empty value removes it"),
        ),
        _CURATOR,
        _CHANGES,
        example='document set https://example.com/a.html tags=policy team_keyword="people ops"',
    ),
    Command(
        "document unhide",
        "Show a hidden document or passage again.",
        (_DOCUMENT,),
        _CURATOR,
        _CHANGES,
    ),
    Command(
        "forget",
        "Delete what is stored of a person, a message (by its link) or a channel.",
        (Parameter("what", "text", "@person, a message's link or #channel"),),
        _ADMIN,
        _DESTROYS,
        example="forget @ada",
    ),
    Command(
        "reembed",
        "Move a knowledge base to another embedding model; it answers meanwhile.",
        (
            _KB,
            Parameter(
                "model", "choice", "which; else as set", required=False, choices=tuple(MODELS)
            ),
        ),
        _ADMIN,
        _CHANGES,
        example="reembed handbook multilingual",
    ),
    Command(
        "ranking show",
        "Show how a knowledge base is searched.",
        (_KB,),
        _ADMIN,
        example="ranking show handbook",
    ),
    Command(
        "ranking set",
        "Change how a knowledge base is searched, from the next search on.",
        (
            _KB,
            Parameter("setting", "choice", "which", choices=SETTINGS),
            _text("value", "its value, e.g. 0.5"),
        ),
        _ADMIN,
        _CHANGES,
        example="ranking set handbook alpha 0.5",
    ),
    Command(
        "ranking reset",
        "Search a knowledge base by the defaults again.",
        (
            _KB,
            Parameter(
                "setting", "choice", "which; else all", required=False, choices=(*SETTINGS, "all")
            ),
        ),
        _ADMIN,
        _CHANGES,
        example="ranking reset handbook alpha",
    ),
    Command(
        "retention",
        "Delete stored messages older than this, in every channel of the workspace; 0: keep them.",
        (Parameter("age", "days", "365d, or off"),),
        _ADMIN,
        _DESTROYS,
        example="retention 365d",
    ),
    Command(
        "usage",
        "Questions, answers and tokens of the last days.",
        (Parameter("days", "number", "how many; 7", required=False, low=1, high=365, default=7),),
        _ADMIN,
    ),
    Command(
        "usage searches",
        "Searches of the last days, and how many found nothing.",
        (Parameter("days", "number", "how many; 7", required=False, low=1, high=90, default=7),),
        _ADMIN,
    ),
    Command("usage storage", "What this organisation's documents and index take up.", (), _ADMIN),
    Command("limits", "How many questions may be asked, and by whom.", (), _ADMIN),
    Command(
        "limits set",
        "Change a limit of this workspace's organisation.",
        (
            Parameter(
                "limit", "choice", "which", choices=("user", "channel", "tenant", "tokens-a-day")
            ),
            Parameter("number", "number", "questions in five minutes, or tokens; 0: none"),
        ),
        _ADMIN,
        _CHANGES,
        example="limits set user 20",
    ),
    Command(
        "limits credits",
        "What language models cost, and the credits that are left.",
        (Parameter("days", "number", "how many; 30", required=False, low=1, high=365, default=30),),
        _ADMIN,
    ),
    Command("limits models", "The organisation's keys for language models, masked.", (), _ADMIN),
    Command(
        "limits model",
        "Choose the language model that answers in this organisation.",
        (Parameter("model", "text", "PROVIDER:MODEL, or “none”: the installation's own"),),
        _ADMIN,
        _CHANGES,
        example="limits model openai:gpt-5-mini",
    ),
    Command("limits quotas", "What the organisation, its users and keys may use.", (), _ADMIN),
    Command(
        "limits quota",
        "Set a quota of the organisation, of each user or key, or of one.",
        (
            Parameter("subject", "text", "tenant, user, key, user:NAME or key:ID"),
            Parameter("what", "choice", "of what", choices=QUOTAS),
            Parameter("number", "number", "how many; 0: no quota", high=10**15),
        ),
        _ADMIN,
        _CHANGES,
        example="limits quota user tokens-per-day 50000",
    ),
    Command("feedback report", "What people thought of the answers.", (), _ADMIN),
    Command("health", "Show whether everything the bot needs is available.", (), _ADMIN),
    Command(
        "audit",
        "Who changed what.",
        (
            Parameter(
                "number", "number", "how many; 10", required=False, low=1, high=50, default=10
            ),
        ),
        _ADMIN,
    ),
    Command("roles", "Who may change settings here, and why.", (), _ADMIN),
    Command(
        "roles give",
        "Let somebody change settings (admin) or add answers (curator) here.",
        (
            Parameter("person", "person", "who"),
            Parameter("role", "choice", "what", choices=("admin", "curator")),
        ),
        _ADMIN,
        _CHANGES,
        example="roles give @grace curator",
    ),
    Command(
        "roles take",
        "Remove a role that was given here.",
        (Parameter("person", "person", "who"),),
        _ADMIN,
        _CHANGES,
    ),
    Command("people list", "List the members of this organisation.", (), _ADMIN),
    Command(
        "people add",
        "Add a member by e-mail address.",
        (
            Parameter("email", "text", "their e-mail address"),
            Parameter(
                "role",
                "choice",
                "their role; member",
                required=False,
                choices=_ROLES,
                default="member",
            ),
        ),
        _ADMIN,
        _CHANGES,
        example="people add ada@example.com curator",
    ),
    Command(
        "people invite",
        "Invite somebody by e-mail; without a mail server you get a link to hand over.",
        (
            Parameter("email", "text", "their e-mail address"),
            Parameter(
                "role",
                "choice",
                "their role; member",
                required=False,
                choices=_ROLES,
                default="member",
            ),
            _text("groups", "groups to join, by name, with commas between", required=False),
        ),
        _ADMIN,
        _CHANGES,
        example="people invite ada@example.com curator support",
    ),
    Command("people invitations", "List the invitations that are open.", (), _ADMIN),
    Command(
        "people uninvite",
        "Take an invitation back.",
        (Parameter("email", "text", "the address that was invited"),),
        _ADMIN,
        _CHANGES,
        example="people uninvite ada@example.com",
    ),
    Command(
        "people role",
        "Give a member another role, from their next request.",
        (_MEMBER, Parameter("role", "choice", "their role", choices=_ROLES)),
        _ADMIN,
        _CHANGES,
        example="people role ada@example.com admin",
    ),
    Command(
        "people deactivate",
        "Keep a member out: their sessions and API tokens end at once.",
        (_MEMBER,),
        _ADMIN,
        _DESTROYS,
        example="people deactivate ada@example.com",
    ),
    Command(
        "people activate",
        "Let a deactivated member in again.",
        (_MEMBER,),
        _ADMIN,
        _CHANGES,
        example="people activate ada@example.com",
    ),
    Command(
        "people remove",
        "End a membership.",
        (_MEMBER,),
        _ADMIN,
        _DESTROYS,
        example="people remove ada@example.com",
    ),
    Command(
        "people reset-factors",
        "Remove the second factors of a member who has lost them.",
        (_MEMBER,),
        _ADMIN,
        _DESTROYS,
        example="people reset-factors ada@example.com",
    ),
    Command(
        "people test-mail",
        "Send a test message with the settings of the mail server.",
        (Parameter("email", "text", "an e-mail address"),),
        _ADMIN,
        _CHANGES,
        example="people test-mail me@example.com",
    ),
    Command(
        "people providers", "List the identity providers that people sign in with.", (), _ADMIN
    ),
    Command(
        "people provider-check",
        "Ask an identity provider for its metadata and keys, as a sign-in would.",
        (_PROVIDER,),
        _ADMIN,
        example="people provider-check google",
    ),
    Command(
        "people provider-remove",
        "Remove an identity provider: nobody signs in by it any more.",
        (_PROVIDER,),
        _ADMIN,
        _DESTROYS,
        example="people provider-remove google",
    ),
    Command("people groups", "List the groups of members.", (), _ADMIN),
    Command(
        "people group-create",
        "Create a group, to grant knowledge bases to.",
        (_GROUP,),
        _ADMIN,
        _CHANGES,
        example="people group-create support",
    ),
    Command(
        "people group-delete",
        "Delete a group and the grants that name it.",
        (_GROUP,),
        _ADMIN,
        _DESTROYS,
        example="people group-delete support",
    ),
    Command(
        "people group-add",
        "Put a member into a group.",
        (_GROUP, _MEMBER),
        _ADMIN,
        _CHANGES,
        example="people group-add support ada@example.com",
    ),
    Command(
        "people group-remove",
        "Take a member out of a group.",
        (_GROUP, _MEMBER),
        _ADMIN,
        _CHANGES,
        example="people group-remove support ada@example.com",
    ),
    Command("export-settings", "All settings of this workspace, as commands.", (), _ADMIN),
)

_BY_NAME = {command.name: command for command in COMMANDS}
GROUPS = frozenset(name.split()[0] for name in _BY_NAME if " " in name)
_REFERENCE = re.compile(r"<([#@!])(?:subteam\^)?([A-Za-z0-9_-]+)(?:\|[^<>]*)?>")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|\S+')
_QUOTES = re.compile("[“”„‟«»「」『』＂]")  # noqa: RUF001 (what keyboards of other languages type)
NEAREST = 3  # commands that are offered for one there is not
_DAYS = re.compile(r"(\d{1,5})\s*(d|days?|w|weeks?|m|months?|y|years?)?", re.IGNORECASE)
_UNITS = {"d": 1, "w": 7, "m": 30, "y": 365}


def find_command(name: str) -> Command | None:
    """A command by its name."""
    return _BY_NAME.get(name)


def parse(line: str) -> Parsed:
    """A line as it was said, without the slash. An empty line is `help`.

    Raises `UnknownCommand`, or `InvalidInput` naming the parameter and how the command goes.
    """
    words = line.strip().split(None, 2)
    if not words:
        return Parsed(_BY_NAME["help"])
    pair = " ".join(words[:2]).lower()
    if pair in _BY_NAME:
        return Parsed(_BY_NAME[pair], _values(_BY_NAME[pair], words[2] if len(words) > 2 else ""))
    first = words[0].lower()
    if first not in _BY_NAME:
        said = pair if first in GROUPS else words[0]
        raise UnknownCommand(said[:60], nearest(said))
    return Parsed(_BY_NAME[first], _values(_BY_NAME[first], line.strip()[len(words[0]) :].strip()))


def parse_values(name: str, given: Mapping[str, str | int | Sequence[str]]) -> Parsed:
    """A command by its name, with its parameters by theirs, as programs give them.

    Raises as `parse` does; the field of a parameter is `parameters.NAME`.
    """
    command = find_command(name)
    if command is None:
        raise UnknownCommand(name[:60], nearest(name))
    known = {parameter.name for parameter in command.parameters}
    for other in given:
        if other not in known:
            raise InvalidInput(
                f"`{name}` has no parameter “{other[:60]}”. It goes: `{command.usage}`.",
                field=f"parameters.{other[:60]}",
            )
    values: dict[str, Value] = {}
    for parameter in command.parameters:
        value = given.get(parameter.name, "")
        word = value.strip() if isinstance(value, str) else _joined(value)
        if not word and parameter.required:
            raise _wrong(command, parameter, "is missing")
        values[parameter.name] = _value(command, parameter, word) if word else parameter.default
    return Parsed(command, values)


def _joined(value: int | Sequence[str]) -> str:
    return str(value) if isinstance(value, int) else " ".join(value)


def nearest(said: str, among: Sequence[Command] | None = None) -> list[Command]:
    """The commands whose names are most like what was said, the likest first."""
    words = said.lower().split() or [""]
    commands = COMMANDS if among is None else among

    def likeness(command: Command) -> float:
        names = [command.name, *command.name.split()]
        spoken = [" ".join(words[:2]), words[0]]
        begins = any(name.startswith(words[0][:3]) for name in names) if words[0] else False
        ratios = (difflib.SequenceMatcher(None, s, n).ratio() for s in spoken for n in names)
        later = 0.9 * any(word in names for word in words[1:2])  # "kb list"
        return max(later, max(ratios) + 0.2 * begins)

    return sorted(commands, key=likeness, reverse=True)[:NEAREST]


def _values(command: Command, rest: str) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for parameter in command.parameters:
        if parameter.rest or parameter.kind == "people":
            word, rest = rest.strip(), ""
        else:
            word, rest = _next_word(rest)
        if not word:
            if parameter.required:
                raise _wrong(command, parameter, "is missing")
            values[parameter.name] = parameter.default
            continue
        values[parameter.name] = _value(command, parameter, word)
    if rest.strip():
        raise InvalidInput(
            f"“{rest.strip()[:60]}” is one word too many. It goes: `{command.usage}`.",
            field="command",
        )
    return values


def _next_word(text: str) -> tuple[str, str]:
    """The first word, quotes taken off, and the rest; `“typographic quotes”` count as quotes."""
    text = _QUOTES.sub('"', text.strip())
    reference = _REFERENCE.match(text)
    if reference is not None:  # <#C1|a name with blanks>
        return reference.group(), text[reference.end() :]
    found = _WORD.match(text)
    if found is None:
        return "", ""
    if found[1] is None and found.group().startswith('"'):
        raise InvalidInput(
            f"The quotation mark before “{found.group()[1:41]}” is not closed: put one after the"
            " name.",
            field="command",
        )
    word = re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found.group()
    return word, text[found.end() :]


def _value(command: Command, parameter: Parameter, word: str) -> Value:  # noqa: PLR0911 (one a kind)
    match parameter.kind:
        case "choice" | "switch":
            if word.lower() not in parameter.choices:
                raise _wrong(command, parameter, f"can't be “{word[:40]}”")
            return word.lower()
        case "number":
            if not word.isdecimal() or not parameter.low <= int(word[:9]) <= parameter.high:
                bounds = f"a whole number from {parameter.low} to {parameter.high}"
                raise _wrong(command, parameter, f"is {bounds}, not “{word[:40]}”")
            return int(word)
        case "days":
            return _days(command, parameter, word)
        case "people":
            if word.lower().strip("@") in {EVERYBODY, "everybody", "all"}:
                return ()
            return tuple(_referred(item) for item in word.split())
        case "url":
            address = word.strip("<>").split("|")[0]
            if not address.lower().startswith(("http://", "https://")):
                raise _wrong(command, parameter, "begins with https:// or http://")
            return address
        case "channel" | "person" | "place":
            return _referred(word)
        case _:
            return word


def _referred(word: str) -> str:
    """The platform's id where a channel or person was mentioned, else the name."""
    reference = _REFERENCE.fullmatch(word.strip(","))
    return reference[2] if reference is not None else word.strip(",")


def _days(command: Command, parameter: Parameter, word: str) -> int:
    if word.lower() in {"off", "never"}:
        return 0
    if word.lower() == "all":
        return 36_500
    found = _DAYS.fullmatch(word)
    if found is None:
        raise _wrong(command, parameter, f"is like 90d, 12w or 1y, not “{word[:40]}”")
    return int(found[1]) * _UNITS[(found[2] or "d")[0].lower()]


def _wrong(command: Command, parameter: Parameter, fault: str) -> InvalidInput:
    allowed = f" ({', '.join(parameter.choices)})" if parameter.choices else ""
    if fault == "is missing" and not allowed:
        allowed = f": {parameter.help}"
    return InvalidInput(
        f"“{parameter.name}” {fault}{allowed}. It goes: `{command.usage}`.", field=parameter.name
    )
