"""The dependencies of the routes: the engine, the settings and who asks.

Built once by `api.app.build_app` and found by `service_of(request)`; nothing here is global.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request

from api.answering import Answering
from api.auth import Addresses, Doorkeeper
from api.keyless import SameUser
from api.metrics import MetricsRegistry
from api.middleware import Drain
from api.probing import Probing
from api.rates import PATHS, RequestRates
from engine.domain import Answer, Answered, AnswerEvent, Principal
from engine.engine import Engine
from engine.errors import RateLimited, Unavailable
from engine.flow.graph import Graph
from engine.search.links import Links
from engine.settings import Settings

log = logging.getLogger(__name__)


class PipelineTools(Protocol):
    """What checks and draws pipelines: it knows the components that workers have. Blocking."""

    def load(self, dsl: str) -> Graph:
        """The graph of a pipeline that workers can run; `FlowError` has all faults."""

    def load_to_draw(self, dsl: str) -> Graph:
        """The same of one that may need a model there is not."""

    def describe(self) -> list[dict[str, Any]]:
        """Every component: what it reads and writes, and how it can be set."""


@dataclass(frozen=True, slots=True)
class Service:
    """The dependencies of the HTTP routes."""

    engine: Engine
    settings: Settings
    addresses: Addresses
    doorkeeper: Doorkeeper
    rates: RequestRates
    visitors: RequestRates  # of widgets, by address
    metrics: MetricsRegistry
    drain: Drain
    probing: Probing
    pipeline_tools: PipelineTools
    answering: Answering

    @classmethod
    def of(
        cls,
        engine: Engine,
        settings: Settings,
        pipeline_tools: PipelineTools,
        *,
        keyless: SameUser | None = None,
    ) -> Service:
        """The dependencies for an open engine; `keyless` as in `Doorkeeper`."""
        addresses = Addresses.of(settings.server)
        if settings.slack.signing_secret.get_secret_value():
            keyless = None  # a platform sends its events here, so a proxy forwards requests
        doorkeeper = Doorkeeper(engine, addresses, keyless=keyless)
        probing = Probing(engine.operations.health)
        is_shared = settings.jobs.broker != "memory"  # then limits are on its Redis
        rates = RequestRates(
            settings.server.requests_per_minute,
            settings.server.requests_burst,
            shared=engine.limits if is_shared else None,
        )
        visitors = RequestRates(
            settings.server.widget_questions_per_minute,
            settings.server.widget_questions_per_minute,
            shared=engine.limits if is_shared else None,
        )
        metrics, drain = MetricsRegistry(), Drain()
        return cls(
            engine,
            settings,
            addresses,
            doorkeeper,
            rates,
            visitors,
            metrics,
            drain,
            probing,
            pipeline_tools,
            answering=Answering(),
        )

    async def links(self, request: Request, principal: Principal) -> Links:
        """URLs of passages for the caller, with the host name they used.

        Addresses that ask who opens them. For who has no way to say so in a browser, links that
        live as long as their credential, and not for long.
        """
        base = base_url(self.settings, request)
        signs_in = principal.session_id is not None or self.doorkeeper.may_be_keyless
        if signs_in or await self.engine.people.can_sign_in(principal):
            return Links(base)
        return Links(base, lambda id_: self.engine.search.sign_link(principal, id_))

    @contextmanager
    def timed(self, verb: str) -> Iterator[None]:
        """Measure a verb of the engine."""
        started = time.perf_counter()
        try:
            yield
        finally:
            took_s = time.perf_counter() - started
            self.metrics.observe(f"scrubjay_{verb}_duration_seconds", took_s, door="http")
            self.metrics.observe("scrubjay_query_execution_time_seconds", took_s, kind=verb)


def base_url(settings: Settings, request: Request) -> str:
    """The base URL that the sender of this request used; `RequestGate` has checked its Host."""
    return settings.server.public_url or str(request.base_url).rstrip("/")


def service_of(request: Request) -> Service:
    """The dependencies of the application that serves this request."""
    found = request.app.state.service
    assert isinstance(found, Service)  # noqa: S101 (build_app sets it)
    return found


def is_answer(event: AnswerEvent) -> bool:
    """Whether it is the answer itself."""
    return isinstance(event, Answered)


async def last_answer(events: AsyncIterator[AnswerEvent]) -> Answer:
    """The answer that ends a stream of events; the stream is run to its end."""
    answer = None
    async for event in events:
        if isinstance(event, Answered):
            answer = event.answer
    if answer is None:
        raise RuntimeError("an answer ended without its last event")
    return answer


async def links_of(request: Request, principal: Principal) -> Links:
    """URLs of passages for who sent this request."""
    return await service_of(request).links(request, principal)


async def principal_of(request: Request) -> Principal:
    """Who sent this request; raises `Unauthenticated`, and `RateLimited` for REST above its rate."""
    service = service_of(request)
    principal = await service.doorkeeper.principal(request)
    if request.url.path.startswith(PATHS):
        taken = await service.rates.take(principal)
        request.state.response_headers = dict(service.rates.headers(taken))
        service.rates.require(taken)
        await take_quota(request, principal)
    return principal


async def take_quota(request: Request, principal: Principal) -> None:
    """Count the request on the quotas of its tenant, user and key; their policies become headers.

    `request.state.response_headers` says what the rate left.
    """
    headers = request.state.response_headers
    try:
        held = await service_of(request).engine.quotas.take_request(principal)
    except RateLimited as error:
        wait_s = math.ceil(error.retry_after_s)
        headers["RateLimit"] = f'"{error.policy}";r=0;t={wait_s}'
        raise
    except Unavailable as error:  # as with the rate: what can't be counted stops no answer
        log.warning("a quota was not counted", extra={"reason": str(error)})
        return
    policies = [f'"{name}";{policy}' for name, policy in held.items()]
    headers["RateLimit-Policy"] = ", ".join([headers["RateLimit-Policy"], *policies])
