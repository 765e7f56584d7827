"""Source code, kept as people wrote it: functions and classes are where it may be cut.

Definitions are found by how their lines begin, which holds for any file, also one that does not
compile. Each block knows its lines, and has the names of what it belongs to as headings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingestion.convert.document import (
    Block,
    BlockPlace,
    ConversionLimits,
    Converted,
    Outline,
    clean,
    too_many_blocks,
    too_much_text,
)
from ingestion.convert.encoding import decode_text, doubt

MIME = "text/x-source"

LANGUAGES = {
    ".py": "python",
    ".pyi": "python",
    ".pyw": "python",
    ".rb": "ruby",
    ".go": "go",
    ".js": "javascript",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".jsx": "javascript",
    ".ts": "typescript",
    ".tsx": "typescript",
    ".mts": "typescript",
    ".java": "java",
    ".kt": "kotlin",
    ".kts": "kotlin",
    ".scala": "scala",
    ".groovy": "groovy",
    ".cs": "c#",
    ".c": "c",
    ".h": "c",
    ".cc": "c++",
    ".cpp": "c++",
    ".cxx": "c++",
    ".hpp": "c++",
    ".hh": "c++",
    ".m": "objective-c",
    ".mm": "objective-c",
    ".rs": "rust",
    ".swift": "swift",
    ".php": "php",
    ".pl": "perl",
    ".pm": "perl",
    ".lua": "lua",
    ".r": "r",
    ".jl": "julia",
    ".sh": "shell",
    ".bash": "shell",
    ".zsh": "shell",
    ".fish": "shell",
    ".ps1": "powershell",
    ".bat": "batch",
    ".sql": "sql",
    ".ex": "elixir",
    ".exs": "elixir",
    ".erl": "erlang",
    ".hs": "haskell",
    ".ml": "ocaml",
    ".clj": "clojure",
    ".dart": "dart",
    ".zig": "zig",
    ".vue": "vue",
    ".svelte": "svelte",
    ".css": "css",
    ".scss": "css",
    ".less": "css",
    ".tf": "terraform",
    ".proto": "protobuf",
    ".graphql": "graphql",
    ".cmake": "cmake",
    ".toml": "toml",
    ".ini": "ini",
    ".cfg": "ini",
    ".conf": "ini",
    ".properties": "ini",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".dockerfile": "dockerfile",
    ".gradle": "groovy",
    ".tex": "latex",
    ".diff": "diff",
    ".patch": "diff",
    ".asm": "assembly",
    ".s": "assembly",
}
SUFFIXES = tuple(LANGUAGES)

_MODIFIERS = (
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|pub"
    r"(?:\([^)]*\))?|unsafe|const|extern(?:\s+\"C\")?|inline|virtual|override|open|sealed|data|partial"
    r"|suspend|declare|local|@\w+(?:\([^)]*\))?)\s+)*"
)
_WORDS = re.compile(
    rf"^([ \t]*){_MODIFIERS}(?:class|interface|struct|enum|trait|impl|module|namespace|protocol"
    r"|extension|object|record|union|def|defp|defmodule|fn|fun|func|function|sub|proc|message"
    r"|service|resource|CREATE\s+(?:OR\s+REPLACE\s+)?(?:TABLE|VIEW|FUNCTION|PROCEDURE|TRIGGER|INDEX))"
    r"(?:\s+\*?|\s*\*)\s*(?:<[^>]*>\s*)?(?:\([^)]*\)\s*)?(?:IF\s+NOT\s+EXISTS\s+)?[\"'`]?([\w$.:?!-]*)",
    re.IGNORECASE,
)
# A C-like function: a line at the margin, or one level in, with a name and a parameter list.
_CALLABLE = re.compile(
    r"^([ ]{0,4}|\t)(?!(?:if|for|while|switch|return|else|catch|do|case|throw|new|await|yield|delete"
    r"|using|assert|with|elif|except|print)\b)(?:[\w:<>,*&\[\]?.~]+[ \t*&]+)*([\w$:~]+)\s*\([^;{}]*\)?"
    r"[^;={}()]*\{?\s*$"
)
_ASSIGNED = re.compile(
    rf"^([ \t]*){_MODIFIERS}(?:let|var|const)?\s*([\w$.]+)\s*(?::[^=]+)?=\s*(?:async\s*)?"
    r"(?:function\b|\([^)]*\)\s*(?::[^=]+)?=>|[\w$]+\s*=>|class\b)"
)
_SECTION = re.compile(r"^()\[+([^\]\n]+)\]+\s*(?:[#;].*)?$")
_KEY = re.compile(r"^()([\w.$-]+):(?:\s|$)")
_TEX = re.compile(r"^([ \t]*)\\(?:part|chapter|(?:sub)*section)\*?\{([^}]*)\}")
_HUNK = re.compile(r"^()diff (?:--git )?(?:a/)?(\S+)")
_LEAD = re.compile(r"^[ \t]*(?:@|#\[|//|/\*|\*|#(?!include|define|if|endif|else)|--|\"\"\"|;;)")
_BRACES = frozenset(
    (
        *("c", "c++", "java", "c#", "javascript", "typescript", "php", "dart", "kotlin", "scala"),
        *("swift", "rust", "go", "objective-c", "groovy", "zig", "perl", "vue", "svelte", "shell"),
    )
)
_OWN: dict[str, tuple[re.Pattern[str], ...]] = {
    "assembly": (),
    "batch": (),
    "css": (),
    "diff": (_HUNK,),
    "dockerfile": (),
    "ini": (_SECTION,),
    "json": (),
    "latex": (_TEX,),
    "toml": (_SECTION,),
    "yaml": (_KEY,),
}
_NESTED = 2  # levels of definitions that are kept apart


def language_of(suffix: str) -> str:
    """The language of a suffix, or nothing."""
    return LANGUAGES.get(suffix, "")


def has_shebang(data: bytes) -> bool:
    """Whether `data` begins as a script that names its interpreter."""
    return data.startswith(b"#!") and b"\n" in data[:200] and b"/" in data[:200].split(b"\n")[0]


def convert(data: bytes, limits: ConversionLimits) -> Converted:
    """The file as it is; without its name the language is not known."""
    return convert_as(data, limits, "")


def convert_as(data: bytes, limits: ConversionLimits, language: str) -> Converted:
    """The file as it is, cut where definitions of `language` begin."""
    text, encoding = decode_text(data)
    text = clean(text)
    if len(text) > limits.text_chars:
        raise too_much_text(limits)
    metadata: dict[str, str | int | float | bool | list[str]] = {}
    if language:
        metadata["programming_language"] = language
    if encoding != "utf-8":
        metadata["encoding"] = encoding
    blocks = list(_blocks(text, language))
    if len(blocks) > limits.blocks:
        raise too_many_blocks(limits)
    return Converted(
        text=text, blocks=blocks, mime=MIME, metadata=metadata, notice=doubt(data, encoding)
    )


def _blocks(text: str, language: str) -> Iterator[Block]:
    lines = text.split("\n")
    cuts = _cuts(lines, language)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    outline = Outline()
    bounds = [(0, 0, ""), *cuts] if not cuts or cuts[0][0] else cuts
    for number, (begin, level, name) in enumerate(bounds):
        path = outline.enter(level, name) if name else outline.path
        end = bounds[number + 1][0] if number + 1 < len(bounds) else len(lines)
        first, last = begin, end
        while first < last and not lines[first].strip():
            first += 1
        while last > first and not lines[last - 1].strip():
            last -= 1
        if first < last:
            place = BlockPlace("line", first + 1, last)
            yield Block("code", starts[first], starts[last] - 1, 0, None, path, place)


def _cuts(lines: list[str], language: str) -> list[tuple[int, int, str]]:
    """The line, level from 1 and name of each definition, comments and decorators above it included."""
    patterns = _patterns(language)
    found: list[tuple[int, int, str]] = []
    indents: list[int] = []
    for number, line in enumerate(lines):
        if not line.strip() or len(line) > 500:
            continue
        match = next((m for p in patterns if (m := p.match(line)) and m[2]), None)
        if match is None:
            continue
        indent = len(match[1].expandtabs(4))
        while indents and indents[-1] >= indent:
            indents.pop()
        if len(indents) >= _NESTED or (indent and not indents):
            continue
        indents.append(indent)
        begin = number
        while begin > 0 and lines[begin - 1].strip() and _LEAD.match(lines[begin - 1]):
            begin -= 1
        if found and begin <= found[-1][0]:
            begin = number
        found.append((begin, len(indents), match[2].strip(":")[:200] or line.strip()[:80]))
    return found


def _patterns(language: str) -> tuple[re.Pattern[str], ...]:
    if language in _BRACES:
        return _WORDS, _ASSIGNED, _CALLABLE
    return _OWN.get(language, (_WORDS,))
