"""Opens what a connector works with in one step: its settings, its client, its secret."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

import anyio.to_thread
from pydantic import ValidationError

from engine import clock
from engine.db.session import Database
from engine.errors import InvalidInput
from engine.limits import Limits
from engine.net.fetching import Resolver
from engine.secrets import Secrets
from engine.sources.contract import (
    Connector,
    KnownItem,
    Renewed,
    SourceContext,
    SourceRefused,
    nothing_known,
)
from engine.sources.held_secrets import StoredSecret
from engine.sources.http import open_http
from engine.sources.syncing import SourceRow

Known = Callable[[Sequence[str]], Awaitable[Mapping[str, KnownItem]]]


@dataclass(frozen=True, slots=True)
class ContextOpener:
    """What the installation allows connectors, and how each step's context is made of it."""

    db: Database
    secrets: Secrets
    scratch: Path  # a folder of this machine for what connectors keep between steps
    limits: Limits
    allow_private: bool
    max_bytes: int
    roots: Sequence[str] = ()
    resolve: Resolver | None = None

    @asynccontextmanager
    async def open(
        self,
        source: SourceRow,
        connector: Connector[Any],
        *,
        known: Known = nothing_known,
    ) -> AsyncIterator[SourceContext[Any]]:
        """A context for one step of a source. Raises `SourceRefused` where its settings no longer fit."""
        try:
            settings = parse_settings(connector, kind_settings(source.settings))
        except InvalidInput as error:
            raise SourceRefused(str(error)) from None
        secret = self._secret(source, connector, settings)
        async with (
            open_http(
                key=source.credential_id or source.id,
                limits=self.limits,
                rate_per_s=connector.rate_per_s,
                allow_private=self.allow_private,
                resolve=self.resolve,
                secret=secret,
            ) as http,
            self._scratch(source) as scratch,
        ):
            yield SourceContext(
                settings=settings,
                http=http,
                secret=secret,
                now=clock.now(),
                max_bytes=self.max_bytes,
                scratch=scratch,
                roots=self.roots,
                known=known,
            )

    def _secret(
        self,
        source: SourceRow,
        connector: Connector[Any],
        settings: Any,  # noqa: ANN401
    ) -> StoredSecret | None:
        if source.credential_id is None:
            return None

        async def renew(method: str, values: Mapping[str, str]) -> Renewed:
            async with open_http(
                key=f"renew:{source.credential_id}",
                allow_private=self.allow_private,
                resolve=self.resolve,
            ) as http:
                return await connector.renew(http, settings, method, values)

        return StoredSecret(
            self.db, self.secrets, source.tenant_id, source.credential_id, connector, renew
        )

    @asynccontextmanager
    async def _scratch(self, source: SourceRow) -> AsyncIterator[Path]:
        """A source's folder; one that is not saved yet has one for this once."""
        if source.id:
            yield self.scratch / source.id
            return
        made = await anyio.to_thread.run_sync(lambda: tempfile.mkdtemp(prefix="scrubjay-source-"))
        try:
            yield Path(made)
        finally:
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(made, ignore_errors=True))

    async def forget(self, source_id: str) -> None:
        """Delete what connectors kept of a source on this machine."""
        folder = self.scratch / source_id
        await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


def kind_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the kind itself is set to, of a source's settings."""
    found: Mapping[str, Any] = settings.get("of_kind", {})
    return found


def trusted_domains(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Domains of e-mail addresses that a source may vouch for."""
    return tuple(settings.get("domains", ()))


def parse_settings(connector: Connector[Any], given: Mapping[str, Any]) -> Any:  # noqa: ANN401 (the kind's)
    """The settings of a kind; `InvalidInput` names the first wrong field, and never its value."""
    try:
        return connector.settings.model_validate(dict(given))
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in fault["loc"]) or "settings"
        known = ", ".join(connector.settings.model_fields)
        raise InvalidInput(
            f"{connector.kind}: {field}: {fault['msg']}. It takes: {known}.", field=field
        ) from None


def settings_of_pairs(connector: Connector[Any], pairs: Sequence[str]) -> dict[str, Any]:
    """Settings from `name=value` words; a name that is repeated is a list."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip()
        if not equals or not name:
            raise InvalidInput(f"{pair[:60]!r} is no setting: write name=value.", field="settings")
        field = connector.settings.model_fields.get(name)
        is_list = field is not None and get_origin(field.annotation) is list
        if is_list:
            found.setdefault(name, []).extend(one.strip() for one in value.split(",") if one)
        else:
            found[name] = value
    return found
