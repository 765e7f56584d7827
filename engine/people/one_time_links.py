"""One-time links: a secret that lets somebody set a password, once, for a while.

Only its digest is kept. Making a link ends the earlier ones for the same purpose, and one made for
an address ends when the address changes. The secret goes into the fragment of a URL, which no
server sees and no log keeps; the page sends it by a form.
"""

from __future__ import annotations

import hashlib
import secrets as random
from datetime import timedelta
from typing import Literal

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.tables import OneTimeLink, User
from engine.errors import LinkExpired

LinkPurpose = Literal["owner", "reset", "verify", "change"]

LIFE: dict[LinkPurpose, timedelta] = {
    "owner": timedelta(hours=1),
    "reset": timedelta(hours=1),
    "verify": timedelta(days=2),
    "change": timedelta(days=2),
}
PREFIX = "sj_link_"
EXPIRED = "This link was used, was replaced by a newer one, or is too old. Ask for a new one."


async def make_link(
    session: AsyncSession,
    tenant_id: str,
    user: User,
    purpose: LinkPurpose,
    *,
    mailed: bool = False,
    new_email: str = "",
) -> str:
    """A new link's secret, which is shown this once, or `mailed` to the account's address.

    One to change the address is mailed to the `new_email`.
    """
    await end_links(session, user.id, purpose)
    secret = PREFIX + random.token_urlsafe(32)
    session.add(
        OneTimeLink(
            tenant_id=tenant_id,
            user_id=user.id,
            purpose=purpose,
            digest=_digest(secret),
            email=user.email or "",
            mailed=mailed,
            new_email=new_email,
            expires_at=clock.now() + LIFE[purpose],
        )
    )
    await session.flush()
    return secret


async def redeem_link(
    session: AsyncSession, secret: str, *purposes: LinkPurpose
) -> tuple[OneTimeLink, User]:
    """Use a link up, in the transaction of what it is for; `LinkExpired` for any that is no good."""
    now = clock.now()
    used = (
        update(OneTimeLink)
        .where(
            OneTimeLink.digest == _digest(secret.strip()),
            OneTimeLink.purpose.in_(purposes),
            OneTimeLink.used_at.is_(None),
            OneTimeLink.expires_at > now,
        )
        .values(used_at=now)
        .returning(OneTimeLink)
    )
    link = (await session.scalars(used)).one_or_none()
    user = None if link is None else await session.get(User, link.user_id)
    if link is None or user is None or not user.active or link.email != (user.email or ""):
        raise LinkExpired(EXPIRED)
    return link, user


async def find_link(session: AsyncSession, secret: str) -> OneTimeLink | None:
    """A link that can be used now, left as it is."""
    return await session.scalar(
        select(OneTimeLink).where(
            OneTimeLink.digest == _digest(secret.strip()),
            OneTimeLink.used_at.is_(None),
            OneTimeLink.expires_at > clock.now(),
        )
    )


async def end_links(session: AsyncSession, user_id: str, *purposes: LinkPurpose) -> None:
    """Make a user's unused links for these purposes worthless."""
    await session.execute(
        delete(OneTimeLink).where(
            OneTimeLink.user_id == user_id,
            OneTimeLink.purpose.in_(purposes),
            OneTimeLink.used_at.is_(None),
        )
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
