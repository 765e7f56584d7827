from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import AlreadyRunning
from engine.locks import hold, holder

HOLD = """
import sys
from pathlib import Path
from engine.locks import hold
with hold(Path(sys.argv[1]), "index", "scrubjay up"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_refused_with_the_name_of_the_first(tmp_path):
    with hold(tmp_path, "index", "scrubjay worker"):
        with pytest.raises(AlreadyRunning) as caught, hold(tmp_path, "index", "scrubjay up"):
            pass
        assert caught.value.holder.startswith(f"scrubjay worker (pid {os.getpid()} on ")
        assert caught.value.holder in str(caught.value)
        assert holder(tmp_path, "index") == caught.value.holder
    assert holder(tmp_path, "index") is None


def test_locks_of_other_names_and_folders_are_free(tmp_path):
    with (
        hold(tmp_path, "index", "a"),
        hold(tmp_path, "server", "b"),
        hold(tmp_path / "x", "index", "c"),
    ):
        assert holder(tmp_path, "worker") is None


def test_a_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), hold(tmp_path, "index", "a"):
        raise ZeroDivisionError
    with hold(tmp_path, "index", "b"):
        pass


def test_a_killed_process_holds_nothing(tmp_path):
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=root,
    ) as child:
        assert child.stdout.readline().strip() == b"held"
        assert f"pid {child.pid}" in holder(tmp_path, "index")
        child.kill()
        child.wait(5)
    assert holder(tmp_path, "index") is None
    with hold(tmp_path, "index", "after"):
        pass
