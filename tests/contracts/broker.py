"""What every broker must keep: hints arrive once, wait for their reader, and are never delayed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import dramatiq
import pytest
from dramatiq.errors import QueueJoinTimeout

from ingestion.broker import QUEUE
from ingestion.relay import ACTOR, hint

WAIT_MS = 5_000
SHORT_MS = 50


@pytest.fixture
def jobs_queue(broker: dramatiq.Broker) -> Iterator[str]:
    """The queue of the jobs, declared, and empty before and after."""
    broker.declare_queue(QUEUE)
    broker.flush(QUEUE)
    yield QUEUE
    broker.flush_all()


def take(consumer: dramatiq.Consumer, count: int) -> list[dramatiq.MessageProxy]:
    """So many messages, waiting for each."""
    taken = []
    for message in consumer:
        if message is not None:
            taken.append(message)
        if message is None or len(taken) == count:
            break
    return taken


def job_ids(messages: list[dramatiq.MessageProxy]) -> list[str]:
    return [message.kwargs["job_id"] for message in messages]


def test_a_hint_arrives_as_it_was_sent(broker, jobs_queue):
    broker.enqueue(hint("job-1"))
    consumer = broker.consume(jobs_queue, prefetch=1, timeout=WAIT_MS)
    (message,) = take(consumer, 1)
    assert (message.queue_name, message.actor_name, message.args) == (QUEUE, ACTOR, ())
    assert message.kwargs == {"job_id": "job-1"}
    consumer.ack(message)
    consumer.close()


def test_hints_arrive_in_the_order_they_were_sent(broker, jobs_queue):
    for number in range(5):
        broker.enqueue(hint(str(number)))
    consumer = broker.consume(jobs_queue, prefetch=5, timeout=WAIT_MS)
    messages = take(consumer, 5)
    assert job_ids(messages) == ["0", "1", "2", "3", "4"]
    for message in messages:
        consumer.ack(message)
    consumer.close()


def test_nobody_waits_longer_than_their_timeout(broker, jobs_queue):
    consumer = broker.consume(jobs_queue, prefetch=1, timeout=SHORT_MS)
    assert next(consumer) is None
    consumer.close()


def test_a_consumer_holds_no_more_than_it_asked_for(broker, jobs_queue):
    for number in range(3):
        broker.enqueue(hint(str(number)))
    first = broker.consume(jobs_queue, prefetch=1, timeout=SHORT_MS)
    (held,) = take(first, 1)
    assert next(first) is None
    second = broker.consume(jobs_queue, prefetch=2, timeout=WAIT_MS)
    others = take(second, 2)
    assert job_ids(others) == ["1", "2"]
    first.ack(held)
    for message in others:
        second.ack(message)
    first.close()
    second.close()


@pytest.mark.parametrize("how", ["ack", "nack"])
def test_what_was_answered_does_not_come_again(broker, jobs_queue, how):
    broker.enqueue(hint("job-1"))
    consumer = broker.consume(jobs_queue, prefetch=1, timeout=WAIT_MS)
    (message,) = take(consumer, 1)
    getattr(consumer, how)(message)
    broker.join(jobs_queue, timeout=WAIT_MS)
    consumer.close()
    again = broker.consume(jobs_queue, prefetch=1, timeout=SHORT_MS)
    assert next(again) is None
    again.close()


def test_what_was_put_back_comes_again(broker, jobs_queue):
    broker.enqueue(hint("job-1"))
    first = broker.consume(jobs_queue, prefetch=1, timeout=WAIT_MS)
    first.requeue(take(first, 1))
    first.close()
    second = broker.consume(jobs_queue, prefetch=1, timeout=WAIT_MS)
    (message,) = take(second, 1)
    assert message.kwargs == {"job_id": "job-1"}
    second.ack(message)
    broker.join(jobs_queue, timeout=WAIT_MS)
    second.close()


def test_joining_waits_for_what_is_on_its_way(broker, jobs_queue):
    broker.enqueue(hint("job-1"))
    with pytest.raises(QueueJoinTimeout):
        broker.join(jobs_queue, timeout=SHORT_MS)
    consumer = broker.consume(jobs_queue, prefetch=1, timeout=WAIT_MS)
    (message,) = take(consumer, 1)
    joined = threading.Thread(target=broker.join, args=[jobs_queue])
    joined.start()
    consumer.ack(message)
    joined.join(WAIT_MS / 1000)
    assert not joined.is_alive()
    consumer.close()


def test_flushing_drops_what_waits(broker, jobs_queue):
    for number in range(3):
        broker.enqueue(hint(str(number)))
    broker.flush(jobs_queue)
    broker.join(jobs_queue, timeout=WAIT_MS)
    consumer = broker.consume(jobs_queue, prefetch=1, timeout=SHORT_MS)
    assert next(consumer) is None
    consumer.close()


def test_a_delay_is_refused(broker, jobs_queue):
    with pytest.raises(ValueError, match="run_at"):
        broker.enqueue(hint("job-1"), delay=1_000)


def test_declaring_a_queue_again_keeps_what_waits(broker, jobs_queue):
    broker.enqueue(hint("job-1"))
    broker.declare_queue(jobs_queue)
    consumer = broker.consume(jobs_queue, prefetch=1, timeout=WAIT_MS)
    (message,) = take(consumer, 1)
    consumer.ack(message)
    consumer.close()


async def test_a_worker_gets_each_hint_once(broker, jobs_queue):
    seen: list[str] = []
    done = threading.Event()

    def work(job_id: str) -> None:
        seen.append(job_id)
        if len(seen) == 50:
            done.set()

    dramatiq.actor(actor_name=ACTOR, queue_name=QUEUE, broker=broker)(work)
    worker = dramatiq.Worker(broker, worker_threads=4, worker_timeout=50)
    await asyncio.to_thread(worker.start)
    try:
        for number in range(50):
            broker.enqueue(hint(str(number)))
        assert await asyncio.to_thread(done.wait, WAIT_MS / 1000)
        await asyncio.to_thread(broker.join, jobs_queue, timeout=WAIT_MS)
    finally:
        await asyncio.to_thread(worker.stop, WAIT_MS)
    assert sorted(seen, key=int) == [str(number) for number in range(50)]
