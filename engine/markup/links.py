"""What generated text may link to and whom it may call: only what its sources say verbatim.

Applied at every door before a model's words are shown. A model can be talked into writing an
address that carries data away, or a mention that rings a thousand phones; a source can't make it.
"""

# ruff: noqa: RUF001 (typography and other scripts are what this module is about)
from __future__ import annotations

import re
from collections.abc import Iterable

# Every pattern here is bounded or possessive: what a model writes may be long and hostile.
_URL = re.compile(
    r"(?:(?:https?|ftp|mailto|file|data|javascript|vbscript|slack|discord|tel|sms):\\{0,4}"
    r"|(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{1,20}://"
    r"|(?<![\w:/])//(?=[\w\[]))"  # takes the scheme of the page it is shown on
    r"[^\s<>\"'`|\\^]+",
    re.IGNORECASE,
)
_BARE = re.compile(r"\bwww\.[^\s<>\"'`|\\^]+", re.IGNORECASE)
_MARKDOWN_LINK = re.compile(
    r"!?\[((?:[^\[\]]|\[[^\[\]]{0,200}+\]){0,500}+)\]\(\s{0,20}+"
    r"(?:<([^<>\n]{0,2000}+)>"
    r"|([^\s()<>]{0,2000}+(?:\([^\s()<>]{0,500}+\)[^\s()<>]{0,2000}+){0,5}+))"
    r"(?:\s{1,20}+[\"'(][^\n)]{0,500}+)?\s{0,20}+\)"
)
_REFERENCE = re.compile(r"^[ ]{0,3}\[[^\[\]\n]{1,500}+\]:[ \t]*+\S.*$\n?", re.MULTILINE)
_REFERENCE_USE = re.compile(  # but not two citations side by side, [1][2]
    r"!?\[(?!\d{1,3}\]\[\d{1,3}\])([^\[\]\n]{1,500}+)\]\[[^\[\]\n]{0,500}+\]"
)
_HTML = re.compile(r"</?[A-Za-z][^<>]*+>|<!--")
_SLACK = re.compile(
    r"<(?:!(?P<all>[^<>|]+)|(?P<who>[@#][^<>|]+)|(?P<url>[a-z]+:[^<>|\s]+))(?:\|(?P<label>[^<>]*))?>",
    re.IGNORECASE,
)
_DISCORD = re.compile(r"<(?:@[!&]?|#)\d+>")
_PING = re.compile(r"(?<!@)@++(?=(?:everyone|here|channel)\b(?!\.\w))", re.IGNORECASE)
_ROUNDS = 8  # taking one thing out may put another together: "<im<b>g …>"
_TRAILING = ".,;:!?)]}»”’*_"


def urls(text: str) -> set[str]:
    """Every address in the text, without punctuation that only follows it."""
    return {_trim(match.group()) for pattern in (_URL, _BARE) for match in pattern.finditer(text)}


def _trim(url: str) -> str:
    while url and url[-1] in _TRAILING:
        if url[-1] == ")" and url.count("(") >= url.count(")"):
            break
        url = url[:-1]
    return url


def sanitise(text: str, *, sources: Iterable[str]) -> str:
    """`text` with only the addresses its sources hold verbatim, images as links, and no pings.

    A link to an unknown address keeps its words; a bare unknown address becomes "(link removed)".
    """
    known: set[str] = set()
    for source in sources:
        known |= urls(source)
    for _ in range(_ROUNDS):
        before = text
        text = _SLACK.sub(_unwrap, text)
        text = _DISCORD.sub("someone", text)
        text = _HTML.sub("", text)
        text = _REFERENCE.sub("", text)
        text = _REFERENCE_USE.sub(r"\1", text)
        text = _MARKDOWN_LINK.sub(lambda match: _link(match, known), text)
        if text == before:
            break
    else:
        text = text.replace("<", "").replace("](", "] (")  # nobody writes so but to get past this
    for pattern in (_URL, _BARE):
        text = pattern.sub(lambda match: _bare(match.group(), known), text)
    return _PING.sub("", text)


def _unwrap(match: re.Match[str]) -> str:
    if match["all"]:
        return match["label"] or match["all"].split("^")[0]
    if match["who"]:
        return (match["label"] or "someone").lstrip("@")
    return f"[{match['label']}]({match['url']})" if match["label"] else match["url"]


def _link(match: re.Match[str], known: set[str]) -> str:
    label, url = match[1].strip(), match[2] or match[3] or ""
    if url in known:
        return f"[{label or url}]({url})"
    return label


def _bare(found: str, known: set[str]) -> str:
    url = _trim(found)
    if url in known:
        return found
    if any(found.startswith(whole) and not _TRAILING.strip(found[len(whole) :]) for whole in known):
        return found
    return "(link removed)" + found[len(url) :]
