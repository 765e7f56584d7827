"""The process that renders templates: a line of JSON in, a line of JSON out. `templating.py` starts it.

It imports nothing of ours, so that it starts quickly, and holds itself to memory and processor time.
Fuel counts instructions and what filters make; what fuel does not count is bounded here.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import minijinja

TEXT_MAX = 500_000  # characters of what is written
FUEL = 200_000  # MiniJinja's unit: about one an instruction, and what a filter makes besides
LITERAL_BUDGET = 100_000_000  # characters: fuel does not count how long a text between tags is
MEMORY_BYTES = 512 * 2**20
CPU_S = 3

_TAGS = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


class TooLong(Exception):
    """What is written grew over the limit."""


def render(template: str, values: dict[str, Any]) -> str:
    """The text of a template. Raises `TooLong`, and `minijinja.TemplateError` for its faults."""
    longest = max(len(part) for part in _TAGS.split(template))
    environment = minijinja.Environment()
    environment.fuel = min(FUEL, LITERAL_BUDGET // max(1, longest))
    written = 0

    def count(value: Any) -> Any:  # noqa: ANN401 (of the library)
        nonlocal written
        written += len(value) if isinstance(value, str) else 20
        if written > TEXT_MAX:
            raise TooLong
        return value

    environment.finalizer = count
    text: str = environment.render_str(template, **values)
    if len(text) > TEXT_MAX:
        raise TooLong
    return text


def answer(line: str) -> dict[str, str]:
    """The reply to one request."""
    asked = json.loads(line)
    try:
        return {"text": render(asked["template"], asked["values"])}
    except TooLong:
        return {"too_long": f"{TEXT_MAX:,}"}
    except minijinja.TemplateError as error:
        return {"fault": str(error).partition("\n")[0]}
    except MemoryError:
        return {"fault": "it needs too much memory"}


def main() -> None:
    """Answer until the other side is gone."""
    for line in sys.stdin:
        limit()
        sys.stdout.write(json.dumps(answer(line)) + "\n")
        sys.stdout.flush()


def limit() -> None:
    """Hold this process to its memory, and to some processor time from now on."""
    try:
        import resource  # noqa: PLC0415 (not on Windows)
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + CPU_S
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
