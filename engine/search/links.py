"""Links to passages: where a hit or a citation is opened by the person it was shown to.

The doors call this; `Engine.sign_link` and `Engine.open_link` hold the signature. A document that
came from the web keeps its own address, anything else gets a page of the viewer (`/v/`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from engine.errors import InvalidInput
from engine.secrets import Secrets
from engine.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses for one asker: `base` is how they reach the server, `sign` binds an id to them."""

    base: str
    sign: Callable[[str], str]

    def viewer(self, id: str) -> str:  # noqa: A002 (the field's word)
        """The viewer's page for an id, always."""
        return f"{self.base}/v/{self.sign(id)}"

    def url(self, document_url: str, id: str) -> str:  # noqa: A002
        """The document's own address where a browser can open it, else the viewer's."""
        return document_url if is_web_address(document_url) else self.viewer(id)


def address_of(server: ServerSettings, port: int | None = None) -> str:
    """How this machine reaches the server: `port` where it is not the configured one."""
    host = server.host.strip("[]")
    if host in {"0.0.0.0", "::"}:  # noqa: S104 (recognised, not bound)
        host = "localhost"
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{server.port if port is None else port}"


def is_web_address(url: str) -> bool:
    """Whether a browser may be sent there: http or https, with a host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def turn(secrets: Secrets, signed: str, id: str) -> str:  # noqa: A002
    """What opens another page for whom `signed` was made, once it has been opened itself.

    It is for use at once, not for handing out: it does not carry on the time of `signed`. Raises
    `Unauthenticated` where `signed` is not ours or its time is over.
    """
    who, colon, _ = secrets.verify("viewer-links", signed).rpartition(":")
    if not colon:
        raise InvalidInput("This link is not valid.", field="link")
    return secrets.sign("viewer-links", f"{who}:{id}")
