"""The file that describes a deployment: its tables, read from TOML and checked.

What the file leaves out stays as it is. Texts of pipelines and workflows stand in files beside it or
in the file itself; secrets never stand in it: it says which variable or file has them.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.access.permissions import GrantLevel
from engine.assistants.profiles import AssistantProfile, SearchProfile
from engine.domain import Role
from engine.errors import InvalidInput
from engine.people.quotas import Kind as QuotaKind
from engine.sources.intervals import seconds_between

EVERYONE = "everyone"
SECRET_MAX = 64 * 1024

Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SecretRef(_Table):
    """Where a secret is: in an environment variable, or in a file."""

    env: str = ""
    file: str = ""

    @model_validator(mode="after")
    def _names_one(self) -> SecretRef:
        if bool(self.env) == bool(self.file):
            raise ValueError('name one place: { env = "NAME" } or { file = "PATH" }')
        return self

    def read(self, folder: Path) -> str:
        """The secret; `InvalidInput` says which place has none."""
        if self.env:
            if not (found := os.environ.get(self.env, "")):
                raise InvalidInput(f"The variable {self.env} is not set.", field=self.env)
            return found
        path = folder / self.file
        try:
            if path.stat().st_size > SECRET_MAX:
                raise InvalidInput(f"{path} is too large to be a secret.", field="file")
            found = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{path} can't be read: {error}.", field="file") from None
        if not found:
            raise InvalidInput(f"{path} is empty.", field="file")
        return found


class _Graph(_Table):
    """A text of a graph: in a file beside this one, or the graph itself."""

    name: Name
    file: str = ""
    graph: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _has_one(self) -> _Graph:
        if bool(self.file) == (self.graph is not None):
            raise ValueError("give either file or graph")
        return self

    def text(self, folder: Path) -> str:
        """The graph's text."""
        if self.graph is not None:
            return json.dumps(self.graph, ensure_ascii=False, indent=2)
        try:
            return (folder / self.file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"{self.name}: {folder / self.file} can't be read: {error}.", field="file"
            ) from None


class DescribedTenant(_Table):
    """An organisation of this installation."""

    key: Name
    name: str = ""


class DescribedMember(_Table):
    """A person of the tenant."""

    email: Name
    name: str = ""
    role: Role = Role.MEMBER


class DescribedGroup(_Table):
    """A group; without `members` they stay as they are."""

    name: Name
    members: list[Name] | None = None


class DescribedProvider(_Table):
    """An identity provider."""

    key: Name
    kind: str
    client_id: str
    client_secret: SecretRef | None = None
    issuer: str = ""
    name: str = ""
    scopes: str = ""
    api_url: str = ""
    allowed_domains: list[str] = []
    allowed_tenants: list[str] = []
    groups_claim: str = ""
    groups: dict[str, str] = {}
    join_as: Role | None = None
    link_by_email: bool = False


class DescribedModel(_Table):
    """A key for a language model, by "provider:model" or "provider:*"."""

    name: Name
    api_key: SecretRef | None = None
    base_url: str = ""
    enabled: bool = True


class DescribedQuota(_Table):
    """How much may be used."""

    subject: Name = "tenant"
    kind: QuotaKind
    amount: Annotated[int, Field(ge=0)]


class DescribedPipeline(_Graph):
    """A pipeline that documents go through."""


class DescribedWorkflow(_Graph):
    """A workflow; published at once unless `publish` is false."""

    description: str = ""
    publish: bool = True


class DescribedBase(_Table):
    """A knowledge base; what is None stays as it is, or is the default of a new one."""

    name: Name
    description: str | None = None
    model: str = ""
    pipeline: str | None = None
    formats: list[str] | None = None
    search: dict[str, Any] | None = None
    chunking: dict[str, Any] | None = None
    grants: dict[str, GrantLevel] | None = None  # by everyone, group:NAME, user:ADDRESS, …


class DescribedSource(_Table):
    """Where documents of a knowledge base come from."""

    name: Name
    kind: Name
    knowledge_base: Name
    every: str = ""
    settings: dict[str, Any] = {}
    domains: list[str] | None = None
    credential: str = ""  # the name of one that is kept there; secrets are not in the file

    @property
    def every_s(self) -> int | None:
        """Seconds between syncs; 0: by hand, None: as often as the kind usually is."""
        return seconds_between(self.every)


class Deployment(_Table):
    """What a file describes."""

    tenants: list[DescribedTenant] = []
    members: list[DescribedMember] = []
    groups: list[DescribedGroup] = []
    identity_providers: list[DescribedProvider] = []
    language_models: list[DescribedModel] = []
    default_language_model: str | None = None
    quotas: list[DescribedQuota] = []
    pipelines: list[DescribedPipeline] = []
    knowledge_bases: list[DescribedBase] = []
    assistants: list[AssistantProfile] = []
    search_apps: list[SearchProfile] = []
    workflows: list[DescribedWorkflow] = []
    sources: list[DescribedSource] = []

    @model_validator(mode="after")
    def _names_each_once(self) -> Deployment:
        for table, keys in _KEYS.items():
            seen: set[tuple[object, ...]] = set()
            for item in getattr(self, table):
                key = tuple(str(getattr(item, name)).casefold() for name in keys)
                if key in seen:
                    raise ValueError(f"{table}: {' '.join(map(str, key))} stands there twice")
                seen.add(key)
        return self


_KEYS = {
    "tenants": ("key",),
    "members": ("email",),
    "groups": ("name",),
    "identity_providers": ("key",),
    "language_models": ("name",),
    "quotas": ("subject", "kind"),
    "pipelines": ("name",),
    "knowledge_bases": ("name",),
    "assistants": ("name",),
    "search_apps": ("name",),
    "workflows": ("name",),
    "sources": ("name",),
}


def read_deployment(text: str, *, name: str = "deployment.toml") -> Deployment:
    """What a file describes; `InvalidInput` names the table, the field and what is wrong."""
    try:
        found: Mapping[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{name} is not TOML: {error}.", field="file") from None
    try:
        deployment = Deployment.model_validate(found)
    except ValidationError as error:
        lines = [
            f"  {_place(found, fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise InvalidInput("\n".join([f"{name} is invalid:", *lines]), field="file") from None
    for source in deployment.sources:
        seconds_between(source.every)
    return deployment


def _place(found: Mapping[str, Any], where: tuple[int | str, ...]) -> str:
    """`knowledge_bases "handbook".search` for a path of names and numbers."""
    words: list[str] = []
    here: Any = found
    for step in where:
        try:
            here = here[step]
        except (KeyError, IndexError, TypeError):
            here = None
        if isinstance(step, int):
            known = here if isinstance(here, dict) else {}
            label = known.get("name") or known.get("key") or known.get("email")
            words[-1:] = [f"{words[-1]} {json.dumps(label)}" if label else f"{words[-1]}[{step}]"]
        else:
            words.append(step)
    return ".".join(words) or "the file"
