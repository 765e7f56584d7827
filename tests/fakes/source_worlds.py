"""A source that is a small world: people, groups, containers, items, permissions; with an oracle.

Everything a connector says is rendered from the world, so that what a test expects
(`can_read`) and what the engine is told have one origin and not one code.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from engine.errors import Unavailable
from engine.sources.contract import (
    INHERIT,
    PUBLIC,
    Access,
    AccessStep,
    Change,
    Connector,
    ContainerFound,
    CursorExpired,
    Finding,
    Gone,
    Grants,
    GroupFound,
    GroupStep,
    ItemContent,
    ItemRef,
    KindSettings,
    Offers,
    Put,
    ScopeRef,
    SourceContext,
    SourcePrincipal,
    SourceRefused,
    SourceWait,
    Step,
    UnknownAccess,
)

PAGE = 3


@dataclass
class WorldItem:
    """An item: its container, its text and the version of that."""

    container: str
    text: str
    version: int = 1


@dataclass
class WorldContainer:
    """A container: who is let in (None: as its parent), whom it restricts to, whether it is known."""

    parent: str = ""
    any_of: set[str] | None = None  # `u:x`, `g:y`
    inherits: bool = False
    public: bool = False
    restricted_to: set[str] | None = None
    is_layer: bool = False
    known: bool = True


@dataclass
class World:
    """The truth. `log` is its feed; a cursor older than `forgets` has expired."""

    users: set[str] = field(default_factory=set)
    groups: dict[str, set[str]] = field(default_factory=dict)  # of `u:x` and `g:y`
    containers: dict[str, WorldContainer] = field(default_factory=dict)
    items: dict[str, WorldItem] = field(default_factory=dict)
    log: list[Change] = field(default_factory=list)
    forgets: int = 0
    faults: list[Exception] = field(default_factory=list)  # raised by the next calls
    calls: int = 0
    opened: int = 0
    on_call: Callable[[World], None] | None = None

    def put(self, item: str, container: str, text: str) -> None:
        """Add an item, or give one other text or another container."""
        known = self.items.get(item)
        version = 1 if known is None else known.version + (known.text != text)
        self.items[item] = WorldItem(container, text, version)
        self.log.append(self.named(item))

    def delete(self, item: str) -> None:
        del self.items[item]
        self.log.append(Gone(item))

    def named(self, item: str) -> Put:
        known = self.items[item]
        return Put(
            item,
            str(known.version),
            title=item,
            url=f"https://world.example/{item}",
            container=known.container,
            filename=f"{item}.md",
        )

    def can_read(self, user: str, item: str) -> bool:
        """The oracle, written otherwise than the engine decides."""
        known = self.items.get(item)
        if known is None:
            return False
        chain, at = [], known.container
        while at:
            if at not in self.containers or at in chain:
                return False
            chain.append(at)
            at = self.containers[at].parent
        restricting = [self.containers[one] for one in chain]
        if any(one.is_layer and not one.known for one in restricting):
            return False
        if any(
            one.restricted_to is not None and one.known and not self._among(user, one.restricted_to)
            for one in restricting
        ):
            return False
        return self._enters(user, chain)

    def _enters(self, user: str, chain: list[str]) -> bool:
        for name in chain:
            here = self.containers[name]
            if here.is_layer:
                continue
            if not here.known:
                return False
            if here.public:
                return True
            if here.any_of is None:
                continue
            if self._among(user, here.any_of):
                return True
            if not here.inherits:
                return False
        return False

    def _among(self, user: str, principals: set[str]) -> bool:
        seen: set[str] = set()
        todo = list(principals)
        while todo:
            one = todo.pop()
            if one == f"u:{user}":
                return True
            if one not in seen:
                seen.add(one)
                todo += self.groups.get(one.removeprefix("g:"), ()) if one.startswith("g:") else ()
        return False


def principal(name: str) -> SourcePrincipal:
    """`u:ada` is the account ada, whose address the source vouches for; `g:x` a group."""
    kind, _, id_ = name.partition(":")
    if kind == "u":
        return SourcePrincipal("user", id_, email=f"{id_}@example.com")
    return SourcePrincipal("group", id_)


def grants_of(container: WorldContainer) -> Access:
    """What the source says of a container."""
    if not container.known:
        return UnknownAccess("could not be read")
    if container.public:
        return PUBLIC
    restrictions = (
        ()
        if container.restricted_to is None
        else (frozenset(map(principal, container.restricted_to)),)
    )
    if container.any_of is None and not restrictions:
        return INHERIT
    any_of = None if container.any_of is None else frozenset(map(principal, container.any_of))
    return Grants(any_of, restrictions, inherits=container.inherits)


class WorldSettings(KindSettings):
    """What a source of the kind `world` takes."""

    name: str = "world"


class WorldConnector(Connector[WorldSettings]):
    """Reads a world: paged, with a feed, permissions, groups, and whatever faults are planned."""

    kind: ClassVar[str] = "world"
    title: ClassVar[str] = "World"
    offers: ClassVar[Offers] = Offers(feed=True, access=True, groups=True)
    rate_per_s: ClassVar[float] = 0.0
    settings = WorldSettings

    def __init__(self, world: World) -> None:
        self.world = world

    def _call(self) -> None:
        self.world.calls += 1
        if self.world.on_call is not None:
            self.world.on_call(self.world)
        if self.world.faults:
            raise self.world.faults.pop(0)

    async def check(self, ctx: SourceContext[WorldSettings]) -> list[Finding]:
        self._call()
        return [Finding("reachable", "The world can be read.")]

    async def scopes(self, ctx: SourceContext[WorldSettings]) -> list[ScopeRef]:
        self._call()
        return [ScopeRef("all", "everything")]

    async def start(self, ctx: SourceContext[WorldSettings], scope: ScopeRef) -> Mapping[str, Any]:
        self._call()
        return {"n": len(self.world.log)}

    async def listing(
        self, ctx: SourceContext[WorldSettings], scope: ScopeRef, cursor: Mapping[str, Any]
    ) -> Step:
        self._call()
        after = cursor.get("after", "")
        names = [name for name in sorted(self.world.items) if name > after][:PAGE]
        more = bool(names) and names[-1] < max(self.world.items)
        puts = [self.world.named(name) for name in names]
        return Step(puts, {"after": names[-1]} if more else {}, more=more)

    async def feed(
        self, ctx: SourceContext[WorldSettings], scope: ScopeRef, cursor: Mapping[str, Any]
    ) -> Step:
        self._call()
        start = cursor["n"]
        if start < self.world.forgets:
            raise CursorExpired("too old")
        end = min(start + PAGE, len(self.world.log))
        return Step(self.world.log[start:end], {"n": end}, more=end < len(self.world.log))

    async def open(
        self, ctx: SourceContext[WorldSettings], scope: ScopeRef, item: ItemRef
    ) -> ItemContent | None:
        self._call()
        self.world.opened += 1
        known = self.world.items.get(item.id)
        return None if known is None else ItemContent(known.text.encode(), item.filename)

    async def access(
        self, ctx: SourceContext[WorldSettings], scope: ScopeRef, cursor: Mapping[str, Any]
    ) -> AccessStep:
        self._call()
        after = cursor.get("after", "")
        names = [name for name in sorted(self.world.containers) if name > after][:PAGE]
        more = bool(names) and names[-1] < max(self.world.containers)
        found = [
            ContainerFound(
                name,
                grants_of(self.world.containers[name]),
                parent=self.world.containers[name].parent,
                is_layer=self.world.containers[name].is_layer,
            )
            for name in names
        ]
        return AccessStep(found, {"after": names[-1]} if more else {}, more=more)

    async def groups(
        self, ctx: SourceContext[WorldSettings], cursor: Mapping[str, Any]
    ) -> GroupStep:
        self._call()
        found = [
            GroupFound(name, frozenset(map(principal, members)))
            for name, members in sorted(self.world.groups.items())
        ]
        return GroupStep(found, {}, more=False)


def random_world(chance: random.Random, users: list[str]) -> World:
    """A hierarchy of containers and layers, groups in groups, and items in all of them."""
    world = World(users=set(users))
    for number in range(3):
        members = {f"u:{user}" for user in users if chance.random() < 0.4}
        if number and chance.random() < 0.5:
            members.add(f"g:g{number - 1}")
        world.groups[f"g{number}"] = members
    for number in range(7):
        parent = f"c{chance.randrange(number)}" if number and chance.random() < 0.8 else ""
        world.containers[f"c{number}"] = WorldContainer(parent)
        change_container(chance, world, f"c{number}")
    for number in range(10):
        world.put(f"i{number}", f"c{chance.randrange(7)}", f"# i{number}\n\nword{number} here.")
    return world


def change_container(chance: random.Random, world: World, name: str) -> None:
    """Give a container other permissions."""
    here = world.containers[name]
    who = [*(f"u:{user}" for user in sorted(world.users)), *(f"g:g{n}" for n in range(3))]

    def some() -> set[str]:
        return {one for one in who if chance.random() < 0.35}

    here.is_layer = bool(here.parent) and chance.random() < 0.3
    here.any_of = None if here.is_layer or chance.random() < 0.4 else some()
    here.inherits = here.any_of is not None and bool(here.parent) and chance.random() < 0.3
    here.public = not here.is_layer and chance.random() < 0.1
    here.restricted_to = some() if not here.public and chance.random() < 0.3 else None
    here.known = chance.random() < 0.85


def change(chance: random.Random, world: World) -> str:
    """Change something, as people do; says what."""
    match chance.randrange(6):
        case 0:
            name = chance.choice(sorted(world.containers))
            change_container(chance, world, name)
            return f"permissions of {name}"
        case 1:
            name = chance.choice(sorted(world.groups))
            world.groups[name] = {f"u:{user}" for user in world.users if chance.random() < 0.4}
            return f"members of {name}"
        case 2 if world.items:
            item = chance.choice(sorted(world.items))
            world.put(item, f"c{chance.randrange(7)}", world.items[item].text)
            return f"{item} moved"
        case 3 if world.items:
            item = chance.choice(sorted(world.items))
            world.delete(item)
            return f"{item} deleted"
        case 4:
            name = f"c{chance.randrange(1, 7)}"
            world.containers[name].parent = f"c{chance.randrange(int(name[1:]))}"
            return f"{name} moved"
        case _:
            item = f"i{chance.randrange(14)}"
            old = world.items.get(item)
            container = old.container if old else f"c{chance.randrange(7)}"
            world.put(item, container, f"# {item}\n\n{chance.random()} said.")
            return f"{item} edited"


STORM = (
    SourceWait(0.0, "too many calls"),
    Unavailable("it answered 503"),
    SourceWait(0.0, "still too many"),
)
REFUSED = SourceRefused("403 on the listing")
