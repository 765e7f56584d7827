"""What the command line and the chats can do, REST can do: each command has an operation, or a reason."""

from __future__ import annotations

import json
from typing import Any

import typer
from typer.main import get_command

from api.routes.openapi import FILE
from cli.main import app
from engine.commands.runner import RUNS
from engine.commands.table import COMMANDS, Permission

# Commands of the command line by the operation that does the same.
OPERATIONS = {
    "add": "POST /api/v1/knowledge_bases/{kb}/documents",
    "admin run": "POST /api/v1/workspaces/{workspace}/commands",
    "ask": "POST /api/v1/ask",
    "assistant create": "POST /api/v1/assistants",
    "assistant list": "GET /api/v1/assistants",
    "assistant remove": "DELETE /api/v1/assistants/{assistant}",
    "assistant set": "PATCH /api/v1/assistants/{assistant}",
    "assistant show": "GET /api/v1/assistants/{assistant}",
    "insight status": "GET /api/v1/production_status",
    "widget add": "POST /api/v1/widgets",
    "widget list": "GET /api/v1/widgets",
    "widget remove": "DELETE /api/v1/widgets/{widget}",
    "audit export": "GET /api/v1/audit/export",
    "audit list": "GET /api/v1/audit",
    "audit verify": "GET /api/v1/audit/verification",
    "bot list": "GET /api/v1/workspaces",
    "channel add": "POST /api/v1/sources/channels",
    "channel forget": "DELETE /api/v1/sources/people/{person}",
    "channel keep": "PATCH /api/v1/sources/channels/{channel}",
    "channel list": "GET /api/v1/sources/channels",
    "channel pause": "PATCH /api/v1/sources/channels/{channel}",
    "channel remove": "DELETE /api/v1/sources/channels/{channel}",
    "channel resume": "PATCH /api/v1/sources/channels/{channel}",
    "channel show": "GET /api/v1/sources/channels/{channel}",
    "config show": "GET /api/v1/settings",
    "conversation delete": "DELETE /api/v1/conversations/{id}",
    "conversation export": "GET /api/v1/conversations/{id}/export",
    "conversation list": "GET /api/v1/conversations",
    "conversation rename": "PATCH /api/v1/conversations/{id}",
    "conversation show": "GET /api/v1/conversations/{id}",
    "docs cancel": "POST /api/v1/documents/{id}/cancel",
    "docs delete": "DELETE /api/v1/documents/{id}",
    "docs hide": "PATCH /api/v1/documents/{id}",
    "docs list": "GET /api/v1/documents",
    "docs retry": "POST /api/v1/documents/{id}/retry",
    "docs set": "PATCH /api/v1/documents/{id}",
    "docs show": "GET /api/v1/fetch/{id}",
    "docs unhide": "PATCH /api/v1/documents/{id}",
    "docs watch": "GET /api/v1/documents/{id}/events",
    "docs why": "GET /api/v1/documents/{id}",
    "file add": "POST /api/v1/files",
    "file get": "GET /api/v1/files/{id}/content",
    "file link": "PUT /api/v1/files/{id}/knowledge_bases/{kb}",
    "file list": "GET /api/v1/files",
    "file mkdir": "POST /api/v1/folders",
    "file move": "PATCH /api/v1/files/{id}",
    "file remove": "DELETE /api/v1/files/{id}",
    "file rename": "PATCH /api/v1/files/{id}",
    "file share": "PUT /api/v1/files/{id}/grants/{to}",
    "file shares": "GET /api/v1/files/{id}/grants",
    "file unlink": "DELETE /api/v1/files/{id}/knowledge_bases/{kb}",
    "file unshare": "DELETE /api/v1/files/{id}/grants/{to}",
    "flow components": "GET /api/v1/components",
    "flow delete": "DELETE /api/v1/pipelines/{pipeline}",
    "flow draw": "GET /api/v1/pipelines/{pipeline}/drawing",
    "flow export": "GET /api/v1/pipelines/{pipeline}",
    "flow import": "PUT /api/v1/pipelines/{pipeline}",
    "flow list": "GET /api/v1/pipelines",
    "flow show": "GET /api/v1/pipelines/{pipeline}",
    "flow validate": "POST /api/v1/pipelines/validate",
    "group add": "PUT /api/v1/groups/{group}/members/{member}",
    "group create": "POST /api/v1/groups",
    "group delete": "DELETE /api/v1/groups/{group}",
    "group list": "GET /api/v1/groups",
    "group remove": "DELETE /api/v1/groups/{group}/members/{member}",
    "group show": "GET /api/v1/groups/{group}/members",
    "insight gaps list": "GET /api/v1/gaps",
    "insight gaps mark": "PATCH /api/v1/gaps/{gap}",
    "insight gaps show": "GET /api/v1/gaps/{gap}",
    "insight stats": "GET /api/v1/statistics",
    "kb create": "POST /api/v1/knowledge_bases",
    "kb delete": "DELETE /api/v1/knowledge_bases/{kb}",
    "kb grant": "PUT /api/v1/knowledge_bases/{kb}/grants/{to}",
    "kb grants": "GET /api/v1/knowledge_bases/{kb}/grants",
    "kb list": "GET /api/v1/knowledge_bases",
    "kb owner": "PUT /api/v1/knowledge_bases/{kb}/owner",
    "kb reembed": "POST /api/v1/knowledge_bases/{kb}/reembed",
    "kb reindex": "POST /api/v1/knowledge_bases/{kb}/reindex",
    "kb revoke": "DELETE /api/v1/knowledge_bases/{kb}/grants/{to}",
    "kb search": "PATCH /api/v1/knowledge_bases/{kb}/search",
    "kb set": "PATCH /api/v1/knowledge_bases/{kb}",
    "kb show": "GET /api/v1/knowledge_bases/{kb}",
    "credential add": "POST /api/v1/credentials",
    "credential list": "GET /api/v1/credentials",
    "credential remove": "DELETE /api/v1/credentials/{credential}",
    "credential set": "PUT /api/v1/credentials/{credential}",
    "credential test": "POST /api/v1/credentials/{credential}/test",
    "mail test": "POST /api/v1/mail/test",
    "llm default": "PUT /api/v1/llm/default",
    "llm list": "GET /api/v1/llm/keys",
    "llm models": "GET /api/v1/llm/models",
    "llm remove": "DELETE /api/v1/llm/keys/{name}",
    "llm set": "PUT /api/v1/llm/keys/{name}",
    "llm usage": "GET /api/v1/usage",
    "plugins call": "POST /api/v1/tools/{tool}/call",
    "plugins list": "GET /api/v1/tools",
    "mcp allow": "PUT /api/v1/external_tools/{pattern}",
    "mcp calls": "GET /api/v1/tool_calls",
    "mcp deny": "DELETE /api/v1/external_tools/{pattern}",
    "member activate": "PATCH /api/v1/members/{member}",
    "member add": "POST /api/v1/members",
    "member deactivate": "PATCH /api/v1/members/{member}",
    "member invitations": "GET /api/v1/invitations",
    "member invite": "POST /api/v1/invitations",
    "member list": "GET /api/v1/members",
    "member password": "POST /api/v1/members/{member}/password_link",
    "member remove": "DELETE /api/v1/members/{member}",
    "member reset-factors": "DELETE /api/v1/members/{member}/factors",
    "member role": "PATCH /api/v1/members/{member}",
    "member uninvite": "DELETE /api/v1/invitations/{invitation}",
    "member unlink": "DELETE /api/v1/members/{member}/identities",
    "oidc add": "POST /api/v1/identity_providers",
    "oidc check": "POST /api/v1/identity_providers/{provider}/check",
    "oidc list": "GET /api/v1/identity_providers",
    "oidc remove": "DELETE /api/v1/identity_providers/{provider}",
    "quota list": "GET /api/v1/quotas",
    "quota remove": "DELETE /api/v1/quotas/{subject}/{kind}",
    "quota set": "PUT /api/v1/quotas/{subject}/{kind}",
    "reconcile": "POST /api/v1/reconcile",
    "scim create": "POST /api/v1/scim/clients",
    "scim list": "GET /api/v1/scim/clients",
    "scim revoke": "DELETE /api/v1/scim/clients/{scim_client}",
    "search": "POST /api/v1/search",
    "search-app create": "POST /api/v1/search_apps",
    "search-app find": "POST /api/v1/search_apps/{app}/search",
    "search-app list": "GET /api/v1/search_apps",
    "search-app remove": "DELETE /api/v1/search_apps/{app}",
    "search-app set": "PATCH /api/v1/search_apps/{app}",
    "search-app show": "GET /api/v1/search_apps/{app}",
    "source add": "POST /api/v1/sources/connected",
    "source check": "POST /api/v1/sources/connected/{source}/check",
    "source confirm": "POST /api/v1/sources/connected/{source}/confirm",
    "source kinds": "GET /api/v1/sources/kinds",
    "source list": "GET /api/v1/sources/connected",
    "source pause": "POST /api/v1/sources/connected/{source}/pause",
    "source preview": "POST /api/v1/sources/preview",
    "source remove": "DELETE /api/v1/sources/connected/{source}",
    "source resume": "POST /api/v1/sources/connected/{source}/resume",
    "source set": "PATCH /api/v1/sources/connected/{source}",
    "source show": "GET /api/v1/sources/connected/{source}",
    "source sync": "POST /api/v1/sources/connected/{source}/sync",
    "source why": "GET /api/v1/sources/connected/{source}/left_out",
    "status": "GET /api/v1/status",
    "token create": "POST /api/v1/tokens",
    "token list": "GET /api/v1/tokens",
    "token revoke": "DELETE /api/v1/tokens/{id}",
    "secret list": "GET /api/v1/secrets",
    "secret remove": "DELETE /api/v1/secrets/{name}",
    "secret set": "PUT /api/v1/secrets/{name}",
    "workflow components": "GET /api/v1/workflows/components",
    "workflow delete": "DELETE /api/v1/workflows/{workflow}",
    "workflow draw": "GET /api/v1/workflows/{workflow}/drawing",
    "workflow export": "GET /api/v1/workflows/{workflow}",
    "workflow import": "POST /api/v1/workflows",
    "workflow list": "GET /api/v1/workflows",
    "workflow publish": "POST /api/v1/workflows/{workflow}/publish",
    "workflow reply": "POST /api/v1/workflow_executions/{execution}/reply",
    "workflow run": "POST /api/v1/workflows/{workflow}/execute",
    "workflow runs": "GET /api/v1/workflow_executions",
    "workflow show": "GET /api/v1/workflows/{workflow}",
    "workflow trigger add": "POST /api/v1/workflow_triggers",
    "workflow trigger list": "GET /api/v1/workflow_triggers",
    "workflow trigger pause": "PATCH /api/v1/workflow_triggers/{trigger}",
    "workflow trigger remove": "DELETE /api/v1/workflow_triggers/{trigger}",
    "workflow trigger resume": "PATCH /api/v1/workflow_triggers/{trigger}",
    "workflow validate": "POST /api/v1/workflows/validate",
}

# What makes no sense over REST, and why.
PROCESS = "starts a process on the operator's machine"
MACHINE = "is about the files of the operator's machine"
OPERATOR = "is for the person who runs the installation, above every tenant"
CHAT = "needs a person in a chat"
FILES = (
    "reads secrets and texts of graphs on the machine that runs it; each change has an operation"
)
NOT_OVER_REST = {
    "admin serve": PROCESS,
    "admin token": OPERATOR,
    "apply": FILES,
    "backup": MACHINE,
    "bot discord": PROCESS,
    "bot discord-key": OPERATOR,
    "bot install-link": OPERATOR,
    "bot link": CHAT,
    "bot manifest": OPERATOR,
    "bot register": OPERATOR,
    "bot slack": PROCESS,
    "chat": "is a conversation in a terminal; /api/v1/conversations holds one",
    "config path": MACHINE,
    "doctor": MACHINE,
    "eval": MACHINE,
    "export": FILES,
    "flow run": "reads a file in child processes of the operator's machine and stores nothing",
    "index migrate": OPERATOR,
    "mcp bundle": MACHINE,
    "mcp config": MACHINE,
    "mcp tools": "asks servers that only the operator's file names",
    "model install": MACHINE,
    "model list": MACHINE,
    "model use": MACHINE,
    "plugins reload": OPERATOR,
    "owner create": OPERATOR,
    "restore": MACHINE,
    "serve": PROCESS,
    "tenant create": OPERATOR,
    "tenant credits": OPERATOR,
    "tenant delete": OPERATOR,
    "tenant export": OPERATOR,
    "tenant limit": OPERATOR,
    "tenant list": OPERATOR,
    "tenant llm": OPERATOR,
    "tenant resume": OPERATOR,
    "tenant suspend": OPERATOR,
    "up": PROCESS,
    "vespa deploy": OPERATOR,
    "vespa plan": OPERATOR,
    "vespa render": OPERATOR,
    "vespa status": OPERATOR,
    "worker": PROCESS,
}

# Commands of chats that everybody may say; all others go through the workspace's operation.
OF_CHATS = {
    "assistant list": "GET /api/v1/assistants",
    "assistant show": "GET /api/v1/assistants/{assistant}",
    "ask": "POST /api/v1/ask",
    "run": "POST /api/v1/workflows/{workflow}/execute",
    "search": "POST /api/v1/search",
    "workflow cancel": "POST /api/v1/workflow_executions/{execution}/cancel",
    "workflow list": "GET /api/v1/workflows",
    "workflow questions": "GET /api/v1/workflow_questions",
    "workflow reply": "POST /api/v1/workflow_executions/{execution}/reply",
    "workflow runs": "GET /api/v1/workflow_executions",
    "workflow show": "GET /api/v1/workflow_executions/{execution}",
    "sources": "GET /api/v1/knowledge_bases",
}
ONLY_IN_CHATS = {
    "feedback": CHAT,
    "help": "GET /api/v1/commands lists them",
    "link": CHAT,
    "privacy": CHAT,
    "unlink": CHAT,
}


def served() -> set[str]:
    paths = json.loads(FILE.read_text(encoding="utf-8"))["paths"]
    return {
        f"{method.upper()} {path}"
        for path, item in paths.items()
        for method in item
        if method != "parameters"
    }


def leaves(command: Any, path: str = "") -> list[str]:
    below = getattr(command, "commands", None)
    if not below:
        return [path.strip()]
    return [leaf for name, inner in below.items() for leaf in leaves(inner, f"{path} {name}")]


def test_every_command_of_the_command_line_has_an_operation_or_a_reason() -> None:
    known = set(leaves(get_command(app)))
    assert isinstance(app, typer.Typer)
    unknown = known - set(OPERATIONS) - set(NOT_OVER_REST)
    assert not unknown, "add a route and name it in OPERATIONS, or a reason in NOT_OVER_REST"
    assert set(OPERATIONS) | set(NOT_OVER_REST) <= known
    assert not set(OPERATIONS) & set(NOT_OVER_REST)


def test_every_operation_that_is_named_is_there() -> None:
    assert set(OPERATIONS.values()) | set(OF_CHATS.values()) <= served()


def test_every_command_of_the_chats_runs_over_rest_or_has_a_reason() -> None:
    everybodys = {c.name for c in COMMANDS if c.permission is Permission.EVERYONE}
    assert everybodys == set(OF_CHATS) | set(ONLY_IN_CHATS)
    admins = {command.name for command in COMMANDS} - everybodys
    assert admins <= set(RUNS)  # what the workspace's operation runs
