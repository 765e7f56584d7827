"""Is a chunk worth finding: length, code that parses, the terms of a field. Pure.

Each check gives reasons in words; what follows from them (a flag, or the chunk is left out) is
QualityControl's.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_FENCE = re.compile(r"[ \t]*+(`{3,}+|~{3,}+)[ \t]*+([\w+#.-]*+)")
_PYTHON = frozenset({"py", "python", "python3"})
_BRACKETS = frozenset(
    {"c", "c++", "cpp", "cs", "csharp", "go", "java", "javascript", "js", "kotlin", "php", "rust"}
    | {"rs", "scala", "swift", "ts", "typescript"}
)
_CLOSES = {")": "(", "]": "[", "}": "{"}
# Possessive throughout, and what is not closed runs to the end: code is anybody's.
_LITERALS = re.compile(
    r"""//[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z)|"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+'"""
    r"""|`(?:\\.|[^`\\])*+`""",
    re.DOTALL,
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

    def reasons(self, text: str) -> list[str]:
        """What is wrong with `text`, one reason a check."""
        found = []
        if self.min_length is not None and len(text) < self.min_length:
            found.append(f"{len(text)} characters, fewer than {self.min_length}")
        if self.max_length is not None and len(text) > self.max_length:
            found.append(f"{len(text)} characters, more than {self.max_length}")
        if self.code_syntax:
            found += code_faults(text)
        if self.technical_terms:
            folded = text.casefold()
            if not any(_names(folded, term.casefold()) for term in self.technical_terms):
                found.append("names none of the technical terms")
        return found


def _names(text: str, term: str) -> bool:
    """Whether `term` occurs in `text` and is no part of a longer word."""
    at = text.find(term)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(term) : at + len(term) + 1]
        if not (_is_word(before) or _is_word(after)):
            return True
        at = text.find(term, at + 1)
    return False


def _is_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


def code_faults(text: str) -> list[str]:
    """What does not parse in the fenced code of `text`: Python, JSON, brackets of the C family.

    Only whole fences whose language is named are looked at.
    """
    found = []
    for language, code in _fences(text):
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


def _fences(text: str) -> Iterator[tuple[str, str]]:
    """Language and code of each fence that is closed, in one pass."""
    mark, language = "", ""
    lines: list[str] = []
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if mark:
            if match and match[1].startswith(mark) and not line[match.end(1) :].strip():
                yield language, "\n".join(lines)[:CODE_MAX]
                mark = ""
            else:
                lines.append(line)
        elif match:
            mark, language, lines = match[1], match[2].lower(), []


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
