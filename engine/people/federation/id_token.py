"""Whether an ID token is what it says: signature, issuer, audience, times, nonce.

The list of OpenID Connect Core 1.0, section 3.1.3.7, wholly: the library checks a part of it, so
every claim is compared here again. Whatever is wrong, `Unauthenticated` says the same; the log has
the reason. Nothing is fetched from an address that a token names.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import Unauthenticated
from engine.people.federation.kinds import REFUSED, SUBJECT_MAX, TENANT_ID

if TYPE_CHECKING:
    import jwt

log = logging.getLogger(__name__)

# Signatures only: whoever has a shared secret could sign, too.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
LEEWAY_S = 60  # between two machines' clocks
TOKEN_MAX = 64 * 1024  # characters: a token with 200 groups has 10,000
# Headers that name a key or where to find one; a token that brings its own key proves nothing.
_OWN_KEY = frozenset({"jwk", "jku", "x5u", "x5c", "crit"})


@dataclass(frozen=True, slots=True)
class ExpectedToken:
    """What a token must say. `tenants`: the directories that a template issuer stands for."""

    issuer: str
    client_id: str
    nonce: str
    tenants: Collection[str] = ()


def validate_id_token(
    token: str, keys: Sequence[jwt.PyJWK], expected: ExpectedToken, *, now: float
) -> dict[str, Any]:
    """The claims of a good token; `Unauthenticated` for any other.

    `keys` are the issuer's. `now` is in seconds since 1970.
    """
    try:
        claims = _signed(token, keys)
        _check(claims, expected, now)
    except _Refused as fault:
        log.info("an ID token was refused", extra={"reason": str(fault)})
        raise Unauthenticated(REFUSED) from None
    return claims


def key_id_of(token: str) -> str:
    """The key id a token names, unchecked; empty where it names none."""
    import jwt  # noqa: PLC0415 (lazy: slow to import, and few sign in)

    try:
        return str(jwt.get_unverified_header(token).get("kid") or "")
    except (jwt.PyJWTError, ValueError, RecursionError):
        return ""


class _Refused(Exception):
    """Why a token is none of ours; for the log."""


def _signed(token: str, keys: Sequence[jwt.PyJWK]) -> dict[str, Any]:
    import jwt  # noqa: PLC0415 (lazy, as above)

    if len(token) > TOKEN_MAX or not token.isascii():
        raise _Refused("not a token")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise _Refused("no header") from None
    if _OWN_KEY & header.keys():
        raise _Refused("a header that brings a key")
    if header.get("alg") not in ALGORITHMS:
        raise _Refused("algorithm")
    if str(header.get("typ") or "JWT").upper() != "JWT":
        raise _Refused("another kind of token")
    key = _key(str(header.get("kid") or ""), str(header["alg"]), keys)
    try:
        claims = jwt.decode(
            token,
            key.key,
            algorithms=[str(header["alg"])],
            options={  # each is checked below, more strictly
                "verify_aud": False,
                "verify_exp": False,
                "verify_iat": False,
                "verify_iss": False,
                "verify_nbf": False,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise _Refused(type(error).__name__) from None
    return dict(claims)


def _key(kid: str, algorithm: str, keys: Sequence[jwt.PyJWK]) -> jwt.PyJWK:
    """The key of this id for this algorithm; without an id, the only one there is."""
    kinds = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
    found = []
    for key in keys:
        said = key._jwk_data  # noqa: SLF001 (the library shows `alg` and `use` nowhere else)
        fits = said.get("kty") == kinds[algorithm[:2]] and said.get("use", "sig") == "sig"
        if fits and said.get("alg", algorithm) == algorithm and kid in {"", key.key_id}:
            found.append(key)
    if len(found) != 1:
        raise _Refused("no key of this id")
    return found[0]


def _check(claims: Mapping[str, Any], expected: ExpectedToken, now: float) -> None:
    if not _is_issuer(claims, expected):
        raise _Refused("issuer")
    audience, party = claims.get("aud"), claims.get("azp")
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or expected.client_id not in named:
        raise _Refused("audience")
    if party != expected.client_id and (party is not None or len(named) > 1):
        raise _Refused("authorized party")
    ends_at, began_at = claims.get("exp"), claims.get("iat")
    if type(ends_at) is not int or ends_at <= now - LEEWAY_S:
        raise _Refused("expired")
    if type(began_at) is not int or began_at > now + LEEWAY_S:
        raise _Refused("issued in the future")
    begins_at = claims.get("nbf", began_at)
    if type(begins_at) is not int or begins_at > now + LEEWAY_S:
        raise _Refused("not valid yet")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_MAX:
        raise _Refused("subject")
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(
        nonce.encode("utf-8", "surrogatepass"), expected.nonce.encode()
    ):
        raise _Refused("nonce")


def _is_issuer(claims: Mapping[str, Any], expected: ExpectedToken) -> bool:
    issuer = claims.get("iss")
    if TENANT_ID not in expected.issuer:
        return issuer == expected.issuer
    directory = claims.get("tid")
    known = {item.lower() for item in expected.tenants}
    if not isinstance(directory, str) or directory.lower() not in known:
        return False
    return issuer == expected.issuer.replace(TENANT_ID, directory)
