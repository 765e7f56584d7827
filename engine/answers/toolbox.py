"""Tools of other servers that an answer may use: which, who approves, how much, and as what.

The port is `ExternalTools` (`mcp_server/client.py` adapts it to MCP servers). A tool is offered only
where the operator connected its server, the tenant allowed it, and the asker is there to see and
approve each call with its arguments: never in a channel. What comes back is data, cut to size, and
belongs to the asker alone: a turn that used it never enters somebody else's answer, because its
sources are no chunks (`conversations.py`).
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.db.tables import Tenant
from engine.domain import Hit, Passage, Principal, Scope, ScoreParts
from engine.errors import InvalidInput

ALLOWED = "external_tools"  # the tenant setting: patterns of keys, such as "tracker/search_*"
OFFERED_MAX = 20  # tools in one prompt
DESCRIPTION_CHARS = 300
RESULT_CHARS = 8_000  # of one call, about 2k tokens
ARGUMENTS_CHARS = 4_000

_PATTERN = re.compile(r"[\w.*-]{1,60}/[\w.*-]{1,100}")
_WANTED = re.compile(r"^\W*TOOL\s*:\s*([\w.-]+/[\w.-]+)\s*(\{.*\})\W*$", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class ExternalTool:
    """A tool of a connected server; `schema` is the JSON schema of its arguments."""

    server: str
    name: str
    description: str
    schema: Mapping[str, Any]

    @property
    def key(self) -> str:
        """How it is named here: "<server>/<tool>"."""
        return f"{self.server}/{self.name}"


class ExternalTools(Protocol):
    """Tools of other servers."""

    async def list_tools(self) -> Sequence[ExternalTool]:
        """Every tool of every connected server; one that is away is left out."""

    async def call(self, tool: ExternalTool, arguments: Mapping[str, Any]) -> str:
        """The text of its result. `Unavailable` where it fails or takes too long."""


Approve = Callable[[ExternalTool, Mapping[str, Any]], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What one answer may use, and who says yes to each call."""

    tools: Sequence[ExternalTool]
    external: ExternalTools
    approve: Approve

    def describe(self) -> str:
        """The tools as the model reads them, one a line."""
        lines = []
        for tool in self.tools:
            taken = ", ".join(tool.schema.get("properties", {}))
            said = " ".join(tool.description.split())[:DESCRIPTION_CHARS]
            lines.append(f"- {tool.key} (takes: {taken or 'nothing'}): {said}")
        return "\n".join(lines)

    async def use(self, wanted: Wanted) -> str:
        """What the tool said, or why it was not asked; always text for the model."""
        tool = next((tool for tool in self.tools if tool.key == wanted.key), None)
        if tool is None:
            return f"There is no tool {wanted.key}."
        if wanted.arguments is None:
            return "The arguments were not a JSON object."
        if not await self.approve(tool, wanted.arguments):
            return "The person asking did not allow this call."
        return (await self.external.call(tool, wanted.arguments))[:RESULT_CHARS]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call a model asks for; `arguments` None where they can't be read."""

    key: str
    arguments: Mapping[str, Any] | None


def parse_wanted(text: str) -> Wanted | None:
    """The call in `TOOL: server/tool {"argument": …}`; None where the text is none."""
    match = _WANTED.match(text.strip())
    if match is None:
        return None
    given = match[2]
    try:
        arguments = json.loads(given) if len(given) <= ARGUMENTS_CHARS else None
    except ValueError:
        arguments = None
    return Wanted(match[1], arguments if isinstance(arguments, dict) else None)


def as_hit(n: int, key: str, text: str) -> Hit:
    """A result as a source the answer may cite: its id is no chunk's and opens nothing."""
    passage = Passage(f"tool:{key}:{n}", 0, text, "", 0, len(text))
    return Hit(
        id=passage.id,
        document_id="",
        revision_id="",
        kb_id="",
        kb_name="",
        title=f"what {key} returned",
        url="",
        score=0.0,
        confidence=0.0,
        scores=ScoreParts(0.0, 0.0, 0.0, None, 0.0, 0.0),
        passages=[passage],
    )


# What a tenant allows


async def allowed(session: AsyncSession, principal: Principal) -> list[str]:
    """The patterns of tools the tenant allows, sorted."""
    tenant = await session.get_one(Tenant, principal.tenant_id)
    return sorted(tenant.settings.get(ALLOWED, []))


async def allow(
    session: AsyncSession, principal: Principal, pattern: str, *, on: bool
) -> list[str]:
    """Allow tools of that pattern, or no longer; the patterns then. For admins, audited."""
    gate.require(principal, Scope.KB_ADMIN)
    if not _PATTERN.fullmatch(pattern):
        raise InvalidInput(
            f"{pattern!r} matches no tool name: write SERVER/TOOL; * matches any part.",
            field="pattern",
        )
    tenant = await session.get_one(Tenant, principal.tenant_id)
    patterns = set(tenant.settings.get(ALLOWED, []))
    patterns = patterns | {pattern} if on else patterns - {pattern}
    tenant.settings = {**tenant.settings, ALLOWED: sorted(patterns)}
    action = "external_tools.allow" if on else "external_tools.deny"
    await gate.audit(session, principal, action, pattern)
    return sorted(patterns)


def matching(tools: Sequence[ExternalTool], patterns: Sequence[str]) -> list[ExternalTool]:
    """Those of `tools` that a pattern names, in their order, as many as a prompt takes."""
    return [tool for tool in tools if is_allowed(tool.key, patterns)][:OFFERED_MAX]


def is_allowed(key: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern names this tool."""
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)
