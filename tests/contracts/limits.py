"""What every adapter of `engine.limits.Limits` must keep. A module that runs it has `limits`."""

from __future__ import annotations

import asyncio

import pytest

from engine.errors import InvalidInput


async def test_a_bucket_gives_its_burst_and_then_refills(limits, fixed_clock):
    bucket = {"rate_per_s": 2, "burst": 3}
    assert [await limits.take("acme:ask", **bucket) for _ in range(3)] == [0, 0, 0]
    assert await limits.take("acme:ask", **bucket) == pytest.approx(0.5, abs=1e-3)
    assert await limits.take("acme:ask", **bucket) == pytest.approx(0.5, abs=1e-3)
    fixed_clock.advance(0.5)
    assert await limits.take("acme:ask", **bucket) == 0
    assert await limits.take("acme:ask", **bucket) > 0
    fixed_clock.advance(1000)
    assert [await limits.take("acme:ask", **bucket) for _ in range(3)] == [0, 0, 0]
    assert await limits.take("acme:ask", **bucket) > 0


async def test_one_tenant_does_not_spend_anothers_allowance(limits, fixed_clock):
    bucket = {"rate_per_s": 1, "burst": 1}
    assert await limits.take("acme:ask", **bucket) == 0
    assert await limits.take("acme:ask", **bucket) > 0
    assert await limits.take("bolt:ask", **bucket) == 0


async def test_a_large_cost_waits_longer_and_one_over_the_burst_is_refused(limits, fixed_clock):
    bucket = {"rate_per_s": 1, "burst": 10}
    assert await limits.take("k", cost=8, **bucket) == 0
    assert await limits.take("k", cost=5, **bucket) == pytest.approx(3, abs=1e-3)
    assert await limits.take("k", cost=2, **bucket) == 0
    with pytest.raises(InvalidInput):
        await limits.take("k", cost=11, **bucket)


async def test_takers_at_once_share_a_bucket_exactly(limits, fixed_clock):
    waits = await asyncio.gather(
        *(limits.take("k", rate_per_s=1, burst=5) for _ in range(12)),
    )
    assert sorted(wait == 0 for wait in waits) == [False] * 7 + [True] * 5


async def test_a_lock_has_one_owner(limits, fixed_clock):
    won = await asyncio.gather(*(limits.acquire("k", f"o{n}", lease_s=30) for n in range(6)))
    assert sum(won) == 1


async def test_an_owner_renews_its_lock_and_frees_it(limits, fixed_clock):
    assert await limits.acquire("k", "one", lease_s=30)
    fixed_clock.advance(20)
    assert await limits.acquire("k", "one", lease_s=30)
    fixed_clock.advance(20)
    assert not await limits.acquire("k", "two", lease_s=30)
    await limits.release("k", "two")
    assert not await limits.acquire("k", "two", lease_s=30)
    await limits.release("k", "one")
    assert await limits.acquire("k", "two", lease_s=30)


async def test_a_lock_that_is_freed_while_others_ask_for_it_goes_from_one_to_the_next(
    limits, fixed_clock
):
    holders = []

    async def hold(owner: str) -> None:
        for _ in range(15):
            while not await limits.acquire("k", owner, lease_s=30):  # noqa: ASYNC110
                await asyncio.sleep(0)
            holders.append(owner)
            assert holders == [owner]
            holders.clear()
            await limits.release("k", owner)

    await asyncio.gather(*(hold(f"o{n}") for n in range(4)))


async def test_a_lock_ends_with_its_lease(limits, fixed_clock):
    assert await limits.acquire("k", "one", lease_s=30)
    fixed_clock.advance(31)
    assert await limits.acquire("k", "two", lease_s=30)
    await limits.release("k", "one")
    assert not await limits.acquire("k", "one", lease_s=30)


async def test_a_value_is_kept_for_its_time(limits, fixed_clock):
    value = bytes(range(256)) + b" \x00 "
    assert await limits.get("k") is None
    await limits.put("k", b"older", ttl_s=30)
    await limits.put("k", value, ttl_s=30)
    assert await limits.get("k") == value
    fixed_clock.advance(31)
    assert await limits.get("k") is None


async def test_a_forgotten_value_is_gone(limits, fixed_clock):
    await limits.put("k", b"v", ttl_s=30)
    for _ in range(2):
        await limits.forget("k")
    assert await limits.get("k") is None


async def test_buckets_locks_and_values_of_one_name_are_apart(limits, fixed_clock):
    await limits.put("k", b"v", ttl_s=30)
    assert await limits.acquire("k", "one", lease_s=30)
    assert await limits.take("k", rate_per_s=1, burst=1) == 0
    assert await limits.get("k") == b"v"
