"""`/scim/v2`: identity providers create, change and deactivate people. RFC 7643 and 7644.

Who asks is the bearer of a SCIM client's secret, and that alone says of which tenant. The library
that speaks the protocol is an extra (`scrubjay[scim]`) that takes seconds to load: that happens in a
thread at the first request with a right secret.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from engine.engine import Engine
from engine.errors import EngineError, Forbidden, RateLimited, Unauthenticated, Unavailable
from engine.telemetry import redact

log = logging.getLogger(__name__)

SEARCHES = "/.search"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
BODY_MAX_BYTES = 1024 * 1024


@dataclass(slots=True)
class ScimDoor:
    """The ASGI application below `/scim`."""

    engine: Engine
    public_url: str
    _parts: list[Any] = field(default_factory=list)  # the library's, once it is loaded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        try:
            principal = await self._client(Headers(scope=scope))
            await self.engine.quotas.take_request(principal)
            parts = self._parts or await anyio.to_thread.run_sync(_load)
        except EngineError as error:
            await _refusal(error)(scope, receive, send)
            return
        self._parts = parts
        application, service, provider, models, storage = parts
        reads = scope["method"] in {"GET", "HEAD"} or scope["path"].endswith(SEARCHES)
        held = storage(self.engine.db, principal, models, reads=reads)
        if self.public_url:  # how a proxy is reached is not how this server is
            scope = {**scope, "scheme": urlsplit(self.public_url).scheme}
        await application(held, provider, service)(scope, receive, send)

    async def _client(self, headers: Headers) -> Any:  # noqa: ANN401 (a principal)
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Unauthenticated("Send the secret of a SCIM client as `Authorization: Bearer …`.")
        return await self.engine.people.scim.authenticate(secret.strip())


def mount(engine: Engine, public_url: str) -> Mount:
    """The route of the door."""
    return Mount("/scim", app=ScimDoor(engine, public_url), name="scim")


def _load() -> list[Any]:
    """Load the library and describe the service: users with the enterprise extension, and groups."""
    try:
        from scim2_models import (  # noqa: PLC0415 (an optional extra, slow to import)
            AuthenticationScheme,
            ChangePassword,
            EnterpriseUser,
            ETag,
            Filter,
            Group,
            Patch,
            ResourceType,
            ScimPolicy,
            ScimProvider,
            ServiceProviderConfig,
            Sort,
            User,
        )
        from scim2_server.applications.asgi import ASGIApplication  # noqa: PLC0415 (the same)
        from scim2_server.service import ScimService  # noqa: PLC0415

        from engine.people.scim_storage import ScimStorage  # noqa: PLC0415
    except ImportError:
        raise Unavailable(
            "SCIM needs the scim extra, which is not installed: install scrubjay[scim]."
        ) from None
    provider = ScimProvider(
        models=[User, EnterpriseUser, Group],
        resource_types=[
            ResourceType.from_resource(User[EnterpriseUser]),
            ResourceType.from_resource(Group),
        ],
        config=ServiceProviderConfig(
            patch=Patch(supported=True),
            filter=Filter(supported=True, max_results=200),
            sort=Sort(supported=True),
            etag=ETag(supported=True),
            change_password=ChangePassword(supported=False),
            authentication_schemes=[
                AuthenticationScheme(
                    type=AuthenticationScheme.Type.oauthbearertoken,
                    name="Bearer token",
                    description="The secret of a SCIM client",
                )
            ],
        ),
        # As Entra and Okta send it: members to remove as a list of values, a work address by a
        # filter that matches none yet, and attributes of their own.
        policy=ScimPolicy(
            unknown=ScimPolicy.Unknown.ignore,
            remove_value_as_filter=ScimPolicy.RemoveValue.apply,
            unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
        ),
    )
    models = {"User": User[EnterpriseUser], "Group": Group}
    return [ASGIApplication, ScimService(provider), provider, models, ScimStorage]


def _refusal(error: EngineError) -> Response:
    """An error before the library has the request, in SCIM's own form (RFC 7644, 3.12)."""
    status = 503
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        status, headers = 401, {"WWW-Authenticate": 'Bearer realm="scrubjay"'}
    elif isinstance(error, Forbidden):
        status = 403
    elif isinstance(error, RateLimited):
        status, headers = 429, {"Retry-After": str(round(error.retry_after_s))}
    body = {"schemas": [ERROR], "status": str(status), "detail": redact(str(error))}
    return Response(
        json.dumps(body), status_code=status, headers=headers, media_type="application/scim+json"
    )
