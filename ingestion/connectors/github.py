"""GitHub: issues, pull requests and discussions of repositories, each with its comments a document.

Issues and pull requests come by REST in the order of their last change, so that neither a deletion
nor an edit while they are listed hides another; discussions and who may read come by GraphQL. What
is public there is for members here; the rest is for collaborators alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from engine import clock
from engine.sources.contract import (
    PUBLIC,
    Access,
    AccessStep,
    Change,
    Connector,
    ContainerFound,
    Finding,
    Grants,
    ItemContent,
    ItemRef,
    KindSettings,
    Offers,
    Put,
    Renewed,
    ScopeRef,
    SourceContext,
    SourcePrincipal,
    SourceRefused,
    Step,
    UnknownAccess,
)
from engine.sources.signing import signed_assertion
from ingestion.connectors import github_text as text
from ingestion.connectors.github_api import GitHubApi

PAGE = 100  # what the API gives at most
PEOPLE_MAX = 10_000
EPOCH = "1970-01-01T00:00:00Z"
OVERLAP = timedelta(seconds=60)  # times have whole seconds, and what is written together has one
DISCUSSIONS = "/discussions"
_REPOSITORY = re.compile(r"[\w.-]{1,100}/[\w.-]{1,100}", re.ASCII)

PEOPLE = """
query($owner: String!, $name: String!, $after: String) {
  repository(owner: $owner, name: $name) {
    collaborators(first: 100, after: $after, affiliation: ALL) {
      pageInfo { hasNextPage endCursor }
      nodes { databaseId login email }
    }
  }
}
"""
DISCUSSION_LIST = """
query($owner: String!, $name: String!, $after: String, $order: DiscussionOrder!) {
  repository(owner: $owner, name: $name) {
    discussions(first: 100, after: $after, orderBy: $order) {
      pageInfo { hasNextPage endCursor }
      nodes { number title url updatedAt comments { totalCount } }
    }
  }
}
"""
DISCUSSION = """
query($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) {
    discussion(number: $number) {
      number title body createdAt author { login } category { name }
      comments(first: 50, after: $after) {
        pageInfo { hasNextPage endCursor }
        nodes {
          body createdAt isAnswer author { login }
          replies(first: 100) { nodes { body createdAt author { login } } }
        }
      }
    }
  }
}
"""


class GitHubSettings(KindSettings):
    """What a source of the kind `github` takes."""

    repositories: list[str] = Field(
        min_length=1, max_length=500, description="Repositories, each as owner/name."
    )
    take: list[Literal["issues", "pull_requests", "discussions"]] = Field(
        default=["issues", "pull_requests", "discussions"], description="What of them to take."
    )
    api: str = Field(
        default="https://api.github.com",
        description="The API. GitHub Enterprise Server: https://HOST/api/v3.",
    )

    @field_validator("repositories")
    @classmethod
    def _are_named(cls, given: list[str]) -> list[str]:
        for name in given:
            if not _REPOSITORY.fullmatch(name):
                raise ValueError(f"{name[:80]!r} is not of the form owner/name")
        return given


class GitHubToken(BaseModel):
    """A personal access token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: SecretStr = Field(min_length=1, description="A token that may read the repositories.")


class GitHubApp(BaseModel):
    """An app that is installed where the repositories are; its tokens last an hour."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    app_id: str = Field(pattern=r"^[\w.]{1,60}$", description="The app's id, or its client id.")
    installation_id: str = Field(pattern=r"^\d{1,20}$", description="The id of the installation.")
    private_key: SecretStr = Field(min_length=1, description="The app's private key, as PEM.")


class GitHubConnector(Connector[GitHubSettings]):
    """An item is an issue, pull request or discussion; its id the repository's id and the number."""

    kind: ClassVar[str] = "github"
    title: ClassVar[str] = "GitHub issues, pull requests and discussions"
    offers: ClassVar[Offers] = Offers(
        feed=True, access=True, every_s=900, absence_after_s=0.0, relist_s=86_400.0
    )
    methods: ClassVar[Mapping[str, type[BaseModel]]] = {"token": GitHubToken, "app": GitHubApp}
    renews: ClassVar[frozenset[str]] = frozenset({"app"})
    rate_per_s: ClassVar[float] = 1.0  # of 5,000 an hour
    settings = GitHubSettings

    def namespace(self, settings: GitHubSettings) -> str:
        """The host whose accounts these are."""
        host = urlsplit(settings.api).hostname or ""
        return "github.com" if host == "api.github.com" else host

    async def renew(
        self,
        http: Any,  # noqa: ANN401 (as in the contract)
        settings: GitHubSettings,
        method: str,  # noqa: ARG002 (there is one)
        values: Mapping[str, str],
    ) -> Renewed:
        """A token of the installation, by the app's own signature."""
        api = GitHubApi(http, settings.api)
        now = clock.now()
        claims = {
            "iss": values["app_id"],
            "iat": int(now.timestamp()) - 60,  # clocks differ
            "exp": int(now.timestamp()) + 540,
        }
        assertion = signed_assertion(claims, values["private_key"])
        path = f"/app/installations/{values['installation_id']}/access_tokens"
        answer = await api.post(path, bearer=assertion)
        if answer.status != 201:
            raise SourceRefused(
                f"GitHub gives the app no token (it answered {answer.status}): check its id, its"
                " key, and that it is installed.",
                login=True,
            )
        said = answer.json()
        return Renewed({"access_token": str(said["token"])}, text.instant(said["expires_at"]))

    async def check(self, ctx: SourceContext[GitHubSettings]) -> list[Finding]:
        """Whether each repository can be read, and who may read it."""
        api = _api(ctx)
        found = []
        for name in dict.fromkeys(ctx.settings.repositories):
            repository = await api.get(f"/repos/{name}")
            if repository is None:
                said = f"{name} can't be found with this credential: check both."
                found.append(Finding("missing", said, ok=False, field="repositories"))
                continue
            access = await _access(api, repository)
            if isinstance(access, UnknownAccess):
                found.append(Finding("permissions", access.reason, ok=False))
            else:
                readers = "everyone here" if access == PUBLIC else "its collaborators"
                found.append(Finding("reachable", f"{name} can be read; it is for {readers}."))
        return found

    async def scopes(self, ctx: SourceContext[GitHubSettings]) -> list[ScopeRef]:
        """The repositories that there are, each once whatever it is called now."""
        api = _api(ctx)
        found: dict[str, ScopeRef] = {}
        for name in ctx.settings.repositories:
            repository = await api.get(f"/repos/{name}")
            if repository is None:
                continue
            scope, full = str(repository["id"]), str(repository["full_name"])
            if {"issues", "pull_requests"} & set(ctx.settings.take):
                found[scope] = ScopeRef(scope, full, "repository")
            if "discussions" in ctx.settings.take and repository.get("has_discussions"):
                scope += DISCUSSIONS
                found[scope] = ScopeRef(scope, full, "discussions")
        if not found:
            raise SourceRefused(
                "None of the repositories can be found with this credential. Nothing was removed."
            )
        return list(found.values())

    async def start(self, ctx: SourceContext[GitHubSettings], scope: ScopeRef) -> Mapping[str, Any]:
        """The time of the newest change."""
        if scope.kind == "discussions":
            page = await self._discussions(ctx, scope, "UPDATED_AT", "DESC", None)
            newest = [str(one["updatedAt"]) for one in page["nodes"][:1]]
        else:
            query = {"state": "all", "sort": "updated", "direction": "desc", "per_page": "1"}
            entries = await _api(ctx).get(f"/repos/{scope.title}/issues", query) or []
            newest = [str(one["updated_at"]) for one in entries]
        return {"since": text.before(newest[0], OVERLAP) if newest else EPOCH}

    async def listing(
        self, ctx: SourceContext[GitHubSettings], scope: ScopeRef, cursor: Mapping[str, Any]
    ) -> Step:
        """A page of all there is."""
        if scope.kind != "discussions":
            return await self._issues(ctx, scope, cursor)
        page = await self._discussions(ctx, scope, "CREATED_AT", "ASC", cursor.get("after"))
        changes = [_discussion_put(scope, one) for one in page["nodes"]]
        more = bool(page["pageInfo"]["hasNextPage"])
        return Step(changes, {"after": page["pageInfo"]["endCursor"]} if more else {}, more=more)

    async def feed(
        self, ctx: SourceContext[GitHubSettings], scope: ScopeRef, cursor: Mapping[str, Any]
    ) -> Step:
        """What changed since; of discussions the newest come first, and the cursor moves at the end."""
        if scope.kind != "discussions":
            return await self._issues(ctx, scope, cursor)
        since = str(cursor["since"])
        page = await self._discussions(ctx, scope, "UPDATED_AT", "DESC", cursor.get("after"))
        fresh = [one for one in page["nodes"] if str(one["updatedAt"]) >= since]
        newest = str(cursor.get("newest") or (fresh[0]["updatedAt"] if fresh else ""))
        changes = [_discussion_put(scope, one) for one in fresh]
        if len(fresh) == len(page["nodes"]) and page["pageInfo"]["hasNextPage"]:
            after = page["pageInfo"]["endCursor"]
            return Step(changes, {"since": since, "after": after, "newest": newest}, more=True)
        moved = max(since, text.before(newest, OVERLAP)) if newest else since
        return Step(changes, {"since": moved}, more=False)

    async def _issues(
        self, ctx: SourceContext[GitHubSettings], scope: ScopeRef, cursor: Mapping[str, Any]
    ) -> Step:
        since, page = str(cursor.get("since", EPOCH)), int(cursor.get("page", 1))
        query = {
            "state": "all",
            "sort": "updated",
            "direction": "asc",
            "since": since,
            "per_page": str(PAGE),
            "page": str(page),
        }
        entries = await _api(ctx).get(f"/repos/{scope.title}/issues", query)
        if entries is None:
            raise SourceRefused(
                f"The issues of {scope.title} can't be read: they are turned off, or the credential"
                " may not. Nothing was removed."
            )
        changes: list[Change] = [
            _issue_put(scope, one) for one in entries if _is_taken(one, ctx.settings)
        ]
        if not entries:
            return Step(changes, {"since": since}, more=False)
        newest = str(entries[-1]["updated_at"])
        if len(entries) < PAGE:
            moved = max(since, text.before(newest, OVERLAP))
            return Step(changes, {"since": moved}, more=False)
        following = text.before(newest, timedelta(seconds=1))
        if following > since:
            return Step(changes, {"since": following}, more=True)
        return Step(changes, {"since": since, "page": page + 1}, more=True)

    async def _discussions(
        self,
        ctx: SourceContext[GitHubSettings],
        scope: ScopeRef,
        field: str,
        direction: str,
        after: object,
    ) -> Mapping[str, Any]:
        order = {"field": field, "direction": direction}
        variables = {**_named(scope.title), "after": after, "order": order}
        found = await _api(ctx).query(DISCUSSION_LIST, variables)
        page = (found.get("repository") or {}).get("discussions")
        if not isinstance(page, Mapping):
            raise SourceRefused(
                f"The discussions of {scope.title} can't be read. Nothing was removed."
            )
        return page

    async def open(
        self, ctx: SourceContext[GitHubSettings], scope: ScopeRef, item: ItemRef
    ) -> ItemContent | None:
        """An issue, pull request or discussion with all that was said in it."""
        number = int(item.id.rpartition("#")[2])
        if scope.kind == "discussions":
            return await self._open_discussion(ctx, scope, number)
        api = _api(ctx)
        base = f"/repos/{scope.title}"
        issue = await api.get(f"{base}/issues/{number}")
        if issue is None or not _is_of(issue, scope, number):
            return None  # deleted, or transferred to another repository
        said = [
            text.GitHubSaid.of(one) for one in await api.pages(f"{base}/issues/{number}/comments")
        ]
        if "pull_request" in issue:
            for path in ("reviews", "comments"):
                found = await api.pages(f"{base}/pulls/{number}/{path}")
                said += [text.GitHubSaid.of(one) for one in found]
        return ItemContent(text.render_issue(issue, said), _filename(number))

    async def _open_discussion(
        self, ctx: SourceContext[GitHubSettings], scope: ScopeRef, number: int
    ) -> ItemContent | None:
        said: list[text.GitHubSaid] = []
        after: object = None
        while True:
            variables = {**_named(scope.title), "number": number, "after": after}
            found = await _api(ctx).query(DISCUSSION, variables)
            discussion = (found.get("repository") or {}).get("discussion")
            if discussion is None:
                return None
            comments = discussion["comments"]
            for comment in comments["nodes"]:
                said.append(text.GitHubSaid.of(comment))
                said += [text.GitHubSaid.of(reply) for reply in comment["replies"]["nodes"]]
            if not comments["pageInfo"]["hasNextPage"]:
                return ItemContent(text.render_discussion(discussion, said), _filename(number))
            after = comments["pageInfo"]["endCursor"]

    async def access(
        self,
        ctx: SourceContext[GitHubSettings],
        scope: ScopeRef,
        cursor: Mapping[str, Any],  # noqa: ARG002 (one step is all)
    ) -> AccessStep:
        """Who may read the repository."""
        api = _api(ctx)
        repository = await api.get(f"/repos/{scope.title}")
        access: Access = UnknownAccess(f"{scope.title} can't be found any more.")
        if repository is not None and str(repository["id"]) == scope.id.removesuffix(DISCUSSIONS):
            access = await _access(api, repository)
        return AccessStep(
            [ContainerFound(scope.id, access, title=scope.title, kind=scope.kind)], {}, more=False
        )


def _api(ctx: SourceContext[GitHubSettings]) -> GitHubApi:
    return GitHubApi(ctx.http, ctx.settings.api)


def _named(full_name: str) -> dict[str, str]:
    owner, _, name = full_name.partition("/")
    return {"owner": owner, "name": name}


async def _access(api: GitHubApi, repository: Mapping[str, Any]) -> Access:
    if repository.get("private") is False and repository.get("visibility", "public") == "public":
        return PUBLIC
    full = str(repository["full_name"])
    people: set[SourcePrincipal] = set()
    after: object = None
    while len(people) < PEOPLE_MAX:
        found = await api.query(PEOPLE, {**_named(full), "after": after})
        page = (found.get("repository") or {}).get("collaborators")
        if not isinstance(page, Mapping):
            break
        people |= {
            SourcePrincipal("user", str(one["databaseId"]), email=str(one.get("email") or ""))
            for one in page["nodes"]
        }
        if not page["pageInfo"]["hasNextPage"]:
            return Grants(frozenset(people))
        after = page["pageInfo"]["endCursor"]
    return UnknownAccess(
        f"Who may read {full} can't be read, so nobody could: the credential needs push access to"
        " it, as an app the permission to read its administration."
    )


def _is_taken(entry: Mapping[str, Any], settings: GitHubSettings) -> bool:
    return ("pull_requests" if "pull_request" in entry else "issues") in settings.take


def _is_of(issue: Mapping[str, Any], scope: ScopeRef, number: int) -> bool:
    place = str(issue.get("repository_url", "")).lower()
    return issue.get("number") == number and place.endswith(f"/repos/{scope.title.lower()}")


def _issue_put(scope: ScopeRef, entry: Mapping[str, Any]) -> Put:
    number = int(entry["number"])
    is_whole = "pull_request" not in entry and not entry.get("comments")
    return Put(
        f"{scope.id}#{number}",
        f"{entry['updated_at']}/{entry.get('comments', 0)}",
        title=str(entry["title"]),
        url=str(entry["html_url"]),
        filename=_filename(number),
        updated_at=text.instant(entry["updated_at"]),
        body=text.render_issue(entry, []) if is_whole else None,
    )


def _discussion_put(scope: ScopeRef, entry: Mapping[str, Any]) -> Put:
    number = int(entry["number"])
    return Put(
        f"{scope.id.removesuffix(DISCUSSIONS)}#{number}",
        f"{entry['updatedAt']}/{entry['comments']['totalCount']}",
        title=str(entry["title"]),
        url=str(entry["url"]),
        filename=_filename(number),
        updated_at=text.instant(entry["updatedAt"]),
    )


def _filename(number: int) -> str:
    return f"{number}.md"
