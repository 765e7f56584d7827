"""Talks to a Vespa container: queries, document operations and visits, each with a deadline.

`vespa.py` calls it and knows what the fields mean; here are retries, back-pressure and errors.
Documents go one operation a request, many at once over few connections: `vespa_throttle.py` says
how many. Faults of Vespa become errors that say what to do; its own words stay out of them, since
they quote queries.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import quote

import httpx2

from engine import clock
from engine.errors import ConfigurationError, IndexFull, TooLarge, Unavailable
from engine.index.vespa_throttle import Throttle
from engine.net.http import is_loopback, parse_retry_after

log = logging.getLogger(__name__)

Outcome = Literal["done", "newer"]

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.1, 5.0
BLOCKED_S = 30.0  # how long writes are held back after Vespa said that it is full
# When a job that met it is tried again: a job has few attempts, and room takes a person to make.
FULL_RETRY_S = 60.0
CONNECTIONS = 4  # HTTP/2 carries many requests on each
# Of the search that is under way, on the loop's clock.
_deadline: ContextVar[float | None] = ContextVar("vespa_deadline", default=None)
_BUSY = frozenset({502, 503, 504})
_BODY_MAX = 100 << 20  # bytes; the container's own limit on a document operation


@dataclass(slots=True)
class Figures:
    """What was counted since the start, for `/metrics`."""

    queries: int = 0
    partial: int = 0  # answers from less than all documents, never passed on
    operations: int = 0
    retries: int = 0
    overloads: int = 0  # 429
    blocked: int = 0  # 507
    newer: int = 0  # 412: a later write had come first

    def by_name(self) -> dict[str, float]:
        """As counters of `/metrics`."""
        return {f"vespa_{name}_total": float(count) for name, count in asdict(self).items()}


class VespaHttp:
    """One container endpoint. Opens connections at the first request; safe for many tasks."""

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "scrubjay",
        query_timeout_s: float = 5.0,
        feed_timeout_s: float = 60.0,
        http2: bool = True,
        tls: ssl.SSLContext | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        parsed = httpx2.URL(url)
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ConfigurationError(
                "vespa.url is not an http or https URL: write http://host:8080."
            )
        self.host = parsed.host
        self.throttle = Throttle()
        self.figures = Figures()
        self._url = url.rstrip("/")
        self._plain = parsed.scheme == "http"
        self._namespace = namespace
        self._query_timeout_s = query_timeout_s
        self._feed_timeout_s = feed_timeout_s
        self._http2 = http2
        self._tls = tls
        self._transport = transport
        self._sleep = sleep
        self._client: httpx2.AsyncClient | None = None
        self._blocked_until = 0.0  # of the loop's clock

    def __repr__(self) -> str:
        return f"VespaHttp({self.host})"

    async def aclose(self) -> None:
        """Close the connections; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    # Queries

    @asynccontextmanager
    async def one_deadline(self) -> AsyncIterator[None]:
        """The queries made inside share one deadline: they are one search."""
        token = _deadline.set(self._now() + self._query_timeout_s)
        try:
            yield
        finally:
            _deadline.reset(token)

    async def query(self, body: Mapping[str, object]) -> dict[str, Any]:
        """The `root` of a whole answer: `Unavailable` for an error, or for one from some documents.

        Asked again where the fault may pass, all within the query's deadline.
        """
        self.figures.queries += 1
        deadline = _deadline.get() or self._now() + self._query_timeout_s
        fault = self._slow("query", "vespa.query_timeout_s")
        for attempt in range(3):
            left_s = deadline - self._now()
            if left_s <= 0:
                break
            if attempt:
                self.figures.retries += 1
            asked = {
                **body,
                # Vespa stops a little before we do, and says so rather than being cut off.
                "timeout": f"{max(int(left_s * 900), 1)}ms",
                # Else what was found until the timeout would come back as if it were all.
                "ranking.softtimeout.enable": False,
            }
            try:
                async with asyncio.timeout(left_s):
                    response = await self._send("POST", "/search/", asked)
                return self._root(response)
            except TimeoutError:
                break
            except _Passing as passing:
                fault = passing.fault
            await self._pause(attempt, min(deadline - self._now(), LONGEST_BACKOFF_S))
        raise fault

    def _root(self, response: httpx2.Response) -> dict[str, Any]:
        root = _object(_json(response).get("root"))
        errors = root.get("errors") or []
        status = response.status_code
        if errors or status != 200:
            codes = sorted({_int(_object(error).get("code")) for error in errors})
            log.warning("Vespa answered a query with HTTP %s, errors %s", status, codes)
            if status == 400 or any(code in {3, 4} for code in codes):
                raise Unavailable(
                    f"Vespa at {self.host} rejected the query: the deployed application package "
                    "does not match this version of Scrubjay. Run `scrubjay vespa deploy`."
                )
            raise _Passing(
                f"Vespa at {self.host} could not answer (HTTP {status}): see `scrubjay vespa "
                "status`, and try again."
            )
        coverage = _object(root.get("coverage"))
        degraded = any(_object(coverage.get("degraded")).values())
        if coverage.get("coverage", 100) != 100 or degraded:
            self.figures.partial += 1
            raise _Passing(
                f"Vespa at {self.host} answered from {coverage.get('coverage', 0)} % of its "
                "documents: a content node is down or slow. See `scrubjay vespa status`, and try "
                "again."
            )
        return root

    # Documents

    async def put(
        self, schema: str, key: str, fields: Mapping[str, object], *, condition: str = ""
    ) -> Outcome:
        """Store a document, whole; "newer" where the condition failed."""
        query = {"condition": condition, "create": "true"} if condition else {}
        return await self._operate("POST", self._path(schema, key), query, {"fields": fields})

    async def update(self, schema: str, key: str, fields: Mapping[str, object]) -> Outcome:
        """Assign new values to fields of a document; an unknown one is left unknown."""
        assigned = {name: {"assign": value} for name, value in fields.items()}
        return await self._operate("PUT", self._path(schema, key), {}, {"fields": assigned})

    async def remove(self, schema: str, key: str) -> Outcome:
        """Forget a document; an unknown one is ignored."""
        return await self._operate("DELETE", self._path(schema, key), {}, None)

    async def remove_where(self, schema: str, cluster: str, selection: str) -> None:
        """Forget every document a selection matches, in as many rounds as it takes."""
        path = f"/document/v1/{self._namespace}/{schema}/docid"
        query = {"cluster": cluster, "selection": selection}
        while True:
            answer = await self._document_json("DELETE", path, query)
            if not answer.get("continuation"):
                return
            query["continuation"] = str(answer["continuation"])

    async def exists(self, schema: str, key: str) -> bool:
        """Whether a document of a type the application has is there; `Unavailable` without it."""
        answer = await self._document_json("GET", self._path(schema, key), {}, absent=True)
        return "fields" in answer

    async def visit(
        self, schema: str, cluster: str, fields: tuple[str, ...], *, selection: str = ""
    ) -> AsyncIterator[dict[str, Any]]:
        """Every document of a type with some of its fields, page by page, in no order."""
        path = f"/document/v1/{self._namespace}/{schema}/docid"
        query = {
            "cluster": cluster,
            "fieldSet": f"{schema}:{','.join(fields)}",
            "wantedDocumentCount": "1000",
            "format.tensors": "short-value",
        }
        if selection:
            query["selection"] = selection
        while True:
            answer = await self._document_json("GET", path, query)
            for document in answer.get("documents") or []:
                yield _object(_object(document).get("fields"))
            if not answer.get("continuation"):
                return
            query["continuation"] = str(answer["continuation"])

    def _path(self, schema: str, key: str) -> str:
        return f"/document/v1/{self._namespace}/{schema}/docid/{quote(key, safe='')}"

    async def _operate(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, object] | None
    ) -> Outcome:
        self.figures.operations += 1
        self._refuse_while_blocked(method)
        content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        if len(content) > _BODY_MAX:
            raise TooLarge(
                f"A part of a document takes {len(content)} bytes in the index; Vespa takes "
                f"{_BODY_MAX} at most. Split the document."
            )
        response = await self._try_document(method, path, query, content)
        if response.status_code == 412:
            self.figures.newer += 1
            return "newer"
        return "done"

    async def _document_json(
        self, method: str, path: str, query: Mapping[str, str], *, absent: bool = False
    ) -> dict[str, Any]:
        response = await self._try_document(method, path, query, b"", absent=absent)
        return _json(response)

    async def _try_document(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        content: bytes,
        *,
        absent: bool = False,
    ) -> httpx2.Response:
        """One operation, again and again until its deadline while the fault may pass."""
        deadline = self._now() + self._feed_timeout_s
        fault = self._slow("document operation", "vespa.feed_timeout_s")
        attempt = 0
        while (left_s := deadline - self._now()) > 0:
            wait_s: float | None = None
            try:
                async with asyncio.timeout(left_s), self.throttle.slot() as began:
                    self._refuse_while_blocked(method)
                    sent = {"timeout": f"{max(int((deadline - self._now()) * 900), 1)}ms", **query}
                    with self._backing_off(began):
                        response = await self._send(method, path, content, sent)
                        self._check_document(response, absent=absent)
                    self.throttle.grow()
                    return response
            except TimeoutError:
                break
            except _Passing as passing:
                fault, wait_s = passing.fault, passing.fault.retry_after_s
            self.figures.retries += 1
            left_s = deadline - self._now()
            if wait_s is not None and wait_s > left_s:
                break
            await self._pause(attempt, left_s, at_least_s=wait_s or 0.0)
            attempt += 1
        raise fault

    @contextmanager
    def _backing_off(self, began: int) -> Iterator[None]:
        try:
            yield
        except _Passing as passing:
            if passing.overload:
                self.figures.overloads += 1
                self.throttle.halve(began)
            raise

    def _check_document(self, response: httpx2.Response, *, absent: bool) -> None:
        status = response.status_code
        if status in {200, 412} or (status == 404 and absent and _is_missing(response)):
            return
        if status == 429:
            raise _Passing(
                f"Vespa at {self.host} is overloaded (HTTP 429). Writes continue automatically; "
                "more content nodes raise the limit.",
                retry_after_s=parse_retry_after(
                    response.headers.get("retry-after"), at=clock.now()
                ),
                overload=True,
            )
        if status == 507:
            self.figures.blocked += 1
            self._blocked_until = self._now() + BLOCKED_S
            log.error("Vespa at %s is full and refuses writes (HTTP 507)", self.host)
            raise self._full()
        if status in _BUSY or status == 500:
            raise _Passing(
                f"Vespa at {self.host} failed a document operation (HTTP {status}): see `scrubjay "
                "vespa status`."
            )
        if status == 413:
            raise TooLarge(
                f"Vespa at {self.host} rejected a part of a document as too large (HTTP 413): "
                "split the document."
            )
        if status in {400, 404}:
            raise Unavailable(
                f"Vespa at {self.host} rejected a document type or field (HTTP {status}): the "
                "deployed application package does not match this version of Scrubjay. Run "
                "`scrubjay vespa deploy`."
            )
        raise Unavailable(
            f"Vespa at {self.host} rejected a document operation (HTTP {status}): check vespa.url "
            "and any proxy."
        )

    def _refuse_while_blocked(self, method: str) -> None:
        # Removals free room: they continue.
        if method in {"POST", "PUT"} and self._now() < self._blocked_until:
            raise self._full()

    @property
    def is_blocked(self) -> bool:
        """Whether Vespa said a moment ago that it is full."""
        return self._now() < self._blocked_until

    def _full(self) -> IndexFull:
        return IndexFull(
            f"Vespa at {self.host} is full: add memory, disk or content nodes, or delete "
            "documents. Waiting documents continue then.",
            retry_after_s=FULL_RETRY_S,
        )

    # The wire

    async def _send(
        self,
        method: str,
        path: str,
        content: bytes | Mapping[str, object],
        query: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """One request; what keeps it from being answered may pass."""
        if not isinstance(content, bytes):
            content = json.dumps(content, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json"} if content else {}
        try:
            return await self._opened().request(
                method, self._url + path, content=content, params=query or {}, headers=headers
            )
        except httpx2.TimeoutException as error:
            raise TimeoutError from error
        except httpx2.HTTPError as error:
            raise _Passing(
                f"Vespa at {self.host} can't be reached: check that it runs and that vespa.url is "
                "right."
            ) from error

    def _opened(self) -> httpx2.AsyncClient:
        if self._client is None:
            limits = httpx2.Limits(
                # Over HTTP/1.1 each request in flight needs a connection of its own.
                max_connections=CONNECTIONS if self._http2 else None,
                max_keepalive_connections=None,
            )
            try:
                self._client = httpx2.AsyncClient(
                    # Without TLS there is nothing to agree on HTTP/2 with: both sides know it.
                    http1=not (self._http2 and self._plain),
                    http2=self._http2,
                    verify=self._tls or True,
                    limits=limits,
                    timeout=httpx2.Timeout(max(self._query_timeout_s, self._feed_timeout_s)),
                    transport=self._transport,
                    trust_env=not is_loopback(self.host),
                )
            except ImportError:
                raise ConfigurationError(
                    "HTTP/2 needs the extra vespa: install scrubjay[vespa], or set vespa.http2 to "
                    "false."
                ) from None
        return self._client

    async def _pause(self, attempt: int, at_most_s: float, *, at_least_s: float = 0.0) -> None:
        longest = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(attempt, 10))
        wait_s = max(at_least_s, longest * random.uniform(0.5, 1.0))  # noqa: S311 (spreads retries)
        await self._sleep(max(0.0, min(wait_s, at_most_s)))

    def _slow(self, what: str, setting: str) -> Unavailable:
        return Unavailable(
            f"Vespa at {self.host} did not answer a {what} in time: check that it runs and is not "
            f"overloaded, or raise {setting}."
        )

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


class _Passing(Exception):
    """Trying again may help; `fault` is what to raise when it did not."""

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, overload: bool = False
    ) -> None:
        super().__init__(message)
        self.fault = Unavailable(message, retry_after_s=retry_after_s)
        self.overload = overload


def _is_missing(response: httpx2.Response) -> bool:
    """Whether a 404 speaks of a document, and not of an address nobody serves."""
    return "pathId" in _json(response)


def _json(response: httpx2.Response) -> dict[str, Any]:
    try:
        return _object(response.json())
    except ValueError:
        return {}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
