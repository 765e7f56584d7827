"""kill -9 in the middle of an upload of many formats: every document ends as if undisturbed."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.fakes.kill_rounds import play
from tests.fakes.upload_rounds import STATES, examine, plan, prepare, upload, uploaded

ROUNDS = int(os.environ.get("SCRUBJAY_TEST_KILL_ROUNDS") or (2 if os.environ.get("CI") else 10))


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_an_upload_interrupted_by_kills_ends_as_one_that_was_not(tmp_path: Path) -> None:
    template = tmp_path / "template"
    await prepare(template)
    undisturbed = tmp_path / "undisturbed"
    await play(undisturbed, template, [], change=upload)
    expected = await examine(undisturbed)
    ended = expected["documents"]
    assert {document.external_id for document in uploaded()} <= set(ended)
    assert {item["state"] for item in ended.values()} == {"ready", "failed"}
    hits: Counter[str] = Counter()
    for number in range(ROUNDS):
        home = tmp_path / f"round-{number}"
        played = await play(home, template, plan(number), change=upload)
        hits.update(kill.state for kill in played.hits)
        assert played.hits, played
        assert await examine(home) == expected, played
    assert ROUNDS < 10 or set(hits) == set(STATES), hits
