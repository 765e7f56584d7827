"""`/console/workflows`: the workflows; of one: a run of it, publishing, its versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.param_forms import FormField, form_of, read_form
from api.routes.console.visit import Visit, field, sent, visit
from engine.domain import Scope
from engine.errors import EngineError, FlowError, InvalidInput, NotFound
from engine.workflows.definitions import DRAFT, WorkflowInfo
from engine.workflows.editing import BLANK, open_flow, text_of_flow
from engine.workflows.merging import differences

TEXT_MAX = 300_000  # bytes of a workflow as text
FIELDS_MAX = 4_000  # of a form


def may_edit(here: Visit) -> bool:
    """Whether this person sees what edits workflows."""
    return Scope.KB_MANAGE in here.principal.scopes


def path_of(info: WorkflowInfo, page: str = "") -> str:
    """A page of a workflow."""
    return f"/console/workflows/{info.name}" + (f"/{page}" if page else "")


async def workflow_of(here: Visit) -> WorkflowInfo:
    """The workflow that the address names."""
    name = here.request.path_params["workflow"]
    return await here.engine.workflows.get(here.principal, name)


def frame(here: Visit, info: WorkflowInfo, page: str) -> dict[str, object]:
    """What the head of each page of a workflow shows."""
    return {
        "workflow": info,
        "path": path_of(info),
        "page": page,
        "edits": may_edit(here) and not info.is_template,
    }


async def index(request: Request) -> Response:
    """The workflows, and how to begin another one."""
    return await _index(await visit(request))


async def _index(
    here: Visit, error: EngineError | None = None, given: Mapping[str, str] | None = None
) -> Response:
    workflows = here.engine.workflows
    rows = await workflows.overview(here.principal)
    return here.page(
        "workflows.html",
        error=error,
        rows=[row for row in rows if not row.workflow.is_template],
        templates=[row.workflow for row in rows if row.workflow.is_template],
        questions=await workflows.list_questions(here.principal),
        may_edit=may_edit(here),
        sees_tools=Scope.KB_ADMIN in here.principal.scopes,
        given=dict(given or {}),
        faults=error.faults if isinstance(error, FlowError) else [],
    )


async def create(request: Request) -> Response:
    """A new draft: blank, from a template, or from a text."""
    here, form = await sent(request, max_bytes=TEXT_MAX)
    name, origin, text = field(form, "name"), field(form, "from"), long_field(form, "text")
    description = field(form, "description")
    given = {"name": name, "from": origin, "text": text, "description": description}
    try:
        made = await here.engine.workflows.create_draft(
            here.principal, name, await _first_text(here, origin, text), description=description
        )
    except EngineError as error:
        return await _index(here, error, given)
    return here.on(path_of(made), f"{made.name} is there, as a draft.")


async def _first_text(here: Visit, origin: str, text: str) -> str:
    if origin == "text":
        if not text.strip():
            raise InvalidInput("Paste the text of a workflow.", field="text")
        return text_of_flow(open_flow(text))
    if origin.startswith("template:"):
        found = await here.engine.workflows.get(here.principal, origin)
        return found.dsl
    return text_of_flow(BLANK)


def long_field(form: FormData, name: str) -> str:
    """A field that may hold a whole workflow."""
    value = form.get(name, "")
    return value[:TEXT_MAX] if isinstance(value, str) else ""


# Running


async def run(request: Request) -> Response:
    """The form of a run's inputs: of what is published, or of the draft."""
    here = await visit(request)
    info = await workflow_of(here)
    version = DRAFT if request.query_params.get("version") == DRAFT else ""
    return await _run_page(here, info, version)


async def _run_page(
    here: Visit,
    info: WorkflowInfo,
    version: str,
    error: EngineError | None = None,
    values: Mapping[str, Any] | None = None,
) -> Response:
    fields: list[FormField] = []
    faults: list[str] = []
    try:
        schema = await here.engine.workflows.input_schema(
            here.principal, info.name, version=version
        )
        fields = form_of(schema, values or {})
    except FlowError as broken:
        faults = list(broken.faults)
    except NotFound as missing:
        error = error or missing
    return here.page(
        "workflow_run.html",
        error=error,
        **frame(here, info, "run"),
        fields=fields,
        faults=faults,
        version=version,
    )


async def start(request: Request) -> Response:
    """Start a run, and go to it; a script gets its id."""
    here, form = await sent(request, max_fields=FIELDS_MAX, max_bytes=TEXT_MAX)
    info = await workflow_of(here)
    version = DRAFT if field(form, "version") == DRAFT else ""
    by_script = "text/html" not in request.headers.get("accept", "")
    values: dict[str, Any] = {}
    try:
        schema = await here.engine.workflows.input_schema(
            here.principal, info.name, version=version
        )
        values = read_form(schema, _texts(form), {})
        run_id = await here.engine.workflows.start(
            here.principal, info.name, values, version=version, trigger="page"
        )
    except EngineError as error:
        if by_script:
            raise
        return await _run_page(here, info, version, error, values)
    if by_script:
        return JSONResponse({"run": run_id}, status_code=202)
    return here.on(f"/console/runs/{run_id}")


def _texts(form: FormData) -> dict[str, str]:
    return {name: value for name, value in form.items() if isinstance(value, str)}


# Publishing


async def publish_page(request: Request) -> Response:
    """What publishing would change, in words."""
    here = await visit(request)
    return await _publish_page(here, await workflow_of(here))


async def _publish_page(
    here: Visit, info: WorkflowInfo, error: EngineError | None = None
) -> Response:
    versions = await here.engine.workflows.versions(here.principal, info.name)
    current = next((item for item in versions if item.is_current), None)
    flow = open_flow(info.dsl)
    changes = differences(open_flow(current.dsl), flow) if current else []
    return here.page(
        "workflow_publish.html",
        error=error,
        **frame(here, info, "publish"),
        changes=changes,
        current=current,
        faults=here.engine.workflows.faults_of(info.dsl),
    )


async def publish(request: Request) -> Response:
    """Make the draft what runs, if it is still the one that was shown."""
    here, form = await sent(request)
    info = await workflow_of(here)
    try:
        if field(form, "rev") != str(info.rev):
            raise InvalidInput(
                f"{info.updated_by} saved since you looked: here is what would be published now.",
                field="rev",
            )
        version = await here.engine.workflows.publish(
            here.principal, info.name, note=field(form, "note")[:500]
        )
    except EngineError as error:
        return await _publish_page(here, info, error)
    return here.on(path_of(info), f"Published as version {version.number}.")


async def versions(request: Request) -> Response:
    """Every published text, with what each changed."""
    here = await visit(request)
    info = await workflow_of(here)
    return await _versions(here, info)


async def _versions(here: Visit, info: WorkflowInfo, error: EngineError | None = None) -> Response:
    found = await here.engine.workflows.versions(here.principal, info.name)
    flows = [open_flow(item.dsl) for item in found]
    told = [
        differences(flows[at + 1], flow) if at + 1 < len(flows) else ["The first one."]
        for at, flow in enumerate(flows)
    ]
    return here.page(
        "workflow_versions.html",
        error=error,
        **frame(here, info, "versions"),
        versions=list(zip(found, told, strict=True)),
    )


async def restore(request: Request) -> Response:
    """A version as the draft, if that is still the one that was looked at."""
    here, form = await sent(request)
    info = await workflow_of(here)
    number = field(form, "number")
    known = await here.engine.workflows.versions(here.principal, info.name)
    chosen = next((item for item in known if str(item.number) == number), None)
    try:
        if chosen is None:
            raise NotFound(f"{info.name} has no version {number}.")
        rev = field(form, "rev")
        saved = await here.engine.workflows.save_draft(
            here.principal, info.name, chosen.dsl, rev=int(rev) if rev.isdecimal() else 0
        )
    except EngineError as error:
        return await _versions(here, info, error)
    return here.on(path_of(saved.workflow), f"The draft is what version {number} was.")


async def delete(request: Request) -> Response:
    """Delete a workflow, after its name was typed."""
    here, form = await sent(request)
    info = await workflow_of(here)
    try:
        if field(form, "name") != info.name:
            raise InvalidInput(f"Type {info.name} to delete it.", field="name")
        await here.engine.workflows.delete(here.principal, info.name)
    except EngineError as error:
        return await _versions(here, info, error)
    return here.on("/console/workflows", f"{info.name} is deleted. Its runs are kept.")


async def export(request: Request) -> Response:
    """The draft as a file."""
    here = await visit(request)
    info = await workflow_of(here)
    name = info.name.removeprefix("template:")
    return Response(
        info.dsl,
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}.json"'},
    )


ROUTES = (
    Route("/console/workflows", index, methods=["GET"]),
    Route("/console/workflows", create, methods=["POST"]),
    Route("/console/workflows/{workflow}/delete", delete, methods=["POST"]),
    Route("/console/workflows/{workflow}/publish", publish_page, methods=["GET"]),
    Route("/console/workflows/{workflow}/publish", publish, methods=["POST"]),
    Route("/console/workflows/{workflow}/run", run, methods=["GET"]),
    Route("/console/workflows/{workflow}/run", start, methods=["POST"]),
    Route("/console/workflows/{workflow}/text", export, methods=["GET"]),
    Route("/console/workflows/{workflow}/versions", versions, methods=["GET"]),
    Route("/console/workflows/{workflow}/versions", restore, methods=["POST"]),
)
