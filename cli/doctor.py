"""`doctor`: checks of the installation, each with what to do if it fails.

Checks are independent: if the data folder can't be opened, disk, settings and model are checked all
the same.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
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
    from engine.plugins import Plugins, Refusal
    from engine.tools.plugin_manager import PluginManager

LEAST_FREE_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report: `todo` is empty if the check passed."""

    name: str
    detail: str
    todo: str = ""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(doctor)


def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Check the installation and suggest fixes.

    A failed check ends with what to do; the exit code is then 3.
    """
    raise typer.Exit(run(_doctor(ctx, as_json=as_json)))


async def _doctor(ctx: typer.Context, *, as_json: bool) -> int:
    from cli import output

    with output.working("checking"):
        checks = [check async for check in _checks(ctx)]
    if as_json:
        output.show_json({"checks": [asdict(check) | {"ok": not check.todo} for check in checks]})
    else:
        for check in checks:
            sign = "bad" if check.todo else "ok "
            todo = f": {check.todo}" if check.todo else ""
            output.show(f"{sign} {check.name:<14} {check.detail}{todo}\n")
    return UNAVAILABLE if any(check.todo for check in checks) else DONE


async def _checks(ctx: typer.Context) -> AsyncIterator[Check]:
    from engine.errors import EngineError
    from engine.operations.integration_probes import open_probes
    from engine.tools.plugin_manager import PluginManager
    from ingestion.connectors.kinds import load_kinds
    from ingestion.pipelines import open_registry

    yield _python()
    try:
        settings = invocation_of(ctx).settings()
    except EngineError as error:
        yield Check("settings", str(error), "correct the settings named here")
        return
    yield Check("settings", "all values are valid")
    yield _folder(settings.home)
    yield _disk(settings.home)
    yield _secret_key(settings)
    yield _parsers()
    if settings.slack.is_set_up:
        yield await _slack(settings)
    if settings.discord.is_set_up:
        yield await _discord(settings)
    plugins = open_registry(settings)
    tools = PluginManager(settings.home, settings.plugins_folder)
    refused = (*tools.refused, *open_probes(folder=settings.plugins_folder).refused)
    for check in _plugins(plugins, tools, refused):
        yield check
    for refusal in load_kinds().refused:
        said = f"{refusal.name} ({refusal.origin}) is not in use"
        yield Check("kind of source", said, refusal.reason)
    try:
        async with opened(ctx) as (engine, principal):
            yield await _pipelines(engine, principal, plugins.registry)
            for name, fault in (await engine.operations.all_health()).items():
                yield Check(name, "unhealthy", fault) if fault else Check(name, "ok")
            for probed in await engine.operations.probe_models():
                yield Check(probed.name, probed.detail, probed.fault)
            for name, fault in await engine.sources.unwell(principal):
                yield Check("source", f"{name} needs attention", fault)
            if settings.mail.is_set_up:
                yield await _mail(engine, settings)
            if settings.mcp.oauth_issuer:
                yield await _sign_in(engine, settings)
    except EngineError as error:
        yield Check("engine", "can't be opened", str(error))


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Check("python", version)


def _folder(home: Path) -> Check:
    if not home.exists():
        return Check("home", f"{home} will be created at the first start")
    if not home.is_dir():
        return Check("home", f"{home} is not a folder", "move it away or set SCRUBJAY_HOME")
    probe = home / ".doctor"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Check(
            "home", f"{home} can't be written ({error.strerror})", "give yourself write access"
        )
    return Check("home", str(home))


def _disk(home: Path) -> Check:
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    said = f"{free / 1e9:.1f} GB free"
    return Check("disk", said, "" if free >= LEAST_FREE_BYTES else "free at least 1 GB")


def _parsers() -> Check:
    """What confines the processes that read files, and whether they read pictures."""
    from ingestion.convert.ocr import is_installed
    from ingestion.sandbox import describe

    pictures = (
        "reads text in scans and pictures, too" if is_installed() else "without the ocr extra"
    )
    return Check("parsers", f"{describe()}, {pictures}")


async def _discord(settings: Settings) -> Check:
    """Whether Discord accepts the token and has turned on the requested intents."""
    from cli.discord_door import load_discord
    from engine.errors import ConfigurationError

    try:
        load_discord()
    except ConfigurationError as error:
        return Check("discord", "can't run", str(error))
    from bots.discord.checkup import check

    return Check("discord", *await check(settings.discord))


async def _slack(settings: Settings) -> Check:
    """Whether Slack accepts the tokens, and gave the bot its scopes."""
    from cli.slack_door import load_slack
    from engine.errors import ConfigurationError

    try:
        load_slack()
    except ConfigurationError as error:
        return Check("slack", "can't run", str(error))
    from bots.slack.checkup import check

    return Check("slack", *await check(settings.slack))


async def _mail(engine: Engine, settings: Settings) -> Check:
    """Whether the mail server answers and lets Scrubjay in."""
    from engine.errors import EngineError

    try:
        await engine.mail.check()
    except EngineError as error:
        return Check("mail", f"{settings.mail.host} can't be used", str(error))
    return Check("mail", f"{settings.mail.host} answers")


async def _sign_in(engine: Engine, settings: Settings) -> Check:
    """Whether the provider of access tokens answers."""
    from engine.errors import EngineError
    from mcp_server.oauth import build_oauth

    try:
        await build_oauth(engine, settings).check()
    except EngineError:
        todo = "check mcp.oauth_issuer, mcp.oauth_jwks_url, and the client of introspection"
        return Check("sign-in", f"{settings.mcp.oauth_issuer} does not answer", todo)
    return Check("sign-in", f"{settings.mcp.oauth_issuer} answers")


def _plugins(plugins: Plugins, tools: PluginManager, refused: Sequence[Refusal]) -> Iterator[Check]:
    """Plugins in use, and each rejected one with the reason."""
    for refusal in dict.fromkeys((*plugins.refused, *refused)):
        yield Check("plugin", f"{refusal.name} ({refusal.origin}) is not in use", refusal.reason)
    if plugins.loaded:
        names = ", ".join(
            f"{item.metadata.name} {item.metadata.version}" for item in plugins.loaded
        )
        yield Check("plugins", names)
    if found := tools.get_llm_tools():
        yield Check("tools of plugins", ", ".join(item.metadata.name for item in found))


async def _pipelines(engine: Engine, principal: Principal, registry: Registry) -> Check:
    """Whether every pipeline in use still loads."""
    from engine.errors import FlowError
    from ingestion.pipelines import load_pipeline, offers_of

    used = [flow for flow in await engine.pipelines.list_all(principal) if flow.knowledge_bases]
    for flow in used:
        try:
            load_pipeline(flow.dsl, registry, offers=offers_of(engine.model))
        except FlowError as error:
            kbs = ", ".join(flow.knowledge_bases)
            return Check("pipelines", f"{flow.name}, used by {kbs}, can't be loaded", str(error))
    return Check("pipelines", ", ".join(flow.name for flow in used) or "none in use")


def _secret_key(settings: Settings) -> Check:
    """Only its owner may read the key file."""
    file = settings.home / "secret.key"
    if settings.system.secret_key.get_secret_value():
        return Check("secret key", "set")
    if not file.exists():
        return Check("secret key", "will be created at the first start")
    if file.stat().st_mode & 0o077:
        return Check("secret key", f"others can read {file}", f"chmod 600 {file}")
    return Check("secret key", "only you can read it")
