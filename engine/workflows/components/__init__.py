"""The components of workflows that ship."""

from __future__ import annotations

from engine.workflows.component import WorkflowComponent
from engine.workflows.components.answering import Validate, WriteAnswer
from engine.workflows.components.begin import Begin, Produce
from engine.workflows.components.branching import Categorize, Switch
from engine.workflows.components.coding import Code
from engine.workflows.components.loops import Iteration, Loop
from engine.workflows.components.mailing import Email
from engine.workflows.components.people import AskPerson, Say
from engine.workflows.components.requests import Http
from engine.workflows.components.retrieval import Retrieval, Rewrite
from engine.workflows.components.subflows import RunWorkflow_
from engine.workflows.components.tooling import CallTool
from engine.workflows.components.values import Aggregate, Assign, Model
from engine.workflows.components.writing import Template

COMPONENTS: tuple[type[WorkflowComponent], ...] = (
    Aggregate,
    AskPerson,
    Assign,
    Begin,
    CallTool,
    Categorize,
    Code,
    Email,
    Http,
    Iteration,
    Loop,
    Model,
    Produce,
    Retrieval,
    Rewrite,
    RunWorkflow_,
    Say,
    Switch,
    Template,
    Validate,
    WriteAnswer,
)
