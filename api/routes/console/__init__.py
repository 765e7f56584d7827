"""The console's pages: where a team works with its knowledge, people, tokens and settings.

Every page is rendered here, works without a script, and does what it does by a form. What a person
may not do is not offered, and refused all the same.
"""

from __future__ import annotations

from api.routes.console import (
    activity,
    assistants,
    documents,
    files,
    flow_editor,
    gaps,
    insight,
    knowledge,
    members,
    runs,
    sources,
    tokens,
    workflow_tools,
    workflows,
)

ROUTES = (
    *activity.ROUTES,
    *assistants.ROUTES,
    *documents.ROUTES,
    *files.ROUTES,
    *flow_editor.ROUTES,
    *gaps.ROUTES,
    *insight.ROUTES,
    *knowledge.ROUTES,
    *members.ROUTES,
    *runs.ROUTES,
    *sources.ROUTES,
    *tokens.ROUTES,
    *workflow_tools.ROUTES,
    *workflows.ROUTES,
)
