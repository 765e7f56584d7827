"""Who may use which verb: the permission matrix, as data.

A role grants verbs and never sight; a grant of a knowledge base says how far a verb reaches into
it. Checks, the table in docs/explanation/permissions.md and the test of every cell are made from
`VERBS`. `engine.access.gate` hands these names on: import them from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from engine.domain import Principal, Role, Scope
from engine.errors import Forbidden, NotFound, StepUpRequired


class GrantLevel(StrEnum):
    """How far a grant of a knowledge base reaches; each includes the one before."""

    READ = "read"
    WRITE = "write"
    MANAGE = "manage"


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing somebody may do.

    `roles` may, with a credential that has `scope`. Where `level` is set it is done to a knowledge
    base, which must be granted that far; `everywhere` are the roles that need no grant for it.
    `step_up`: somebody signed in confirms who they are first, and no token may.
    """

    name: str
    help: str
    roles: frozenset[Role]
    scope: Scope | None
    level: GrantLevel | None = None
    everywhere: frozenset[Role] = frozenset()
    step_up: bool = False


_ALL = frozenset(Role)
_WRITERS = frozenset({Role.OWNER, Role.ADMIN, Role.CURATOR})
_ADMINS = frozenset({Role.OWNER, Role.ADMIN})
_OWNERS = frozenset({Role.OWNER})
_READ, _WRITE, _MANAGE = GrantLevel.READ, GrantLevel.WRITE, GrantLevel.MANAGE
_KB_READ, _KB_WRITE = Scope.KB_READ, Scope.KB_WRITE
_KB_MANAGE, _KB_ADMIN = Scope.KB_MANAGE, Scope.KB_ADMIN

VERBS: tuple[Verb, ...] = (
    Verb("assistant.create", "create an assistant or a search app", _WRITERS, _KB_MANAGE),
    Verb(
        "assistant.update",
        "change or delete an assistant or a search app: one's own, or for admins any",
        _WRITERS,
        _KB_MANAGE,
        everywhere=_ADMINS,
    ),
    Verb("assistant.use", "use an assistant or a search app", _ALL, _KB_READ),
    Verb("audit.export", "export and verify the audit log", _ADMINS, _KB_ADMIN, step_up=True),
    Verb("audit.list", "see the audit log", _ADMINS, _KB_ADMIN),
    Verb("document.add", "add or replace a document", _WRITERS, _KB_WRITE, _WRITE),
    Verb("document.delete", "delete a document", _WRITERS, _KB_WRITE, _WRITE),
    Verb("document.list", "list and open documents", _ALL, _KB_READ, _READ),
    Verb("group.add", "put a member into a group", _ADMINS, _KB_ADMIN),
    Verb("group.create", "create a group", _ADMINS, _KB_ADMIN),
    Verb("group.delete", "delete a group", _ADMINS, _KB_ADMIN),
    Verb("group.list", "list the groups", _ADMINS, _KB_ADMIN),
    Verb("group.remove", "take a member out of a group", _ADMINS, _KB_ADMIN),
    Verb(
        "insight.list",
        "see what was asked and answered, in numbers",
        _WRITERS,
        _KB_MANAGE,
        _MANAGE,
        _ADMINS,
    ),
    Verb("invitation.create", "invite somebody", _ADMINS, _KB_ADMIN, step_up=True),
    Verb("invitation.list", "list the open invitations", _ADMINS, _KB_ADMIN),
    Verb("invitation.revoke", "take an invitation back", _ADMINS, _KB_ADMIN, step_up=True),
    Verb("kb.create", "create a knowledge base", _WRITERS, _KB_MANAGE),
    Verb("kb.delete", "delete a knowledge base", _WRITERS, _KB_MANAGE, _MANAGE, _ADMINS),
    Verb("kb.grant", "grant a knowledge base", _WRITERS, _KB_MANAGE, _MANAGE, _ADMINS),
    Verb(
        "kb.list_grants",
        "see who a knowledge base is granted to",
        _WRITERS,
        _KB_MANAGE,
        _MANAGE,
        _ADMINS,
    ),
    Verb("kb.revoke", "take a grant back", _WRITERS, _KB_MANAGE, _MANAGE, _ADMINS),
    Verb("kb.show", "see a knowledge base", _ALL, _KB_READ, _READ),
    Verb(
        "kb.transfer", "give a knowledge base another owner", _WRITERS, _KB_MANAGE, _MANAGE, _ADMINS
    ),
    Verb("kb.update", "change a knowledge base's settings", _WRITERS, _KB_MANAGE, _MANAGE, _ADMINS),
    Verb("llm.list", "see the organisation's keys for language models", _ADMINS, _KB_ADMIN),
    Verb(
        "llm.set",
        "set keys for language models, and which one answers",
        _ADMINS,
        _KB_ADMIN,
        step_up=True,
    ),
    Verb("member.activate", "let a deactivated member in again", _ADMINS, _KB_ADMIN, step_up=True),
    Verb("member.add", "add a member", _ADMINS, _KB_ADMIN, step_up=True),
    Verb("member.deactivate", "deactivate a member", _ADMINS, _KB_ADMIN, step_up=True),
    Verb("member.list", "list the members", _ADMINS, _KB_ADMIN),
    Verb("member.password", "make a member a password link", _ADMINS, _KB_ADMIN, step_up=True),
    Verb("member.remove", "end a membership", _ADMINS, _KB_ADMIN, step_up=True),
    Verb(
        "member.reset_factors",
        "remove a member's second factors",
        _ADMINS,
        _KB_ADMIN,
        step_up=True,
    ),
    Verb("member.role", "give a member another role", _ADMINS, _KB_ADMIN, step_up=True),
    Verb(
        "member.unlink",
        "unlink a member from an identity provider",
        _ADMINS,
        _KB_ADMIN,
        step_up=True,
    ),
    Verb("provider.add", "add an identity provider", _ADMINS, _KB_ADMIN, step_up=True),
    Verb("provider.check", "check an identity provider", _ADMINS, _KB_ADMIN),
    Verb("provider.list", "list the identity providers", _ADMINS, _KB_ADMIN),
    Verb("provider.remove", "remove an identity provider", _ADMINS, _KB_ADMIN, step_up=True),
    Verb("quota.list", "see the quotas", _ADMINS, _KB_ADMIN),
    Verb("quota.set", "set a quota", _ADMINS, _KB_ADMIN, step_up=True),
    Verb("scim.list", "see the SCIM clients", _ADMINS, _KB_ADMIN),
    Verb("scim.set", "create and revoke SCIM clients", _ADMINS, _KB_ADMIN, step_up=True),
    Verb("secret.list", "see which secrets workflows may use", _ADMINS, _KB_ADMIN),
    Verb("secret.set", "set and remove secrets of workflows", _ADMINS, _KB_ADMIN, step_up=True),
    Verb("token.create", "create an API token of one's own", _ALL, None),
    Verb(
        "token.create_service",
        "create a service key",
        _ADMINS,
        _KB_ADMIN,
        step_up=True,
    ),
    Verb("token.list", "list API tokens: one's own, or for admins all", _ALL, None),
    Verb("token.revoke", "revoke an API token: one's own, or for admins any", _ALL, None),
    Verb("usage.list", "see what language models cost, and the credits left", _ADMINS, _KB_ADMIN),
    Verb("widget.list", "see the widgets on pages of other sites", _ADMINS, _KB_ADMIN),
    Verb(
        "widget.set",
        "put an assistant on pages of other sites",
        _ADMINS,
        _KB_ADMIN,
        step_up=True,
    ),
)

_BY_NAME: Mapping[str, Verb] = {verb.name: verb for verb in VERBS}


def find_verb(name: str) -> Verb:
    """A row of the matrix."""
    return _BY_NAME[name]


def may(principal: Principal, name: str) -> bool:
    """Whether role and credential allow the verb, perhaps after a confirmation: what pages offer."""
    verb = _BY_NAME[name]
    return principal.role in verb.roles and _has_scope(principal, verb)


def require_verb(principal: Principal, name: str) -> None:
    """Return where role and credential allow the verb, else raise `Forbidden`.

    What it is done to is checked by whoever loads that.
    """
    verb = _BY_NAME[name]
    require_unbound(principal)
    if not may(principal, name):
        scopes = [] if verb.scope is None else [verb.scope]
        needed = f"the scope {verb.scope}" if scopes else "another role"
        raise Forbidden(
            f"To {verb.help} needs {needed}, which {principal.name} does not have"
            f" (role {principal.role}). Ask an admin for a role or a token that has it.",
            scopes=scopes,
        )
    if verb.step_up:
        require_assured(principal, verb.help)


def require_assured(principal: Principal, what: str) -> None:
    """Return for the command line and for a session that was just confirmed; no token will do."""
    if principal.assured:
        return
    if principal.identity_id is not None:
        raise StepUpRequired(
            f"Only a member who is an admin here may {what}: link this account to yours with `link`."
        )
    if principal.session_id is None:
        raise StepUpRequired(f"No token may {what}: sign in, then confirm who you are.")
    raise StepUpRequired(
        f"To {what}, confirm who you are first: with your password or a code of your app, at"
        " /account/confirm or with `POST /api/v1/user/step_up`. It holds for ten minutes."
    )


def for_assistant(principal: Principal, id_: str, name: str) -> Principal:
    """The principal as an assistant of this id and name may answer them.

    Every door of an assistant calls this first. `NotFound` where their key is bound to others: for
    it there is no such assistant.
    """
    if principal.assistants is None:
        return principal
    if not principal.assistants & {id_, name}:
        raise NotFound("No such assistant.")
    return replace(principal, assistants=None, let_in_to=id_)


def require_unbound(principal: Principal) -> None:
    """Refuse a key that is bound to assistants whatever none of them does for it."""
    if principal.assistants is not None:
        raise Forbidden("This key asks its assistants, and can do nothing else.")


def reaches_all(principal: Principal, name: str) -> bool:
    """Whether the verb reaches every knowledge base of the tenant, granted or not."""
    return principal.role in _BY_NAME[name].everywhere and Scope.KB_ADMIN in principal.scopes


def _has_scope(principal: Principal, verb: Verb) -> bool:
    if verb.scope is None or verb.scope in principal.scopes:
        return True
    # Tokens of before there was kb:manage have kb:admin for the same.
    return verb.scope is Scope.KB_MANAGE and Scope.KB_ADMIN in principal.scopes
