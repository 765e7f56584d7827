"""Deploying a package through a config server: compare first, remove only what was requested.

    deployed schemas ─► render ─► session ─► prepare ─► what would change? ─► activate ─► in use?

A deploy replaces the whole application, so a package that lacks a tenant asks for that tenant's
documents to be deleted. `Deployer` compares the package with what is deployed before it sends it,
and writes the override that permits a removal only for schemas its caller names. Callers hold one
lock for all processes: two deploys at once would each miss what the other adds.

URLs are built from the config server's own address, and sessions live on the server that made them:
name one config server, not a load balancer.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, get_args

import httpx2

from vespa_app.fields import NAMESPACE, SUMMARY_KEYS
from vespa_app.package import PLACEHOLDER, Cluster, Hnsw, Package, render
from vespa_app.tenancy import Placement

ActionKind = Literal["restart", "refeed", "reindex"]

CONNECT_S = 5.0
CALL_S = 60.0
PREPARE_S = (
    360.0  # what a config server allows itself: it checks every schema in a separate process
)
POLL_S = 0.5
CONFLICT_TRIES = 4  # someone deployed by hand meanwhile

_TENANT = "/application/v2/tenant/default"
_ACTIVE = f"{_TENANT}/application/default/environment/prod/region/default/instance/default"
_DOCUMENT_TYPE = re.compile(r'<document\s+type="([A-Za-z0-9_]+)"')


class DeployError(Exception):
    """A deploy did not happen, or is not in use yet; `str()` of it may be shown to an operator."""


class DeployRefused(DeployError):
    """The package, or what it would do, was not requested: nothing changed."""


class DeployUnavailable(DeployError):
    """A config server or node does not answer, or not in time: try again."""


class _SessionConflict(DeployUnavailable):
    """Another session was activated since ours was made."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something an operator has to do before all of a change is in effect."""

    kind: ActionKind
    document_type: str
    messages: Sequence[str]
    services: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class DeployPlan:
    """What deploying would do. `refusal` says why a config server would reject it."""

    added: Sequence[str]
    removed: Sequence[str]
    unasked: Sequence[str]  # schemas it would remove without a request
    changed: Sequence[str]  # paths of files, schemas of tenants aside
    actions: Sequence[Action]
    warnings: Sequence[str]
    refusal: str
    first: bool  # nothing is deployed yet
    digest: str

    @property
    def is_safe(self) -> bool:
        """Whether a deploy goes ahead without consent."""
        return not (self.unasked or self.actions or self.refusal)

    @property
    def changes_nothing(self) -> bool:
        """Whether the same package is deployed already."""
        return not (self.first or self.added or self.removed or self.unasked or self.changed)


@dataclass(frozen=True, slots=True)
class Convergence:
    """The generation of the application that services run, and the wanted one."""

    wanted: int
    current: int
    converged: bool
    behind: Sequence[str]  # services, as host:port (type)


class ConfigServer:
    """One config server's HTTP API. Errors are `DeployError`s that name it."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url.rstrip("/")

    async def deployed_file(self, path: str) -> str | None:
        """The text of a file of the application in use, or None where there is none."""
        response = await self._call("GET", f"{_ACTIVE}/content/{path}", missing_is_fine=True)
        return None if response is None else response.text

    async def create_session(self, package: Package) -> int:
        """Hand the package over; it does nothing yet. Returns the session's number."""
        response = await self._call(
            "POST",
            f"{_TENANT}/session",
            content=package.to_zip(),
            headers={"Content-Type": "application/zip"},
        )
        return int(_json(response)["session-id"])

    async def prepare(self, session: int) -> tuple[list[Action], list[str]]:
        """Validate a session's package and distribute it; returns actions and warnings.

        Raises `DeployRefused` with the config server's reason.
        """
        answer = _json(
            await self._call(
                "PUT",
                f"{_TENANT}/session/{session}/prepared",
                params={"timeout": str(PREPARE_S)},
                timeout_s=PREPARE_S + CALL_S,
            )
        )
        warnings = [
            str(entry.get("message", ""))
            for entry in answer.get("log", [])
            if str(entry.get("level", "")).upper() in {"WARNING", "ERROR", "SEVERE"}
        ]
        return _actions(answer.get("configChangeActions", {})), warnings

    async def activate(self, session: int) -> None:
        """Put a prepared session into use."""
        await self._call("PUT", f"{_TENANT}/session/{session}/active", params={"timeout": "60"})

    async def convergence(self) -> Convergence | None:
        """The progress of services; None if nothing is deployed."""
        response = await self._call("GET", f"{_ACTIVE}/serviceconverge", missing_is_fine=True)
        if response is None:
            return None
        answer = _json(response)
        wanted = int(answer.get("wantedGeneration", -1))
        behind = [
            f"{service.get('host')}:{service.get('port')} ({service.get('type')})"
            for service in answer.get("services", [])
            if int(service.get("currentGeneration", wanted)) < wanted
        ]
        return Convergence(
            wanted=wanted,
            current=int(answer.get("currentGeneration", -1)),
            converged=bool(answer.get("converged")),
            behind=behind,
        )

    async def _call(
        self,
        method: str,
        path: str,
        *,
        missing_is_fine: bool = False,
        timeout_s: float = CALL_S,
        **request: Any,  # noqa: ANN401 (passed on)
    ) -> httpx2.Response | None:
        timeout = httpx2.Timeout(timeout_s, connect=CONNECT_S)
        try:
            response = await self._http.request(
                method, f"{self._url}{path}", timeout=timeout, **request
            )
        except httpx2.TransportError as error:
            raise DeployUnavailable(
                f"The Vespa config server at {self._url} does not answer "
                f"({type(error).__name__}): check that it runs and that vespa.config_url is "
                "correct."
            ) from error
        if response.status_code == 404 and missing_is_fine:
            return None
        if response.is_success:
            return response
        reason = _reason(response)
        if response.status_code == 409:
            raise _SessionConflict(f"Another deploy came first: {reason}")
        if response.status_code == 400:
            raise DeployRefused(f"Vespa rejected the application package: {reason}")
        raise DeployUnavailable(
            f"The Vespa config server at {self._url} returned {response.status_code}: {reason}"
        )


class Deployer:
    """Makes a cluster match the placements. `today` dates the override of a removal."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        *,
        config_url: str,
        url: str,
        cluster: Cluster,
        today: Callable[[], date],
        hnsw: Hnsw | None = None,
        timeout_s: float = 300.0,
    ) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._server = ConfigServer(http, config_url)
        self._cluster = cluster
        self._today = today
        self._hnsw = hnsw
        self._timeout_s = timeout_s

    def render(self, placements: Sequence[Placement], *, removed: Sequence[str] = ()) -> Package:
        """The package; `removed` are schemas whose removal this deploy permits.

        Raises `DeployRefused` for placements that can't be deployed.
        """
        try:
            return render(
                placements, self._cluster, hnsw=self._hnsw, removed=removed, today=self._today()
            )
        except ValueError as error:
            raise DeployRefused(str(error)) from None

    async def plan(
        self, placements: Sequence[Placement], *, removed: Sequence[str] = ()
    ) -> DeployPlan:
        """What deploying would do; nothing changes. Prepares a session that is then left alone.

        If it would remove schemas without a request, it prepares no session either.
        """
        plan, _ = await self._prepared(placements, removed)
        return plan

    async def deploy(
        self,
        placements: Sequence[Placement],
        *,
        removed: Sequence[str] = (),
        accept: Sequence[ActionKind] = (),
    ) -> DeployPlan:
        """Deploy, and return what it did once every service uses it and new schemas answer.

        Raises `DeployRefused`, with nothing changed, where it would remove a schema that `removed`
        does not name, or needs a kind of action that `accept` does not name; `DeployUnavailable`
        if Vespa does not respond or is not done in time. A schema already removed is ignored.
        """
        for attempt in range(CONFLICT_TRIES):
            plan, session = await self._prepared(placements, removed)
            check_consent(plan, accept)
            if session is None:
                raise DeployRefused("nothing was prepared")
            try:
                await self._server.activate(session)
            except _SessionConflict:
                if attempt + 1 == CONFLICT_TRIES:
                    raise
                continue
            await self._converged(session)
            await self._canaries(plan.added or [PLACEHOLDER])
            return plan
        raise AssertionError("the last try returns or raises")

    async def status(self) -> tuple[list[str] | None, Convergence | None]:
        """The deployed schemas (None if nothing is deployed), and the progress of services."""
        services = await self._server.deployed_file("services.xml")
        schemas = None if services is None else sorted(_types(services))
        return schemas, await self._server.convergence()

    async def _prepared(
        self, placements: Sequence[Placement], removed: Sequence[str]
    ) -> tuple[DeployPlan, int | None]:
        """The plan, and the session to activate where the config server would take it."""
        services = await self._server.deployed_file("services.xml")
        deployed = _types(services or "")
        going = sorted(set(removed) & deployed)
        package = self.render(placements, removed=going)
        wanted = {schema.name for schema in package.schemas}
        unasked = sorted(deployed - wanted - set(going))
        changed = [] if services is None else await self._changed(package)
        session, refusal = None, ""
        actions: list[Action] = []
        warnings: list[str] = []
        if not unasked:
            try:
                session = await self._server.create_session(package)
                actions, warnings = await self._server.prepare(session)
            except DeployRefused as error:
                session, refusal = None, str(error)
        plan = DeployPlan(
            added=sorted(wanted - deployed),
            removed=going,
            unasked=unasked,
            changed=changed,
            actions=actions,
            warnings=warnings,
            refusal=refusal,
            first=services is None,
            digest=package.digest,
        )
        return plan, session

    async def _changed(self, package: Package) -> list[str]:
        """Paths whose text differs from what is deployed; tenants' own schemas are not compared."""
        tenants = {f"schemas/{schema.name}.sd" for schema in package.schemas}
        return [
            path
            for path in sorted(set(package.files) - tenants)
            if await self._server.deployed_file(path) != package.files[path]
        ]

    async def _converged(self, session: int) -> None:
        """Wait until every service runs this session's application or a later one."""

        async def is_done() -> str:
            state = await self._server.convergence()
            if state is None:
                return "nothing is deployed"
            if state.converged and state.wanted >= session:
                return ""
            return "still behind: " + (", ".join(state.behind) or "unidentified services")

        await self._wait(is_done, "The application is activated, but not in use yet")

    async def _canaries(self, schemas: Sequence[str]) -> None:
        """Wait until new schemas can be read and searched: a deploy is no good before that."""
        for schema in schemas:

            async def is_done(schema: str = schema) -> str:
                return await self._canary(schema)

            await self._wait(is_done, f"The schema {schema} is deployed, but does not answer yet")

    async def _canary(self, schema: str) -> str:
        """What is wrong with a schema, or an empty text."""
        timeout = httpx2.Timeout(CALL_S, connect=CONNECT_S)
        document = f"{self._url}/document/v1/{NAMESPACE}/{schema}/docid/canary"
        query = {
            "yql": f"select * from {schema} where true limit 0",  # noqa: S608 (our alphabet's name)
            "model.restrict": schema,
            "ranking.profile": "unranked",
            **({} if schema == PLACEHOLDER else {"presentation.summary": SUMMARY_KEYS}),
        }
        try:
            read = await self._http.get(document, timeout=timeout)
            if read.status_code not in {200, 404}:  # 400: an unknown type
                return f"reading returns {read.status_code}"
            found = await self._http.post(f"{self._url}/search/", json=query, timeout=timeout)
        except httpx2.TransportError as error:
            return f"{self._url} does not answer ({type(error).__name__})"
        if found.status_code != 200:
            return f"searching returns {found.status_code}"
        if errors := found.json().get("root", {}).get("errors"):
            return f"searching returns {errors[0].get('message', 'an error')}"
        return ""

    async def _wait(self, is_done: Callable[[], Awaitable[str]], otherwise: str) -> None:
        """Ask again and again until nothing is wrong; `DeployUnavailable` when time is up."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                wrong = await is_done()
            except DeployUnavailable as error:  # a config server restarts with a new application
                wrong = str(error)
            if not wrong:
                return
            if time.monotonic() > deadline:
                raise DeployUnavailable(
                    f"{otherwise} after {self._timeout_s:g} s: {wrong}."
                    " `scrubjay vespa status` shows when it is."
                )
            await asyncio.sleep(POLL_S)


def check_consent(plan: DeployPlan, accept: Sequence[ActionKind] = ()) -> None:
    """Raise `DeployRefused` for changes without consent."""
    if plan.unasked:
        raise DeployRefused(
            f"This deploy would remove {', '.join(plan.unasked)} with all documents, but no "
            "removal was requested. Either another installation deploys to this Vespa, or its "
            "tenants are missing from this database. Nothing was changed."
        )
    if plan.refusal:
        raise DeployRefused(plan.refusal)
    needed = sorted({action.kind for action in plan.actions} - set(accept))
    if needed:
        raise DeployRefused(
            f"This deploy requires you to {' and '.join(needed)} afterwards: "
            f"{_action_text(plan.actions)}. `scrubjay vespa plan` shows it; go ahead with "
            f"`scrubjay vespa deploy {' '.join(f'--accept {kind}' for kind in needed)}`."
        )


def _action_text(actions: Sequence[Action]) -> str:
    """Which types and why, each once."""
    texts = [f"{action.document_type}: {'; '.join(action.messages)}" for action in actions]
    return " | ".join(dict.fromkeys(texts))


def _types(services: str) -> set[str]:
    """The document types a services.xml names, the placeholder aside."""
    return set(_DOCUMENT_TYPE.findall(services)) - {PLACEHOLDER}


def _actions(answer: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Action]:
    return [
        Action(
            kind=kind,
            document_type=str(found.get("documentType") or found.get("clusterName") or ""),
            messages=[str(message) for message in found.get("messages", [])],
            services=[str(service.get("serviceName", "")) for service in found.get("services", [])],
        )
        for kind in get_args(ActionKind)
        for found in answer.get(kind, [])
    ]


def _json(response: httpx2.Response | None) -> dict[str, Any]:
    try:
        answer = None if response is None else response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise DeployUnavailable(
            "This is not a Vespa config server: set vespa.config_url to the address of one (port "
            "19071 by default)."
        )
    return answer


def _reason(response: httpx2.Response) -> str:
    """The config server's own words; without them, nothing of the body."""
    try:
        answer = response.json()
    except ValueError:
        return "no reason given"
    message = answer.get("message") if isinstance(answer, dict) else None
    return str(message or "no reason given")[:2000]
