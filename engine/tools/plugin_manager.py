"""Finds the tools of plugins, in installed packages and in the operator's folder, and again on demand.

An installed package names its tools as entry points:

    [project.entry-points."scrubjay.tools"]
    weather = "my_package.weather:Weather"

A folder's `plugin.toml` names them as `tools = ["weather:Weather"]`. What a plugin says of itself is
read before its code runs, and one that does not fit is refused with the reason. What the operator
sets for a tool stands in `plugins.toml` of the data folder, a table a tool. `scrubjay plugins reload`
leaves a new stamp there: every process of the folder reads the plugins again before the next call.
"""

from __future__ import annotations

import logging
import threading
import tomllib
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.errors import ConfigurationError
from engine.plugins import (
    Candidate,
    Refusal,
    check_compatible,
    find_in_distributions,
    find_in_folder,
)
from engine.tools.contract import LLMToolMetadata, LLMToolPlugin

ENTRY_POINTS = "scrubjay.tools"
CONFIG = "plugins.toml"
STAMP = "plugins.stamp"
_log = logging.getLogger("scrubjay.plugins")


@dataclass(frozen=True, slots=True)
class FoundTool:
    """A tool in use; `origin` says where it was found."""

    metadata: LLMToolMetadata
    tool: LLMToolPlugin
    plugin: str
    version: str
    origin: str


class PluginManager:
    """The tools of an installation. Its methods may be called from any thread."""

    def __init__(
        self,
        home: Path | None = None,
        folder: Path | None = None,
        *,
        app_version: str | None = None,
        distributions: Iterable[metadata.Distribution] | None = None,
    ) -> None:
        self._home, self._folder = home, folder
        self._app_version = app_version or metadata.version("scrubjay")
        self._distributions = distributions
        self._lock = threading.Lock()
        self._tools: Mapping[str, FoundTool] = {}
        self._refused: tuple[Refusal, ...] = ()
        self._stamp: int | None = None  # None: nothing was read yet

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """What is not in use, and why."""
        self._load_if_due()
        return self._refused

    def load_plugins(self) -> list[FoundTool]:
        """Read all plugins again; what is under way goes on with what it has. Blocking."""
        with self._lock:
            return self._load()

    def get_llm_tools(self) -> list[FoundTool]:
        """The tools in use, by name."""
        self._load_if_due()
        return [self._tools[name] for name in sorted(self._tools)]

    def get_llm_tool_by_name(self, name: str) -> FoundTool | None:
        """The tool of that name, if there is one."""
        self._load_if_due()
        return self._tools.get(name)

    def get_llm_tools_by_names(self, names: Collection[str]) -> list[FoundTool]:
        """Those there are, in the order of the names."""
        self._load_if_due()
        return [self._tools[name] for name in names if name in self._tools]

    def _load_if_due(self) -> None:
        if self._stamp == self._present_stamp():
            return
        with self._lock:
            if self._stamp != self._present_stamp():
                self._load()

    def _present_stamp(self) -> int:
        if self._home is None:
            return 0
        try:
            return (self._home / STAMP).stat().st_mtime_ns
        except OSError:
            return 0

    def _load(self) -> list[FoundTool]:
        self._stamp = self._present_stamp()
        tools: dict[str, FoundTool] = {}
        refused: list[Refusal] = []
        try:
            configs = self._configs()
        except ConfigurationError as error:
            refused.append(Refusal(CONFIG, str(self._home), str(error)))
            configs = {}
        installed = metadata.distributions() if self._distributions is None else self._distributions
        found = [
            *find_in_distributions(installed, ENTRY_POINTS, "tools"),
            *find_in_folder(self._folder, "tools"),
        ]
        for item in found:
            if isinstance(item, Refusal):
                refused.append(item)
                continue
            try:
                check_compatible(item.metadata, app_version=self._app_version)
                made: dict[str, FoundTool] = {}
                for target in item.load():
                    tool = _made(target, item, configs, {*tools, *made})
                    made[tool.metadata.name] = tool
            except ConfigurationError as error:
                refused.append(Refusal(item.metadata.name, item.origin, str(error)))
            except Exception as error:  # noqa: BLE001 (a plugin may fail in any way; the product goes on)
                _log.exception("plugin %s (%s) can't be loaded", item.metadata.name, item.origin)
                reason = f"loading it failed ({type(error).__name__}); the log has the details"
                refused.append(Refusal(item.metadata.name, item.origin, reason))
            else:
                tools |= made
        for refusal in refused:
            _log.warning("plugin %s (%s) refused: %s", refusal.name, refusal.origin, refusal.reason)
        self._tools, self._refused = tools, tuple(refused)
        return list(tools.values())

    def _configs(self) -> Mapping[str, Mapping[str, Any]]:
        if self._home is None:
            return {}
        try:
            written = tomllib.loads((self._home / CONFIG).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{CONFIG} can't be read: {error}") from None
        return {name: table for name, table in written.items() if isinstance(table, dict)}


def request_reload(home: Path) -> None:
    """Have every process of the data folder read its plugins again."""
    stamp = home / STAMP
    before = stamp.stat().st_mtime_ns if stamp.exists() else 0
    stamp.touch()
    while stamp.stat().st_mtime_ns == before:  # a clock of coarse steps
        stamp.touch()


def _made(
    target: object,
    found: Candidate,
    configs: Mapping[str, Mapping[str, Any]],
    taken: Container[str],
) -> FoundTool:
    if not isinstance(target, type) or not issubclass(target, LLMToolPlugin):
        raise ConfigurationError("a tool is a subclass of engine.tools.contract.LLMToolPlugin")
    if missing := sorted(target.__abstractmethods__):
        raise ConfigurationError(f"{target.__name__} lacks {', '.join(missing)}")
    said = LLMToolMetadata.model_validate(target.get_metadata())
    if said.name in taken:
        raise ConfigurationError(f"there is a tool {said.name!r} already: rename it")
    try:
        config = target.Config.model_validate(configs.get(said.name, {}))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ConfigurationError(f"{CONFIG}, [{said.name}]: {where}: {fault['msg']}") from None
    plugin = found.metadata
    return FoundTool(said, target(config), plugin.name, plugin.version, found.origin)
