"""How long the tests take: `python -m benchmarks.suite [REPORT]`.

Reads a report of pytest (`make test` with `PYTEST_ADDOPTS=--junitxml=REPORT`) or, without one, runs
`make test` for it, and keeps the whole run's time and the slowest tests in `benchmarks/suite.json`.
A test's time is that of its call with its set-up and its end, where several processes shared the
machine. The services that tests need are given to it as to `make test`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.results import machine

ROOT = Path(__file__).resolve().parents[1]
KEPT = Path(__file__).parent / "suite.json"
PROMISED_S = 480
SLOWEST = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, nargs="?", help="a JUnit XML report of pytest")
    given = parser.parse_args().report
    more: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        report = given or Path(folder) / "suite.xml"
        if given is None:
            more = run(report)
        results = {"machine": machine(), "measured_at": now(), "promised_s": PROMISED_S}
        results |= more | summary(report.read_text(encoding="utf-8"))
    KEPT.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{KEPT}: {results['total_s']} s\n")
    return 1 if results["failed"] else 0


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def run(report: Path) -> dict[str, object]:
    """Run the suite as a person does; what it took of the machine."""
    before = os.getloadavg()[0]
    options = f"{os.environ.get('PYTEST_ADDOPTS', '')} --junitxml={report}".strip()
    subprocess.run(
        ["make", "test"], cwd=ROOT, env=os.environ | {"PYTEST_ADDOPTS": options}, check=False
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"load_before": round(before, 1), "processor_s": round(used.ru_utime + used.ru_stime)}


def summary(report: str) -> dict[str, object]:
    """The totals of a report, and its slowest tests."""
    suite = ET.fromstring(report).find("testsuite")
    if suite is None:
        raise ValueError("the report holds no test suite")
    taken = {node_id(case): float(case.get("time", 0)) for case in suite.iter("testcase")}
    slowest = sorted(taken, key=lambda name: -taken[name])[:SLOWEST]
    return {
        "total_s": round(float(suite.get("time", 0))),
        "tests": int(suite.get("tests", 0)),
        "failed": int(suite.get("failures", 0)) + int(suite.get("errors", 0)),
        "skipped": int(suite.get("skipped", 0)),
        "slowest": [{"test": name, "seconds": round(taken[name], 1)} for name in slowest],
    }


def node_id(case: ET.Element) -> str:
    """`tests/flows/test_kill.py::test_x` of `tests.flows.test_kill` and `test_x`."""
    parts = case.get("classname", "").split(".")
    module = next((n for n, part in enumerate(parts) if part.startswith("test_")), len(parts) - 1)
    path = "/".join(parts[: module + 1]) + ".py"
    return "::".join([path, *parts[module + 1 :], case.get("name", "")])


if __name__ == "__main__":
    sys.exit(main())
