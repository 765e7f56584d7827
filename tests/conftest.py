"""Fixtures every suite may use. Network is loopback only; Hypothesis is deterministic in CI."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.contracts")

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(autouse=True)
def loopback_only(socket_enabled: None) -> None:
    import pytest_socket

    pytest_socket.socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture(autouse=True)
def logging_as_found() -> Iterator[None]:
    """A command under test sets up logging for its process, which is that of the next test too."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.setLevel(logging.WARNING)  # a fixture of a whole module may have run a command before
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
