"""A plugin that reads a format of its own, as the page about pipelines has it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engine.config import load_settings
from ingestion.pipelines import load_pipeline, open_registry
from tests.fakes.installations import Installation, open_installation, parse_inline

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "pipelines.md"
FLOW = json.dumps({"components": [{"id": "read", "type": "MeetingParser"}]})


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    home = tmp_path / "plugins" / "meetings"
    home.mkdir(parents=True)
    (home / "reading.py").write_text(code, encoding="utf-8")
    (home / "plugin.toml").write_text(
        'name = "meetings"\nversion = "1"\ncomponents = ["reading:MeetingParser"]\n',
        encoding="utf-8",
    )
    return tmp_path / "plugins"


async def test_a_plugin_reads_its_own_format_and_leaves_the_others_to_parser(
    home: Path, plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse_inline(monkeypatch)
    chosen = {"processing.plugins": str(plugins)}
    registry = open_registry(load_settings(home, None, chosen, environ={})).registry
    async with open_installation(home, chosen) as notes:
        await notes.engine.pipelines.save(
            notes.owner, "meetings", FLOW, check=lambda dsl: load_pipeline(dsl, registry)
        )
        await notes.engine.knowledge_bases.update(notes.owner, "notes", pipeline="meetings")
        meeting = await notes.add("Ada: We ship the quokka.\nBob: No.\n", "monday.meeting")
        page = await notes.add("# Page\n\nThe wombat sleeps.\n")
        broken = await notes.add("nobody says this", "tuesday.meeting")
        await notes.drain()
        await _check(notes, meeting, page, broken)


async def _check(notes: Installation, meeting, page, broken) -> None:
    assert [(await notes.get(added)).state for added in (meeting, page)] == ["ready", "ready"]
    assert await notes.found("quokka") == ["# Ada\n\nWe ship the quokka.\n\n# Bob\n\nNo."]
    assert await notes.found("wombat") == ["# Page\n\nThe wombat sleeps."]
    assert (await notes.get(broken)).error == (
        "tuesday.meeting: a line without a speaker: 'nobody says this'."
    )
