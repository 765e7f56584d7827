"""What enters the REST API, as pydantic models, and how a body becomes one.

What leaves is built in `engine/serializers.py`. An invalid body is refused with every wrong field;
the values themselves are never repeated.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import from_json
from starlette.requests import Request

from api.problems import HttpRefusal, InvalidBody
from engine.access.search_filters import SearchFilters
from engine.access.search_scope import SearchOverrides
from engine.documents.knowledge_bases import KbChunking
from engine.documents.search_settings import KbSearchSettings
from engine.errors import InvalidInput, TooLarge
from engine.search.filters import parse_filters

JSON_MAX_BYTES = 256 * 1024
NUL = b"\\u0000"  # as JSON writes it
QUESTION_MAX = 4000  # characters
QUERY_MAX = 2000

Name = Annotated[str, Field(max_length=200)]
Share = Annotated[float, Field(ge=0, le=1)]


class Body(BaseModel):
    """A JSON body; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Several = str | Annotated[list[Name], Field(max_length=100)]  # one value, or any of several


class FilterBody(Body):
    """What narrows a search or an answer; `engine/search/filters.py` says what each means."""

    since: Name = ""
    until: Name = ""
    author: Several = ""
    channel: Several = ""
    source: Several = ""
    tag: Several = ""
    language: Several = ""
    document: Several = ""
    metadata: dict[str, Any] | list[str] | str = ""

    @property
    def filters(self) -> SearchFilters:
        """The filters; raises `InvalidInput` that names the field."""
        lines = [self.metadata] if isinstance(self.metadata, str) else self.metadata
        return parse_filters(
            since=self.since,
            until=self.until,
            author=self.author,
            channel=self.channel,
            source=self.source,
            tag=self.tag,
            language=self.language,
            document=self.document,
            metadata=lines if self.metadata else (),
        )


QuestionText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=QUESTION_MAX)
]


class AskBody(FilterBody):
    """`POST /api/v1/ask`."""

    question: QuestionText
    kb: Name = ""
    conversation_id: Annotated[str, Field(max_length=64)] = ""
    assistant: Name = ""


Limit = Annotated[int, Field(ge=1, le=100)]
Query = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=QUERY_MAX)]
SortedBy = Literal["relevance", "newest", "oldest"]


class KbSearchBody(FilterBody):
    """`POST /api/v1/knowledge_bases/{kb}/search`; None: as the settings say."""

    query: Query
    limit: Limit | None = Field(default=None, validation_alias=AliasChoices("limit", "k"))
    mode: Literal["hybrid", "semantic", "keyword", "adaptive"] | None = None
    sort: SortedBy = "relevance"
    include_metadata: bool = True
    alpha: Share | None = None
    title_weight: Share | None = None
    fusion: Literal["linear", "rrf"] | None = None
    threshold: Share | None = None
    rerank: bool | None = None

    @property
    def overrides(self) -> SearchOverrides:
        """What this search does otherwise than the settings say."""
        return SearchOverrides(
            alpha=self.alpha,
            title_weight=self.title_weight,
            fusion=self.fusion,
            threshold=self.threshold,
            rerank=self.rerank,
        )


class SearchBody(KbSearchBody):
    """`POST /api/v1/search`, and the query of `GET /api/v1/search`; None: as the settings say."""

    kb: Name = ""


class SearchSettingsChanges(KbSearchSettings):
    """`PATCH /api/v1/knowledge_bases/{kb}/search`; null unsets a setting, what is left out stays."""


class ResetQuery(Body):
    """`DELETE /api/v1/knowledge_bases/{kb}/search`: the settings, or all."""

    setting: Several = Field(default_factory=list)


class ReembedQuery(Body):
    """`POST /api/v1/knowledge_bases/{kb}/reembed`; without a model, to the one that is set."""

    model: Annotated[str, Field(max_length=100)] = ""


class KbConfig(Body):
    """How a knowledge base ingests; None leaves a matter to the installation.

    `embedding_model` is the installation's or another of this machine's (`scrubjay model list`); the
    search engine is the installation's, and another one is refused.
    """

    embedding_model: Name | None = None
    chunk_size: Annotated[int, Field(ge=16, le=8192)] | None = None
    chunk_overlap: Annotated[int, Field(ge=0, le=4096)] | None = None
    search_engine: Name | None = None


class KbIngestion(Body):
    """How documents of a knowledge base are split; `chunking` goes before `config`."""

    config: KbConfig = Field(default_factory=KbConfig)
    chunking: KbChunking | None = None

    @property
    def own_chunking(self) -> dict[str, Any]:
        """What `chunking` sets."""
        return self.chunking.model_dump(exclude_none=True) if self.chunking else {}


class KbBody(KbIngestion):
    """`POST /api/v1/knowledge_bases`."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: Annotated[str, Field(max_length=2000)] = ""
    pipeline: Name = "general"
    search: KbSearchSettings = Field(default_factory=KbSearchSettings)
    supported_formats: list[Name] | None = None


class KbChanges(KbIngestion):
    """`PATCH /api/v1/knowledge_bases/{kb}`; what is left out stays."""

    name: Name | None = None
    description: Annotated[str, Field(max_length=2000)] | None = None
    supported_formats: list[Name] | None = None
    pipeline: Name | None = None


class DocumentChanges(Body):
    """`PATCH /api/v1/documents/{id}`; what is left out stays."""

    hidden: bool | None = None
    tags: list[str] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    features: dict[str, float | None] = Field(default_factory=dict)


class PassageChange(Body):
    """`PATCH /api/v1/passages/{id}`."""

    hidden: bool


class FetchQuery(Body):
    """`GET /api/v1/fetch`."""

    id: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]


class KbDocumentsQuery(Body):
    """`GET /api/v1/knowledge_bases/{kb}/documents`."""

    state: Literal["", "pending", "running", "ready", "failed", "cancelled"] = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: Annotated[str, Field(max_length=500)] = ""


class DocumentsQuery(KbDocumentsQuery):
    """`GET /api/v1/documents`."""

    kb: Name = ""


class ConversationBody(Body):
    """`PATCH /api/v1/conversations/{id}`."""

    name: Name = ""


class NewConversationBody(ConversationBody):
    """`POST /api/v1/conversations`; `assistant` by slug or id answers in it."""

    assistant: Name = ""


class ExportQuery(Body):
    """`GET /api/v1/conversations/{id}/export`."""

    format: Literal["markdown", "json"] = "markdown"


class ConversationsQuery(Body):
    """`GET /api/v1/conversations`."""

    limit: Annotated[int, Field(ge=1, le=100)] = 50
    cursor: Annotated[str, Field(max_length=64)] = ""


class EventsQuery(Body):
    """`GET /api/v1/documents/events`."""

    kb: Name = ""


Model = TypeVar("Model", bound=BaseModel)


async def read_body(request: Request, model: type[Model]) -> Model:
    """The JSON body as `model`; raises `InvalidBody`, `TooLarge` or `HttpRefusal`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HttpRefusal(
            415, "Send the body as JSON with `Content-Type: application/json`.", code="not_json"
        )
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > JSON_MAX_BYTES:
            raise TooLarge(f"The body is larger than {JSON_MAX_BYTES:,} bytes.")
    try:
        if NUL in body:
            return model.model_validate(without_nul(from_json(bytes(body))))
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        raise _invalid(error) from None
    except ValueError:
        raise InvalidInput("The body is not valid JSON.", field="body") from None


def without_nul(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """JSON with a blank for each NUL in its texts and names, which PostgreSQL can't keep."""
    if isinstance(value, str):
        return value.replace("\0", " ")
    if isinstance(value, list):
        return [without_nul(item) for item in value]
    if isinstance(value, dict):
        return {without_nul(name): without_nul(item) for name, item in value.items()}
    return value


def read_query(request: Request, model: type[Model]) -> Model:
    """The query string as `model`, a name given twice as a list; raises `InvalidBody`."""
    given = {name: request.query_params.getlist(name) for name in request.query_params}
    given = without_nul(given)
    values = {name: many if len(many) > 1 else many[0] for name, many in given.items()}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> InvalidInput:
    found = error.errors(include_input=False, include_url=False, include_context=False)
    faults = [
        (
            ".".join(str(part) for part in fault["loc"]),
            "unknown field" if fault["type"] == "extra_forbidden" else fault["msg"],
        )
        for fault in found
    ]
    return InvalidBody(faults)
