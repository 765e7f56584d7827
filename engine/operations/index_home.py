"""Which data folder holds the embedded index of a database: one, and both sides say which.

An id in the database (`setting`) and in a file of the data folder, beside the index: so an index
that got lost is told from a data folder that never had it. The first writer claims the index for
its folder; every other folder is refused, because no search in the first one would find what is
indexed there. An operator moves the index to another folder with `adopt`; it is rebuilt there.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
from sqlalchemy.ext.asyncio import AsyncSession

from engine import threads
from engine.clock import new_id
from engine.db.session import Database, upsert
from engine.db.tables import Setting
from engine.errors import Blocked

KEY = "search_index"  # of the row in `setting`
FILE = "index.id"
LOOK_AGAIN_S = 5.0  # how long a folder that was the right one is taken to be
_CLAIMING = "claiming"  # behind an id that the database may not know yet

ELSEWHERE = (
    "The search index of this database is in another data folder: use that one (SCRUBJAY_HOME). If"
    " it is gone, run `scrubjay reconcile --adopt-index`, which rebuilds the index in this one."
)
ANOTHERS = (
    "This data folder holds the search index of another database: use another folder"
    " (SCRUBJAY_HOME), or run `scrubjay reconcile --adopt-index`, which rebuilds the index here."
)


@dataclass(frozen=True, slots=True)
class _Held:
    """What the file says; `id` is empty where there is none."""

    id: str = ""
    is_claiming: bool = False


class IndexHome:
    """The claim of a data folder on the index of a database.

    `is_private` says that the database lies in this folder, so that no other folder can have it.
    """

    def __init__(self, db: Database, home: Path, *, is_private: bool) -> None:
        self._db = db
        self._home = home
        self._is_private = is_private
        self._checked_at = -LOOK_AGAIN_S

    async def check(self) -> None:
        """Raises `Blocked` where the index of the database is not the one of this folder."""
        if time.monotonic() - self._checked_at < LOOK_AGAIN_S:
            return
        if fault := self._compare(await self._named(), await self._held()):
            raise Blocked(fault)
        self._checked_at = time.monotonic()

    async def fault(self) -> str:
        """What is wrong, with the place of the other folder: for the operator alone. Else empty."""
        named = await self._named()
        fault = self._compare(named, await self._held())
        if fault and named is not None:
            return f"{fault} The other one is {named['home']} on {named['host']}."
        return fault

    async def claim(self) -> None:
        """For a process about to write: make the index this folder's, if it is no one's yet.

        Raises `Blocked` where it is another's.
        """
        held, named = await self._held(), await self._named()
        if self._compare(named, held):
            raise Blocked(await self.fault())
        if named is not None and (held.id, held.is_claiming) == (named["id"], False):
            if (named["home"], named["host"]) != (str(self._home), socket.gethostname()):
                row = self._row(held.id)  # it was moved as a whole; errors should name the place
                await self._db.run_write(lambda session: _replace(session, row))
            return
        id_ = named["id"] if named is not None else held.id or new_id()
        # The file first: killed in between, the next start takes up the claim.
        await anyio.to_thread.run_sync(self._write, _Held(id_, is_claiming=True))
        known = await self._db.run_write(lambda session: _claim(session, self._row(id_)))
        if known["id"] != id_:  # another folder came first
            await anyio.to_thread.run_sync((self._home / FILE).unlink)
            raise Blocked(await self.fault())
        await anyio.to_thread.run_sync(self._write, _Held(id_))

    async def adopt(self) -> None:
        """Make the index this folder's, whoever had it: processes elsewhere refuse from now on."""
        id_ = new_id()
        await self._db.run_write(lambda session: _replace(session, self._row(id_)))
        await anyio.to_thread.run_sync(self._write, _Held(id_))

    def _compare(self, named: dict[str, Any] | None, held: _Held) -> str:
        if named is None:
            return ANOTHERS if held.id and not held.is_claiming else ""
        if held.id == named["id"] or (self._is_private and not held.id):
            return ""
        return ELSEWHERE

    async def _named(self) -> dict[str, Any] | None:
        async with self._db.read() as session:
            row = await session.get(Setting, KEY)
            return dict(row.value) if row is not None else None

    async def _held(self) -> _Held:
        return await threads.run_sync(self._read)

    def _read(self) -> _Held:
        try:
            id_, _, state = (self._home / FILE).read_text(encoding="utf-8").strip().partition(" ")
        except FileNotFoundError:
            return _Held()
        return _Held(id_, is_claiming=state == _CLAIMING)

    def _write(self, held: _Held) -> None:
        new = self._home / f".{FILE}-{os.getpid()}"
        new.write_text(f"{held.id} {_CLAIMING if held.is_claiming else ''}".strip() + "\n")
        new.replace(self._home / FILE)

    def _row(self, id_: str) -> dict[str, Any]:
        return {"id": id_, "home": str(self._home), "host": socket.gethostname()}


async def _claim(session: AsyncSession, value: dict[str, Any]) -> dict[str, Any]:
    """The row as it is then: ours where there was none."""
    await session.execute(
        upsert(session, Setting)
        .values(key=KEY, value=value)
        .on_conflict_do_nothing(index_elements=["key"])
    )
    return dict((await session.get_one(Setting, KEY)).value)


async def _replace(session: AsyncSession, value: dict[str, Any]) -> None:
    await session.execute(
        upsert(session, Setting)
        .values(key=KEY, value=value)
        .on_conflict_do_update(index_elements=["key"], set_={"value": value})
    )
