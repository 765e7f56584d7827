"""Changes of assistants and search apps: what is left out stays as it is. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from engine.assistants.profiles import SLUG_MAX, Named, Share
from engine.domain import SearchMode

Text = Annotated[str, Field(max_length=4_000)]


class SearchAppChanges(BaseModel):
    """Changes of a search app; null leaves a matter to each knowledge base, as in `profiles.py`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(max_length=100)] = ""
    slug: Annotated[str, Field(max_length=SLUG_MAX)] = ""
    description: Text = ""
    kbs: Annotated[list[Named], Field(min_length=1, max_length=100)] | None = None
    mode: SearchMode | None = None
    alpha: Share | None = None
    top_k: Annotated[int, Field(ge=1, le=50)] | None = None
    confidence_threshold: Share | None = None
    recency_days: Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)] | None = None
    rerank: bool | None = None
    visible_to: Annotated[list[Named], Field(max_length=100)] = []


class AssistantChanges(SearchAppChanges):
    """Changes of an assistant."""

    opener: Text = ""
    examples: Annotated[list[Text], Field(max_length=10)] = []
    prompt: Text = ""
    model: Annotated[str, Field(max_length=220)] = ""
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    max_tokens: Annotated[int, Field(ge=16, le=32_000)] | None = None
    empty_answer: Text = ""
    citations: bool = True
    memory_turns: Annotated[int, Field(ge=0, le=6)] = 6
    language: Annotated[str, Field(max_length=8)] = ""
