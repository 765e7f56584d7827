"""The Markdown that a message of DiscordChatExporter's HTML was made of."""

from __future__ import annotations

import re

from lxml import etree

DEPTH_MAX = 60  # elements one inside another; deeper, only the words are kept

_AROUND = {"strong": "**", "b": "**", "em": "*", "i": "*", "u": "__", "s": "~~"}
_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
_QUOTES = frozenset({"chatlog__markdown-quote", "quote"})
_SPOILERS = frozenset({"chatlog__markdown-spoiler", "spoiler-text"})
_CUSTOM_EMOJI = re.compile(r"[A-Za-z0-9_]{2,}")
_LANGUAGE = re.compile(r"language-([\w+#.-]+)")


def classes(element: etree._Element) -> frozenset[str]:
    """The names of an element's classes; none of a comment."""
    return frozenset((element.get("class") or "").split())


def markdown(element: etree._Element) -> str:
    """What was written, as near as the page tells: mentions stay the names that it shows."""
    parts: list[str] = []
    _inside(element, parts, 0)
    return "".join(parts).strip()


def _inside(element: etree._Element, parts: list[str], depth: int) -> None:
    if depth > DEPTH_MAX:
        parts.append("".join(element.itertext()))
        return
    parts.append(element.text or "")
    for child in element:
        tail = child.tail or ""
        text = _one(child, depth + 1)
        if _is_block(child):
            if (written := "".join(parts[-2:])) and not written.endswith("\n"):
                parts.append("\n")
            after = "" if tail.startswith("\n") else "\n"
            text = f"{text}{after}"
        parts += [text, tail]


def _is_block(element: etree._Element) -> bool:
    names = classes(element)
    return (
        element.tag in _HEADINGS
        or element.tag in {"ul", "li"}
        or _is_code(names, "multiline")
        or bool(names & _QUOTES)
    )


def _is_code(names: frozenset[str], how: str) -> bool:
    return any(name.endswith(f"pre--{how}") for name in names)


def _one(element: etree._Element, depth: int) -> str:
    names = classes(element)
    if element.tag == "br":
        return "\n"
    if element.tag == "img":
        return _emoji(element)
    if _is_code(names, "multiline") or _is_code(names, "inline"):
        return _code(element, names)
    if "chatlog__edited-timestamp" in names:
        return ""
    parts: list[str] = []
    _inside(element, parts, depth)
    return _marked(element, names, "".join(parts))


def _code(element: etree._Element, names: frozenset[str]) -> str:
    code = "".join(element.itertext())
    if _is_code(names, "inline"):
        return f"`{code}`"
    language = _LANGUAGE.search(element.get("class") or "")
    code = code.strip("\n")
    return f"```{language[1] if language else ''}\n{code}\n```"


def _marked(element: etree._Element, names: frozenset[str], text: str) -> str:
    """Words with the marks that made the element of them."""
    tag = str(element.tag)
    if names & _QUOTES:
        return "\n".join(f"> {line}" for line in text.strip().splitlines())
    if tag in _HEADINGS:
        return f"{_HEADINGS[tag]} {text.strip()}"
    if tag in {"ul", "li"}:
        return text.strip("\n") if tag == "ul" else "- " + text.strip().replace("\n", "\n  ")
    if tag == "a":
        href = element.get("href") or text
        return text if text == href else f"[{text}]({href})"
    mark = "||" if names & _SPOILERS else _AROUND.get(tag, "")
    return f"{mark}{text}{mark}"


def _emoji(element: etree._Element) -> str:
    name = element.get("alt") or element.get("title") or ""
    return f":{name}:" if _CUSTOM_EMOJI.fullmatch(name) else name
