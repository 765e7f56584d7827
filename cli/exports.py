"""`add` with an export of Slack or Discord: channels become sources, conversations documents.

Messages are stored first, a few hundred per transaction; the worker makes documents of them. The
same export again, or a newer one, adds what is new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.wording import counted

if TYPE_CHECKING:
    from cli.inputs import InputItem
    from engine.domain import Principal
    from engine.engine import Engine

LOOK_S = 0.3
FAULTS_SHOWN = 20
_MAY_BE = frozenset({".json", ".zip", ".html", ".htm"})


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import: our ids of its channels, and counts."""

    name: str
    channel_ids: Sequence[str]
    private: int
    messages: int
    added: int


def part(given: Sequence[InputItem]) -> tuple[list[Path], list[InputItem]]:
    """Exports of chats, and everything else."""
    from ingestion.sources.exports import is_export

    chats: list[Path] = []
    others: list[InputItem] = []
    for item in given:
        may_be = item.path is not None and item.path.suffix.lower() in _MAY_BE
        if may_be and item.path is not None and is_export(item.path):
            chats.append(item.path)
        else:
            others.append(item)
    return chats, others


async def bring_in_all(
    engine: Engine, principal: Principal, kb: str, paths: Sequence[Path], url: str
) -> tuple[list[Imported], list[tuple[str, str]]]:
    """Keep all messages of all exports; those that can't be read, by name and reason, apart."""
    from cli.inputs import storable
    from engine.errors import InvalidInput

    imported: list[Imported] = []
    damaged: list[tuple[str, str]] = []
    for path in paths:
        try:
            imported.append(await bring_in(engine, principal, kb, path, url))
        except InvalidInput as error:
            damaged.append((storable(path.name), str(error)))
        except OSError as error:
            damaged.append((storable(path.name), f"can't be read: {error.strerror or error}"))
    return imported, damaged


async def bring_in(engine: Engine, principal: Principal, kb: str, path: Path, url: str) -> Imported:
    """Store all messages of an export."""
    from cli import output
    from ingestion.sources.exports import open_export

    export = await asyncio.to_thread(open_export, path, url=url)
    place = await engine.chats.history.begin_import(principal, export.workspace, export.people)
    ids: list[str] = []
    private = messages = added = 0
    while (history := await asyncio.to_thread(next, export.channels, None)) is not None:
        channel_id = await engine.chats.history.import_channel(
            principal, place, kb, history.channel, history.members
        )
        stored = await engine.chats.history.import_messages(
            place, history.channel.external_id, history.messages, threads=history.threads
        )
        ids.append(channel_id)
        private += not history.channel.is_public
        messages += len(history.messages)
        added += stored.added
    channels = counted(len(ids), "channel")
    output.note(f"{path.name}: {channels}, {counted(messages, 'message')}, {added:,} new")
    for words in export.left_out:
        output.note(f"  left out: {words}")
    for words in export.warnings:
        output.note(f"  warning: {words}")
    if private:
        output.note(
            f"  {counted(private, 'private channel')}: searchable only for their listed members"
        )
    return Imported(path.name, ids, private, messages, added)


async def settle(engine: Engine, principal: Principal, imported: Sequence[Imported]) -> bool:
    """Wait until everything imported is searchable; whether all of it is."""
    from cli import output, render
    from cli.inline_worker import work_while

    ids = [channel_id for item in imported for channel_id in item.channel_ids]

    async def wait() -> None:
        with output.Bar("indexing", 1) as bar:
            while True:
                now = await engine.chats.history.progress(principal, ids)
                if not now.waiting and now.ended == now.conversations:
                    bar.advance_to(1)
                    return
                bar.advance_to(now.ended / max(1, now.conversations + now.waiting))
                await asyncio.sleep(LOOK_S)

    await work_while(engine, wait())
    principal = await engine.people.owner() if principal.user_id is None else principal
    now = await engine.chats.history.progress(principal, ids)
    output.note(f"{counted(now.ready, 'conversation')} ready, {counted(now.passages, 'passage')}")
    for title, error in now.failed[:FAULTS_SHOWN]:
        output.note(f"  {render.one_line(title)}: {render.one_line(error)}")
    return now.ready == now.conversations
