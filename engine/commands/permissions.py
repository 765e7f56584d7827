"""Which commands somebody may use: `help` shows these, and `runner` runs no other."""

from __future__ import annotations

from engine.chats.callers import Caller
from engine.commands.table import COMMANDS, Command, Permission


def may_use(caller: Caller, command: Command) -> bool:
    """Whether the caller may use a command here."""
    match command.permission:
        case Permission.EVERYONE:
            return True
        case Permission.CURATOR:
            return caller.is_curator
        case Permission.ADMIN:
            return caller.is_admin


def usable(caller: Caller) -> list[Command]:
    """The commands the caller may use here, in the table's order."""
    return [command for command in COMMANDS if may_use(caller, command)]
