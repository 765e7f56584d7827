"""Tools of plugins over REST: who sees them, and that only what is allowed is called."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from engine.domain import Scope
from engine.engine import Engine
from engine.tools.plugin_manager import PluginManager
from tests.fakes.homes import make_token
from tests.fakes.tool_plugins import write_plugin

PATH = "/api/v1/tools"


async def test_tools_are_listed_allowed_and_called(
    client: httpx2.AsyncClient, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(tmp_path / "plugins")
    plugins = PluginManager(tmp_path, tmp_path / "plugins", distributions=[])
    monkeypatch.setattr(engine, "tools", plugins)
    before = (await client.get(PATH)).json()["tools"]
    assert [(tool["name"], tool["allowed"]) for tool in before] == [
        ("lamp", False),
        ("weather", False),
    ]
    call = {"arguments": {"city": "Oslo"}}
    assert (await client.post(f"{PATH}/weather/call", json=call)).status_code == 404
    await client.put("/api/v1/external_tools/plugin/weather")
    try:
        said = await client.post(f"{PATH}/weather/call", json=call)
        assert said.json() == {"text": "Oslo: 21 degrees"}
        wrong = await client.post(f"{PATH}/weather/call", json={"arguments": {"city": 7}})
        assert wrong.status_code == 422
        assert "city: 7 is not of type 'string'" in wrong.json()["detail"]
    finally:
        await client.delete("/api/v1/external_tools/plugin/weather")
    reads = {"authorization": f"Bearer {await make_token(engine, Scope.KB_READ, Scope.KB_ASK)}"}
    assert (await client.get(PATH, headers=reads)).status_code == 403
