"""Who works in a data folder: locks that the operating system frees when their holder dies.

`scrubjay up`, `worker` and everything else that must be alone (`runtime.py`) holds one by name.
Beside the lock lies a file that describes the holder, for the process that comes second.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine import clock
from engine.errors import AlreadyRunning

# `holder` looks by taking the lock for a moment: a look must not make a start fail.
_TRIES = 5
_PAUSE_S = 0.02

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        # flock, not lockf: also two holders within one process exclude each other.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def hold(folder: Path, name: str, description: str) -> Iterator[None]:
    """Be the only holder of `name` in a data folder until the context ends or the process dies.

    Raises `AlreadyRunning`, which names the holder, where there is one. Blocks a tenth of a second
    at most.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(_lock_file(folder, name), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if not _try_lock(descriptor):
            who = _described(folder, name) or "another process"
            raise AlreadyRunning(
                f"The data folder {folder} is in use by {who}; stop that first, or choose another "
                "folder with SCRUBJAY_HOME.",
                holder=who,
            )
        try:
            _describe(folder, name, description)
            yield
        finally:
            _holder_file(folder, name).unlink(missing_ok=True)
            _unlock(descriptor)
    finally:
        os.close(descriptor)


def holder(folder: Path, name: str) -> str | None:
    """Who holds `name` in a data folder, in words; None where nobody does."""
    try:
        descriptor = os.open(_lock_file(folder, name), os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        _lock(descriptor)
    except OSError:
        return _described(folder, name) or "another process"
    else:
        _unlock(descriptor)
        return None
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_S)
        try:
            _lock(descriptor)
        except OSError:
            continue
        return True
    return False


def _lock_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"


def _holder_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.holder"


def _describe(folder: Path, name: str, description: str) -> None:
    facts = {
        "description": description,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started_at": clock.now().isoformat(timespec="seconds"),
    }
    new = folder / f".{name}.holder-{os.getpid()}"
    new.write_text(json.dumps(facts), encoding="utf-8")
    new.replace(_holder_file(folder, name))


def _described(folder: Path, name: str) -> str:
    try:
        facts = json.loads(_holder_file(folder, name).read_text(encoding="utf-8"))
        return (
            f"{facts['description']} (pid {facts['pid']} on {facts['host']}, "
            f"since {facts['started_at']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ""
