"""From text to the numbers of its tokens, and back to where each is: one way for MiniLM, one for e5.

MiniLM has a file of the `tokenizers` library. For e5's 250,000 pieces that library takes 280 MB of
memory; sentencepiece, which made them, takes 55. Special tokens and prefixes are `local.py`'s.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import regex
from numpy.typing import NDArray

from engine.errors import InvalidInput

Offsets = list[tuple[int, int]]
Ids = NDArray[np.int64]
Places = NDArray[np.int64]  # [characters, 2]: where each begins and ends


class ModelTokenizer(Protocol):
    """Numbers and places of a text's tokens, special ones left out."""

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The tokens of each text."""

    def offsets(self, text: str) -> Offsets:
        """The characters each token of `text` is made of, in order."""

    def with_offsets(self, texts: Sequence[str]) -> list[tuple[Ids, Offsets]]:
        """Both at once."""


class WordPieces:
    """A tokenizer of the `tokenizers` library."""

    def __init__(self, file: Path) -> None:
        from tokenizers import Tokenizer as Library  # noqa: PLC0415 (only where a model is used)

        self._library: Any = Library.from_file(str(file))
        # the shipped file cuts at 128 tokens and pads everything to 128
        self._library.no_truncation()
        self._library.no_padding()

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The tokens of each text."""
        with only_unicode():
            encodings = self._library.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, np.int64) for encoding in encodings]

    def offsets(self, text: str) -> Offsets:
        """Spans of characters, in order."""
        return list(self._library.encode(text, add_special_tokens=False).offsets)

    def with_offsets(self, texts: Sequence[str]) -> list[tuple[Ids, Offsets]]:
        """Numbers and spans."""
        with only_unicode():
            encodings = self._library.encode_batch(list(texts), add_special_tokens=False)
        return [(np.array(encoding.ids, np.int64), encoding.offsets) for encoding in encodings]


_CLUSTER = regex.compile(r"\X")
_SPACES = re.compile(" {2,}")
_MARK = "\u2581"  # where a word begins


@dataclass(frozen=True, slots=True)
class _Rewritten:
    """A text as sentencepiece is to see it, and which characters of the original each of its own is."""

    text: str
    places: Places


class SentencePieces:
    """sentencepiece's tokenizer, with the letters of a text replaced as it was trained on them.

    Accents are composed first (macOS and some PDFs store them apart), then letters replaced by a
    table, then runs of spaces made one and spaces at either end dropped.
    """

    def __init__(self, file: Path, letters: Mapping[str, str]) -> None:
        from sentencepiece import SentencePieceProcessor  # noqa: PLC0415

        self._library: Any = SentencePieceProcessor(model_file=str(file))
        self._table = {ord(letter): into for letter, into in letters.items()}
        ordered = sorted(letters.items())
        self._from = np.array([ord(letter) for letter, _ in ordered], np.uint32)
        self._lengths = np.array([len(into) for _, into in ordered], np.int64)

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The tokens of each text."""
        with only_unicode():
            rewritten = [self._rewrite(text) for text in texts]
            found = self._library.encode(rewritten, out_type=int, num_threads=1)
        return [np.array(ids, np.int64) for ids in found]

    def offsets(self, text: str) -> Offsets:
        """Spans of characters, in order."""
        return self.with_offsets([text])[0][1]

    def with_offsets(self, texts: Sequence[str]) -> list[tuple[Ids, Offsets]]:
        """Numbers and spans; a piece of nothing but the mark before a word has no span of its own."""
        rewritten = [self._rewrite_with_places(text) for text in texts]
        said = [item.text for item in rewritten]
        with only_unicode():
            found = self._library.encode(said, out_type=str, num_threads=1)
            numbers = self._library.encode(said, out_type=int, num_threads=1)
        return [
            (np.array(ids, np.int64), _spans(pieces, item.places))
            for ids, pieces, item in zip(numbers, found, rewritten, strict=True)
        ]

    def _rewrite(self, text: str) -> str:
        return _SPACES.sub(" ", _composed(text).translate(self._table)).strip(" ")

    def _rewrite_with_places(self, text: str) -> _Rewritten:
        text, places = _composed_with_places(text)
        letters = _code_points(text)
        rows = np.searchsorted(self._from, letters)
        rows[rows == len(self._from)] = 0
        lengths = np.where(self._from[rows] == letters, self._lengths[rows], 1)
        places = np.repeat(places, lengths, axis=0)
        spaces = _code_points(text.translate(self._table)) == ord(" ")
        kept = ~spaces
        kept[1:] |= ~spaces[:-1]  # the first of a run of spaces
        words = np.flatnonzero(~spaces)
        if len(words):  # none before the first word and after the last
            kept[: words[0]] = kept[words[-1] + 1 :] = False
        return _Rewritten(self._rewrite(text), places[kept] if len(words) else places[:0])


def _composed(text: str) -> str:
    if unicodedata.is_normalized("NFC", text):
        return text
    return "".join(unicodedata.normalize("NFC", cluster) for cluster in _CLUSTER.findall(text))


def _composed_with_places(text: str) -> tuple[str, Places]:
    if unicodedata.is_normalized("NFC", text):
        starts = np.arange(len(text))
        return text, np.stack([starts, starts + 1], axis=1)
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    at = 0
    for cluster in _CLUSTER.findall(text):
        end = at + len(cluster)
        part = unicodedata.normalize("NFC", cluster)
        places += [(min(at + i, end - 1), min(at + i, end - 1) + 1) for i in range(len(part))]
        if part:
            places[-1] = (places[-1][0], end)  # its last letter stands for what is left
        parts.append(part)
        at = end
    return "".join(parts), np.array(places, np.int64).reshape(-1, 2)


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _spans(pieces: Sequence[str], places: Places) -> Offsets:
    """Where each piece is in the original, without the space before a word.

    The first piece begins with a mark that no character made. A mark that is a piece by itself is
    where the character after it is.
    """
    spans: Offsets = []
    end, last = -1, len(places) - 1
    for piece in pieces:
        start, end = end, end + len(piece)
        first = min(start + 1 if piece[0] == _MARK else start, last)
        spans.append((int(places[first, 0]), int(places[max(first, end - 1), 1])))
    return spans


@contextmanager
def only_unicode() -> Iterator[None]:
    """Tell of what is no Unicode as the port does."""
    try:
        yield
    except (TypeError, UnicodeError) as error:  # what tokenizers say of a lone surrogate
        raise InvalidInput(
            "A text contains characters that are not Unicode: read the file with its own encoding.",
            field="texts",
        ) from error
