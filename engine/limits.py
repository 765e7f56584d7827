"""Rate limits, locks and a cache that all processes of an installation share: one port.

`SqlLimits` serves where no Redis is; `RedisLimits` where one is configured. Keys name their
tenant ("acme:search"), so that no tenant spends another's allowance. Nothing here is durable:
work that must happen is a job, and a lock only saves doing it twice.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine import clock
from engine.db.session import Database, upsert
from engine.db.tables import Ephemeral
from engine.errors import ConfigurationError, InvalidInput, Unavailable

if TYPE_CHECKING:
    from redis.asyncio import Redis

T = TypeVar("T")

SWEEP_S = 60.0  # how often what is over is deleted, at most


class Limits(Protocol):
    """The port. Times are seconds; values are bytes."""

    async def take(self, key: str, *, rate_per_s: float, burst: float, cost: float = 1) -> float:
        """0 where `cost` was taken from the bucket, else how long to wait before asking again.

        A bucket holds `burst`, is full at first, and refills at `rate_per_s`. What had to wait
        took nothing. Raises `InvalidInput` where `cost` is more than a bucket ever holds.
        """

    async def acquire(self, key: str, owner: str, *, lease_s: float) -> bool:
        """Whether `owner` now holds the lock, for so long; its own lock it gets again, renewed."""

    async def release(self, key: str, owner: str) -> None:
        """Free the lock; no effect where another has it by now."""

    async def get(self, key: str) -> bytes | None:
        """What was put, unless its time is over."""

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Keep a value for so long, replacing what was there."""

    async def forget(self, key: str) -> None:
        """Drop a value; an unknown one is ignored."""

    async def health(self) -> str | None:
        """An empty text where the adapter's server answers, else what to do; None without one."""


class SqlLimits:
    """The port over the database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._swept_at = time.monotonic()

    async def take(self, key: str, *, rate_per_s: float, burst: float, cost: float = 1) -> float:
        """0 where `cost` was taken from the bucket, else how long to wait."""
        _check_cost(cost, burst)

        async def use_case(session: AsyncSession) -> float:
            row = await self._row(session, f"bucket:{key}")
            full_at, wait_s = spend(row.until, _now(), rate_per_s, burst, cost)
            row.until = full_at
            return wait_s

        return await self._write(use_case)

    async def acquire(self, key: str, owner: str, *, lease_s: float) -> bool:
        """Whether `owner` now holds the lock."""

        async def use_case(session: AsyncSession) -> bool:
            row = await self._row(session, f"lock:{key}")
            if row.until > _now() and row.value != owner.encode():
                return False
            row.value, row.until = owner.encode(), _now() + lease_s
            return True

        return await self._write(use_case)

    async def release(self, key: str, owner: str) -> None:
        """Free the lock."""

        async def use_case(session: AsyncSession) -> None:
            await session.execute(
                delete(Ephemeral).where(
                    Ephemeral.key == f"lock:{key}", Ephemeral.value == owner.encode()
                )
            )

        await self._write(use_case)

    async def get(self, key: str) -> bytes | None:
        """What was put, unless its time is over."""

        async def use_case(session: AsyncSession) -> bytes | None:
            query = select(Ephemeral.value).where(
                Ephemeral.key == f"cache:{key}", Ephemeral.until > _now()
            )
            found: bytes | None = await session.scalar(query)
            return found

        return await self._db.run_read(use_case)

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Keep a value for so long."""

        async def use_case(session: AsyncSession) -> None:
            row = await self._row(session, f"cache:{key}")
            row.value, row.until = value, _now() + ttl_s

        await self._write(use_case)

    async def forget(self, key: str) -> None:
        """Drop a value."""

        async def use_case(session: AsyncSession) -> None:
            await session.execute(delete(Ephemeral).where(Ephemeral.key == f"cache:{key}"))

        await self._write(use_case)

    async def health(self) -> str | None:
        """None: the database is asked by itself."""
        return None

    async def _row(self, session: AsyncSession, key: str) -> Ephemeral:
        """The row of a key, locked; one that is long over where there was none."""
        # In one statement: between two, another process's sweep could take the row away.
        locked = (
            upsert(session, Ephemeral)
            .values(key=key, value=b"", until=0.0)
            .on_conflict_do_update(index_elements=["key"], set_={"key": key})
            .returning(Ephemeral)
        )
        fresh = {"populate_existing": True}
        return (await session.scalars(locked, execution_options=fresh)).one()

    async def _write(self, use_case: Callable[[AsyncSession], Awaitable[T]]) -> T:
        async def with_sweep(session: AsyncSession) -> T:
            if time.monotonic() - self._swept_at > SWEEP_S:
                self._swept_at = time.monotonic()
                await session.execute(delete(Ephemeral).where(Ephemeral.until < _now()))
            return await use_case(session)

        return await self._db.run_write(with_sweep)


# Redis runs a script as one step. A value is "<until> <bytes>": whether it is over is judged by
# our clock, as in SQL; Redis's own expiry only cleans up.
_TAKE = """
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[1]))
full_at = full_at + tonumber(ARGV[2])
local wait = full_at - tonumber(ARGV[1]) - tonumber(ARGV[3])
if wait > 1e-6 then return string.format('%.6f', wait) end
local ttl = math.ceil((full_at - tonumber(ARGV[1])) * 1000) + 1000
redis.call('SET', KEYS[1], string.format('%.6f', full_at), 'PX', ttl)
return '0'
"""
_ACQUIRE = """
local held = redis.call('GET', KEYS[1])
if held then
  local at = string.find(held, ' ', 1, true)
  local over = tonumber(string.sub(held, 1, at - 1)) <= tonumber(ARGV[1])
  if not over and string.sub(held, at + 1) ~= ARGV[3] then return 0 end
end
local value = string.format('%.6f', ARGV[1] + ARGV[2]) .. ' ' .. ARGV[3]
redis.call('SET', KEYS[1], value, 'PX', math.ceil(ARGV[2] * 1000))
return 1
"""
_RELEASE = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, string.find(held, ' ', 1, true) + 1) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 0
"""


class RedisLimits:
    """The port over Redis. Close it with `aclose`."""

    def __init__(self, url: str, *, timeout_s: float = 5) -> None:
        try:
            from redis.asyncio import Redis  # noqa: PLC0415 (an optional extra, slow to import)
            from redis.asyncio.retry import Retry  # noqa: PLC0415 (the same)
            from redis.backoff import NoBackoff  # noqa: PLC0415
        except ImportError:
            raise ConfigurationError(
                "jobs.broker is a Redis URL, but the redis extra is not installed:"
                " install scrubjay[redis]."
            ) from None
        try:
            self._redis: Redis = Redis.from_url(
                url,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                # Once, for a connection that went stale: a caller waits, and the library's own
                # back-off takes seconds.
                retry=Retry(NoBackoff(), 1),
            )
        except ValueError as error:
            raise ConfigurationError(f"jobs.broker can't be used: {error}.") from None

    async def take(self, key: str, *, rate_per_s: float, burst: float, cost: float = 1) -> float:
        """0 where `cost` was taken from the bucket, else how long to wait."""
        _check_cost(cost, burst)
        arguments = (_now(), cost / rate_per_s, burst / rate_per_s)
        return float(await self._script(_TAKE, f"scrubjay:bucket:{key}", *arguments))

    async def acquire(self, key: str, owner: str, *, lease_s: float) -> bool:
        """Whether `owner` now holds the lock."""
        return bool(await self._script(_ACQUIRE, f"scrubjay:lock:{key}", _now(), lease_s, owner))

    async def release(self, key: str, owner: str) -> None:
        """Free the lock."""
        await self._script(_RELEASE, f"scrubjay:lock:{key}", owner)

    async def get(self, key: str) -> bytes | None:
        """What was put, unless its time is over."""
        stored: bytes | None = await self._call(self._redis.get(f"scrubjay:cache:{key}"))
        if stored is None:
            return None
        until, _, value = stored.partition(b" ")
        return value if float(until) > _now() else None

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Keep a value for so long."""
        stored = f"{_now() + ttl_s:.6f} ".encode() + value
        lifetime_ms = max(1, int(ttl_s * 1000))
        await self._call(self._redis.set(f"scrubjay:cache:{key}", stored, px=lifetime_ms))

    async def forget(self, key: str) -> None:
        """Drop a value."""
        await self._call(self._redis.delete(f"scrubjay:cache:{key}"))

    async def health(self) -> str | None:
        """An empty text where Redis answers, else what to do."""
        try:
            await self._call(self._redis.ping())
        except Unavailable as error:
            return str(error)
        return ""

    async def aclose(self) -> None:
        """Close the connections; idempotent."""
        await self._redis.aclose()

    async def _script(self, script: str, key: str, *arguments: float | str) -> Any:  # noqa: ANN401
        return await self._call(self._redis.eval(script, 1, key, *map(str, arguments)))

    async def _call(self, command: Awaitable[Any]) -> Any:  # noqa: ANN401 (redis types its replies so)
        from redis.exceptions import RedisError  # noqa: PLC0415 (see above)

        try:
            return await command
        except RedisError as error:
            raise Unavailable(redis_trouble(error)) from error


def redis_trouble(error: Exception) -> str:
    """What is wrong with Redis and what to do, of an error of its client."""
    from redis.exceptions import (  # noqa: PLC0415 (an optional extra)
        AuthenticationError,
        NoPermissionError,
        ResponseError,
    )

    if isinstance(error, AuthenticationError | NoPermissionError):
        return "Redis refuses the password: check the user and password in jobs.broker."
    if isinstance(error, ResponseError):  # full, read-only, not the Redis of jobs.broker
        return f"Redis refuses a command ({type(error).__name__}): check its memory and its role."
    return "Redis can't be reached: check that it runs, and the address in jobs.broker."


def spend(
    full_at: float, now: float, rate_per_s: float, burst: float, cost: float
) -> tuple[float, float]:
    """Take `cost` from a bucket that is full again at `full_at`: its new time, and the wait.

    A bucket is one number: with the time it is full, its content is known at any other. The
    generic cell rate algorithm, ITU-T I.371 annex A, in seconds. Where the wait is not 0, nothing
    was taken. Example: rate 1/s, burst 2, full at 0; at 10 one is taken: full at 11, no wait.
    """
    after = max(full_at, now) + cost / rate_per_s
    wait_s = after - now - burst / rate_per_s
    return (full_at, wait_s) if wait_s > 1e-6 else (after, 0.0)


def _check_cost(cost: float, burst: float) -> None:
    if cost > burst:
        raise InvalidInput(f"{cost} at once exceeds the limit of {burst}.", field="cost")


def _now() -> float:
    return clock.now().timestamp()
