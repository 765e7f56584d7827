"""How often a source is synced, in words and in seconds."""

from __future__ import annotations

import re

from engine.errors import InvalidInput

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_EVERY = re.compile(r"(\d{1,5})([mhd])")


def seconds_between(said: str) -> int | None:
    """Seconds of `15m`, `6h`, `1d`; 0 for `never`, None for nothing."""
    if not said:
        return None
    if said in {"never", "0"}:
        return 0
    found = _EVERY.fullmatch(said)
    if found is None:
        raise InvalidInput(
            f"{said!r} is no time between syncs: write 15m, 6h, 1d or never.", field="every"
        )
    return int(found[1]) * _UNITS[found[2]]


def in_words(every_s: int) -> str:
    """The shortest way to write seconds between syncs; `seconds_between` reads it back."""
    if not every_s:
        return "never"
    unit = next(unit for unit in ("d", "h", "m") if every_s % _UNITS[unit] == 0 or unit == "m")
    return f"{max(1, every_s // _UNITS[unit])}{unit}"
