"""Batches of similar length, and their sharing among documents.

A batch costs as much as its longest text times its number of texts, so texts are sorted by
length first. `plan_batches` is the rule; `EmbeddingBatcher` applies it across the documents that
are being ingested at one time.
"""

from __future__ import annotations

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], budget_tokens: int) -> list[list[int]]:
    """Indices of texts grouped by length, longest first, each group padded within the budget.

    A text longer than the budget gets a group to itself. Longest first lets the runtime find its
    largest buffers at once and reuse them.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        # the first of a batch is its longest, so the padded size follows from it
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
