"""The oracle, one process a run, and a judge for each module. See judge.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vespa_oracle.judge import GOLDEN, Judge, Oracle, why_not


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle | None]:
    """Vespa's Java code, running; None where it can't, which in CI is a failure."""
    missing = why_not()
    if missing:
        if os.environ.get("CI"):
            pytest.fail(f"CI runs Vespa's own code: {missing}")
        yield None
        return
    running = Oracle()
    yield running
    running.close()


@pytest.fixture(scope="session")
def packages_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="module")
def judge(
    request: pytest.FixtureRequest, oracle: Oracle | None, packages_folder: Path
) -> Iterator[Judge]:
    """Answers of the oracle, or recorded ones. With SCRUBJAY_RECORD set, new ones are recorded."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    asked = Judge(oracle, GOLDEN / f"{name}.jsonl", packages_folder)
    yield asked
    if os.environ.get("SCRUBJAY_RECORD") and asked.is_live:
        asked.record()


@pytest.fixture
def live(judge: Judge) -> Judge:
    """A judge for questions made up at random, which nobody could have recorded."""
    if not judge.is_live:
        pytest.skip(f"asks Vespa's own code: {why_not()}")
    return judge
