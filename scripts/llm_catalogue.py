"""Writes `engine/models/llm_catalogue.json`: the language models Scrubjay knows, with their prices.

Prices and context windows are taken from genai-prices (MIT), which pydantic-ai brings along;
what each family can do is written here. Run it after an upgrade of that package.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices import data_snapshot
from genai_prices.types import ModelPrice, TieredPrices

TARGET = Path(__file__).parent.parent / "engine" / "models" / "llm_catalogue.json"
PROVIDERS = {"openai": "OpenAI", "anthropic": "Anthropic"}
TEXT = ["chat", "tools", "json"]
SEES = [*TEXT, "vision"]
# What models whose names begin so can do; the longest prefix counts. Others are left out.
FAMILIES: dict[str, dict[str, list[str]]] = {
    "openai": {
        "gpt-3.5-turbo": TEXT,
        "gpt-4": TEXT,
        "gpt-4o": SEES,
        "gpt-4.1": SEES,
        "gpt-5": SEES,
        "o1": SEES,
        "o3": SEES,
        "o3-mini": TEXT,
        "o4-mini": SEES,
        "text-embedding": ["embedding"],
    },
    "anthropic": {
        "claude-3": SEES,
        "claude-haiku": SEES,
        "claude-opus": SEES,
        "claude-sonnet": SEES,
    },
}
LEFT_OUT = (
    "audio",
    "realtime",
    "transcribe",
    "tts",
    "search",
    "deep-research",
    "image",
    "instruct",
)


def build() -> dict[str, Any]:
    """The catalogue as JSON."""
    now = datetime.now(UTC)
    providers: dict[str, Any] = {}
    for provider in data_snapshot.get_snapshot().providers:
        if provider.id not in PROVIDERS:
            continue
        models = {}
        for model in provider.models:
            able = _able(provider.id, model.id)
            price = model.get_prices(now)
            if not able or any(word in model.id for word in LEFT_OUT) or not price.input_mtok:
                continue
            models[model.id] = {
                "capabilities": able,
                "context_tokens": model.context_window or 0,
                "input_price": _highest(price, "input_mtok"),
                "output_price": _highest(price, "output_mtok"),
            }
        providers[provider.id] = {"name": PROVIDERS[provider.id], "models": models}
    providers["ollama"] = {
        "name": "Ollama",
        "default": {"capabilities": TEXT, "context_tokens": 0, "input_price": 0, "output_price": 0},
        "models": {},
    }
    return {
        "prices_from": f"genai-prices {version('genai-prices')} (MIT)",
        "unit": "US dollars for a million tokens",
        "providers": providers,
    }


def _able(provider: str, model: str) -> list[str]:
    found = [prefix for prefix in FAMILIES[provider] if model.startswith(prefix)]
    return FAMILIES[provider][max(found, key=len)] if found else []


def _highest(price: ModelPrice, name: str) -> float:
    """A price; of several by the prompt's length the highest, so that none is booked too low."""
    value = getattr(price, name)
    if isinstance(value, TieredPrices):
        return float(max([value.base, *(tier.price for tier in value.tiers)]))
    return float(value or 0)


if __name__ == "__main__":
    TARGET.write_text(json.dumps(build(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
