"""One request to a service of others, of any method, guarded as `ssrf.py` guards connections.

A request goes only to hosts that the caller allows, and so does each redirect of a GET. What came is
bounded in size and time. The caller learns whether a request that failed may have been carried out.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import anyio
import httpx2

from engine.errors import EngineError, InvalidInput, Unavailable
from engine.net.fetching import USER_AGENT, check_url
from engine.net.ssrf import GuardedTransport

MAX_BYTES = 1_000_000
TIMEOUT_S = 30.0
REDIRECTS_MAX = 5
SAFE = frozenset({"GET", "HEAD"})

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.UnsupportedProtocol,
)


class NoResponse(Exception):
    """A request left and its response did not come; `str()` of it can be shown to people."""


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """What to send. `headers_for` makes the headers for a host: a secret may go to some only."""

    method: str
    url: str
    hosts: Collection[str]  # names, or patterns such as *.example.com
    headers_for: Callable[[str], Mapping[str, str]]
    content: bytes | None = None
    max_bytes: int = MAX_BYTES
    timeout_s: float = TIMEOUT_S


@dataclass(frozen=True, slots=True)
class ServiceResponse:
    """What came back. Headers are in small letters; `truncated` where the body was longer."""

    status: int
    headers: Mapping[str, str]
    data: bytes
    truncated: bool

    @property
    def text(self) -> str:
        """The body as text, by the charset it names or UTF-8."""
        charset = self.headers.get("content-type", "").partition("charset=")[2].split(";")[0]
        try:
            return self.data.decode(charset.strip(" \"'") or "utf-8", errors="replace")
        except LookupError:
            return self.data.decode("utf-8", errors="replace")

    def json(self) -> Any:  # noqa: ANN401 (any JSON)
        """The body as JSON; None where it is none, or was cut."""
        if self.truncated:
            return None
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError):
            return None


async def send_request(request: ServiceRequest, *, allow_private: bool = False) -> ServiceResponse:
    """The response, of any status; a GET or HEAD follows redirects within its hosts and scheme.

    `InvalidInput` for a URL that may not be asked, `Unavailable` where nothing was sent,
    `NoResponse` where something was.
    """
    url = request.url
    async with httpx2.AsyncClient(
        transport=GuardedTransport(allow_private=allow_private),
        follow_redirects=False,
        timeout=httpx2.Timeout(request.timeout_s),
        headers={"User-Agent": USER_AGENT},
    ) as client:
        for _ in range(REDIRECTS_MAX + 1):
            url = allowed_url(url, request.hosts)
            response = await _send(client, request, url)
            location = response.headers.get("location", "")
            follows = request.method in SAFE and response.status in _REDIRECTS and location
            if not follows:
                return response
            to = urljoin(url, location)
            if urlsplit(to).scheme != urlsplit(url).scheme:
                raise InvalidInput(
                    f"{urlsplit(url).hostname} redirects to another scheme, which is not followed:"
                    " give the URL it redirects to.",
                    field="url",
                )
            url = to
    raise InvalidInput(f"{urlsplit(url).hostname} redirects too often.", field="url")


def allowed_url(url: str, hosts: Collection[str]) -> str:
    """The URL without its fragment, where its host is one of `hosts`; else `InvalidInput`."""
    checked = check_url(url)
    host = (urlsplit(checked).hostname or "").lower()
    if not any(fnmatch.fnmatchcase(host, pattern.lower()) for pattern in hosts):
        raise InvalidInput(
            f"{host} is none of the hosts that may be asked ({', '.join(sorted(hosts))}).",
            field="url",
        )
    return checked


async def _send(client: httpx2.AsyncClient, request: ServiceRequest, url: str) -> ServiceResponse:
    host = urlsplit(url).hostname or ""
    built = client.build_request(
        request.method,
        url,
        headers=dict(request.headers_for(host)),
        content=request.content,
    )
    try:
        with anyio.fail_after(request.timeout_s):
            response = await client.send(built, stream=True)
            try:
                return await _read(response, request.max_bytes)
            finally:
                await response.aclose()
    except EngineError:
        raise
    except _NOT_SENT:
        raise Unavailable(f"{host} can't be reached: try again, or check its address.") from None
    except TimeoutError:
        raise NoResponse(f"{host} did not respond within {request.timeout_s:g} s") from None
    except httpx2.HTTPError:
        raise NoResponse(f"{host} ended the connection before it had responded") from None


async def _read(response: httpx2.Response, max_bytes: int) -> ServiceResponse:
    pieces: list[bytes] = []
    size = 0
    async for piece in response.aiter_bytes(64 * 1024):
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            break
    headers = {name.lower(): value for name, value in response.headers.items()}
    data = b"".join(pieces)
    return ServiceResponse(response.status_code, headers, data[:max_bytes], size > max_bytes)
