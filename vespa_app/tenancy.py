"""Which schema a tenant's space lives in: a dedicated one, or one that tenants share.

Pure: names, the rule that chooses, and nothing about where placements are stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["dedicated", "pooled"]
Cells = Literal["bfloat16", "float"]

MAX_DIMENSION = 8192
# Beyond a hundred schemas the memory and threads each one costs are the cluster's main load, and
# Vespa's own people advise against it (docs/explanation/vespa-tenancy.md).
MAX_DEDICATED = 100

_KEY = re.compile(r"[a-z0-9_]{1,40}")
_SPACE = re.compile(r"[a-z0-9][a-z0-9_]{0,39}")
_TENANT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DEDICATED = re.compile(r"t_((?:[a-z0-9]|__)+?)_([a-z0-9][a-z0-9_]*)")


@dataclass(frozen=True, slots=True, order=True)
class BaseSchema:
    """The common part of schemas with the same type of vector, which is the field's type."""

    dimension: int
    cells: Cells = "bfloat16"

    def __post_init__(self) -> None:
        if not 1 <= self.dimension <= MAX_DIMENSION:
            raise ValueError(f"a dimension of {self.dimension}: it must be 1 to {MAX_DIMENSION}")
        if self.cells not in get_args(Cells):
            raise ValueError(f"vector cells of type {self.cells!r}: use one of {get_args(Cells)}")

    @property
    def name(self) -> str:
        """The abstract schema's name."""
        return f"kb_{self.cells}_{self.dimension}"


@dataclass(frozen=True, slots=True, order=True)
class Schema:
    """One document type of the cluster; `title` says whose it is, for readers of the file."""

    name: str
    base: BaseSchema
    title: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one tenant's space is.

    Raises ValueError for a key, id or space outside its alphabet: names become schema text.
    """

    tenant_id: str
    tenant_key: str
    space: str
    base: BaseSchema
    kind: Kind

    def __post_init__(self) -> None:
        if not _TENANT_ID.fullmatch(self.tenant_id):
            raise ValueError(
                f"{self.tenant_id!r} is not a tenant id: 1 to 64 of A-Z, a-z, 0-9, _, -"
            )
        if not _KEY.fullmatch(self.tenant_key):
            raise ValueError(f"{self.tenant_key!r} is not a tenant key: 1 to 40 of a-z, 0-9, _")
        if not _SPACE.fullmatch(self.space):
            raise ValueError(
                f"{self.space!r} is not a name of a space: 1 to 40 of a-z, 0-9, _, not _ first"
            )
        if self.kind not in get_args(Kind):
            raise ValueError(f"{self.kind!r} is not a placement: use one of {get_args(Kind)}")

    @property
    def schema(self) -> Schema:
        """The schema this space is stored in."""
        if self.kind == "pooled":
            return Schema(
                pooled_name(self.space, self.base), self.base, f"Small tenants, space {self.space}"
            )
        name = dedicated_name(self.tenant_key, self.space)
        return Schema(name, self.base, f"Tenant {self.tenant_key}, space {self.space}")


def dedicated_name(tenant_key: str, space: str) -> str:
    """The schema of one tenant's space, `t_<key>_<space>`; no two tenants or spaces share one.

    Underscores of the key are doubled, so the first single one ends it: `acme_inc` and
    `minilm` give `t_acme__inc_minilm`. The key never changes, unlike a tenant's name.
    """
    return f"t_{tenant_key.replace('_', '__')}_{space}"


def parse_dedicated_name(name: str) -> tuple[str, str] | None:
    """The tenant's key and the space of a dedicated schema's name; None for any other name."""
    match = _DEDICATED.fullmatch(name)
    return (match[1].replace("__", "_"), match[2]) if match else None


def pooled_name(space: str, base: BaseSchema) -> str:
    """The schema that small tenants with this space share."""
    return f"pool_{base.cells}_{space}"


def choose_kind(
    *, dedicated: int, max_dedicated: int, policy: Literal["auto", "dedicated", "pooled"] = "auto"
) -> Kind:
    """Where a new space goes: a dedicated schema while there are few, the pool after that.

    `dedicated` counts the schemas there are. A space stays where it was placed. With the policy
    `dedicated` the pool is never used: raises ValueError when `max_dedicated` is reached.
    """
    if policy == "pooled":
        return "pooled"
    if dedicated < max_dedicated:
        return "dedicated"
    if policy == "dedicated":
        raise ValueError(
            f"There are {dedicated} schemas already and vespa.max_dedicated is {max_dedicated}: "
            'raise it, or set vespa.placement to "auto".'
        )
    return "pooled"
