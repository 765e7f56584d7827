"""Finds components that others wrote: installed packages and the operator's plugin folder.

`engine/runtime.py` calls `load_plugins` once and extends the component registry by what it
finds; nothing is looked for at import. What a plugin says of itself is read before any of its
code runs, so one made for another version is refused without being loaded. A refused plugin
never stops the start: its reason is shown by `scrubjay doctor` and in the log.

An installed package names its components as entry points; its own metadata say which Scrubjay
and which libraries it needs:

    [project.entry-points."scrubjay.components"]
    WordCount = "my_package.words:WordCount"

A plugin folder holds one folder a plugin, with a `plugin.toml` and its modules beside it:

    name = "word-count"
    version = "1.0"
    requires = ">=0.1,<0.2"          # of Scrubjay
    dependencies = ["regex>=2024"]   # must be installed already
    components = ["words:WordCount"]

Tools are found in the same way (`engine/tools/plugin_manager.py`).
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.errors import ConfigurationError
from engine.flow.registry import AnyComponent, Registry, check_component

APP = "scrubjay"
ENTRY_POINTS = "scrubjay.components"
MANIFEST = "plugin.toml"

_PACKAGE = "scrubjay_plugins"  # what a folder's modules are imported under
_log = logging.getLogger("scrubjay.plugins")

Kind = Literal["components", "tools", "probes"]


class PluginMetadata(BaseModel):
    """What a plugin says of itself. `requires` are the versions of Scrubjay it works with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    version: str = Field(min_length=1, max_length=50)
    requires: str = ""
    dependencies: tuple[str, ...] = ()
    components: tuple[str, ...] = ()  # "module:Class"
    tools: tuple[str, ...] = ()  # the same
    probes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _brings_something(self) -> PluginMetadata:
        if not (self.components or self.tools or self.probes):
            raise ValueError("name what it brings: components, tools or probes")
        return self


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that is in use; `origin` says where it was found."""

    metadata: PluginMetadata
    origin: str
    components: tuple[AnyComponent, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A plugin that is not in use, and why."""

    name: str
    origin: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plugins:
    """Everything that was found, in use or not; `registry` holds the components in use."""

    registry: Registry
    loaded: Sequence[Plugin]
    refused: Sequence[Refusal]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin that was found; `load` imports what it brings of the kind that was looked for."""

    metadata: PluginMetadata
    origin: str
    load: Callable[[], Iterable[object]]


def load_plugins(
    registry: Registry,
    *,
    folder: Path | None = None,
    app_version: str | None = None,
    distributions: Iterable[metadata.Distribution] | None = None,
) -> Plugins:
    """`registry` extended by the plugins that fit; those that don't, with the reason.

    `folder` comes only from the operator's settings file: its code runs with all rights.
    """
    version = metadata.version(APP) if app_version is None else app_version
    installed = metadata.distributions() if distributions is None else distributions
    loaded: list[Plugin] = []
    refused: list[Refusal] = []
    candidates = [
        *find_in_distributions(installed, ENTRY_POINTS, "components"),
        *find_in_folder(folder, "components"),
    ]
    for found in candidates:
        if isinstance(found, Refusal):
            refused.append(found)
            continue
        try:
            check_compatible(found.metadata, app_version=version)
            components = tuple(check_component(c) for c in found.load())
            registry = registry.extended(components)
        except ConfigurationError as error:
            refused.append(Refusal(found.metadata.name, found.origin, str(error)))
        except Exception as error:  # noqa: BLE001 (a plugin may fail in any way; the product starts)
            _log.exception("plugin %s (%s) can't be loaded", found.metadata.name, found.origin)
            reason = f"loading it failed ({type(error).__name__}); the log has the details"
            refused.append(Refusal(found.metadata.name, found.origin, reason))
        else:
            loaded.append(Plugin(found.metadata, found.origin, components))
    for refusal in refused:
        _log.warning("plugin %s (%s) refused: %s", refusal.name, refusal.origin, refusal.reason)
    return Plugins(registry, loaded, refused)


def check_compatible(plugin: PluginMetadata, *, app_version: str) -> None:
    """Raise `ConfigurationError` when the plugin wants another Scrubjay or lacks a library."""
    try:
        wanted = SpecifierSet(plugin.requires)
        needs = [Requirement(text) for text in plugin.dependencies]
    except (InvalidSpecifier, InvalidRequirement) as error:
        raise ConfigurationError(f"its requirements can't be read: {error}") from None
    if not wanted.contains(app_version, prereleases=True):
        raise ConfigurationError(
            f"{plugin.name} {plugin.version} needs Scrubjay {plugin.requires}, this is "
            f"{app_version}: install a matching version of the plugin"
        )
    for need in needs:
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            there = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            raise ConfigurationError(f"it needs {need}, which is not installed") from None
        if not need.specifier.contains(there, prereleases=True):
            raise ConfigurationError(f"it needs {need}, but {need.name} {there} is installed")


def find_in_distributions(
    installed: Iterable[metadata.Distribution], group: str, kind: Kind
) -> Iterator[Candidate | Refusal]:
    """The installed packages with entry points of a group."""
    for distribution in installed:
        entries = [e for e in distribution.entry_points if e.group == group]
        if not entries:
            continue
        name = distribution.metadata["Name"]
        requires = []
        for text in distribution.requires or ():
            need = Requirement(text)
            if canonicalize_name(need.name) == APP:
                requires.append(str(need.specifier))
        yield Candidate(
            PluginMetadata.model_validate(
                {
                    "name": name,
                    "version": distribution.version,
                    "requires": ",".join(requires),
                    kind: tuple(entry.value for entry in entries),
                }
            ),
            f"package {name}",
            lambda entries=entries: [entry.load() for entry in entries],  # type: ignore[misc]
        )


def find_in_folder(folder: Path | None, kind: Kind) -> Iterator[Candidate | Refusal]:
    """The plugins of the operator's folder that bring something of a kind."""
    if folder is None:
        return
    if not folder.is_dir():
        yield Refusal(folder.name, str(folder), "the plugin folder does not exist")
        return
    for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
        home = manifest.parent
        try:
            text = manifest.read_text(encoding="utf-8")
            said = PluginMetadata.model_validate(tomllib.loads(text))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            yield Refusal(home.name, str(home), f"{MANIFEST} can't be read: {error}")
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()
            )
            yield Refusal(home.name, str(home), f"{MANIFEST}: {faults}")
        else:
            targets: tuple[str, ...] = getattr(said, kind)
            if targets:
                yield Candidate(
                    said,
                    str(home),
                    lambda home=home, targets=targets: _load_folder(  # type: ignore[misc]
                        home, targets, kind
                    ),
                )


def _load_folder(home: Path, targets: Sequence[str], kind: Kind) -> list[object]:
    """Import the plugin's classes, its modules in a package of their own: each time anew."""
    package = f"{_PACKAGE}_{home.name}" + ("" if kind == "components" else f"_{kind}")
    if not package.isidentifier():
        raise ConfigurationError(
            f"its folder {home.name!r} must be named with letters, digits and _ only"
        )
    spec = importlib.util.spec_from_loader(package, loader=None, is_package=True)
    if spec is None:
        raise ConfigurationError(f"{home} is not a valid package name")
    module = importlib.util.module_from_spec(spec)
    module.__path__ = [str(home)]
    for known in [name for name in sys.modules if name.startswith(f"{package}.")]:
        del sys.modules[known]
    importlib.invalidate_caches()
    sys.modules[package] = module
    classes = []
    for target in targets:
        name, colon, attribute = target.partition(":")
        if not colon or not name or not attribute:
            raise ConfigurationError(f'{target!r} of {kind} must read "module:Class"')
        classes.append(getattr(importlib.import_module(f"{package}.{name}"), attribute))
    return classes
