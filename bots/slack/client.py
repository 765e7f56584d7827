"""Calls to Slack's Web API: one client an installation over one session, errors in our words.

Nothing here waits out a rate limit: `Undelivered` says when to come back, and the job does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bots.platform import Undelivered
from engine.settings import SlackSettings

log = logging.getLogger(__name__)

API = "https://slack.com/api/"
HOOKS = "hooks.slack.com"
RETRY_S = 5.0  # after a fault of Slack's own, or of the network
# What is wrong until a person does something about it.
LASTING = frozenset(
    {
        "account_inactive",
        "cannot_dm_bot",
        "channel_is_archived",
        "channel_not_found",
        "ekm_access_denied",
        "invalid_auth",
        "is_archived",
        "missing_scope",
        "no_permission",
        "not_allowed_token_type",
        "not_authed",
        "not_in_channel",
        "org_login_required",
        "restricted_action",
        "team_access_not_granted",
        "thread_not_found",
        "token_expired",
        "token_revoked",
        "user_not_in_channel",
    }
)
REVOKED = frozenset({"account_inactive", "invalid_auth", "token_expired", "token_revoked"})


class SlackTrouble(Undelivered):
    """Slack refused a call: `code` is its word for why, `needed` the scopes it asks for."""

    def __init__(
        self, code: str, *, method: str, needed: str = "", retry_in_s: float | None = None
    ) -> None:
        super().__init__(f"Slack said {code} to {method}", retry_in_s=retry_in_s)
        self.code = code
        self.needed = needed


class SlackApi:
    """The Web API for all installations. Get one from `open_api`."""

    def __init__(self, settings: SlackSettings, session: aiohttp.ClientSession) -> None:
        self.base_url = f"{settings.api_base_url}/" if settings.api_base_url else API
        self._settings = settings
        self._session = session
        self.missing: dict[str, str] = {}  # scopes Slack asked for, by method: for /kb health

    def client(self, token: str = "") -> AsyncWebClient:
        """A client with a token; it is cheap, the session is shared."""
        return AsyncWebClient(
            token=token or None,
            base_url=self.base_url,
            timeout=int(self._settings.timeout_s) or 1,
            session=self._session,
            retry_handlers=[],  # ours to repeat, without a worker that sleeps
        )

    async def call(self, token: str, method: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        """What Slack answers to a method; `SlackTrouble` where it refuses or can't be reached."""
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            response = await self.client(token).api_call(method, json=given)
        except SlackApiError as error:
            raise self._trouble(method, error) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("Slack can't be reached: %s", type(error).__name__)
            raise SlackTrouble("unreachable", method=method, retry_in_s=RETRY_S) from None
        data = response.data
        return dict(data) if isinstance(data, dict) else {}

    async def form_call(self, method: str, **arguments: str) -> dict[str, Any]:
        """A call without a token, its arguments as a form: how OAuth's methods take them."""
        try:
            response = await self.client().api_call(method, data=arguments)
        except SlackApiError as error:
            raise self._trouble(method, error) from None
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise SlackTrouble("unreachable", method=method, retry_in_s=RETRY_S) from None
        data = response.data
        return dict(data) if isinstance(data, dict) else {}

    async def introduce(self, token: str) -> tuple[dict[str, Any], list[str]]:
        """Whose a token is, and the scopes it has."""
        try:
            response = await self.client(token).auth_test()
        except SlackApiError as error:
            raise self._trouble("auth.test", error) from None
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise SlackTrouble("unreachable", method="auth.test", retry_in_s=RETRY_S) from None
        data = response.data
        scopes = str((response.headers or {}).get("x-oauth-scopes", ""))
        account = dict(data) if isinstance(data, dict) else {}
        return account, [scope for scope in scopes.replace(" ", "").split(",") if scope]

    def _trouble(self, method: str, error: SlackApiError) -> SlackTrouble:
        response = error.response
        status = getattr(response, "status_code", 0)
        data = response.data if isinstance(getattr(response, "data", None), Mapping) else {}
        code = str(data.get("error", "") or f"http_{status}")
        if status == 429 or code in {"ratelimited", "rate_limited"}:
            wait = response.headers.get("Retry-After", "") if response.headers else ""
            wait_s = float(wait) if str(wait).isdecimal() else 1.0
            return SlackTrouble("ratelimited", method=method, retry_in_s=wait_s)
        needed = str(data.get("needed", ""))
        if code == "missing_scope":
            self.missing[method] = needed
        passing = status >= 500 or code in {"internal_error", "fatal_error", "service_unavailable"}
        return SlackTrouble(
            code, method=method, needed=needed, retry_in_s=RETRY_S if passing else None
        )

    async def respond(self, url: str, body: Mapping[str, Any]) -> bool:
        """Answer over a `response_url`; False where it is used up, too old or none of Slack's."""
        if not self._is_ours(url):
            return False
        try:
            async with self._session.post(
                url,
                json=dict(body),
                timeout=aiohttp.ClientTimeout(total=self._settings.timeout_s),
                allow_redirects=False,
            ) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    def _is_ours(self, url: str) -> bool:
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname == HOOKS:
            return True
        return bool(self._settings.api_base_url) and parts.netloc == urlsplit(self.base_url).netloc


@asynccontextmanager
async def open_api(settings: SlackSettings) -> AsyncIterator[SlackApi]:
    """The API with its session, closed on exit."""
    timeout = aiohttp.ClientTimeout(total=settings.timeout_s)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
        yield SlackApi(settings, session)
    await asyncio.sleep(0)  # aiohttp closes its transports in the next turn of the loop
