"""Fetches what a URL names, and nothing it should not reach.

A URL comes from a user, its redirects from a stranger, and names may resolve differently each
time. So the address is looked up here, checked, and connected to as a number; the name only goes
into the Host header and the TLS handshake. Proxies and credentials of the environment are ignored.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

import anyio
import httpx2

from engine import clock
from engine.errors import DocumentError, InvalidInput
from engine.net.http import parse_retry_after
from engine.net.login_pages import asks_for_login

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

USER_AGENT = "Scrubjay"
RETRY_AFTER_MAX_S = 86_400.0
URL_MAX = 2000  # characters, as the document table keeps them

# Where an IPv6 address carries an IPv4 one, from which bit of the 128 on: RFC 6052 and RFC 8215
# (NAT64), RFC 3056 (6to4), RFC 4291 (IPv4-compatible). Mapped ones Python unwraps itself.
_CARRIERS = (
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("64:ff9b:1::/48"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
    (ipaddress.IPv6Network("::/96"), 0),
)
# Private to an organisation or a machine: refused unless allowed.
_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared between carriers and customers, RFC 6598
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
    )
)
# Nothing to read lives here, or a cloud's metadata does: refused always.
_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.100.100.200/32",  # Alibaba's metadata
        "168.63.129.16/32",  # Azure's host agent
        "169.254.0.0/16",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "100::/64",
        "2001::/23",  # Teredo, ORCHID and other protocols
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fd00:ec2::254/128",  # Amazon's metadata
        "fd20:ce::254/128",  # Google's metadata
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_RETRIED = frozenset((408, 425, 429, 500, 502, 503, 504))


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came, from `url` after all redirects. Empty texts where the server said nothing."""

    data: bytes
    url: str
    mime: str
    filename: str
    etag: str
    last_modified: str


async def fetch(
    url: str,
    *,
    allow_private: bool = False,
    max_bytes: int = 100 * 1024 * 1024,
    timeout_s: float = 60.0,
    max_redirects: int = 5,
    resolve: Resolver | None = None,
    bearer: str = "",
) -> Fetched:
    """The bytes behind `url`; at most `max_bytes`, in at most `timeout_s` seconds altogether.

    `bearer` is shown to the host of `url` and to no other that it redirects to.

    Raises `InvalidInput` on a URL that may not be fetched, and `DocumentError` on one that can't,
    with `retry` set where another time may help.
    """
    try:
        with anyio.fail_after(timeout_s):
            async with httpx2.AsyncClient(
                trust_env=False,
                follow_redirects=False,
                timeout=httpx2.Timeout(timeout_s),
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            ) as client:
                fetcher = _Fetcher(client, resolve or resolve_host, allow_private, max_bytes)
                fetcher.bearer, fetcher.trusted = bearer, _origin(url)
                return await fetcher.follow(url, max_redirects)
    except TimeoutError:
        raise DocumentError(
            f"{_host(url)} did not respond within {timeout_s:g} s: check the URL, or try again",
            code="fetch_timeout",
            retry=True,
        ) from None


def check_url(url: str) -> str:
    """`url` without its fragment; `InvalidInput` where its form alone forbids fetching it."""
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"{url[:200]!r} is not a URL: {error}", field="url") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise InvalidInput(
            f"{url[:200]!r} can't be fetched: give a URL that starts with http:// or https://",
            field="url",
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(
            f"the URL on {host} contains a user name or password: leave them out, they would be "
            "stored and shown",
            field="url",
        )
    if len(url) > URL_MAX or re.search(r"[\x00-\x20\x7f\\]", url):
        raise InvalidInput(
            f"the URL on {host} is longer than {URL_MAX} characters or has spaces, backslashes or"
            " control characters: encode them",
            field="url",
        )
    return parts._replace(fragment="").geturl()


def canonical_url(url: str) -> str:
    """`url` as the address of one page: no fragment, no default port, host in small letters.

    What is no URL is left as it is.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return url
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc:
        return url
    host = f"[{host}]" if ":" in host else host
    if port is not None and port != (443 if parts.scheme == "https" else 80):
        host = f"{host}:{port}"
    return parts._replace(netloc=host, path=parts.path or "/", fragment="").geturl()


def is_allowed(address: str, *, allow_private: bool = False) -> bool:
    """Whether `address`, a number, may be connected to; what it carries within counts as well."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    for item in _unwrapped(parsed):
        if any(item in network for network in _NEVER):
            return False
        if not allow_private and any(item in network for network in _PRIVATE):
            return False
    return True


def _unwrapped(address: Address) -> list[Address]:
    """The address itself, unless it only carries another, which then counts in its place."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if int(address) <= 1:
        return [address]  # unspecified and loopback, not IPv4-compatible
    for network, shift in _CARRIERS:
        if address in network:
            return [ipaddress.IPv4Address(int(address) >> shift & 0xFFFFFFFF)]
    return [address]


class _Fetcher:
    def __init__(
        self, client: httpx2.AsyncClient, resolve: Resolver, allow_private: bool, max_bytes: int
    ) -> None:
        self._client = client
        self._resolve = resolve
        self._allow_private = allow_private
        self._max_bytes = max_bytes
        self.bearer = ""
        self.trusted = ""

    async def follow(self, url: str, redirects: int) -> Fetched:
        """Fetch, and go where redirects lead, each checked like the first."""
        asked = url
        for _ in range(redirects + 1):
            url = check_url(url)
            outcome = await self._get(url)
            if isinstance(outcome, Fetched):
                if asks_for_login(asked, url, outcome.mime, outcome.data):
                    raise DocumentError(
                        f"{_host(asked)} asks for a login: {_advice(401)}", code="login"
                    )
                return outcome
            url = urljoin(url, outcome)
        raise DocumentError(
            f"{_host(url)} redirects more than {redirects} times: give the URL of the page itself",
            code="fetch",
        )

    async def _get(self, url: str) -> Fetched | str:
        """The content, or where a redirect leads."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        addresses = await addresses_of(
            host, port, allow_private=self._allow_private, resolve=self._resolve
        )
        shown = self.bearer if _origin(url) == self.trusted else ""
        fault: Exception | None = None
        for address in addresses:
            target = httpx2.URL(url).copy_with(host=address)
            request = self._client.build_request(
                "GET",
                target,
                headers={
                    "Host": httpx2.URL(url).netloc.decode("ascii"),
                    **({"Authorization": f"Bearer {shown}"} if shown else {}),
                },
                extensions={
                    "sni_hostname": httpx2.URL(url).raw_host.decode("ascii"),
                    "timeout": self._client.timeout.as_dict(),
                },
            )
            try:
                response = await self._client.send(request, stream=True)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                fault = error  # the next address may answer
                continue
            except httpx2.HTTPError as error:
                raise _unreachable(host) from error
            try:
                return await self._read(response, url, host)
            except (httpx2.RemoteProtocolError, httpx2.ReadError) as error:
                raise DocumentError(
                    f"what {host} sent was cut short: try again, or save the page as a file and"
                    " add that",
                    code="fetch",
                    retry=True,
                ) from error
            except httpx2.HTTPError as error:
                raise _unreachable(host) from error
            finally:
                await response.aclose()
        if fault is not None and "CERTIFICATE_VERIFY_FAILED" in str(fault):
            raise DocumentError(
                f"{host} has a certificate that this machine does not trust: check the URL, or "
                "save the page as a file and add that",
                code="fetch",
            ) from fault
        raise _unreachable(host) from fault

    async def _read(self, response: httpx2.Response, url: str, host: str) -> Fetched | str:
        status, headers = response.status_code, response.headers
        if status in _REDIRECTS and (location := headers.get("location")):
            return str(location)
        if status != 200:
            raise DocumentError(
                f"{host} answered {status}: {_advice(status)}",
                code="fetch",
                retry=status in _RETRIED,
                retry_after_s=_asked_to_wait(headers.get("retry-after")),
            )
        length = headers.get("content-length", "")
        pieces: list[bytes] = []
        size = int(length) if length.isdecimal() else 0
        if size <= self._max_bytes:
            size = 0
            async for piece in response.aiter_bytes(64 * 1024):
                size += len(piece)
                if size > self._max_bytes:
                    break
                pieces.append(piece)
        if size > self._max_bytes:
            raise DocumentError(
                f"the file on {host} is larger than {self._max_bytes:,} bytes: add a smaller one,"
                " or raise the limit in the settings",
                code="too_large",
            )
        mime = headers.get("content-type", "").partition(";")[0].strip().lower()
        return Fetched(
            data=b"".join(pieces),
            url=url,
            mime=mime,
            filename=_filename(url, headers.get("content-disposition", ""), mime),
            etag=headers.get("etag", "")[:500],
            last_modified=headers.get("last-modified", "")[:100],
        )


async def addresses_of(
    host: str, port: int, *, allow_private: bool = False, resolve: Resolver | None = None
) -> list[str]:
    """The addresses of a host, all of which may be connected to.

    Raises `DocumentError` for a host without any, `InvalidInput` for a private or reserved one.
    """
    try:
        found = list(dict.fromkeys(await (resolve or resolve_host)(host, port)))
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise DocumentError(
            f"{host} has no address: check the URL's spelling and this machine's network",
            code="fetch",
            retry=True,
        )
    if not all(is_allowed(item, allow_private=allow_private) for item in found):
        raise InvalidInput(
            f"{host} is a private or reserved address, which is not fetched; an operator can"
            " allow private ones with processing.allow_private_urls",
            field="url",
        )
    return found


async def resolve_host(host: str, port: int) -> list[str]:
    """The addresses of a host, as numbers."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(where[0]) for *_, where in found]


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "the URL"
    except ValueError:
        return "the URL"


def _unreachable(host: str) -> DocumentError:
    return DocumentError(
        f"{host} could not be reached: check the URL and this machine's network, or try again",
        code="fetch",
        retry=True,
    )


def _asked_to_wait(value: str | None) -> float | None:
    """Seconds that a server asks to wait, within a day: it may not hold a document for ever."""
    asked = parse_retry_after(value, at=clock.now())
    return None if asked is None else min(asked, RETRY_AFTER_MAX_S)


def _advice(status: int) -> str:
    if status in {401, 403}:
        return "the page requires a login or blocks programs; save it as a file and add that"
    if status in {404, 410}:
        return "the page does not exist; check the URL"
    if status in _RETRIED:
        return "try again later"
    return "open the URL in a browser to see why"


_SUFFIXES = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/markdown": ".md",
    "text/plain": ".txt",
    "application/pdf": ".pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
}


def _filename(url: str, disposition: str, mime: str) -> str:
    """A bare file name: what the server calls it, else the end of the path; ending by type."""
    message = Message()
    if disposition:
        message["Content-Disposition"] = disposition
    name = message.get_filename() or unquote(PurePosixPath(urlsplit(url).path).name)
    name = re.split(r"[/\\]", re.sub(r"[\x00-\x1f\x7f]", "", name))[-1].strip(" .")[-200:]
    name = name or "index"
    return name if PurePosixPath(name).suffix else name + _SUFFIXES.get(mime, "")
