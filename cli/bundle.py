"""A bundle that Claude Desktop installs with a double click: this installation, as an `.mcpb` file.

The format is a zip with `manifest.json` (MCPB 0.3). It holds no code of ours: it starts the
launcher of this machine, so it follows every update, and is of no use on another.
"""

from __future__ import annotations

import json
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

MANIFEST_VERSION = "0.3"
STAMP = (1980, 1, 1, 0, 0, 0)  # the same bundle is the same bytes, whenever it is written
# The format wants an entry point inside the bundle; `mcp_config` has what is really started.
ENTRY = "server/README.txt"
ENTRY_TEXT = "This bundle starts the Scrubjay that is installed on this machine.\n"


def manifest(
    command: list[str], *, write_tools: bool = False, statistics: bool = False
) -> dict[str, Any]:
    """The bundle's manifest; `command` is how this machine starts the server."""
    from mcp_server.tools import build_tools

    tools = build_tools(write_tools=write_tools, statistics=statistics)
    return {
        "manifest_version": MANIFEST_VERSION,
        "name": "scrubjay",
        "display_name": "Scrubjay",
        "version": version("scrubjay"),
        "description": "Answers questions from what your team has written, and cites the passages.",
        "author": {"name": "The Scrubjay authors"},
        "license": "Apache-2.0",
        "server": {
            "type": "binary",
            "entry_point": ENTRY,
            "mcp_config": {"command": command[0], "args": command[1:], "env": {}},
        },
        "tools": [
            {"name": tool.name, "description": tool.description.partition(". ")[0]}
            for tool in tools
        ],
        "prompts_generated": True,
    }


def write_bundle(
    path: Path, command: list[str], *, write_tools: bool = False, statistics: bool = False
) -> None:
    """Write the bundle to `path`."""
    text = (
        json.dumps(manifest(command, write_tools=write_tools, statistics=statistics), indent=2)
        + "\n"
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in (("manifest.json", text), (ENTRY, ENTRY_TEXT)):
            bundle.writestr(zipfile.ZipInfo(name, STAMP), content)
