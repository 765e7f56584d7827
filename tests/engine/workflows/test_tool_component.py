"""Tool: a plugin's tool in a workflow: allowed first, its arguments checked, its effect once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.tools.plugin_manager import PluginManager
from tests.engine.workflows.conftest import Desk
from tests.fakes.flow_components import flow
from tests.fakes.tool_plugins import write_plugin


@pytest.fixture
def house(desk: Desk, tmp_path: Path) -> Desk:
    """An installation with a plugin."""
    write_plugin(tmp_path / "plugins")
    plugins = PluginManager(tmp_path, tmp_path / "plugins", distributions=[])
    workflows = desk.engine.workflows
    workflows._services = replace(workflows._services, tools=plugins)
    return desk


async def call(desk: Desk, tool: str, **more: Any) -> Any:
    node = ("Tool", {"tool": tool, **more})
    out = ("Output", {"values": {"text": "{{t.text}}", "json": "{{t.json}}"}})
    if "call" not in {item.name for item in await desk.engine.workflows.list_all(desk.owner)}:
        await desk.publish("call", json.dumps(flow("b > t > o", b="Begin", t=node, o=out)))
    return await desk.run("call", {"query": "Oslo"})


async def test_a_tool_is_called_where_the_organisation_allows_it(house: Desk) -> None:
    arguments = {"arguments": {"city": "{{b.query}}"}}
    refused = await call(house, "weather", **arguments)
    assert refused.state == "failed"
    assert "does not allow the tool 'weather'" in refused.error
    await house.engine.answers.allow_tools(house.owner, "plugin/weather", on=True)

    run = await call(house, "weather", **arguments)

    assert (run.state, run.error) == ("done", "")
    assert run.output == {"text": "Oslo: 21 degrees", "json": None}


async def test_what_it_writes_is_noted_once_and_read_as_json(house: Desk) -> None:
    await house.engine.answers.allow_tools(house.owner, "plugin/*", on=True)
    run = await call(house, "plugin/lamp", arguments={"room": "{{b.query}}"})
    assert (run.state, run.output["json"]) == ("done", {"on": True, "count": 1})


async def test_a_tool_that_is_not_there_or_gets_what_does_not_fit_fails_the_step(
    house: Desk,
) -> None:
    await house.engine.answers.allow_tools(house.owner, "plugin/*", on=True)
    run = await call(house, "weather", arguments={"city": 7})
    assert "not of type 'string'" in run.error
    house.engine.workflows._services.tools._tools = {}  # type: ignore[union-attr]
    assert "there is no tool 'weather'" in (await call(house, "weather")).error


async def test_nothing_of_the_knowledge_bases_goes_to_a_tool_unless_it_may(house: Desk) -> None:
    await house.engine.answers.allow_tools(house.owner, "plugin/*", on=True)
    tool = ("Tool", {"tool": "lamp", "arguments": {"room": "{{d.text}}"}})
    for name, recipient, state in (("out", "outside", "failed"), ("in", "tenant", "done")):
        node = (tool[0], tool[1] | {"recipient": recipient})
        text = flow(
            "b > d > t",
            b="Begin",
            d=("Retrieval", {"query": "{{b.query}}", "kbs": ["team"]}),
            t=node,
        )
        await house.publish(name, json.dumps(text))
        run = await house.run(name, {"query": "backup of the shop"})
        assert (run.state, "may not all read" in run.error) == (state, state == "failed")
