"""The kinds of a run's stored events. They have sequence numbers, so that any process can replay them."""

from __future__ import annotations

RUN_STARTED = "run_started"
RUN_FINISHED = "run_finished"  # state, reason
RESUMED = "resumed"  # by whom, which path
NODE_STARTED = "node_started"
NODE_PROGRESS = "node_progress"
NODE_RETRY = "node_retry"  # attempt, wait_s
NODE_FINISHED = "node_finished"  # elapsed_s
NODE_FAILED = "node_failed"  # handled
PAUSED = "paused"  # form
DELTA = "delta"  # offset, text

KINDS = (
    RUN_STARTED,
    NODE_STARTED,
    NODE_PROGRESS,
    NODE_RETRY,
    NODE_FINISHED,
    NODE_FAILED,
    DELTA,
    PAUSED,
    RESUMED,
    RUN_FINISHED,
)
