"""Where tests find Node and the npm packages they need: a folder that `.ci/run` fills.

    SCRUBJAY_TEST_NODE   a folder with node_modules: node >= 22, conformance, inspector, clients,
                         emulate, oidc-provider
    SCRUBJAY_TEST_MCP1   a Python interpreter with mcp 1.x

Without them these tests skip; in CI they fail.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.fakes.databases import service_url


def node_folder() -> Path:
    """The folder with node_modules."""
    return Path(service_url("SCRUBJAY_TEST_NODE"))


def node_environment() -> dict[str, str]:
    """The environment in which `node` and the packages' commands are found."""
    path = f"{node_folder() / 'node_modules' / '.bin'}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path}


def mcp1_python() -> str:
    """The interpreter with mcp 1.x."""
    return service_url("SCRUBJAY_TEST_MCP1")
