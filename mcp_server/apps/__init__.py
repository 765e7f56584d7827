"""Cards for hosts that show them (MCP Apps): a page a tool's result is drawn with.

A card is one self-contained page. Its policy lets it run its own script and style, by their hashes,
and reach nothing. Hosts without cards show the tool's text, as before.
"""

from __future__ import annotations

import base64
from functools import cache
from hashlib import sha256
from pathlib import Path

from mcp.server.apps import Apps

ANSWER = "ui://scrubjay/answer"
_HOME = Path(__file__).parent


def build_apps() -> Apps:
    """The extension with every card."""
    apps = Apps()
    apps.add_html_resource(
        ANSWER,
        page("answer"),
        name="answer",
        title="An answer with its sources",
        prefers_border=True,
    )
    return apps


def shown_with(uri: str) -> dict[str, object]:
    """What a tool says of the card that shows its result."""
    return {"ui": {"resourceUri": uri}}


@cache
def page(name: str) -> str:
    """A card with its style and script in it, and a policy that allows these two alone."""
    style = (_HOME / f"{name}.css").read_text(encoding="utf-8")
    script = (_HOME / f"{name}.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)};"
        " base-uri 'none'; form-action 'none'"
    )
    text = (_HOME / f"{name}.html").read_text(encoding="utf-8")
    return (
        text.replace("{{ policy }}", policy)
        .replace("{{ style }}", style)
        .replace("{{ script }}", script)
    )


def _hash(text: str) -> str:
    digest = base64.b64encode(sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
