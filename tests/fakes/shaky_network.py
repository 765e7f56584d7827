"""A TCP relay that cuts connections, in the middle of whatever travels."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass
class ShakyNetwork:
    """Where it listens, and how often it cuts: every so many pieces of data, either way."""

    port: int
    target: int
    cut_every: int = 0
    pieces: int = 0
    cuts: int = 0

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until one side or we end it."""
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pipe(reader, back, writer))
            tasks.create_task(self._pipe(there, writer, back))

    async def _pipe(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, other: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(4096):
                self.pieces += 1
                if self.cut_every and self.pieces % self.cut_every == 0:
                    self.cuts += 1
                    # Half of it may have arrived, which is worse than nothing.
                    sink.write(data[: len(data) // 2])
                    break
                sink.write(data)
                await sink.drain()
        sink.transport.abort()
        other.transport.abort()


@asynccontextmanager
async def shaky_network(target: int) -> AsyncIterator[ShakyNetwork]:
    """A relay to a port of this machine."""
    network = ShakyNetwork(0, target)
    server = await asyncio.start_server(network.relay, "127.0.0.1", 0)
    network.port = server.sockets[0].getsockname()[1]
    try:
        yield network
    finally:
        server.close()
