"""What a number of tenants costs Vespa's config side: time and memory to build the model.

Asks Vespa's own model builder and validators (tests/vespa_oracle), one Java process a number, so it
needs `make oracle` and is not part of `make bench`. It says nothing about content nodes: those are
C++ and not measured here. Run as `python -m benchmarks.vespa_model`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.results import write_results
from tests.vespa_oracle.judge import JARS, why_not
from vespa_app.package import Cluster, render
from vespa_app.tenancy import BaseSchema, Placement

TENANTS = (1, 10, 60, 100)
BUILDS = 3  # the first has Java's start in it


def main() -> int:
    if missing := why_not():
        sys.stderr.write(f"{missing}\n")
        return 1
    measured = {}
    for count in TENANTS:
        measured[str(count)] = measure(count)
        sys.stderr.write(f"{count} tenants: {measured[str(count)]}\n")
    write_results("vespa_model", {"tenants": measured})
    return 0


def measure(count: int) -> dict[str, float]:
    """Seconds of the first and of a later build, and the most memory the process took."""
    placements = [
        Placement(
            f"id-{number}", f"tenant_{number}", "minilm_l6_v2_fp32", BaseSchema(384), "dedicated"
        )
        for number in range(count)
    ]
    package = render(placements, Cluster(("vespa1", "vespa2", "vespa3")))
    with tempfile.TemporaryDirectory() as folder:
        package.write(Path(folder) / "application")
        oracle = subprocess.Popen(
            ["java", "-Xmx2g", "-cp", f"{JARS}/*", "tests/vespa_oracle/Oracle.java"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

        def ask(**question: object) -> dict[str, float]:
            assert oracle.stdin is not None
            assert oracle.stdout is not None
            oracle.stdin.write(json.dumps(question) + "\n")
            oracle.stdin.flush()
            answer = json.loads(oracle.stdout.readline())
            assert answer["ok"], answer
            return answer

        with oracle:
            application = str(Path(folder) / "application")
            builds = [ask(op="validate", package=application)["seconds"] for _ in range(BUILDS)]
            status = Path(f"/proc/{oracle.pid}/status").read_text(encoding="ascii")
            peak_kb = next(int(row.split()[1]) for row in status.splitlines() if "VmHWM" in row)
            assert oracle.stdin is not None
            oracle.stdin.close()
    return {
        "first_build_s": round(builds[0], 2),
        "later_build_s": round(min(builds[1:]), 2),
        "peak_rss_mb": round(peak_kb / 1024),
        "package_kb": round(sum(map(len, package.files.values())) / 1024),
        "zip_kb": round(len(package.to_zip()) / 1024),
    }


if __name__ == "__main__":
    sys.exit(main())
