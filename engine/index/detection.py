"""Which language a text is in, or "" where that is unclear: said rarely wrong rather than often right.

What is told wrongly is stemmed wrongly, and a query told wrongly may lose its meaning; what is left
open is searched as it is spelt. Scripts with one language decide by themselves. Latin and Cyrillic
letters are judged by py3langid, chosen on short texts (docs/decisions), and by function words.
"""

from __future__ import annotations

import re
import threading
from functools import cache
from typing import TYPE_CHECKING

import anyio.to_thread

from engine.index.analysis import HAN, HANGUL, INVISIBLE, KANA
from engine.index.stopwords import STOPWORDS

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

SAMPLE = 2000  # characters that are read
SURE = 0.5  # of the classifier's probability

# Languages and variants that are written as one we know.
_SAME = {
    "ary": "ar", "arz": "ar", "nb": "no", "nn": "no", "pcm": "en", "wuu": "zh", "yue": "zh",
}  # fmt: skip
_UNLIKELY = frozenset({"la"})  # which scholarly English is taken for


def detect_language(text: str) -> str:
    """The language of a text (ISO 639-1), or "" where it is unclear.

    Reads its first 2,000 characters. A sentence is often enough, a name or two words seldom are.
    """
    return guess_language(text)[0]


def guess_language(text: str) -> tuple[str, float]:
    """The same, and how sure it is, 0 to 1.

    For a script of one language, the share of letters it fills; else the classifier's probability,
    or, where that is under a half and function words agree, what these say.
    """
    sample = text[:SAMPLE]
    if not sample.isascii():
        sample = INVISIBLE.sub("", sample)
        by_script, share = _by_script(sample)
        if by_script:
            return by_script, share
    words = _WORDS.findall(_NO_PROSE.sub(" ", sample))
    if not words:
        return "", 0.0
    found, probability = _classifier().classify(" ".join(words))
    language = _SAME.get(found, found)
    if probability >= SURE and len(language) == 2 and language not in _UNLIKELY:
        return language, float(probability)
    by_words, lead = _by_function_words(sample, words)
    return (language, lead) if by_words == language else ("", 0.0)


def _classifier() -> LanguageIdentifier:
    """The model, loaded by the first text that needs it: half a second of processor."""
    with _loading:  # a worker's first documents ask together: one loads it, the others wait
        return _load()


@cache
def _load() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


_loading = threading.Lock()


async def ready() -> None:
    """Load the model in a thread: await it before an event loop detects its first language."""
    if not _load.cache_info().currsize:
        await anyio.to_thread.run_sync(_classifier)


# What is no language's: addresses, code, identifiers; then words of two letters and more, since
# initials ("J. D.") and letters that stand for things ("N-terminal") are function words somewhere.
_NO_PROSE = re.compile(r"\S*(?:[@\\_=<>{}|#]|://|\w[/:]\w)\S*|\b[\w.-]*\d[\w.-]*")
_WORDS = re.compile(r"[^\W\d_]{2,}(?:['\u2019][^\W\d_]+)?")
_TELLING = (("ßẞ", "de"), ("ñ¿¡", "es"), ("ãõ", "pt"), ("łżźśćń", "pl"), ("ğış", "tr"))


def _by_function_words(sample: str, words: list[str]) -> tuple[str, float]:
    """The language most function words are of, and how far it is ahead of the next.

    Less where they are fewer than three.
    """
    spoken = [word.casefold() for word in words]
    votes = {language: sum(map(stop.__contains__, spoken)) for language, stop in STOPWORDS.items()}
    for letters, language in _TELLING:
        if any(letter in sample for letter in letters):
            votes[language] += 1
    (best, most), (_, second) = sorted(votes.items(), key=lambda vote: -vote[1])[:2]
    if most <= second:
        return "", 0.0
    return best, (most - second) / most * min(1.0, most / 3)


_LATIN_LETTERS = re.compile("[A-Za-z\u00c0-\u024f]")
_SCRIPTS = (
    (re.compile(f"[{KANA}]"), "ja"),
    (re.compile(f"[{HANGUL}]"), "ko"),
    (re.compile(f"[{HAN}]"), "zh"),
    (re.compile("[ٹڈڑےںھہ]"), "ur"),
    (re.compile("[پچژگکی]"), "fa"),  # its k and y are other letters than Arabic's
    (re.compile("[\u0600-\u06ff]"), "ar"),
    (re.compile("[\u0370-\u03ff]"), "el"),
    (re.compile("[\u0590-\u05ff]"), "he"),
    (re.compile("[\u0900-\u097f]"), "hi"),
    (re.compile("[\u0b80-\u0bff]"), "ta"),
    (re.compile("[\u0e00-\u0e7f]"), "th"),
    (re.compile("[\u0530-\u058f]"), "hy"),
)


def _by_script(sample: str) -> tuple[str, float]:
    """The language whose script fills at least a third of the letters, if any, and its share."""
    letters = sum(map(str.isalpha, sample))
    for pattern, language in _SCRIPTS:
        found = len(pattern.findall(sample))
        # Kana settles Japanese in small numbers (kanji are counted as Han), and the letters that
        # only Persian or Urdu has are rare ones.
        enough = letters / 20 if language in {"ja", "fa", "ur"} else letters / 3
        if found and found >= enough:
            # Of Japanese or Persian text few letters distinguish it from Chinese or Arabic: all count.
            foreign = len(_LATIN_LETTERS.findall(sample))
            return language, max(0.0, 1 - foreign / max(letters, 1))
    return "", 0.0
