"""Payloads of platforms with faults put into them, by a seed: what a broken or hostile sender sends."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

Json = Any
Where = tuple[Any, Any]  # a container, and the key or index in it

ODD: tuple[Json, ...] = (
    None, True, False, 0, -1, 7, 2**31, 10**30, -(10**30), 0.5, float("inf"), "", " ", "abc", "\x00",
    "a\x00b", "\ud83d", "\udc00x", "null", "1e400", "9" * 40, "-5", "²", "\uff11\uff12", "C" * 5_000, [], [[]],
    [None], ["x"], [1, 2], {}, {"id": None}, {"id": {"id": 1}}, {"\x00": "\x00"}, [{}], [{"id": 5}],
    "2026-01-01", "2026-13-45T00:00:00", "<@", "<!subteam^", "&lt;@U1&gt;", "javascript:alert(1)",
)  # fmt: skip


def spots(value: Json) -> Iterator[Where]:
    """Every place in a payload that holds a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield value, key
        if isinstance(item, dict | list):
            yield from spots(item)


def mutated(payload: Json, random: Random) -> Json:
    """A copy with one to four faults."""
    made = copy.deepcopy(payload)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        places = list(spots(made))
        if not places:
            return made
        random.choice(FAULTS)(*random.choice(places), random)
    return made


def _drop(container: Json, key: Json, random: Random) -> None:
    del random, container[key]


def _swap(container: Json, key: Json, random: Random) -> None:
    container[key] = copy.deepcopy(random.choice(ODD))


def _wrap(container: Json, key: Json, random: Random) -> None:
    value = container[key]
    container[key] = random.choice(([value], {"id": value}, {"value": value}, str(value)))


def _nest(container: Json, key: Json, random: Random) -> None:
    for _ in range(random.choice((3, 60, 200))):
        container[key] = random.choice(([container[key]], {str(key): container[key]}))


def _stain(container: Json, key: Json, random: Random) -> None:
    """Characters that a database or UTF-8 refuses, in the middle of a text."""
    text = str(container[key])
    at = random.randrange(len(text) + 1)
    container[key] = text[:at] + random.choice(("\x00", "\ud800", "\udfff", "\u202e")) + text[at:]


def _repeat(container: Json, key: Json, random: Random) -> None:
    container[key] = [container[key]] * random.choice((2, 50))


def _add(container: Json, key: Json, random: Random) -> None:
    if isinstance(container, dict):
        container[random.choice((f"{key}_", "event", "id", "message", "user", "\ud800"))] = (
            copy.deepcopy(random.choice(ODD))
        )


FAULTS: tuple[Callable[[Json, Json, Random], None], ...] = (
    _drop, _drop, _swap, _swap, _swap, _wrap, _nest, _stain, _repeat, _add,
)  # fmt: skip
