"""How a knowledge base is searched: what it sets itself, and what it leaves to the installation. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import InvalidInput

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
FeatureWeight = Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]


class KbSearchSettings(BaseModel):
    """How a knowledge base is searched; None leaves a matter to the installation.

    `weight` counts its hits more or less beside those of other knowledge bases;
    `decay_half_life_s` 0 leaves dates out of the score; None too, but where channels' history is
    searched alone: there two years take half of what age can take. `mode` holds for searches that
    name none, where all knowledge bases searched agree. `spelling`, `acronyms` and `query_filters`
    False search queries as they are typed, `clarify` False never asks back; it takes one knowledge
    base of those searched.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["hybrid", "semantic", "keyword", "adaptive"] | None = None
    alpha: Share | None = None
    title_weight: Share | None = None
    fusion: Literal["linear", "rrf"] | None = None
    top_k: Annotated[int, Field(ge=1, le=1000)] | None = None
    confidence_threshold: Share | None = None
    rerank: bool | None = None
    weight: Positive | None = None
    decay_half_life_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    feature_weights: Annotated[dict[str, FeatureWeight], Field(max_length=100)] | None = None
    spelling: bool | None = None
    acronyms: bool | None = None
    query_filters: bool | None = None
    clarify: bool | None = None


SETTINGS = tuple(KbSearchSettings.model_fields)
ALIASES = {"threshold": "confidence_threshold", "search_type": "mode", "type": "mode"}
ALL = "all"

Model = TypeVar("Model", bound=BaseModel)


def checked_settings(model: type[Model], given: Model | Mapping[str, Any] | None) -> dict[str, Any]:
    """What is set, to be stored; `InvalidInput` names the field that is wrong."""
    try:
        checked = given if isinstance(given, model) else model.model_validate(dict(given or {}))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise InvalidInput(f"{field or 'settings'}: {fault['msg']}.", field=field) from None
    return checked.model_dump(exclude_none=True)


def changed_search(
    present: Mapping[str, Any], changes: Mapping[str, object], reset: Collection[str]
) -> dict[str, Any]:
    """The settings after a change, to be stored; `reset` may name `all`. Raises `InvalidInput`."""
    names = {setting_name(name) for name in reset if name != ALL}
    kept = {} if ALL in reset else {name: present[name] for name in present if name not in names}
    for said, value in changes.items():
        kept[setting_name(said)] = value
    return checked_settings(KbSearchSettings, kept)


def describe_search(search: Mapping[str, Any], defaults: BaseModel) -> dict[str, str]:
    """Every setting with its value; one that is left to the installation says so."""
    shown = {}
    for name in SETTINGS:
        default = getattr(defaults, name, None)
        said = "default" if default is None else f"{default} (default)"
        shown[name] = str(search[name]) if name in search else said
    return shown


def setting_name(said: str) -> str:
    """A setting's name, or `InvalidInput` with those there are."""
    name = said.strip().lower().replace("-", "_")
    name = ALIASES.get(name, name)
    if name not in SETTINGS:
        raise InvalidInput(
            f"{said[:60]!r} is not a search setting. There are: {', '.join(SETTINGS)}.",
            field=said[:60],
        )
    return name


def parse_setting(said: str, text: str) -> tuple[str, object]:
    """A setting and its value as they were typed; `feature_weights` is `pagerank=0.5,quality=1`."""
    name = setting_name(said)
    if name != "feature_weights":
        return name, text.strip()
    weights = {}
    for pair in filter(None, text.replace(",", " ").split()):
        feature, sign, weight = pair.partition("=")
        if not sign:
            raise InvalidInput(
                f"feature_weights: {pair[:60]!r} is not NAME=WEIGHT, e.g. pagerank=0.5.",
                field="feature_weights",
            )
        weights[feature] = weight
    return name, weights
