"""Links that stand in for a sign-in, where whoever reads can't sign in with a browser.

Such a link opens one document, for the holder of one credential, for minutes. It dies with the
credential: an API token that is revoked or over, an account that left, a member who is gone. What
they may read is asked anew each time. The browser that opens a link first keeps it to itself.
`Search` signs and opens them; `links.py` has the addresses that need none of this.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import gate
from engine.domain import Principal, chunk_id, parse_chunk_id
from engine.errors import InvalidInput, LinkEnded, NotFound, Unauthenticated
from engine.limits import Limits
from engine.people import api_tokens
from engine.search.links import DIGITS, long, path_of, short
from engine.secrets import Secrets

Kind = Literal["account", "member", "token"]

PURPOSE: Final = "viewer-links"
TOKEN_LIFE = timedelta(minutes=30)  # at least; at most twice that, so that it stays the same
PRESSED_LIFE = timedelta(minutes=10)  # of a link that somebody has just asked for
ENDED = (
    "This link has ended. It was made for one person and for a short time: ask again where you got"
    " it, and open the new one."
)
_KINDS: dict[str, Kind] = {"a": "account", "m": "member", "t": "token"}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}
_SIGNED = re.compile(
    r"([amt])([0-9A-Za-z]{1,8})\.((?:[0-9A-Za-z_-]{1,64}~)?[0-9A-Za-z_-]{1,64})"
    r"\.([0-9A-Za-z]{1,22}(?:-[0-9]{1,7})?)\.([0-9A-Za-z_-]{22})",
    re.ASCII,
)
_PLAIN = re.compile(r"[0-9A-Za-z_-]{1,63}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ReadingLink:
    """What a link opens, for the holder of what, until when. A token's tenant is its own."""

    kind: Kind
    reader: str  # the id of a token, of a platform account or of a user
    id: str
    expires_at: datetime
    tenant_id: str = ""


@dataclass(frozen=True, slots=True)
class Opener:
    """Who opens a link: what their browser keeps, and whether a person has sent it here."""

    secret: str
    is_browser: bool = False
    address: str = ""  # of the network: some credentials are bound to some


def for_principal(principal: Principal, id: str) -> ReadingLink:  # noqa: A002
    """A link for who holds a principal's credential; the same for half an hour."""
    step = TOKEN_LIFE.total_seconds()
    ends = (clock.now().timestamp() // step + 2) * step
    expires_at = datetime.fromtimestamp(ends, UTC)
    tenant_id = principal.tenant_id
    if principal.api_token_id is not None:
        return ReadingLink("token", principal.api_token_id, id, expires_at)
    if principal.user_id is not None:
        return ReadingLink("member", principal.user_id, id, expires_at, tenant_id)
    return ReadingLink("account", principal.identity_id or "", id, expires_at, tenant_id)


def for_account(tenant_id: str, identity_id: str, id: str) -> ReadingLink:  # noqa: A002
    """A link for the account on a chat platform that has just asked for it."""
    return ReadingLink("account", identity_id, id, clock.now() + PRESSED_LIFE, tenant_id)


def sign(secrets: Secrets, link: ReadingLink) -> str:
    """What follows `/v/` in the link's URL."""
    reader = _name(link.reader)
    if link.kind != "token":
        reader = f"{_name(link.tenant_id)}~{reader}"
    passage = parse_chunk_id(link.id)
    target = f"{short(passage[0])}-{passage[1]}" if passage else short(link.id)
    minutes = -(-int(link.expires_at.timestamp()) // 60)
    head = f"{_LETTERS[link.kind]}{_number(minutes)}.{reader}.{target}"
    return f"{head}.{secrets.tag(PURPOSE, head)}"


def verify(secrets: Secrets, signed: str) -> ReadingLink:
    """The link that was signed; `LinkEnded` where it is not ours, or its time is over."""
    found = _SIGNED.fullmatch(signed)
    if found is None or not secrets.is_tag(PURPOSE, signed.rpartition(".")[0], found[5]):
        raise LinkEnded(ENDED)
    id_ = id_in(signed)
    tenant_id, _, reader = found[3].rpartition("~")
    minutes = 0
    for digit in found[2]:
        minutes = minutes * len(DIGITS) + DIGITS.index(digit)
    expires_at = datetime.fromtimestamp(minutes * 60, UTC)
    if expires_at <= clock.now():
        raise LinkEnded(ENDED, path=path_of(id_))
    return ReadingLink(_KINDS[found[1]], _long(reader), id_, expires_at, _long(tenant_id))


def id_in(signed: str) -> str:
    """The id that a link names, whoever signed it and however old it is; empty where it names none."""
    found = _SIGNED.fullmatch(signed)
    if found is None:
        return ""
    name, dash, ordinal = found[4].partition("-")
    target = long(name)
    return chunk_id(target, int(ordinal)) if dash and target else target


async def reader_of(session: AsyncSession, link: ReadingLink, address: str) -> Principal:
    """The holder of a link's credential, with all they hold now; `LinkEnded` where it is over."""
    try:
        match link.kind:
            case "token":
                return await api_tokens.principal_of_token(session, link.reader, address=address)
            case "member":
                return await gate.principal_of_user(session, link.tenant_id, link.reader)
            case "account":
                return await gate.principal_of_identity(session, link.tenant_id, link.reader)
    except (NotFound, Unauthenticated):
        raise LinkEnded(ENDED, path=path_of(link.id)) from None


async def claim(limits: Limits, signed: str, link: ReadingLink, opener: Opener) -> None:
    """Keep a link to the browser that opened it first; `LinkEnded` for any other.

    A program that looks into messages may have been there before: a person's browser takes the
    link from it, and nobody takes it from a browser.
    """
    key = f"link:{hashlib.sha256(signed.encode()).hexdigest()[:32]}"
    owner = hashlib.sha256(opener.secret.encode()).hexdigest()
    lasts_s = max(1.0, (link.expires_at - clock.now()).total_seconds())
    if opener.is_browser:
        is_kept = await limits.acquire(f"{key}:browser", owner, lease_s=lasts_s)
        if is_kept:
            await limits.put(f"{key}:kept", owner.encode(), ttl_s=lasts_s)
    else:
        kept = await limits.get(f"{key}:kept")
        is_kept = kept == owner.encode() or (
            kept is None and await limits.acquire(f"{key}:first", owner, lease_s=lasts_s)
        )
    if not is_kept:
        raise LinkEnded(ENDED, path=path_of(link.id))


def _name(id: str) -> str:  # noqa: A002
    """An id in few characters; one that is not hexadecimal as it is, after a mark."""
    if _HEX.fullmatch(id):
        return short(id)
    if _PLAIN.fullmatch(id):
        return f"_{id}"
    raise InvalidInput("This has no link.", field="id")


def _long(name: str) -> str:
    return name[1:] if name.startswith("_") else long(name) if name else ""


def _number(value: int) -> str:
    return short(f"{value:x}")
