"""Pages as HTML: the Jinja2 templates of `api/pages/` and its static files.

Templates escape everything; no page contains inline scripts or styles. Static files are read
once and named with the hash of their content, so that browsers can cache them for ever.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import jinja2
from starlette.responses import HTMLResponse, Response

from api.problems import Problem
from engine.telemetry import correlation_id

FOLDER = Path(__file__).parent / "pages"
MEDIA_TYPES = {
    "app.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "flow.js": "text/javascript; charset=utf-8",
    "flow.css": "text/css; charset=utf-8",
    "refer.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "answer.js": "text/javascript; charset=utf-8",
    "passkeys.js": "text/javascript; charset=utf-8",
    "link.js": "text/javascript; charset=utf-8",
    "widget.css": "text/css; charset=utf-8",
    "widget.js": "text/javascript; charset=utf-8",
    "widget_page.js": "text/javascript; charset=utf-8",
}


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
    )
    environment.globals["static"] = static_path
    return environment


@lru_cache(maxsize=len(MEDIA_TYPES))
def static_file(name: str) -> tuple[bytes, str]:
    """A static file and the hash of its content; `KeyError` for an unknown name."""
    if name not in MEDIA_TYPES:
        raise KeyError(name)
    content = (FOLDER / "static" / name).read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:12]


def static_path(name: str) -> str:
    """Where a page finds a static file."""
    return f"/static/{name}?{static_file(name)[1]}"


def render(name: str, /, **values: object) -> str:
    """A template as text."""
    return _environment().get_template(name).render(**values)


def render_page(name: str, /, *, status_code: int = 200, **values: object) -> Response:
    """A template as a response."""
    return HTMLResponse(render(name, **values), status_code=status_code)


def render_problem_page(problem: Problem) -> Response:
    """An error as a page."""
    page = render_page(
        "problem.html", status_code=problem.status, problem=problem, correlation_id=correlation_id()
    )
    page.headers.update(dict(problem.headers))
    return page
