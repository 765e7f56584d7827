"""What `flow` and `workflow` share: texts of graphs, stored or in files, and what is wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator
    from typing import Protocol

    from engine.flow.graph import Graph

    class Stored(Protocol):
        """A graph as the engine keeps it."""

        @property
        def name(self) -> str: ...
        @property
        def dsl(self) -> str: ...


async def text_of(
    ref: str, find: Callable[[str], Awaitable[Stored]], *, field: str
) -> tuple[str, str]:
    """A name and its text: of what `find` knows by the name, of a file, or of stdin for `-`.

    A name with a `.` or a `/` is a file.
    """
    if ref != "-" and not _names_file(ref):
        found = await find(ref)
        return found.name, found.dsl
    return read_text(ref, field=field)


def read_text(file: str, *, field: str) -> tuple[str, str]:
    """The stem and the text of a file; `stdin` and what comes in for `-`."""
    from engine.errors import InvalidInput

    if file == "-":
        return "stdin", sys.stdin.read()
    path = Path(file)
    try:
        return path.stem, path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror}.", field=field) from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{file} is not text in UTF-8.", field=field) from None


def read_import(file: str, name: str, *, noun: str, field: str) -> tuple[str, str]:
    """The name to store a file's text under, and the text; stdin needs a name."""
    from engine.errors import InvalidInput

    stem, dsl = read_text(file, field=field)
    if file == "-" and not name:
        raise InvalidInput(f"A {noun} from stdin needs a name: pass --name NAME.", field="name")
    return name or stem, dsl


def quoted(word: str) -> str:
    """`name=two words`, as the shell handed it over, in the form that commands read."""
    name, sign, value = word.partition("=")
    return f'{name}="{value}"' if sign and " " in value else word


@contextmanager
def faults_named(file: str) -> Iterator[None]:
    """Let the faults of a graph be those of its file, a line each."""
    from engine.errors import FlowError, InvalidInput

    try:
        yield
    except FlowError as error:
        lines = "\n".join(f"  {fault}" for fault in error.faults)
        raise InvalidInput(f"{file} is invalid:\n{lines}", field="dsl") from None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a graph is sound: its components in their order, or every fault."""

    name: str
    steps: Sequence[str]
    faults: Sequence[str]

    def show(self, *, as_json: bool) -> int:
        """Tell it; the command's exit status."""
        from cli import output
        from cli.context import DONE, REFUSED

        if as_json:
            output.show_json(
                {
                    "name": self.name,
                    "sound": not self.faults,
                    "faults": self.faults,
                    "steps": self.steps,
                }
            )
        elif self.faults:
            output.note(f"{self.name} has {len(self.faults)} fault{'s' * (len(self.faults) > 1)}:")
            for fault in self.faults:
                output.note(f"  {fault}")
        else:
            output.show(f"{self.name} is valid: {' → '.join(self.steps)}\n")
        return REFUSED if self.faults else DONE


def judge(name: str, dsl: str, load: Callable[[str], Graph]) -> Verdict:
    """What loading a text comes to."""
    from engine.errors import FlowError

    try:
        graph = load(dsl)
    except FlowError as error:
        return Verdict(name, [], error.faults)
    return Verdict(name, [graph.nodes[node].component.type for node in graph.order], [])


def write_text(file: Path | None, text: str) -> None:
    """A text as it is stored, into a file, or to stdout."""
    from cli import output
    from engine.errors import InvalidInput

    if file is None:
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror}.", field="file") from None
    output.note(f"wrote {file}")


def show_text(dsl: str) -> None:
    """A text on the screen, with an end of line."""
    from cli import output

    output.show(dsl if dsl.endswith("\n") else dsl + "\n")


def _names_file(ref: str) -> bool:
    return bool({".", "/", "\\"} & set(ref))
