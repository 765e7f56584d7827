"""Where benchmark results go: one JSON file each, with the machine they were measured on."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, object]:
    """The processor, its cores, the memory and the Python in use."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if "model name" in line), model)
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory_gb),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def write_results(name: str, results: dict[str, object]) -> Path:
    """Merge results into `results/<name>.json`; keys measured before and not now stay."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known["machine"] = machine()
    known["measured_at"] = datetime.now(UTC).isoformat(timespec="seconds")
    known["results"] = {**known.get("results", {}), **results}
    path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    return path
