"""One JSON endpoint of a model server: deadlines, retries, and errors that say what to do.

`http.py` builds its adapters on it. What the server says never reaches an error or a log, and
neither does the key: an upstream error may quote either.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import httpx2

from engine.clock import now
from engine.errors import ConfigurationError, InvalidInput, Unavailable
from engine.net.http import is_loopback, parse_retry_after

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 20.0
LONGEST_RETRY_AFTER_S = 60.0  # asked to wait longer, we give up and pass the wish on
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_REFUSED_INPUT = frozenset({400, 413, 422})


class Endpoint:
    """A base URL that takes JSON and gives JSON.

    `what` names it in errors ("The embeddings endpoint"), `settings` is how the names of
    its settings begin ("embedding.").
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str = "",
        what: str,
        settings: str,
        timeout_s: float = 30.0,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        url = httpx2.URL(base_url)
        if url.scheme not in {"http", "https"} or not url.host:
            raise ConfigurationError(
                f"{settings}base_url is not an http or https URL: write https://host/v1."
            )
        self.host = url.host
        self._what = f"{what} at {url.host}"
        self._settings = settings
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client: httpx2.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.host})"

    async def post(self, path: str, body: Mapping[str, object], *, attempts: int) -> Any:  # noqa: ANN401
        """The JSON that answers `body`, tried again while the fault may pass.

        `InvalidInput` where the server refuses the texts, `Unavailable` for the rest.
        """
        fault = Unavailable(f"{self._what} was not asked.")
        for attempt in range(attempts):
            if attempt:
                wait_s = fault.retry_after_s
                if wait_s is None:
                    longest = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (attempt - 1))
                    wait_s = longest * random.uniform(0.5, 1.0)  # noqa: S311 (spreads retries)
                if wait_s > LONGEST_RETRY_AFTER_S:
                    break
                await self._sleep(wait_s)
            try:
                response = await self._send(path, body)
            except _TemporaryFault as error:
                fault = error.fault
            else:
                return self._parse(response)
        raise fault

    async def aclose(self) -> None:
        """Close the connections; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _send(self, path: str, body: Mapping[str, object]) -> httpx2.Response:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                headers=self._headers,
                timeout=self._timeout_s,
                trust_env=not is_loopback(self.host),
            )
        try:
            # the client's timeout is for each read; this one is for the whole
            with anyio.fail_after(self._timeout_s):
                response = await self._client.post(self._base_url + path, json=body)
        except (TimeoutError, httpx2.TimeoutException):
            raise _TemporaryFault(
                f"{self._what} did not respond within {self._timeout_s:g} s: check that it runs, "
                f"or raise {self._settings}timeout_s."
            ) from None
        except httpx2.HTTPError:
            raise _TemporaryFault(
                f"{self._what} can't be reached: check that it runs and that "
                f"{self._settings}base_url is right."
            ) from None
        if response.is_success:
            return response
        raise self._fault_of(response)

    def _fault_of(self, response: httpx2.Response) -> Exception:
        status = response.status_code
        if status in _RETRIED:
            advice = "wait a moment, or raise your limit there" if status == 429 else "see its log"
            return _TemporaryFault(
                f"{self._what} is busy or broken (HTTP {status}): {advice}.",
                parse_retry_after(response.headers.get("retry-after"), at=now()),
            )
        if status in {401, 403}:
            return Unavailable(
                f"{self._what} rejected the key (HTTP {status}): check {self._settings}api_key."
            )
        if status in _REFUSED_INPUT:
            return InvalidInput(
                f"{self._what} refused the request (HTTP {status}): check {self._settings}model, "
                "and lower the chunk size if texts are longer than the model takes.",
                field="texts",
            )
        return Unavailable(
            f"{self._what} has no such address or model (HTTP {status}): check "
            f"{self._settings}base_url and {self._settings}model."
        )

    def _parse(self, response: httpx2.Response) -> Any:  # noqa: ANN401 (the caller narrows it)
        try:
            return response.json()
        except ValueError:
            raise self.unreadable() from None

    def unreadable(self) -> Unavailable:
        """The error for an answer that is not what this endpoint should give."""
        return Unavailable(
            f"{self._what} returned an unreadable response: check that {self._settings}base_url "
            "is the address of the right API."
        )


class _TemporaryFault(Exception):
    """Trying again may help; `fault` is what to raise when it did not."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.fault = Unavailable(message, retry_after_s=retry_after_s)
