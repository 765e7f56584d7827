"""`/console/runs`: runs of workflows; one run with its steps, its questions, and a new start."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.param_forms import FormField, form_of, read_form
from api.routes.console.visit import Visit, field, sent, visit
from api.routes.console.workflows import FIELDS_MAX, TEXT_MAX
from api.waterfall import TimedStep, seconds, waterfall
from engine.access.gate import may
from engine.domain import Scope
from engine.errors import EngineError, FlowError, InvalidInput, NotFound
from engine.flow.references import ABSENT, Path, resolve, walk
from engine.workflows import editing
from engine.workflows.definitions import DRAFT
from engine.workflows.runs import NodeInfo, PauseInfo, RunInfo

SHOWN = 50
STATES = ("queued", "running", "paused", "done", "partial", "failed", "cancelled", "expired")
TIMES = {"1": "today", "7": "7 days", "30": "30 days"}
VALUE_MAX = 4_000  # characters of a value
_SECRET = re.compile(r"(?i)pass(word|phrase)|secret|token|authori[sz]ation|api_?-?key|credential")
MASK = "••••••"


@dataclass(frozen=True, slots=True)
class StepRun:
    """A step of a run as its page shows it."""

    name: str
    type: str
    state: str
    took: str
    error: str
    input: str
    output: str


async def index(request: Request) -> Response:
    """Runs, newest first, filtered by what the address says."""
    here = await visit(request)
    query = request.query_params
    chosen = {
        "workflow": query.get("workflow", "")[:64],
        "state": query.get("state", "") if query.get("state") in STATES else "",
        "person": query.get("person", "")[:64],
        "days": query.get("days", "") if query.get("days") in TIMES else "",
    }
    engine = here.engine.workflows
    error: EngineError | None = None
    rows: list[Any] = []
    try:
        rows = await engine.find_runs(
            here.principal,
            ref=chosen["workflow"],
            state=chosen["state"],
            person=chosen["person"],
            days=int(chosen["days"] or 0),
            before=query.get("after", "")[:64],
            limit=SHOWN + 1,
        )
    except NotFound as missing:
        error = missing
    more = ""
    if len(rows) > SHOWN:
        kept = {name: value for name, value in chosen.items() if value}
        more = f"?{urlencode(kept | {'after': rows[SHOWN - 1].id})}"
    people = []
    if may(here.principal, "audit.list") and may(here.principal, "member.list"):
        people = await here.engine.people.list_members(here.principal)
    return here.page(
        "runs.html",
        error=error,
        runs=rows[:SHOWN],
        more=more,
        chosen=chosen,
        states=STATES,
        times=TIMES,
        workflows=[item.name for item in await engine.list_all(here.principal)],
        people=people,
        questions=await engine.list_questions(here.principal),
        sees_tools=Scope.KB_ADMIN in here.principal.scopes,
        is_moving=any(row.state in {"queued", "running"} for row in rows),
    )


async def show(request: Request) -> Response:
    """One run: how it went, step by step, and what it asks."""
    here = await visit(request)
    return await _page(here, request.path_params["run"])


async def _page(
    here: Visit,
    run_id: str,
    error: EngineError | None = None,
    given: Mapping[str, Any] | None = None,
) -> Response:
    engine = here.engine.workflows
    asked = [item for item in await engine.list_questions(here.principal) if item.run_id == run_id]
    try:
        run = await engine.get_run(here.principal, run_id)
    except NotFound:
        if not asked:
            raise
        return here.page(  # somebody else's run, which asks this person
            "run_question.html", error=error, questions=_forms(asked, given), path=_path(run_id)
        )
    _, text = await engine.run_text(here.principal, run_id)
    bars = [TimedStep(node.path, node.state, node.started_at, node.elapsed_s) for node in run.nodes]
    return here.page(
        "run.html",
        error=error,
        run=run,
        path=_path(run_id),
        took=_took(run),
        input=shown(run.input),
        output=shown(run.output),
        steps=steps_of(run, text),
        picture=waterfall(bars, title="How long each step took"),
        questions=_forms(asked, given),
        is_known=run.workflow in {item.name for item in await engine.list_all(here.principal)},
    )


def _path(run_id: str) -> str:
    return f"/console/runs/{run_id}"


def _took(run: RunInfo) -> str:
    return seconds((run.ended_at - run.started_at).total_seconds()) if run.ended_at else ""


def _forms(
    asked: Sequence[PauseInfo], given: Mapping[str, Any] | None
) -> list[tuple[PauseInfo, list[FormField], list[str]]]:
    return [
        (
            item,
            form_of(item.form.get("schema", {}), given or {}),
            list(item.form.get("buttons", ())),
        )
        for item in asked
    ]


def steps_of(run: RunInfo, text: str) -> list[StepRun]:
    """Its steps with what each was given and what it wrote, secrets masked."""
    outputs = {node.path: node.output for node in run.nodes}
    try:
        known = {step["id"]: step for step in editing.open_flow(text)["components"]}
    except FlowError:
        known = {}
    return [_step_run(node, known.get(node.path), outputs, run.input) for node in run.nodes]


def _step_run(
    node: NodeInfo,
    step: Mapping[str, Any] | None,
    outputs: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Any],
) -> StepRun:
    def look_up(path: Path) -> Any:  # noqa: ANN401 (JSON)
        if path.root == "secret":
            return f"[secret {'.'.join(path.steps)}]"
        if path.root in outputs:
            return walk(outputs[path.root], path.steps)
        if path.root == "sys" and path.key in given:
            return given[path.key]
        return f"{{{{{path}}}}}" if path.root not in outputs else ABSENT

    param = resolve(step.get("param", {}), look_up) if step is not None else {}
    return StepRun(
        name=node.path,
        type=str(step["type"]) if step else "",
        state=node.state,
        took=seconds(node.elapsed_s),
        error=node.error,
        input=shown(param),
        output=shown(node.output),
    )


def shown(value: object) -> str:
    """A value as JSON for reading, with what looks like a secret masked."""
    if value in ({}, None):
        return ""
    text = json.dumps(masked(value), ensure_ascii=False, indent=2)
    return text if len(text) <= VALUE_MAX else text[:VALUE_MAX].rstrip() + "\n…"


def masked(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """A value whose keys that name secrets have none."""
    if isinstance(value, Mapping):
        return {
            key: MASK
            if _SECRET.search(str(key)) and isinstance(item, str) and item
            else masked(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value


async def act(request: Request) -> Response:
    """Answer a question of a run, cancel it, or start it once more."""
    here, form = await sent(request, max_fields=FIELDS_MAX, max_bytes=TEXT_MAX)
    run_id, do = request.path_params["run"], field(form, "do")
    engine = here.engine.workflows
    by_script = "text/html" not in request.headers.get("accept", "")
    values: dict[str, Any] = {}
    try:
        if do == "cancel":
            state = await engine.cancel(here.principal, run_id)
            said = "Cancelled." if state == "cancelled" else "It is told to stop."
        elif do == "again":
            run = await engine.get_run(here.principal, run_id)
            version = "" if run.version or not await _is_own(here, run.workflow) else DRAFT
            new_id = await engine.start(
                here.principal, run.workflow, run.input, version=version, trigger="page"
            )
            return here.on(_path(new_id), "Started once more, with the same inputs.")
        elif do == "reply":
            asked = await engine.list_questions(here.principal)
            place = field(form, "path")
            found = next((q for q in asked if q.run_id == run_id and q.path == place), None)
            texts = {name: value for name, value in form.items() if isinstance(value, str)}
            values = read_form(found.form.get("schema", {}), texts, {}) if found else {}
            await engine.reply(
                here.principal, run_id, path=place, fields=values, choice=field(form, "choice")
            )
            said = "Your answer is taken; the run goes on."
        else:
            raise InvalidInput("Say what to do with the run.", field="do")
    except EngineError as error:
        if by_script:
            raise
        return await _page(here, run_id, error, values)
    if by_script:
        return JSONResponse({"said": said})
    try:
        await engine.get_run(here.principal, run_id)
    except NotFound:
        return here.on("/console/runs", said)
    return here.on(_path(run_id), said)


async def _is_own(here: Visit, name: str) -> bool:
    info = await here.engine.workflows.get(here.principal, name)
    return not info.is_template


ROUTES = (
    Route("/console/runs", index, methods=["GET"]),
    Route("/console/runs/{run}", show, methods=["GET"]),
    Route("/console/runs/{run}", act, methods=["POST"]),
)
