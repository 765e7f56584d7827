"""What `/api/v1/files` answers with, as types. Fields are a promise: add, never rename or remove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from typing_extensions import TypedDict

from engine.documents.adding import Added
from engine.files.file_links import FileLink
from engine.files.files import FilePage
from engine.files.tree import FileInfo


class FileLinkReply(TypedDict):
    """A knowledge base that a file is in, and the document that it is there."""

    knowledge_base_id: str
    knowledge_base: str
    document_id: str
    state: str


class FileReply(TypedDict):
    """A folder or a file; `path` begins where the caller's view begins."""

    id: str
    kind: Literal["folder", "file"]
    name: str
    path: str
    folder_id: str | None
    level: Literal["read", "write", "manage"]
    size_bytes: int
    mime: str
    created_at: str
    updated_at: str
    knowledge_bases: list[FileLinkReply]


class FilesReply(TypedDict):
    """What is in a folder, folders first, by name; `trail` leads to it."""

    files: list[FileReply]
    trail: list[FileReply]
    next_cursor: str


class LinkedReply(TypedDict):
    """The document that a file is in a knowledge base."""

    document_id: str
    state: str
    job_id: str
    unchanged: bool


class AddedFileReply(TypedDict):
    """A file that was stored; `document` where it was linked at once."""

    file: FileReply
    replaced: bool
    document: LinkedReply | None


class AddedFilesReply(TypedDict):
    """Files that were stored."""

    files: list[AddedFileReply]


class FileUnlinkedReply(TypedDict):
    """The document that was deleted."""

    deleted: bool
    document_id: str


class DeletedFilesReply(TypedDict):
    """How much was deleted: folders and files, and documents made of them."""

    deleted: bool
    entries: int
    documents: int


def file_reply(info: FileInfo, links: Sequence[FileLink] = ()) -> dict[str, Any]:
    """A folder or file for programs."""
    return asdict(info) | {
        "created_at": info.created_at.isoformat(),
        "updated_at": info.updated_at.isoformat(),
        "knowledge_bases": [asdict(link) for link in links],
    }


def files_reply(page: FilePage) -> dict[str, Any]:
    """A page of a folder for programs."""
    return {
        "files": [file_reply(one, page.links.get(one.id, [])) for one in page.entries],
        "trail": [file_reply(one) for one in page.trail],
        "next_cursor": page.next_cursor,
    }


def linked_reply(added: Added) -> dict[str, Any]:
    """The handle of a document that is to be ingested."""
    return {
        "document_id": added.document_id,
        "state": str(added.state),
        "job_id": added.job_id,
        "unchanged": added.unchanged,
    }
