"""How the bot behaves in a place: a channel's settings over its workspace's over the default's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.chats.callers import Caller
from engine.chats.channels import own_channel
from engine.chats.sender_rows import Sender
from engine.db.tables import Channel, Workspace
from engine.domain import Scope
from engine.errors import InvalidInput

Mode = Literal["mention", "auto", "off"]


class PlaceSettings(BaseModel):
    """How the bot behaves in a place; None leaves a matter to the workspace, then to the default."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    mode: Mode | None = None
    threshold: Annotated[int, Field(ge=0, le=100)] | None = None
    kb: str | None = None  # an id
    assistant: str | None = None  # an id; its knowledge bases go before `kb`
    private: bool | None = None  # answers are for the asker's eyes
    respond_to: list[str] | None = None  # people; empty or None: everybody
    answer_bots: list[str] | None = None  # bots and workflows that may ask; empty: none
    escalate_to: Annotated[str, Field(max_length=100)] | None = None
    anonymous: bool | None = None  # authors of quoted messages are not named
    language: Annotated[str, Field(max_length=8)] | None = None  # of answers; empty: the question's


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What holds in a place, and where each value is set: channel, workspace or default."""

    mode: Mode = "mention"
    threshold: int = 65
    kb: str = ""
    assistant: str = ""
    private: bool = False
    respond_to: Sequence[str] = ()
    answer_bots: Sequence[str] = ()
    escalate_to: str = ""
    anonymous: bool = False
    language: str = ""  # a code; empty: that of the question
    origins: Mapping[str, str] = field(default_factory=dict)


async def behaviour_of(
    session: AsyncSession, sender: Sender, *, default_threshold: int = 65
) -> Behaviour:
    """What is set for a channel, else for its workspace, else by default."""
    workspace = await session.get_one(Workspace, sender.workspace_id)
    channel: Mapping[str, Any] = {}
    if sender.channel_id is not None:
        channel = (await session.get_one(Channel, sender.channel_id)).settings
    return merge_behaviour(workspace.settings, channel, default_threshold=default_threshold)


def merge_behaviour(
    workspace: Mapping[str, Any], channel: Mapping[str, Any], *, default_threshold: int = 65
) -> Behaviour:
    """What holds by the settings of a workspace and of one of its channels."""
    layers = [("workspace", workspace.get("bot", {})), ("channel", channel.get("bot", {}))]
    values: dict[str, Any] = {}
    origins = dict.fromkeys(PlaceSettings.model_fields, "default")
    for origin, stored in layers:
        found = PlaceSettings.model_validate(stored).model_dump(exclude_none=True)
        values |= found
        origins |= dict.fromkeys(found, origin)
    values.setdefault("threshold", default_threshold)
    return Behaviour(**values, origins=origins)


async def change_behaviour(
    session: AsyncSession,
    caller: Caller,
    changes: Mapping[str, object],
    *,
    channel_id: str | None,
) -> None:
    """Set values for a channel, or with None for the workspace; None as a value unsets one."""
    gate.require(caller.principal, Scope.KB_ADMIN)
    row: Channel | Workspace
    if channel_id is None:
        row = await session.get_one(Workspace, caller.sender.workspace_id)
    else:
        row = await own_channel(session, caller.sender, channel_id)
    before = dict(row.settings.get("bot", {}))
    wanted = {k: v for k, v in {**before, **changes}.items() if v is not None}
    try:
        checked = PlaceSettings.model_validate(wanted).model_dump(exclude_none=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = str(fault["loc"][0]) if fault["loc"] else "settings"
        raise InvalidInput(f"{name}: {fault['msg']}.", field=name) from None
    row.settings = {**row.settings, "bot": checked}
    await session.flush()
    await gate.audit(
        session,
        caller.principal,
        "bot.settings",
        row.id,
        {
            "from": {name: before.get(name) for name in changes},
            "to": dict(changes),
            "place": "channel" if channel_id else "workspace",
        },
    )


@dataclass(frozen=True, slots=True)
class SettingsOf:
    """What is set for one place: a channel by its name, or the workspace (`channel` is empty)."""

    channel: str
    values: Mapping[str, Any]


async def list_settings(session: AsyncSession, caller: Caller) -> list[SettingsOf]:
    """What is set for the caller's workspace, then for each of its channels by name."""
    gate.require(caller.principal, Scope.KB_ADMIN)
    workspace = await session.get_one(Workspace, caller.sender.workspace_id)
    channels = await session.scalars(
        select(Channel).where(Channel.workspace_id == workspace.id).order_by(Channel.name)
    )
    return [
        SettingsOf("", workspace.settings.get("bot", {})),
        *(SettingsOf(channel.name, channel.settings.get("bot", {})) for channel in channels),
    ]
