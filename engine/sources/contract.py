"""What a kind of source is asked for, and what it may say: the contract of connectors.

A connector makes few calls a step and never sleeps: where it has to wait it raises `SourceWait`, and
the job comes back. It opens no database. The jobs in `ingestion/source_jobs.py` call it, and
`engine/sources/` writes what comes: a step's items and its cursor are one commit.

Content, deletions, permissions and groups are separate signals:

- `listing` names every item of a scope, and ends; what a complete listing lacks is gone;
- `feed` names what changed since a cursor that `start` took before the listing;
- `open` brings the content of one item;
- `access` says who may read each container, `groups` who is in each group.

Permissions are of containers. An item names the container it is in; who may read that is found when
somebody asks. `INHERIT` (as its parent) and `UNKNOWN` (nobody) are two values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from engine.errors import EngineError

GROUPS_SCOPE = "groups"  # the kind of the scope that stands for a source's groups


class SourceWait(EngineError):
    """Not now: come back in `seconds`."""

    code = "source_wait"

    def __init__(self, seconds: float, reason: str) -> None:
        super().__init__(reason)
        self.seconds = seconds


class SourceRefused(EngineError):
    """The source won't, until a person changes something; `login`: the credential is not taken."""

    code = "source_refused"

    def __init__(self, message: str, *, login: bool = False) -> None:
        super().__init__(message)
        self.login = login


class CursorExpired(EngineError):
    """The source no longer knows this cursor: the scope is listed anew."""

    code = "cursor_expired"


@dataclass(frozen=True, slots=True)
class Offers:
    """What a kind can do. The docs, the schedule and the checks follow from it.

    `absence_after_s`: how long an item must be missing from complete listings before it counts as
    gone. `relist_s`: how often a kind with a feed is listed whole all the same.
    """

    feed: bool = False
    access: bool = False
    groups: bool = False
    absence_after_s: float = 0.0
    relist_s: float = 7 * 86_400.0
    every_s: int = 3_600


@dataclass(frozen=True, slots=True)
class ScopeRef:
    """A part of a source with a cursor of its own: a drive, a space, a repository."""

    id: str
    title: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Put:
    """An item as it is now. `version` changes with its content, and is compared for equality only.

    `body` is its content where the listing had it already; else `open` is asked for it. `container`
    says who may read it; empty: the scope's own. `details` whose name begins with "_" are the
    connector's own, and not shown.
    """

    id: str
    version: str
    title: str = ""
    url: str = ""
    container: str = ""
    filename: str = ""
    size_bytes: int = 0
    updated_at: datetime | None = None
    body: bytes | None = field(default=None, repr=False)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gone:
    """The source says that an item was deleted."""

    id: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An item that is not taken, and why; it counts as there."""

    id: str
    reason: str
    title: str = ""
    url: str = ""


Change = Put | Gone | LeftOut


@dataclass(frozen=True, slots=True)
class Step:
    """What one step brought.

    `complete` False: something could not be read, so nothing counts as missing; `note` says what.
    `is_window`: the source names only its newest items, so nothing ever counts as missing.
    `pause_s`: how long the next step is to wait, where the source says so beforehand.
    """

    changes: Sequence[Change]
    cursor: Mapping[str, Any]
    more: bool
    complete: bool = True
    note: str = ""
    is_window: bool = False
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ItemRef:
    """An item whose content is asked for, as its `Put` described it."""

    id: str
    version: str
    title: str
    url: str
    filename: str
    container: str
    size_bytes: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemContent:
    """The content of an item."""

    data: bytes = field(repr=False)
    filename: str
    mime: str = ""


PrincipalKind = Literal["user", "group", "domain"]


@dataclass(frozen=True, slots=True)
class SourcePrincipal:
    """An account, group or domain of the source.

    `email` only where the source itself vouches for it: who has proved that address here is them.
    """

    kind: PrincipalKind
    id: str
    email: str = ""


@dataclass(frozen=True, slots=True)
class Grants:
    """Who may enter a container, and what else they must pass.

    `any_of` None: as the parent's. `inherits`: its own besides the parent's. Each set of `all_of`
    restricts: whoever reads must be in every one of them, and in those of every container above.
    """

    any_of: frozenset[SourcePrincipal] | None = None
    all_of: Sequence[frozenset[SourcePrincipal]] = ()
    inherits: bool = False


@dataclass(frozen=True, slots=True)
class Public:
    """Everyone at the source may read it: here every member of the tenant, and nobody else."""


@dataclass(frozen=True, slots=True)
class Inherit:
    """As its parent."""


@dataclass(frozen=True, slots=True)
class UnknownAccess:
    """It could not be read who may: nobody."""

    reason: str = ""


Access = Grants | Public | Inherit | UnknownAccess
INHERIT, PUBLIC, UNKNOWN = Inherit(), Public(), UnknownAccess()


@dataclass(frozen=True, slots=True)
class ContainerFound:
    """A container and who may read what is in it. `is_layer`: it restricts, and lets nobody in."""

    id: str
    access: Access
    parent: str = ""
    title: str = ""
    kind: str = ""
    is_layer: bool = False


@dataclass(frozen=True, slots=True)
class ContainerGone:
    """A container was deleted."""

    id: str


@dataclass(frozen=True, slots=True)
class AccessStep:
    """What one step of reading permissions brought; `complete`: a whole reading ends here."""

    containers: Sequence[ContainerFound | ContainerGone]
    cursor: Mapping[str, Any]
    more: bool
    complete: bool = True


@dataclass(frozen=True, slots=True)
class GroupFound:
    """A group and all its members; `complete` False: some could not be read, so nobody is dropped."""

    id: str
    members: frozenset[SourcePrincipal]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class GroupStep:
    """What one step of reading groups brought."""

    groups: Sequence[GroupFound]
    cursor: Mapping[str, Any]
    more: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: `ok`, or `bad` with what to do."""

    code: str
    text: str
    ok: bool = True
    field: str = ""


class Secret(Protocol):
    """What a source signs in with. `values` never leave the connector."""

    method: str

    async def values(self) -> Mapping[str, str]:
        """The present secret, refreshed where it was about to expire."""

    async def refused(self) -> Mapping[str, str]:
        """A newer secret after the source refused this one; `SourceRefused` where there is none."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a renewal gave: the values that changed, and when the new token expires."""

    values: Mapping[str, str] = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class KnownItem:
    """An item as it was last named, for those that can ask whether it changed since."""

    version: str
    details: Mapping[str, Any]


async def nothing_known(ids: Sequence[str]) -> Mapping[str, KnownItem]:  # noqa: ARG001
    """Of no item anything, as in a preview."""
    return {}


S = TypeVar("S", bound=BaseModel)


class KindSettings(BaseModel):
    """Base of the settings of a kind: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class SourceContext(Generic[S]):
    """What a connector works with in one step."""

    settings: S
    http: Any  # `ConnectorHttp`, which the worker opens
    secret: Secret | None
    now: datetime
    max_bytes: int
    scratch: Path = field(repr=False)  # a folder of this source on this machine; it may be lost
    roots: Sequence[str] = ()  # folders of this machine that the operator lets sources read
    known: Callable[[Sequence[str]], Awaitable[Mapping[str, KnownItem]]] = nothing_known


class Connector(ABC, Generic[S]):
    """A kind of source. One object serves all sources of the kind and keeps nothing of any."""

    kind: ClassVar[str]
    title: ClassVar[str]
    offers: ClassVar[Offers] = Offers()
    methods: ClassVar[Mapping[str, type[BaseModel]]] = {}  # ways to sign in: fields of the secret
    renews: ClassVar[frozenset[str]] = frozenset()  # those of them whose token expires
    rate_per_s: ClassVar[float] = (
        5.0  # calls, about half of what the source allows; 0: its own pace
    )
    settings: type[S]

    def namespace(self, settings: S) -> str:  # noqa: ARG002 (for those that have one)
        """What tells its accounts from those of other sources; empty: people can't link theirs."""
        return ""

    async def renew(
        self,
        http: Any,  # noqa: ANN401 (`ConnectorHttp`, without a credential)
        settings: S,
        method: str,
        values: Mapping[str, str],
    ) -> Renewed:
        """A new token for one that expires. `SourceRefused`: the source gives none any more."""
        raise NotImplementedError

    @abstractmethod
    async def check(self, ctx: SourceContext[S]) -> list[Finding]:
        """Whether it can be read: reach, credential, one item. Runs before it is saved."""

    @abstractmethod
    async def scopes(self, ctx: SourceContext[S]) -> list[ScopeRef]:
        """The parts of it, each synced by itself."""

    async def start(self, ctx: SourceContext[S], scope: ScopeRef) -> Mapping[str, Any]:
        """Where the feed is now; taken before the first listing."""
        raise NotImplementedError

    @abstractmethod
    async def listing(
        self, ctx: SourceContext[S], scope: ScopeRef, cursor: Mapping[str, Any]
    ) -> Step:
        """The next page of everything that is there; the first cursor is empty."""

    async def feed(self, ctx: SourceContext[S], scope: ScopeRef, cursor: Mapping[str, Any]) -> Step:
        """What changed since the cursor. Raises `CursorExpired`."""
        raise NotImplementedError

    async def open(
        self, ctx: SourceContext[S], scope: ScopeRef, item: ItemRef
    ) -> ItemContent | None:
        """The content of an item; None where it is gone. `SourceRefused` leaves out this one."""
        raise NotImplementedError

    async def access(
        self, ctx: SourceContext[S], scope: ScopeRef, cursor: Mapping[str, Any]
    ) -> AccessStep:
        """The next page of the scope's containers and who may read them."""
        raise NotImplementedError

    async def groups(self, ctx: SourceContext[S], cursor: Mapping[str, Any]) -> GroupStep:
        """The next page of the source's groups."""
        raise NotImplementedError
