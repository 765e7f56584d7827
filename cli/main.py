"""`scrubjay`: the command table, and the place where errors become a line and an exit code.

Nothing of the engine is imported before a command runs, so `--help` answers at once. Each group of
commands is a module of this package; long-running ones (`up`, `serve`, `worker`, `mcp`) are the
modules `up.py`, `serve.py`, `work.py`, `stdio.py` with a function `run`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cli import (
    add,
    admin,
    ask,
    assistant,
    assistants,
    audit,
    bot,
    channels,
    chat,
    conversations,
    credentials,
    deployment,
    docs,
    doctor,
    evaluate,
    file_tree,
    flow,
    groups,
    insight,
    kb,
    kb_grants,
    kb_settings,
    llm,
    mail,
    maintain,
    members,
    model,
    oidc,
    plugins,
    processes,
    reembed,
    scim,
    secret,
    settings,
    sources,
    tenants,
    tokens,
    vespa,
    watch,
    widget,
    workflow,
)
from cli.context import BUG, DONE, EXIT_CODES, REFUSED, Invocation

app = typer.Typer(
    name="scrubjay",
    help="Answers questions from what your team has written, and shows where.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich costs a tenth of a second on every --help
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    ctx: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The data folder (default: SCRUBJAY_HOME)."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The settings file (default: scrubjay.toml in the data folder)."
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            is_eager=True,
            callback=lambda on: _version(on=on),
        ),
    ] = False,
) -> None:
    """Options before the command's name."""
    del version
    invocation = ctx.ensure_object(Invocation)
    invocation.home = home
    invocation.config = config
    invocation.debug = debug


def _version(*, on: bool) -> None:
    if on:
        from importlib.metadata import version

        typer.echo(f"scrubjay {version('scrubjay')}")
        raise typer.Exit


processes.register(app)
app.add_typer(assistants.app)
ask.register(app)
app.add_typer(assistant.app)
app.add_typer(assistant.apps)
app.add_typer(widget.app)
app.add_typer(conversations.app)
add.register(app)
kb_settings.register(kb.app)
kb_grants.register(kb.app)
app.add_typer(admin.app)
chat.register(app)
app.add_typer(bot.app)
reembed.register(kb.app)
app.add_typer(kb.app)
app.add_typer(reembed.app)
watch.register(docs.app)
app.add_typer(docs.app)
app.add_typer(channels.app)
app.add_typer(sources.app)
app.add_typer(credentials.app)
app.add_typer(file_tree.app)
app.add_typer(flow.app)
app.add_typer(plugins.app)
app.add_typer(workflow.app)
maintain.register(app)
deployment.register(app)
app.add_typer(tenants.app)
app.add_typer(members.app)
app.add_typer(members.owner_app)
app.add_typer(groups.app)
app.add_typer(insight.app)
app.add_typer(mail.app)
app.add_typer(oidc.app)
app.add_typer(audit.app)
app.add_typer(tokens.app)
app.add_typer(scim.app)
app.add_typer(settings.app)
doctor.register(app)
evaluate.register(app)
app.add_typer(model.app)
app.add_typer(llm.app)
app.add_typer(llm.quota_app)
app.add_typer(secret.app)
app.add_typer(vespa.app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Every error is reported here, and only here."""
    from engine.errors import EngineError

    if arguments is None:  # the program itself: what it and its children write is its user's alone
        os.umask(os.umask(0o077) | 0o077)
    given = list(sys.argv[1:] if arguments is None else arguments)
    invocation = Invocation(wants_json="--json" in given)
    try:
        command = typer.main.get_command(app)
        command.main(args=given, prog_name="scrubjay", obj=invocation)
    except SystemExit as ended:
        if invocation.wants_json:
            _show_usage(ended, invocation)
        return ended.code if isinstance(ended.code, int) else REFUSED
    except EngineError as error:
        return _report_error(error, invocation)
    except BrokenPipeError:
        return _reader_gone()
    except Exception as error:  # noqa: BLE001 (the person still gets a reason)
        return _report_error(error, invocation)
    return DONE


def _report_error(error: Exception, invocation: Invocation) -> int:
    from engine.errors import EngineError
    from engine.telemetry import redact

    if invocation.debug:
        import traceback

        sys.stderr.write(redact("".join(traceback.format_exception(error))))
    code, ends_with = "internal", BUG
    said = (
        f"internal error ({type(error).__name__}). Run `scrubjay doctor`, or run the "
        "command again with `scrubjay --debug`, and report it"
    )
    if isinstance(error, EngineError):
        code, ends_with = error.code, EXIT_CODES.get(error.code, REFUSED)
        said = redact(str(error))
    sys.stderr.write(f"error: {said}\n")
    if invocation.wants_json:
        _show_error(error, code, said, invocation)
    return ends_with


def _show_usage(ended: SystemExit, invocation: Invocation) -> None:
    """A command line that is itself wrong, which Typer has told on stderr, as JSON too."""
    explain = getattr(ended.__context__, "format_message", None)  # Typer keeps its errors private
    if explain is None:
        return
    from cli import output

    body = {"code": "usage", "message": explain(), "correlation_id": invocation.correlation_id}
    output.show_json({"error": body})


def _show_error(error: Exception, code: str, said: str, invocation: Invocation) -> None:
    """The error as one JSON object on stdout, as REST would say it."""
    from cli import output
    from engine.errors import InvalidInput

    body = {"code": code, "message": said, "correlation_id": invocation.correlation_id}
    if isinstance(error, InvalidInput) and error.field:
        body["field"] = error.field
    output.show_json({"error": body})


def _reader_gone() -> int:
    """The reader of our output has left (`scrubjay docs list | head`): nothing more to say."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the exit flushes again
    return DONE


if __name__ == "__main__":
    sys.exit(main())
