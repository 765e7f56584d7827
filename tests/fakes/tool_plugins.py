"""Plugins with tools, as an operator's folder holds them."""

from __future__ import annotations

from pathlib import Path

MODULE = """
import time
from typing import Any

from engine.tools.contract import LLMToolMetadata, LLMToolParameter, LLMToolPlugin, ToolConfig


class WeatherConfig(ToolConfig):
    unit: str = "degrees"


class Weather(LLMToolPlugin):
    Config = WeatherConfig

    @classmethod
    def get_metadata(cls) -> LLMToolMetadata:
        return LLMToolMetadata(
            name="weather",
            displayName="Weather",
            description="The weather in a city.",
            displayDescription="Looks the weather up.",
            parameters={
                "city": LLMToolParameter(type="string", description="Its name.", required=True),
                "days": LLMToolParameter(type="integer"),
            },
            effect="read",
        )

    def invoke(self, **kwargs: Any) -> str:
        city = kwargs["city"]
        if city == "Atlantis":
            raise ValueError("there is no such city")
        if city == "Hell":
            raise RuntimeError("the secret of the plugin")
        if city == "Slow":
            time.sleep(2)
        return f"{city}: 21 {self.config.unit}"


class Lamp(LLMToolPlugin):
    calls: list[str] = []

    @classmethod
    def get_metadata(cls) -> LLMToolMetadata:
        return LLMToolMetadata(
            name="lamp",
            description="Turns a lamp on.",
            parameters={"room": LLMToolParameter(required=True)},
        )

    def invoke(self, **kwargs: Any) -> str:
        self.calls.append(kwargs["room"])
        return '{"on": true, "count": %d}' % len(self.calls)
"""
MANIFEST = (
    'name = "house"\nversion = "1.2"\nrequires = ">=0.1"\ntools = ["house:Weather", "house:Lamp"]\n'
)


def write_plugin(
    folder: Path, name: str = "house", *, manifest: str = MANIFEST, module: str = MODULE
) -> Path:
    """A plugin in an operator's folder."""
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    (home / "plugin.toml").write_text(manifest, encoding="utf-8")
    (home / "house.py").write_text(module, encoding="utf-8")
    return home
