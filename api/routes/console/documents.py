"""`/console/documents/{id}`: one document, why it is as it is, and the passages that search sees."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.routes.console.visit import Visit, field, sent, visit
from engine.access.gate import require
from engine.documents.documents import DocumentInfo
from engine.domain import Scope, parse_chunk_id
from engine.errors import EngineError, InvalidInput
from engine.search.links import path_of

PASSAGES = 30  # a page
DONE = {
    "retry": "queued again",
    "cancel": "cancelled",
    "hide": "hidden",
    "unhide": "shown again",
    "delete": "deleted",
}


async def act(here: Visit, id_: str, what: str) -> None:
    """Do to a document what a form asks for."""
    documents = here.engine.documents
    if what == "retry":
        await documents.retry(here.principal, id_)
    elif what == "cancel":
        await documents.cancel(here.principal, id_)
    elif what in {"hide", "unhide"}:
        await documents.hide(here.principal, id_, hidden=what == "hide")
    elif what == "delete":
        await documents.delete(here.principal, id_)
    else:
        raise InvalidInput("Choose what to do.", field="do")


async def show(request: Request) -> Response:
    """One document."""
    return await _show(await visit(request))


async def _show(here: Visit, error: EngineError | None = None) -> Response:
    engine, principal = here.engine, here.principal
    require(principal, Scope.KB_READ)
    document = await engine.documents.get(principal, here.request.path_params["id"])
    kb = await engine.knowledge_bases.get(principal, document.kb_id)
    after = here.request.query_params.get("after", "")
    page = await engine.documents.chunks(
        principal,
        document.id,
        after=int(after) if after.isdecimal() and len(after) < 9 else -1,
        limit=PASSAGES,
    )
    writes = Scope.KB_WRITE in principal.scopes and (
        kb.id in principal.writable or kb.id in principal.managed
    )
    return here.page(
        "document.html",
        error=error,
        kb=kb,
        document=document,
        why=await engine.documents.explain(principal, document.id),
        log=await _log(here, document),
        passages=page.chunks,
        next_after=page.next_after,
        opened=path_of(document.id),
        writes=writes,
        waiting=document.state in {"pending", "running"},
    )


async def _log(here: Visit, document: DocumentInfo) -> list[str]:
    """What its last run said, in order."""
    async for seen in here.engine.documents.watch(here.principal, [document.id]):
        return [
            f"{entry['datetime']}  {entry['component']}  {entry['message']}"
            for item in seen
            for entry in item.entries
        ]
    return []


async def change(request: Request) -> Response:
    """Retry, cancel, hide, show again or delete the document; hide or show a passage of it."""
    here, form = await sent(request)
    id_, what = request.path_params["id"], field(form, "do")
    passage = field(form, "passage")
    try:
        document = await here.engine.documents.get(here.principal, id_)
        if passage:
            if parse_chunk_id(passage) is None or what not in {"hide", "unhide"}:
                raise InvalidInput("That is no passage of this document.", field="passage")
            await here.engine.documents.hide(here.principal, passage, hidden=what == "hide")
        else:
            await act(here, id_, what)
    except EngineError as error:
        return await _show(here, error)
    if what == "delete":
        return here.on(f"/console/knowledge/{document.kb_id}", f"{document.title} is deleted.")
    noun = "The passage" if passage else document.title
    return here.on(f"/console/documents/{id_}", f"{noun} is {DONE[what]}.")


ROUTES = (
    Route("/console/documents/{id}", show, methods=["GET"]),
    Route("/console/documents/{id}", change, methods=["POST"]),
)
