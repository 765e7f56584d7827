"""ACL tokens: what a document asks for and a principal holds, and how a set of them is stored.

A token is plain text of the closed alphabet `[a-z0-9:_-]`, so it means the same in SQL, in the
index and in a log line. Everything is checked when it is written; nothing is when it is read.
`engine.access` hands these names on: import them from there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from engine.clock import new_id
from engine.db.tables import Acl, AclToken
from engine.errors import InvalidInput

TENANT = "tenant"  # every member
TOKEN_MAX = 100  # characters, as wide as the columns

_TOKEN = re.compile(r"tenant|(?:w|u|g|ch|k|kb):[a-z0-9_-]+")
_GRANTEE = re.compile(r"tenant|(?:w|u|g|ch|k):[a-z0-9_-]+")


def workspace_token(workspace_id: str) -> str:
    """Held by the full members of a workspace."""
    return check_token(f"w:{workspace_id}")


def user_token(user_id: str) -> str:
    """Held by one user."""
    return check_token(f"u:{user_id}")


def group_token(group_id: str) -> str:
    """Held by the members of a group."""
    return check_token(f"g:{group_id}")


def key_token(api_token_id: str) -> str:
    """Held by one service key."""
    return check_token(f"k:{api_token_id}")


def channel_token(channel_id: str) -> str:
    """Held by the people who may read a channel."""
    return check_token(f"ch:{channel_id}")


def kb_token(kb_id: str) -> str:
    """Carried by documents that inherit from their KB; held by grant."""
    return check_token(f"kb:{kb_id}")


def check_token(token: str) -> str:
    """The token itself, or `InvalidInput`."""
    if len(token) > TOKEN_MAX or not _TOKEN.fullmatch(token):
        raise InvalidInput(
            f"{token!r} is not an ACL token. Allowed: `tenant`, or one of w: u: g: ch: k: kb: and an"
            f" id of a-z, 0-9, _ and -, {TOKEN_MAX} characters at most.",
            field="acl",
        )
    return token


def check_grantee(token: str) -> str:
    """A token a KB may be granted to: any but `kb:`, so that grants never chain."""
    if len(token) > TOKEN_MAX or not _GRANTEE.fullmatch(token):
        raise InvalidInput(
            f"A knowledge base can't be granted to {token!r}. Allowed: `tenant`, or one of"
            " w: u: g: ch: k: and an id.",
            field="token",
        )
    return token


async def intern_acl(session: AsyncSession, tenant_id: str, tokens: Iterable[str]) -> str:
    """The id of the tenant's ACL with exactly these tokens, stored on first use.

    Order and repetition don't matter. An ACL that names nobody is refused.
    """
    wanted = sorted({check_token(token) for token in tokens})
    if not wanted:
        raise InvalidInput(
            "An ACL needs at least one token: otherwise no one could read it.", field="acl"
        )
    digest = hashlib.sha256("\n".join(wanted).encode()).hexdigest()
    known = select(Acl.id).where(Acl.tenant_id == tenant_id, Acl.digest == digest)
    if found := await session.scalar(known):
        return found
    acl_id = new_id()
    try:
        async with session.begin_nested():
            session.add(Acl(id=acl_id, tenant_id=tenant_id, digest=digest, tokens=wanted))
            await session.flush()
            session.add_all(AclToken(acl_id=acl_id, token=t, tenant_id=tenant_id) for t in wanted)
    except IntegrityError:  # another writer stored it between the look and the insert
        if found := await session.scalar(known):
            return found
        raise
    return acl_id
