"""Every error Scrubjay raises on purpose, one sentence a class.

EngineError
├── ConfigurationError        a setting is unknown, bad or missing: the start is refused
├── InvalidInput              an argument is wrong; names the field and what is allowed
│   └── FlowError             a flow does not load; lists all its faults
├── NotFound                  absent, or not visible to who asked: the two look the same
├── Unauthenticated           no credential, or one that is wrong, expired or revoked
├── Forbidden                 the principal is known but lacks the role or scope
├── Conflict                  the thing exists already, or changed underneath
│   └── LeaseLost             another worker has taken the job over: drop the work, change nothing
├── TooLarge                  input over a limit the operator set
├── RateLimited               too many calls; says when to come back
├── DocumentError             a document can't be read; ends that document only, with what to do
├── Cancelled                 the job was cancelled by a person or by a newer revision
├── OverTime                  a flow's component ran past its time limit; names the component
├── Unavailable               a dependency (database, index, model, disk) is not there now; try again
│   ├── IndexDamaged          the index folder can't be read; `scrubjay reconcile` rebuilds it
│   └── Blocked               an operator has to act first: jobs wait, and spend no attempt
│       └── IndexFull         the search engine has no room for more; searching goes on
└── AlreadyRunning            another process holds the data folder

Doors turn these into their own language in one table each. The message says what happened, to
what, and what to do next; it is written to be shown to the person who asked.
"""

from __future__ import annotations

from collections.abc import Sequence


class EngineError(Exception):
    """Base of every error raised on purpose; `str()` of it may be shown to a person."""

    code = "error"


class ConfigurationError(EngineError):
    """A setting is unknown, bad or missing."""

    code = "configuration"


class InvalidInput(EngineError):
    """An argument is wrong: `field` names it."""

    code = "invalid_input"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class FlowError(InvalidInput):
    """A flow does not load: `faults` holds every reason, one sentence each."""

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


class Forbidden(EngineError):
    """The principal is known but lacks the role or scope for this verb; `scopes` names them."""

    code = "forbidden"

    def __init__(self, message: str, *, scopes: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.scopes = tuple(scopes)


class Conflict(EngineError):
    """The thing exists already, or changed underneath."""

    code = "conflict"


class LeaseLost(Conflict):
    """Another worker has taken the job over: what this one did since must not be committed."""

    code = "lease_lost"


class TooLarge(EngineError):
    """Input over a limit the operator set."""

    code = "too_large"


class RateLimited(EngineError):
    """Too many calls; come back after `retry_after_s`."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


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
    """A flow's component ran past its time limit."""

    code = "over_time"


class Unavailable(EngineError):
    """A dependency is not there now: the database, the index, a model, the disk.

    `retry_after_s` is when it asked to be tried again, None where it did not say.
    """

    code = "unavailable"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class IndexDamaged(Unavailable):
    """The index folder can't be read; `scrubjay reconcile` rebuilds it from the database."""

    code = "index_damaged"


class Blocked(Unavailable):
    """Nothing is wrong with the work: it goes on when an operator has changed something.

    A job that meets it waits for as long as it takes, without spending an attempt.
    """

    code = "blocked"


class IndexFull(Blocked):
    """The search engine has no room for more: writes wait, searching goes on."""

    code = "index_full"


class AlreadyRunning(EngineError):
    """Another process holds the data folder: `holder` says which."""

    code = "already_running"

    def __init__(self, message: str, *, holder: str = "") -> None:
        super().__init__(message)
        self.holder = holder
