"""Second factors: codes of an authenticator app (TOTP, RFC 6238), and recovery codes for its loss.

A code counts once, a step before and after the present one too, because clocks differ. Recovery
codes are shown once, when the app is confirmed, and each works once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets as random
from urllib.parse import quote

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.tables import Factor, Passkey, RecoveryCode
from engine.errors import Conflict, InvalidInput
from engine.secrets import Secrets

STEP_S, DIGITS, DRIFT = 30, 6, 1  # RFC 6238's defaults, which authenticator apps assume
SECRET_BYTES = 20  # RFC 4226, section 4
RECOVERY_CODES = 10
TOTP = "totp"


def totp(secret: bytes, step: int) -> str:
    """The code of a step: 94287082 for RFC 6238's secret at step 1, whose last six digits these are."""
    digest = hmac.new(secret, step.to_bytes(8, "big"), hashlib.sha1).digest()
    at = digest[-1] & 0x0F
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


async def begin(
    session: AsyncSession, secrets: Secrets, user_id: str, *, account: str
) -> tuple[str, str]:
    """A new app's secret (base32) and the URL its QR code shows; it counts once it is confirmed."""
    known = await _factor(session, user_id)
    if known is not None and known.confirmed_at is not None:
        raise Conflict("This account has an authenticator app: remove that first.")
    if known is not None:
        await session.delete(known)
        await session.flush()
    raw = random.token_bytes(SECRET_BYTES)
    text = base64.b32encode(raw).decode()
    session.add(
        Factor(user_id=user_id, kind=TOTP, secret=secrets.encrypt("factors", f"{user_id}:{text}"))
    )
    label = quote(f"Scrubjay:{account}")
    return text, f"otpauth://totp/{label}?secret={text}&issuer=Scrubjay"


async def confirm(session: AsyncSession, secrets: Secrets, user_id: str, code: str) -> list[str]:
    """Take a first code of a new app; returns the recovery codes, which are shown this once."""
    known = await _factor(session, user_id)
    if known is None or known.confirmed_at is not None:
        raise Conflict("There is no new authenticator app to confirm: begin with one.")
    if not _take(secrets, known, code):
        raise InvalidInput("This is not the app's present code.", field="code")
    known.confirmed_at = clock.now()
    codes = [_new_code() for _ in range(RECOVERY_CODES)]
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    session.add_all(RecoveryCode(user_id=user_id, digest=_digest(item)) for item in codes)
    await session.flush()
    return codes


async def remove(session: AsyncSession, user_id: str) -> bool:
    """Forget the app and its recovery codes; whether there was one."""
    known = await _factor(session, user_id)
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    if known is not None:
        await session.delete(known)
    return known is not None


async def forget_passkeys(session: AsyncSession, user_id: str) -> int:
    """Delete every passkey of an account; how many. The caller audits."""
    gone = delete(Passkey).where(Passkey.user_id == user_id).returning(Passkey.id)
    return len(list(await session.scalars(gone)))


async def is_enrolled(session: AsyncSession, user_id: str) -> bool:
    """Whether an account has a confirmed second factor."""
    known = select(Factor.id).where(
        Factor.user_id == user_id, Factor.kind == TOTP, Factor.confirmed_at.is_not(None)
    )
    return await session.scalar(known) is not None


async def codes_left(session: AsyncSession, user_id: str) -> int:
    """How many recovery codes are unused."""
    unused = select(func.count()).where(
        RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None)
    )
    return int(await session.scalar(unused) or 0)


async def take_code(session: AsyncSession, secrets: Secrets, user_id: str, code: str) -> str:
    """How a code proves who somebody is (`otp`, or `recovery`), used up; empty where it doesn't."""
    plain = "".join(code.split()).lower()
    known = await _factor(session, user_id)
    if known is None or known.confirmed_at is None or not plain:
        return ""
    if _take(secrets, known, plain):
        return "otp"
    used = (
        update(RecoveryCode)
        .where(
            RecoveryCode.user_id == user_id,
            RecoveryCode.digest == _digest(plain),
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=clock.now())
        .returning(RecoveryCode.id)
    )
    return "recovery" if await session.scalar(used) else ""


async def _factor(session: AsyncSession, user_id: str) -> Factor | None:
    return await session.scalar(
        select(Factor).where(Factor.user_id == user_id, Factor.kind == TOTP).with_for_update()
    )


def _take(secrets: Secrets, factor: Factor, code: str) -> bool:
    """Whether it is a code of now that was not taken before; then it is taken."""
    owner, _, text = secrets.decrypt("factors", factor.secret).partition(":")
    if owner != factor.user_id:  # a secret that was put into another's row
        return False
    secret = base64.b32decode(text)
    now = int(clock.now().timestamp()) // STEP_S
    for step in range(now - DRIFT, now + DRIFT + 1):
        is_right = hmac.compare_digest(totp(secret, step).encode(), code.strip().encode())
        if is_right and step > factor.last_step:
            factor.last_step = step
            return True
    return False


def _new_code() -> str:
    """Fifty random bits in ten letters and digits that are not mistaken for one another."""
    alphabet = "abcdefghjkmnpqrstvwxyz0123456789"
    return "".join(random.choice(alphabet) for _ in range(10))


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "surrogateescape")).hexdigest()
