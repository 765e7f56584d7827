"""The kinds of jobs: what a row of the outbox asks a worker to do.

They are named here, so that the code that queues a job needs nothing of the room whose job it is.
`ingestion/actors.py` and its modules `<room>_jobs.py` hold a handler for each.
"""

from __future__ import annotations

# documents
INGEST = "ingest_document"
CLEAN = "clean_document"
UPDATE_FIELDS = "update_fields"
DELETE_KB = "delete_kb"
REEMBED = "reembed_kb"

# mail and people
MAIL = "send_mail"
RESET = "send_password_reset"

# insight
COUNT_DAYS = "count_days"

# operations
REBUILD = "rebuild_space"
REINDEX = "reindex_revision"
REMOVE = "remove_revisions"

# people
DELETE_TENANT = "delete_tenant"

# chats
BACKFILL = "backfill_channel"
DERIVE = "derive_channel"
EXPIRE = "expire_messages"
FETCH = "fetch_files"
PURGE = "purge_channel"
SCRUB = "scrub_turns"
SYNC_CHANNEL = "sync_channel"
SYNC_WORKSPACE = "sync_workspace"

# workflows
RUN_WORKFLOW = "run_workflow"
EXPIRE_PAUSE = "expire_pause"
FIRE_TRIGGER = "fire_trigger"

# sources
FETCH_ITEMS = "fetch_items"
PLAN_SYNC = "plan_sync"
REMOVE_SOURCE = "remove_source"
SYNC_SCOPE = "sync_scope"

SOURCE_JOBS = (FETCH_ITEMS, PLAN_SYNC, REMOVE_SOURCE, SYNC_SCOPE)
CHANNEL_JOBS = (BACKFILL, DERIVE, EXPIRE, FETCH, PURGE, SCRUB, SYNC_CHANNEL, SYNC_WORKSPACE)
JOB_KINDS = (
    CLEAN,
    COUNT_DAYS,
    DELETE_KB,
    DELETE_TENANT,
    EXPIRE_PAUSE,
    FIRE_TRIGGER,
    INGEST,
    MAIL,
    REBUILD,
    REEMBED,
    REINDEX,
    REMOVE,
    RESET,
    RUN_WORKFLOW,
    UPDATE_FIELDS,
    *CHANNEL_JOBS,
    *SOURCE_JOBS,
)
