"""Fixtures every suite may use. Network is loopback only; Hypothesis is deterministic in CI.

`make test` runs several processes beside each other (pytest-xdist). Which files a process gets is
decided here: a file stays whole, so that what its tests share is made once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from tests.fakes import once
from tests.fakes.secret_scan import PACKAGES, SecretScan

once.share()
pytest.register_assert_rewrite("tests.contracts")

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


SLOW_S = 900  # what a slow test may take on a busy machine


class Files(LoadFileScheduling):
    """Hands out whole files in the order of the run; those that ask Vespa's code are one file.

    Vespa's code runs in a JVM, which takes longer to start than most of these files.
    """

    def _split_scope(self, nodeid: str) -> str:
        folder, found, _ = nodeid.partition("/vespa_oracle/")
        return folder + found if found else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One more than there are cores: many tests wait for a process or for a file to be written."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # xdist reads it
    cores = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    return len(cores) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Files | None:
    """The scheduler of `--dist loadfile`."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # by number of tests: the longest have one
    return Files(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow files come first where processes share the run, or one would be left with them alone."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    for item in slow:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_S))
    if hasattr(config, "workerinput") or config.getoption("dist", "no") != "no":
        first = {item.path for item in slow}
        items.sort(key=lambda item: not (item.path in first or "vespa_oracle" in item.path.parts))


@pytest.fixture(autouse=True)
def loopback_only(socket_enabled: None) -> None:
    import pytest_socket

    pytest_socket.socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


_SCAN = SecretScan()


@pytest.fixture(autouse=True)
def secret_scan(request: pytest.FixtureRequest, logging_as_found: None) -> Iterator[SecretScan]:
    """Fails a test that shows a secret: in a log record, a row kept in clear, or what it printed."""
    del logging_as_found  # it puts back the handlers that are added here
    _SCAN.watch_tables()
    _SCAN.take()
    logging.getLogger().addHandler(_SCAN)
    levels = {name: logging.getLogger(name).level for name in PACKAGES}
    if "caplog" not in request.fixturenames:  # that test chooses what is logged
        for name in PACKAGES:
            logging.getLogger(name).setLevel(logging.INFO)
    yield _SCAN
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    for _, kind, text in request.node._report_sections:
        if kind == "stderr":  # on standard output commands print a new secret, once
            _SCAN.look(kind, text)
    if leaks := _SCAN.take():
        pytest.fail("a secret was shown: " + "; ".join(leaks))


@pytest.fixture(autouse=True)
def logging_as_found() -> Iterator[None]:
    """A command under test sets up logging for its process, which is that of the next test too."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.setLevel(logging.WARNING)  # a fixture of a whole module may have run a command before
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
