"""A real git over HTTP: `git http-backend` behind a few lines, with a repository a test writes to."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

_ENV = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


@dataclass
class GitServer:
    """Serves the repositories below `root`; `password` is asked for where it is set."""

    root: Path
    port: int = 0
    password: str = ""
    cut: int = 0  # answers that are cut short
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/repo.git"

    @property
    def work(self) -> Path:
        return self.root / "work"

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.work if self.work.exists() else self.root,
            env={**os.environ, **_ENV},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def start(self) -> None:
        """An empty repository with a working copy."""
        self.git("init", "-q", "--bare", "-b", "main", "repo.git")
        self.git("clone", "-q", "repo.git", "work")
        self.git("checkout", "-q", "-b", "main")

    def commit(self, **files: str | None) -> str:
        """Write files (None: delete; `__` is a slash, `_md` an ending) and push; the commit."""
        for name, text in files.items():
            path = self.work / name.replace("__", "/").replace("_md", ".md")
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return self.push()

    def push(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change")
        self.git("push", "-q", "--force", "origin", "main")
        return self.git("rev-parse", "HEAD")

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request through git's own CGI program."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {
                name.lower(): value
                for name, value in (line.split(": ", 1) for line in head[1:] if ": " in line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.asked.append(f"{method} {target}")
            writer.write(await self._answered(method, target, headers, body))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answered(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> bytes:
        wanted = base64.b64encode(f"x-access-token:{self.password}".encode()).decode()
        if self.password and headers.get("authorization") != f"Basic {wanted}":
            return b"HTTP/1.1 401 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        path, _, query = target.partition("?")
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": method,
            "CONTENT_TYPE": headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
        }
        process = await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        out, _ = await process.communicate(body)
        named, _, content = out.partition(b"\r\n\r\n")
        status = "200 OK"
        kept = []
        for line in named.decode("latin-1").split("\r\n"):
            if line.lower().startswith("status:"):
                status = line.partition(":")[2].strip()
            else:
                kept.append(line)
        if self.cut and method == "POST":
            self.cut -= 1
            content = content[: len(content) // 2]
        lines = [
            f"HTTP/1.1 {status}",
            *kept,
            f"content-length: {len(content)}",
            "connection: close",
        ]
        return "\r\n".join([*lines, "", ""]).encode() + content


@asynccontextmanager
async def open_git(root: Path) -> AsyncIterator[GitServer]:
    """A server with a repository called repo.git."""
    server = GitServer(root)
    server.start()
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server
