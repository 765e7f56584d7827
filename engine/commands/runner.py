"""Runs a command: checks who may, then calls the function of its family.

Bots call `run` for slash commands, and the command line for its admin commands. Permission is
checked here, whatever a door has checked before; each change is audited by the verb that makes it.
`ask` is not here: it is a question, and its door answers it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from engine.chats.callers import Caller
from engine.commands import (
    allowances,
    assistants,
    documents,
    everyone,
    history,
    knowledge,
    operating,
    people,
    places,
    sources,
    workflows,
)
from engine.commands.permissions import may_use
from engine.commands.results import CommandResult
from engine.commands.table import (
    Command,
    Parsed,
)
from engine.engine import Engine
from engine.errors import Forbidden

Run = Callable[[Engine, Caller, Parsed], Awaitable[CommandResult]]

RUNS: Mapping[str, Run] = {
    "anonymous": places.anonymous,
    "assistant bind": assistants.bind,
    "assistant create": assistants.create,
    "assistant list": assistants.list_all,
    "assistant remove": assistants.remove,
    "assistant set": assistants.set_,
    "assistant show": assistants.show,
    "assistant unbind": assistants.unbind,
    "audit": operating.audit_log,
    "bind": places.bind,
    "create": knowledge.create,
    "delete": knowledge.delete,
    "document hide": documents.hide,
    "document set": documents.set_,
    "document unhide": documents.unhide,
    "escalate-to": places.escalate_to,
    "export-settings": places.export_settings,
    "feedback report": operating.feedback_report,
    "feedback": everyone.feedback,
    "forget": history.forget,
    "grant": knowledge.grant,
    "health": operating.health,
    "help": everyone.show_help,
    "ingest add": history.add,
    "ingest pause": history.pause,
    "ingest remove": history.remove,
    "ingest resume": history.resume,
    "ingest status": history.status,
    "language": places.language,
    "limits credits": allowances.credits_left,
    "limits model": allowances.choose_model,
    "limits models": allowances.list_models,
    "limits quota": allowances.set_quota,
    "limits quotas": allowances.list_quotas,
    "limits set": operating.set_limit,
    "limits": operating.limits,
    "link": everyone.link,
    "list": knowledge.list_all,
    "mode": places.mode,
    "people activate": people.activate,
    "people add": people.add,
    "people deactivate": people.deactivate,
    "people group-add": people.add_to_group,
    "people group-create": people.create_group,
    "people group-delete": people.delete_group,
    "people group-remove": people.remove_from_group,
    "people groups": people.list_groups,
    "people invitations": people.list_invitations,
    "people invite": people.invite,
    "people list": people.list_all,
    "people provider-check": people.check_provider,
    "people provider-remove": people.remove_provider,
    "people providers": people.list_providers,
    "people remove": people.remove,
    "people reset-factors": people.reset_factors,
    "people role": people.set_role,
    "people test-mail": people.try_mail,
    "people uninvite": people.uninvite,
    "privacy": everyone.privacy,
    "private": places.private,
    "answer-bots": places.answer_bots,
    "ranking reset": knowledge.reset_ranking,
    "ranking set": knowledge.set_ranking,
    "reembed": knowledge.reembed,
    "ranking show": knowledge.show_ranking,
    "respond-to": places.respond_to,
    "retention": history.retention,
    "revoke": knowledge.revoke,
    "roles give": operating.give_role,
    "roles take": operating.take_role,
    "roles": operating.roles,
    "search": everyone.search,
    "setup": places.setup,
    "show": places.show,
    "source add": knowledge.add_source,
    "source check": sources.check,
    "source confirm": sources.confirm,
    "source connect": sources.connect,
    "source list": sources.list_all,
    "source pause": sources.pause,
    "source remove": sources.remove,
    "source resume": sources.resume,
    "source show": sources.show,
    "source status": knowledge.source_status,
    "source sync": knowledge.sync_source,
    "source why": sources.why,
    "sources": everyone.sources,
    "threshold": places.threshold,
    "unbind": places.unbind,
    "unlink": everyone.unlink,
    "usage searches": operating.searches,
    "usage storage": operating.storage,
    "usage": operating.usage,
    "run": workflows.run,
    "workflow cancel": workflows.cancel,
    "workflow list": workflows.list_all,
    "workflow questions": workflows.questions,
    "workflow reply": workflows.reply,
    "workflow runs": workflows.list_runs,
    "workflow show": workflows.show,
}


async def run(engine: Engine, caller: Caller, parsed: Parsed) -> CommandResult:
    """Do what a command says. Raises `Forbidden` for a caller who may not, and what its verb raises."""
    require(caller, parsed.command)
    return await RUNS[parsed.command.name](engine, caller, parsed)


def require(caller: Caller, command: Command) -> None:
    """Return when the caller may use the command, else raise `Forbidden` with who may."""
    if not may_use(caller, command):
        raise Forbidden(
            f"`{command.name}` is for {command.permission}: workspace admins, the person who"
            " installed the bot, or anyone with a role from `roles give`."
        )
