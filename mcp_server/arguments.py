"""Arguments as assistants send them: nulls dropped, and a wrong name answered with the right one.

`tool.py` and the prompts in `server.py` call `given`; nothing here knows what an argument means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

from mcp_server.errors import UnknownArgument

V = TypeVar("V")

# What models call things after other servers' tools. The first that a tool has is the one it means.
OTHER_NAMES = {
    "after": ("filter",),
    "author": ("filter",),
    "before": ("filter",),
    "body": ("text",),
    "channel": ("filter",),
    "collection": ("knowledge_base",),
    "content": ("text",),
    "count": ("limit",),
    "dataset": ("knowledge_base",),
    "date": ("filter",),
    "daterange": ("filter",),
    "doc": ("id", "document_id"),
    "document": ("id", "document_id"),
    "filters": ("filter",),
    "fromdate": ("filter",),
    "href": ("id", "url"),
    "index": ("knowledge_base",),
    "k": ("limit",),
    "kb": ("knowledge_base",),
    "lang": ("filter",),
    "language": ("filter",),
    "link": ("id", "url"),
    "markdown": ("text",),
    "maxresults": ("limit",),
    "message": ("question", "query"),
    "metadata": ("filter",),
    "n": ("limit",),
    "name": ("title", "knowledge_base"),
    "namespace": ("knowledge_base",),
    "next": ("cursor",),
    "nextid": ("id",),
    "numresults": ("limit",),
    "offset": ("cursor",),
    "page": ("cursor",),
    "pagesize": ("limit",),
    "pagetoken": ("cursor",),
    "perpage": ("limit",),
    "prompt": ("question", "query"),
    "q": ("query", "question"),
    "query": ("question",),
    "question": ("query",),
    "searchquery": ("query",),
    "searchterm": ("query",),
    "since": ("filter",),
    "size": ("limit",),
    "source": ("knowledge_base",),
    "state": ("status",),
    "tag": ("filter",),
    "tags": ("filter",),
    "term": ("query",),
    "text": ("query", "question"),
    "thread": ("conversation_id",),
    "top": ("limit",),
    "topk": ("limit",),
    "until": ("filter",),
    "uri": ("id", "url"),
    "url": ("id",),
    "where": ("filter",),
}


def given(owner: str, arguments: Mapping[str, V | None], names: Sequence[str]) -> dict[str, V]:
    """The arguments that have a value: null means that the caller has none.

    Raises `UnknownArgument` for those that `owner`, a tool or a prompt, does not have.
    """
    present = {name: value for name, value in arguments.items() if value is not None}
    if unknown := sorted(set(present) - set(names)):
        meant = [near(name, [free for free in names if free not in present]) for name in unknown]
        raise UnknownArgument(owner, unknown, names, meant)
    return present


def near(name: str, names: Sequence[str]) -> str:
    """The one of `names` that was probably meant; empty where none is near."""
    plain = {_plain(known): known for known in names}
    wanted = _plain(name)
    single = wanted.removesuffix("s")
    for candidate in (wanted, single, single.removesuffix("id")):
        if candidate in plain:
            return plain[candidate]
        for other in OTHER_NAMES.get(candidate, ()):
            if other in names:
                return other
    if single.endswith("id") and "id" in plain:
        return plain["id"]
    found = get_close_matches(wanted, plain, n=1, cutoff=0.7)
    return plain[found[0]] if found else ""


def _plain(name: str) -> str:
    return "".join(letter for letter in name[:60].lower() if letter.isalnum())
