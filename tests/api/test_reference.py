"""The HTTP reference page names every route, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.routing import Route

from cli.serve import build_host
from engine.engine import Engine

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "http.md"


async def test_every_route_is_documented(engine: Engine) -> None:
    app = build_host(engine, engine.settings)
    routes = {
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or {"POST"})
        if method != "HEAD"
    }
    written = re.findall(
        r"^\| ([A-Z]+) \| `([^`]+)` ", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(routes) == sorted(written)
