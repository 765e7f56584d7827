"""Exports of chats as people have them: Slack's own zip, DiscordChatExporter's JSON and HTML.

`open_export` tells one from any other file. Nothing is trusted: sizes are bounded, what is not as
expected is named. Direct messages are always left out.
"""

from __future__ import annotations

import json
import lzma
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from engine.chats import slack_messages
from engine.chats.accounts import NewPerson
from engine.chats.channels import NewChannel
from engine.chats.messages import MessageKind, NewMessage, NewThread
from engine.chats.places import NewWorkspace
from engine.errors import InvalidInput
from ingestion.sources import discord_html

MEMBERS_MAX = 500_000  # files in a zip
PAGES = frozenset({".html", ".htm"})
FILE_MAX_BYTES = 256 * 1024 * 1024  # of one unpacked
TOTAL_MAX_BYTES = 8 * 1024 * 1024 * 1024  # of all that is read

# What `zipfile` raises on an archive that is damaged, locked or packed in a way it does not know.
_DAMAGED = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)


@dataclass(frozen=True, slots=True)
class ExportedChannel:
    """A channel, the platform's ids of who is in it, and its messages in order."""

    channel: NewChannel
    members: Sequence[str]
    messages: Sequence[NewMessage]
    threads: Sequence[NewThread] = ()


@dataclass(frozen=True, slots=True)
class Export:
    """A workspace as an export describes it. `channels` reads one after the other."""

    workspace: NewWorkspace
    people: Sequence[NewPerson]
    channels: Iterator[ExportedChannel]
    left_out: Sequence[str] = field(default_factory=tuple)  # in words: what is not imported
    warnings: Sequence[str] = field(default_factory=tuple)  # in words: what may be missing


def is_export(path: Path) -> bool:
    """Whether a file is an export of a chat: looks at names and beginnings only."""
    try:
        if path.suffix.lower() == ".json":
            return _is_discord_head(_head(path, 4096))
        if path.suffix.lower() in PAGES:
            return discord_html.is_head(_head(path, discord_html.HEAD_BYTES))
        return zipfile.is_zipfile(path) and _holds_export(path)
    except (OSError, *_DAMAGED):
        return False  # a file like any other: whoever reads it says what is wrong with it


def _holds_export(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if _slack_root(names) is not None:
            return True
        first = next((name for name in names if name.endswith(".json")), "")
        if first:
            with archive.open(first) as file:
                return _is_discord_head(file.read(4096))
        page = next(filter(_is_page, names), "")
        if not page:
            return False
        with archive.open(page) as file:
            return discord_html.is_head(file.read(discord_html.HEAD_BYTES))


def _is_page(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PAGES


def open_export(path: Path, *, url: str = "") -> Export:
    """What an export holds. `url` is where the Slack workspace lives: links then lead there.

    Raises `InvalidInput` that names the file, and the member where it is one, that can't be read.
    """
    if path.suffix.lower() == ".json":
        return _discord(path.name, [(path.name, path.read_bytes())])
    if path.suffix.lower() in PAGES:
        return _discord(path.name, [(path.name, _page_bytes(path))])
    archive = _ExportArchive(path)
    root = _slack_root(archive.names)
    if root is not None:
        return _slack(archive, root, url)
    names = [name for name in archive.names if name.endswith(".json") or _is_page(name)]
    return _discord(path.name, ((name, archive.read(name)) for name in names))


def _page_bytes(path: Path) -> bytes:
    data = _head(path, FILE_MAX_BYTES + 1)
    if len(data) > FILE_MAX_BYTES:
        raise InvalidInput(
            f"{path.name} is larger than is read of one export: export it in partitions.",
            field="path",
        )
    return data


class _ExportArchive:
    """A zip read with bounds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGED as error:
            raise self._damaged() from error
        infos = self._zip.infolist()
        if len(infos) > MEMBERS_MAX:
            raise InvalidInput(
                f"{path.name} contains {len(infos):,} files; at most {MEMBERS_MAX:,} are read.",
                field="path",
            )
        self.names = [info.filename for info in infos if not info.is_dir()]
        self._left = TOTAL_MAX_BYTES

    def read(self, name: str) -> bytes:
        try:
            with self._zip.open(name) as file:
                data = file.read(min(FILE_MAX_BYTES, self._left) + 1)
        except _DAMAGED as error:  # also in the middle: channels are read one after the other
            raise self._damaged() from error
        self._left -= len(data)
        if len(data) > FILE_MAX_BYTES or self._left < 0:
            raise InvalidInput(
                f"{self._path.name}: {name} unpacks to more than is read of one export.",
                field="path",
            )
        return data

    def _damaged(self) -> InvalidInput:
        return InvalidInput(
            f"{self._path.name} is damaged or locked and can't be unpacked: export it again.",
            field="path",
        )

    def rows(self, name: str) -> list[Mapping[str, Any]]:
        """The objects of a JSON array; nothing where the export has no such file."""
        if name not in self.names:
            return []
        found = _json(self.read(name), f"{self._path.name}: {name}")
        if not isinstance(found, list):
            raise InvalidInput(f"{self._path.name}: {name} is not a list.", field="path")
        return [item for item in found if isinstance(item, Mapping)]


def _json(data: bytes, where: str) -> Any:  # noqa: ANN401 (JSON)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where} is not JSON: export it again.", field="path") from error


# Slack


def _slack_root(names: Sequence[str]) -> str | None:
    """The folder of the zip that has users.json beside a list of channels."""
    known = set(names)
    for name in names:
        folder = str(PurePosixPath(name).parent)
        root = "" if folder == "." else f"{folder}/"
        if name == f"{root}users.json" and (
            f"{root}channels.json" in known or f"{root}groups.json" in known
        ):
            return root
    return None


def _slack(archive: _ExportArchive, root: str, url: str) -> Export:
    users = archive.rows(f"{root}users.json")
    people = [item for item in map(slack_messages.to_person, users) if item.subject]
    teams = [str(user.get("team_id") or "") for user in users]
    team = max(set(teams), key=teams.count) if any(teams) else "export"
    name = archive._path.stem  # noqa: SLF001 (same module)
    days: dict[str, list[str]] = defaultdict(list)
    for member in archive.names:
        inside = PurePosixPath(member.removeprefix(root))
        if member.startswith(root) and len(inside.parts) == 2 and inside.suffix == ".json":
            days[inside.parts[0]].append(member)
    direct = len(archive.rows(f"{root}dms.json")) + len(archive.rows(f"{root}mpims.json"))
    left_out = [f"{direct} direct conversations"] if direct else []

    def channels() -> Iterator[ExportedChannel]:
        for file, is_public in (("channels.json", True), ("groups.json", False)):
            for raw in archive.rows(f"{root}{file}"):
                channel = slack_messages.to_channel(raw, is_public=is_public)
                if not channel.external_id or raw.get("is_mpim") or raw.get("is_im"):
                    continue
                folder = channel.name if channel.name in days else channel.external_id
                messages = [
                    message
                    for member in sorted(days.get(folder, ()))
                    for message in map(slack_messages.to_message, archive.rows(member))
                    if message is not None
                ]
                members = [str(item) for item in raw.get("members") or ()]
                yield ExportedChannel(channel, members, messages)

    workspace = NewWorkspace("slack", team, name, imported=True, url=url)
    return Export(workspace, people, channels(), left_out)


# Discord, as DiscordChatExporter writes it

_DIRECT = frozenset({"DirectGroupTextChat", "DirectTextChat"})
_PRIVATE = frozenset({"GuildPrivateThread"})
_THREADS = frozenset({"GuildNewsThread", "GuildPrivateThread", "GuildPublicThread"})
_TALK = frozenset({"Default", "Reply"})
_COMMANDS = frozenset({"ApplicationCommand", "ChatInputCommand", "ContextMenuCommand"})


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _is_discord_head(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and all(
        key in head for key in (b'"guild"', b'"channel"')
    )


def _discord(label: str, files: Iterable[tuple[str, bytes]]) -> Export:
    told: list[Mapping[str, Any]] = []
    pages: list[Mapping[str, Any]] = []
    warnings: list[str] = []
    left_out = 0
    for name, data in files:
        if _is_page(name):
            found, doubts = discord_html.read(name, data)
            warnings += doubts
        else:
            found = _json_export(label, name, data)
        if found["channel"].get("type") in _DIRECT:
            left_out += 1
        else:
            (pages if _is_page(name) else told).append(found)
    exports = [*told, *_completed(label, pages, told)]
    if not exports:
        raise InvalidInput(
            f"{label} contains only direct messages, which are never imported.", field="path"
        )
    guild = exports[0]["guild"]
    others = {str(export["guild"].get("id")) for export in exports} - {str(guild.get("id"))}
    if others:
        raise InvalidInput(
            f"{label} contains several servers; import each separately.", field="path"
        )
    people: dict[str, NewPerson] = {}
    for export in exports:
        for message in _messages(export):
            person = _person(message)
            if person is not None:
                people[person.subject] = person
    workspace = NewWorkspace(
        "discord", str(guild.get("id") or "export"), str(guild.get("name") or label), imported=True
    )
    words = [f"{left_out} direct conversations"] if left_out else []
    return Export(workspace, list(people.values()), _discord_channels(exports), words, warnings)


def _json_export(label: str, name: str, data: bytes) -> Mapping[str, Any]:
    found = _json(data, f"{label}: {name}")
    is_chat = isinstance(found, Mapping) and isinstance(found.get("channel"), Mapping)
    if not is_chat or not isinstance(found.get("guild"), Mapping):
        raise InvalidInput(
            f"{label}: {name} is not an export of a Discord channel; remove it from the zip.",
            field="path",
        )
    return found  # type: ignore[no-any-return]


def _completed(
    label: str, pages: Sequence[Mapping[str, Any]], told: Sequence[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """Pages with what the files beside them tell: the server's id, and what the channel is.

    What JSON tells of a message counts before what a page does.
    """
    guilds = {
        str(one["guild"].get("name")): str(one["guild"]["id"])
        for one in (*pages, *told)
        if one["guild"].get("id")
    }
    channels = {str(one["channel"].get("id")): one["channel"] for one in told}
    known = {str(raw["id"]) for one in told for raw in _messages(one)}
    for page in pages:
        name = page["guild"]["name"]
        guild = page["guild"]["id"] or guilds.get(name, "")
        if not guild:
            raise InvalidInput(
                f"{label} does not tell the id of the server {name!r}: put the id in square "
                "brackets at the beginning of the file's name, before the channel's, or export "
                "the channel as JSON.",
                field="path",
            )
        yield {
            "guild": {"id": guild, "name": name},
            "channel": channels.get(page["channel"]["id"], page["channel"]),
            "messages": [raw for raw in page["messages"] if raw["id"] not in known],
        }


def _discord_channels(exports: Sequence[Mapping[str, Any]]) -> Iterator[ExportedChannel]:
    """Channels with their public threads; a private thread is a channel of its own."""
    together: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for export in exports:
        channel = export["channel"]
        is_thread = channel.get("type") in _THREADS - _PRIVATE
        parent = str(channel.get("categoryId") or "") if is_thread else ""
        together[parent or str(channel.get("id"))].append(export)
    for external_id, members in together.items():
        messages: list[NewMessage] = []
        threads: list[NewThread] = []
        name, kind, is_public = external_id, "text", True
        for member in members:
            channel = member["channel"]
            own = str(channel.get("id"))
            if own == external_id:
                name = str(channel.get("name") or own)
                is_public = channel.get("type") not in _PRIVATE
                kind = "text" if is_public else "thread"
            else:
                if name == external_id:
                    name, kind = str(channel.get("category") or external_id), "forum"
                threads.append(NewThread(own, str(channel.get("name") or "")))
            thread = own if own != external_id else ""
            messages += [_discord_message(raw, thread) for raw in _messages(member)]
        authors = sorted({message.author for message in messages if message.author})
        channel_row = NewChannel(external_id, name, is_public=is_public, kind=kind)
        yield ExportedChannel(channel_row, authors, messages, threads)


def _messages(one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = one.get("messages")
    rows = found if isinstance(found, list) else []
    return [raw for raw in rows if isinstance(raw, Mapping) and str(raw.get("id", "")).isdecimal()]


def _person(raw: Mapping[str, Any]) -> NewPerson | None:
    author = raw.get("author")
    if not isinstance(author, Mapping) or not author.get("id"):
        return None
    name = str(author.get("nickname") or author.get("name") or author["id"])
    return NewPerson(str(author["id"]), name, is_full_member=not author.get("isBot"))


def _discord_message(raw: Mapping[str, Any], thread: str) -> NewMessage:
    author = raw.get("author")
    fields = author if isinstance(author, Mapping) else {}
    reference = raw.get("reference")
    type_ = str(raw.get("type") or "Default")
    kind: MessageKind = "message" if type_ in _TALK else "system"
    if fields.get("isBot") or type_ in _COMMANDS:
        kind = "bot"
    attachments = [item for item in raw.get("attachments") or () if isinstance(item, Mapping)]
    return NewMessage(
        external_id=str(raw["id"]),
        text=str(raw.get("content") or ""),
        author=str(fields.get("id") or ""),
        author_name=str(fields.get("nickname") or fields.get("name") or ""),
        thread=thread,
        reply_to=str(reference.get("messageId") or "") if isinstance(reference, Mapping) else "",
        kind=kind,
        edited_at=_iso(raw.get("timestampEdited")),
        reactions=_discord_reactions(raw),
        files=[
            {
                "id": str(attachment.get("id") or ""),
                "name": str(attachment.get("fileName") or ""),
                "size_bytes": int(attachment.get("fileSizeBytes") or 0),
            }
            for attachment in attachments
        ],
        raw={"type": type_, "pinned": bool(raw.get("isPinned"))},
    )


def _discord_reactions(raw: Mapping[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in raw.get("reactions") or ():
        emoji = item.get("emoji") if isinstance(item, Mapping) else None
        if isinstance(emoji, Mapping):
            found[str(emoji.get("name") or "")] = int(item.get("count") or 0)
    return found


def _iso(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
