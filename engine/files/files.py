"""Folders and files: list, add, read, move, rename, delete, link, share. `Engine.files` is a `Files`.

Each verb is one short transaction. A file is stored once; in each knowledge base that it is linked
to it is one document, with an id, a state and readers of that knowledge base. Whoever reads a file
and may write to a knowledge base links it there.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import anyio.to_thread
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from engine.access import gate
from engine.access.file_access import (
    Reached,
    owner_of,
    reach,
    reach_place,
    select_children,
    select_tops,
)
from engine.access.permissions import GrantLevel
from engine.blobs.port import BlobStore
from engine.db.session import Database
from engine.db.tables import FileEntry
from engine.documents.adding import Added, NewDocument
from engine.documents.documents import Documents
from engine.documents.kb_grants import GrantInfo
from engine.documents.knowledge_bases import KnowledgeBases
from engine.documents.lifecycle import acl_of
from engine.documents.upload_options import kept_options
from engine.domain import Principal, Scope
from engine.errors import Conflict, Forbidden, InvalidInput, NotFound
from engine.files import file_grants, file_links, tree
from engine.files.file_links import EXTERNAL, FileLink
from engine.files.tree import FILE, FOLDER, Bytes, FileInfo
from engine.people.quotas import require_room

AtDeletion = Literal["refuse", "delete", "keep"]
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class FilePage:
    """Some of a folder's entries, folders first, by name; `next_cursor` is empty on the last page.

    `trail` leads to the folder, which is its last; it is empty at the top.
    """

    entries: Sequence[FileInfo]
    links: dict[str, list[FileLink]]  # by file, those the principal may see
    trail: Sequence[FileInfo]
    next_cursor: str


@dataclass(frozen=True, slots=True)
class AddedFile:
    """A file that was stored, and the document made of it where it was linked at once."""

    file: FileInfo
    document: Added | None
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class DeletedFiles:
    """How much went: entries of the tree, and documents."""

    entries: int
    documents: int


class Files:
    """The verbs of folders and files, over a database and a blob store."""

    def __init__(
        self, db: Database, blobs: BlobStore, documents: Documents, knowledge_bases: KnowledgeBases
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._intake = documents.intake
        self._knowledge_bases = knowledge_bases

    async def page(
        self, principal: Principal, folder: str = "", *, limit: int = 100, cursor: str = ""
    ) -> FilePage:
        """What is in a folder (its id or path), or where the principal's view begins."""
        gate.require(principal, Scope.KB_READ)
        after = _parse_cursor(cursor) if cursor else None

        async def read(session: AsyncSession) -> FilePage:
            found = await _find(session, principal, folder, FOLDER) if folder else None
            if found is None:
                query = select_tops(principal)
            else:
                query = select_children(principal.tenant_id, found.entry.id)
            if after is not None:
                query = query.where(tree.keyset(after))
            order = (FileEntry.kind.desc(), FileEntry.name, FileEntry.id)
            rows = list(await session.scalars(query.order_by(*order).limit(limit + 1)))
            entries = [await self._info_below(session, principal, found, row) for row in rows]
            more = len(rows) > limit
            shown = entries[:limit]
            files = [entry.id for entry in shown if entry.kind == FILE]
            return FilePage(
                shown,
                await file_links.links_of(session, principal, files),
                [] if found is None else _trail(found),
                _cursor(shown[-1]) if more else "",
            )

        return await self._db.run_read(read)

    @staticmethod
    async def _info_below(
        session: AsyncSession, principal: Principal, folder: Reached | None, row: FileEntry
    ) -> FileInfo:
        # A grant of the entry itself may reach further than that of its folder.
        if folder is not None and folder.allows(GrantLevel.MANAGE):
            return _info(row, [*folder.path, row], folder.level)
        return _info_of(await reach(session, principal, row.id))

    async def get(self, principal: Principal, ref: str) -> FileInfo:
        """A folder or file by its id or its path, or `NotFound`."""
        gate.require(principal, Scope.KB_READ)
        return await self._db.run_read(lambda session: _get(session, principal, ref))

    async def links(self, principal: Principal, ref: str) -> Sequence[FileLink]:
        """The knowledge bases that a file is in, of those whose document the principal may read."""
        gate.require(principal, Scope.KB_READ)

        async def read(session: AsyncSession) -> Sequence[FileLink]:
            found = await _find(session, principal, ref)
            links = await file_links.links_of(session, principal, [found.entry.id])
            return links.get(found.entry.id, [])

        return await self._db.run_read(read)

    @asynccontextmanager
    async def open(self, principal: Principal, ref: str) -> AsyncIterator[tuple[FileInfo, Path]]:
        """A file and its bytes, on a path to be read only inside the context."""
        gate.require(principal, Scope.KB_READ)

        async def read(session: AsyncSession) -> tuple[FileInfo, str]:
            found = await _find(session, principal, ref, FILE)
            return _info_of(found), found.entry.blob_hash

        info, blob_hash = await self._db.run_read(read)
        async with self._blobs.open_file(principal.tenant_id, blob_hash) as path:
            yield info, path

    async def create_folder(self, principal: Principal, name: str, folder: str = "") -> FileInfo:
        """A new folder in a folder, or at the top, where it is the principal's own."""
        gate.require(principal, Scope.KB_WRITE)
        kept = tree.check_name(name)

        async def commit(session: AsyncSession) -> FileInfo:
            await tree.lock(session, principal.tenant_id)
            into, owner = await _destination(session, principal, folder)
            entry = await tree.create(
                session, principal.tenant_id, into.entry.id if into else None, owner, kept
            )
            return _info_of(await reach(session, principal, entry.id))

        return await self._db.run_write(commit)

    async def add(
        self,
        principal: Principal,
        new: Sequence[NewDocument],
        *,
        folder: str = "",
        kb: str = "",
        replace_same: bool = False,
        correlation_id: str = "",
    ) -> list[AddedFile]:
        """Store files in a folder, all or none; with `kb` each becomes a document there.

        A name that is taken is refused, unless `replace_same`: then the file there holds the new
        bytes, and so does every document made of it, each as a new revision.
        """
        gate.require(principal, Scope.KB_WRITE)
        names = [_name_for(item) for item in new]
        if len(set(names)) < len(names):
            raise InvalidInput("Two files of the same name can't be in one folder.", field="file")
        kb_id = (await self._knowledge_bases.get(principal, kb)).id if kb else ""
        if kb_id:
            await self._intake.check(principal, kb_id, new)
        else:
            await self._intake.check_sizes(new)
        await self._db.run_read(lambda session: _destination(session, principal, folder))
        stored = [await self._store(principal, item) for item in new]

        async def commit(session: AsyncSession) -> list[AddedFile]:
            await tree.lock(session, principal.tenant_id)
            into, owner = await _destination(session, principal, folder)
            added = []
            for item, name, content in zip(new, names, stored, strict=True):
                parent_id = into.entry.id if into else None
                there = await tree.named(session, principal.tenant_id, parent_id, owner, name)
                replaced = there is not None
                if there is None:
                    there = await tree.create(
                        session, principal.tenant_id, parent_id, owner, name, content
                    )
                elif there.kind == FOLDER or (
                    not replace_same and there.blob_hash != content.blob_hash
                ):
                    raise Conflict(
                        f"There is a {there.kind} {name!r} already: rename one, or replace the"
                        " file's content."
                    )
                elif there.blob_hash != content.blob_hash:
                    await self._refill(session, principal, there, content, correlation_id)
                document = None
                if kb_id:
                    document = await self._link(
                        session, principal, there, kb_id, item, correlation_id
                    )
                info = _info_of(await reach(session, principal, there.id))
                added.append(AddedFile(info, document, replaced))
            await require_room(session, principal.tenant_id)
            return added

        return await self._db.run_write(commit)

    async def _store(self, principal: Principal, new: NewDocument) -> Bytes:
        if new.external_id:
            raise InvalidInput(
                "A file in a folder is known by its place: leave out the external id.",
                field="external_id",
            )
        content = new.data if new.path is None else new.path
        if content is None:
            raise InvalidInput("A file needs content.", field="file")
        if isinstance(content, Path):
            content = await anyio.to_thread.run_sync(content.read_bytes)
        return Bytes(await self._blobs.put(principal.tenant_id, content), len(content))

    async def _refill(
        self,
        session: AsyncSession,
        principal: Principal,
        file: FileEntry,
        content: Bytes,
        correlation_id: str,
    ) -> None:
        """New bytes for a file and every document made of it, which keep their readers."""
        await reach(session, principal, file.id, GrantLevel.WRITE)
        tree.fill(file, content)
        for kb_id, document_id in await file_links.linked(session, file):
            try:
                document = await gate.get_writable_document(session, principal, document_id)
            except (NotFound, Forbidden):
                raise Forbidden(
                    f"{file.name} is in a knowledge base you may not write to: ask who may, or add"
                    " it under another name."
                ) from None
            options = kept_options(document.details)
            new = NewDocument(
                filename=file.name,
                title=document.title,
                acl=await acl_of(session, document),
                extraction_strategy=options.extraction_strategy,
                quality_control=options.quality_control,
            )
            await self._link(session, principal, file, kb_id, new, correlation_id)

    async def _link(
        self,
        session: AsyncSession,
        principal: Principal,
        file: FileEntry,
        kb_id: str,
        new: NewDocument,
        correlation_id: str = "",
    ) -> Added:
        named = replace(new, filename=file.name, external_id=f"{EXTERNAL}{file.id}")
        received = self._intake.received_of(named, file.blob_hash, file.size_bytes)
        [added] = await self._intake.accept(
            session, principal, kb_id, [received], correlation_id=correlation_id
        )
        await file_links.add_link(session, file, kb_id, added)
        return added

    async def link(
        self, principal: Principal, ref: str, kb: str, *, correlation_id: str = ""
    ) -> Added:
        """Make a document of a file in a knowledge base, for the readers of that knowledge base."""
        gate.require(principal, Scope.KB_WRITE)
        kb_id = (await self._knowledge_bases.get(principal, kb)).id
        known = await self._db.run_read(lambda session: _find(session, principal, ref, FILE))
        new = NewDocument(data=b"", filename=known.entry.name)
        await self._intake.check(principal, kb_id, [new])

        async def commit(session: AsyncSession) -> Added:
            await tree.lock(session, principal.tenant_id)
            found = await reach(session, principal, known.entry.id)
            return await self._link(session, principal, found.entry, kb_id, new, correlation_id)

        return await self._db.run_write(commit)

    async def unlink(self, principal: Principal, ref: str, kb: str) -> str:
        """Delete the document that a file is in a knowledge base, and no other; its id."""
        gate.require(principal, Scope.KB_WRITE)
        kb_id = (await self._knowledge_bases.get(principal, kb)).id

        async def commit(session: AsyncSession) -> str:
            await tree.lock(session, principal.tenant_id)
            found = await _find(session, principal, ref, FILE)
            return await file_links.remove_link(session, principal, found.entry, kb_id)

        return await self._db.run_write(commit)

    async def change(
        self, principal: Principal, ref: str, *, name: str | None = None, folder: str | None = None
    ) -> FileInfo:
        """Rename a folder or file, or move it to another folder; `folder` empty is the top.

        Within a tree whoever writes to both folders may. To take something into another tree, whose
        owner and grants then decide who sees it, takes managing it.
        """
        gate.require(principal, Scope.KB_WRITE)
        kept = None if name is None else tree.check_name(name)

        async def commit(session: AsyncSession) -> FileInfo:
            await tree.lock(session, principal.tenant_id)
            found = await _find(session, principal, ref)
            found = await reach_place(session, principal, found.entry.id)
            entry = found.entry
            if folder is None:
                await tree.refuse_taken(
                    session,
                    entry.tenant_id,
                    entry.parent_id,
                    entry.owner_id,
                    kept or entry.name,
                    besides=entry.id,
                )
                entry.name = kept or entry.name
            else:
                into, owner = await _destination(session, principal, folder)
                if into is None or into.top_id != found.top_id:
                    await reach(session, principal, entry.id, GrantLevel.MANAGE)
                if into is None and entry.parent_id is None:
                    owner = entry.owner_id or owner
                await tree.move(session, entry, into, owner, kept or entry.name)
            await session.flush()
            return _info_of(await reach(session, principal, entry.id))

        return await self._db.run_write(commit)

    async def delete(
        self, principal: Principal, ref: str, *, documents: AtDeletion = "refuse"
    ) -> DeletedFiles:
        """Delete a file, or a folder with all that is in it.

        Where documents were made of them, `refuse` raises `Conflict`; `delete` deletes those too,
        from the next answer on; `keep` leaves them in their knowledge bases.
        """
        gate.require(principal, Scope.KB_WRITE)

        async def commit(session: AsyncSession) -> DeletedFiles:
            await tree.lock(session, principal.tenant_id)
            found = await _find(session, principal, ref)
            found = await reach_place(session, principal, found.entry.id)
            entries = [entry for entry, _ in await tree.below(session, found.entry)]
            files = [entry for entry in entries if entry.kind == FILE]
            gone = await file_links.release(session, principal, files, documents)
            ids = [entry.id for entry in entries]
            for start in range(0, len(ids), file_links.LISTED_MAX):
                some = ids[start : start + file_links.LISTED_MAX]
                await session.execute(
                    delete(FileEntry).where(
                        FileEntry.tenant_id == principal.tenant_id, FileEntry.id.in_(some)
                    )
                )
            detail = {"kind": found.entry.kind, "entries": len(ids), "documents": gone}
            await gate.audit(session, principal, "file.delete", found.entry.id, detail)
            return DeletedFiles(len(ids), gone)

        return await self._db.run_write(commit)

    async def grants(self, principal: Principal, ref: str) -> Sequence[GrantInfo]:
        """Whom a folder or file itself is granted to, for whoever manages it."""
        gate.require(principal, Scope.KB_READ)

        async def read(session: AsyncSession) -> Sequence[GrantInfo]:
            found = await _find(session, principal, ref)
            await reach(session, principal, found.entry.id, GrantLevel.MANAGE)
            return await file_grants.file_grants_of(session, found.entry)

        return await self._db.run_read(read)

    async def grant(
        self, principal: Principal, ref: str, to: str, level: GrantLevel = GrantLevel.READ
    ) -> None:
        """Share a folder with all that is in it, or a file, with those whom words or a token name."""
        gate.require(principal, Scope.KB_WRITE)

        async def commit(session: AsyncSession) -> None:
            found = await _find(session, principal, ref)
            await reach(session, principal, found.entry.id, GrantLevel.MANAGE)
            await file_grants.set_file_grant(session, principal, found.entry, to, level)

        await self._db.run_write(commit)

    async def revoke(self, principal: Principal, ref: str, to: str) -> None:
        """Take such a grant back, at once."""
        gate.require(principal, Scope.KB_WRITE)

        async def commit(session: AsyncSession) -> None:
            found = await _find(session, principal, ref)
            await reach(session, principal, found.entry.id, GrantLevel.MANAGE)
            await file_grants.remove_file_grant(session, principal, found.entry, to)

        await self._db.run_write(commit)


async def _get(session: AsyncSession, principal: Principal, ref: str) -> FileInfo:
    return _info_of(await _find(session, principal, ref))


async def _find(session: AsyncSession, principal: Principal, ref: str, kind: str = "") -> Reached:
    """An entry by its id, or by its path from where the principal's view begins."""
    found = None
    if _ID.fullmatch(ref):
        found = await reach(session, principal, ref)
    else:
        found = await _walk(session, principal, ref)
    if kind and found.entry.kind != kind:
        raise InvalidInput(f"{found.entry.name} is a {found.entry.kind}, not a {kind}.", field=kind)
    return found


async def _walk(session: AsyncSession, principal: Principal, path: str) -> Reached:
    names = [tree.check_name(name) for name in path.strip("/").split("/")]
    missing = NotFound(f"No file or folder {path[:200]!r} that you may see.")
    at: FileEntry | None = None
    for name in names:
        if at is None and _ID.fullmatch(name):
            at = (await reach(session, principal, name)).entry
        elif at is None:
            tops = list(
                await session.scalars(
                    select_tops(principal).where(FileEntry.name == name).limit(50)
                )
            )
            own = [top for top in tops if top.parent_id is None and _is_own(principal, top)]
            if len(tops) > 1 and not own:
                raise InvalidInput(
                    f"Several folders that are shared with you are called {name!r}: use an id.",
                    field="folder",
                )
            at = next(iter(own or tops), None)
        else:
            query = select_children(principal.tenant_id, at.id).where(FileEntry.name == name)
            at = await session.scalar(query)
        if at is None:
            raise missing
    if at is None:
        raise missing
    return await reach(session, principal, at.id)


def _is_own(principal: Principal, entry: FileEntry) -> bool:
    return entry.owner_id is not None and entry.owner_id == owner_of(principal)


async def _destination(
    session: AsyncSession, principal: Principal, folder: str
) -> tuple[Reached | None, str | None]:
    """The folder to put something into, or the user at whose top it will be."""
    if folder and folder != "/":
        found = await _find(session, principal, folder, FOLDER)
        found = await reach(session, principal, found.entry.id, GrantLevel.WRITE)
        tree.check_depth(found.depth + 1)
        return found, None
    owner = owner_of(principal)
    if not owner:
        raise Forbidden(
            "This credential has no files of its own: name a folder that is shared with it, or use"
            " one that is not limited to knowledge bases."
        )
    return None, owner


def _name_for(new: NewDocument) -> str:
    return tree.check_name(new.filename or (new.path.name if new.path else "") or new.title)


def _trail(found: Reached) -> list[FileInfo]:
    return [_info(entry, found.path[: at + 1], found.level) for at, entry in enumerate(found.path)]


def _info_of(found: Reached) -> FileInfo:
    return _info(found.entry, found.path, found.level)


def _info(entry: FileEntry, path: Sequence[FileEntry], level: GrantLevel) -> FileInfo:
    return FileInfo(
        id=entry.id,
        kind=entry.kind,
        name=entry.name,
        path="/".join(one.name for one in path),
        folder_id=path[-2].id if len(path) > 1 else None,
        level=str(level),
        size_bytes=entry.size_bytes,
        mime=entry.mime,
        created_at=entry.created_at,
        updated_at=entry.updated_at,
    )


def _cursor(entry: FileInfo) -> str:
    said = json.dumps([entry.kind, entry.name, entry.id]).encode()
    return base64.urlsafe_b64encode(said).decode()


def _parse_cursor(cursor: str) -> tuple[str, str, str]:
    try:
        kind, name, id_ = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, TypeError, binascii.Error):
        kind = name = id_ = None
    if not (isinstance(kind, str) and isinstance(name, str) and isinstance(id_, str)):
        raise InvalidInput("That is no cursor of this list: begin without one.", field="cursor")
    if "\0" in kind + name + id_:
        raise InvalidInput("That is no cursor of this list: begin without one.", field="cursor")
    return kind, name, id_
