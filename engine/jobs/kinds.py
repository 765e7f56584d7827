"""The kinds of jobs: what a row of the outbox asks a worker to do.

They are named here, so that the code that queues a job needs nothing of the room whose job it is.
`ingestion/actors.py` and `ingestion/channel_jobs.py` hold a handler for each.
"""

from __future__ import annotations

# documents
INGEST = "ingest_document"
CLEAN = "clean_document"
UPDATE_FIELDS = "update_fields"
DELETE_KB = "delete_kb"
REEMBED = "reembed_kb"

# operations
REBUILD = "rebuild_space"
REINDEX = "reindex_revision"
REMOVE = "remove_revisions"

# chats
BACKFILL = "backfill_channel"
DERIVE = "derive_channel"
EXPIRE = "expire_messages"
FETCH = "fetch_files"
PURGE = "purge_channel"
SCRUB = "scrub_turns"
SYNC_CHANNEL = "sync_channel"
SYNC_WORKSPACE = "sync_workspace"

CHANNEL_JOBS = (BACKFILL, DERIVE, EXPIRE, FETCH, PURGE, SCRUB, SYNC_CHANNEL, SYNC_WORKSPACE)
JOB_KINDS = (
    CLEAN,
    DELETE_KB,
    INGEST,
    REBUILD,
    REEMBED,
    REINDEX,
    REMOVE,
    UPDATE_FIELDS,
    *CHANNEL_JOBS,
)
