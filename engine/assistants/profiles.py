"""The settings of assistants and search apps, checked. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from engine.access.search_scope import SearchOverrides
from engine.assistants.answer_languages import NAMES
from engine.domain import SearchMode
from engine.errors import InvalidInput

Kind = Literal["assistant", "search_app"]

SLUG_MAX = 60
PROMPT_MAX = 4_000  # characters
DAY_S = 86_400.0
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=300)]
Paragraph = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2_000)]
Named = Annotated[str, Field(min_length=1, max_length=200)]


class SearchProfile(BaseModel):
    """A search app, and what an assistant has in common with it.

    `kbs` None searches all that the asker may read; what of it is None is as each knowledge base
    says. `recency_days` is the half-life of what age can take from a score; 0 leaves dates out.
    `visible_to` are `everyone`, or `group:`, `user:`, `workspace:` or `channel:` and a name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    slug: Annotated[str, Field(max_length=SLUG_MAX)] = ""
    description: Paragraph = ""
    kbs: Annotated[list[Named], Field(min_length=1, max_length=100)] | None = None
    mode: SearchMode | None = None
    alpha: Share | None = None
    top_k: Annotated[int, Field(ge=1, le=50)] | None = None
    confidence_threshold: Share | None = None
    recency_days: Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)] | None = None
    rerank: bool | None = None
    visible_to: Annotated[list[Named], Field(max_length=100)] = ["everyone"]

    @property
    def overrides(self) -> SearchOverrides:
        """What its searches do otherwise than the knowledge bases say."""
        return SearchOverrides(
            alpha=self.alpha,
            threshold=self.confidence_threshold,
            rerank=self.rerank,
            half_life_s=None if self.recency_days is None else self.recency_days * DAY_S,
        )


class AssistantProfile(SearchProfile):
    """An assistant.

    `prompt` says how to answer, below the rules that keep answers honest. `model` is one of the
    tenant's, empty for its default. `empty_answer` is said where nothing answers. `memory_turns`
    are questions before that a follow-up is read with.
    """

    opener: Paragraph = ""
    examples: Annotated[list[Line], Field(max_length=10)] = []
    prompt: Annotated[str, StringConstraints(strip_whitespace=True, max_length=PROMPT_MAX)] = ""
    model: Annotated[str, Field(max_length=220)] = ""
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    max_tokens: Annotated[int, Field(ge=16, le=32_000)] | None = None
    empty_answer: Paragraph = ""
    citations: bool = True
    memory_turns: Annotated[int, Field(ge=0, le=6)] = 6
    language: Annotated[str, Field(max_length=8)] = ""


PROFILES: Mapping[Kind, type[SearchProfile]] = {
    "assistant": AssistantProfile,
    "search_app": SearchProfile,
}

P = TypeVar("P", bound=SearchProfile)


def checked(model: type[P], values: Mapping[str, Any]) -> P:
    """The profile that values make; `InvalidInput` names the first field that is wrong."""
    try:
        made = model.model_validate(dict(values))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        unknown = fault["type"] == "extra_forbidden"
        raise InvalidInput(
            f"{field or 'settings'}: {'there is no such setting' if unknown else fault['msg']}.",
            field=field,
        ) from None
    slug = made.slug or slug_of(made.name)
    if not _SLUG.fullmatch(slug):
        raise InvalidInput(
            "slug: use a to z, 0 to 9 and hyphens, such as travel-help.", field="slug"
        )
    language = getattr(made, "language", "")
    if language and language not in NAMES:
        raise InvalidInput(
            f"language: {language!r} is no code of a language, such as de.", field="language"
        )
    return made.model_copy(update={"slug": slug})


def slug_of(name: str) -> str:
    """The slug a name makes: "Travel Help" is travel-help."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:SLUG_MAX].strip("-")


def parse_value(model: type[SearchProfile], name: str, text: str) -> Any:  # noqa: ANN401 (JSON)
    """A setting's value as a person writes it; an empty text unsets it.

    Lists are separated by commas, of examples by new lines. `InvalidInput` where there is no such
    setting.
    """
    info = model.model_fields.get(name)
    if info is None:
        known = ", ".join(model.model_fields)
        raise InvalidInput(f"There is no setting {name[:40]!r}; there are: {known}.", field=name)
    said = text.strip()
    if name in {"kbs", "visible_to", "examples"}:
        parts = said.splitlines() if name == "examples" else said.split(",")
        found = [part.strip() for part in parts if part.strip()]
        return found or (None if name == "kbs" else [])
    if not said and name != "name":
        return info.default
    words = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
    if name in {"citations", "rerank"}:
        return words.get(said.lower(), said)
    return said
