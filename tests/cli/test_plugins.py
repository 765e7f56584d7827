"""`plugins`: what there is, what is refused, trying a tool; and SIGHUP, which reads them again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cli.hangup import reload_on_hangup
from cli.main import main
from tests.fakes.tool_plugins import MANIFEST, write_plugin


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCRUBJAY_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("SCRUBJAY_PROCESSING__PLUGINS", str(tmp_path / "plugins"))
    write_plugin(tmp_path / "plugins")
    return tmp_path / "plugins"


def test_plugins_are_listed_with_what_they_bring(
    plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plugin(plugins, "newer", manifest=MANIFEST.replace(">=0.1", ">=99"))
    assert main(["plugins", "list", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [tool["name"] for tool in shown["tools"]] == ["lamp", "weather"]
    assert shown["tools"][1]["parameters"]["city"]["required"] is True
    assert "needs Scrubjay >=99" in shown["refused"][0]["reason"]
    assert main(["plugins", "list"]) == 0
    said = capsys.readouterr()
    assert "tool weather" in said.out
    assert "refused: house" in said.err


def test_a_tool_is_tried(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "call", "weather", "city=Oslo", "days=2"]) == 0
    assert capsys.readouterr().out == "Oslo: 21 degrees\n"
    assert main(["plugins", "call", "weather", "days=two", "city=Oslo"]) != 0
    assert "days: 'two' is not of type 'integer'" in capsys.readouterr().err
    assert main(["plugins", "call", "nothing"]) != 0
    assert "there are: lamp, weather" in capsys.readouterr().err


def test_reload_leaves_a_stamp_and_names_what_is_in_use(
    plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plugins", "reload"]) == 0
    assert "tools in use: lamp, weather" in capsys.readouterr().err
    assert (plugins.parent / "home" / "plugins.stamp").exists()


async def test_a_hangup_reads_them_again() -> None:
    loop, read = asyncio.get_running_loop(), asyncio.Event()

    def load() -> None:
        loop.call_soon_threadsafe(read.set)

    reload_on_hangup(cast("Any", SimpleNamespace(tools=SimpleNamespace(load_plugins=load))))
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(read.wait(), 60)
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
