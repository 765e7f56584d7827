"""Calls to services of others that answer in JSON, guarded as `fetching.py` guards pages.

The address is looked up here, checked and connected to as a number, and no redirect is followed: a
secret in a call goes to the host that was meant. What came is bounded in size and time.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2

from engine.errors import InvalidInput, Unavailable
from engine.net.fetching import USER_AGENT, Resolver, check_url, is_allowed, resolve_host

log = logging.getLogger(__name__)

BODY_MAX = 1_000_000  # bytes
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class JsonReply:
    """What a service answered: its status, and the JSON it sent, or None where it sent none."""

    status: int
    body: Any


async def call(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
    allow_private: bool = False,
    timeout_s: float = TIMEOUT_S,
    resolve: Resolver | None = None,
) -> JsonReply:
    """The answer to a GET, or with `form` to a POST.

    `InvalidInput` for a URL that may not be called, `Unavailable` where nobody answers.
    """
    url = check_url(url)
    host = urlsplit(url).hostname or ""
    try:
        with anyio.fail_after(timeout_s):
            addresses = await _addresses(url, resolve or resolve_host, allow_private=allow_private)
            async with httpx2.AsyncClient(
                trust_env=False,
                follow_redirects=False,
                timeout=httpx2.Timeout(timeout_s),
                headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            ) as client:
                for address in addresses:
                    try:
                        return await _send(client, url, address, form, headers, auth)
                    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                        log.info("%s did not answer", host, extra={"reason": type(error).__name__})
    except (TimeoutError, httpx2.HTTPError) as error:
        log.info("a call to %s failed", host, extra={"reason": type(error).__name__})
    raise Unavailable(f"{host} can't be reached: try again, or check its address.", retry_after_s=5)


async def _send(
    client: httpx2.AsyncClient,
    url: str,
    address: str,
    form: Mapping[str, str] | None,
    headers: Mapping[str, str] | None,
    auth: tuple[str, str] | None,
) -> JsonReply:
    named = httpx2.URL(url)
    request = client.build_request(
        "GET" if form is None else "POST",
        named.copy_with(host=address),
        data=dict(form) if form is not None else None,
        headers={"Host": named.netloc.decode("ascii")} | dict(headers or {}),
        extensions={
            "sni_hostname": named.raw_host.decode("ascii"),
            "timeout": client.timeout.as_dict(),
        },
    )
    response = await client.send(request, stream=True, auth=auth)
    try:
        pieces, size = [], 0
        async for piece in response.aiter_bytes(64 * 1024):
            size += len(piece)
            if size > BODY_MAX:
                return JsonReply(response.status_code, None)
            pieces.append(piece)
    finally:
        await response.aclose()
    try:
        return JsonReply(response.status_code, json.loads(b"".join(pieces)))
    except (ValueError, RecursionError):
        return JsonReply(response.status_code, None)


async def _addresses(url: str, resolve: Resolver, *, allow_private: bool) -> list[str]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = list(dict.fromkeys(await resolve(host, port)))
    except (OSError, UnicodeError):
        found = []
    if not all(is_allowed(item, allow_private=allow_private) for item in found):
        raise InvalidInput(
            f"{host} is a private or reserved address, which is not called.", field="url"
        )
    if not found:
        raise Unavailable(f"{host} has no address: check its spelling.", retry_after_s=5)
    return found
