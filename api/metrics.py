"""Counters and durations of this process, and their text for Prometheus.

One small registry rather than a client library: it needs only three kinds of lines. Names
and labels are ours and few; no label ever holds what a caller sent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate

# Upper bounds in seconds: a search takes tens of milliseconds, an answer up to tens of seconds.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Mapping[str, str], float]  # name, labels, value


class MetricsRegistry:
    """What this process has counted. Used from one event loop."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Labels], float] = {}
        self._durations: dict[tuple[str, Labels], tuple[list[int], float]] = {}

    def count(self, name: str, **labels: str) -> None:
        """One more."""
        key = (name, _labels(labels))
        self._counts[key] = self._counts.get(key, 0) + 1

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """One more, with its duration."""
        key = (name, _labels(labels))
        counts, total = self._durations.get(key, ([0] * (len(BUCKETS) + 1), 0.0))
        counts[bisect_left(BUCKETS, seconds)] += 1
        self._durations[key] = (counts, total + seconds)

    def render(self, gauges: Iterable[Sample] = (), counters: Iterable[Sample] = ()) -> str:
        """Everything in the text format of Prometheus, with samples that were counted elsewhere."""
        lines: dict[str, list[str]] = {}
        for (name, labels), value in sorted(self._counts.items()):
            block = lines.setdefault(name, [f"# TYPE {name} counter"])
            block.append(f"{name}{_shown(labels)} {value:g}")
        for (name, labels), (counts, total) in sorted(self._durations.items()):
            block = lines.setdefault(name, [f"# TYPE {name} histogram"])
            bounds = [f"{bound:g}" for bound in BUCKETS] + ["+Inf"]
            for bound, below in zip(bounds, accumulate(counts), strict=True):
                block.append(f"{name}_bucket{_shown((*labels, ('le', bound)))} {below}")
            block.append(f"{name}_sum{_shown(labels)} {total:.6f}")
            block.append(f"{name}_count{_shown(labels)} {sum(counts)}")
        for kind, samples in (("gauge", gauges), ("counter", counters)):
            for name, given, value in samples:
                block = lines.setdefault(name, [f"# TYPE {name} {kind}"])
                block.append(f"{name}{_shown(_labels(given))} {value:g}")
        return "".join(f"{line}\n" for block in lines.values() for line in block)


def _labels(given: Mapping[str, str]) -> Labels:
    return tuple(sorted(given.items()))


def _shown(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
