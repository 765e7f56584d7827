"""Widgets: an assistant on pages of other sites, for anyone who opens them or for members.

For anyone it answers as a service key: what the key may read at that moment bounds the answers,
and nobody's own rights count. Members are answered as themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.access.assistant_access import select_assistants
from engine.assistants import rows
from engine.assistants.rows import AssistantInfo
from engine.db.session import Database
from engine.db.tables import ApiToken, Assistant, Widget
from engine.domain import Principal, Role
from engine.errors import InvalidInput, NotFound, Unauthenticated
from engine.people.api_tokens import principal_of_run, service_key_that_asks

ORIGINS_MAX = 20
ORIGIN_MAX = 200  # characters
WidgetReaders = Literal["anyone", "members"]


@dataclass(frozen=True, slots=True)
class WidgetInfo:
    """A widget; `key` is the service key's name, empty where members are answered as themselves."""

    id: str
    assistant: str  # a slug
    readers: WidgetReaders
    key: str
    origins: Sequence[str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OpenWidget:
    """A widget that somebody has opened.

    `principal` is whom it answers anyone as, this assistant's questions only; None where it answers
    members, or nobody: then its key is revoked, or bound to other assistants.
    """

    info: WidgetInfo
    tenant_id: str
    assistant: AssistantInfo
    principal: Principal | None


class Widgets:
    """The verbs of widgets: `Engine.widgets`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(
        self, principal: Principal, assistant: str, origins: Sequence[str], *, key: str = ""
    ) -> WidgetInfo:
        """Let pages of these origins show an assistant; without a `key` to members alone."""
        return await self._db.run_write(
            lambda session: add(session, principal, assistant, origins, key=key)
        )

    async def list_all(self, principal: Principal, assistant: str = "") -> list[WidgetInfo]:
        """The tenant's widgets, or those of one assistant, by slug or id; oldest first."""
        return await self._db.run_read(lambda session: list_all(session, principal, assistant))

    async def remove(self, principal: Principal, widget_id: str) -> str:
        """Take a widget away: pages that show it answer nothing more. Returns its id."""
        return await self._db.run_write(lambda session: remove(session, principal, widget_id))

    async def open(self, widget_id: str) -> OpenWidget:
        """What a page that shows the widget needs; `NotFound` where there is none."""
        return await self._db.run_read(lambda session: _open(session, widget_id))


async def add(
    session: AsyncSession,
    principal: Principal,
    assistant: str,
    origins: Sequence[str],
    *,
    key: str = "",
) -> WidgetInfo:
    """A new widget of an assistant, by slug or id, for pages of these origins."""
    gate.require_verb(principal, "widget.set")
    checked = parse_origins(origins)
    row = await session.scalar(
        select_assistants(principal, "assistant").where(
            (Assistant.slug == assistant) | (Assistant.id == assistant)
        )
    )
    if row is None:
        raise rows.no_such("assistant", assistant)
    token = None
    if key:
        token = await service_key_that_asks(session, principal.tenant_id, key)
        _check_key(token, row)
    made = Widget(
        id=clock.new_id(),
        tenant_id=principal.tenant_id,
        assistant_id=row.id,
        key_id=token.id if token is not None else "",
        origins=checked,
    )
    session.add(made)
    await session.flush()
    detail = {"assistant": row.slug, "origins": checked, "key": token.name if token else ""}
    await gate.audit(session, principal, "widget.add", made.id, detail)
    return _info(made, row.slug, token)


async def list_all(
    session: AsyncSession, principal: Principal, assistant: str = ""
) -> list[WidgetInfo]:
    """The tenant's widgets, or those of one assistant, by slug or id; oldest first."""
    gate.require_verb(principal, "widget.list")
    query = (
        select(Widget, Assistant.slug, ApiToken)
        .join(Assistant, Assistant.id == Widget.assistant_id)
        .outerjoin(
            ApiToken, (ApiToken.id == Widget.key_id) & (ApiToken.tenant_id == Widget.tenant_id)
        )
        .where(Widget.tenant_id == principal.tenant_id)
        .order_by(Widget.id)
    )
    if assistant:
        query = query.where((Assistant.slug == assistant) | (Assistant.id == assistant))
    return [_info(*row) for row in await session.execute(query)]


async def remove(session: AsyncSession, principal: Principal, widget_id: str) -> str:
    """Take a widget away. Returns its id."""
    gate.require_verb(principal, "widget.set")
    row = await session.get(Widget, widget_id)
    if row is None or row.tenant_id != principal.tenant_id:
        raise NotFound(f"No widget {widget_id[:60]!r} of yours.")
    await session.delete(row)
    await gate.audit(session, principal, "widget.remove", row.id)
    return row.id


def parse_origins(values: Sequence[str]) -> list[str]:
    """Origins of pages, such as https://www.example.com; `InvalidInput` names `origins`."""
    found: list[str] = []
    for value in values:
        origin = value.strip().lower().rstrip("/")
        if not origin:
            continue
        try:
            parts = urlsplit(origin)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        host = parts.hostname or ""
        bare = f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")
        is_name = bool(host) and all(letter.isalnum() or letter in "-." for letter in host)
        is_plain = is_name and origin.isascii() and len(origin) <= ORIGIN_MAX
        if parts.scheme not in {"http", "https"} or origin != bare or not is_plain:
            raise InvalidInput(
                f"origins: {value[:60]!r} is none, such as https://www.example.com: no path, no *.",
                field="origins",
            )
        if origin not in found:
            found.append(origin)
    if not found or len(found) > ORIGINS_MAX:
        raise InvalidInput(
            f"origins: give 1 to {ORIGINS_MAX} sites whose pages show the widget.", field="origins"
        )
    return found


def _check_key(token: ApiToken, assistant: Assistant) -> None:
    """Refuse a key that would tell anyone more than somebody chose, or that can't answer here."""
    said = ""
    if token.kb_ids is None:
        said = "reads all that every member reads: make one for some knowledge bases"
    elif token.networks:
        said = "works from some networks only, and visitors come from anywhere"
    elif token.assistants is not None and not {assistant.id, assistant.slug} & set(
        token.assistants
    ):
        said = "is bound to other assistants"
    if said:
        raise InvalidInput(f"key: {token.name!r} {said}.", field="key")


async def _open(session: AsyncSession, widget_id: str) -> OpenWidget:
    row = await session.get(Widget, widget_id)
    assistant = None if row is None else await session.get(Assistant, row.assistant_id)
    if row is None or assistant is None or assistant.tenant_id != row.tenant_id:
        raise NotFound("There is no such widget.")
    await gate.require_serving(session, row.tenant_id)
    reader: Principal | None = None
    token = None
    if row.key_id:
        token = await session.get(ApiToken, row.key_id)
        reader = await _reader(session, row, assistant)
    shown_to = reader or _nobody(row)
    known = await rows.bound(session, shown_to, assistant.id)
    if known is None:  # no assistant, but a search app
        raise NotFound("There is no such widget.")
    return OpenWidget(_info(row, assistant.slug, token), row.tenant_id, known, reader)


async def _reader(session: AsyncSession, row: Widget, assistant: Assistant) -> Principal | None:
    try:
        principal = await principal_of_run(session, row.tenant_id, row.key_id)
        bound = principal.assistants
        asks = frozenset({assistant.id}) if bound is None else bound
        principal = replace(principal, assistants=asks)
        return gate.for_assistant(principal, assistant.id, assistant.slug)
    except (NotFound, Unauthenticated):
        return None


def _nobody(row: Widget) -> Principal:
    """Whom a widget shows itself to before it knows more: nothing may be read."""
    return Principal(
        tenant_id=row.tenant_id,
        user_id=None,
        name="visitor",
        role=Role.MEMBER,
        tokens=frozenset(),
        scopes=frozenset(),
        assured=False,
    )


def _info(row: Widget, slug: str, token: ApiToken | None) -> WidgetInfo:
    return WidgetInfo(
        id=row.id,
        assistant=slug,
        readers="anyone" if row.key_id else "members",
        key=token.name if token is not None else "",
        origins=list(row.origins),
        created_at=row.created_at,
    )
