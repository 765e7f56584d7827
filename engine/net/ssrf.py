"""An HTTP transport that reaches only what `fetching.is_allowed` lets it, for clients of libraries.

As in `fetching.py` the address is looked up here, checked, and connected to as a number, so that a
name can't lead elsewhere between the check and the connection. Redirects are the client's matter:
leave them off.
"""

from __future__ import annotations

import socket

import anyio
import httpx2

from engine.errors import Unavailable
from engine.net.fetching import is_allowed


class GuardedTransport(httpx2.AsyncBaseTransport):
    """`httpx2`'s own transport behind the check."""

    def __init__(self, *, allow_private: bool = False) -> None:
        self._inner = httpx2.AsyncHTTPTransport(trust_env=False)
        self._allow_private = allow_private

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to a checked address."""
        host = request.url.host
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        try:
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise Unavailable(f"{host} has no address.") from None
        addresses = list(dict.fromkeys(str(where[0]) for *_, where in found))
        if not all(is_allowed(address, allow_private=self._allow_private) for address in addresses):
            raise Unavailable(
                f"{host} is a private or reserved address, which is not called; an operator can"
                " allow private ones with processing.allow_private_urls."
            )
        request.headers.setdefault("Host", request.url.netloc.decode("ascii"))
        request.extensions = request.extensions | {
            "sni_hostname": request.url.raw_host.decode("ascii")
        }
        request.url = request.url.copy_with(host=addresses[0])
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
