"""How far a Discord channel is read: the cursor that is stored between the calls of a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from engine import clock
from engine.chats.messages import DISCORD_EPOCH_MS
from engine.chats.source_reading import SourceReading

REPAIRED = timedelta(days=30)
OVERLAP = timedelta(days=1)


@dataclass(slots=True)
class DiscordCursor:
    """How far reading got: `before` in the channel itself, `threads` as [id, before]."""

    started: str
    pages: int = 0
    before: str = ""
    reached: str = ""
    own_done: bool = False
    listed: bool = False
    archived_before: str = ""
    threads: list[list[str]] = field(default_factory=list)
    done: bool = False
    repairing: bool = False
    repaired: str = ""
    lower_bound: int = 0
    forbidden: int = 0  # threads in a row

    @classmethod
    def load(cls, reading: SourceReading) -> DiscordCursor:
        """The cursor that was stored, or that of a first reading."""
        known = {key: reading.cursor[key] for key in cls.__slots__ if key in reading.cursor}
        cursor = cls(**{"started": clock.now().isoformat(), **known})
        if not known and reading.since is not None:
            cursor.lower_bound = snowflake(reading.since)
        if cursor.done and not cursor.repairing and reading.repair_at > cursor.repaired:
            cursor._begin_repair(reading)
        return cursor

    def _begin_repair(self, reading: SourceReading) -> None:
        """Read again from a day before the newest known, thirty days at least."""
        lower_bound = clock.now() - REPAIRED
        if reading.newest is not None:
            lower_bound = min(lower_bound, reading.newest - OVERLAP)
        if reading.since is not None:
            lower_bound = max(lower_bound, reading.since)
        self.lower_bound, self.before, self.archived_before = snowflake(lower_bound), "", ""
        self.own_done = self.listed = False
        self.forbidden = 0
        self.threads, self.repairing = [], True

    def end(self) -> None:
        """Note that everything is read, or read again."""
        if self.repairing:
            self.repaired = clock.now().isoformat()
        self.done, self.repairing = True, False

    def dump(self) -> dict[str, Any]:
        """As it is stored."""
        return {key: getattr(self, key) for key in self.__slots__}


def snowflake(at: datetime) -> int:
    """The least id of a message posted then."""
    return max(0, int(at.timestamp() * 1000) - DISCORD_EPOCH_MS) << 22
