"""`/console/sources`: where documents come from: connect, look at, sync, pause, change, remove."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.routes.console.schema_forms import SchemaField, form_fields, read_fields
from api.routes.console.visit import Visit, field, sent, visit
from engine.access.gate import require
from engine.domain import Scope
from engine.errors import EngineError, InvalidInput, NotFound
from engine.sources.contract import Finding
from engine.sources.reports import SourceInfo
from engine.sources.sources import KindInfo, NewSource, PreviewItem
from engine.wording import counted

ALL = "/console/sources"
LISTED = 100  # what is left out, at most
RUNS = 10
EVERY = {
    "": "as the kind says",
    "900": "every 15 minutes",
    "3600": "every hour",
    "21600": "every 6 hours",
    "86400": "every day",
    "604800": "every week",
    "0": "only by hand",
}
DONE = {
    "sync": "is being synced.",
    "whole": "is being listed again, all of it.",
    "pause": "is paused. What is stored keeps answering.",
    "resume": "goes on.",
    "confirm": "may let go of what is gone there; the next sync makes sure and removes it.",
}


def path_of(info: SourceInfo) -> str:
    """The page of a source."""
    return f"{ALL}/{info.id}"


async def index(request: Request) -> Response:
    """The connected sources, and the kinds that can be connected."""
    here = _admin(await visit(request))
    sources = await here.engine.sources.list_all(here.principal)
    return here.page(
        "sources.html",
        sources=sources,
        kinds=here.engine.sources.kinds(),
        waiting=any(_is_under_way(one) for one in sources),
    )


def _admin(here: Visit) -> Visit:
    require(here.principal, Scope.KB_ADMIN)
    return here


def _kind(here: Visit, name: str) -> KindInfo:
    for one in here.engine.sources.kinds():
        if one.kind == name:
            return one
    raise NotFound(f"No kind of source {name[:40]!r}.")


async def new(request: Request) -> Response:
    """The form of a kind."""
    here = _admin(await visit(request))
    kind = _kind(here, request.path_params["kind"])
    return await _new(here, kind, form_fields(kind.settings, {}), None)


async def _new(
    here: Visit,
    kind: KindInfo,
    fields: Sequence[SchemaField],
    form: FormData | None,
    error: EngineError | None = None,
    preview: Sequence[PreviewItem] | None = None,
) -> Response:
    principal = here.principal
    known = await here.engine.knowledge_bases.list_readable(principal)
    writable = principal.writable | principal.managed
    said = {
        name: field(form, name) if form else ""
        for name in ("name", "kb", "every", "domains", "credential")
    }
    return here.page(
        "source_new.html",
        error=error,
        kind=kind,
        fields=fields,
        said=said,
        bases=[kb.name for kb in known if kb.id in writable],
        credentials=await _credentials(here, kind),
        every=EVERY,
        preview=preview,
    )


async def _credentials(here: Visit, kind: KindInfo | None) -> list[str]:
    """The credentials that a source of the kind can sign in with, by name."""
    if kind is None or not kind.methods:
        return []
    known = await here.engine.credentials.list_all(here.principal)
    return [one.name for one in known if one.kind == kind.kind]


async def add(request: Request) -> Response:
    """Show what a sync would take, or connect the source."""
    here, form = await sent(request)
    kind = _kind(_admin(here), request.path_params["kind"])
    blank = form_fields(kind.settings, {})
    filled = blank
    try:
        settings = read_fields(blank, form)
        filled = form_fields(kind.settings, settings)
        sources = here.engine.sources
        if field(form, "do") == "preview":
            found = await sources.preview(
                here.principal, kind.kind, settings, credential=field(form, "credential")
            )
            return await _new(here, kind, filled, form, preview=found)
        made = NewSource(
            kind.kind,
            field(form, "name"),
            field(form, "kb"),
            settings,
            every_s=_every(form),
            domains=field(form, "domains").split(),
            credential=field(form, "credential"),
        )
        info, _ = await sources.add(here.principal, made)
    except EngineError as error:
        return await _new(here, kind, filled, form, error)
    return here.on(path_of(info), f"{info.name} is connected. Its first sync has begun.")


def _every(form: FormData) -> int | None:
    said = field(form, "every")
    if said not in EVERY:
        raise InvalidInput("Choose how often to sync.", field="every")
    return int(said) if said else None


async def show(request: Request) -> Response:
    """How far a source is, what it leaves out and why."""
    here = _admin(await visit(request))
    info = await here.engine.sources.get(here.principal, request.path_params["source"])
    return await _show(here, info)


async def _show(
    here: Visit,
    info: SourceInfo,
    error: EngineError | None = None,
    findings: Sequence[Finding] = (),
    fields: Sequence[SchemaField] | None = None,
) -> Response:
    sources = here.engine.sources
    kind = next((one for one in sources.kinds() if one.kind == info.kind), None)
    if fields is None:
        fields = [] if kind is None else form_fields(kind.settings, info.settings)
    return here.page(
        "source.html",
        error=error,
        info=info,
        path=path_of(info),
        kind=kind,
        fields=fields,
        findings=findings,
        runs=await sources.runs(here.principal, info.id, limit=RUNS),
        left_out=await sources.why(here.principal, info.id, limit=LISTED),
        listed=LISTED,
        credentials=await _credentials(here, kind),
        counted=counted,
        answering=info.documents.get("ready", 0),
        every=_intervals(info.every_s),
        waiting=_is_under_way(info),
    )


def _intervals(every_s: int) -> dict[str, str]:
    """How often a source may be synced in words, by seconds; its own with them."""
    known = str(every_s)
    words = EVERY.get(known) or f"every {counted(every_s // 60, 'minute')}"
    return {name: said for name, said in EVERY.items() if name} | {known: words}


def _is_under_way(info: SourceInfo) -> bool:
    return (info.last_run is not None and info.last_run.state == "running") or any(
        info.documents.get(state) for state in ("pending", "running")
    )


async def change(request: Request) -> Response:
    """Check, sync, pause, resume, confirm, change or remove it."""
    here, form = await sent(request)
    _admin(here)
    sources, principal = here.engine.sources, here.principal
    info = await sources.get(principal, request.path_params["source"])
    what = field(form, "do")
    try:
        if what == "check":
            return await _show(here, info, findings=await sources.check(principal, info.id))
        if what == "remove":
            return await _remove(here, info, field(form, "name"))
        if what == "settings":
            return await _change_settings(here, info, form)
        await _act(here, info, what)
    except EngineError as error:
        return await _show(here, info, error)
    return here.on(path_of(info), f"{info.name} {DONE[what]}")


async def _act(here: Visit, info: SourceInfo, what: str) -> None:
    sources, principal = here.engine.sources, here.principal
    if what in {"sync", "whole"}:
        await sources.sync(principal, info.id, whole=what == "whole")
    elif what == "pause":
        await sources.pause(principal, info.id)
    elif what == "resume":
        await sources.resume(principal, info.id)
    elif what == "confirm":
        await sources.confirm(principal, info.id)
    else:
        raise InvalidInput("Choose what to do.", field="do")


async def _remove(here: Visit, info: SourceInfo, typed: str) -> Response:
    if typed != info.name:
        raise InvalidInput(f"Type the name, {info.name}, to remove it.", field="name")
    gone = await here.engine.sources.remove(here.principal, info.id)
    return here.on(ALL, f"{info.name} is removed, with {counted(gone, 'document')}.")


async def _change_settings(here: Visit, info: SourceInfo, form: FormData) -> Response:
    kind = _kind(here, info.kind)
    fields = form_fields(kind.settings, info.settings)
    try:
        settings = read_fields(fields, form)
        fields = form_fields(kind.settings, settings)
        every = field(form, "every")
        every_s = _every(form) if every != str(info.every_s) else None
        await here.engine.sources.update(
            here.principal,
            info.id,
            settings=settings,
            every_s=every_s,
            domains=field(form, "domains").split() if kind.has_permissions else None,
            credential=field(form, "credential") if kind.methods else None,
        )
    except EngineError as error:
        return await _show(here, info, error, fields=fields)
    return here.on(path_of(info), "Saved. The next sync uses it.")


ROUTES = (
    Route(ALL, index, methods=["GET"]),
    Route(f"{ALL}/new/{{kind}}", new, methods=["GET"]),
    Route(f"{ALL}/new/{{kind}}", add, methods=["POST"]),
    Route(f"{ALL}/{{source}}", show, methods=["GET"]),
    Route(f"{ALL}/{{source}}", change, methods=["POST"]),
)
