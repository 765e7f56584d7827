"""The official conformance suite and the Inspector, against the host as a process.

The product itself passes but for scenarios that call fixtures by name (`conformance/baseline-*`);
with those fixtures registered on the same application, nothing may fail.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.node import node_environment
from tests.mcp_server.hosts import Host, running

pytestmark = [pytest.mark.node, pytest.mark.slow]

FOLDER = Path(__file__).parent / "conformance"
SCORED = {"2025-11-25": 30, "2026-07-28": 37}


def run(*command: str, timeout_s: float = 120) -> tuple[int, str]:
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env=node_environment(),
        timeout=timeout_s,
    )
    return done.returncode, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)


def conformance(url: str, revision: str, out: Path, *more: str) -> tuple[int, str]:
    command = ("conformance", "server", "--url", url, "--requirements", revision)
    return run(*command, "-o", str(out), *more)


def outcomes(said: str) -> dict[str, bool]:
    """Each scenario that ran, and whether all its checks passed."""
    lines = re.findall(r"^(✓|✗) ([\w-]+): \d+ passed, \d+ failed$", said, re.MULTILINE)
    return {name: mark == "✓" for mark, name in lines}


@pytest.fixture(scope="module")
def product(mcp_home: Path) -> Iterator[Host]:
    node_environment()  # skips before anything is started
    with running(Host(mcp_home)) as host:
        yield host


@pytest.fixture(scope="module")
def with_fixtures(mcp_home: Path) -> Iterator[Host]:
    node_environment()
    with running(Host(mcp_home, ("--fixtures",))) as host:
        yield host


@pytest.mark.parametrize("revision", list(SCORED))
def test_the_product_conforms_but_for_named_fixtures(
    product: Host, revision: str, tmp_path: Path
) -> None:
    baseline = FOLDER / f"baseline-{revision}.yml"
    code, said = conformance(product.url, revision, tmp_path, "--expected-failures", str(baseline))
    assert code == 0, said[-3000:]
    assert "Baseline check passed" in said
    assert not schema_failures(tmp_path)


@pytest.mark.parametrize("revision", list(SCORED))
def test_with_the_fixtures_every_scored_scenario_passes(
    with_fixtures: Host, revision: str, tmp_path: Path
) -> None:
    code, said = conformance(with_fixtures.url, revision, tmp_path)
    found = outcomes(said)
    unscored = set(re.findall(r"^  [✓✗] ([\w-]+) \((?:pending|extension)\)", said, re.MULTILINE))
    scored = {name: passed for name, passed in found.items() if name not in unscored}
    failed = sorted(name for name, passed in scored.items() if not passed)
    assert (code, failed) == (0, []), said[-3000:]
    assert sum(scored.values()) >= SCORED[revision]
    assert not schema_failures(tmp_path)


def schema_failures(folder: Path) -> list[str]:
    """Messages the suite found malformed, whatever scenario they belong to."""
    written = list(folder.rglob("checks.json"))
    assert len(written) >= 30
    return [
        f"{file.parent.name}: {check.get('errorMessage', '')}"
        for file in written
        for check in json.loads(file.read_text(encoding="utf-8"))
        if check["id"] == "wire-schema-valid" and check["status"] == "FAILURE"
    ]


@pytest.mark.parametrize("era", ["legacy", "modern", "auto"])
def test_the_inspector_finds_nothing_at_any_era(product: Host, era: str) -> None:
    for method in ("tools/list", "resources/list", "resources/templates/list", "prompts/list"):
        command = ("mcp-inspector", "--cli", "--server-url", product.url, "--transport", "http")
        strict = ("--strict",) if method == "tools/list" else ()
        code, said = run(
            *command, "--method", method, "--protocol-era", era, "--format", "json", *strict
        )
        assert code == 0, (method, said[-2000:])
