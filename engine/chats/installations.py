"""Installing the bot in workspaces. `Engine.chats.installations` is an `Installations`."""

from __future__ import annotations

from datetime import timedelta

from engine import clock
from engine.access import gate
from engine.chats import installation_rows, linking
from engine.chats.installation_rows import Installed, NewInstallation
from engine.chats.sender_rows import Sender
from engine.db.session import Database
from engine.domain import Principal, Scope
from engine.errors import Unauthenticated
from engine.limits import Limits
from engine.secrets import Secrets

KEY_LIFE = timedelta(hours=1)  # of a key that connects a workspace


class Installations:
    """The verbs of installing the bot: `Engine.chats.installations`."""

    def __init__(self, db: Database, secrets: Secrets, limits: Limits) -> None:
        self._db = db
        self._secrets = secrets
        self._limits = limits

    async def install(self, tenant_id: str, new: NewInstallation) -> str:
        """Keep an installation, and bind its workspace to the tenant; its id."""
        secrets = self._secrets
        return await self._db.run_write(
            lambda session: installation_rows.install(session, secrets, tenant_id, new)
        )

    async def bind_workspace(self, tenant_id: str, platform: str, team_id: str, name: str) -> str:
        """A workspace without an installation: the terminal's, or that of a token in the settings."""
        return await self._db.run_write(
            lambda session: installation_rows.bind_workspace(
                session, tenant_id, platform, team_id, name
            )
        )

    async def find(self, platform: str, *, team_id: str, enterprise_id: str = "") -> Installed:
        """The installation that speaks in a team; `NotFound` where there is none."""
        async with self._db.read() as session:
            return await installation_rows.find_installation(
                session,
                self._secrets,
                platform,
                team_id=team_id,
                enterprise_id=enterprise_id,
            )

    async def of(self, sender: Sender) -> Installed:
        """The installation that speaks in a workspace."""
        async with self._db.read() as session:
            return await installation_rows.installation_of(
                session, self._secrets, sender.tenant_id, sender.workspace_id
            )

    async def list_all(self) -> list[Installed]:
        """Every installation, for the process that serves them all."""
        async with self._db.read() as session:
            return await installation_rows.list_installations(session, self._secrets)

    async def pause(self, platform: str, *, team_id: str, enterprise_id: str = "") -> list[str]:
        """The bot was removed: nothing of the workspace is read from now on."""
        return await self._db.run_write(
            lambda session: installation_rows.pause_installation(
                session, platform, team_id=team_id, enterprise_id=enterprise_id
            )
        )

    async def purge_due(self) -> int:
        """Delete what paused installations left, once their time is over."""
        return await self._db.run_write(installation_rows.purge_due)

    def sign_install(self, principal: Principal) -> str:
        """The state of an OAuth install: whose tenant the workspace will belong to; ten minutes."""
        gate.require(principal, Scope.KB_ADMIN)
        until = clock.now() + linking.LINK_LIFE
        return self._secrets.sign("oauth-state", f"install:{principal.tenant_id}", expires_at=until)

    def verify_install(self, state: str) -> str:
        """The tenant of a state that `sign_install` made; `Unauthenticated` for any other."""
        kind, _, tenant_id = self._secrets.verify("oauth-state", state).partition(":")
        if kind != "install":
            raise Unauthenticated("This is not an installation link.")
        return tenant_id

    def sign_key(self, principal: Principal) -> str:
        """A key that connects one workspace to the principal's tenant, for an hour."""
        gate.require(principal, Scope.KB_ADMIN)
        payload = f"key:{principal.tenant_id}:{clock.new_id()}"
        return self._secrets.sign("oauth-state", payload, expires_at=clock.now() + KEY_LIFE)

    async def redeem_key(self, key: str, workspace: str) -> str:
        """The tenant of a key that `sign_key` made, which this workspace has from now on.

        `Unauthenticated` for any other, and for one that another workspace has used.
        """
        kind, _, rest = self._secrets.verify("oauth-state", key.strip()).partition(":")
        tenant_id, _, nonce = rest.partition(":")
        if kind != "key" or not nonce:
            raise Unauthenticated("This is not a key for connecting a workspace.")
        lease_s = KEY_LIFE.total_seconds()
        name = f"{tenant_id}:key:{nonce}"
        if not await self._limits.acquire(name, workspace, lease_s=lease_s):
            raise Unauthenticated("This key has been used: ask for a new one.")
        return tenant_id
