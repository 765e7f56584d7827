"""What browsers are asked with passkeys, and what they answer: Web Authentication, Level 3.

The only home of the library `webauthn`, an extra that takes a second to load: its first use loads
it, in a thread. Pure but for that. `passkeys.py` keeps keys and challenges.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread

from engine.errors import Conflict, InvalidInput, Unauthenticated, Unavailable

CREDENTIAL_MAX = 20_000  # characters of JSON: attestations with certificates are long
WRONG = "This passkey does not fit this account, this site or this moment. Try again."
NO_NAME = (
    "Browsers keep passkeys for a name and an encrypted connection: set server.public_url to an"
    " https address, or open this page as http://localhost."
)
MISSING = "Passkeys need the passkeys extra, which is not installed: install scrubjay[passkeys]."


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """The site that passkeys are for: its host, and the origin of its pages."""

    id: str
    origin: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A passkey that a browser has just made."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    is_synced: bool


def is_installed() -> bool:
    """Whether the library is there."""
    return find_spec("webauthn") is not None


def relying_party(public_url: str, asked: str) -> RelyingParty:
    """The site of `server.public_url`; without one, `localhost` as this request names it.

    `asked` is the request's own base URL, whose Host was checked. `Conflict` where browsers would
    keep no passkey.
    """
    parts = urlsplit(public_url or asked)
    host = (parts.hostname or "").lower()
    is_named = bool(host) and not host.replace(".", "").isdecimal() and ":" not in host
    if not is_named or (parts.scheme != "https" and host != "localhost"):
        raise Conflict(NO_NAME)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    port = "" if parts.port in {None, default} else f":{parts.port}"
    return RelyingParty(host, f"{parts.scheme}://{host}{port}")


def parse(said: str | Mapping[str, Any]) -> dict[str, Any]:
    """A credential as JSON, from a form's field or a body; `InvalidInput` for anything else."""
    found: object = said
    if isinstance(said, str):
        try:
            found = json.loads(said) if len(said) <= CREDENTIAL_MAX else None
        except (ValueError, RecursionError):
            found = None
    if not isinstance(found, Mapping):
        raise InvalidInput("This is not a passkey's answer.", field="credential")
    return dict(found)


def challenge_in(credential: Mapping[str, Any]) -> bytes:
    """The challenge a credential says that it answers; empty where it says none."""
    response = credential.get("response")
    encoded = response.get("clientDataJSON") if isinstance(response, Mapping) else None
    try:
        data = json.loads(decoded(str(encoded)))
        return decoded(data["challenge"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return b""


def id_in(credential: Mapping[str, Any]) -> bytes:
    """The id of the passkey a credential says that it is of; empty where it says none."""
    try:
        return decoded(str(credential.get("rawId")))
    except ValueError:
        return b""


def owner_in(credential: Mapping[str, Any]) -> str:
    """The user a discoverable passkey says that it is of; empty where it says none."""
    response = credential.get("response")
    said = response.get("userHandle") if isinstance(response, Mapping) else None
    try:
        return decoded(said).decode("ascii") if isinstance(said, str) else ""
    except ValueError:
        return "-"


def request_options(
    party: RelyingParty, challenge: bytes, allowed: Sequence[bytes]
) -> dict[str, Any]:
    """What `navigator.credentials.get` takes; without ids, whatever passkey the person chooses."""
    return {
        "challenge": encoded(challenge),
        "rpId": party.id,
        "timeout": 300_000,
        "userVerification": "required",
        "allowCredentials": [{"type": "public-key", "id": encoded(item)} for item in allowed],
    }


def creation_options(
    party: RelyingParty,
    challenge: bytes,
    *,
    user_id: str,
    account: str,
    name: str,
    known: Sequence[bytes],
) -> dict[str, Any]:
    """What `navigator.credentials.create` takes: a discoverable key that verifies its person."""
    return {
        "challenge": encoded(challenge),
        "rp": {"id": party.id, "name": "Scrubjay"},
        "user": {"id": encoded(user_id.encode()), "name": account, "displayName": name},
        # EdDSA, ES256 and RS256 (RFC 9053): between them every authenticator has one.
        "pubKeyCredParams": [{"type": "public-key", "alg": alg} for alg in (-8, -7, -257)],
        "timeout": 300_000,
        "attestation": "none",
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": True,
            "userVerification": "required",
        },
        "excludeCredentials": [{"type": "public-key", "id": encoded(item)} for item in known],
    }


async def check_new(party: RelyingParty, challenge: bytes, credential: Mapping[str, Any]) -> NewKey:
    """A new passkey; `Unauthenticated` where anything about the answer is wrong."""

    def verify() -> NewKey:
        library = _library()
        try:
            made = library.verify_registration_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=party.id,
                expected_origin=party.origin,
                require_user_verification=True,
            )
        except _faults(library):
            raise Unauthenticated(WRONG) from None
        return NewKey(
            made.credential_id,
            made.credential_public_key,
            made.sign_count,
            bool(made.credential_backed_up),
        )

    return await anyio.to_thread.run_sync(verify)


async def check_answer(
    party: RelyingParty,
    challenge: bytes,
    credential: Mapping[str, Any],
    *,
    public_key: bytes,
    sign_count: int,
) -> int:
    """The passkey's new counter; `Unauthenticated` where anything about the answer is wrong.

    A counter that does not grow is a copy's. Synced passkeys have none: 0 stays 0.
    """

    def verify() -> int:
        library = _library()
        try:
            found = library.verify_authentication_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=party.id,
                expected_origin=party.origin,
                credential_public_key=public_key,
                credential_current_sign_count=sign_count,
                require_user_verification=True,
            )
        except _faults(library):
            raise Unauthenticated(WRONG) from None
        return int(found.new_sign_count)

    return await anyio.to_thread.run_sync(verify)


def encoded(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """The bytes of base64url; `ValueError` for anything else."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None


def _library() -> Any:  # noqa: ANN401 (an optional library)
    try:
        import webauthn  # noqa: PLC0415 (an optional extra, slow to import)
    except ImportError:
        raise Unavailable(MISSING) from None
    return webauthn


def _faults(library: Any) -> tuple[type[Exception], ...]:  # noqa: ANN401
    """What the library raises for what strangers send: its own, and what its parsers let through."""
    from webauthn.helpers.exceptions import WebAuthnException  # noqa: PLC0415 (loaded by now)

    del library
    return (WebAuthnException, ValueError, TypeError, KeyError, AttributeError, IndexError)
