"""The reference pages, made from the code they describe: `python -m cli.reference` writes them.

`make fix` runs it, and a test compares: a page that says something else than the code fails.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from cli import licences, mcp_reference
from cli.main import app
from engine import errors
from engine.commands.table import COMMANDS, Permission
from engine.config import allowed, fields, masked, variable
from engine.db.describe import describe_tables
from engine.settings import Settings

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE = "<!-- Made by `python -m cli.reference`; change the code, not this page. -->\n"
WIDTH = 80

EXIT_CODES = """\
| code | meaning |
|---|---|
| 0 | done |
| 1 | refused: the input is wrong, the thing is absent or exists already, or you may not |
| 2 | the command line itself is wrong |
| 3 | not available now: database, index, model, disk, or another process holds the data folder |
| 4 | a setting is unknown, bad or missing |
| 5 | some documents failed, the others are done |
| 70 | a fault in Scrubjay |
| 130 | interrupted with Ctrl-C |
"""


def pages() -> dict[str, str]:
    """Every reference page by file name."""
    return {
        "cli.md": cli_page(),
        "commands.md": commands_page(),
        "errors.md": errors_page(),
        "licences.md": MADE + licences.page(),
        "mcp.md": MADE + "\n" + mcp_reference.page(),
        "settings.md": settings_page(),
        "tables.md": tables_page(),
    }


def settings_page() -> str:
    """Every setting: default, what it takes, environment variable, help."""
    out = [
        MADE,
        "# Settings\n",
        (
            "Defaults are overruled by `scrubjay.toml` in the data folder (or the file named with "
            "`--config` or `SCRUBJAY_CONFIG`), and that by the environment. `scrubjay config show` "
            "tells each value and where it comes from; an unknown or bad value stops the start and "
            "is named with what is allowed.\n"
        ),
        (
            "`SCRUBJAY_HOME` names the data folder; without it the platform's folder for user data is "
            "taken.\n"
        ),
    ]
    last = ""
    for section, name, field in fields():
        if section != last:
            last = section
            annotation = Settings.model_fields[section].annotation
            help_text = (getattr(annotation, "__doc__", "") or "").splitlines()[0]
            out.append(f"## {section}\n\n{help_text}\n")
        dotted = f"{section}.{name}"
        default = masked(dotted, field.get_default())
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        out.append(
            f"### {dotted}\n\n{field.description}\n\n"
            f"Default: {f'`{shown}`' if shown else 'empty'}. Takes {allowed(field)}. "
            f"Environment: `{variable(dotted)}`.\n"
        )
    return "\n".join(out)


def cli_page() -> str:
    """Every command with its help, and the exit codes."""
    out = [
        MADE,
        "# Command line\n",
        (
            "Options before the command's name apply to all. `--json` prints JSON; `--as USER` acts "
            "for another user than the local owner. Answers go to standard output, everything else "
            "to standard error.\n"
        ),
        "## Exit codes\n",
        EXIT_CODES,
    ]
    for path, text in _helps(get_command(app), "scrubjay", None):
        out.append(f"## {path}\n\n```text\n{text}\n```\n")
    return "\n".join(out)


def _helps(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """The help of a command and of all below it; Typer keeps its command classes private."""
    context = typer.Context(command, info_name=name, parent=parent, terminal_width=WIDTH)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield context.command_path, text
    for below, inner in getattr(command, "commands", {}).items():
        yield from _helps(inner, below, context)


def commands_page() -> str:
    """Every command of the chat bots, from the command table."""
    out = [
        MADE,
        "# Commands in a chat\n",
        (
            "In Slack after `/kb`, in `scrubjay chat` the same, and on the command line after "
            "`scrubjay admin`. Answers to commands are for your eyes only. What *changes* something "
            "leaves an audit row; what *destroys* something is done once the same person has "
            "confirmed it within a minute. A channel's setting overrules its workspace's, and that "
            "the default.\n"
        ),
    ]
    for permission in Permission:
        of = [command for command in COMMANDS if command.permission is permission]
        if not of:
            continue
        out.append(f"## For {permission}\n\n| command | what it does | |\n|---|---|---|")
        for command in of:
            usage = command.usage.replace("|", "\\|")
            example = f" For example `{command.example}`." if command.example else ""
            out.append(f"| `{usage}` | {command.help}{example} | {command.effect} |")
        out.append("")
    return "\n".join(out).rstrip("\n") + "\n"


def errors_page() -> str:
    """Every error code that doors tell."""
    out = [
        MADE,
        "# Errors\n",
        (
            "What every door tells when it refuses: a code for programs, and a sentence for people "
            "that says what happened, to what, and what to do next.\n"
        ),
        "| code | error | meaning |\n|---|---|---|",
    ]
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    for kind in kinds:
        if issubclass(kind, errors.EngineError) and "code" in vars(kind):
            meaning = (kind.__doc__ or "").split("\n\n")[0].replace("\n", " ")
            out.append(f"| `{kind.code}` | {kind.__name__} | {' '.join(meaning.split())} |")
    return "\n".join(out) + "\n"


def tables_page() -> str:
    """Every table with its columns."""
    out = [
        MADE,
        "# Database tables\n",
        (
            "The same on SQLite and PostgreSQL. `scrubjay backup` writes them by name; nothing else "
            "is promised about them: go through a door or the engine, which check who may see what. "
            "Ids are 32 hexadecimal digits that sort by time; times are UTC.\n"
        ),
    ]
    for table in describe_tables():
        out.append(f"## {table.name}\n\n| column | type | refers to |\n|---|---|---|")
        for column in table.columns:
            key = " (key)" if column.is_key else ""
            kind = column.kind + (", may be empty" if column.may_be_empty else "")
            refers = f"`{column.refers_to}`" if column.refers_to else ""
            out.append(f"| `{column.name}`{key} | {kind} | {refers} |")
        unique = "; ".join(", ".join(f"`{name}`" for name in names) for names in table.unique)
        out.append(f"\nUnique: {unique}.\n" if unique else "")
    return "\n".join(out).rstrip("\n") + "\n"


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {FOLDER / name}\n")


if __name__ == "__main__":
    main()
