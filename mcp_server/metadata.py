"""Metadata for OAuth clients: the protected resource (RFC 9728) and the challenges.

Every URL comes from `server.public_url`, never from the request. Without it,
or without a provider, there is no metadata: a client then knows to use an API token.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from engine.domain import Scope

if TYPE_CHECKING:
    from engine.settings import Settings

WELL_KNOWN = "/.well-known/oauth-protected-resource"
ENDPOINTS = ("/mcp", "/mcp/chatgpt")
ASKED_FOR = (Scope.KB_READ, Scope.KB_ASK)  # what a client that has no token should ask for
REALM = 'Bearer realm="scrubjay"'


def paths() -> list[str]:
    """Where the metadata is found: at the root, and suffixed with each endpoint's path."""
    return [WELL_KNOWN, *(WELL_KNOWN + endpoint for endpoint in ENDPOINTS)]


def document(settings: Settings, path: str) -> dict[str, object] | None:
    """The metadata at `path`; None if there is none."""
    if path not in paths() or not settings.server.public_url or not settings.mcp.oauth_issuer:
        return None
    endpoint = path.removeprefix(WELL_KNOWN) or ENDPOINTS[0]
    return {
        "resource": settings.server.public_url + endpoint,
        "authorization_servers": [settings.mcp.oauth_issuer],
        "scopes_supported": [str(scope) for scope in offered_scopes(settings)],
        "bearer_methods_supported": ["header"],
        "resource_name": "Scrubjay",
    }


def offered_scopes(settings: Settings) -> list[Scope]:
    """The scopes a token can make use of here."""
    write = [Scope.KB_WRITE, Scope.KB_ADMIN] if settings.mcp.write_tools else []
    numbers = [Scope.KB_MANAGE] if settings.mcp.statistics else []
    return [*ASKED_FOR, *write, *numbers]


def challenge(
    settings: Settings, endpoint: str, *, error: str = "", scopes: Collection[str] = ASKED_FOR
) -> str:
    """The value of `WWW-Authenticate`: the fault, the metadata's URL, the scopes to ask for."""
    said = [REALM]
    if error:
        said.append(f'error="{error}"')
    if document(settings, WELL_KNOWN + endpoint) is not None:
        url = settings.server.public_url + WELL_KNOWN + endpoint
        said.append(f'resource_metadata="{url}"')
    said.append(f'scope="{" ".join(scopes)}"')
    return ", ".join(said)
