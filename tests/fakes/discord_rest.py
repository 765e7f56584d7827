"""The REST interface of the fake Discord: routes, authorisation, rate limits and faults.

Every answer goes through the world's own permissions. A test makes Discord fail with `faults`, in
the order of calls, or with `fail`, by route. Interactions and their webhooks are in
`discord_interactions.py`.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.discord_checks import Refused
from tests.fakes.discord_world import Json, World

ROUTE_WINDOW_S = 1.0


@dataclass(frozen=True)
class Fault:
    """How a call fails. A 429 without `via` is Cloudflare's; `code` is Discord's own."""

    status: int = 0
    retry_after_s: float = 0.0
    code: int = 0
    via: bool = True
    is_global: bool = False
    delay_s: float = 0.0  # before it fails or, without a status, before it is answered
    drop: bool = False  # the connection breaks instead of an answer


@dataclass
class Call:
    """A request as it came: what tests look at afterwards."""

    method: str
    path: str
    query: Json
    body: Any = None
    files: dict[str, bytes] = field(default_factory=dict)
    authorised: bool = False
    status: int = 0


Handler = Callable[..., Any]


@dataclass(frozen=True)
class Route:
    """A method and a template of a path; `{name}` stands for one part of it."""

    method: str
    template: str
    handler: Handler
    open: bool = False  # a webhook: the token is in the path

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The parts of a path, or None."""
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.template)
        found = re.fullmatch(pattern, path) if method == self.method else None
        return None if found is None else found.groupdict()


class Rest:
    """See the module. `add` takes routes and what answers them."""

    def __init__(self, world: World, token: str) -> None:
        self.world = world
        self.token = token
        self.calls: list[Call] = []
        self.faults: deque[Fault | None] = deque()
        self.limits: dict[str, tuple[int, float]] = {}  # "POST /channels/{channel}/messages"
        self.per_s = 0  # calls of everything together; 0: without a limit
        self.refused_calls = 0  # 401, 403 and 429: what Discord counts against an address
        self._routes: list[Route] = []
        self._failing: list[tuple[str, re.Pattern[str], Fault, int]] = []
        self._spent: dict[str, tuple[float, int]] = {}

    def add(self, method: str, template: str, handler: Handler, *, is_open: bool = False) -> None:
        """Answer a route. A handler takes the call and the parts of the path."""
        self._routes.append(Route(method, template, handler, is_open))

    def fail(self, method: str, path: str, fault: Fault, *, times: int = 1) -> None:
        """Let calls of a route fail; `*` in the path stands for anything."""
        pattern = re.compile(re.escape(path).replace(r"\*", ".*"))
        self._failing.append((method, pattern, fault, times))

    def called(self, method: str, path: str) -> list[Call]:
        """The calls of a route so far."""
        pattern = re.compile(re.escape(path).replace(r"\*", ".*"))
        return [
            call for call in self.calls if call.method == method and pattern.fullmatch(call.path)
        ]

    @property
    def counts(self) -> Counter[str]:
        """How often each method and path was called."""
        return Counter(f"{call.method} {call.path}" for call in self.calls)

    # Answering

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any call of the interface."""
        call = await _read(request)
        call.authorised = request.headers.get("Authorization") == f"Bot {self.token}"
        self.calls.append(call)
        answer = await self._answer(call, request)
        call.status = answer.status
        self.refused_calls += answer.status in {401, 403, 429}
        return answer

    async def _answer(self, call: Call, request: web.Request) -> web.Response:
        fault = self._fault(call)
        if fault is not None:
            await asyncio.sleep(fault.delay_s)
            if fault.drop:
                assert request.transport is not None
                request.transport.abort()
            if fault.status:
                return _failed(fault)
        for route in self._routes:
            parts = route.match(call.method, call.path)
            if parts is not None:
                return await self._run(route, call, parts)
        return as_json({"message": f"not faked: {call.method} {call.path}", "code": 0}, 404)

    async def _run(self, route: Route, call: Call, parts: dict[str, str]) -> web.Response:
        if not route.open and not call.authorised:
            return as_json({"message": "401: Unauthorized", "code": 0}, 401)
        headers, limited = self._spend(route, parts)
        if limited is not None:
            return limited
        try:
            answer = route.handler(call, **parts)
            if asyncio.iscoroutine(answer):
                answer = await answer
        except Refused as refused:
            return as_json(refused.body, refused.status, headers)
        if answer is None:
            return web.Response(status=204, headers=headers)
        return as_json(answer, headers=headers)

    def _fault(self, call: Call) -> Fault | None:
        for at, (method, pattern, fault, times) in enumerate(self._failing):
            if method == call.method and pattern.fullmatch(call.path):
                self._failing[at] = (method, pattern, fault, times - 1)
                if times <= 1:
                    self._failing.pop(at)
                return fault
        return self.faults.popleft() if self.faults else None

    def _spend(
        self, route: Route, parts: dict[str, str]
    ) -> tuple[dict[str, str], web.Response | None]:
        """The headers of a route's bucket, and a refusal where it is empty."""
        if self.per_s:
            left, reset_s = self._take("global", self.per_s, 1.0)
            if left < 0:
                fault = Fault(429, retry_after_s=reset_s, is_global=True)
                return {}, _failed(fault, {"X-RateLimit-Scope": "global"})
        name = f"{route.method} {route.template}"
        limit, window_s = self.limits.get(name, (10_000, ROUTE_WINDOW_S))
        major = next((parts[item] for item in ("channel", "guild", "token") if item in parts), "")
        left, reset_s = self._take(f"{name}:{major}", limit, window_s)
        headers = {
            "X-RateLimit-Bucket": f"{abs(hash(name)):x}",
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, left)),
            "X-RateLimit-Reset-After": f"{reset_s:.3f}",
            "X-RateLimit-Reset": f"{time.time() + reset_s:.3f}",
        }
        if left >= 0:
            return headers, None
        scope = {"X-RateLimit-Scope": "user"}
        return headers, _failed(Fault(429, retry_after_s=reset_s), headers | scope)

    def _take(self, key: str, limit: int, window_s: float) -> tuple[int, float]:
        """What is left of a window after one more call, less than nothing if it is too many."""
        now = time.monotonic()
        ends_at, spent = self._spent.get(key, (0.0, 0))
        if ends_at <= now:
            ends_at, spent = now + window_s, 0
        if spent < limit:
            self._spent[key] = (ends_at, spent + 1)
            return limit - spent - 1, ends_at - now
        return -1, ends_at - now


def as_json(data: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON under exactly `application/json`: with a charset discord.py takes it for text."""
    head = {**(headers or {}), "Content-Type": "application/json"}
    return web.Response(body=json.dumps(data).encode(), status=status, headers=head)


def _failed(fault: Fault, headers: dict[str, str] | None = None) -> web.Response:
    if fault.status != 429:
        if fault.status >= 500:
            return web.Response(status=fault.status, text="upstream SECRET", headers=headers)
        return as_json({"message": "SECRET", "code": fault.code}, fault.status, headers)
    head = {**(headers or {}), "Retry-After": f"{fault.retry_after_s:g}"}
    if not fault.via:  # Cloudflare: a page instead of an answer
        return web.Response(status=429, text="error code: 1015", headers=head)
    head["Via"] = "1.1 google"
    if fault.is_global:
        head["X-RateLimit-Global"] = "true"
    body = {
        "message": "You are being rate limited.",
        "retry_after": fault.retry_after_s,
        "global": fault.is_global,
        "code": fault.code,
    }
    return as_json(body, 429, head)


async def _read(request: web.Request) -> Call:
    call = Call(request.method, "/" + request.match_info["path"], dict(request.query))
    if request.content_type == "application/json":
        text = await request.text()
        call.body = json.loads(text) if text else None
    elif request.content_type == "multipart/form-data":
        async for part in await request.multipart():
            name = getattr(part, "name", "") or ""
            data = await part.read(decode=False)  # type: ignore[union-attr]
            if name == "payload_json":
                call.body = json.loads(data)
            else:
                call.files[str(getattr(part, "filename", "") or name)] = bytes(data)
    return call
