"""What a template leaves in prose: tags that were never filled, and `<br>` written as text.

Called by `markdown.py` on a whole file, before its blocks are marked. Fences, indented code and code
in a sentence keep all of it, and lines keep their number. Words that a tag holds for readers, as in
`{{< tooltip text="Pod" >}}` and `{% trans "Hello" %}`, stay; names of files and pages do not.
"""

from __future__ import annotations

import re

_MAY_HOLD = re.compile(r"\{[{%]|</?br\b", re.IGNORECASE)
_FENCE = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(`{3,}|~{3,})")
_CODE = re.compile(r"(`+)(?:(?!\1).)+?\1(?!`)")
_ONLY_TAGS = re.compile(
    r"[ \t]*(?:(?:\{%.*?%\}|\{\{[^{}]*\}\}|</?br\s*/?>)[ \t]*)+$", re.IGNORECASE
)
_QUOTED = r"\"[^\"\n]*\"|'[^'\n]*'"
_RESIDUE = re.compile(
    rf"(?<!\$)\{{\{{(?:{_QUOTED}|[^{{}}])*\}}\}}"
    # What begins a comment is read later.
    rf"|\{{%-?\s*(?!(?:end)?comment\b)[\w.]+(?:{_QUOTED}|[^%\"']|%(?!\}})|[\"'])*?%\}}"
    r"|</?br\s*/?>(?=\s|$)",
    re.IGNORECASE,
)
# What a tag shows its readers: an argument that is called so, or what is to be translated.
_SHOWN = re.compile(
    r"\b(?:text|title|label|alt|caption|content|display|summary|term)\s*=\s*(?:\"([^\"\n]+)\"|'([^'\n]+)')",
    re.IGNORECASE,
)
# A word given to a tag by itself, as to a channel's name; what governs a page names pages and files.
_GIVEN = re.compile(
    r"\{%-?\s*(?!(?:include|include_relative|includes|extends|load|import|from|macro|call|use|embed"
    r"|render|render_time|partial|component|layout|block|section|static|asset|asset_path|url|link"
    r"|link_to|post_url|ref|relref|path|route|now|get_current_language|if|elsif|elif|unless|for|case"
    r"|when|assign|set|capture|with|filter|cache|cycle|increment|decrement|tag|highlight|raw|javascript"
    r"|stylesheet|style|schema|form|paginate|tablerow|liquid|echo|data|ifversion|autoescape|debug"
    r"|regroup|csrf_token|comment)\b)\w+\s+(?:\"([^\"\n]+)\"|'([^'\n]+)')\s*-?%\}"
    r"|\{\{-?\s*(?:_|gettext|__|t|trans)?\s*\(?\s*(?:\"([^\"\n]+)\"|'([^'\n]+)')\s*\)?\s*(?:\|\s*\w+\s*)*-?\}\}"
)
_BREAK = re.compile(r"</?br\s*/?>", re.IGNORECASE)


def without_residue(text: str, start: int) -> str:
    """`text` with templates' residue taken out of its prose from `start` on."""
    if _MAY_HOLD.search(text, start) is None:
        return text
    fence = ""
    lines = text[start:].split("\n")
    for number, line in enumerate(lines):
        match = _FENCE.match(line)
        if fence:
            if match and match[1].startswith(fence) and not line.strip(" \t`~"):
                fence = ""
            continue
        if match:
            fence = match[1]
            continue
        is_code = line.startswith(("    ", "\t")) and (not number or not lines[number - 1].strip())
        if not is_code and _MAY_HOLD.search(line) and not _ONLY_TAGS.match(line):
            lines[number] = _without(line)
    return text[:start] + "\n".join(lines)


def _without(line: str) -> str:
    pieces: list[str] = []
    at = 0
    for code in _CODE.finditer(line):
        pieces += (_cleaned(line[at : code.start()]), code[0])
        at = code.end()
    pieces.append(_cleaned(line[at:]))
    return "".join(pieces)


def _cleaned(prose: str) -> str:
    return _BREAK.sub(" ", _RESIDUE.sub(lambda found: words_of(found[0]), prose))


def words_of(tag: str) -> str:
    """The words a tag holds for readers; none in most."""
    if tag.startswith("<"):
        return ""
    match = _SHOWN.search(tag) or _GIVEN.match(tag)
    return next(filter(None, match.groups()), "") if match else ""
