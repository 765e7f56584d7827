"""Is a chunk worth finding: length, code that parses, the terms of a field. Pure.

Each check gives reasons in words; what follows from them (a flag, or the chunk is left out) is
QualityControl's.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

_FENCE = re.compile(
    r"^([ \t]*)(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*\n(.*?)^[ \t]*\2[ \t]*$",
    re.DOTALL | re.MULTILINE,
)
_PYTHON = frozenset({"py", "python", "python3"})
_BRACKETS = frozenset(
    {"c", "c++", "cpp", "cs", "csharp", "go", "java", "javascript", "js", "kotlin", "php", "rust"}
    | {"rs", "scala", "swift", "ts", "typescript"}
)
_CLOSES = {")": "(", "]": "[", "}": "{"}
_LITERALS = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`""", re.DOTALL
)
CODE_MAX = 50_000  # characters of a fence that are checked


@dataclass(frozen=True, slots=True)
class Checks:
    """What a chunk must meet. Lengths are characters; None and empty check nothing.

    `technical_terms`: a chunk must name one of them at least, as a whole word, in any case.
    """

    min_length: int | None = None
    max_length: int | None = None
    code_syntax: bool = False
    technical_terms: Sequence[str] = ()
    _terms: re.Pattern[str] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        words = "|".join(re.escape(term) for term in self.technical_terms)
        pattern = re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) if words else None
        object.__setattr__(self, "_terms", pattern)

    def reasons(self, text: str) -> list[str]:
        """What is wrong with `text`, one reason a check."""
        found = []
        if self.min_length is not None and len(text) < self.min_length:
            found.append(f"{len(text)} characters, fewer than {self.min_length}")
        if self.max_length is not None and len(text) > self.max_length:
            found.append(f"{len(text)} characters, more than {self.max_length}")
        if self.code_syntax:
            found += code_faults(text)
        if self._terms is not None and not self._terms.search(text):
            found.append("names none of the technical terms")
        return found


def code_faults(text: str) -> list[str]:
    """What does not parse in the fenced code of `text`: Python, JSON, brackets of the C family.

    Only whole fences whose language is named are looked at.
    """
    found = []
    for match in _FENCE.finditer(text):
        language, code = match[3].lower(), match[4][:CODE_MAX]
        fault = ""
        if language in _PYTHON:
            fault = _python_fault(code)
        elif language == "json":
            fault = _json_fault(code)
        elif language in _BRACKETS:
            fault = _bracket_fault(code)
        if fault:
            found.append(f"{language} code: {fault}")
    return found


def _python_fault(code: str) -> str:
    indent = min(
        (len(line) - len(line.lstrip()) for line in code.splitlines() if line.strip()), default=0
    )
    dedented = "\n".join(line[indent:] for line in code.splitlines())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape is no fault
            ast.parse(dedented)
    except SyntaxError as error:
        return f"{error.msg}, line {error.lineno}"
    except (MemoryError, RecursionError, ValueError):
        return "nested too deeply, or not text"
    return ""


def _json_fault(code: str) -> str:
    try:
        json.loads(code)
    except json.JSONDecodeError as error:
        return f"{error.msg}, line {error.lineno}"
    except (RecursionError, ValueError):
        return "nested too deeply, or a number too long"
    return ""


def _bracket_fault(code: str) -> str:
    open_: list[str] = []
    for letter in _LITERALS.sub(" ", code):
        if letter in "([{":
            open_.append(letter)
        elif letter in _CLOSES and (not open_ or open_.pop() != _CLOSES[letter]):
            return f"a {letter!r} closes nothing"
    return f"a {open_[-1]!r} is not closed" if open_ else ""
