"""Values in batches of one statement each: databases limit how many parameters a statement has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

AT_A_TIME = 500  # values a statement

Value = TypeVar("Value")


def batches(values: Sequence[Value]) -> Iterable[Sequence[Value]]:
    """The values in order, `AT_A_TIME` at a time."""
    return (values[at : at + AT_A_TIME] for at in range(0, len(values), AT_A_TIME))
