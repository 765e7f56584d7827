"""A Vespa config server and a container, as far as deploying goes: what tests make them do.

Sessions, activation and convergence follow Vespa's deploy API v2; the removal of a schema without
an override is refused as Vespa's validators do. Knobs stand for what happens in between.
"""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

_TENANT = "/application/v2/tenant/default"
_ACTIVE = f"{_TENANT}/application/default/environment/prod/region/default/instance/default"


@dataclass
class ConfigServer:
    """Deploys into `files`; `log` holds method and path of every call."""

    files: dict[str, str] = field(default_factory=dict)
    generation: int = 0
    log: list[str] = field(default_factory=list)
    # Knobs
    conflicts: int = 0  # activations that find somebody else was faster
    refuses: str = ""  # the reason for which the next packages are refused
    actions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    looks_until_converged: int = 0
    looks_until_canary: int = 0
    _sessions: dict[int, dict[str, str]] = field(default_factory=dict)
    _prepared: set[int] = field(default_factory=set)
    _lost: int = 0

    @property
    def types(self) -> set[str]:
        """Document types in use."""
        return _types(self.files)

    @property
    def deploys(self) -> int:
        """How often a session was activated."""
        return sum(call.endswith("/active") for call in self.log) - self._lost

    @property
    def app(self) -> Starlette:
        """What listens on both ports."""
        return Starlette(
            routes=[
                Route(f"{_TENANT}/session", self._create, methods=["POST"]),
                Route(f"{_TENANT}/session/{{number:int}}/prepared", self._prepare, methods=["PUT"]),
                Route(f"{_TENANT}/session/{{number:int}}/active", self._activate, methods=["PUT"]),
                Route(f"{_ACTIVE}/content/{{path:path}}", self._content),
                Route(f"{_ACTIVE}/serviceconverge", self._converge),
                Route("/document/v1/scrubjay/{type}/docid/canary", self._document),
                Route("/search/", self._search, methods=["POST"]),
            ]
        )

    def _note(self, request: Request) -> None:
        self.log.append(f"{request.method} {request.url.path}")

    async def _create(self, request: Request) -> Response:
        self._note(request)
        with zipfile.ZipFile(io.BytesIO(await request.body())) as archive:
            files = {name: archive.read(name).decode() for name in archive.namelist()}
        number = max([self.generation, *self._sessions]) + 1
        self._sessions[number] = files
        return JSONResponse({"session-id": str(number), "prepared": "http://elsewhere/"})

    async def _prepare(self, request: Request) -> Response:
        self._note(request)
        files = self._sessions[request.path_params["number"]]
        removed = self.types - _types(files)
        allowed = ">schema-removal<" in files.get("validation-overrides.xml", "")
        if removed and not allowed:
            return _refused(f"schema-removal: Removal of schemas {sorted(removed)}")
        if self.refuses:
            return _refused(self.refuses)
        self._prepared.add(request.path_params["number"])
        log = [{"time": 1, "level": "WARNING", "message": text} for text in self.warnings]
        return JSONResponse(
            {"log": log, "activate": "http://elsewhere/", "configChangeActions": self.actions}
        )

    async def _activate(self, request: Request) -> Response:
        self._note(request)
        number = request.path_params["number"]
        if number not in self._prepared:
            return _refused(f"Session {number} is not prepared")
        if self.conflicts:
            self.conflicts -= 1
            self._lost += 1
            return JSONResponse(
                {"error-code": "ACTIVATION_CONFLICT", "message": "a newer session is active"}, 409
            )
        self.files, self.generation = self._sessions[number], number
        return JSONResponse({"message": f"Session {number} activated."})

    async def _content(self, request: Request) -> Response:
        self._note(request)
        found = self.files.get(request.path_params["path"])
        return JSONResponse({"message": "none"}, 404) if found is None else PlainTextResponse(found)

    async def _converge(self, request: Request) -> Response:
        self._note(request)
        if not self.generation:
            return JSONResponse({"error-code": "NOT_FOUND", "message": "no application"}, 404)
        waiting = self.looks_until_converged > 0
        self.looks_until_converged -= waiting
        current = self.generation - waiting
        service = {"host": "vespa", "port": 19107, "type": "searchnode"}
        return JSONResponse(
            {
                "services": [{**service, "currentGeneration": current}],
                "currentGeneration": current,
                "wantedGeneration": self.generation,
                "converged": not waiting,
            }
        )

    async def _document(self, request: Request) -> Response:
        self._note(request)
        if request.path_params["type"] not in self.types:
            return JSONResponse({"message": "Document type does not exist"}, 400)
        return JSONResponse({"id": "canary"}, 404)

    async def _search(self, request: Request) -> Response:
        self._note(request)
        waiting = self.looks_until_canary > 0
        self.looks_until_canary -= waiting
        errors = [{"code": 8, "message": "No suitable groups"}] if waiting else None
        return JSONResponse({"root": {"errors": errors} if errors else {}})


def _types(files: dict[str, str]) -> set[str]:
    return set(re.findall(r'<document type="(\w+)"', files.get("services.xml", "")))


def _refused(reason: str) -> Response:
    return JSONResponse({"error-code": "INVALID_APPLICATION_PACKAGE", "message": reason}, 400)
