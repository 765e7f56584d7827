"""The states of sources, scopes, items and syncs, and the phases of a sync of a scope."""

from __future__ import annotations

# A source that a connector reads.
ACTIVE, PAUSED, NEEDS_LOGIN, REMOVING = "active", "paused", "needs_login", "removing"

# A scope, after its last sync.
NEW, OK, PARTIAL, FAILED, WITHHELD, WAITING = (
    "new",
    "ok",
    "partial",
    "failed",
    "withheld",
    "waiting",
)
GONE = "gone"  # not in the source any more; so are items

# An item.
DUE, KEPT, LEFT_OUT = "due", "kept", "left_out"

# A sync.
RUNNING, CANCELLED = "running", "cancelled"

# What the sync of a scope does, in this order; a part of it may have nothing to do.
ACCESS, GROUPS, LISTING, SWEEP, FEED, DONE = (
    "access",
    "groups",
    "listing",
    "sweep",
    "feed",
    "done",
)
