"""`/console/workflows/{workflow}`: its steps, as a list of forms and as a canvas on the same draft.

Without a script each change is a form. The canvas keeps the draft, saves it whole after a pause
and gets back what this page shows of it, the list included: so the two are always in step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api import cookies
from api.param_forms import form_of, read_form
from api.problems import HttpRefusal
from api.routes.console.visit import Visit, field, sender, sent, visit
from api.routes.console.workflows import (
    FIELDS_MAX,
    TEXT_MAX,
    frame,
    long_field,
    may_edit,
    path_of,
    workflow_of,
)
from api.templates import render
from engine.access.gate import require
from engine.domain import Scope
from engine.errors import Conflict, EngineError, FlowError, InvalidInput, StaleDraft
from engine.workflows import editing
from engine.workflows.definitions import WorkflowInfo
from engine.workflows.described import EFFECTS
from engine.workflows.drafts import by_step
from engine.workflows.editing import Flow, Step, open_flow, text_of_flow
from engine.workflows.loading import SYS
from engine.workflows.merging import differences, merge

GROUPS = {"read": "Find", "paid": "Ask a model", "pure": "Decide and work", "write": "Do outside"}
EXTRA_SCHEMA: dict[str, Any] = {
    "properties": {
        "label": {"type": "string", "maxLength": 100, "title": "Called", "default": ""},
        "note": {"type": "string", "maxLength": 2000, "default": ""},
        "retries": {
            "type": "integer",
            "minimum": 0,
            "maximum": 5,
            "default": 0,
            "title": "If it fails for a while, try again",
            "description": "times, 0 to 5",
        },
        "branch": {
            "type": "string",
            "format": "step",
            "default": "",
            "title": "If it fails for good, go to",
            "description": "without one the run fails",
        },
    }
}
_AT_PARAM = re.compile(r"param `([^`]+)`: (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class StepView:
    """A step as the list shows it."""

    id: str
    type: str
    label: str
    about: str
    effect: str
    summary: str
    before: Sequence[str]
    after: Sequence[str]
    free: Sequence[str]  # the steps that it may still lead to
    chooses: Mapping[str, str]  # where it goes, and in which case
    faults: Sequence[str]


def views_of(flow: Flow, faults: Mapping[str, Sequence[str]]) -> list[StepView]:
    """The steps in their order."""
    steps = editing.ordered(flow)
    return [_view(flow, step, [item["id"] for item in steps], faults) for step in steps]


def _view(
    flow: Flow, step: Step, ids: Sequence[str], faults: Mapping[str, Sequence[str]]
) -> StepView:
    component = editing.component_of(step["type"])
    nexts = editing.after(flow, step["id"])
    closed = editing.ancestors(flow, step["id"]) | {step["id"], *nexts}
    begins = {item["id"] for item in flow["components"] if item["type"] == "Begin"}
    return StepView(
        id=step["id"],
        type=step["type"],
        label=str(step.get("label") or step["id"]),
        about=" ".join((component.__doc__ or "").split("\n\n")[0].split()) if component else "",
        effect=component.effect if component else "pure",
        summary=_summary(step),
        before=editing.before(flow, step["id"]),
        after=nexts,
        free=[one for one in ids if one not in closed and one not in begins],
        chooses=_choices(step),
        faults=faults.get(step["id"], ()),
    )


def _summary(step: Step) -> str:
    parts = []
    for key, value in step.get("param", {}).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        parts.append(f"{key}: {' '.join(text.split())}")
    joined = " · ".join(parts)
    return joined if len(joined) <= 140 else joined[:139].rstrip() + "…"


def _choices(step: Step) -> dict[str, str]:
    """In which case a step goes where, as far as rows of its parameters name both."""
    found: dict[str, str] = {}
    for key, value in step.get("param", {}).items():
        if isinstance(value, list):
            for item in value:
                if isinstance(item, dict) and isinstance(item.get("to"), str):
                    named = item.get("name") or item.get("label")
                    found[item["to"]] = str(named) if named else "a case"
        elif isinstance(value, str) and value in editing.targets_of(step):
            found[value] = key
    return found


async def show(request: Request) -> Response:
    """The steps of a draft, for those who edit; for others what the workflow is, and its run."""
    here = await visit(request)
    info = await workflow_of(here)
    if info.is_template or not may_edit(here):
        return here.on(path_of(info, "run"))
    return _page(here, info)


def _page(
    here: Visit, info: WorkflowInfo, error: EngineError | None = None, status: int = 0
) -> Response:
    try:
        flow = open_flow(info.dsl)
    except FlowError as broken:
        flow, error = open_flow(text_of_flow(editing.BLANK)), error or broken
    page = here.page("workflow.html", error=error, **_shown(here, info, flow), groups=_groups(here))
    page.status_code = status or page.status_code
    return page


def _shown(here: Visit, info: WorkflowInfo, flow: Flow) -> dict[str, Any]:
    faults, general = by_step(here.engine.workflows.faults_of(text_of_flow(flow)))
    return {
        **frame(here, info, "steps"),
        "steps": views_of(flow, faults),
        "general": general,
        "count": sum(map(len, faults.values())) + len(general),
    }


def _groups(here: Visit) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """The components there are, by what running them does."""
    known = here.engine.workflows.describe_components()
    return [
        (title, EFFECTS[effect], [item for item in known if item["effect"] == effect])
        for effect, title in GROUPS.items()
        if any(item["effect"] == effect for item in known)
    ]


def _state(here: Visit, info: WorkflowInfo, told: str = "") -> dict[str, Any]:
    """The draft and what is to be shown of it, for the canvas."""
    flow = open_flow(info.dsl)
    shown = _shown(here, info, flow)
    token = cookies.csrf_token(here.engine.secrets, here.principal)
    return {
        "rev": info.rev,
        "by": info.updated_by,
        "at": info.updated_at.isoformat() if info.updated_at else "",
        "flow": flow,
        "faults": {step.id: list(step.faults) for step in shown["steps"] if step.faults},
        "general": shown["general"],
        "choices": {step.id: dict(step.chooses) for step in shown["steps"]},
        "list": render("console/steps.html", csrf=token, **shown),
        "told": told,
    }


async def draft(request: Request) -> Response:
    """The draft as it is now; with `?rev=` only if it is another one by now."""
    here = await visit(request)
    require(here.principal, Scope.KB_MANAGE)
    info = await workflow_of(here)
    if request.query_params.get("rev") == str(info.rev):
        return JSONResponse({"rev": info.rev})
    return JSONResponse(_state(here, info))


async def save(request: Request) -> Response:
    """Save the draft of the canvas: merged, or 409 with both where that can't be done."""
    here = await sender(request)
    if here.principal.session_id is not None:
        known = request.headers.get("x-csrf-token")
        cookies.require_own_page(here.engine.secrets, here.principal, request, known)
    body = await _body(request)
    info = await workflow_of(here)
    mine = text_of_flow(open_flow(json.dumps(body["flow"])))
    base = text_of_flow(body["base"]) if isinstance(body.get("base"), dict) else ""
    try:
        saved = await here.engine.workflows.save_draft(
            here.principal, info.name, mine, rev=_int(body.get("rev")), base=base
        )
    except StaleDraft as stale:
        return JSONResponse(_both(stale, base, mine), status_code=409)
    return JSONResponse(_state(here, saved.workflow, saved.told))


async def _body(request: Request) -> dict[str, Any]:
    raw = b""
    async for piece in request.stream():
        raw += piece
        if len(raw) > 3 * TEXT_MAX:
            raise HttpRefusal(413, "This workflow is too large.", code="too_large")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("flow"), dict):
        raise InvalidInput("Send a draft as JSON: `flow`, `rev`, `base`.", field="flow")
    return body


def _int(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _both(stale: StaleDraft, base: str, mine: str) -> dict[str, Any]:
    """What both changed, in words, for the person to decide."""
    origin = open_flow(base) if base else open_flow(stale.theirs)
    theirs, ours = open_flow(stale.theirs), open_flow(mine)
    merged = merge(origin, ours, theirs)
    return {
        "by": stale.by,
        "rev": stale.rev,
        "theirs": theirs,
        "merged": merged.flow,
        "conflicts": list(merged.conflicts),
        "their_changes": differences(origin, theirs),
        "my_changes": differences(origin, ours),
    }


# Without a script: a form a change


async def change(request: Request) -> Response:
    """Add, connect, move or remove a step."""
    here, form = await sent(request)
    require(here.principal, Scope.KB_MANAGE)
    info = await workflow_of(here)
    try:
        flow, said, at = _changed(open_flow(info.dsl), form)
        saved = await here.engine.workflows.save_draft(
            here.principal, info.name, text_of_flow(flow), rev=info.rev
        )
    except EngineError as error:
        return _page(here, info, error)
    seen = field(form, "rev")
    if seen and seen != str(info.rev):
        said += f" {info.updated_by} saved meanwhile: both are kept."
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse(_state(here, saved.workflow, said) | {"at_step": at})
    if field(form, "do") == "add":
        return here.on(f"{path_of(info)}/steps/{at}", said)
    return here.on(path_of(info), said)


def _changed(flow: Flow, form: FormData) -> tuple[Flow, str, str]:
    """The flow, what was done to it in words, and the step it was done to."""
    do, step, other = field(form, "do"), field(form, "step"), field(form, "other")
    if do == "add":
        flow, new_id = editing.add_step(flow, field(form, "type"), after_id=field(form, "after"))
        return flow, f"{new_id} is added.", new_id
    if do == "connect":
        return editing.connect(flow, step, other), f"{step} leads to {other}.", step
    if do == "disconnect":
        return editing.disconnect(flow, step, other), f"{step} no longer leads to {other}.", step
    if do == "earlier":
        return editing.move_earlier(flow, step), f"{step} comes earlier.", step
    if do == "later":
        return editing.move_later(flow, step), f"{step} comes later.", step
    if do == "remove":
        return editing.remove_step(flow, step), f"{step} is removed.", ""
    raise InvalidInput("Say what to do with a step.", field="do")


async def step(request: Request) -> Response:
    """The form of a step, made from what its component declares."""
    here = await visit(request)
    require(here.principal, Scope.KB_MANAGE)
    info = await workflow_of(here)
    return _step_page(here, info, open_flow(info.dsl), request.path_params["step"])


def _step_page(
    here: Visit,
    info: WorkflowInfo,
    flow: Flow,
    step_id: str,
    error: EngineError | None = None,
    clash: Mapping[str, Any] | None = None,
    seen: str = "",
) -> Response:
    found = editing.step_of(flow, step_id)
    component = editing.component_of(found["type"])
    faults, _ = by_step(here.engine.workflows.faults_of(text_of_flow(flow)))
    mine = faults.get(step_id, [])
    at: dict[str, list[str]] = {}
    general = []
    for fault in mine:
        match = _AT_PARAM.match(fault)
        if match:
            at.setdefault(match[1], []).append(match[2])
        else:
            general.append(fault)
    schema = component.Param.model_json_schema(by_alias=True) if component else {}
    ids = [item["id"] for item in editing.ordered(flow)]
    return here.page(
        "workflow_step.html",
        error=error,
        **frame(here, info, "steps"),
        step=_view(flow, found, ids, faults),
        fields=form_of(schema, found.get("param", {}), faults=at),
        extra=form_of(EXTRA_SCHEMA, _extra_values(found)),
        general=general,
        references=references_for(flow, step_id),
        others=[one for one in ids if one not in editing.ancestors(flow, step_id) | {step_id}],
        seen=seen or _seen(found),
        clash=clash,
    )


def references_for(flow: Flow, step_id: str) -> list[tuple[str, str]]:
    """What a step may refer to, with the type of each: what is written before it."""
    known = editing.ancestors(flow, step_id)
    found = []
    for item in reversed([one for one in editing.ordered(flow) if one["id"] in known]):
        for key, schema in editing.written_by(item).items():
            found.append((f"{{{{{item['id']}.{key}}}}}", str(schema.get("type", "any"))))
    return [*found, *((f"{{{{sys.{key}}}}}", "string") for key in sorted(SYS))]


def _extra_values(found: Step) -> dict[str, Any]:
    retry, on_error = found.get("retry"), found.get("on_error")
    return {
        "label": found.get("label", ""),
        "note": found.get("note", ""),
        "retries": retry.get("times", 2) if isinstance(retry, dict) else 0,
        "branch": on_error.get("branch", "") if isinstance(on_error, dict) else "",
    }


def _extra(found: Step, form: Mapping[str, str]) -> dict[str, Any]:
    given = read_form(EXTRA_SCHEMA, form, {})
    retry = found.get("retry") if isinstance(found.get("retry"), dict) else {}
    on_error = found.get("on_error") if isinstance(found.get("on_error"), dict) else {}
    times, branch = given.get("retries", 0), given.get("branch", "")
    kept = on_error if on_error and "default" in on_error and not branch else None
    return {
        "label": given.get("label", ""),
        "note": given.get("note", ""),
        "retry": {**(retry or {}), "times": times} if times else None,
        "on_error": {"branch": branch} if branch else kept,
    }


def _seen(found: Step) -> str:
    return json.dumps(found, sort_keys=True, ensure_ascii=False)


async def save_step(request: Request) -> Response:
    """Save a step. Where somebody changed the same one meanwhile, both are shown to choose from."""
    here, form = await sent(request, max_fields=FIELDS_MAX, max_bytes=TEXT_MAX)
    require(here.principal, Scope.KB_MANAGE)
    info = await workflow_of(here)
    flow = open_flow(info.dsl)
    step_id = request.path_params["step"]
    try:
        found = editing.step_of(flow, step_id)
        component = editing.component_of(found["type"])
        if component is None:
            raise Conflict(f"{found['type']} is not known here: remove the step, or export it.")
        texts = {name: value for name, value in form.items() if isinstance(value, str)}
        schema = component.Param.model_json_schema(by_alias=True)
        seen, resolve = long_field(form, "seen"), field(form, "resolve")
        origin = _parsed(seen) or found
        changed = editing.set_step(
            flow,
            step_id,
            read_form(schema, texts, origin.get("param", {})),
            _extra(origin, texts),
        )
        if resolve == "theirs":
            return here.on(f"{path_of(info)}/steps/{step_id}", "Theirs is kept.")
        if resolve == "copy":
            return await _copied(here, info, changed)
        if seen and seen != _seen(found):
            return await _clash(here, info, flow, changed, step_id, origin)
        saved = await here.engine.workflows.save_draft(
            here.principal, info.name, text_of_flow(changed), rev=info.rev
        )
    except EngineError as error:
        return _page(here, info, error)
    said = f"{step_id} is saved."
    if field(form, "rev") not in {"", str(info.rev)}:
        said += f" {info.updated_by} saved meanwhile: both are kept."
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse(_state(here, saved.workflow, said) | {"at_step": step_id})
    left = by_step(here.engine.workflows.faults_of(saved.workflow.dsl))[0].get(step_id)
    again = bool(left) or field(form, "do") == "stay"
    return here.on(f"{path_of(info)}/steps/{step_id}" if again else path_of(info), said)


def _parsed(seen: str) -> Step | None:
    try:
        found = json.loads(seen)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("param", {}), dict) else None


async def _clash(
    here: Visit,
    info: WorkflowInfo,
    theirs: Flow,
    mine: Flow,
    step_id: str,
    origin: Step,
) -> Response:
    """Two changed one step: merged where they changed different things, else both are shown."""
    base = {
        **theirs,
        "components": [origin if one["id"] == step_id else one for one in theirs["components"]],
    }
    merged = merge(base, mine, theirs)
    engine = here.engine.workflows
    if not merged.conflicts:
        saved = await engine.save_draft(
            here.principal, info.name, text_of_flow(merged.flow), rev=info.rev
        )
        said = f"{info.updated_by} changed {step_id} meanwhile, elsewhere: both are kept."
        if "text/html" not in here.request.headers.get("accept", ""):
            return JSONResponse(_state(here, saved.workflow, said) | {"at_step": step_id})
        return here.on(path_of(info), said)
    clash = {
        "by": info.updated_by,
        "theirs": differences(base, theirs),
        "mine": differences(base, mine),
        "conflicts": merged.conflicts,
    }
    # The form shows mine, resting on what theirs is now: what is sent next is decided knowingly.
    page = _step_page(
        here, info, mine, step_id, clash=clash, seen=_seen(editing.step_of(theirs, step_id))
    )
    page.status_code = 409
    return page


async def keep_copy(request: Request) -> Response:
    """A draft of the canvas as a workflow of its own: nothing is lost where two can't be merged."""
    here, form = await sent(request, max_bytes=TEXT_MAX)
    require(here.principal, Scope.KB_MANAGE)
    info = await workflow_of(here)
    return await _copied(here, info, open_flow(long_field(form, "flow")))


async def _copied(here: Visit, info: WorkflowInfo, flow: Flow) -> Response:
    engine = here.engine.workflows
    known = {item.name for item in await engine.list_all(here.principal)}
    name = next(n for k in range(1, 1000) if (n := f"{info.name[:58]}-{k}") not in known)
    made = await engine.create_draft(here.principal, name, text_of_flow(flow))
    if "text/html" not in here.request.headers.get("accept", ""):
        return JSONResponse({"path": path_of(made), "name": name}, status_code=201)
    return here.on(path_of(made), f"Yours is kept as {name}.")


ROUTES = (
    Route("/console/workflows/{workflow}", show, methods=["GET"]),
    Route("/console/workflows/{workflow}", change, methods=["POST"]),
    Route("/console/workflows/{workflow}/copy", keep_copy, methods=["POST"]),
    Route("/console/workflows/{workflow}/draft", draft, methods=["GET"]),
    Route("/console/workflows/{workflow}/draft", save, methods=["POST"]),
    Route("/console/workflows/{workflow}/steps/{step}", step, methods=["GET"]),
    Route("/console/workflows/{workflow}/steps/{step}", save_step, methods=["POST"]),
)
