"""GitHub's REST and GraphQL interfaces, as far as the connector calls them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import Unavailable
from engine.sources.contract import SourceRefused, SourceWait
from engine.sources.http import ConnectorHttp, SourceAnswer, host_of

HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
PAGES_MAX = 50  # of one item's comments: 5,000
_NEXT = re.compile(r'<([^<>]+)>;\s*rel="next"')


@dataclass(frozen=True, slots=True)
class GitHubApi:
    """One GitHub. `base` is its REST interface."""

    http: ConnectorHttp
    base: str

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 (JSON)
        """What is at a path; None where there is nothing that may be seen."""
        answer = await self._get(f"{self.base.rstrip('/')}{path}", params)
        return None if answer is None else answer.json()

    async def pages(self, path: str) -> list[Mapping[str, Any]]:
        """All of a list, by its own links; empty where it went away."""
        found: list[Mapping[str, Any]] = []
        url: str | None = f"{self.base.rstrip('/')}{path}"
        params: Mapping[str, str] | None = {"per_page": "100"}
        for _ in range(PAGES_MAX):
            answer = await self._get(url, params) if url else None
            if answer is None:
                break
            found += answer.json()
            following = _NEXT.search(answer.headers.get("link", ""))
            url, params = following[1] if following else None, None
        return found

    async def _get(self, url: str, params: Mapping[str, str] | None) -> SourceAnswer | None:
        answer = await self.http.get(
            url, hosts=[host_of(self.base)], headers=HEADERS, params=params, sign=_sign
        )
        if answer.status in {404, 410, 451}:
            return None
        return _good(answer)

    async def post(self, path: str, *, bearer: str) -> SourceAnswer:
        """The answer to a POST that signs in by itself."""
        return await self.http.request(
            "POST",
            f"{self.base.rstrip('/')}{path}",
            hosts=[host_of(self.base)],
            headers={**HEADERS, "Authorization": f"Bearer {bearer}"},
        )

    async def query(self, query: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """The data of a GraphQL query; what may not be seen is missing in it."""
        answer = await self.http.request(
            "POST",
            f"{self.base.rstrip('/').removesuffix('/v3')}/graphql",
            hosts=[host_of(self.base)],
            headers=HEADERS,
            body={"query": query, "variables": dict(variables)},
            sign=_sign,
        )
        said = _good(answer).json()
        for error in said.get("errors") or ():
            if error.get("type") == "RATE_LIMITED":
                raise SourceWait(60.0, "GitHub's limit for queries is reached")
            if error.get("type") not in {"FORBIDDEN", "NOT_FOUND", "INSUFFICIENT_SCOPES"}:
                raise Unavailable("GitHub could not answer a query; it is tried again.")
        data: Mapping[str, Any] = said.get("data") or {}
        return data


def _good(answer: SourceAnswer) -> SourceAnswer:
    if answer.status != 200:
        raise SourceRefused(
            f"GitHub refuses (it answered {answer.status}): check what the credential may read."
            " Nothing was removed."
        )
    return answer


def _sign(values: Mapping[str, str]) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {values.get('access_token') or values['token']}"}
