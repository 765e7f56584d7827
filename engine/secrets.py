"""Secrets: the installation's keys, and what is encrypted or signed with them.

Every purpose has its own key, derived with HKDF-SHA256, so that a signature made for one thing
is worth nothing for another. What is stored names its key by id: after `rotate_key_file` the old
keys still open what they closed, and `renew` closes it with the newest. Nothing here shows a key,
nor a text it was given, in a repr or an error.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from engine import clock
from engine.errors import ConfigurationError, InvalidInput, Unauthenticated

Purpose = Literal[
    "credentials", "cursors", "factors", "mail", "oauth-state", "sessions", "viewer-links"
]

KEY_CHARACTERS = 32  # a configured key is at least this long: `openssl rand -base64 32`
NONCE_BYTES = 12  # AES-GCM, NIST SP 800-38D
TAG_BYTES = 16  # of a signature: half of HMAC-SHA256, RFC 2104 section 5


class Secrets:
    """The keys of one installation, newest first."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys or any(len(key) < KEY_CHARACTERS for key in keys):
            raise ConfigurationError(
                f"system.secret_key must have at least {KEY_CHARACTERS} random characters; create "
                "one with `openssl rand -base64 32`."
            )
        self._keys = {_key_id(key): key.encode() for key in keys}
        self.key_id = next(iter(self._keys))

    def __repr__(self) -> str:
        return f"Secrets(key_id={self.key_id!r}, keys={len(self._keys)})"

    def encrypt(self, purpose: Purpose, text: str, *, bound: str = "") -> str:
        """`text` under the newest key, for storing; only `decrypt` for the same purpose opens it.

        `bound` names where it is kept (tenant, table, row): copied elsewhere it does not open.
        """
        nonce = os.urandom(NONCE_BYTES)
        cipher = AESGCM(self._derived(self.key_id, purpose, "encrypt"))
        sealed = cipher.encrypt(nonce, text.encode(), _associated(purpose, bound))
        return f"v1.{self.key_id}.{_to_text(nonce + sealed)}"

    def decrypt(self, purpose: Purpose, stored: str, *, bound: str = "") -> str:
        """What was encrypted for there, under any key still known."""
        try:
            version, key_id, body = stored.split(".")
            raw = _to_bytes(body)
        except ValueError as error:
            raise InvalidInput("A stored secret is damaged; enter it again.") from error
        if version != "v1" or key_id not in self._keys:
            raise ConfigurationError(
                f"A stored secret needs the key {key_id[:16]!r}, which system.secret_key lacks: "
                "add the previous key to it, or enter the secret again."
            )
        cipher = AESGCM(self._derived(key_id, purpose, "encrypt"))
        try:
            plain = cipher.decrypt(
                raw[:NONCE_BYTES], raw[NONCE_BYTES:], _associated(purpose, bound)
            )
        except (InvalidTag, ValueError) as error:
            raise InvalidInput("A stored secret is damaged; enter it again.") from error
        return plain.decode()

    def renew(self, purpose: Purpose, stored: str, *, bound: str = "") -> str:
        """The same secret under the newest key; unchanged where it is already."""
        if stored.startswith(f"v1.{self.key_id}."):
            return stored
        return self.encrypt(purpose, self.decrypt(purpose, stored, bound=bound), bound=bound)

    def sign(self, purpose: Purpose, payload: str, *, expires_at: datetime | None = None) -> str:
        """`payload`, readable by anyone, with proof that it is ours; fit for a URL."""
        until = 0 if expires_at is None else int(expires_at.timestamp())
        head = f"{self.key_id}.{until:x}.{_to_text(payload.encode())}"
        return f"{head}.{_to_text(self._signature(self.key_id, purpose, head))}"

    def verify(self, purpose: Purpose, signed: str) -> str:
        """The payload; raises `Unauthenticated` where it is not ours or its time is over."""
        try:
            head, signature = signed.rsplit(".", 1)
            key_id, until, body = head.split(".")
            given = _to_bytes(signature)
            expires_at = datetime.fromtimestamp(int(until, 16), UTC)
            payload = _to_bytes(body).decode()
        except (ValueError, OverflowError, OSError) as error:
            raise Unauthenticated("This link or token is not valid.") from error
        if key_id not in self._keys or not hmac.compare_digest(
            given, self._signature(key_id, purpose, head)
        ):
            raise Unauthenticated("This link or token is not valid.")
        if int(until, 16) and expires_at <= clock.now():
            raise Unauthenticated("This link or token has expired; ask for a new one.")
        return payload

    def key(self, purpose: Purpose, key_id: str = "") -> bytes | None:
        """A key for a library that signs by itself; None for an id that is not known here."""
        chosen = key_id or self.key_id
        return self._derived(chosen, purpose, "sign") if chosen in self._keys else None

    def tag(self, purpose: Purpose, text: str) -> str:
        """Proof that `text` is ours, in 22 characters fit for a URL."""
        return _to_text(self._signature(self.key_id, purpose, text))

    def is_tag(self, purpose: Purpose, text: str, tag: str) -> bool:
        """Whether `tag` is the proof of `text`, under any key still known."""
        found = [_to_text(self._signature(key_id, purpose, text)) for key_id in self._keys]
        return any(hmac.compare_digest(tag.encode(), ours.encode()) for ours in found)

    def _signature(self, key_id: str, purpose: str, head: str) -> bytes:
        key = self._derived(key_id, purpose, "sign")
        return hmac.new(key, head.encode(), hashlib.sha256).digest()[:TAG_BYTES]

    def _derived(self, key_id: str, purpose: str, use: str) -> bytes:
        info = f"scrubjay/{use}/{purpose}".encode()
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(
            self._keys[key_id]
        )


def payload_of(signed: str) -> str:
    """What was signed, unchecked: only for what is checked in another way. Empty if there is none."""
    try:
        _, _, body, _ = signed.split(".")
        return _to_bytes(body).decode()
    except ValueError:
        return ""


def parse_keys(setting: str) -> list[str]:
    """The keys in `system.secret_key`: white space or commas between them, newest first."""
    return setting.replace(",", " ").split()


def load_key_file(path: Path) -> Secrets:
    """The keys in a file; it is made, readable by its owner only, where it is missing.

    Two processes that start together end up with the same key.
    """
    try:
        return Secrets(parse_keys(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = _write_private(path, [_new_key()])
    try:
        os.link(new, path)  # unlike a rename, fails where another process was faster
    except FileExistsError:
        pass
    finally:
        new.unlink()
    return Secrets(parse_keys(path.read_text(encoding="utf-8")))


def rotate_key_file(path: Path) -> Secrets:
    """The keys with a new one in front, saved; stored secrets are then to be renewed."""
    keys = [_new_key(), *parse_keys(path.read_text(encoding="utf-8"))]
    _write_private(path, keys).replace(path)
    return Secrets(keys)


def _associated(purpose: str, bound: str) -> bytes:
    """What AES-GCM authenticates besides; without a place as it was before there were any."""
    return f"{purpose}|{bound}".encode() if bound else purpose.encode()


def _write_private(path: Path, keys: Sequence[str]) -> Path:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".key-")  # mode 0600
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 (it is open already)
        file.write("\n".join(keys) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return Path(name)


def _new_key() -> str:
    return secrets.token_urlsafe(32)


def _key_id(key: str) -> str:
    derived = HKDF(algorithm=hashes.SHA256(), length=4, salt=None, info=b"scrubjay/key-id")
    return derived.derive(key.encode()).hex()


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _to_bytes(text: str) -> bytes:
    """Of one text only: the spare bits of a last letter must be as `_to_text` sets them."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if _to_text(raw) != text:
        raise ValueError("not as we write base64")
    return raw
