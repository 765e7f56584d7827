"""Text between Markdown and what Discord renders, and text made safe to post. Pure.

Discord's Markdown has no tables, HTML, images, tilde fences or headings below the third level, and
it unfurls bare addresses. What is generated may neither notify anyone, nor look like what only
Discord or its people write, nor reorder or overflow the text around it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import regex

from bots.discord.fences import Fence, find_fences
from bots.replies import SourceLine
from engine.markup.plain import plain

TABLE_WIDTH = 56  # columns of a code block that desktop and tablet show without a break
ADDRESS_MAX = 512  # characters; what is longer is no link here
MARKS_MAX = 4  # combining marks on a letter; no living script writes more

_ZERO_WIDTH = "\u200b"
_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_STACK = regex.compile(rf"([\p{{Mn}}\p{{Me}}]{{{MARKS_MAX}}})[\p{{Mn}}\p{{Me}}]+")
_CALL = re.compile(
    r"<(?=@[!&]?\d|#\d|/[^\n<>]{1,150}:\d|a?:\w{1,64}:\d|t:-?\d|id:\w)"
    r"|@(?=everyone|here)"
    r"|discord(?:app)?(?=\.gg/|\.com/invite/)",
    re.IGNORECASE,
)
_INVITE = re.compile(r"discord\.gg/|discord(?:app)?\.com/invite/", re.IGNORECASE)


# Made safe


def calm(text: str) -> str:
    """Text without controls that reorder it, and without stacks of marks that overflow it."""
    text = _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return str(_STACK.sub(r"\1", text))


def quieten(text: str) -> str:
    """Text that notifies no one and shows nothing as Discord's own: an invisible mark splits it.

    Mentions, commands, emoji and times of Discord's syntax, and invitations to servers.
    """
    return _CALL.sub(lambda match: match.group() + _ZERO_WIDTH, text)


def escape(text: str) -> str:
    """One line of foreign text as it is: no marks of Markdown work in it."""
    shown = re.sub(r"([\\`*_~|<>\[\]#])", r"\\\1", " ".join(calm(text).split()))
    return isolate(quieten(shown))


def isolate(text: str) -> str:
    """Text that, where it runs from right to left, does not reorder the text next to it."""
    if any(unicodedata.bidirectional(character) in {"R", "AL"} for character in text):
        return f"{_ISOLATE}{text}{_END_ISOLATE}"
    return text


def link(url: str, label: str) -> str:
    """A link that does not unfurl; without an address that can be opened, the label alone."""
    target = _target(url)
    if not target:
        return escape(label)
    # Discord shows a link as it is written where its label holds brackets or an address.
    shown = re.sub(r"[\[\]]", lambda m: "(" if m.group() == "[" else ")", label)
    shown = escape(shown).replace("://", f":{_ZERO_WIDTH}//")
    return f"[{shown or 'link'}](<{target}>)"


def _target(url: str) -> str:
    url = calm(html.unescape(url.strip()))
    if not re.fullmatch(r"https?://\S+", url) or len(url) > ADDRESS_MAX or _INVITE.search(url):
        return ""
    return re.sub(r"[()<>\\]|@(?=everyone|here)", lambda m: f"%{ord(m.group()):02X}", url)


# Markdown to Discord


_INLINE = re.compile(
    r"""
    (?P<code>(?<!`)(?P<ticks>`++)(?:[^\n]|\n(?![ \t]*\n)){1,1000}?(?<!`)(?P=ticks)(?!`))
  | (?P<stray>`{3,})
  | (?P<escaped>\\[!-/:-@\[-`{-~])
  | (?P<comment><!--.{0,5000}?-->)
  | (?P<link>!?\[(?P<label>(?:[^\[\]\n]|!?\[[^\[\]\n]{0,300}\](?:\([^()\s]{0,500}\))?){0,500})\]
      \(\s{0,9}<?(?P<url>[^\s<>()]{1,3000}(?:\([^\s<>()]{0,500}\)[^\s<>()]{0,3000}){0,5})>?
      (?:\s{1,9}(?:"[^"\n]{0,300}"|'[^'\n]{0,300}'))?\s{0,9}\))
  | (?P<auto><(?P<auto_url>https?://[^\s<>]{1,3000})>)
  | (?P<bare>(?<![\w/])https?://[^\s<>]{0,3000}[^\s<>.,;:!?'")\]*_~|`])
  | (?P<anchor><a\s[^<>]{0,500}?href=["'](?P<href>[^"']{1,3000})["'][^<>]{0,500}>
      (?P<anchored>.{0,500}?)</a>)
  | (?P<picture><img\s[^<>]{0,3000}>)
  | (?P<tag></?(?P<name>[A-Za-z][A-Za-z0-9]{0,15})(?:\s[^<>]{0,500})?/?>)
  | (?P<entity>&(?:\#\d{1,7}|\#x[0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});)
  | (?P<spoiler>\|\|)
  | (?P<mark>\[(?P<n>\d{1,3})\](?!\())
    """,
    re.VERBOSE | re.DOTALL,
)
_TAGS = {
    **dict.fromkeys(("b", "strong"), "**"),
    **dict.fromkeys(("i", "em"), "*"),
    **dict.fromkeys(("br", "p", "div", "tr", "ul", "ol", "table"), "\n"),
    **dict.fromkeys(
        [
            "a",
            "abbr",
            "big",
            "blockquote",
            "center",
            "code",
            "dd",
            "del",
            "details",
            "dl",
            "dt",
            "figcaption",
            "figure",
            "font",
            "footer",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "header",
            "hr",
            "img",
            "ins",
            "kbd",
            "li",
            "mark",
            "picture",
            "pre",
            "q",
            "s",
            "section",
            "small",
            "source",
            "span",
            "sub",
            "summary",
            "sup",
            "tbody",
            "td",
            "tfoot",
            "th",
            "thead",
            "u",
            "var",
            "video",
        ],
        "",
    ),
}
_LINES = (
    (re.compile(r"^([^\n#>|\-*+ \t][^\n]*)\n=+[ \t]*$", re.MULTILINE), r"# \1"),
    (re.compile(r"^([^\n#>|\-*+ \t][^\n]*)\n-{2,}[ \t]*$", re.MULTILINE), r"## \1"),
    (re.compile(r"^[ ]{0,3}#{4,6}[ \t]+([^\n]+?)[ \t#]*$", re.MULTILINE), r"**\1**"),
    (
        re.compile(r"^[ ]{0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$", re.MULTILINE),
        "———",
    ),
    (re.compile(r"^>>>(?=[ \t])", re.MULTILINE), r"\\>>>"),  # quotes all that follows
    (re.compile(r"^(?:>[ \t]*){2,}", re.MULTILINE), "> "),
    (re.compile(r"^([ \t]*)\+(?=[ \t])", re.MULTILINE), r"\1-"),
    (re.compile(r"^([ \t]*[-*] )\[ \](?= )", re.MULTILINE), "\\1\u2610"),
    (re.compile(r"^([ \t]*[-*] )\[[xX]\](?= )", re.MULTILINE), "\\1\u2611"),
)
_TABLE = re.compile(
    r"^[^\n|]*\|[^\n]*\n[ ]{0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*"
    r"(?:\n(?=[^\n]*\|)[^\n]*)*",
    re.MULTILINE,
)


def render(markdown: str, sources: Sequence[SourceLine] = ()) -> str:
    """Markdown as Discord shows it best, its marks [n] links to their sources outside code."""
    text = calm(markdown)
    urls = {source.n: source.url for source in sources}
    out: list[str] = []
    done = 0
    for fence in find_fences(text):
        out += [_prose(text[done : fence.start], urls), _code(text, fence)]
        done = fence.end
    out.append(_prose(text[done:], urls))
    return quieten("".join(out))


def _code(text: str, fence: Fence) -> str:
    """Fenced code with the one fence Discord knows; longer fences inside lose their effect."""
    inside = text[fence.code : fence.close].rstrip("\n")
    if not inside.strip():
        return ""
    quoted = "> " if ">" in fence.prefix else ""
    lines = [_dedented(line, fence.prefix) for line in inside.split("\n")]
    code = "\n".join(f"{quoted}{line}" for line in lines).replace("```", f"``{_ZERO_WIDTH}`")
    end = "\n" if text[: fence.end].endswith("\n") else ""
    return f"{quoted}```{fence.language}\n{code}\n{quoted}```{end}"


def _dedented(line: str, prefix: str) -> str:
    for character in prefix:
        if character == ">" and line.lstrip().startswith(">"):
            line = line.lstrip()[1:]
        elif character in " \t" and line[:1] in {" ", "\t"}:
            line = line[1:]
    return line


def _prose(text: str, urls: Mapping[int, str]) -> str:
    out: list[str] = []
    done = 0
    for match in _TABLE.finditer(text):
        head, rule, *body = match.group().split("\n")
        heads, columns = _cells(head), len(_cells(rule))
        if len(heads) != columns:
            continue
        rows = [_padded(_cells(row), columns) for row in body]
        out += [_flow(text[done : match.start()], urls), table(heads, rows, urls)]
        done = match.end()
    return "".join([*out, _flow(text[done:], urls)])


def _flow(text: str, urls: Mapping[int, str]) -> str:
    for pattern, instead in _LINES:
        text = pattern.sub(instead, text)
    return _inline(text, urls)


def _inline(text: str, urls: Mapping[int, str]) -> str:
    def shown(match: re.Match[str]) -> str:  # noqa: PLR0911 (a kind of mark each)
        match match.lastgroup:
            case "stray":
                return match.group().replace("`", "\\`")
            case "comment":
                return ""
            case "link":
                return _link(match["label"], match["url"])
            case "auto" | "bare":
                return _address(match["auto_url"] or match.group())
            case "anchor":
                return _link(match["anchored"], match["href"])
            case "picture":
                alt = re.search(r"alt=[\"']([^\"']*)", match.group())
                return escape(html.unescape(alt[1])) if alt else ""
            case "tag":
                return _TAGS.get(match["name"].lower(), match.group())
            case "entity":
                said = html.unescape(match.group())
                return re.sub(r"([\\`*_~|<>\[\]#])", r"\\\1", calm(said))
            case "spoiler":
                return r"\|\|"
            case "mark":
                target = _target(urls.get(int(match["n"]), ""))
                return f"[[{match['n']}]](<{target}>)" if target else match.group()
            case _:
                return match.group()

    return _INLINE.sub(shown, text)


def _link(label: str, url: str) -> str:
    words = plain(label)
    if re.fullmatch(r"\[\d{1,3}\]", words) and (target := _target(url)):
        return f"[{words}](<{target}>)"
    if re.search(r"https?://|www\.|discord\.gg", words, re.IGNORECASE) and _target(url):
        return _address(url)  # words that name one address may not lead to another
    if _INVITE.search(url):
        return f"{escape(words)} ({url})"
    return link(url, words)


def _address(url: str) -> str:
    target = _target(url)
    return f"<{target}>" if target else f"`{url}`" if "`" not in url else escape(url)


# Tables


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], urls: Mapping[int, str] | None = None
) -> str:
    """A table as a code block with aligned columns; one too wide as a line a row."""
    shown = [*([heads] if any(heads) else []), *rows]
    columns = max(map(len, shown), default=0)
    if not columns:
        return ""
    heads, rows = _padded(heads, columns), [_padded(row, columns) for row in rows]
    cells = [[" ".join(plain(cell).split()) for cell in _padded(row, columns)] for row in shown]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) > TABLE_WIDTH or any(
        "```" in c for r in cells for c in r
    ):
        return quieten("\n".join(_row(heads, row, urls or {}) for row in rows))
    lines = [
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        )
        for row in cells
    ]
    if any(heads):
        lines.insert(1, "  ".join("─" * width for width in widths))
    return quieten("```\n" + "\n".join(line.rstrip() for line in lines) + "\n```")


def _row(heads: Sequence[str], row: Sequence[str], urls: Mapping[int, str]) -> str:
    first, *rest = (_inline(" ".join(cell.split()), urls) for cell in row)
    named = [
        f"{escape(plain(head))}: {cell}" if head else cell
        for head, cell in zip(heads[1:], rest, strict=True)
        if cell
    ]
    return "- " + " · ".join([f"**{first}**" if first and "**" not in first else first, *named])


def _padded(cells: Sequence[str], columns: int) -> list[str]:
    return [*cells, *[""] * columns][:columns]


def _cells(line: str) -> list[str]:
    inner = line.strip()
    inner = inner.removeprefix("|")
    inner = re.sub(r"(?<!\\)\|$", "", inner)
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]


def _width(text: str) -> int:
    """Columns that a text takes in a code block: wide characters two, combining marks none."""
    wide = sum(unicodedata.east_asian_width(character) in {"W", "F"} for character in text)
    none = sum(unicodedata.combining(character) > 0 for character in text)
    return len(text) + wide - none


# From Discord


_TOKEN = re.compile(
    r"<(?:(?P<person>@!?)(?P<person_id>\d+)|@&(?P<role_id>\d+)|#(?P<channel_id>\d+)"
    r"|/(?P<command>[^\n<>:]{1,100}):\d+|a?:(?P<emoji>\w{1,64}):\d+"
    r"|t:(?P<time>-?\d{1,12})(?::[A-Za-z])?|id:(?P<part>\w+)|(?P<url>https?://[^\s<>]+))>"
)


def read_text(
    text: str,
    *,
    bot_user_id: str = "",
    bot_role_ids: Sequence[str] = (),
    people: Mapping[str, str] | None = None,
    channels: Mapping[str, str] | None = None,
    roles: Mapping[str, str] | None = None,
) -> tuple[str, bool, bool]:
    """A message's words, whether it calls the bot, and whether it first calls someone else.

    `people`, `channels` and `roles` are names by id; an id without one stays. What a spoiler hides
    was written to be read by who answers, so its words count like the others.
    """

    def is_bot(match: re.Match[str]) -> bool:
        role = match["role_id"]
        return (bool(bot_user_id) and match["person_id"] == bot_user_id) or role in set(
            bot_role_ids
        )

    def word(match: re.Match[str]) -> str:  # noqa: PLR0911 (a kind of token each)
        if is_bot(match):
            return " "
        if id_ := match["person_id"]:
            return f"@{(people or {}).get(id_, id_)}"
        if id_ := match["role_id"]:
            return f"@{(roles or {}).get(id_, id_)}"
        if id_ := match["channel_id"]:
            return f"#{(channels or {}).get(id_, id_)}"
        if match["time"]:
            return _moment(int(match["time"]))
        if match["command"]:
            return f"/{match['command']}"
        return match["url"] or (f":{match['emoji']}:" if match["emoji"] else f"#{match['part']}")

    first = _TOKEN.match(text.lstrip())
    calls_bot = any(is_bot(match) for match in _TOKEN.finditer(text))
    calls_others = first is not None and bool(first["person_id"] or first["role_id"])
    text = re.sub(r"\|\|(.+?)\|\|", r"\1", text, flags=re.DOTALL)
    words = re.sub(r"^[ \t]*[:,]?[ \t]*", "", _TOKEN.sub(word, text)).strip()
    return words, calls_bot, calls_others and not calls_bot


def _moment(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%d %B %Y, %H:%M} UTC".lstrip("0")
    except (OverflowError, OSError, ValueError):
        return str(seconds)
