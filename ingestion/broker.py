"""The broker: how hints at jobs reach the threads that work on them.

`memory` keeps them in this process, `redis://…` lets any number of workers share them. Either way
a message is only `{job_id}`: SQL owns attempts, delay, lease and cancel, so a lost or doubled
message costs nothing, and no middleware that retries or delays is loaded. While Redis is away, its
consumers wait, and `enqueue` raises `Unavailable`: the relay then hands jobs to its own worker.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from dramatiq import Broker, Consumer, Message, MessageProxy
from dramatiq.errors import ConnectionClosed, QueueJoinTimeout, QueueNotFound
from dramatiq.middleware import Middleware

from engine.errors import ConfigurationError, Unavailable
from engine.limits import redis_trouble

QUEUE = "jobs"
TIMEOUT_S = 5.0  # of a command to Redis
OUTAGE_LOOK_S = 0.5  # between two looks of a consumer at a Redis that is away
_REDIS_ID = "redis_message_id"  # the option that names a message in Redis, dramatiq.brokers.redis


def build_broker(url: str) -> Broker:
    """A broker for `memory` or a `redis://`, `rediss://` URL; nothing is connected yet."""
    if url == "memory":
        return MemoryBroker()
    if url.startswith(("redis://", "rediss://")):
        return _build_redis(url)
    raise ConfigurationError(
        f"jobs.broker is {url!r}; allowed are 'memory' and redis://host:port/db."
    )


def _build_redis(url: str) -> Broker:
    try:
        from dramatiq.brokers.redis import (  # noqa: PLC0415 (the redis extra)
            RedisBroker,
            _RedisConsumer,
        )
    except ImportError:
        raise ConfigurationError(
            "jobs.broker is a Redis URL, but the redis extra is not installed:"
            " install scrubjay[redis]."
        ) from None

    import redis  # noqa: PLC0415 (the same)
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    def tell(command: Callable[[], object]) -> None:
        """Run a command that costs nothing where Redis does not answer."""
        with contextlib.suppress(redis.RedisError):
            command()

    class QuietConsumer(_RedisConsumer):
        """Dramatiq's, which waits for a Redis that is away: the relay logs it, once an outage."""

        # A hint that is not acknowledged comes again, and is dropped as its job is claimed already.
        def ack(self, message: MessageProxy) -> None:
            self.queued_message_ids.discard(message.message_id)
            tell(lambda: self.broker.do_ack(self.queue_name, message.options[_REDIS_ID]))

        def nack(self, message: MessageProxy) -> None:
            self.queued_message_ids.discard(message.message_id)
            tell(lambda: self.broker.do_nack(self.queue_name, message.options[_REDIS_ID]))

        def requeue(self, messages: Iterable[MessageProxy]) -> None:
            waiting = list(messages)
            tell(lambda: super(QuietConsumer, self).requeue(waiting))  # type: ignore[no-untyped-call]

        def __next__(self) -> MessageProxy | None:
            try:
                return super().__next__()  # type: ignore[no-any-return, no-untyped-call]
            except (redis.RedisError, ConnectionClosed):
                time.sleep(OUTAGE_LOOK_S)
                return None

    class Redis(RedisBroker):
        """Dramatiq's, without delays; `Unavailable` where Redis does not answer."""

        @property
        def consumer_class(self) -> type[QuietConsumer]:
            return QuietConsumer

        def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
            _refuse(delay)
            try:
                return super().enqueue(message)
            except redis.RedisError as error:
                raise Unavailable(redis_trouble(error)) from error

    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(
                NoBackoff(), 1
            ),  # one for a connection that went stale; no more: hints wait
        )
    except ValueError as error:
        raise ConfigurationError(f"jobs.broker can't be used: {error}.") from None
    return Redis(client=client, middleware=[])  # type: ignore[no-untyped-call]


def _refuse(delay: int | None) -> None:
    if delay is not None:
        raise ValueError("jobs are delayed by `run_at` in SQL, not by the broker")


class MemoryBroker(Broker):
    """Queues inside this process, without delay, retry or dead letters."""

    def __init__(self, middleware: list[Middleware] | None = None) -> None:
        super().__init__(middleware or [])
        self.queues: dict[str, queue.Queue[bytes]] = {}

    def declare_queue(self, queue_name: str) -> None:
        """Make a queue; no effect where it exists."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = queue.Queue()
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Put a message on its queue; `delay` is refused, because SQL owns it."""
        _refuse(delay)
        self.emit_before("enqueue", message, delay)
        self._queue(message.queue_name).put(message.encode())
        self.emit_after("enqueue", message, delay)
        return message

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30_000) -> Consumer:
        """A consumer that holds at most `prefetch` messages and waits `timeout` ms for one."""
        return _MemoryConsumer(self._queue(queue_name), prefetch, timeout)

    def flush(self, queue_name: str) -> None:
        """Drop what waits on a queue."""
        waiting = self._queue(queue_name)
        while True:
            try:
                waiting.get_nowait()
            except queue.Empty:
                return
            waiting.task_done()

    def flush_all(self) -> None:
        """Drop what waits on any queue."""
        for name in list(self.queues):
            self.flush(name)

    def join(self, queue_name: str, *, timeout: int | None = None) -> None:
        """Wait until everything put on a queue was processed, at most `timeout` ms."""
        waiting = self._queue(queue_name)
        with waiting.all_tasks_done:
            limit = None if timeout is None else timeout / 1000
            if not waiting.all_tasks_done.wait_for(lambda: not waiting.unfinished_tasks, limit):
                raise QueueJoinTimeout(queue_name)  # type: ignore[no-untyped-call]

    def _queue(self, name: str) -> queue.Queue[bytes]:
        try:
            return self.queues[name]
        except KeyError:
            raise QueueNotFound(name) from None  # type: ignore[no-untyped-call]


class _MemoryConsumer(Consumer):
    def __init__(self, waiting: queue.Queue[bytes], prefetch: int, timeout_ms: int) -> None:
        self._waiting = waiting
        self._slots = threading.Semaphore(prefetch)
        self._timeout_s = timeout_ms / 1000

    def ack(self, message: MessageProxy) -> None:  # noqa: ARG002 (the port's signature)
        self._waiting.task_done()
        self._slots.release()

    # A failed message is as done as any other: its job row says what happened and what is next.
    nack = ack

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Put unprocessed messages back."""
        for message in messages:
            self._waiting.put(message.encode())
            self.ack(message)

    def __next__(self) -> MessageProxy | None:
        if not self._slots.acquire(timeout=self._timeout_s):
            return None
        try:
            data = self._waiting.get(timeout=self._timeout_s)
        except queue.Empty:
            self._slots.release()
            return None
        return MessageProxy(Message.decode(data))
