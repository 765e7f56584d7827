"""Signing in with an account elsewhere: `engine.people.federation` is a `Federation`.

The authorization code flow with PKCE, state and nonce (OAuth 2.0 Security BCP, RFC 9700). An
attempt is a row: it belongs to one provider and one browser, lasts ten minutes and is taken once,
before the code is exchanged. The tenant is the provider's, whatever a token says.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
import secrets as random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import quote, urlencode

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import auditing, gate
from engine.db.session import Database
from engine.db.tables import Identity, OidcProvider, SignInAttempt, Tenant, User, UserSession
from engine.domain import Principal
from engine.errors import (
    Conflict,
    Forbidden,
    NotFound,
    RateLimited,
    SignInFailed,
    StepUpRequired,
    Unauthenticated,
    Unavailable,
)
from engine.limits import Limits
from engine.mail.mail import Mail
from engine.net.calls import JsonReply, call
from engine.people import factors, members, sessions
from engine.people.federation import accounts, linking, providers
from engine.people.federation.id_token import ExpectedToken, key_id_of, validate_id_token
from engine.people.federation.kinds import CHATS, OAUTH, REFUSED, ProviderProfile, profile_of
from engine.people.federation.linking import Arrival
from engine.people.federation.metadata import MetadataCache, ProviderMetadata
from engine.people.federation.registry import NO_PUBLIC_URL, SignInWay, metadata_of
from engine.people.sessions import SignedIn, SignInClient
from engine.people.sign_in import SignIn
from engine.secrets import Secrets

log = logging.getLogger(__name__)

Purpose = Literal["confirm", "connect", "sign-in"]

LIFE = timedelta(minutes=10)
ATTEMPTS_BURST, ATTEMPTS_PER_S = 30, 1 / 6  # of a network
REFUSAL_NOTED_S = 60.0
NOT_YET = (
    "This account can't sign in here yet. If you have a password here, sign in with it once and"
    " connect this account on your account page. Else ask an admin to invite you."
)
STALE = "This sign-in was begun elsewhere, was finished, or is too old. Start again."
_CODE = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True, slots=True)
class SignInBegun:
    """Where to send a browser, and what it keeps meanwhile."""

    url: str
    cookie: str
    secret: str

    def __repr__(self) -> str:
        return f"SignInBegun(cookie={self.cookie!r})"


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """What a provider sent back with the browser; all of it is a stranger's."""

    state: str
    code: str = ""
    issuer: str | None = None
    error: str = ""
    browser: str = ""

    def __repr__(self) -> str:
        return f"ProviderAnswer(error={self.error!r})"


@dataclass(frozen=True, slots=True)
class SignInFinished:
    """What came of it: a session, or the account of a chat platform that reads as one."""

    return_to: str
    purpose: Purpose
    signed_in: SignedIn | None = None
    tenant_id: str = ""
    identity_id: str = ""


@dataclass(frozen=True, slots=True)
class ConnectedAccount:
    """An account elsewhere that a member signs in with."""

    id: str
    provider: str
    name: str


class Federation:
    """Identity providers of tenants, and signing in by them."""

    def __init__(
        self,
        db: Database,
        secrets: Secrets,
        limits: Limits,
        mail: Mail,
        sign_in: SignIn,
        *,
        public_url: str,
        allow_private: bool,
        issuer: str,
    ) -> None:
        self._db = db
        self._secrets = secrets
        self._limits = limits
        self._mail = mail
        self._sign_in = sign_in
        self._public_url = public_url
        self._allow_private = allow_private
        self._issuer = issuer
        self._cache = MetadataCache(allow_private=allow_private)

    # The flow

    async def begin(
        self,
        tenant_key: str,
        key: str,
        client: SignInClient,
        *,
        return_to: str,
        purpose: Purpose = "sign-in",
        principal: Principal | None = None,
    ) -> SignInBegun:
        """Where to send a browser that wants to sign in by a provider.

        With `principal` to connect an account to theirs, or to confirm who they are.
        """
        if not self._public_url:
            raise NotFound(NO_PUBLIC_URL)
        await self._take_attempt(client)
        row, tenant = await self._db.run_read(
            lambda session: providers.find_public(session, tenant_key, key)
        )
        if purpose != "sign-in":
            await self._require_own(principal, row, purpose)
        found = await metadata_of(row, self._cache)
        state, browser = random.token_urlsafe(32), random.token_urlsafe(32)
        nonce, verifier = random.token_urlsafe(32), random.token_urlsafe(48)
        attempt = SignInAttempt(
            tenant_id=row.tenant_id,
            provider_id=row.id,
            state_digest=_digest(state),
            browser_digest=_digest(browser),
            sealed=self._secrets.encrypt("oauth-state", json.dumps([nonce, verifier])),
            purpose=purpose,
            return_to=return_to,
            session_id=principal.session_id if principal is not None else None,
            user_id=principal.user_id if principal is not None else None,
            expires_at=clock.now() + LIFE,
        )

        async def commit(session: AsyncSession) -> None:
            await session.execute(
                delete(SignInAttempt).where(SignInAttempt.expires_at <= clock.now())
            )
            session.add(attempt)

        await self._db.run_write(commit)
        asked = {
            "response_type": "code",
            "client_id": row.client_id,
            "redirect_uri": providers.redirect_uri(self._public_url, tenant.key, row.key),
            "scope": row.scopes,
            "state": state,
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
        }
        if row.kind not in OAUTH:
            asked["nonce"] = nonce
        if purpose == "confirm":
            asked |= {"prompt": "login", "max_age": "0"}
        if row.kind == "google" and len(row.allowed_domains) == 1:
            asked["hd"] = row.allowed_domains[0]  # what the page offers; the token decides
        sign = "&" if "?" in found.authorization_endpoint else "?"
        url = f"{found.authorization_endpoint}{sign}{urlencode(asked, quote_via=quote)}"
        return SignInBegun(url, cookie_of(state), browser)

    async def finish(
        self, tenant_key: str, key: str, answered: ProviderAnswer, client: SignInClient
    ) -> SignInFinished:
        """Take what a provider sent back: a session, a connected account, a confirmation.

        `SignInFailed` where it does not belong to this browser, provider or moment;
        `Unauthenticated` for a token that is not valid; `Forbidden` where it is nobody's account.
        """
        await self._take_attempt(client)

        async def take(
            session: AsyncSession,
        ) -> tuple[OidcProvider, Tenant, SignInAttempt | None]:
            row, tenant = await providers.find_public(session, tenant_key, key)
            taken = (
                delete(SignInAttempt)
                .where(
                    SignInAttempt.provider_id == row.id,
                    SignInAttempt.state_digest == _digest(answered.state),
                    SignInAttempt.browser_digest == _digest(answered.browser),
                )
                .returning(SignInAttempt)
            )
            return row, tenant, (await session.scalars(taken)).one_or_none()

        row, tenant, attempt = await self._db.run_write(take)
        if attempt is None or attempt.expires_at <= clock.now():
            raise SignInFailed(STALE)
        if answered.error or not answered.code:
            said = answered.error if _CODE.fullmatch(answered.error) else "no reason given"
            raise SignInFailed(f"{row.name} did not sign you in ({said}). Start again.")
        claims, issuer = await self._claims(row, tenant, attempt, answered)
        who = profile_of(providers.rules_of(row), issuer, claims)
        if attempt.purpose == "confirm":
            return await self._confirmed(row, attempt, who, claims)
        return await self._arrived(row, attempt, who, claims, client)

    async def _claims(
        self, row: OidcProvider, tenant: Tenant, attempt: SignInAttempt, answered: ProviderAnswer
    ) -> tuple[Mapping[str, Any], str]:
        """Checked claims of who came, and their issuer."""
        nonce, verifier = json.loads(self._secrets.decrypt("oauth-state", attempt.sealed))
        found = await metadata_of(row, self._cache)
        wrong = answered.issuer is not None and answered.issuer != found.issuer
        if (wrong and "{" not in found.issuer) or (found.names_issuer and not answered.issuer):
            raise SignInFailed(STALE)  # another provider's answer: RFC 9207
        form = {
            "grant_type": "authorization_code",
            "code": answered.code,
            "redirect_uri": providers.redirect_uri(self._public_url, tenant.key, row.key),
            "code_verifier": verifier,
        }
        tokens = await self._exchange(row, found, form)
        access_token = tokens.get("access_token")
        access_token = access_token if isinstance(access_token, str) else ""
        kind = providers.rules_of(row).kind
        if kind in OAUTH:
            claims: Mapping[str, Any] = await accounts.claims_of(
                kind,
                row.issuer,
                row.api_url,
                access_token,
                wants_groups=bool(row.group_rules),
                allow_private=self._allow_private,
            )
            return claims, row.issuer
        token = tokens.get("id_token")
        if not isinstance(token, str):
            raise Unauthenticated(REFUSED)
        keys = await self._cache.keys(row.issuer, key_id_of(token))
        expected = ExpectedToken(found.issuer, row.client_id, nonce, row.allowed_tenants)
        claims = validate_id_token(token, keys, expected, now=clock.now().timestamp())
        if "email" not in claims and found.userinfo_endpoint and kind != "entra" and access_token:
            claims = await self._with_userinfo(found, claims, access_token)
        return claims, str(claims["iss"])

    async def _exchange(
        self, row: OidcProvider, found: ProviderMetadata, form: dict[str, str]
    ) -> dict[str, Any]:
        secret = providers.secret_of(self._secrets, row)
        auth = None
        if not secret:
            form = form | {"client_id": row.client_id}
        elif "client_secret_post" in found.token_auth_methods:
            # Rather than in a header: not every provider decodes there as RFC 6749, 2.3.1 says.
            form = form | {"client_id": row.client_id, "client_secret": secret}
        else:
            auth = (quote(row.client_id, safe=""), quote(secret, safe=""))
        reply = await self._call(found.token_endpoint, form=form, auth=auth)
        if reply.status >= 500:
            raise Unavailable(f"{row.name} does not answer: try again.")
        if reply.status != 200 or not isinstance(reply.body, dict) or "error" in reply.body:
            said = reply.body.get("error", "") if isinstance(reply.body, dict) else ""
            reason = said if isinstance(said, str) and _CODE.fullmatch(said) else str(reply.status)
            log.warning("a code was not exchanged", extra={"provider": row.key, "reason": reason})
            raise SignInFailed(
                f"{row.name} did not take the sign-in's code ({reason}). Start again."
            )
        return reply.body

    async def _with_userinfo(
        self, found: ProviderMetadata, claims: Mapping[str, Any], access_token: str
    ) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {access_token}"}
        reply = await self._call(found.userinfo_endpoint, headers=headers)
        said = reply.body
        if reply.status != 200 or not isinstance(said, dict):
            return claims
        if said.get("sub") != claims["sub"]:  # OpenID Connect Core 1.0, 5.3.2
            raise Unauthenticated(REFUSED)
        return said | dict(claims)

    async def _arrived(
        self,
        row: OidcProvider,
        attempt: SignInAttempt,
        who: ProviderProfile,
        claims: Mapping[str, Any],
        client: SignInClient,
    ) -> SignInFinished:
        purpose: Purpose = "connect" if attempt.purpose == "connect" else "sign-in"
        teams = [
            str(claims.get(f"https://slack.com/{name}")) for name in ("team_id", "enterprise_id")
        ]

        async def commit(session: AsyncSession) -> tuple[Arrival, SignedIn | None]:
            if row.kind == "slack" and not await linking.knows_workspace(session, row, teams):
                return Arrival(), None
            if purpose == "connect":
                principal = await self._principal(session, attempt)
                return await linking.connect(session, self._mail, row, who, principal), None
            arrival = await linking.arrive(session, row, who)
            if not arrival.user_id:
                return arrival, None
            opened = await self._sign_in.open(
                session, row.tenant_id, arrival.user_id, "browser", [row.kind], client
            )
            return arrival, opened

        arrival, opened = await self._db.run_write(commit)
        if opened is not None:
            device = self._sign_in.device_of(arrival.user_id, client)
            opened = replace(opened, device=device)
        elif not arrival.user_id and not arrival.identity_id:
            await self._note_refusal(row, who, client)
            raise Forbidden(NOT_YET)
        return SignInFinished(
            attempt.return_to, purpose, opened, row.tenant_id, arrival.identity_id
        )

    async def _confirmed(
        self,
        row: OidcProvider,
        attempt: SignInAttempt,
        who: ProviderProfile,
        claims: Mapping[str, Any],
    ) -> SignInFinished:
        """A confirmation: the same account, which the provider has just asked to sign in."""
        said = claims.get("auth_time")
        begun = (attempt.expires_at - LIFE).timestamp()
        if type(said) is not int or said < begun - 60:
            raise Unauthenticated(
                f"{row.name} does not say that you have just signed in there. Set a password, and"
                " confirm with that."
            )

        async def commit(session: AsyncSession) -> SignedIn:
            principal = await self._principal(session, attempt)
            arrival = await linking.arrive(session, row, who)
            if arrival.user_id != attempt.user_id:
                raise Forbidden("This is another account than the one you are signed in with.")
            session_id = attempt.session_id or ""
            detail = {"method": row.kind}
            await gate.audit(session, principal, "session.step_up", session_id, detail)
            return await sessions.step_up(
                session, self._secrets, self._issuer, session_id, row.kind
            )

        return SignInFinished(attempt.return_to, "confirm", await self._db.run_write(commit))

    # Accounts of a member

    async def connected(self, principal: Principal) -> list[ConnectedAccount]:
        """The accounts elsewhere that the principal signs in with."""

        async def find(session: AsyncSession) -> list[ConnectedAccount]:
            known = await session.scalars(
                select(OidcProvider).where(OidcProvider.tenant_id == principal.tenant_id)
            )
            names = {linking.identity_provider(row.kind, row.issuer): row.name for row in known}
            rows = await session.scalars(
                select(Identity)
                .where(
                    Identity.tenant_id == principal.tenant_id,
                    Identity.user_id == principal.user_id,
                    Identity.provider.not_in(CHATS),
                    ~Identity.provider.startswith(linking.SCIM),
                )
                .order_by(Identity.id)
            )
            return [
                ConnectedAccount(row.id, names.get(row.provider, "Single sign-on"), row.name)
                for row in rows
            ]

        return await self._db.run_read(find)

    async def disconnect(self, principal: Principal, id: str) -> None:  # noqa: A002
        """Forget an account that the principal signs in with; not the only way in they have."""
        if principal.session_id is None:
            raise StepUpRequired("Sign in to disconnect an account.")
        gate.require_assured(principal, "disconnect an account")
        mine = await self.connected(principal)
        if id not in {item.id for item in mine}:
            raise NotFound("No such account of yours.")

        async def commit(session: AsyncSession) -> None:
            user = await session.get_one(User, principal.user_id or "")
            if user.password_hash is None and len(mine) < 2:
                raise Conflict("This is the only way you can sign in: set a password first.")
            await session.execute(delete(Identity).where(Identity.id == id))
            await gate.audit(session, principal, "identity.unlink", user.id, {"identity": id})

        await self._db.run_write(commit)

    async def ways_to_confirm(self, principal: Principal) -> list[SignInWay]:
        """Providers by which the principal can confirm who they are: where nothing else can."""

        async def find(session: AsyncSession) -> list[SignInWay]:
            user = await session.get_one(User, principal.user_id or "")
            if user.password_hash or await factors.is_enrolled(session, user.id):
                return []
            tenant = await session.get_one(Tenant, principal.tenant_id)
            rows = await session.scalars(
                select(OidcProvider).where(
                    OidcProvider.tenant_id == tenant.id,
                    OidcProvider.kind.not_in(OAUTH | CHATS),
                )
            )
            mine = set(
                await session.scalars(
                    select(Identity.provider).where(
                        Identity.tenant_id == tenant.id, Identity.user_id == user.id
                    )
                )
            )
            return [
                SignInWay(row.key, row.name, f"/account/confirm/{row.key}")
                for row in rows
                if linking.identity_provider(row.kind, row.issuer) in mine
            ]

        return await self._db.run_read(find)

    async def tenant_key(self, principal: Principal) -> str:
        """The key of the principal's tenant, for addresses."""
        return await self._db.run_read(lambda session: _tenant_key(session, principal.tenant_id))

    # Parts

    async def _require_own(
        self, principal: Principal | None, row: OidcProvider, purpose: Purpose
    ) -> None:
        if principal is None or principal.session_id is None:
            raise Unauthenticated("Sign in first.")
        if principal.tenant_id != row.tenant_id:
            raise NotFound("No such way to sign in.")
        if purpose == "connect":
            gate.require_assured(principal, "connect an account")
            return
        if row.key not in {item.key for item in await self.ways_to_confirm(principal)}:
            raise NotFound("Confirm with your password, or a code of your app.")

        async def check(session: AsyncSession) -> None:
            alone = replace(principal, user_id=None)  # as anybody else of the tenant would be asked
            await members.require_whole_account(session, alone, principal.user_id or "")

        await self._db.run_read(check)

    @staticmethod
    async def _principal(session: AsyncSession, attempt: SignInAttempt) -> Principal:
        """Who began an attempt, if they are still signed in."""
        row = await session.get(UserSession, attempt.session_id or "")
        if row is None or row.user_id != attempt.user_id or sessions.is_over(row, clock.now()):
            raise Unauthenticated(sessions.ENDED)
        found = await gate.principal_of_user(session, row.tenant_id, row.user_id)
        return replace(found, session_id=row.id)

    async def _call(
        self,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> JsonReply:
        return await call(
            url, form=form, headers=headers, auth=auth, allow_private=self._allow_private
        )

    async def _take_attempt(self, client: SignInClient) -> None:
        if not client.address:
            return
        wait_s = await self._limits.take(
            f"federation:{client.address}", rate_per_s=ATTEMPTS_PER_S, burst=ATTEMPTS_BURST
        )
        if wait_s:
            raise RateLimited("Too many attempts to sign in: wait a little.", retry_after_s=wait_s)

    async def _note_refusal(
        self, row: OidcProvider, who: ProviderProfile, client: SignInClient
    ) -> None:
        """One audit row a minute and account."""
        of = _digest(f"{row.id}:{who.subject}")
        first = await self._limits.acquire(
            f"federation:noted:{of}", random.token_hex(8), lease_s=REFUSAL_NOTED_S
        )
        if not first:
            return
        detail = {"provider": row.key, "subject": who.subject, "address": client.address}

        async def commit(session: AsyncSession) -> None:
            await auditing.append(
                session, row.tenant_id, "system", "session.refused", row.id, detail
            )

        await self._db.run_write(commit)


def cookie_of(state: str) -> str:
    """The name of the cookie of an attempt, so that two tabs can sign in at once."""
    return f"sj_oauth_{_digest(state)[:16]}"


async def _tenant_key(session: AsyncSession, tenant_id: str) -> str:
    return (await session.get_one(Tenant, tenant_id)).key


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
