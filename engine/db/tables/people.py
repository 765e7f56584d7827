"""Tenants and people: roles, groups, platform accounts and API tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.clock import now
from engine.db.tables.base import Base, Json, id_column, tenant_column


class Tenant(Base):
    """One organisation: the isolation boundary."""

    __tablename__ = "tenant"
    id: Mapped[str] = id_column()
    key: Mapped[str] = mapped_column(String(40), unique=True)  # immutable, [a-z0-9_]{1,40}
    name: Mapped[str] = mapped_column(String(200))
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]
    suspended_at: Mapped[datetime | None]  # by the operator: nothing answers, jobs wait


class User(Base):
    """A person; belongs to tenants by membership."""

    __tablename__ = "user"
    id: Mapped[str] = id_column()
    email: Mapped[str | None] = mapped_column(String(320), unique=True)  # lower case
    name: Mapped[str] = mapped_column(String(200))
    password_hash: Mapped[str | None] = mapped_column(String(200))  # argon2id, PHC string
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    email_verified_at: Mapped[datetime | None]  # when they proved that the address is theirs


class Membership(Base):
    __tablename__ = "membership"
    tenant_id: Mapped[str] = mapped_column(
        ForeignKey("tenant.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[str] = mapped_column(
        ForeignKey("user.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[str] = mapped_column(String(20))  # domain.Role
    created_at: Mapped[datetime] = mapped_column(default=now)
    active: Mapped[bool] = mapped_column(default=True)  # in this tenant


class UserGroup(Base):
    """A named set of users of a tenant; its token is `g:<id>`."""

    __tablename__ = "user_group"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=now)


class UserGroupMember(Base):
    __tablename__ = "user_group_member"
    group_id: Mapped[str] = mapped_column(
        ForeignKey("user_group.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[str] = mapped_column(
        ForeignKey("user.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    tenant_id: Mapped[str] = tenant_column()


class Identity(Base):
    """A platform account or OIDC subject; `user_id` is set once it is linked."""

    __tablename__ = "identity"
    __table_args__ = (UniqueConstraint("tenant_id", "provider", "subject"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    user_id: Mapped[str | None] = mapped_column(
        ForeignKey("user.id", ondelete="SET NULL"), index=True
    )
    workspace_id: Mapped[str | None] = mapped_column(
        ForeignKey("workspace.id", ondelete="CASCADE"), index=True
    )
    provider: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(200), default="")
    is_full_member: Mapped[bool] = mapped_column(default=False)  # of the workspace; not a guest
    platform_role: Mapped[str] = mapped_column(String(20), default="")  # admin, external, or ""
    seen_at: Mapped[datetime | None]  # when the platform last told of this account
    created_at: Mapped[datetime] = mapped_column(default=now)


class ApiToken(Base):
    """A credential: only its SHA-256 is kept. Never more than its creator's scopes."""

    __tablename__ = "api_token"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(10), default="personal")  # or service: the tenant's
    name: Mapped[str] = mapped_column(String(200))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    prefix: Mapped[str] = mapped_column(String(16))  # the first characters, to tell tokens apart
    scopes: Mapped[list[str]]
    kb_ids: Mapped[list[str] | None] = mapped_column(Json)  # the only ones it reaches; None: all
    assistants: Mapped[list[str] | None] = mapped_column(Json)  # ids or names; None: not bound
    networks: Mapped[list[str] | None] = mapped_column(Json)  # CIDR; None: used from anywhere
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class UserSession(Base):
    """Someone signed in: what a cookie or a refresh token leads to. No secret is kept."""

    __tablename__ = "session"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(10))  # browser or api
    digest: Mapped[str | None] = mapped_column(String(64), unique=True)  # of the cookie's secret
    generation: Mapped[int] = mapped_column(default=0)  # how often its refresh token was replaced
    rotated_at: Mapped[datetime | None]
    methods: Mapped[list[str]]  # how they proved who they are: RFC 8176's "pwd", "otp", …
    signed_in_at: Mapped[datetime]
    stepped_up_at: Mapped[datetime | None]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]  # whatever is done with it
    address: Mapped[str] = mapped_column(String(64), default="")
    agent: Mapped[str] = mapped_column(String(200), default="")


class OneTimeLink(Base):
    """A secret sent to a person that works once: to own an installation, or set a password."""

    __tablename__ = "one_time_link"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    purpose: Mapped[str] = mapped_column(String(10))  # owner, reset, verify, change
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    email: Mapped[str] = mapped_column(String(320), default="")  # the address it was made for
    new_email: Mapped[str] = mapped_column(String(320), default="")  # the one to change to
    mailed: Mapped[bool] = mapped_column(default=False)  # to that address: using it proves it
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Factor(Base):
    """A second way of somebody to prove who they are: the secret of an authenticator app."""

    __tablename__ = "factor"
    __table_args__ = (UniqueConstraint("user_id", "kind"),)
    id: Mapped[str] = id_column()
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(10))  # totp
    secret: Mapped[str] = mapped_column(String(300))  # encrypted
    confirmed_at: Mapped[datetime | None]  # when a first code of it was right
    last_step: Mapped[int] = mapped_column(default=0)  # of the last code, which is not taken again
    created_at: Mapped[datetime] = mapped_column(default=now)


class Passkey(Base):
    """A key pair that somebody's device or password manager holds; we have its public half."""

    __tablename__ = "passkey"
    id: Mapped[str] = id_column()
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    credential_digest: Mapped[str] = mapped_column(String(64), unique=True)
    credential_id: Mapped[str] = mapped_column(Text)  # base64url, up to 1,023 bytes
    public_key: Mapped[str] = mapped_column(Text)  # COSE, base64url
    sign_count: Mapped[int] = mapped_column(BigInteger, default=0)  # stays 0 for synced ones
    relying_party: Mapped[str] = mapped_column(String(253))  # the host it was made for
    is_synced: Mapped[bool] = mapped_column(default=False)  # held by a password manager
    last_used_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class PasskeyChallenge(Base):
    """What a browser is to sign with a passkey, once, within minutes."""

    __tablename__ = "passkey_challenge"
    id: Mapped[str] = id_column()
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    purpose: Mapped[str] = mapped_column(String(10))  # add, sign-in, confirm
    session_id: Mapped[str | None] = mapped_column(String(32))  # whose, unless to sign in
    expires_at: Mapped[datetime] = mapped_column(index=True)


class RecoveryCode(Base):
    """A code that stands in once for a lost authenticator app; only its hash is kept."""

    __tablename__ = "recovery_code"
    id: Mapped[str] = id_column()
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    digest: Mapped[str] = mapped_column(String(64))
    used_at: Mapped[datetime | None]


class Invitation(Base):
    """Somebody asked to join a tenant: a secret for one address that works once."""

    __tablename__ = "invitation"
    __table_args__ = (
        Index(
            "uq_invitation_open",  # one open invitation an address
            "tenant_id",
            "email",
            unique=True,
            sqlite_where=text("accepted_at IS NULL AND revoked_at IS NULL"),
            postgresql_where=text("accepted_at IS NULL AND revoked_at IS NULL"),
        ),
    )
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    email: Mapped[str] = mapped_column(String(320))  # lower case
    name: Mapped[str] = mapped_column(String(200), default="")
    role: Mapped[str] = mapped_column(String(20))  # domain.Role
    group_ids: Mapped[list[str]]
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    mailed: Mapped[bool] = mapped_column(default=False)  # using it proves the address
    created_by: Mapped[str] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    accepted_by: Mapped[str | None] = mapped_column(
        ForeignKey("user.id", ondelete="SET NULL"), index=True
    )
    revoked_at: Mapped[datetime | None]


class OidcProvider(Base):
    """Where a tenant's people have accounts to sign in with: OpenID Connect, or OAuth 2."""

    __tablename__ = "oidc_provider"
    __table_args__ = (UniqueConstraint("tenant_id", "key"),)
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    key: Mapped[str] = mapped_column(String(40))  # in addresses
    kind: Mapped[str] = mapped_column(String(20))  # federation.kinds.Kind
    name: Mapped[str] = mapped_column(String(200))
    issuer: Mapped[str] = mapped_column(String(300))
    client_id: Mapped[str] = mapped_column(String(300))
    client_secret: Mapped[str] = mapped_column(Text)  # encrypted
    scopes: Mapped[str] = mapped_column(String(300))
    api_url: Mapped[str] = mapped_column(String(300), default="")
    allowed_domains: Mapped[list[str]]
    allowed_tenants: Mapped[list[str]]  # Entra's directories
    groups_claim: Mapped[str] = mapped_column(String(100))
    group_rules: Mapped[dict[str, Any]]  # a value of the claim: the id of a group of ours
    jit_role: Mapped[str | None] = mapped_column(String(20))  # of newcomers; None: nobody joins
    link_by_email: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)


class SignInAttempt(Base):
    """A sign-in elsewhere that was begun: it is taken once, by the browser that began it."""

    __tablename__ = "sign_in_attempt"
    id: Mapped[str] = id_column()
    tenant_id: Mapped[str] = tenant_column()
    provider_id: Mapped[str] = mapped_column(
        ForeignKey("oidc_provider.id", ondelete="CASCADE"), index=True
    )
    state_digest: Mapped[str] = mapped_column(String(64), unique=True)
    browser_digest: Mapped[str] = mapped_column(String(64))
    sealed: Mapped[str] = mapped_column(Text)  # nonce and PKCE verifier, encrypted
    purpose: Mapped[str] = mapped_column(String(10))  # sign-in, connect, confirm
    return_to: Mapped[str] = mapped_column(Text)
    session_id: Mapped[str | None] = mapped_column(String(32))  # who began it, if signed in
    user_id: Mapped[str | None] = mapped_column(
        ForeignKey("user.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime] = mapped_column(index=True)
