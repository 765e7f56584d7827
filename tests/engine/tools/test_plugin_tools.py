"""Tools of plugins: found, refused, read again, called within what they say of themselves."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from engine.answers.plugin_tools import PluginTools
from engine.errors import InvalidInput, NotFound, Unavailable
from engine.tools.calling import call_tool
from engine.tools.plugin_manager import FoundTool, PluginManager, request_reload
from tests.fakes.tool_plugins import MANIFEST, MODULE, write_plugin


def manager(home: Path, folder: Path, **options: object) -> PluginManager:
    given = {"app_version": "0.1.0", "distributions": [], **options}
    return PluginManager(home, folder, **given)  # type: ignore[arg-type]


@pytest.fixture
def house(tmp_path: Path) -> PluginManager:
    write_plugin(tmp_path / "plugins")
    return manager(tmp_path, tmp_path / "plugins")


def weather(plugins: PluginManager) -> FoundTool:
    found = plugins.get_llm_tool_by_name("weather")
    assert found is not None
    return found


def test_the_four_verbs_of_the_manager(house: PluginManager) -> None:
    assert sorted(item.metadata.name for item in house.load_plugins()) == ["lamp", "weather"]
    assert [item.metadata.name for item in house.get_llm_tools()] == ["lamp", "weather"]
    assert house.get_llm_tool_by_name("nothing") is None
    assert [item.plugin for item in house.get_llm_tools_by_names(["weather", "x"])] == ["house"]
    assert house.refused == ()


def test_metadata_become_a_json_schema(house: PluginManager) -> None:
    said = weather(house).metadata
    assert (said.displayName, said.displayDescription) == ("Weather", "Looks the weather up.")
    schema = said.schema_of_arguments()
    Draft202012Validator.check_schema(schema)
    assert schema == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Its name."},
            "days": {"type": "integer"},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


async def test_a_tool_is_called_with_its_settings(tmp_path: Path, house: PluginManager) -> None:
    assert await call_tool(weather(house), {"city": "Oslo"}) == "Oslo: 21 degrees"
    (tmp_path / "plugins.toml").write_text('[weather]\nunit = "°C"\n', encoding="utf-8")
    house.load_plugins()
    assert await call_tool(weather(house), {"city": "Oslo"}) == "Oslo: 21 °C"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "'city' is a required property"),
        ({"city": 7}, "city: 7 is not of type 'string'"),
        ({"city": "Oslo", "days": "two"}, "days: 'two' is not of type 'integer'"),
        ({"city": "Oslo", "street": "x"}, "'street' was unexpected"),
        ({"city": "Atlantis"}, "there is no such city"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused(
    house: PluginManager, arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await call_tool(weather(house), arguments)
    assert said in str(refused.value)


async def test_a_tool_that_fails_or_hangs_says_so_and_no_more(house: PluginManager) -> None:
    with pytest.raises(Unavailable, match=r"weather failed \(RuntimeError\)\.") as failed:
        await call_tool(weather(house), {"city": "Hell"})
    assert "secret" not in str(failed.value)
    with pytest.raises(Unavailable, match="did not end within"):
        await call_tool(weather(house), {"city": "Slow"}, timeout_s=0.05)


def test_another_process_reads_them_again_when_told(tmp_path: Path, house: PluginManager) -> None:
    running = manager(tmp_path, tmp_path / "plugins")
    assert len(running.get_llm_tools()) == 2
    module = MODULE.replace('name="weather"', 'name="forecast"').replace("21", "minus 21")
    changed = write_plugin(tmp_path / "plugins", module=module) / "house.py"
    os.utime(changed, ns=(1, 1))  # another time than before, whatever the clock's steps
    assert running.get_llm_tool_by_name("forecast") is None
    request_reload(tmp_path)
    assert [item.metadata.name for item in running.get_llm_tools()] == ["forecast", "lamp"]


@pytest.mark.parametrize(
    ("manifest", "module", "reason"),
    [
        (MANIFEST.replace(">=0.1", ">=9"), MODULE, "needs Scrubjay >=9, this is 0.1.0"),
        (MANIFEST + 'dependencies = ["no-such-library>=1"]\n', MODULE, "which is not installed"),
        (
            'name = "house"\nversion = "1"\n',
            MODULE,
            "name what it brings: components, tools or probes",
        ),
        (MANIFEST, "1/0", "loading it failed (ZeroDivisionError)"),
        (MANIFEST, "class Weather: pass\nLamp = Weather", "is a subclass of engine.tools"),
        (MANIFEST, MODULE.replace("def invoke", "def other"), "Weather lacks invoke"),
        (MANIFEST, MODULE.replace('"lamp"', '"weather"'), "there is a tool 'weather' already"),
        (MANIFEST, MODULE.replace('"lamp"', '"No Name"'), "loading it failed"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    tmp_path: Path, manifest: str, module: str, reason: str
) -> None:
    write_plugin(tmp_path / "plugins", manifest=manifest, module=module)
    plugins = manager(tmp_path, tmp_path / "plugins")
    [refusal] = plugins.refused
    assert reason in refusal.reason
    assert plugins.get_llm_tools() == []


def test_a_name_that_is_taken_and_settings_that_are_wrong_are_refused(tmp_path: Path) -> None:
    write_plugin(tmp_path / "plugins")
    write_plugin(tmp_path / "plugins", "second", manifest=MANIFEST.replace('house"', 'other"', 1))
    plugins = manager(tmp_path, tmp_path / "plugins")
    assert [item.plugin for item in plugins.get_llm_tools()] == ["house", "house"]
    assert "there is a tool" in plugins.refused[0].reason
    (tmp_path / "plugins.toml").write_text("[weather]\ncolour = 1\n", encoding="utf-8")
    plugins.load_plugins()
    assert plugins.get_llm_tools() == []
    assert "plugins.toml, [weather]: colour" in plugins.refused[0].reason


def test_an_installed_package_brings_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plugin(tmp_path, "package_with_tools")
    (tmp_path / "package_with_tools" / "__init__.py").touch()
    info = tmp_path / "tooling-3.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tooling\nVersion: 3.0\n", "utf-8")
    (info / "entry_points.txt").write_text(
        "[scrubjay.tools]\nweather = package_with_tools.house:Weather\n", "utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugins = PluginManager(app_version="0.1.0", distributions=[metadata.Distribution.at(info)])
    [found] = plugins.get_llm_tools()
    assert (found.plugin, found.version, found.origin) == ("tooling", "3.0", "package tooling")


async def test_answers_are_offered_them_as_tools(house: PluginManager) -> None:
    tools = PluginTools(house)
    found = {tool.key: tool for tool in await tools.list_tools()}
    assert sorted(found) == ["plugin/lamp", "plugin/weather"]
    assert await tools.call(found["plugin/weather"], {"city": "Oslo"}) == "Oslo: 21 degrees"
    gone = found["plugin/weather"]
    house._tools = {}
    with pytest.raises(NotFound):
        await tools.call(gone, {"city": "Oslo"})
