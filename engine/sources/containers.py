"""Containers of a source, and who may read what is in them: rows, and the tokens of documents.

A document carries the token of the container that lets people in, so that a change of sharing
moves memberships and no document. Containers that only restrict (`is_layer`) are passed through;
what they and all others above an item restrict is required besides, every one of them. What is not
known is a node without members: nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.access import acl
from engine.access.source_access import CONTAINER, GROUP, RESTRICTION
from engine.db.json_arrays import array_value, items_of
from engine.db.tables import AccessEdge, AccessNode, Source, SourceContainer, SourceItem
from engine.sources.contract import (
    Access,
    ContainerFound,
    ContainerGone,
    Grants,
    GroupFound,
    Inherit,
    Public,
    SourcePrincipal,
    UnknownAccess,
)

DEPTH_MAX = 200  # containers in one another; more is a circle
NodeKey = tuple[str, str]  # kind, external id


@dataclass(frozen=True, slots=True)
class Readers:
    """Who may read an item: one of `acl` is held, and all of `acl_all`."""

    acl: tuple[str, ...]
    acl_all: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Membership:
    """Who is in a node from now on; `known` False: nobody can tell."""

    members: frozenset[NodeKey] = frozenset()
    is_open: bool = False
    known: bool = True


async def commit_access(
    session: AsyncSession,
    source: Source,
    scope_id: str,
    found: Sequence[ContainerFound | ContainerGone],
    *,
    generation: int,
    trusted: Iterable[str] = (),
    namespace: str = "",
) -> set[str]:
    """Keep containers and who may read them; the ids of those whose items need other tokens.

    `trusted` are the domains whose addresses the source may vouch for.
    """
    present = {item.id: item for item in found if isinstance(item, ContainerFound)}
    gone = {item.id for item in found if isinstance(item, ContainerGone)}
    rows = await _containers(session, source, {*present, *gone})
    parents = {item.parent for item in present.values() if item.parent} - present.keys()
    rows |= await _place_holders(session, source, scope_id, parents)
    memberships: dict[NodeKey, _Membership] = {}
    changed: set[str] = set()
    for item in present.values():
        row = rows.get(item.id)
        if row is None:
            row = _new(source, scope_id, item.id)
            session.add(row)
            rows[item.id] = row
        wanted, restricted = _memberships(item)
        memberships |= wanted
        before = (row.parent, row.is_layer, row.restrictions)
        row.parent, row.is_layer, row.restrictions = item.parent, item.is_layer, restricted
        row.title, row.kind, row.scope_id = item.title[:500], item.kind[:40], scope_id
        row.generation = generation
        if before != (row.parent, row.is_layer, row.restrictions):
            changed.add(item.id)
    for container in gone:
        memberships[CONTAINER, container] = _Membership(known=False)
    await session.flush()
    people = _people(present.values())
    await set_memberships(session, source, memberships, people, trusted, namespace)
    return changed


def _memberships(item: ContainerFound) -> tuple[dict[NodeKey, _Membership], list[str]]:
    """Who is in a container and its restrictions, and the names of the latter."""
    found: dict[NodeKey, _Membership] = {}
    restricted: list[str] = []
    access: Access = item.access
    parent = frozenset({(CONTAINER, item.parent)}) if item.parent else frozenset()
    if isinstance(access, Grants):
        for number, some in enumerate(access.all_of):
            name = f"{item.id}#{number}"
            restricted.append(name)
            found[RESTRICTION, name] = _Membership(frozenset((p.kind, p.id) for p in some))
    elif isinstance(access, UnknownAccess) and item.is_layer:
        restricted.append(f"{item.id}#?")
        found[RESTRICTION, f"{item.id}#?"] = _Membership(known=False)
    if item.is_layer:
        return found, restricted
    key = (CONTAINER, item.id)
    match access:
        case Public():
            found[key] = _Membership(is_open=True)
        case UnknownAccess():
            found[key] = _Membership(known=False)
        case Inherit():
            found[key] = _Membership(parent)
        case Grants(any_of=None):
            found[key] = _Membership(parent)
        case Grants(any_of=own, inherits=inherits):
            members = frozenset((p.kind, p.id) for p in own or ())
            found[key] = _Membership(members | parent if inherits else members)
    return found, restricted


def _people(found: Iterable[ContainerFound]) -> dict[NodeKey, SourcePrincipal]:
    people: dict[NodeKey, SourcePrincipal] = {}
    for item in found:
        if isinstance(item.access, Grants):
            for some in (item.access.any_of or (), *item.access.all_of):
                people |= {(p.kind, p.id): p for p in some}
    return people


async def commit_groups(
    session: AsyncSession,
    source: Source,
    groups: Sequence[GroupFound],
    *,
    trusted: Iterable[str] = (),
    namespace: str = "",
) -> None:
    """Keep who is in each group. One that is not complete loses nobody, and grows old."""
    people: dict[NodeKey, SourcePrincipal] = {
        (p.kind, p.id): p for group in groups for p in group.members
    }
    whole = {
        (GROUP, group.id): _Membership(frozenset((p.kind, p.id) for p in group.members))
        for group in groups
        if group.complete
    }
    await set_memberships(session, source, whole, people, trusted, namespace)
    partial = [group for group in groups if not group.complete]
    if not partial:
        return
    keys = {(GROUP, group.id) for group in partial} | set(people)
    nodes = await _nodes(session, source, keys, people, trusted, namespace)
    for group in partial:
        node = nodes[GROUP, group.id]
        held = set(
            await session.scalars(select(AccessEdge.member_id).where(AccessEdge.node_id == node.id))
        )
        wanted = {nodes[p.kind, p.id].id for p in group.members}
        await _add_edges(session, source, [(node.id, one) for one in sorted(wanted - held)])


async def set_memberships(
    session: AsyncSession,
    source: Source,
    wanted: Mapping[NodeKey, _Membership],
    people: Mapping[NodeKey, SourcePrincipal],
    trusted: Iterable[str],
    namespace: str,
) -> None:
    """Let exactly these be in these nodes; an unknown one keeps nobody."""
    keys = set(wanted) | {key for one in wanted.values() for key in one.members}
    nodes = await _nodes(session, source, keys, people, trusted, namespace)
    ids = {nodes[key].id: key for key in wanted}
    held: defaultdict[str, set[str]] = defaultdict(set)
    rows = await session.execute(
        select(AccessEdge.node_id, AccessEdge.member_id).where(
            AccessEdge.node_id.in_(select(items_of(array_value(sorted(ids)))))
        )
    )
    for node_id, member_id in rows:
        held[node_id].add(member_id)
    now = clock.now()
    new: list[tuple[str, str]] = []
    for node_id, key in ids.items():
        one = wanted[key]
        node = nodes[key]
        node.is_open = one.is_open
        node.synced_at = now if one.known else None
        members = {nodes[member].id for member in one.members} - {node_id}
        new += [(node_id, member) for member in sorted(members - held[node_id])]
        if left := held[node_id] - members:
            await session.execute(
                delete(AccessEdge).where(
                    AccessEdge.node_id == node_id,
                    AccessEdge.member_id.in_(select(items_of(array_value(sorted(left))))),
                )
            )
    await session.flush()
    await _add_edges(session, source, new)


async def _add_edges(
    session: AsyncSession, source: Source, edges: Sequence[tuple[str, str]]
) -> None:
    if edges:
        rows = [
            {"node_id": node, "member_id": member, "tenant_id": source.tenant_id}
            for node, member in edges
        ]
        await session.execute(insert(AccessEdge), rows)


async def _nodes(
    session: AsyncSession,
    source: Source,
    keys: set[NodeKey],
    people: Mapping[NodeKey, SourcePrincipal] | None = None,
    trusted: Iterable[str] = (),
    namespace: str = "",
) -> dict[NodeKey, AccessNode]:
    """The nodes of these keys, made where they are missing, with the addresses that count."""
    found: dict[NodeKey, AccessNode] = {}
    by_kind: defaultdict[str, set[str]] = defaultdict(set)
    for kind, external_id in keys:
        by_kind[kind].add(external_id)
    for kind, ids in by_kind.items():
        rows = await session.scalars(
            select(AccessNode).where(
                AccessNode.source_id == source.id,
                AccessNode.kind == kind,
                AccessNode.external_id.in_(select(items_of(array_value(sorted(ids))))),
            )
        )
        found |= {(kind, row.external_id): row for row in rows}
    for kind, external_id in sorted(keys - found.keys()):
        node = AccessNode(
            id=clock.new_id(),
            tenant_id=source.tenant_id,
            source_id=source.id,
            kind=kind,
            external_id=external_id,
            namespace=namespace if kind == "user" else "",
        )
        session.add(node)
        found[kind, external_id] = node
    domains = {domain.casefold() for domain in trusted}
    for key, person in (people or {}).items():
        if key in found and person.kind == "user":
            email = person.email.strip().casefold()
            found[key].email = email if email.rpartition("@")[2] in domains else ""
            found[key].namespace = namespace
    await session.flush()
    return found


async def _containers(
    session: AsyncSession, source: Source, ids: Iterable[str]
) -> dict[str, SourceContainer]:
    rows = await session.scalars(
        select(SourceContainer).where(
            SourceContainer.source_id == source.id,
            SourceContainer.external_id.in_(select(items_of(array_value(sorted(ids))))),
        )
    )
    return {row.external_id: row for row in rows}


async def _place_holders(
    session: AsyncSession, source: Source, scope_id: str, ids: set[str]
) -> dict[str, SourceContainer]:
    """Rows of containers that were named before they were read: until then nobody is in them."""
    rows = await _containers(session, source, ids)
    for container in sorted(ids - rows.keys()):
        rows[container] = _new(source, scope_id, container)
        session.add(rows[container])
    await session.flush()
    return rows


def _new(source: Source, scope_id: str, container: str) -> SourceContainer:
    return SourceContainer(
        id=clock.new_id(),
        tenant_id=source.tenant_id,
        source_id=source.id,
        scope_id=scope_id,
        external_id=container,
        parent="",
        is_layer=False,
        restrictions=[],
    )


async def readers_of(
    session: AsyncSession, source: Source, scope_id: str, containers: Iterable[str]
) -> dict[str, Readers]:
    """Who may read what is in each of these containers; those not read yet let nobody in."""
    wanted = set(containers)
    await _place_holders(session, source, scope_id, wanted)
    known: dict[str, SourceContainer] = {}
    front = set(wanted)
    for _ in range(DEPTH_MAX):
        rows = await _containers(session, source, front)
        known |= rows
        front = {row.parent for row in rows.values() if row.parent} - known.keys()
        if not front:
            break
    chains = {container: _chain(container, known) for container in wanted}
    keys = {(CONTAINER, entry) for entry, _ in chains.values()}
    keys |= {(RESTRICTION, name) for _, names in chains.values() for name in names}
    nodes = await _nodes(session, source, keys)
    return {
        container: Readers(
            (acl.group_token(nodes[CONTAINER, entry].id),),
            tuple(sorted(acl.group_token(nodes[RESTRICTION, name].id) for name in names)),
        )
        for container, (entry, names) in chains.items()
    }


def _chain(container: str, known: Mapping[str, SourceContainer]) -> tuple[str, list[str]]:
    """The container that lets people in, and all restrictions on the way up from here."""
    entry: str | None = None
    names: list[str] = []
    seen: set[str] = set()
    at = container
    while at and at not in seen:
        seen.add(at)
        row = known.get(at)
        if row is None:
            break
        names += row.restrictions
        if entry is None and not row.is_layer:
            entry = at
        at = row.parent
    # Only restrictions, up to the top or in a circle: nothing lets anybody in.
    return (container if entry is None else entry), names


async def beneath(session: AsyncSession, source: Source, containers: Iterable[str]) -> set[str]:
    """These containers and all below them."""
    rows = await session.execute(
        select(SourceContainer.external_id, SourceContainer.parent).where(
            SourceContainer.source_id == source.id
        )
    )
    children: defaultdict[str, list[str]] = defaultdict(list)
    for external_id, parent in rows:
        children[parent].append(external_id)
    reached, front = set(containers), list(containers)
    while front:
        for child in children[front.pop()]:
            if child not in reached:
                reached.add(child)
                front.append(child)
    return reached


async def occupied(
    session: AsyncSession, source: Source, containers: Iterable[str]
) -> Sequence[SourceItem]:
    """The items in these containers that have a document."""
    found = await session.scalars(
        select(SourceItem).where(
            SourceItem.source_id == source.id,
            SourceItem.document_id.is_not(None),
            SourceItem.container.in_(select(items_of(array_value(sorted(containers))))),
        )
    )
    return list(found)


async def forget_unseen(
    session: AsyncSession, source: Source, scope_id: str, *, generation: int
) -> None:
    """Containers of a scope that a whole reading did not name: nobody may read what is in them."""
    unseen = select(SourceContainer.external_id).where(
        SourceContainer.scope_id == scope_id, SourceContainer.generation < generation
    )
    nodes = select(AccessNode.id).where(
        AccessNode.source_id == source.id,
        AccessNode.kind == CONTAINER,
        AccessNode.external_id.in_(unseen),
    )
    await session.execute(delete(AccessEdge).where(AccessEdge.node_id.in_(nodes)))
    await session.execute(
        update(AccessNode)
        .where(AccessNode.id.in_(nodes))
        .values(synced_at=None, is_open=False)
        .execution_options(synchronize_session=False)
    )
