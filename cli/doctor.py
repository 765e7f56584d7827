"""`doctor`: what is well, what is not, and the one thing to do about each.

Every check stands by itself: a data folder that can't be opened still gets its disk, settings and
model looked at.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.context import DONE, UNAVAILABLE, Json, invocation_of, opened, run

if TYPE_CHECKING:
    from engine.config import Settings
    from engine.domain import Principal
    from engine.engine import Engine
    from engine.flow.registry import Registry
    from engine.plugins import Plugins

LEAST_FREE_BYTES = 1_000_000_000
NOTHING = "nothing to do"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report: `todo` is empty when all is well."""

    name: str
    detail: str
    todo: str = ""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(doctor)


def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Look everything over and say what to do.

    Each line ends with the one thing to do; the exit code is 3 where there is something.
    """
    raise typer.Exit(run(_doctor(ctx, as_json=as_json)))


async def _doctor(ctx: typer.Context, *, as_json: bool) -> int:
    from cli import output

    with output.working("looking everything over"):
        checks = [check async for check in _checks(ctx)]
    if as_json:
        output.show_json({"checks": [asdict(check) | {"ok": not check.todo} for check in checks]})
    else:
        for check in checks:
            sign = "bad" if check.todo else "ok "
            output.show(f"{sign} {check.name:<10} {check.detail}: {check.todo or NOTHING}\n")
    return UNAVAILABLE if any(check.todo for check in checks) else DONE


async def _checks(ctx: typer.Context) -> AsyncIterator[Check]:
    from engine.errors import EngineError
    from ingestion.pipelines import open_registry

    yield _python()
    try:
        settings = invocation_of(ctx).settings()
    except EngineError as error:
        yield Check("settings", str(error), "correct what is named here")
        return
    yield Check("settings", "every value is allowed")
    yield _folder(settings.home)
    yield _disk(settings.home)
    yield _secret_key(settings)
    yield _parsers()
    if settings.discord.is_set_up:
        yield await _discord(settings)
    plugins = open_registry(settings)
    for check in _plugins(plugins):
        yield check
    try:
        async with opened(ctx) as (engine, principal):
            yield await _pipelines(engine, principal, plugins.registry)
            for name, fault in (await engine.operations.health()).items():
                yield Check(name, "not well", fault) if fault else Check(name, "well")
    except EngineError as error:
        yield Check("engine", "does not open", str(error))


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Check("python", version)


def _folder(home: Path) -> Check:
    if not home.exists():
        return Check("home", f"{home} will be made at the first start")
    if not home.is_dir():
        return Check("home", f"{home} is not a folder", "move it away or set SCRUBJAY_HOME")
    probe = home / ".doctor"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Check("home", f"{home} can't be written ({error.strerror})", "give yourself access")
    return Check("home", str(home))


def _disk(home: Path) -> Check:
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    said = f"{free / 1e9:.1f} GB free"
    return Check("disk", said, "" if free >= LEAST_FREE_BYTES else "free at least 1 GB")


def _parsers() -> Check:
    """What holds the processes that read files, and whether they read pictures."""
    from ingestion.convert.ocr import is_installed
    from ingestion.sandbox import describe

    pictures = "words of scans and pictures too" if is_installed() else "without the ocr extra"
    return Check("parsers", f"{describe()}, {pictures}")


async def _discord(settings: Settings) -> Check:
    """Whether Discord accepts the token, and has the intents turned on that are asked for."""
    from cli.discord_door import load_discord
    from engine.errors import ConfigurationError

    try:
        load_discord()
    except ConfigurationError as error:
        return Check("discord", "can't run", str(error))
    from bots.discord.checkup import check

    return Check("discord", *await check(settings.discord))


def _plugins(plugins: Plugins) -> Iterator[Check]:
    """Plugins in use, and each that is not with the reason."""
    for refusal in plugins.refused:
        yield Check("plugin", f"{refusal.name} ({refusal.origin}) is not in use", refusal.reason)
    if plugins.loaded:
        names = ", ".join(
            f"{item.metadata.name} {item.metadata.version}" for item in plugins.loaded
        )
        yield Check("plugins", names)


async def _pipelines(engine: Engine, principal: Principal, registry: Registry) -> Check:
    """Whether every pipeline that a knowledge base names still loads."""
    from engine.errors import FlowError
    from ingestion.pipelines import load_pipeline, offers_of

    used = [flow for flow in await engine.pipelines.list_all(principal) if flow.knowledge_bases]
    for flow in used:
        try:
            load_pipeline(flow.dsl, registry, offers=offers_of(engine.model))
        except FlowError as error:
            kbs = ", ".join(flow.knowledge_bases)
            return Check("pipelines", f"{flow.name}, of {kbs}, does not load", str(error))
    return Check("pipelines", ", ".join(flow.name for flow in used) or "none in use")


def _secret_key(settings: Settings) -> Check:
    """The key file must be its owner's alone."""
    file = settings.home / "secret.key"
    if settings.system.secret_key.get_secret_value():
        return Check("secret key", "set")
    if not file.exists():
        return Check("secret key", "will be made at the first start")
    if file.stat().st_mode & 0o077:
        return Check("secret key", f"others may read {file}", f"chmod 600 {file}")
    return Check("secret key", "yours alone")
