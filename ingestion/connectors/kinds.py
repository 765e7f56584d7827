"""The kinds of sources of this installation: those that ship, and those of installed packages.

A package names its kinds as entry points; its own metadata say which Scrubjay it needs:

    [project.entry-points."scrubjay.sources"]
    status = "my_package.status:StatusConnector"

One that does not fit is refused with a reason, which `scrubjay doctor` and the log show, and never
stops the start. None replaces a kind that is there.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from engine.errors import ConfigurationError
from engine.plugins import APP, PluginMetadata, Refusal, check_compatible
from engine.sources.contract import Connector, KindSettings
from ingestion.connectors.folder import FolderConnector
from ingestion.connectors.git import GitConnector
from ingestion.connectors.github import GitHubConnector
from ingestion.connectors.s3 import S3Connector
from ingestion.connectors.web import WebConnector

ENTRY_POINTS = "scrubjay.sources"
SHIPPED: tuple[type[Connector[Any]], ...] = (
    FolderConnector,
    GitConnector,
    GitHubConnector,
    S3Connector,
    WebConnector,
)
_KIND = re.compile(r"[a-z][a-z0-9_]{1,39}")
_TAKEN = frozenset(("upload", "slack", "discord", "removed"))  # kinds of other rows
_log = logging.getLogger("scrubjay.plugins")


@dataclass(frozen=True, slots=True)
class SourceKinds:
    """The connectors that are in use, by kind, and those that are not, each with its reason."""

    connectors: Mapping[str, Connector[Any]]
    refused: tuple[Refusal, ...] = ()


def open_connectors() -> Mapping[str, Connector[Any]]:
    """A connector for each kind; it opens nothing until it is asked."""
    return load_kinds().connectors


def load_kinds(
    *, entries: Iterable[metadata.EntryPoint] | None = None, app_version: str | None = None
) -> SourceKinds:
    """The kinds that ship, and those that installed packages bring."""
    found = metadata.entry_points(group=ENTRY_POINTS) if entries is None else entries
    connectors: dict[str, Connector[Any]] = {one.kind: one() for one in SHIPPED}
    refused: list[Refusal] = []
    for entry in found:
        try:
            made = _load(entry, app_version or metadata.version(APP), taken=connectors)
        except ConfigurationError as error:
            refused.append(Refusal(entry.name, _origin(entry), str(error)))
        except Exception as error:  # noqa: BLE001 (a package may fail in any way; the product starts)
            _log.exception("source %s (%s) can't be loaded", entry.name, _origin(entry))
            reason = f"loading it failed ({type(error).__name__}); the log has the details"
            refused.append(Refusal(entry.name, _origin(entry), reason))
        else:
            connectors[made.kind] = made
    for refusal in refused:
        _log.warning("source %s (%s) refused: %s", refusal.name, refusal.origin, refusal.reason)
    return SourceKinds(connectors, tuple(refused))


def _load(entry: metadata.EntryPoint, app_version: str, *, taken: Container[str]) -> Connector[Any]:
    """The connector of an entry point; what its package needs is read before its code runs."""
    if entry.dist is not None:
        needed = [Requirement(text) for text in entry.dist.requires or ()]
        of_ours = [one.specifier for one in needed if canonicalize_name(one.name) == APP]
        said = PluginMetadata(
            name=entry.dist.metadata["Name"],
            version=entry.dist.version,
            requires=",".join(str(one) for one in of_ours),
            components=(entry.value,),
        )
        check_compatible(said, app_version=app_version)
    made = check_connector(entry.load())
    if made.kind in taken:
        raise ConfigurationError(f"there is a kind {made.kind!r} already: rename it")
    return made


def check_connector(found: object) -> Connector[Any]:
    """A connector of this class. Raises `ConfigurationError` where it is none that can be used."""
    if not isinstance(found, type) or not issubclass(found, Connector):
        raise ConfigurationError("it is no subclass of engine.sources.contract.Connector")
    if missing := sorted(found.__abstractmethods__):
        raise ConfigurationError(f"it lacks {', '.join(missing)}")
    kind = getattr(found, "kind", "")
    if not isinstance(kind, str) or not _KIND.fullmatch(kind) or kind in _TAKEN:
        raise ConfigurationError(
            f"its kind {kind!r} must be a name of its own, of small letters, digits and _"
        )
    settings = getattr(found, "settings", None)
    if not inspect.isclass(settings) or not issubclass(settings, KindSettings):
        raise ConfigurationError("its settings must be a subclass of KindSettings")
    if not isinstance(getattr(found, "title", None), str):
        raise ConfigurationError("it needs a title")
    needs = {"feed": ("start", "feed"), "access": ("access",), "groups": ("groups",)}
    for offer, methods in needs.items():
        for method in methods:
            if getattr(found.offers, offer) and getattr(found, method) is getattr(
                Connector, method
            ):
                raise ConfigurationError(f"it offers {offer} and lacks {method}")
    return found()


def _origin(entry: metadata.EntryPoint) -> str:
    return f"package {entry.dist.metadata['Name']}" if entry.dist is not None else entry.value
