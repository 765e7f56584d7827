"""Files sent by a form: read with a limit on the whole, before any of them is stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message

from api.problems import HttpRefusal
from engine.custom_fields import parse_assignments, parse_moment
from engine.documents.adding import NewDocument
from engine.errors import InvalidInput, TooLarge

FORM_OVERHEAD_BYTES = 1024 * 1024  # boundaries, headers and the form's other fields
FILES_MAX = 1000

Yes = Literal["", "0", "1", "false", "true"]
FolderName = Annotated[str, Field(max_length=4000)]  # a folder's id or path


class ProcessingConfig(BaseModel):
    """How all files of a form are ingested; the form's fields of the same names go before it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    extraction_strategy: Literal["", "standard", "comprehensive"] = ""
    quality_control: bool = False
    tags: list[str] = Field(default_factory=list)
    metadata: dict[str, Any] = Field(default_factory=dict)
    updated_at: str = ""


class KbUploadForm(BaseModel):
    """The fields of a form with files; those beside `file` hold for all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Annotated[list[bytes], Field(min_length=1, max_length=FILES_MAX)]
    external_id: list[str] = Field(default_factory=list)
    extraction_strategy: Literal["", "standard", "comprehensive"] = ""
    quality_control: Yes = ""
    tag: list[str] = Field(default_factory=list)
    metadata: list[str] = Field(default_factory=list)
    updated_at: str = ""
    processing_config: str = Field(
        default="",
        description="A JSON object, `ProcessingConfig`.",
        json_schema_extra={"contentMediaType": "application/json"},
    )
    folder: FolderName = Field(
        default="", description="Also store the files in this folder, an id or a path."
    )
    replace: Yes = Field(default="", description="Replace files of the same name in `folder`.")


class UploadForm(KbUploadForm):
    """`POST /api/v1/documents`."""

    kb: Annotated[str, Field(min_length=1)]


_YES = frozenset({"1", "true"})
_NO = frozenset({"", "0", "false"})


@asynccontextmanager
async def open_form(request: Request, *, max_bytes: int) -> AsyncIterator[FormData]:
    """The form of a request, whose files are closed again; `TooLarge` as soon as it is."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise HttpRefusal(415, "Send files as `multipart/form-data`.", code="not_a_form")
    limit = max_bytes + FORM_OVERHEAD_BYTES
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(max_bytes)
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise _too_large(max_bytes)
        return message

    counted = Request(request.scope, receive)
    try:
        async with counted.form(max_files=FILES_MAX, max_fields=FILES_MAX + 10) as form:
            yield form
    except MultiPartException as error:
        raise InvalidInput(f"The form can't be read: {error.message}", field="body") from None


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(
        f"A request may contain at most {max_bytes:,} bytes of files. Send fewer at a time, or "
        "raise processing.max_file_size."
    )


async def read_documents(form: FormData) -> list[NewDocument]:
    """The files of a form's field `file`, with the `external_id` in the same place if there are.

    The fields `extraction_strategy`, `quality_control`, `tag`, `metadata` (a JSON object, or
    `name=value` any number of times) and `updated_at` hold for all of them.
    """
    files = [item for item in form.getlist("file") if isinstance(item, UploadFile)]
    if not files:
        raise InvalidInput("file: send at least one file in a field of this name.", field="file")
    ids = [item.replace("\0", " ") for item in form.getlist("external_id") if isinstance(item, str)]
    if ids and len(ids) != len(files):
        raise InvalidInput(
            f"external_id: send one for each of the {len(files)} files, or none.",
            field="external_id",
        )
    config = _config(form)
    strategy = form.get("extraction_strategy", "") or config.extraction_strategy
    checked = is_yes(form, "quality_control", otherwise=config.quality_control)
    tags = _texts(form, "tag") or config.tags
    metadata = {**config.metadata, **_metadata(_texts(form, "metadata"))}
    dated = next(iter(_texts(form, "updated_at")), config.updated_at)
    return [
        NewDocument(
            data=await file.read(),
            filename=PurePosixPath((file.filename or "").replace("\\", "/")).name or "document",
            external_id=ids[at] if ids else "",
            extraction_strategy=strategy if isinstance(strategy, str) else "?",
            quality_control=checked,
            tags=tags or None,
            metadata=metadata,
            updated_at=parse_moment("updated_at", dated) if dated else None,
        )
        for at, file in enumerate(files)
    ]


def is_yes(form: FormData, name: str, *, otherwise: bool = False) -> bool:
    """A field of a form that is true or false."""
    said = form.get(name, "") or str(otherwise).lower()
    if said not in _YES | _NO:
        raise InvalidInput(f"{name}: give true or false.", field=name)
    return said in _YES


def _config(form: FormData) -> ProcessingConfig:
    """What the field `processing_config` says."""
    given = next(iter(_texts(form, "processing_config")), "{}")
    try:
        return ProcessingConfig.model_validate_json(given)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = ".".join(["processing_config", *map(str, fault["loc"])])
        raise InvalidInput(f"{field}: {fault['msg']}", field=field) from None


def _texts(form: FormData, name: str) -> list[str]:
    found = [item for item in form.getlist(name) if isinstance(item, str) and item.strip()]
    return [item.replace("\0", " ") for item in found]


def _metadata(given: Sequence[str]) -> dict[str, Any]:
    """A JSON object, or `name=value` lines."""
    if len(given) != 1 or not given[0].lstrip().startswith("{"):
        return parse_assignments(given)
    try:
        found = json.loads(given[0])
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidInput("metadata: it is not a JSON object.", field="metadata")
    return found
