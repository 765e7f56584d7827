"""Sources: connected, checked, synced, paused and removed here by admins.

Reading is the worker's (`ingestion/source_jobs.py`); what it wrote is reported by `reports.py`. A
source is saved only once its check passed: what it says is shown to the person who connects it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio
from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.db.session import Database
from engine.db.tables import Source
from engine.domain import Principal, Scope
from engine.errors import Conflict, EngineError, InvalidInput, NotFound
from engine.sources.contract import Change, Connector, Finding, LeftOut, Put, SourceRefused
from engine.sources.credentials import SourceCredentials
from engine.sources.opening import (
    ContextOpener,
    kind_settings,
    parse_settings,
    settings_of_pairs,
)
from engine.sources.removing import REMOVED, take_off_all
from engine.sources.reports import LeftOutItem, SourceInfo, SyncInfo, left_out, report, runs_of
from engine.sources.states import ACTIVE, NEEDS_LOGIN, PAUSED, REMOVING
from engine.sources.syncing import (
    SourceRow,
    cancel_run,
    queue_plan,
    row_of,
    scopes_of,
)

CHECK_TIMEOUT_S = 60.0
EVERY_MIN_S, EVERY_MAX_S = 60, 30 * 86_400
PREVIEWED = 50
_DOMAIN = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")


@dataclass(frozen=True, slots=True)
class KindInfo:
    """A kind of source that can be connected here, and what it takes."""

    kind: str
    title: str
    settings: Mapping[str, Any]  # JSON Schema
    methods: Mapping[str, Mapping[str, Any]]  # ways to sign in: JSON Schema of the secret
    has_permissions: bool
    has_feed: bool


@dataclass(frozen=True, slots=True)
class PreviewItem:
    """Something a sync would take, or (with a reason) leave out."""

    id: str
    title: str
    url: str
    size_bytes: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NewSource:
    """What an admin connects. `every_s` None: as often as the kind is usually synced; 0: by hand.

    `domains` are those whose e-mail addresses the source may vouch for: whoever has proved such an
    address here has the rights of that account there. `credential`: what it signs in with.
    """

    kind: str
    name: str
    kb: str
    settings: Mapping[str, Any]
    every_s: int | None = None
    domains: Sequence[str] = ()
    credential: str = ""


class Sources:
    """Where documents come from, of one installation."""

    def __init__(
        self,
        db: Database,
        opener: ContextOpener,
        connectors: Mapping[str, Connector[Any]],
        credentials: SourceCredentials,
    ) -> None:
        self._db = db
        self._credentials = credentials
        self.opener = opener
        self.connectors = connectors

    def kinds(self) -> list[KindInfo]:
        """The kinds that can be connected here, by title."""
        return [
            KindInfo(
                kind=one.kind,
                title=one.title,
                settings=one.settings.model_json_schema(),
                methods={name: fields.model_json_schema() for name, fields in one.methods.items()},
                has_permissions=one.offers.access,
                has_feed=one.offers.feed,
            )
            for one in sorted(self.connectors.values(), key=lambda one: one.title)
        ]

    def settings_of(self, kind: str, pairs: Sequence[str]) -> dict[str, Any]:
        """The settings of a kind from `name=value` words, as a command line has them."""
        return settings_of_pairs(self._connector(kind), pairs)

    async def add(self, principal: Principal, new: NewSource) -> tuple[SourceInfo, list[Finding]]:
        """Connect a source after its check passed; its first sync begins at once.

        Raises `InvalidInput` for settings that don't fit or a check that fails, with what to do.
        """
        gate.require(principal, Scope.KB_ADMIN)
        connector = self._connector(new.kind)
        settings = parse_settings(connector, new.settings).model_dump(mode="json")
        name = _name(new.name)
        every_s = _every(new.every_s, connector)
        domains = _domains(new.domains)
        async with self._db.read() as session:
            known = await gate.readable_kbs(session, principal)
            wanted = next((kb.id for kb in known if new.kb in {kb.name, kb.id}), new.kb)
            kb = await gate.get_writable_kb(session, principal, wanted)
            await self._refuse_taken(session, principal, name)
            signs_in = await self._credential(session, principal, new.credential, new.kind)
        kept = {"of_kind": settings}
        row = SourceRow("", principal.tenant_id, kb.id, new.kind, name, kept, signs_in)
        findings = await self._check(row, connector)
        if faults := [finding for finding in findings if not finding.ok]:
            raise InvalidInput(
                f"{name} can't be connected: {faults[0].text}", field=faults[0].field or "settings"
            )

        async def commit(session: AsyncSession) -> SourceInfo:
            await self._refuse_taken(session, principal, name)
            await self._credential(session, principal, new.credential, new.kind)  # still there
            source = Source(
                id=clock.new_id(),
                tenant_id=principal.tenant_id,
                kb_id=kb.id,
                kind=new.kind,
                name=name,
                settings={"of_kind": settings, "domains": domains},
                cursor={},
                state=ACTIVE,
                error="",
                every_s=every_s,
                plan=0,
                credential_id=signs_in,
            )
            session.add(source)
            await session.flush()
            await queue_plan(session, source, cause="connected")
            await gate.audit(
                session, principal, "source.add", source.id, {"kind": new.kind, "name": name}
            )
            return await self._report(session, source)

        return await self._db.run_write(commit), findings

    async def check(self, principal: Principal, ref: str) -> list[Finding]:
        """Whether a source can be read now, and what to do where it can't."""
        gate.require(principal, Scope.KB_ADMIN)
        async with self._db.read() as session:
            source = await self._find(session, principal, ref)
        return await self._check(row_of(source), self._connector(source.kind))

    async def try_credential(
        self, principal: Principal, ref: str, settings: Mapping[str, Any] | None = None
    ) -> list[Finding]:
        """Whether a credential is taken: with these settings, else by each source that uses it."""
        known = await self._credentials.get(principal, ref)
        connector = self._connector(known.kind)
        async with self._db.read() as session:
            rows = [row_of(await self._find(session, principal, one)) for one in known.sources]
        if settings:
            kept = {"of_kind": settings}
            rows = [SourceRow("", principal.tenant_id, "", known.kind, "", kept, known.id)]
        if not rows:
            raise InvalidInput(
                f"No source uses {known.name} yet: name what to read, as settings of"
                f" {known.kind} ({', '.join(connector.settings.model_fields)}).",
                field="settings",
            )
        found = [finding for row in rows for finding in await self._check(row, connector)]
        await self._credentials.settle(principal, ref, found)
        return found

    async def preview(
        self,
        principal: Principal,
        kind: str,
        settings: Mapping[str, Any],
        *,
        credential: str = "",
    ) -> list[PreviewItem]:
        """What a sync with these settings would take first; nothing is stored."""
        gate.require(principal, Scope.KB_ADMIN)
        connector = self._connector(kind)
        async with self._db.read() as session:
            signs_in = await self._credential(session, principal, credential, kind)
        row = SourceRow("", principal.tenant_id, "", kind, kind, {"of_kind": settings}, signs_in)
        found: list[PreviewItem] = []
        with anyio.move_on_after(CHECK_TIMEOUT_S):
            async with self.opener.open(row, connector) as ctx:
                for scope in await connector.scopes(ctx):
                    step = await connector.listing(ctx, scope, {})
                    found += [_previewed(change) for change in step.changes]
                    if len(found) >= PREVIEWED:
                        break
        return found[:PREVIEWED]

    async def list_all(self, principal: Principal) -> list[SourceInfo]:
        """The tenant's connected sources, by name."""
        gate.require(principal, Scope.KB_ADMIN)
        async with self._db.read() as session:
            rows = await session.scalars(_connected(principal).order_by(Source.name))
            return [await self._report(session, row) for row in rows]

    async def get(self, principal: Principal, ref: str) -> SourceInfo:
        """How far a source is, by name or id."""
        gate.require(principal, Scope.KB_ADMIN)
        async with self._db.read() as session:
            return await self._report(session, await self._find(session, principal, ref))

    async def runs(self, principal: Principal, ref: str, *, limit: int = 20) -> list[SyncInfo]:
        """The last syncs of a source, the newest first."""
        gate.require(principal, Scope.KB_ADMIN)
        async with self._db.read() as session:
            source = await self._find(session, principal, ref)
            return await runs_of(session, source.id, limit)

    async def why(self, principal: Principal, ref: str, *, limit: int = 200) -> list[LeftOutItem]:
        """What a source has and no answer uses, each with its reason."""
        gate.require(principal, Scope.KB_ADMIN)
        async with self._db.read() as session:
            source = await self._find(session, principal, ref)
            return await left_out(session, source, limit)

    async def sync(self, principal: Principal, ref: str, *, whole: bool = False) -> SourceInfo:
        """Sync a source now; `whole` lists all of it again. One that is under way goes on."""

        async def change(session: AsyncSession, source: Source) -> None:
            if source.state != ACTIVE:
                raise Conflict(f"{source.name} is {source.state}: resume it first.")
            if whole:
                for row in (await scopes_of(session, source.id)).values():
                    row.listed_at, row.phase, row.cursor = None, "done", {}
            elif source.run_id is not None:
                return
            await queue_plan(session, source, cause="asked for")

        return await self._change(principal, ref, "source.sync", change)

    async def pause(self, principal: Principal, ref: str) -> SourceInfo:
        """Read a source no more; what is stored still answers, with permissions as long as fresh."""

        async def change(session: AsyncSession, source: Source) -> None:
            source.state = PAUSED
            await cancel_run(session, source)

        return await self._change(principal, ref, "source.pause", change)

    async def resume(self, principal: Principal, ref: str) -> SourceInfo:
        """Go on where a source was paused, or where it needed another sign-in."""

        async def change(session: AsyncSession, source: Source) -> None:
            if source.state in {PAUSED, NEEDS_LOGIN}:
                source.state, source.error = ACTIVE, ""
                await queue_plan(session, source, cause="resumed")

        return await self._change(principal, ref, "source.resume", change)

    async def confirm(self, principal: Principal, ref: str) -> SourceInfo:
        """Say yes to the deletions that were withheld; the next sync makes sure and removes them."""

        async def change(session: AsyncSession, source: Source) -> None:
            waiting = [
                row for row in (await scopes_of(session, source.id)).values() if row.withheld
            ]
            if not waiting:
                raise Conflict(f"No deletion of {source.name} waits for a yes.")
            for row in waiting:
                row.confirmed = True
            if source.state == ACTIVE:
                await queue_plan(session, source, cause="confirmed")

        return await self._change(principal, ref, "source.confirm", change)

    async def update(
        self,
        principal: Principal,
        ref: str,
        *,
        settings: Mapping[str, Any] | None = None,
        every_s: int | None = None,
        domains: Sequence[str] | None = None,
        credential: str | None = None,
    ) -> SourceInfo:
        """Change a source; what a sync under way brings under the old settings is dropped."""
        gate.require(principal, Scope.KB_ADMIN)
        async with self._db.read() as session:
            known = await self._find(session, principal, ref)
            signs_in = known.credential_id
            if credential is not None:
                signs_in = await self._credential(session, principal, credential, known.kind)
        connector = self._connector(known.kind)
        wanted: dict[str, Any] = dict(known.settings)
        if settings is not None or signs_in != known.credential_id:
            merged = {**kind_settings(known.settings), **(settings or {})}
            wanted["of_kind"] = parse_settings(connector, merged).model_dump(mode="json")
            row = replace(row_of(known), settings=wanted, credential_id=signs_in)
            faults = [one for one in await self._check(row, connector) if not one.ok]
            if faults:
                raise InvalidInput(faults[0].text, field=faults[0].field or "settings")
        if domains is not None:
            wanted["domains"] = _domains(domains)

        async def change(session: AsyncSession, source: Source) -> None:
            if every_s is not None:
                source.every_s = _every(every_s, connector)
            if signs_in != known.credential_id:
                source.credential_id = signs_in
                if source.state == NEEDS_LOGIN:
                    source.state, source.error = ACTIVE, ""
            if wanted != known.settings:
                source.settings = wanted
                await cancel_run(session, source)
                for row in (await scopes_of(session, source.id)).values():
                    row.phase, row.cursor, row.feed, row.listed_at = "done", {}, {}, None
            if source.state == ACTIVE:
                await queue_plan(session, source, cause="changed")

        return await self._change(principal, ref, "source.update", change)

    async def remove(self, principal: Principal, ref: str) -> int:
        """Take a source away with all its documents, at once; how many answered."""
        gate.require(principal, Scope.KB_ADMIN)

        async def commit(session: AsyncSession) -> int:
            source = await self._find(session, principal, ref, locked=True)
            if source.state == REMOVING:
                return 0
            await cancel_run(session, source)
            documents = await take_off_all(session, source)
            await gate.audit(session, principal, "source.remove", source.id, {"name": source.name})
            return documents

        return await self._db.run_write(commit)

    async def unwell(self, principal: Principal) -> list[tuple[str, str]]:
        """Sources that a person must look after: name, and what to do."""
        faults = []
        for one in await self.list_all(principal):
            if one.state == NEEDS_LOGIN:
                faults.append((one.name, f"{one.error} Then `scrubjay source resume {one.name}`."))
            elif one.withheld:
                said = f"{one.withheld} documents seem to be deleted there; nothing was removed."
                faults.append((one.name, f"{said} `scrubjay source confirm {one.name}` if so."))
            elif one.state == ACTIVE and (one.error or _has_failed(one)):
                said = one.error or (one.last_run.error if one.last_run else "")
                faults.append((one.name, f"{said} See `scrubjay source show {one.name}`."))
        return faults

    async def _change(
        self,
        principal: Principal,
        ref: str,
        action: str,
        change: Callable[[AsyncSession, Source], Awaitable[None]],
    ) -> SourceInfo:
        gate.require(principal, Scope.KB_ADMIN)

        async def commit(session: AsyncSession) -> SourceInfo:
            source = await self._find(session, principal, ref, locked=True)
            if source.state == REMOVING:
                raise Conflict(f"{source.name} is being removed.")
            await change(session, source)
            await gate.audit(session, principal, action, source.id, {"name": source.name})
            await session.flush()
            return await self._report(session, source)

        return await self._db.run_write(commit)

    async def _check(self, row: SourceRow, connector: Connector[Any]) -> list[Finding]:
        try:
            with anyio.fail_after(CHECK_TIMEOUT_S):
                async with self.opener.open(row, connector) as ctx:
                    return await connector.check(ctx)
        except TimeoutError:
            return [Finding("timeout", f"It did not answer in {CHECK_TIMEOUT_S:g} s.", ok=False)]
        except SourceRefused as refusal:
            return [Finding("refused", str(refusal), ok=False)]
        except EngineError as error:
            return [Finding(error.code, str(error), ok=False)]

    async def _credential(
        self, session: AsyncSession, principal: Principal, ref: str, kind: str
    ) -> str | None:
        return await self._credentials.id_for(session, principal, ref, kind) if ref else None

    async def _report(self, session: AsyncSession, source: Source) -> SourceInfo:
        return await report(session, source, self.connectors.get(source.kind))

    async def _find(
        self, session: AsyncSession, principal: Principal, ref: str, *, locked: bool = False
    ) -> Source:
        query = _connected(principal).where(or_(Source.id == ref, Source.name == ref))
        found = await session.scalar(query.with_for_update() if locked else query)
        if found is None:
            raise NotFound(f"There is no source {ref[:60]!r}; `source list` shows those there are.")
        return found

    @staticmethod
    async def _refuse_taken(session: AsyncSession, principal: Principal, name: str) -> None:
        taken = _connected(principal).where(func.lower(Source.name) == name.lower())
        if await session.scalar(taken) is not None:
            raise Conflict(f"There is a source {name!r} already; choose another name.")

    def _connector(self, kind: str) -> Connector[Any]:
        found = self.connectors.get(kind)
        if found is None:
            known = ", ".join(sorted(self.connectors)) or "none"
            raise InvalidInput(f"There is no kind of source {kind[:40]!r}. There are: {known}.")
        return found


def _connected(principal: Principal) -> Select[Source]:
    """The tenant's sources that a connector reads: all but uploads and channels."""
    return select(Source).where(
        Source.tenant_id == principal.tenant_id,
        Source.channel_id.is_(None),
        Source.state.in_([ACTIVE, PAUSED, NEEDS_LOGIN, REMOVING]),
        Source.kind.not_in(["upload", "slack", "discord", REMOVED]),
    )


def _previewed(change: Change) -> PreviewItem:
    match change:
        case Put():
            size = change.size_bytes or len(change.body or b"")
            return PreviewItem(change.id, change.title or change.id, change.url, size)
        case LeftOut():
            title = change.title or change.id
            return PreviewItem(change.id, title, change.url, 0, change.reason)
        case _:
            return PreviewItem(change.id, change.id, "", 0, "It was deleted.")


def _has_failed(one: SourceInfo) -> bool:
    return one.last_run is not None and one.last_run.state in {"failed", "partial"}


def _name(given: str) -> str:
    name = " ".join(given.split())
    if not name or len(name) > 100:
        raise InvalidInput("A source needs a name of at most 100 characters.", field="name")
    return name


def _every(given: int | None, connector: Connector[Any]) -> int:
    every = connector.offers.every_s if given is None else given
    if every and not EVERY_MIN_S <= every <= EVERY_MAX_S:
        raise InvalidInput(
            "A source is synced every minute at most and every 30 days at least; 0: by hand only.",
            field="every",
        )
    return every


def _domains(given: Sequence[str]) -> list[str]:
    domains = sorted({domain.strip().lower().lstrip("@") for domain in given})
    for domain in domains:
        if not _DOMAIN.fullmatch(domain):
            raise InvalidInput(f"{domain[:60]!r} is not a domain of e-mail.", field="domains")
    return domains
