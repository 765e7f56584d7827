"""GitHub as a small world: users, repositories, issues, pull requests, discussions, collaborators.

Answers are in the shapes of GitHub's REST description (2022-11-28) and GraphQL schema, with the fields
that they always have; `can_read` is the oracle.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from tests.fakes.api_server import Asked, Reply

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class GitHubComment:
    """A comment, review or reply."""

    by: str
    body: str
    at: datetime
    replies: list[GitHubComment] = field(default_factory=list)


@dataclass
class GitHubIssue:
    """An issue or pull request; a discussion has one as well."""

    number: int
    title: str
    body: str
    by: str
    updated: datetime
    created: datetime
    is_pull: bool = False
    comments: list[GitHubComment] = field(default_factory=list)
    reviews: list[GitHubComment] = field(default_factory=list)
    remarks: list[GitHubComment] = field(default_factory=list)


@dataclass
class GitHubRepository:
    """A repository."""

    id: int
    name: str  # owner/name
    private: bool = True
    collaborators: set[str] = field(default_factory=set)
    issues: dict[int, GitHubIssue] = field(default_factory=dict)
    discussions: dict[int, GitHubIssue] = field(default_factory=dict)
    knows_people: bool = True
    has_issues: bool = True


@dataclass
class GitHubWorld:
    """The truth; the clock moves with each change."""

    users: dict[str, str] = field(default_factory=dict)  # login: public address
    repositories: dict[int, GitHubRepository] = field(default_factory=dict)
    clock: datetime = START
    token: str = ""
    page: int = 100
    app_key: str = ""  # public key of the app
    given: int = 0  # tokens of the installation

    def repository(self, name: str, **more: Any) -> GitHubRepository:
        made = GitHubRepository(1000 + len(self.repositories), name, **more)
        self.repositories[made.id] = made
        return made

    def tick(self, seconds: float = 10) -> datetime:
        self.clock += timedelta(seconds=seconds)
        return self.clock

    def post(
        self, repository: GitHubRepository, title: str, body: str, *, kind: str = "issue"
    ) -> GitHubIssue:
        """A new issue, pull request ("pull") or discussion."""
        at = self.tick()
        number = 1 + max([0, *repository.issues, *repository.discussions])
        made = GitHubIssue(number, title, body, "ada", at, at, kind == "pull")
        shelf = repository.discussions if kind == "discussion" else repository.issues
        shelf[number] = made
        return made

    def comment(self, issue: GitHubIssue, body: str, by: str = "bob") -> GitHubComment:
        made = GitHubComment(by, body, self.tick())
        issue.comments.append(made)
        issue.updated = self.clock
        return made

    def edit(self, issue: GitHubIssue, body: str) -> None:
        issue.body, issue.updated = body, self.tick()

    def titles(self) -> set[str]:
        return {
            one.title
            for repository in self.repositories.values()
            for one in (*repository.issues.values(), *repository.discussions.values())
        }

    def can_read(self, user: str, title: str) -> bool:
        """The oracle: public there, or a collaborator of where it is."""
        return any(
            (
                not repository.private
                or (repository.knows_people and user in repository.collaborators)
            )
            for repository in self.repositories.values()
            for one in (*repository.issues.values(), *repository.discussions.values())
            if one.title == title
        )

    def answer(self, asked: Asked) -> Reply:
        """What GitHub says."""
        if asked.path.startswith("/app/installations/"):
            return self._installation(asked)
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            return Reply({"message": "Bad credentials"}, 401)
        if asked.path == "/graphql":
            return self._graphql(asked.json["query"], asked.json["variables"])
        parts = asked.path.strip("/").split("/")
        found = self._named("/".join(parts[1:3])) if parts[0] == "repos" else None
        if found is None:
            return Reply({"message": "Not Found"}, 404)
        if len(parts) <= 4:
            return self._issues(found, asked) if parts[3:] else Reply(_repository(found))
        return self._one(found, asked, *parts[3:])

    def _one(
        self, repository: GitHubRepository, asked: Asked, shelf: str, number: str, what: str = ""
    ) -> Reply:
        issue = repository.issues.get(int(number))
        if issue is None:
            return Reply({"message": "Not Found"}, 404)
        if not what:
            return Reply(_issue(repository, issue))
        if (shelf, what) == ("pulls", "comments"):
            remarks = _comments(issue.remarks)
            return self._paged(asked, [{**one, "path": "src/main.py"} for one in remarks])
        return self._paged(asked, _comments(issue.reviews if what == "reviews" else issue.comments))

    def _named(self, name: str) -> GitHubRepository | None:
        for one in self.repositories.values():
            if one.name.lower() == name.lower():
                return one
        return None

    def _issues(self, repository: GitHubRepository, asked: Asked) -> Reply:
        if not repository.has_issues:
            return Reply({"message": "Issues are disabled for this repo"}, 410)
        query = asked.query
        assert query["state"] == "all"
        since = query.get("since", "")
        found = [one for one in repository.issues.values() if _time(one.updated) >= since]
        found.sort(key=lambda one: (one.updated, one.number), reverse=query["direction"] == "desc")
        return self._paged(asked, [_issue(repository, one) for one in found])

    def _paged(self, asked: Asked, found: list[dict[str, Any]]) -> Reply:
        size = min(int(asked.query.get("per_page", 30)), self.page)
        page = int(asked.query.get("page", 1))
        shown = found[(page - 1) * size : page * size]
        headers = {}
        if len(found) > page * size:
            host = asked.headers["host"]
            following = f"http://{host}{asked.path}?per_page={size}&page={page + 1}"
            headers["link"] = f'<{following}>; rel="next", <{following}>; rel="last"'
        return Reply(shown, headers=headers)

    def _installation(self, asked: Asked) -> Reply:
        try:
            assertion = asked.headers["authorization"].removeprefix("Bearer ")
            jwt.decode(assertion, self.app_key, algorithms=["RS256"], options={"verify_exp": False})
        except jwt.PyJWTError:
            return Reply({"message": "A JSON web token could not be decoded"}, 401)
        self.given += 1
        self.token = f"ghs_installation_{self.given}"
        return Reply({"token": self.token, "expires_at": "2099-01-01T00:00:00Z"}, 201)

    def _graphql(self, query: str, variables: dict[str, Any]) -> Reply:
        found = self._named(f"{variables['owner']}/{variables['name']}")
        if found is None:
            error = {"type": "NOT_FOUND", "message": "Could not resolve to a Repository"}
            return Reply({"data": {"repository": None}, "errors": [error]})
        if "collaborators(" in query:
            return self._people(found, variables)
        if "discussions(" in query:
            return self._discussions(found, variables)
        return self._discussion(found, variables)

    def _people(self, repository: GitHubRepository, variables: dict[str, Any]) -> Reply:
        if not repository.knows_people:
            error = {"type": "FORBIDDEN", "message": "Must have push access"}
            return Reply({"data": {"repository": {"collaborators": None}}, "errors": [error]})
        logins = sorted(self.users)
        nodes = [
            {"databaseId": 1 + logins.index(one), "login": one, "email": self.users[one]}
            for one in sorted(repository.collaborators)
        ]
        return _connection("collaborators", nodes, variables, 2)

    def _discussions(self, repository: GitHubRepository, variables: dict[str, Any]) -> Reply:
        order = variables["order"]
        key = "updated" if order["field"] == "UPDATED_AT" else "created"
        found = sorted(
            repository.discussions.values(),
            key=lambda one: (getattr(one, key), one.number),
            reverse=order["direction"] == "DESC",
        )
        nodes = [
            {
                "number": one.number,
                "title": one.title,
                "url": f"https://github.com/{repository.name}/discussions/{one.number}",
                "updatedAt": _time(one.updated),
                "comments": {"totalCount": len(one.comments)},
            }
            for one in found
        ]
        return _connection("discussions", nodes, variables, self.page)

    def _discussion(self, repository: GitHubRepository, variables: dict[str, Any]) -> Reply:
        one = repository.discussions.get(variables["number"])
        if one is None:
            error = {"type": "NOT_FOUND", "message": "Could not resolve to a Discussion"}
            return Reply({"data": {"repository": {"discussion": None}}, "errors": [error]})
        comments = [
            {
                **_said(each),
                "isAnswer": False,
                "replies": {"nodes": [_said(r) for r in each.replies]},
            }
            for each in one.comments
        ]
        inner = _connection("comments", comments, variables, 2).data["data"]["repository"]
        discussion = {
            "number": one.number,
            "title": one.title,
            "body": one.body,
            "createdAt": _time(one.created),
            "author": {"login": one.by},
            "category": {"name": "Q&A"},
            **inner,
        }
        return Reply({"data": {"repository": {"discussion": discussion}}})


def _connection(
    name: str, nodes: list[dict[str, Any]], variables: dict[str, Any], size: int
) -> Reply:
    start = int(variables.get("after") or 0)
    shown = nodes[start : start + size]
    more = start + size < len(nodes)
    info = {"hasNextPage": more, "endCursor": str(start + size) if shown else None}
    return Reply({"data": {"repository": {name: {"pageInfo": info, "nodes": shown}}}})


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _repository(one: GitHubRepository) -> dict[str, Any]:
    return {
        "id": one.id,
        "full_name": one.name,
        "private": one.private,
        "visibility": "private" if one.private else "public",
        "has_issues": one.has_issues,
        "has_discussions": True,
    }


def _issue(repository: GitHubRepository, one: GitHubIssue) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "number": one.number,
        "title": one.title,
        "body": one.body,
        "state": "open",
        "state_reason": None,
        "labels": [{"name": "garden"}],
        "user": {"login": one.by},
        "comments": len(one.comments),
        "created_at": _time(one.created),
        "updated_at": _time(one.updated),
        "html_url": f"https://github.com/{repository.name}/issues/{one.number}",
        "repository_url": f"https://api.github.com/repos/{repository.name}",
    }
    if one.is_pull:
        shown["pull_request"] = {"url": "https://api.github.com/…"}
    return shown


def _comments(found: list[GitHubComment]) -> list[dict[str, Any]]:
    return [
        {"user": {"login": one.by}, "body": one.body, "created_at": _time(one.at)} for one in found
    ]


def _said(one: GitHubComment) -> dict[str, Any]:
    return {"body": one.body, "createdAt": _time(one.at), "author": {"login": one.by}}
