"""What a platform is asked for: one page of a channel's history, its people, who is in a channel.

`slack.py` and `discord.py` are readers; the jobs in `channel_jobs.py` call them and commit what
comes. A reader makes few calls at a time, keeps to the shared budget, and never sleeps: where it
has to wait it says for how long, and the job comes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from engine.chats.accounts import NewPerson
from engine.chats.channels import NewChannel
from engine.chats.messages import NewMessage, NewThread
from engine.chats.places import Place
from engine.chats.source_reading import SourceReading, Whole


class Wait(Exception):
    """Not now: come back in `seconds`."""

    def __init__(self, seconds: float, reason: str) -> None:
        super().__init__(reason)
        self.seconds = seconds
        self.reason = reason


class ReadingRefused(Exception):
    """The platform won't, until a person changes something: `message` says what.

    `lost`: the channel can't be seen any more, so nobody may read what is known of it.
    """

    def __init__(self, message: str, *, lost: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.lost = lost


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """What one step of reading brought. `wholes` are stretches in which nothing else exists."""

    messages: Sequence[NewMessage]
    cursor: Mapping[str, Any]
    more: bool
    threads: Sequence[NewThread] = ()
    wholes: Sequence[Whole] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file that was posted: its bytes, and what its name ends with."""

    data: bytes = field(repr=False)
    suffix: str


@runtime_checkable
class FileReader(Protocol):
    """A platform whose posted files can be read. Raises as a `Reader` does."""

    async def read_file(self, place: Place, file_id: str, *, max_bytes: int) -> ReadFile | str:
        """A file, or why it is left out."""


@dataclass(frozen=True, slots=True)
class Roster:
    """Who is in a channel, by the platform's ids: the whole list, as it was at `at`."""

    subjects: Sequence[str]
    at: datetime


class Reader(Protocol):
    """A platform, read. Raises `Wait`, `ReadingRefused`, or `Unavailable` where it does not answer."""

    async def read_page(self, reading: SourceReading) -> HistoryPage:
        """The next page of a channel: newest first until all is read, then what is to be repaired."""

    async def read_people(self, place: Place) -> list[NewPerson]:
        """Everyone in the workspace."""

    async def read_channels(self, place: Place) -> list[NewChannel]:
        """The channels that can be seen."""

    async def read_members(self, place: Place, channel: str) -> Roster:
        """All who are in a channel; the whole list or an error."""
