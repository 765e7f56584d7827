"""Who holds the tokens of sources: containers, groups and restrictions of where documents come from.

`principals.py` asks at each question, so that what a source says of its people holds from then on
and no document is touched. A person is an account of the source where one of these says so: they
signed in there (an `Identity` of the account's namespace), or the source vouches for an address
that they have proved to be theirs. From the accounts the tokens follow by membership, through
groups in groups. What a source has not confirmed for `FRESH` is unknown, and unknown is not held.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.db.json_arrays import array_value, items_of
from engine.db.tables import AccessEdge, AccessNode, Identity, User

FRESH_ACCESS = timedelta(hours=26)  # a daily reading, and two hours to be late in
USER, GROUP, DOMAIN = "user", "group", "domain"  # kinds of nodes
CONTAINER, RESTRICTION = "container", "restriction"


async def held_nodes(
    session: AsyncSession,
    tenant_id: str,
    users: Mapping[str, bool],
    now: datetime,
) -> dict[str, set[str]]:
    """Ids of the nodes each user is in; `users` says whether they count as the tenant's (no guest)."""
    any_node = select(AccessNode.id).where(AccessNode.tenant_id == tenant_id).limit(1)
    if not users or await session.scalar(any_node) is None:
        return {}
    fresh = AccessNode.synced_at > now - FRESH_ACCESS
    held: defaultdict[str, set[str]] = defaultdict(set)
    for user_id, node_id in await _accounts(session, tenant_id, users):
        held[user_id].add(node_id)
    opened = set(
        await session.scalars(
            select(AccessNode.id).where(
                AccessNode.tenant_id == tenant_id, AccessNode.is_open.is_(True), fresh
            )
        )
    )
    for user_id, is_member in users.items():
        if is_member:
            held[user_id] |= opened
    above = await _closure(session, tenant_id, set().union(*held.values(), set()), fresh)
    return {user_id: _reach(nodes, above) for user_id, nodes in held.items()}


async def _accounts(
    session: AsyncSession, tenant_id: str, users: Collection[str]
) -> list[tuple[str, str]]:
    """Pairs of a user and an account or domain of a source that is theirs."""
    ids = select(items_of(array_value(sorted(users))))
    signed_in = (
        select(Identity.user_id, AccessNode.id)
        .join(
            AccessNode,
            and_(
                AccessNode.tenant_id == tenant_id,
                AccessNode.kind == USER,
                AccessNode.namespace == Identity.provider,
                AccessNode.external_id == Identity.subject,
            ),
        )
        .where(
            Identity.tenant_id == tenant_id, AccessNode.namespace != "", Identity.user_id.in_(ids)
        )
    )
    pairs = [(str(user), node) for user, node in await session.execute(signed_in)]
    proved = await session.execute(
        select(User.id, User.email).where(
            User.id.in_(ids), User.email.is_not(None), User.email_verified_at.is_not(None)
        )
    )
    by_address: defaultdict[str, list[str]] = defaultdict(list)
    by_domain: defaultdict[str, list[str]] = defaultdict(list)
    for user_id, email in proved:
        by_address[str(email).casefold()].append(user_id)
        by_domain[str(email).casefold().rpartition("@")[2]].append(user_id)
    for column, kind, owners in (
        (AccessNode.email, USER, by_address),
        (AccessNode.external_id, DOMAIN, by_domain),
    ):
        found = await session.execute(
            select(AccessNode.id, column).where(
                AccessNode.tenant_id == tenant_id,
                AccessNode.kind == kind,
                column.in_(select(items_of(array_value(sorted(owners))))),
            )
        )
        pairs += [(user_id, node) for node, value in found for user_id in owners[value]]
    return pairs


async def _closure(
    session: AsyncSession, tenant_id: str, nodes: set[str], fresh: ColumnElement[bool]
) -> dict[str, set[str]]:
    """For each node reached from these: the fresh nodes it is a direct member of."""
    above: dict[str, set[str]] = {}
    front = set(nodes)
    while front:
        rows = await session.execute(
            select(AccessEdge.member_id, AccessEdge.node_id)
            .join(AccessNode, AccessNode.id == AccessEdge.node_id)
            .where(
                AccessEdge.tenant_id == tenant_id,
                AccessEdge.member_id.in_(select(items_of(array_value(sorted(front))))),
                or_(AccessNode.kind.in_([USER, DOMAIN]), fresh),
            )
        )
        for node in front:
            above[node] = set()
        for member, node in rows:
            above[member].add(node)
        front = {node for member in front for node in above[member]} - above.keys()
    return above


def _reach(nodes: set[str], above: Mapping[str, set[str]]) -> set[str]:
    reached, front = set(nodes), list(nodes)
    while front:
        for node in above.get(front.pop(), ()):
            if node not in reached:
                reached.add(node)
                front.append(node)
    return reached
