"""How connectors speak HTTP: guarded, paced, and obedient when a source asks to wait.

Addresses are looked up, checked and connected to as numbers, as `engine/net/fetching.py` does; a
request goes only to the hosts that the settings of its source name, and so does its credential,
whatever a link or a redirect says. Retry-After wins over everything; no remaining calls mean
waiting until they are given again, for every step of the source.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import anyio
import httpx2

from engine import clock
from engine.errors import EngineError, InvalidInput, Unavailable
from engine.limits import Limits
from engine.net.fetching import (
    USER_AGENT,
    Resolver,
    addresses_of,
    check_url,
)
from engine.net.http import parse_retry_after
from engine.sources.contract import Secret, SourceRefused, SourceWait

TIMEOUT_S = 60.0
WAIT_MAX_S = 6 * 3_600.0
IN_PLACE_S = 5.0  # a wait that a step does itself; a longer one is the job's
RETRIED = frozenset((408, 425, 500, 502, 503, 504))
REDIRECTS = frozenset((301, 302, 303, 307, 308))
JSON_MAX_BYTES = 50 * 2**20

Sign = Callable[[Mapping[str, str]], Mapping[str, str]]  # a secret's values: headers


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """What a server answered: `url` is where, after redirects. Headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    data: bytes
    url: str

    @property
    def mime(self) -> str:
        """The media type, in small letters, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:  # noqa: ANN401 (any JSON)
        """The body as JSON; a page where JSON is due is a login, and refused."""
        host = urlsplit(self.url).hostname
        if self.mime in {"text/html", "application/xhtml+xml"}:
            raise SourceRefused(
                f"{host} answered with a page instead of data, as a login does: check the address"
                " and the credential."
            )
        try:
            return json.loads(self.data)
        except ValueError:
            raise Unavailable(f"What {host} sent was cut short or is not JSON.") from None


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(repr=False)
    max_bytes: int
    save_to: Path | None
    is_signed: bool


class ConnectorHttp:
    """A client for one source; from `open_http`."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        *,
        key: str,
        limits: Limits | None,
        rate_per_s: float,
        allow_private: bool,
        resolve: Resolver | None,
        secret: Secret | None,
    ) -> None:
        self._client = client
        self._key = key
        self._limits = limits
        self._rate = rate_per_s
        self._allow_private = allow_private
        self._resolve = resolve
        self._secret = secret

    async def request(
        self,
        method: str,
        url: str,
        *,
        hosts: Sequence[str],
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: object = None,
        form: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        save_to: Path | None = None,
        sign: Sign | None = None,
        max_bytes: int = JSON_MAX_BYTES,
        redirects: int = 5,
    ) -> SourceAnswer:
        """The answer, of any status that is neither "wait" nor "try again" nor "sign in".

        `hosts` are those that may be asked, with their port where it is not the usual one. `sign`
        makes headers of the credential, for these hosts only and never in the clear. The body of a
        200 goes to `save_to` where that is given, else into memory. Raises `SourceWait`, `SourceRefused`
        for a foreign host or a refused credential, and `Unavailable`.
        """
        if params:
            url = str(httpx2.URL(url).copy_merge_params(dict(params)))
        await self._pace()
        content = raw if body is None else json.dumps(body).encode()
        sent = dict(headers or {})
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        if form is not None:
            content = str(httpx2.QueryParams(dict(form))).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        tried_again = False
        while True:
            call = _Call(
                method,
                {**sent, **await self._signed(sign, again=tried_again)},
                content,
                max_bytes,
                save_to,
                is_signed=sign is not None and self._secret is not None,
            )
            answer = await self._follow(url, hosts, call, redirects)
            if answer.status == 401 and sign is not None and not tried_again:
                tried_again = True
                continue
            await self._obey(answer)
            return answer

    async def get(self, url: str, **more: Any) -> SourceAnswer:  # noqa: ANN401 (as `request`)
        """The answer to a GET."""
        return await self.request("GET", url, **more)

    async def _signed(self, sign: Sign | None, *, again: bool) -> Mapping[str, str]:
        if sign is None or self._secret is None:
            return {}
        values = await (self._secret.refused() if again else self._secret.values())
        return sign(values)

    async def _pace(self) -> None:
        if self._limits is None:
            return
        if until := await self._limits.get(f"source-pause:{self._key}"):
            left = float(until) - clock.now().timestamp()
            if left > 0:
                raise SourceWait(left, "the source asked for a pause")
        if not self._rate:
            return
        for _ in range(20):
            wait_s = await self._limits.take(
                f"source:{self._key}", rate_per_s=self._rate, burst=max(1.0, self._rate)
            )
            if not wait_s:
                return
            if wait_s > IN_PLACE_S:
                raise SourceWait(wait_s, "calls to the source are paced")
            await asyncio.sleep(wait_s)
        raise SourceWait(IN_PLACE_S, "calls to the source are paced")

    async def _obey(self, answer: SourceAnswer) -> None:
        """Raise where the answer is that it should be asked later, or with another credential."""
        host = urlsplit(answer.url).hostname
        asked = asked_to_wait(answer, clock.now())
        if asked is not None:
            if self._limits is not None and asked > 1:
                until = str(clock.now().timestamp() + asked).encode()
                await self._limits.put(f"source-pause:{self._key}", until, ttl_s=asked + 60)
            raise SourceWait(asked, f"{host} asks to wait")
        if answer.status in RETRIED:
            raise Unavailable(f"{host} answered {answer.status}: it is tried again.")
        if answer.status == 401:
            raise SourceRefused(
                f"{host} does not take the credential: it is wrong, expired or revoked. Give"
                " another one.",
                login=True,
            )

    async def _follow(
        self, url: str, hosts: Sequence[str], call: _Call, redirects: int
    ) -> SourceAnswer:
        for _ in range(redirects + 1):
            check_host(url, hosts)
            if call.is_signed and not self._allow_private and urlsplit(url).scheme != "https":
                raise SourceRefused("A credential is only sent over https: change the address.")
            answer = await self._send(check_url(url), call)
            location = answer.headers.get("location", "")
            if answer.status not in REDIRECTS or not location:
                return answer
            url = urljoin(url, location)
            if answer.status == 303:
                call = replace(call, method="GET", content=None)
        raise SourceRefused(f"{urlsplit(url).hostname} redirects too often.")

    async def _send(self, url: str, call: _Call) -> SourceAnswer:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            found = await addresses_of(
                host, port, allow_private=self._allow_private, resolve=self._resolve
            )
        except InvalidInput as error:
            raise SourceRefused(str(error)) from None
        except EngineError as error:
            raise Unavailable(str(error)) from None
        fault: Exception | None = None
        for address in found:
            request = self._client.build_request(
                call.method,
                httpx2.URL(url).copy_with(host=address),
                headers={**call.headers, "Host": httpx2.URL(url).netloc.decode("ascii")},
                content=call.content,
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
                return await _read(response, url, call)
            except httpx2.HTTPError as error:
                raise Unavailable(f"What {host} sent was cut short; it is tried again.") from error
            finally:
                await response.aclose()
        raise _unreachable(host) from fault


async def _read(response: httpx2.Response, url: str, call: _Call) -> SourceAnswer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    pieces: list[bytes] = []
    if call.save_to is None or response.status_code != 200:
        pieces = [piece async for piece in _bounded(response, call.max_bytes)]
    else:
        async with await anyio.open_file(call.save_to, "wb") as file:
            async for piece in _bounded(response, call.max_bytes):
                await file.write(piece)
    return SourceAnswer(response.status_code, headers, b"".join(pieces), url)


async def _bounded(response: httpx2.Response, max_bytes: int) -> AsyncIterator[bytes]:
    size = 0
    async for piece in response.aiter_bytes(256 * 1024):
        size += len(piece)
        if size > max_bytes:
            raise SourceRefused(f"It is larger than {max_bytes:,} bytes.")
        yield piece


@asynccontextmanager
async def open_http(
    *,
    key: str,
    limits: Limits | None = None,
    rate_per_s: float = 0.0,
    allow_private: bool = False,
    resolve: Resolver | None = None,
    secret: Secret | None = None,
) -> AsyncIterator[ConnectorHttp]:
    """A client for one source, closed on exit; `key` is what its pace is counted by."""
    async with httpx2.AsyncClient(
        trust_env=False,
        follow_redirects=False,
        timeout=httpx2.Timeout(TIMEOUT_S),
        headers={"User-Agent": USER_AGENT},
    ) as client:
        yield ConnectorHttp(
            client,
            key=key,
            limits=limits,
            rate_per_s=rate_per_s,
            allow_private=allow_private,
            resolve=resolve,
            secret=secret,
        )


def check_host(url: str, hosts: Sequence[str]) -> None:
    """Return where the URL is on one of these hosts, else raise `SourceRefused`."""
    try:
        parts = urlsplit(url)
        netloc = parts.netloc.lower()
    except ValueError:
        netloc = ""
    bare = netloc.removesuffix(":443").removesuffix(":80")
    if netloc not in hosts and bare not in hosts:
        raise SourceRefused(
            f"A link of the source leads to {netloc or 'nowhere'}, which is not one of its hosts:"
            " it is not followed."
        )


def host_of(url: str) -> str:
    """The host of a URL as `check_host` compares it."""
    return urlsplit(url).netloc.lower().removesuffix(":443").removesuffix(":80")


def asked_to_wait(answer: SourceAnswer, now: datetime) -> float | None:
    """Seconds that a source asks to wait, by any of the headers in use; None where it does not.

    Retry-After in seconds or as a date; else the reset of a limit that has nothing left, in epoch
    seconds (GitHub), in seconds from now, or as ISO 8601 (Atlassian).
    """
    headers = answer.headers
    limited = answer.status == 429 or (answer.status in {403, 503} and _says_limited(headers))
    if not limited:
        return None
    asked = parse_retry_after(headers.get("retry-after"), at=now)
    if asked is None:
        reset = headers.get("x-ratelimit-reset") or headers.get("ratelimit-reset") or ""
        asked = _until(reset, now)
    return min(max(asked if asked is not None else 30.0, 1.0), WAIT_MAX_S)


def _says_limited(headers: Mapping[str, str]) -> bool:
    return "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0"


def _until(reset: str, now: datetime) -> float | None:
    try:
        number = float(reset)
    except ValueError:
        try:
            at = datetime.fromisoformat(reset)
        except ValueError:
            return None
        return (at - now).total_seconds() if at.tzinfo is not None else None
    return number - now.timestamp() if number > 1e8 else number


def _unreachable(host: str) -> Unavailable:
    return Unavailable(f"{host} could not be reached; it is tried again.")
