"""What this process takes of the machine: processor, memory, disk, network.

From `resource` and, where there is one, `/proc`; a figure that the system does not give is left
out. Workers put theirs into their heartbeat, a server reads its own when it is asked.
"""

from __future__ import annotations

import resource
import shutil
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.access import gate
from engine.db.session import Database
from engine.domain import Principal, Scope
from engine.jobs import heartbeats
from engine.operations.status import WORKER_ALIVE_S

PREFIX = "process_"
_PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """A process of the installation, and its figures by name; those with `_total` only grow.

    Network bytes are those of the network namespace: of the container, or of the machine.
    """

    process: str
    figures: Mapping[str, float]


def process_figures(folder: Path | None = None) -> dict[str, float]:
    """The figures of this process; `folder` is where it stores data."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        f"{PREFIX}cpu_seconds_total": round(used.ru_utime + used.ru_stime, 3),
        f"{PREFIX}threads": float(threading.active_count()),
        # In kilobytes, on macOS in bytes
        f"{PREFIX}peak_memory_bytes": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024.0),
    }
    with suppress(OSError, ValueError, IndexError):
        pages = int((_PROC / "statm").read_text().split()[1])
        figures[f"{PREFIX}memory_bytes"] = float(pages * resource.getpagesize())
    with suppress(OSError):
        figures[f"{PREFIX}open_files"] = float(sum(1 for _ in (_PROC / "fd").iterdir()))
    with suppress(OSError, ValueError):
        lines = dict(line.split(": ") for line in (_PROC / "io").read_text().splitlines())
        figures[f"{PREFIX}read_bytes_total"] = float(lines["read_bytes"])
        figures[f"{PREFIX}written_bytes_total"] = float(lines["write_bytes"])
    with suppress(OSError, ValueError, IndexError):
        received, sent = _network((_PROC / "net" / "dev").read_text())
        figures[f"{PREFIX}network_received_bytes_total"] = float(received)
        figures[f"{PREFIX}network_sent_bytes_total"] = float(sent)
    if folder is not None:
        with suppress(OSError):
            disk = shutil.disk_usage(folder)
            figures[f"{PREFIX}storage_bytes"] = float(disk.total)
            figures[f"{PREFIX}storage_free_bytes"] = float(disk.free)
    return figures


async def read_processes(
    db: Database, principal: Principal, own: Mapping[str, float]
) -> list[ProcessUsage]:
    """This process and the live workers, for those who watch the installation."""
    gate.require(principal, Scope.OPS_READ)
    async with db.read() as session:
        workers = await heartbeats.live_workers(session, within_s=WORKER_ALIVE_S)
    found = [ProcessUsage("server", dict(own))]
    for worker in workers:
        shown = {name: n for name, n in worker.figures.items() if name.startswith(PREFIX)}
        found.append(ProcessUsage(worker.id, shown))
    return found


def _network(text: str) -> tuple[int, int]:
    """Bytes received and sent over all interfaces but the loopback one, from `/proc/net/dev`."""
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        if name.strip() != "lo":
            columns = numbers.split()
            received, sent = received + int(columns[0]), sent + int(columns[8])
    return received, sent
