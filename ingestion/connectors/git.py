"""A git repository over HTTPS: the files of a branch, as they are at its newest commit.

While the branch does not move, a sync is one request. When it has moved, its newest commit is fetched
without history and its tree listed: a force-push is like any other change. The transfer is ours, over
the guarded client (`git_transfer.py`); dulwich reads what came. Links, submodules and pointers of Git
LFS are left out with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from engine.sources.contract import (
    Change,
    Connector,
    CursorExpired,
    Finding,
    KindSettings,
    LeftOut,
    Offers,
    Put,
    ScopeRef,
    SourceContext,
    SourceRefused,
    Step,
)
from ingestion.connectors.git_transfer import CommitFolder, GitRemote, fetch_commit, newest_commit

AT_A_TIME = 200  # files a step
ENTRIES_MAX = 500_000  # entries of all trees that are looked at; a tree of trees can have billions
DEPTH_MAX = 100
ID_MAX = 2000
TEXTS = (
    "*.md",
    "*.mdx",
    "*.rst",
    "*.txt",
    "*.adoc",
    "*.html",
    "*.pdf",
    "*.docx",
    "*.ipynb",
    "README*",
)
LINK, SUBMODULE, TREE = 0o120000, 0o160000, 0o040000
LFS = b"version https://git-lfs.github.com/spec/"
_BAD_NAME = re.compile(r"[\x00-\x1f\x7f\\]")


class GitSettings(KindSettings):
    """What a source of the kind `git` takes."""

    url: str = Field(max_length=1000, description="The address of the repository, over HTTPS.")
    branch: str = Field(default="", description="The branch. Empty: the repository's own default.")
    include: list[str] = Field(
        default_factory=lambda: list(TEXTS),
        description="Patterns of the files to take: names, or paths such as `docs/*`.",
    )
    exclude: list[str] = Field(default_factory=list, description="Patterns of files to leave out.")


class GitToken(BaseModel):
    """How to sign in at a forge: a token, with a user name where the forge wants one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: SecretStr = Field(min_length=1, description="A token that may read the repository.")
    username: str = Field(default="x-access-token", description="The user name beside it.")


@dataclass(frozen=True, slots=True)
class _GitFile:
    parts: tuple[bytes, ...]
    mode: int
    sha: bytes

    @property
    def path(self) -> str:
        return b"/".join(self.parts).decode("utf-8", "replace")


class GitConnector(Connector[GitSettings]):
    """Files of a branch; an item is a file, its id the path, its version the hash git gives it."""

    kind: ClassVar[str] = "git"
    title: ClassVar[str] = "Git repository"
    offers: ClassVar[Offers] = Offers(feed=True, every_s=900)
    methods: ClassVar[Mapping[str, type[BaseModel]]] = {"token": GitToken}
    rate_per_s: ClassVar[float] = 2.0
    settings = GitSettings

    async def check(self, ctx: SourceContext[GitSettings]) -> list[Finding]:
        """Whether the repository answers and has the branch."""
        branch, commit = await newest_commit(_remote(ctx))
        return [Finding("reachable", f"{branch} is at {commit[:12]}.")]

    async def scopes(self, ctx: SourceContext[GitSettings]) -> list[ScopeRef]:
        """The branch."""
        return [ScopeRef("files", ctx.settings.url, "repository")]

    async def start(
        self,
        ctx: SourceContext[GitSettings],
        scope: ScopeRef,  # noqa: ARG002 (the contract's)
    ) -> Mapping[str, Any]:
        """The commit the branch is at; what moves it while it is listed is for the next sync."""
        branch, commit = await newest_commit(_remote(ctx))
        return {"commit": commit, "branch": branch, "listed": True}

    async def feed(
        self,
        ctx: SourceContext[GitSettings],
        scope: ScopeRef,  # noqa: ARG002
        cursor: Mapping[str, Any],
    ) -> Step:
        """Nothing while the branch is where it was; else it is listed."""
        kept = {"commit": cursor["commit"], "branch": cursor["branch"]}
        if cursor.get("listed"):
            return Step([], kept, more=False)
        _, commit = await newest_commit(_remote(ctx))
        if commit != cursor["commit"]:
            raise CursorExpired("the branch has moved")
        return Step([], kept, more=False)

    async def listing(
        self,
        ctx: SourceContext[GitSettings],
        scope: ScopeRef,  # noqa: ARG002
        cursor: Mapping[str, Any],
    ) -> Step:
        """Some files of the newest commit; the whole listing is of the commit it began at."""
        commit, branch = str(cursor.get("commit", "")), str(cursor.get("branch", ""))
        if not commit:
            branch, commit = await newest_commit(_remote(ctx))
        folder = await fetch_commit(_remote(ctx), ctx.scratch, commit)
        after = tuple(part.encode("latin-1") for part in cursor.get("after", ()))
        in_thread = anyio.to_thread.run_sync
        files = await in_thread(_page, folder, ctx.settings, after)
        known = await ctx.known([one.path for one in files])
        versions = {path: item.version for path, item in known.items()}
        changes = await in_thread(_changes, folder, files, versions, ctx)
        if len(files) < AT_A_TIME:
            await in_thread(folder.delete)
            return Step(changes, {}, more=False)
        last = [part.decode("latin-1") for part in files[-1].parts]
        return Step(changes, {"commit": commit, "branch": branch, "after": last}, more=True)


def _remote(ctx: SourceContext[GitSettings]) -> GitRemote:
    return GitRemote(ctx.http, ctx.settings.url, ctx.settings.branch, ctx.max_bytes)


def _page(folder: CommitFolder, settings: GitSettings, after: tuple[bytes, ...]) -> list[_GitFile]:
    found: list[_GitFile] = []
    with folder.opened() as trees:
        for seen, file in enumerate(_walk(trees.entries, trees.root, (), after), 1):
            if seen > ENTRIES_MAX:
                raise SourceRefused(
                    f"It has more than {ENTRIES_MAX:,} files: nothing of it was taken."
                )
            if file.mode != TREE and _is_wanted(file.path, settings):
                found.append(file)
                if len(found) == AT_A_TIME:
                    break
    return found


def _walk(
    entries: Any,  # noqa: ANN401 (hash of a tree: its entries)
    tree: bytes,
    parts: tuple[bytes, ...],
    after: tuple[bytes, ...],
) -> Iterator[_GitFile]:
    """Entries after a path, in the order of their parts; trees before it are not looked into."""
    if len(parts) > DEPTH_MAX:
        raise SourceRefused(f"Its folders are more than {DEPTH_MAX} deep: nothing was taken.")
    for name, mode, sha in entries(tree):
        if after and name < after[0]:
            continue
        is_on_way = bool(after) and name == after[0]
        here = (*parts, name)
        if mode == TREE:
            yield _GitFile(here, mode, sha)  # counted, so that empty ones end too
            yield from _walk(entries, sha, here, after[1:] if is_on_way else ())
        elif not is_on_way or len(after) > 1:
            yield _GitFile(here, mode, sha)


def _is_wanted(path: str, settings: GitSettings) -> bool:
    name = path.rpartition("/")[2]

    def matches(patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(path, one) or fnmatchcase(name, one) for one in patterns)

    return (not settings.include or matches(settings.include)) and not matches(settings.exclude)


def _changes(
    folder: CommitFolder,
    files: Sequence[_GitFile],
    known: Mapping[str, str],
    ctx: SourceContext[GitSettings],
) -> list[Change]:
    changes: list[Change] = []
    with folder.opened() as trees:
        for file in files:
            name = file.path.rpartition("/")[2]
            if reason := _refused(file):
                changes.append(LeftOut(file.path[:ID_MAX], reason, name))
                continue
            version = file.sha.decode()
            url = permalink(ctx.settings.url, folder.commit, file.path)
            put = Put(file.path, version, title=name, url=url, filename=name)
            if known.get(file.path) == version:
                changes.append(put)
            else:
                changes.append(_with_body(put, trees.content(file.sha), ctx.max_bytes))
    return changes


def _refused(file: _GitFile) -> str:
    if file.mode == LINK:
        return "It is a link, which is not followed."
    if file.mode == SUBMODULE:
        return "It is another repository: connect that."
    if len(file.path) > ID_MAX or "\ufffd" in file.path or _BAD_NAME.search(file.path):
        return "Its path is too long, or has characters that no path should have."
    if any(part in {b"", b".", b".."} or part.lower() == b".git" for part in file.parts):
        return "Its path leads out of the repository."
    return ""


def _with_body(put: Put, data: bytes | None, max_bytes: int) -> Change:
    if data is None or len(data) > max_bytes:
        return LeftOut(put.id, f"It is larger than {max_bytes:,} bytes.", put.title, put.url)
    if data.startswith(LFS):
        return LeftOut(put.id, "It is kept in Git LFS, which is not read.", put.title, put.url)
    if not data.strip():
        return LeftOut(put.id, "It is empty.", put.title, put.url)
    return replace(put, body=data, size_bytes=len(data))


def permalink(url: str, commit: str, path: str) -> str:
    """The page of a file at a commit, as the well-known forges have it; else empty."""
    base = url.rstrip("/").removesuffix(".git")
    host = urlsplit(url).hostname or ""
    if host == "github.com":
        return f"{base}/blob/{commit}/{quote(path)}"
    if host == "codeberg.org" or host.startswith("gitea."):
        return f"{base}/src/commit/{commit}/{quote(path)}"
    return f"{base}/-/blob/{commit}/{quote(path)}" if "gitlab" in host else ""
