"""The short-lived access token of a session: a JWT (RFC 9068) that only carries the session's id.

It says who signed in and for how long the token itself may be shown, not what somebody may do:
that is looked up with the session, at every request. The library is loaded by the first token.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from engine import clock
from engine.errors import Unauthenticated
from engine.secrets import Secrets

log = logging.getLogger(__name__)

LIFE = timedelta(minutes=10)
AUDIENCE = "scrubjay"
ADMIN = "scrubjay-admin"  # of a token made by a step-up: admin verbs take no other
OPERATOR = (
    "scrubjay-operator"  # of who runs the installation: `scrubjay admin serve` alone takes it
)
TYPE = "at+jwt"
KID = "sj-"  # what the ids of our keys begin with
ALGORITHM = "HS256"
CLAIMS = ("aud", "exp", "iat", "iss", "sid", "sub", "tid")
TOKEN_MAX = 4096  # characters
REFUSED = "This access token is wrong, expired or ended. Sign in again."


@dataclass(frozen=True, slots=True)
class SessionClaims:
    """Whose session an access token names."""

    session_id: str
    user_id: str
    tenant_id: str
    audience: str = AUDIENCE

    @property
    def admin(self) -> bool:
        """Whether a step-up made it."""
        return self.audience == ADMIN


def sign(secrets: Secrets, issuer: str, who: SessionClaims) -> tuple[str, datetime]:
    """An access token for a session, and when it ends."""
    import jwt  # noqa: PLC0415 (lazy: slow to import, and few sign in)

    now = clock.now()
    claims = {
        "iss": issuer,
        "aud": who.audience,
        "sub": who.user_id,
        "tid": who.tenant_id,
        "sid": who.session_id,
        "iat": int(now.timestamp()),
        "exp": int((now + LIFE).timestamp()),
    }
    headers = {"kid": KID + secrets.key_id, "typ": TYPE}
    key = secrets.key("sessions") or b""
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers=headers), now + LIFE


def verify(
    secrets: Secrets, issuer: str, token: str, *, audiences: Sequence[str] = (AUDIENCE, ADMIN)
) -> SessionClaims:
    """The session a token names; `Unauthenticated` says the same for every fault."""
    import jwt  # noqa: PLC0415 (lazy, as above)

    header = _header(token)
    kid = str(header.get("kid", ""))
    key = secrets.key("sessions", kid.removeprefix(KID)) if len(kid) > len(KID) else None
    if (
        key is None
        or not is_ours(token)
        or header.get("typ") != TYPE
        or header.get("alg") != ALGORITHM
    ):
        raise Unauthenticated(REFUSED)
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=list(audiences),
            issuer=issuer,
            options={"require": list(CLAIMS), "verify_exp": False, "verify_iat": False},
        )
        ends_at, began_at = claims["exp"], claims["iat"]
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        log.info("an access token was refused", extra={"reason": type(error).__name__})
        raise Unauthenticated(REFUSED) from None
    now = clock.now().timestamp()
    if type(ends_at) is not int or type(began_at) is not int or ends_at <= now:
        raise Unauthenticated(REFUSED)
    return SessionClaims(
        str(claims["sid"]), str(claims["sub"]), str(claims["tid"]), str(claims["aud"])
    )


def is_ours(token: str) -> bool:
    """Whether a bearer token says that it is an access token of a session here."""
    return str(_header(token).get("kid", "")).startswith(KID)


def _header(token: str) -> dict[str, object]:
    head, dot, _ = token.partition(".")
    if not dot or len(token) > TOKEN_MAX or not token.isascii():
        return {}
    try:
        found = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
