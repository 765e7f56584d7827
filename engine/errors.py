"""Every error Scrubjay raises on purpose, one sentence a class.

EngineError
├── ConfigurationError        a setting is unknown, invalid or missing: the start is refused
├── InvalidInput              an argument is wrong; names the field and what is allowed
│   └── FlowError             a flow can't be loaded; lists all its faults
├── NotFound                  absent, or not visible to the principal: the two look the same
├── Unauthenticated           no credential, or one that is wrong, expired or revoked
│   └── CodeRequired          the password is right, and the code of an authenticator app is missing
├── LinkEnded                 a link that stands in for a sign-in is over, or was never ours
├── Forbidden                 the principal is known but lacks the role or scope
│   ├── StepUpRequired        only somebody signed in who has just confirmed who they are may do this
│   └── TenantSuspended       the operator has suspended the whole organisation for a while
├── Conflict                  the object already exists, or has changed since
│   ├── HasDocuments          documents were made of a file: say what becomes of them
│   ├── StaleDraft            somebody saved the draft meanwhile; nothing was overwritten
│   └── LeaseLost             another worker has taken over the job: drop the work, change nothing
├── LinkExpired               a one-time link was used, replaced or is too old: ask for a new one
├── MailRefused               the mail server refuses a message for good
├── SignInFailed              a sign-in elsewhere does not belong to this browser or moment, or failed
├── TooLarge                  input over a limit the operator set
├── RateLimited               too many calls; says when to try again
├── CreditsExhausted          the tenant's credits for language models are used up; says who adds some
├── QuotaReached              the tenant holds as much as it may; says what to delete or who to ask
├── DocumentError             a document can't be read; ends that document only, with what to do
├── Cancelled                 the job was cancelled by a person or by a newer revision
├── OverTime                  a component exceeded its time limit; names the component
├── BudgetSpent               a run has spent what it may spend; names the budget
├── Unavailable               a dependency (database, index, model, disk) can't be used; try again
│   ├── ToolsRefused          a language model's endpoint takes no tools: it is asked without
│   ├── IndexDamaged          the index folder can't be read; `scrubjay reconcile` rebuilds it
│   └── Blocked               an operator must act first: jobs wait, and spend no attempt
│       └── IndexFull         the search engine is full; searches still work
└── AlreadyRunning            another process holds the data folder

Each interface maps these to its own errors in one table. The message says what happened, to what,
and what to do next; it can be shown to the person who asked.
"""

from __future__ import annotations

from collections.abc import Sequence


class EngineError(Exception):
    """Base class of all deliberate errors; `str()` of it can be shown to people."""

    code = "error"


class ConfigurationError(EngineError):
    """A setting is unknown, invalid or missing."""

    code = "configuration"


class InvalidInput(EngineError):
    """An argument is wrong: `field` names it."""

    code = "invalid_input"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class FlowError(InvalidInput):
    """A flow can't be loaded: `faults` has every reason, one sentence each."""

    code = "invalid_flow"

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults), field="dsl")
        self.faults = faults


class NotFound(EngineError):
    """Absent, or not visible to the principal: from outside the two look the same."""

    code = "not_found"


class Unauthenticated(EngineError):
    """No credential, or one that is wrong, expired or revoked."""

    code = "unauthenticated"


class CodeRequired(Unauthenticated):
    """The password is right, and the code of an authenticator app is missing."""

    code = "code_required"


class LinkEnded(EngineError):
    """A link that stands in for a sign-in is over, or was never ours; `path` asks who you are."""

    code = "link_ended"

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class Forbidden(EngineError):
    """The principal is known but lacks the role or scope for this verb; `scopes` names them."""

    code = "forbidden"

    def __init__(self, message: str, *, scopes: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.scopes = tuple(scopes)


class StepUpRequired(Forbidden):
    """Only somebody signed in who has just confirmed who they are may do this; no token may."""

    code = "step_up_required"


class TenantSuspended(Forbidden):
    """The operator has suspended the whole organisation: nothing of it answers meanwhile."""

    code = "tenant_suspended"

    def __init__(self) -> None:
        super().__init__(
            "This organisation is suspended here, so nothing of it answers. Ask whoever runs this"
            " installation to resume it."
        )


class Conflict(EngineError):
    """The object already exists, or has changed since."""

    code = "conflict"


class HasDocuments(Conflict):
    """Documents were made of what is to be deleted; each door says how to decide about them."""


class StaleDraft(Conflict):
    """A save was based on an older revision of a draft: `theirs` is the text that is there now."""

    code = "stale_draft"

    def __init__(self, message: str, *, theirs: str, rev: int, by: str) -> None:
        super().__init__(message)
        self.theirs = theirs
        self.rev = rev
        self.by = by


class StaleAssistant(Conflict):
    """A change was based on an older version of an assistant; `version` is the present one."""

    code = "stale_assistant"

    def __init__(self, message: str, *, version: int) -> None:
        super().__init__(message)
        self.version = version


class LeaseLost(Conflict):
    """Another worker has taken over the job: this worker must not commit."""

    code = "lease_lost"


class LinkExpired(EngineError):
    """A one-time link was used, replaced or is too old."""

    code = "link_expired"


class MailRefused(EngineError):
    """The mail server refuses a message for good, or is set up wrongly."""

    code = "mail_refused"


class SignInFailed(EngineError):
    """A sign-in at an identity provider does not belong to this browser or moment, or failed there."""

    code = "sign_in_failed"


class TooLarge(EngineError):
    """Input over a limit the operator set."""

    code = "too_large"


class RateLimited(EngineError):
    """Too many calls; try again after `retry_after_s`. `policy` names the quota, if it was one."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_s: float, policy: str = "") -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.policy = policy


class CreditsExhausted(EngineError):
    """The tenant's credits for language models are used up."""

    code = "credits_exhausted"

    def __init__(self, tenant: str) -> None:
        super().__init__(
            "The credits of this organisation for language models are used up. Whoever runs this"
            f" installation can add some: `scrubjay tenant credits {tenant} --add NUMBER`."
        )


class QuotaReached(EngineError):
    """The tenant holds as many documents, or bytes of them, as it may."""

    code = "quota_reached"


class DocumentError(EngineError):
    """A document can't be read or indexed: one sentence that says what to do.

    `retry` is True where trying again later may help (a fetch that timed out), False where only
    another file will (an encrypted PDF). `retry_after_s` is when a server asked to be tried again.
    """

    code = "document"

    def __init__(
        self,
        message: str,
        *,
        code: str = "document",
        retry: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retry = retry
        self.retry_after_s = retry_after_s


class Cancelled(EngineError):
    """The job was cancelled by a person, or a newer revision took its place."""

    code = "cancelled"


class OverTime(EngineError):
    """A component exceeded its time limit."""

    code = "over_time"


class BudgetSpent(EngineError):
    """A run has spent what it may spend: `budget` names which of its budgets."""

    code = "budget_spent"

    def __init__(self, message: str, *, budget: str) -> None:
        super().__init__(message)
        self.budget = budget


class Unavailable(EngineError):
    """A dependency is not available: the database, the index, a model, the disk.

    `retry_after_s` is when to try again, None if the dependency did not say.
    """

    code = "unavailable"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ToolsRefused(Unavailable):
    """The endpoint of a language model takes no tools: it is asked in plain text instead."""


class IndexDamaged(Unavailable):
    """The index folder can't be read; `scrubjay reconcile` rebuilds it from the database."""

    code = "index_damaged"


class Blocked(Unavailable):
    """The work is fine; it continues once an operator fixes the cause.

    The job waits as long as it takes, without spending an attempt.
    """

    code = "blocked"


class IndexFull(Blocked):
    """The search engine is full: writes wait, searches still work."""

    code = "index_full"


class AlreadyRunning(EngineError):
    """Another process holds the data folder: `holder` says which."""

    code = "already_running"

    def __init__(self, message: str, *, holder: str = "") -> None:
        super().__init__(message)
        self.holder = holder
