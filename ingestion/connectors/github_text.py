"""What is said in an issue, a pull request or a discussion, as one Markdown text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class GitHubSaid:
    """A comment, a review, a reply."""

    by: str
    at: str
    body: str
    about: str = ""  # the file that a review comment is on

    @staticmethod
    def of(entry: Mapping[str, Any]) -> GitHubSaid:
        """From an entry of REST or GraphQL."""
        author = entry.get("user") or entry.get("author") or {}
        at = entry.get("created_at") or entry.get("createdAt") or entry.get("submitted_at") or ""
        return GitHubSaid(
            str(author.get("login") or "somebody"),
            str(at),
            str(entry.get("body") or ""),
            str(entry.get("path") or ""),
        )


def render_issue(issue: Mapping[str, Any], said: Sequence[GitHubSaid]) -> bytes:
    """An issue or pull request: title, facts, text, and what was said, the oldest first."""
    what = "Pull request" if "pull_request" in issue else "Issue"
    facts = [f"{what} #{issue['number']}", str(issue.get("state") or "open")]
    if reason := issue.get("state_reason"):
        facts.append(str(reason).replace("_", " "))
    if labels := [str(one.get("name", "")) for one in issue.get("labels") or ()]:
        facts.append("labels: " + ", ".join(labels))
    return _render(issue, facts, said)


def render_discussion(discussion: Mapping[str, Any], said: Sequence[GitHubSaid]) -> bytes:
    """A discussion: title, facts, text, and what was said, in its order."""
    facts = [f"Discussion #{discussion['number']}"]
    if category := (discussion.get("category") or {}).get("name"):
        facts.append(str(category))
    return _render(discussion, facts, said, is_sorted=True)


def _render(
    entry: Mapping[str, Any],
    facts: list[str],
    said: Sequence[GitHubSaid],
    *,
    is_sorted: bool = False,
) -> bytes:
    opened = GitHubSaid.of(entry)
    facts.append(f"opened by {opened.by} on {opened.at[:10]}")
    title = " ".join(str(entry["title"]).split())
    parts = [f"# {title}", "; ".join(facts) + ".", opened.body.strip()]
    for one in said if is_sorted else sorted(said, key=lambda one: one.at):
        if one.body.strip():
            about = f" on `{one.about}`" if one.about else ""
            parts += [f"## {one.by} on {one.at[:10]}{about}", one.body.strip()]
    return "\n\n".join(part for part in parts if part).encode()


def instant(said: object) -> datetime:
    """A time of the API, which is UTC."""
    return datetime.fromisoformat(str(said)).astimezone(UTC)


def before(said: str, span: timedelta) -> str:
    """A time of the API, earlier by this."""
    return f"{instant(said) - span:%Y-%m-%dT%H:%M:%SZ}"
