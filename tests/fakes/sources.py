"""Sources for stories: an installation whose connectors read what a test says, and a site to crawl."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.config import load_settings
from engine.engine import Engine
from engine.runtime import open_engine
from engine.sources.contract import Connector
from engine.sources.reports import SourceInfo
from engine.sources.sources import NewSource
from ingestion.connectors.kinds import open_connectors
from tests.fakes.installations import HeldEmbedder, Installation


class SourceInstallation(Installation):
    """An installation that connects sources to its knowledge base called notes."""

    async def connect(self, kind: str, name: str = "", **settings: Any) -> SourceInfo:
        """A new source, which was synced once; its schedule is by hand."""
        domains = settings.pop("domains", ())
        new = NewSource(kind, name or kind, "notes", settings, every_s=0, domains=domains)
        info, _ = await self.engine.sources.add(self.owner, new)
        await self.drain()
        return await self.source(info.name)

    async def sync(self, name: str, *, whole: bool = False) -> SourceInfo:
        """The source after another sync."""
        await self.engine.sources.sync(self.owner, name, whole=whole)
        await self.drain()
        return await self.source(name)

    async def source(self, name: str) -> SourceInfo:
        return await self.engine.sources.get(self.owner, name)

    async def titles(self) -> list[str]:
        """The titles of the knowledge base's documents that are ready, sorted."""
        page = await self.engine.documents.page(self.owner, "notes", limit=500)
        return sorted(one.title for one in page.documents if one.state == "ready")


async def settled(notes: SourceInstallation, name: str) -> SourceInfo:
    """A source once its sync has ended, though it waits between steps as the source asks."""
    async with asyncio.timeout(60):
        while True:
            await notes.drain()
            info = await notes.source(name)
            if info.last_run is not None and info.last_run.state != "running":
                return info
            await asyncio.sleep(0.05)


@asynccontextmanager
async def open_sources(
    home: Path,
    settings: Mapping[str, object] | None = None,
    connectors: Mapping[str, Connector[Any]] | None = None,
) -> AsyncIterator[SourceInstallation]:
    """An installation in `home` with these connectors besides those that ship."""
    chosen = {
        "embedding.model": "hashing",
        "processing.allow_private_urls": True,
        **(settings or {}),
    }
    kinds = {**open_connectors(), **(connectors or {})}
    async with open_engine(
        load_settings(home, None, chosen, environ={}), connectors=kinds
    ) as engine:
        yield await _installed(engine)


async def _installed(engine: Engine) -> SourceInstallation:
    embedder = HeldEmbedder()
    engine.embedder = embedder
    owner = await engine.people.owner()
    if "notes" not in {kb.name for kb in await engine.knowledge_bases.list_readable(owner)}:
        await engine.knowledge_bases.create(owner, "notes")
        owner = await engine.people.owner()
    return SourceInstallation(engine, owner, embedder)


@dataclass
class FakeSite:
    """A web server whose pages a test sets: path -> (status, headers, body)."""

    pages: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, path: str, body: str | bytes, *, status: int = 200, **headers: str) -> None:
        """Set what is at a path; header names have underscores for hyphens."""
        named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        named.setdefault("content-type", "text/html; charset=utf-8")
        data = body.encode() if isinstance(body, str) else body
        self.pages[path] = (status, named, data)

    def page(self, path: str, title: str, text: str, *links: str, head: str = "") -> None:
        """Set an HTML page with links."""
        anchors = "".join(f'<a href="{link}">{link}</a> ' for link in links)
        words = f"{text} " * 3
        self.put(
            path,
            f"<html><head><title>{title}</title>{head}</head>"
            f"<body><p>{words}</p><p>{anchors}</p></body></html>",
        )

    def paths(self) -> list[str]:
        """What was asked for since the last look."""
        found = [path for path, _ in self.asked]
        self.asked.clear()
        return found

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = head[0].split(" ")[1]
            headers = {
                name.lower(): value
                for name, value in (line.split(": ", 1) for line in head[1:] if ": " in line)
            }
            self.asked.append((path, headers))
            status, named, body = self.pages.get(path, (404, {"content-type": "text/html"}, b"no"))
            if named.get("etag") and headers.get("if-none-match") == named["etag"]:
                status, body = 304, b""
            lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", "connection: close"]
            lines += [f"{name}: {value}" for name, value in named.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def open_site() -> AsyncIterator[FakeSite]:
    """A site on a port of its own."""
    site = FakeSite()
    server = await asyncio.start_server(site.answer, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site
