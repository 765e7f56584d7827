"""Where a command's words go: the answer to stdout, everything else to stderr.

Colour, width and progress bars only where a person reads: a pipe gets plain text, unwrapped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

UNWRAPPED = 100_000  # columns: a pipe wraps nothing
WIDEST = 100  # columns; longer lines are hard to read


def to_person() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def width() -> int:
    """Columns that text for people is wrapped at."""
    return min(_console().width, WIDEST) if to_person() else UNWRAPPED


def columns() -> int | None:
    """Columns of the terminal that a table has to fit; None without a terminal."""
    return _console().width if to_person() else None


def show(text: Text | str) -> None:
    """Print to stdout, in colour if it is a terminal that has colours."""
    from rich.text import Text

    if to_person():
        _console().print(text if isinstance(text, Text) else Text(text), end="", soft_wrap=True)
    else:
        sys.stdout.write(text.plain if isinstance(text, Text) else text)


def show_json(value: object) -> None:
    """Print one JSON value to stdout; dates as ISO 8601."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def note(text: str) -> None:
    """Print a line to stderr: what happened, apart from the answer."""
    sys.stderr.write(text.rstrip("\n") + "\n")


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner on stderr while something may take over a second; nothing without a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    with _console(stderr=True).status(what):
        yield


class Bar:
    """A progress bar on stderr, drawn only on a terminal; `advance_to` may be called often."""

    def __init__(self, what: str, total: float) -> None:
        self._what, self._total = what, total
        self._progress = None
        if sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

            self._progress = Progress(
                "{task.description}",
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=_console(stderr=True),
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
            self._task = self._progress.add_task(self._what, total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def advance_to(self, done: float, what: str = "") -> None:
        """Show that `done` of the total is reached, and what is worked on."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, description=what or self._what)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)
