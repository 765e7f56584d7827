"""From when on what is known of a workspace's people and channels counts.

A list that was asked for before something became unknown, or before a person was placed, must not
undo it. `accounts.py`, `channels.py`, `membership.py` and `sender_rows.py` ask here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.chats.places import Place
from engine.db.tables import Channel, Workspace

CHANGED_AT = "changed_at"  # in a place's settings: since when what was read of it before is old
PLACED = timedelta(hours=1)  # a list of members that is older than that is no longer committed
_NEVER = datetime.fromtimestamp(0, UTC)


async def placed_since(session: AsyncSession, place: Place, at: datetime | None) -> set[str]:
    """Ids of the accounts that were placed after `at`; none where no time is given."""
    if at is None:
        return set()
    workspace = await session.get_one(Workspace, place.workspace_id)
    return {account for account, when in placed_at(workspace).items() if when > at}


async def note_change(session: AsyncSession, place: Place) -> Workspace:
    """Mark the workspace, held until the transaction ends: what a reader remembers of it is old."""
    workspace = await session.get_one(Workspace, place.workspace_id, with_for_update=True)
    workspace.settings = {**workspace.settings, CHANGED_AT: clock.now().isoformat()}
    await session.flush()
    return workspace


def unknown_since(workspace: Workspace, channel: Channel) -> datetime:
    """When a channel was last made unknown; long ago where it never was."""
    times = [str(item.settings.get("unknown_since") or "") for item in (workspace, channel)]
    return max(datetime.fromisoformat(item) if item else _NEVER for item in times)


def placed_at(workspace: Workspace) -> dict[str, datetime]:
    """When each account that is still remembered was placed, by its id."""
    placed = workspace.settings.get("placed") or {}
    return {account: datetime.fromisoformat(when) for account, when in placed.items()}
