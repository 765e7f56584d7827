"""Markdown as words: what a sentence says once its marks are gone.

What is shown in an answer and what is embedded; quotes keep the marks of their source.
"""

from __future__ import annotations

import html
import re

_TEMPLATE_TEXT = re.compile(r"\{%-?\s*\w+\s+[\"']([^\"']*)[\"'][^%]*%\}")
_TEMPLATE = re.compile(r"\{[%#].*?[%#]\}|\{\{.*?\}\}", re.DOTALL)
_LINK = re.compile(
    r"!?\[([^\]]*)\]"
    r"(?:\(\s*[^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\s*\)|\[[^\]]*\])"
)
_FOOTNOTE = re.compile(r"\[\^[^\]]+\]")
_AUTOLINK = re.compile(r"<((?:https?|mailto):[^>\s]+)>")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_MARKS = re.compile(r"\*+|`+|~~|(?<!\w)_+|_+(?!\w)|^\s*#{1,6}\s+|\\(?=[^\w\s])", re.MULTILINE)
_CELLS = re.compile(r"\s*\|\s*")


def plain(text: str) -> str:
    """The words of a piece of Markdown, on one line.

    "**Wait** for [the guide](x.md){% image 'a.png' %}" becomes "Wait for the guide".
    """
    text = _TEMPLATE_TEXT.sub(_kept, text)
    text = _TEMPLATE.sub(" ", text)
    text = _FOOTNOTE.sub("", text)
    while (linked := _LINK.sub(r"\1", text)) != text:  # a linked picture is a link in a link
        text = linked
    text = _AUTOLINK.sub(r"\1", text)
    text = _TAG.sub(" ", text)
    text = _MARKS.sub("", text)
    if "|" in text:
        text = _CELLS.sub(" | ", text).strip(" |")
    return " ".join(html.unescape(text).split())


def _kept(match: re.Match[str]) -> str:
    # A template that names something ("slack_channel 'dc'") says it; one that draws a file doesn't.
    named = match.group(1)
    return " " if "/" in named or "." in named else named
