"""Markdown as words: what a sentence says once its marks are gone.

What is shown in an answer and what is embedded; quotes keep the marks of their source.
"""

from __future__ import annotations

import html
import re

_TEMPLATE_TEXT = re.compile(r"\{%-?[ \t]*+\w+[ \t]++[\"']([^\"']{0,500}+)[\"'][^%]{0,500}+%\}")
_TEMPLATE = re.compile(r"\{[%#].{0,500}?[%#]\}|\{\{.{0,500}?\}\}", re.DOTALL)
_LINK = re.compile(
    r"!?\[([^\[\]]{0,1000}+)\]"
    r"(?:\(\s{0,20}+[^()\s]{0,2000}+(?:\([^()\s]{0,500}+\)[^()\s]{0,2000}+){0,5}+"
    r"(?:\s{1,20}+\"[^\"]{0,500}+\")?\s{0,20}+\)|\[[^\[\]]{0,500}+\])"
)
_FOOTNOTE = re.compile(r"\[\^[^\[\]]{1,100}+\]")
_AUTOLINK = re.compile(r"<((?:https?|mailto):[^>\s]+)>")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_MARKS = re.compile(
    r"\*+|`+|~~|(?<!\w)_+|_+(?!\w)|^[ \t]*+#{1,6}[ \t]++|\\(?=[^\w\s])", re.MULTILINE
)
_CELLS = re.compile(r" ?\| ?")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+")
_NESTED = 5  # a linked picture is a link in a link


def plain(text: str) -> str:
    """The words of a piece of Markdown, on one line.

    "**Wait** for [the guide](x.md){% image 'a.png' %}" becomes "Wait for the guide".
    """
    text = _TEMPLATE_TEXT.sub(_kept, text)
    text = _TEMPLATE.sub(" ", text)
    text = _FOOTNOTE.sub("", text)
    for _ in range(_NESTED):
        text = _LINK.sub(r"\1", text)
    text = _AUTOLINK.sub(r"\1", text)
    text = _TAG.sub(" ", text)
    text = _MARKS.sub("", text)
    text = " ".join(text.split())
    if "|" in text:
        text = _CELLS.sub(" | ", text).strip(" |")
    return " ".join(html.unescape(text).split())


def _kept(match: re.Match[str]) -> str:
    # A template that names something ("slack_channel 'dc'") says it; one that draws a file doesn't.
    named = match.group(1)
    return " " if "/" in named or "." in named else named


def without_commands(text: str) -> str:
    """A text for people who have no command line: without the sentences that name a command of it."""
    sentences = _SENTENCE.split(text)
    kept = [sentence for sentence in sentences if "`scrubjay " not in sentence]
    if len(kept) == len(sentences):
        return text
    return " ".join([*kept, "The person who runs me can help."]).strip()
