"""Which language models there are, what they can do and what they cost: data that ships.

`llm_catalogue.json` is written by `scripts/llm_catalogue.py`. An operator's own file
(`llm.catalogue`) has the same form and is laid over it: what it names replaces what ships. Prices
are in US dollars for a million tokens, which is what a credit is worth here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import ConfigurationError

SHIPPED = Path(__file__).with_name("llm_catalogue.json")
Capability = Literal["chat", "tools", "json", "vision", "embedding"]
MICRO = 1_000_000  # parts of a credit that are counted; also the tokens that a price is for


@dataclass(frozen=True, slots=True)
class LlmInfo:
    """A model: `name` is "provider:model"; a price of None is not known."""

    name: str
    provider: str
    capabilities: tuple[str, ...]
    context_tokens: int  # 0: not known
    input_price: float | None
    output_price: float | None

    def cost(self, input_tokens: int, output_tokens: int) -> int:
        """What a call costs, in millionths of a credit; an unknown price counts as none."""
        return round(
            input_tokens * (self.input_price or 0) + output_tokens * (self.output_price or 0)
        )

    @property
    def is_priced(self) -> bool:
        """Whether it is known what a call costs."""
        return self.input_price is not None and self.output_price is not None


class _ModelEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    capabilities: list[Capability] = ["chat"]
    context_tokens: Annotated[int, Field(ge=0)] = 0
    input_price: Annotated[float, Field(ge=0, le=1_000_000)] | None = None
    output_price: Annotated[float, Field(ge=0, le=1_000_000)] | None = None


class _ProviderEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = ""
    default: _ModelEntry | None = None  # of models that are not named
    models: dict[str, _ModelEntry] = {}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prices_from: str = ""
    unit: str = ""
    providers: dict[str, _ProviderEntry]


class LlmCatalogue:
    """The models that are known, and what is assumed of others."""

    def __init__(self, providers: Mapping[str, _ProviderEntry]) -> None:
        self._providers = providers

    def find(self, name: str) -> LlmInfo:
        """What is known of "provider:model"; of an unknown one nothing but its name.

        A model's dated name ("gpt-4o-2024-08-06") is the longest known name that it begins with.
        """
        provider, _, model = name.partition(":")
        known = self._providers.get(provider, _ProviderEntry())
        found = known.models.get(model)
        if found is None:
            begins = [key for key in known.models if model.startswith(f"{key}-")]
            found = known.models[max(begins, key=len)] if begins else known.default
        return _info(name, provider, found or _ModelEntry())

    def models(self, capability: str = "", provider: str = "") -> list[LlmInfo]:
        """The models with that capability, of that provider; by name."""
        return [
            _info(f"{key}:{model}", key, info)
            for key, known in sorted(self._providers.items())
            if provider in {"", key}
            for model, info in sorted(known.models.items())
            if capability in {"", *info.capabilities}
        ]

    def providers(self) -> list[tuple[str, str, list[str]]]:
        """Key, name and capabilities of each provider."""
        return [
            (
                key,
                known.name or key,
                sorted({able for model in _all_of(known) for able in model.capabilities}),
            )
            for key, known in sorted(self._providers.items())
        ]


def load_catalogue(own: str = "") -> LlmCatalogue:
    """What ships, with the operator's file (a path; empty: none) laid over it."""
    shipped = _shipped()
    if not own:
        return LlmCatalogue(shipped)
    try:
        text = Path(own).expanduser().read_text(encoding="utf-8")
        laid = _File.model_validate(json.loads(text)).providers
    except OSError as error:
        raise ConfigurationError(f"llm.catalogue can't be read: {error.strerror}.") from None
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ConfigurationError(
            f"llm.catalogue is not as it must be, at {where}: {error.errors()[0]['msg']}."
        ) from None
    except ValueError:
        raise ConfigurationError("llm.catalogue is not JSON: check the file.") from None
    merged: dict[str, _ProviderEntry] = dict(shipped)
    for key, provider in laid.items():
        before = merged.get(key, _ProviderEntry())
        merged[key] = _ProviderEntry(
            name=provider.name or before.name,
            default=provider.default or before.default,
            models={**before.models, **provider.models},
        )
    return LlmCatalogue(merged)


@cache
def _shipped() -> Mapping[str, _ProviderEntry]:
    return _File.model_validate(json.loads(SHIPPED.read_text(encoding="utf-8"))).providers


def _all_of(provider: _ProviderEntry) -> list[_ModelEntry]:
    return [*provider.models.values(), *([provider.default] if provider.default else [])]


def _info(name: str, provider: str, model: _ModelEntry) -> LlmInfo:
    fields: dict[str, Any] = model.model_dump()
    return LlmInfo(name, provider, tuple(fields.pop("capabilities")), **fields)
