"""Tools of plugins over MCP: where the operator offers them and the organisation allows them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.domain import Scope
from engine.engine import Engine
from engine.tools.plugin_manager import PluginManager
from tests.fakes.tool_plugins import write_plugin
from tests.mcp_server.conftest import Assistant


@pytest.fixture
def house(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    write_plugin(tmp_path / "plugins")
    plugins = PluginManager(tmp_path, tmp_path / "plugins", distributions=[])
    monkeypatch.setattr(engine, "tools", plugins)
    return engine


async def names(assistant: Assistant) -> list[str]:
    listed = await assistant.list_tools()
    return [tool.name for tool in listed.tools if tool.name.startswith("plugin_")]


async def test_they_are_published_with_their_schema_and_called(house: Engine) -> None:
    owner = await house.people.owner()
    assistant = Assistant(house, owner, plugin_tools=True)
    assert await names(assistant) == []
    await house.answers.allow_tools(owner, "plugin/weather", on=True)
    try:
        assert await names(Assistant(house, owner)) == []  # the operator does not offer them
        assert await names(assistant) == ["plugin_weather"]
        reader = replace(owner, scopes=frozenset({Scope.KB_READ}))
        assert await names(Assistant(house, reader, plugin_tools=True)) == []

        said = await assistant.call_tool("plugin_weather", {"city": "Oslo", "days": 1})
        assert said.content[0].text == "Oslo: 21 degrees"
        wrong = await assistant.call_tool("plugin_weather", {"town": "Oslo"})
        assert wrong.is_error
        assert "city" in wrong.content[0].text
        hidden = await assistant.call_tool("plugin_lamp", {"room": "x"})
        assert hidden.is_error
    finally:
        await house.answers.allow_tools(owner, "plugin/weather", on=False)
    gone = await assistant.call_tool("plugin_weather", {"city": "Oslo"})
    assert gone.is_error
