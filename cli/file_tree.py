"""`file`: folders and files, the knowledge bases they are in, and whom they are shared with."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import As, Json, Yes, opened, run
from engine.wording import counted

if TYPE_CHECKING:
    from cli.inputs import InputItem
    from engine.domain import Principal
    from engine.engine import Engine
    from engine.files.file_links import FileLink
    from engine.files.files import AddedFile, AtDeletion
    from engine.files.tree import FileInfo

app = typer.Typer(
    name="file",
    help="Keep files in folders and put them into knowledge bases: list, add, mkdir, get, move, "
    "rename, remove, link, unlink, share, unshare, shares.",
)

Ref = Annotated[str, typer.Argument(metavar="FILE", help="Its path, as `file list` says, or id.")]
Folder = Annotated[
    str, typer.Option("--folder", metavar="FOLDER", help="The folder, by path or id.")
]
To = Annotated[
    str,
    typer.Argument(
        metavar="WHOM", help="everyone, or group:, user:, workspace:, channel: and a name."
    ),
]
InKb = Annotated[str, typer.Argument(metavar="KB", help="The knowledge base.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    folder: Annotated[
        str, typer.Argument(metavar="[FOLDER]", help="A folder's path or id (default: the top).")
    ] = "",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """List a folder, or your files and what is shared with you."""
    run(_list(ctx, folder, as_user, as_json=as_json))


@app.command()
def add(
    ctx: typer.Context,
    what: Annotated[list[str], typer.Argument(metavar="WHAT", help="Files, folders, globs.")],
    folder: Folder = "",
    kb: Annotated[
        str, typer.Option("--kb", metavar="NAME", help="A knowledge base to put them into.")
    ] = "",
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Replace files of the same name, and the documents made of them."
        ),
    ] = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Add files to a folder; the folders in a folder are made as they are on disk.

    For example: scrubjay file add handbook/ --folder Staff --kb default
    """
    run(_add(ctx, what, folder, kb, as_user, replaces=replace, as_json=as_json))


@app.command()
def mkdir(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="The new folder's path.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Make a folder, and those above it that are missing."""
    run(_mkdir(ctx, path, as_user, as_json=as_json))


@app.command()
def get(
    ctx: typer.Context,
    file: Ref,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="PATH", help="Where (default: its name here).")
    ] = None,
    as_user: As = "",
) -> None:
    """Save a file's content; a file that is there already is left alone."""
    run(_get(ctx, file, to, as_user))


@app.command()
def move(
    ctx: typer.Context,
    file: Ref,
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Where to, by path or id; / is the top.")
    ],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Move a folder or file; whoever sees the new place sees it."""
    run(_change(ctx, file, None, folder, as_user, as_json=as_json))


@app.command()
def rename(
    ctx: typer.Context,
    file: Ref,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Rename a folder or file."""
    run(_change(ctx, file, name, None, as_user, as_json=as_json))


@app.command()
def remove(
    ctx: typer.Context,
    file: Ref,
    with_documents: Annotated[
        bool,
        typer.Option("--with-documents", help="Delete the documents that were made of it too."),
    ] = False,
    keep_documents: Annotated[
        bool,
        typer.Option("--keep-documents", help="Leave those documents in their knowledge bases."),
    ] = False,
    yes: Yes = False,
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Delete a file, or a folder with all that is in it."""
    documents: AtDeletion = "refuse"
    if with_documents and keep_documents:
        raise typer.BadParameter("Give --with-documents or --keep-documents, not both.")
    if with_documents or keep_documents:
        documents = "delete" if with_documents else "keep"
    if not yes:
        typer.confirm(f"Delete {file}?", abort=True)
    run(_remove(ctx, file, documents, as_user, as_json=as_json))


@app.command()
def link(ctx: typer.Context, file: Ref, kb: InKb, as_user: As = "", as_json: Json = False) -> None:
    """Make a document of a file in a knowledge base, for whoever may read that."""
    run(_link(ctx, file, kb, as_user, as_json=as_json))


@app.command()
def unlink(
    ctx: typer.Context, file: Ref, kb: InKb, as_user: As = "", as_json: Json = False
) -> None:
    """Delete the document that a file is in a knowledge base; the file stays."""
    run(_unlink(ctx, file, kb, as_user, as_json=as_json))


@app.command()
def share(
    ctx: typer.Context,
    file: Ref,
    to: To,
    level: Annotated[
        str, typer.Option("--level", metavar="LEVEL", help="read, write or manage.")
    ] = "read",
    as_user: As = "",
    as_json: Json = False,
) -> None:
    """Share a folder with all that is in it, or a file."""
    run(_share(ctx, file, to, level, as_user, as_json=as_json))


@app.command()
def unshare(ctx: typer.Context, file: Ref, to: To, as_user: As = "", as_json: Json = False) -> None:
    """Share it no longer, from now on."""
    run(_share(ctx, file, to, "", as_user, as_json=as_json))


@app.command()
def shares(ctx: typer.Context, file: Ref, as_user: As = "", as_json: Json = False) -> None:
    """List whom a folder or file is shared with."""
    run(_shares(ctx, file, as_user, as_json=as_json))


def _plain(info: FileInfo) -> dict[str, object]:
    return asdict(info) | {
        "created_at": info.created_at.isoformat(),
        "updated_at": info.updated_at.isoformat(),
    }


async def _list(ctx: typer.Context, folder: str, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    entries: list[FileInfo] = []
    links: dict[str, list[FileLink]] = {}
    cursor = ""
    async with opened(ctx, as_user) as (engine, principal):
        while True:
            page = await engine.files.page(principal, folder.strip("/"), limit=1000, cursor=cursor)
            entries += page.entries
            links |= page.links
            if not (cursor := page.next_cursor):
                break
    if as_json:
        rows = [
            _plain(one) | {"knowledge_bases": [asdict(link) for link in links.get(one.id, [])]}
            for one in entries
        ]
        output.show_json({"files": rows})
        return
    if not entries:
        output.note("no files here; `scrubjay file add` adds some")
        return
    heads = ("path", "size", "in", "you may", "id")
    table = [
        (
            f"{one.path}/" if one.kind == "folder" else one.path,
            "" if one.kind == "folder" else f"{one.size_bytes:,}",
            ", ".join(link.knowledge_base for link in links.get(one.id, [])),
            one.level,
            one.id,
        )
        for one in entries
    ]
    output.show(render.table(heads, table, width=output.columns()))


async def _add(
    ctx: typer.Context,
    what: list[str],
    folder: str,
    kb: str,
    as_user: str,
    *,
    replaces: bool,
    as_json: bool,
) -> None:
    from cli import output
    from cli.inline_worker import finish_jobs
    from cli.inputs import expand
    from engine.errors import InvalidInput

    given = expand(what)
    unreadable = [one.label for one in given if one.fault or one.path is None]
    if unreadable:
        raise InvalidInput(f"{', '.join(unreadable[:5])}: give files and folders on this machine.")
    added: list[AddedFile] = []
    async with opened(ctx, as_user) as (engine, principal):
        folders: dict[str, str] = {}
        for item in given:
            where = _folder_of(folder, item)
            if where not in folders:
                folders[where] = await _ensure(engine, principal, where)
            added += await _add_one(engine, principal, item, folders[where], kb, replaces=replaces)
        if kb:
            await finish_jobs(engine)
    if as_json:
        output.show_json({"files": [_plain(one.file) for one in added]})
    else:
        output.note(f"added {counted(len(added), 'file')}")


def _folder_of(folder: str, item: InputItem) -> str:
    below = PurePosixPath()
    if item.root is not None:
        below = PurePosixPath(item.root.name) / PurePosixPath(item.label).parent
    return "/".join(part for part in (folder.strip("/"), *below.parts) if part not in {"", "."})


async def _add_one(
    engine: Engine, principal: Principal, item: InputItem, folder: str, kb: str, *, replaces: bool
) -> list[AddedFile]:
    from cli.inputs import storable
    from engine.documents.adding import NewDocument

    name = storable(item.path.name) if item.path is not None else ""
    new = NewDocument(path=item.path, filename=name)
    return await engine.files.add(principal, [new], folder=folder, kb=kb, replace_same=replaces)


async def _ensure(engine: Engine, principal: Principal, path: str) -> str:
    """The id of a folder, made where it is missing; empty for the top."""
    from engine.errors import NotFound

    at, so_far = "", ""
    for name in [part for part in path.split("/") if part]:
        so_far = f"{so_far}/{name}".strip("/")
        try:
            at = (await engine.files.get(principal, so_far)).id
        except NotFound:
            at = (await engine.files.create_folder(principal, name, at)).id
        so_far = (await engine.files.get(principal, at)).path
    return at


async def _mkdir(ctx: typer.Context, path: str, as_user: str, *, as_json: bool) -> None:
    async with opened(ctx, as_user) as (engine, principal):
        made = await engine.files.get(principal, await _ensure(engine, principal, path))
    _tell(made, as_json=as_json)


async def _get(ctx: typer.Context, ref: str, to: Path | None, as_user: str) -> None:
    import shutil

    import anyio.to_thread

    from cli import output
    from engine.errors import Conflict

    async with (
        opened(ctx, as_user) as (engine, principal),
        engine.files.open(principal, ref) as (info, path),
    ):
        target = to or Path(info.name)
        if target.is_dir():
            target /= info.name
        if target.exists():
            raise Conflict(f"{target} exists: name another place with --to.")
        await anyio.to_thread.run_sync(shutil.copyfile, path, target)
    output.note(f"saved {target}")


async def _change(
    ctx: typer.Context,
    ref: str,
    name: str | None,
    folder: str | None,
    as_user: str,
    *,
    as_json: bool,
) -> None:
    async with opened(ctx, as_user) as (engine, principal):
        changed = await engine.files.change(principal, ref, name=name, folder=folder)
    _tell(changed, as_json=as_json)


def _tell(info: FileInfo, *, as_json: bool) -> None:
    from cli import output

    if as_json:
        output.show_json(_plain(info))
    else:
        output.note(info.path)


async def _remove(
    ctx: typer.Context, ref: str, documents: AtDeletion, as_user: str, *, as_json: bool
) -> None:
    from cli import output
    from cli.inline_worker import finish_jobs
    from engine.errors import HasDocuments

    async with opened(ctx, as_user) as (engine, principal):
        try:
            gone = await engine.files.delete(principal, ref, documents=documents)
        except HasDocuments as error:
            raise HasDocuments(f"{error} Give --with-documents or --keep-documents.") from None
        await finish_jobs(engine)
    if as_json:
        output.show_json(asdict(gone))
    else:
        output.note(
            f"deleted {counted(gone.entries, 'entry', 'entries')} and"
            f" {counted(gone.documents, 'document')}"
        )


async def _link(ctx: typer.Context, ref: str, kb: str, as_user: str, *, as_json: bool) -> None:
    from cli import output
    from cli.inline_worker import finish_jobs

    async with opened(ctx, as_user) as (engine, principal):
        added = await engine.files.link(principal, ref, kb)
        await finish_jobs(engine)
    if as_json:
        output.show_json({"document_id": added.document_id, "unchanged": added.unchanged})
    else:
        output.note(f"{ref} is document {added.document_id} in {kb}")


async def _unlink(ctx: typer.Context, ref: str, kb: str, as_user: str, *, as_json: bool) -> None:
    from cli import output
    from cli.inline_worker import finish_jobs

    async with opened(ctx, as_user) as (engine, principal):
        gone = await engine.files.unlink(principal, ref, kb)
        await finish_jobs(engine)
    if as_json:
        output.show_json({"document_id": gone})
    else:
        output.note(f"{ref} is no longer in {kb}")


async def _share(
    ctx: typer.Context, ref: str, to: str, level: str, as_user: str, *, as_json: bool
) -> None:
    from cli import output
    from engine.access.permissions import GrantLevel
    from engine.errors import InvalidInput

    if level and level not in set(GrantLevel):
        raise InvalidInput(f"{level!r} is no level: read, write or manage.", field="level")
    async with opened(ctx, as_user) as (engine, principal):
        if level:
            await engine.files.grant(principal, ref, to, GrantLevel(level))
        else:
            await engine.files.revoke(principal, ref, to)
    if as_json:
        output.show_json({"shared": to, "level": level} if level else {"unshared": to})
    else:
        output.note(f"shared {ref} with {to}: {level}" if level else f"unshared {ref} from {to}")


async def _shares(ctx: typer.Context, ref: str, as_user: str, *, as_json: bool) -> None:
    from cli import output, render

    async with opened(ctx, as_user) as (engine, principal):
        found = await engine.files.grants(principal, ref)
    if as_json:
        output.show_json({"grants": [asdict(one) for one in found]})
        return
    rows = [(one.token, one.name, str(one.level)) for one in found]
    output.show(render.table(("token", "whom", "level"), rows, width=output.columns()))
