"""`/console/files`: folders and files, the knowledge bases they are in, and whom they are shared with."""

from __future__ import annotations

from collections import deque
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.routes.console.visit import Visit, field, require_own_form, sender, sent, visit
from api.routes.files import Download
from api.uploads import is_yes, open_form, read_documents
from engine.access.gate import require
from engine.access.permissions import GrantLevel
from engine.domain import Scope
from engine.errors import EngineError, InvalidInput
from engine.files.files import AtDeletion
from engine.files.tree import FOLDER, FileInfo
from engine.telemetry import correlation_id
from engine.wording import counted

SHOWN = 100  # entries a page
SUGGESTED = 100  # folders to move something to
TOP = "/console/files"
WHAT_BECOMES: dict[str, AtDeletion] = {"refuse": "refuse", "delete": "delete", "keep": "keep"}


def path_of(id_: str, page: str = "") -> str:
    """A page of a folder or file; of the top where there is no id."""
    return "/".join(part for part in (TOP, id_, page) if part)


async def index(request: Request) -> Response:
    """The person's own folders and files, and what is shared with them."""
    return await _folder(await visit(request), "")


async def show(request: Request) -> Response:
    """What is in a folder, or what is known of a file."""
    here = await visit(request)
    info = await here.engine.files.get(here.principal, request.path_params["id"])
    return await _folder(here, info.id) if info.kind == FOLDER else await _about(here, info)


async def _folder(
    here: Visit, folder: str, error: EngineError | None = None, *, name: str = ""
) -> Response:
    page = await here.engine.files.page(
        here.principal,
        folder,
        limit=SHOWN,
        cursor=here.request.query_params.get("after", "")[:2000],
    )
    at = page.trail[-1] if page.trail else None
    writes = Scope.KB_WRITE in here.principal.scopes and (
        at.level in {"write", "manage"} if at else here.principal.user_id is not None
    )
    after = urlencode({"after": page.next_cursor}) if page.next_cursor else ""
    return here.page(
        "files.html",
        error=error,
        path=path_of(folder),
        trail=page.trail,
        at=at,
        entries=page.entries,
        links=page.links,
        more=f"?{after}" if after else "",
        writes=writes,
        writable=await _writable(here) if writes else [],
        name=name,
        largest=int(here.service.settings.processing.max_file_size),
    )


async def _writable(here: Visit) -> list[str]:
    """The knowledge bases that this person may write to, by name."""
    principal = here.principal
    known = await here.engine.knowledge_bases.list_readable(principal)
    return [kb.name for kb in known if kb.id in principal.writable | principal.managed]


async def about(request: Request) -> Response:
    """A folder or file: rename, move, link, share, delete."""
    here = await visit(request)
    info = await here.engine.files.get(here.principal, request.path_params["id"])
    return await _about(here, info)


async def _about(here: Visit, info: FileInfo, error: EngineError | None = None) -> Response:
    files, principal = here.engine.files, here.principal
    changes = Scope.KB_WRITE in principal.scopes
    links = [] if info.kind == FOLDER else await files.links(principal, info.id)
    linked = {link.knowledge_base for link in links}
    writable = await _writable(here) if changes and info.kind != FOLDER else []
    manages = changes and info.level == "manage"
    return here.page(
        "file.html",
        error=error,
        info=info,
        path=path_of(info.id),
        up=path_of(info.folder_id or ""),
        links=links,
        can_unlink=set(writable) & linked,
        can_link=[name for name in writable if name not in linked],
        changes=changes and (manages or await _may_place(here, info)),
        manages=manages,
        folders=await _folders(here) if changes else [],
        grants=await files.grants(principal, info.id) if manages else [],
        levels=list(GrantLevel),
    )


async def _may_place(here: Visit, info: FileInfo) -> bool:
    if info.folder_id is None:
        return False
    folder = await here.engine.files.get(here.principal, info.folder_id)
    return folder.level in {"write", "manage"}


async def _folders(here: Visit) -> list[str]:
    """Paths of some folders that something may be moved to, the highest first."""
    found: list[str] = []
    waiting = deque([""])
    while waiting and len(found) < SUGGESTED:
        page = await here.engine.files.page(here.principal, waiting.popleft(), limit=SUGGESTED)
        for entry in page.entries:
            if entry.kind == FOLDER:
                waiting.append(entry.id)
                if entry.level != "read":
                    found.append(entry.path)
    return found[:SUGGESTED]


async def create_folder(request: Request) -> Response:
    """A new folder here."""
    here, form = await sent(request)
    folder, name = field(form, "folder"), field(form, "name")
    try:
        made = await here.engine.files.create_folder(here.principal, name, folder)
    except EngineError as error:
        return await _folder(here, folder, error, name=name)
    return here.on(path_of(made.id), f"{made.name} is there.")


async def upload(request: Request) -> Response:
    """Files for a folder, from a form or one after the other from a script."""
    here = await sender(request)
    by_script = "text/html" not in request.headers.get("accept", "")
    require(here.principal, Scope.KB_WRITE)  # before any byte of the files is read
    folder = request.path_params.get("id", "")
    max_bytes = int(here.service.settings.processing.max_file_size)
    try:
        async with open_form(request, max_bytes=max_bytes) as form:
            require_own_form(here, form)
            new = await read_documents(form)
            kb, replaces = field(form, "kb"), is_yes(form, "replace")
        named = [item for item in new if item.filename != "document" or item.data]
        if not named:
            raise InvalidInput("Choose at least one file.", field="file")
        added = await here.engine.files.add(
            here.principal,
            named,
            folder=folder,
            kb=kb,
            replace_same=replaces,
            correlation_id=correlation_id(),
        )
    except EngineError as error:
        if by_script:
            raise
        return await _folder(here, folder, error)
    said = f"{counted(len(added), 'file')} added."
    if by_script:
        return JSONResponse({"said": said}, status_code=201)
    return here.on(path_of(folder), said)


async def content(request: Request) -> Response:
    """The bytes of a file, to be saved."""
    here = await visit(request)
    info = await here.engine.files.get(here.principal, request.path_params["id"])
    return Download(here.engine.files, here.principal, info.id)


async def change(request: Request) -> Response:
    """Rename, move, link, unlink, share or delete it."""
    here, form = await sent(request)
    files, principal = here.engine.files, here.principal
    info = await files.get(principal, request.path_params["id"])
    what, to = field(form, "do"), field(form, "to")
    try:
        if what == "delete":
            said = WHAT_BECOMES.get(field(form, "documents"), "refuse")
            gone = await files.delete(principal, info.id, documents=said)
            more = f", with {counted(gone.documents, 'document')}" if gone.documents else ""
            return here.on(path_of(info.folder_id or ""), f"{info.name} is deleted{more}.")
        done = await _do(here, info, what, to, field(form, "level"))
    except EngineError as error:
        return await _about(here, info, error)
    try:
        await files.get(principal, info.id)
    except EngineError:  # moved to where this person does not see it
        return here.on(TOP, done)
    return here.on(path_of(info.id, "about"), done)


async def _do(here: Visit, info: FileInfo, what: str, to: str, level: str) -> str:
    files, principal = here.engine.files, here.principal
    if what == "rename":
        changed = await files.change(principal, info.id, name=to)
        return f"It is called {changed.name}."
    if what == "move":
        changed = await files.change(principal, info.id, folder=to.strip("/"))
        return f"It is at {changed.path}."
    if what == "link":
        await files.link(principal, info.id, to, correlation_id=correlation_id())
        return f"{info.name} is on its way into {to}."
    if what == "unlink":
        await files.unlink(principal, info.id, to)
        return f"{info.name} is not in {to} any more."
    if what == "revoke":
        await files.revoke(principal, info.id, to)
        return "Saved. It holds from now on."
    if what == "grant":
        if level not in set(GrantLevel):
            raise InvalidInput("Choose how far it reaches.", field="level")
        await files.grant(principal, info.id, to, GrantLevel(level))
        return "Saved. It holds from now on."
    raise InvalidInput("Choose what to do.", field="do")


ROUTES = (
    Route(TOP, index, methods=["GET"]),
    Route(f"{TOP}/folders", create_folder, methods=["POST"]),
    Route(f"{TOP}/files", upload, methods=["POST"]),
    Route(f"{TOP}/{{id}}", show, methods=["GET"]),
    Route(f"{TOP}/{{id}}", change, methods=["POST"]),
    Route(f"{TOP}/{{id}}/about", about, methods=["GET"]),
    Route(f"{TOP}/{{id}}/content", content, methods=["GET"]),
    Route(f"{TOP}/{{id}}/files", upload, methods=["POST"]),
)
