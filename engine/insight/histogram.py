"""Durations as counts in buckets: they add up over days, as quantiles don't.

Bucket i ends at 2^(i/4) ms: 73 of them reach from 1 ms to 262 s. A quantile is given as the
geometric middle of its bucket, which is at most 2^(1/8) - 1 = 9.1 % off where the value is inside
that range.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping

from sqlalchemy import ColumnElement, case

LAST = 72
ERROR = 2 ** (1 / 8) - 1  # the largest relative error of a quantile
BOUNDS_US = [round(1000 * 2 ** (i / 4)) for i in range(LAST)]  # upper, inclusive; the last is open


def bucket_of(took_us: int) -> int:
    """The bucket of a duration in microseconds."""
    return bisect_left(BOUNDS_US, took_us)


def bucket_column(took_us: ColumnElement[int]) -> ColumnElement[int]:
    """The same in the database: halving, since a database tries one case after another."""

    def among(low: int, high: int) -> ColumnElement[int] | int:
        if low == high:
            return low
        middle = (low + high) // 2
        return case(
            (took_us <= BOUNDS_US[middle], among(low, middle)), else_=among(middle + 1, high)
        )

    column = among(0, LAST)
    assert not isinstance(column, int)  # noqa: S101 (there are 73)
    return column


def quantile_ms(counts: Mapping[int, int], share: float) -> float | None:
    """The duration in ms that `share` of those counted do not exceed; None of none."""
    total = sum(counts.values())
    if not total:
        return None
    wanted, seen, bucket = max(1, math.ceil(share * total)), 0, 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= wanted:
            break
    return float(2 ** ((bucket - 0.5) / 4))
