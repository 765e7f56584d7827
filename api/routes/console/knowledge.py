"""`/console`: the knowledge bases; `/console/knowledge/{kb}`: one, with its documents and settings."""

from __future__ import annotations

from typing import get_args
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.routes.console.documents import DONE, act
from api.routes.console.visit import (
    Visit,
    field,
    fields,
    is_confirmation_needed,
    require_own_form,
    sender,
    sent,
    visit,
)
from api.uploads import open_form, read_documents
from engine.access.acl import user_token
from engine.access.gate import TENANT, may, reaches_all, require
from engine.access.permissions import GrantLevel
from engine.documents.documents import DocumentPage
from engine.documents.knowledge_bases import KbInfo
from engine.documents.search_settings import ALL, SETTINGS, parse_setting
from engine.domain import DocumentState, Scope, SearchMode
from engine.errors import EngineError, InvalidInput, NotFound
from engine.telemetry import correlation_id
from engine.wording import counted

SHOWN = 50  # documents a page
MODES: tuple[SearchMode, ...] = get_args(SearchMode)
TESTED = 10  # hits of a retrieval test
SEARCH_HELP = {
    "mode": "hybrid, semantic, keyword or adaptive",
    "alpha": "0 to 1: what meaning counts beside words",
    "title_weight": "0 to 1: what titles count beside text",
    "fusion": "linear or rrf",
    "top_k": "1 to 1000: passages that are looked at",
    "confidence_threshold": "0 to 1: under it nothing is claimed",
    "rerank": "true or false",
    "weight": "over 0: its hits beside those of other knowledge bases",
    "decay_half_life_s": "seconds after which age halves what it can take; 0: never",
    "feature_weights": "name=weight, separated by spaces",
    "spelling": "true or false: mend words that its documents write otherwise",
    "acronyms": "true or false: read acronyms as its documents explain them",
    "query_filters": "true or false: read dates, authors and places in questions as filters",
    "clarify": "true or false: ask back where a question is unclear",
}


def path_of(kb: KbInfo, page: str = "") -> str:
    """A page of a knowledge base."""
    return f"/console/knowledge/{kb.id}" + (f"/{page}" if page else "")


async def index(request: Request) -> Response:
    """All knowledge bases that this person may read."""
    return await _index(await visit(request))


async def _index(here: Visit, error: EngineError | None = None, *, name: str = "") -> Response:
    status = await here.engine.operations.status(here.principal)
    managed = []
    if may(here.principal, "kb.update"):
        shown = {kb.id for kb in status.knowledge_bases}
        managed = await here.engine.knowledge_bases.list_managed(here.principal)
        managed = [kb for kb in managed if kb.id not in shown]
    return here.page(
        "knowledge.html",
        error=error,
        status=status,
        managed=managed,
        name=name,
        may_create=may(here.principal, "kb.create"),
    )


async def create(request: Request) -> Response:
    """A new knowledge base, for all members or for its owner alone."""
    here, form = await sent(request)
    name = field(form, "name")
    mine = here.principal.user_id if field(form, "for") == "me" else None
    try:
        made = await here.engine.knowledge_bases.create(
            here.principal,
            name,
            description=field(form, "description"),
            grants=(user_token(mine) if mine else TENANT,),
        )
    except EngineError as error:
        return await _index(here, error, name=name)
    return here.on(path_of(made), f"{made.name} is there. Add its first documents.")


async def show(request: Request) -> Response:
    """The documents of one, newest first."""
    here = await visit(request)
    return await _documents(here, await _kb(here))


async def _documents(here: Visit, kb: KbInfo, error: EngineError | None = None) -> Response:
    query = here.request.query_params
    state, title = query.get("state", ""), query.get("title", "").strip()[:200]
    status = await here.engine.operations.status(here.principal)
    known = next((item for item in status.knowledge_bases if item.id == kb.id), None)
    page = DocumentPage([], "")
    if known is not None:
        page = await here.engine.documents.page(
            here.principal,
            kb.id,
            state=state if state in set(DocumentState) else "",
            title=title,
            limit=SHOWN,
            cursor=query.get("after", "")[:100],
        )
    kept = {name: value for name, value in (("state", state), ("title", title)) if value}
    return here.page(
        "documents.html",
        error=error,
        **_frame(here, kb, "documents"),
        is_readable=known is not None,
        documents=page.documents,
        states={} if known is None else {n: c for n, c in known.states.items() if c},
        waiting=0 if known is None else known.waiting,
        workers=len(status.workers),
        state=state,
        title=title,
        more=f"?{urlencode(kept | {'after': page.next_cursor})}" if page.next_cursor else "",
        largest=int(here.service.settings.processing.max_file_size),
    )


async def upload(request: Request) -> Response:
    """Files for a knowledge base, from a form or one after the other from a script."""
    here = await sender(request)
    by_script = "text/html" not in request.headers.get("accept", "")
    require(here.principal, Scope.KB_WRITE)  # before any byte of the files is read
    kb = await _kb(here)
    max_bytes = int(here.service.settings.processing.max_file_size)
    try:
        async with open_form(request, max_bytes=max_bytes) as form:
            require_own_form(here, form)
            new = await read_documents(form)
        named = [item for item in new if item.filename != "document" or item.data]
        if not named:
            raise InvalidInput("Choose at least one file.", field="file")
        added = await here.engine.documents.add_many(
            here.principal, kb.id, named, correlation_id=correlation_id()
        )
    except EngineError as error:
        if by_script:
            raise
        return await _documents(here, kb, error)
    known = sum(item.unchanged for item in added)
    said = f"{counted(len(added) - known, 'document')} on the way."
    if known:
        said += f" {counted(known, 'document')} known already, unchanged."
    if by_script:
        return JSONResponse({"said": said}, status_code=202)
    return here.on(path_of(kb), said)


async def change_many(request: Request) -> Response:
    """Retry, hide, show again or delete the documents that were chosen."""
    here, form = await sent(request)
    kb = await _kb(here)
    chosen, what = fields(form, "id"), field(form, "do")
    if not chosen or what not in DONE:
        refused = InvalidInput("Choose documents, and what to do with them.", field="id")
        return await _documents(here, kb, refused)
    done, failed = 0, None
    for id_ in chosen[:SHOWN]:
        try:
            await act(here, id_, what)
            done += 1
        except EngineError as error:
            failed = failed or error
    if failed is not None and not done:
        return await _documents(here, kb, failed)
    said = f"{counted(done, 'document')} {DONE[what]}."
    if failed is not None:
        said += f" {len(chosen) - done} not: {failed}"
    return here.on(path_of(kb), said)


async def test(request: Request) -> Response:
    """What a search finds, with every part of each score side by side."""
    here = await visit(request)
    kb = await _kb(here)
    query = here.request.query_params.get("q", "").strip()[:1000]
    mode = here.request.query_params.get("mode", "")
    found, error = None, None
    try:
        if query:
            chosen = next((known for known in MODES if known == mode), None)
            found = await here.engine.search.find(
                here.principal, query, kb=kb.id, limit=TESTED, mode=chosen
            )
    except EngineError as failed:
        error = failed
    return here.page(
        "test.html",
        error=error,
        **_frame(here, kb, "test"),
        query=query,
        mode=mode,
        modes=MODES,
        found=found,
    )


async def settings(request: Request) -> Response:
    """Name, description, search settings and grants, for those who manage it."""
    here = await visit(request)
    return await _settings(here, await _kb(here))


async def _settings(here: Visit, kb: KbInfo, error: EngineError | None = None) -> Response:
    bases = here.engine.knowledge_bases
    defaults = here.service.settings.search
    return here.page(
        "settings.html",
        error=error,
        **_frame(here, kb, "settings"),
        grants=await bases.list_grants(here.principal, kb.id),
        levels=list(GrantLevel),
        search=[
            (name, _written(kb.search.get(name)), SEARCH_HELP[name], getattr(defaults, name, None))
            for name in SETTINGS
        ],
    )


async def change(request: Request) -> Response:
    """Another name or description."""
    here, form = await sent(request)
    kb = await _kb(here)
    try:
        changed = await here.engine.knowledge_bases.update(
            here.principal, kb.id, name=field(form, "name"), description=field(form, "description")
        )
    except EngineError as error:
        return await _settings(here, kb, error)
    return here.on(path_of(changed, "settings"), "Saved.")


async def change_search(request: Request) -> Response:
    """How it is searched from now on; an empty field leaves it to the installation."""
    here, form = await sent(request)
    kb = await _kb(here)
    try:
        given = dict(
            parse_setting(name, field(form, name)) for name in SETTINGS if field(form, name)
        )
        await here.engine.knowledge_bases.set_search(here.principal, kb.id, given, reset=[ALL])
    except EngineError as error:
        return await _settings(here, kb, error)
    return here.on(path_of(kb, "settings"), "Saved. The next search uses it.")


async def grant(request: Request) -> Response:
    """Grant it to a person, group, workspace or channel, or take such a grant back."""
    here, form = await sent(request)
    kb = await _kb(here)
    to, bases = field(form, "to"), here.engine.knowledge_bases
    try:
        if field(form, "do") == "revoke":
            await bases.revoke(here.principal, kb.id, to)
        else:
            level = field(form, "level")
            if level not in set(GrantLevel):
                raise InvalidInput("Choose how far the grant reaches.", field="level")
            await bases.grant(here.principal, kb.id, to, GrantLevel(level))
    except EngineError as error:
        return await _settings(here, kb, error)
    return here.on(path_of(kb, "settings"), "Saved. It holds from now on.")


async def delete(request: Request) -> Response:
    """Delete it, once its name was typed."""
    here, form = await sent(request)
    kb = await _kb(here)
    try:
        if field(form, "name") != kb.name:
            raise InvalidInput(f"Type the name, {kb.name}, to delete it.", field="name")
        await here.engine.knowledge_bases.delete(here.principal, kb.id)
    except EngineError as error:
        if is_confirmation_needed(error):
            return here.to_confirm(path_of(kb, "settings"))
        return await _settings(here, kb, error)
    return here.on("/console", f"{kb.name} is deleted.")


async def _kb(here: Visit) -> KbInfo:
    """The knowledge base of the path, read or managed: its owner may not be granted it."""
    ref, bases = here.request.path_params["kb"], here.engine.knowledge_bases
    try:
        return await bases.get(here.principal, ref)
    except NotFound:
        if may(here.principal, "kb.update"):
            for kb in await bases.list_managed(here.principal):
                if kb.id == ref:
                    return kb
        raise


def _frame(here: Visit, kb: KbInfo, page: str) -> dict[str, object]:
    """What every page of a knowledge base shows."""
    principal = here.principal
    manages = may(principal, "kb.update") and (
        kb.id in principal.managed or reaches_all(principal, "kb.update")
    )
    writes = Scope.KB_WRITE in principal.scopes and (
        kb.id in principal.writable or kb.id in principal.managed
    )
    return {"kb": kb, "page": page, "path": path_of(kb), "manages": manages, "writes": writes}


def _written(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={weight}" for name, weight in value.items())
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


ROUTES = (
    Route("/console", index, methods=["GET"]),
    Route("/console/knowledge", create, methods=["POST"]),
    Route("/console/knowledge/{kb}", show, methods=["GET"]),
    Route("/console/knowledge/{kb}", change, methods=["POST"]),
    Route("/console/knowledge/{kb}/delete", delete, methods=["POST"]),
    Route("/console/knowledge/{kb}/documents", change_many, methods=["POST"]),
    Route("/console/knowledge/{kb}/files", upload, methods=["POST"]),
    Route("/console/knowledge/{kb}/grants", grant, methods=["POST"]),
    Route("/console/knowledge/{kb}/search", change_search, methods=["POST"]),
    Route("/console/knowledge/{kb}/settings", settings, methods=["GET"]),
    Route("/console/knowledge/{kb}/test", test, methods=["GET"]),
)
