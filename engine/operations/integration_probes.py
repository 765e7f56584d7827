"""Probes of what an installation depends on besides Scrubjay's own parts: of plugins, and by address.

A plugin brings a `HealthProbe`, as a package by the entry point `scrubjay.probes` or in the plugin
folder by `probes = ["module:Class"]`. An operator names addresses in `server.probes`. Each is asked
every so often, in a thread of its own, and what it said last is shown until it is asked again. None
of them decides whether requests are sent here: `/ready` is about Scrubjay alone.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx2

from engine.errors import ConfigurationError
from engine.plugins import Refusal, check_compatible, find_in_distributions, find_in_folder
from engine.settings.section import PROBE_NAME, parse_probes

ENTRY_POINTS = "scrubjay.probes"
AT_ONCE = 8
log = logging.getLogger("scrubjay.plugins")


class HealthProbe(ABC):
    """A probe of a plugin. `every_s` and `timeout_s` are in seconds."""

    name: str
    every_s: ClassVar[float] = 60.0
    timeout_s: ClassVar[float] = 10.0

    @abstractmethod
    def check(self) -> str:
        """Empty where all is well, else what is wrong and what to do. May block."""


class AddressProbe(HealthProbe):
    """Whether an HTTP address answers without an error, or a TCP port takes a connection."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self._address = name, address

    def check(self) -> str:
        """Ask it once."""
        parts = urlsplit(self._address)
        shown = parts.netloc.rpartition("@")[2]
        try:
            if parts.scheme == "tcp":
                with socket.create_connection((parts.hostname, parts.port), self.timeout_s):
                    return ""
            status = httpx2.get(self._address, timeout=self.timeout_s).status_code
        except (OSError, httpx2.HTTPError) as error:
            return f"{shown} does not answer ({type(error).__name__})."
        return "" if status < 400 else f"{shown} answers {status}."


@dataclass(slots=True)
class _ProbeState:
    probe: HealthProbe
    said: str = ""
    at: float = float("-inf")
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class IntegrationProbes:
    """The probes of an installation, and what each said last."""

    probes: Sequence[HealthProbe] = ()
    refused: Sequence[Refusal] = ()
    _asked: dict[str, _ProbeState] = field(default_factory=dict)
    _threads: anyio.CapacityLimiter | None = None  # made in the loop that uses it

    async def faults(self) -> dict[str, str]:
        """Each by name: empty where it is well. Waits for those that were never asked, and no other."""
        for probe in self.probes:
            asked = self._asked.setdefault(probe.name, _ProbeState(probe))
            if asked.task is None and time.monotonic() - asked.at >= probe.every_s:
                asked.task = asyncio.create_task(self._ask(asked))
        new = [one.task for one in self._asked.values() if one.task and one.at == float("-inf")]
        if new:
            await asyncio.wait(new)
        return {probe.name: self._asked[probe.name].said for probe in self.probes}

    async def aclose(self) -> None:
        """Wait for nothing that is still asked."""
        tasks = [one.task for one in self._asked.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, asked: _ProbeState) -> None:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(AT_ONCE)
        probe = asked.probe
        try:
            with anyio.fail_after(probe.timeout_s):
                said = await anyio.to_thread.run_sync(
                    probe.check, limiter=self._threads, abandon_on_cancel=True
                )
            asked.said = " ".join(str(said or "").split())[:500]
        except TimeoutError:
            asked.said = f"It did not answer within {probe.timeout_s:g} s."
        except Exception as error:
            log.exception("the probe %s failed", probe.name)
            asked.said = f"The probe failed ({type(error).__name__}); the log has the details."
        finally:
            asked.at, asked.task = time.monotonic(), None


def open_probes(
    addresses: str = "",
    *,
    folder: Path | None = None,
    app_version: str | None = None,
    distributions: Iterable[metadata.Distribution] | None = None,
) -> IntegrationProbes:
    """The probes of plugins and of `name=address` pairs; what does not fit says why."""
    version = app_version or metadata.version("scrubjay")
    installed = metadata.distributions() if distributions is None else distributions
    probes: dict[str, HealthProbe] = {
        name: AddressProbe(name, address) for name, address in parse_probes(addresses)
    }
    refused: list[Refusal] = []
    for found in [
        *find_in_distributions(installed, ENTRY_POINTS, "probes"),
        *find_in_folder(folder, "probes"),
    ]:
        if isinstance(found, Refusal):
            refused.append(found)
            continue
        try:
            check_compatible(found.metadata, app_version=version)
            made: dict[str, HealthProbe] = {}
            for target in found.load():
                probe = _checked(target, {*probes, *made})
                made[probe.name] = probe
        except ConfigurationError as error:
            refused.append(Refusal(found.metadata.name, found.origin, str(error)))
        except Exception as error:
            log.exception("plugin %s (%s) can't be loaded", found.metadata.name, found.origin)
            reason = f"loading it failed ({type(error).__name__}); the log has the details"
            refused.append(Refusal(found.metadata.name, found.origin, reason))
        else:
            probes |= made
    return IntegrationProbes(list(probes.values()), refused)


def _checked(target: object, taken: set[str]) -> HealthProbe:
    if not isinstance(target, type) or not issubclass(target, HealthProbe):
        raise ConfigurationError(
            "a probe is a subclass of engine.operations.integration_probes.HealthProbe"
        )
    if missing := sorted(target.__abstractmethods__):
        raise ConfigurationError(f"{target.__name__} lacks {', '.join(missing)}")
    name = getattr(target, "name", "")
    if not isinstance(name, str) or not PROBE_NAME.fullmatch(name):
        raise ConfigurationError(
            f"{target.__name__} needs a name of small letters, digits, - and _"
        )
    if name in taken:
        raise ConfigurationError(f"there is a probe {name!r} already: rename it")
    return target()
