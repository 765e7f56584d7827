"""The context of a chunk: its document's title and headings, within a bound of tokens.

The chunker measures with it how much room a chunk's text has. Contexts are searched, never cited.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from ingestion.convert.document import Converted

TokenOffsets = Callable[[str], list[tuple[int, int]]]

_JOINT = " > "


class Contexts:
    """Renders the context of a chunk, title first, and counts its tokens; bounded."""

    def __init__(self, document: Converted, limit: int, offsets: TokenOffsets) -> None:
        self._title = " ".join(document.title.split())
        self._limit = limit
        self._offsets = offsets
        self._rendered: dict[tuple[tuple[str, ...], int], tuple[str, int]] = {}
        names = {name for block in document.blocks for name in block.heading_path}
        self._sizes = _sizes([_JOINT, self._title, *sorted(names)], offsets)

    def tokens(self, path: tuple[str, ...]) -> int:
        """Tokens of the context under `path` where nothing else limits it."""
        return self.render(path, self._limit)[1]

    def render(self, path: tuple[str, ...], room: int) -> tuple[str, int]:
        """Title and headings within the smaller of `room` and the limit, and their tokens.

        Where they are too long, headings between title and last go first, then the title.
        """
        room = max(0, min(room, self._limit))
        held = self._rendered.get((path, room))
        if held is None:
            held = self._rendered[path, room] = self._render(path, room)
        return held

    def _render(self, path: tuple[str, ...], room: int) -> tuple[str, int]:
        repeats = bool(path) and _names(self._title.casefold(), path[0].casefold())
        parts = [part for part in (self._title, *path[repeats:]) if part]
        while len(parts) > 1 and self._size(parts) > room:
            del parts[1 if len(parts) > 2 else 0]
        if not parts:
            return "", 0
        size = self._size(parts)
        if size <= room:
            return _JOINT.join(parts), size
        if not room:
            return "", 0
        # One part alone is too long. Ending it with a token's end never makes more tokens of it.
        text = parts[0]
        ends = [end for _, end in self._offsets(text)]
        text = text[: ends[room - 1]].rsplit(None, 1)[0] if room <= len(ends) else text
        size = len(self._offsets(text))
        return (text, size) if size <= room else ("", 0)

    def _size(self, parts: Sequence[str]) -> int:
        return sum(self._sizes[part] for part in parts) + self._sizes[_JOINT] * (len(parts) - 1)


def _names(title: str, heading: str) -> bool:
    """Whether a title is a heading, or is one with the file's name behind it."""
    return title == heading or title.startswith(f"{heading} (")


def _sizes(names: Sequence[str], offsets: TokenOffsets) -> dict[str, int]:
    """Tokens of each name, by one call over all of them."""
    starts = [start for start, _ in offsets("\n".join(names))]
    sizes: dict[str, int] = {}
    at = 0
    for name in names:
        end = at + len(name)
        sizes[name] = bisect_left(starts, end) - bisect_left(starts, at)
        at = end + 1
    return sizes
