"""Text into terms, the same way for documents and queries, whatever the language.

A text is freed of characters nobody sees, normalised (NFKC), cut into tokens, casefolded, stemmed by its language and freed of
accents. Scripts without spaces become overlapping bigrams. Identifiers (`snake_case`, `CamelCase`,
paths, error codes, versions) yield their whole and their parts, so both are found. Both adapters
index and ask with these terms; what a term weighs is theirs.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, pairwise
from typing import NamedTuple

import Stemmer

from engine.index import identifiers
from engine.index.stopwords import ASKING, STOPWORDS

CACHE_TOKENS = 100_000  # spellings remembered a language; then the memory starts afresh
MAX_TERM = 64  # characters; longer ones (base64, hashes in a row) are cut, alike on both sides

_STEMMERS = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "eo": "esperanto",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "nb": "norwegian",
    "ne": "nepali",
    "nl": "dutch",
    "nn": "norwegian",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}

# Scripts written without spaces, and Hangul, whose words carry particles: overlapping bigrams.
HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
HANGUL = "\u1100-\u11ff\uac00-\ud7a3"
_SOUTH_EAST = "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u103f\u1780-\u17d3"  # Thai to Khmer
_UNSPACED = HAN + KANA + HANGUL + _SOUTH_EAST

# Vowel signs and accents, which Python's \w leaves out of words (Devanagari, Hebrew, Arabic, …).
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0962\u0963"
_MARKS += "\u0981-\u0983\u09bc-\u09cd\u0a01-\u0a4d\u0a81-\u0acd\u0b01-\u0b4d\u0b82-\u0bcd"
_MARKS += "\u0c00-\u0c4d\u0c81-\u0ccd\u0d00-\u0d4d\u0d81-\u0ddf\u0640\u200c"
_WORD = f"[^\\W{_UNSPACED}]+(?:[{_MARKS}]+[^\\W{_UNSPACED}]*)*"
_JOIN = "['\u2019._:/@\\\\-]"

# What stands within words and is never seen: soft hyphens (with the line end one breaks at),
# zero-width spaces and joiners, marks of direction, variation selectors, tags. The zero-width
# non-joiner stays between Arabic letters: Persian stems end at it, and `_fold` takes it out.
INVISIBLE = re.compile(
    "\u00ad[ \\t]*\r?\n[ \\t]*"
    "|[\u00ad\u034f\u061c\u17b4\u17b5\u180b-\u180f\u200b\u200d-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]+"
    "|\u200c(?![\u0600-\u06ff])|(?<![\u0600-\u06ff])\u200c"
)

_GROUPED = identifiers.GROUPED_NUMBER
_ASCII_TOKENS = re.compile(rf"{_GROUPED}|\w+(?:['._:/@\\-]\w+)*", re.ASCII)
_TOKENS = re.compile(f"{_GROUPED}|[{_UNSPACED}]+|{_WORD}(?:{_JOIN}{_WORD})*")
_SCRIPT_RUNS = re.compile(f"[{HAN}{KANA}]+|[{HANGUL}]+|[{_SOUTH_EAST}]+")
_STARTS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_SEGMENTS = re.compile(r"[/\\:@]+")
_ATOMS = re.compile(r"[._,-]+")
_HUMPS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_NAME_AND_NUMBER = re.compile(r"([^\W\d_]{3,})(\d+)")
_ELISION = re.compile(
    r"(?:[ldjmtsnc]|qu|(?:lors|jus|puis)qu|[dns]ell|[ds]all|sull|quest|un)'(?=\w\w)"
)


class AnalysedWord(NamedTuple):
    """One thing a token yields: `word` is stemmed or kept; a compound repeats its parts.

    A `part` is repeated by a compound of the same token.
    """

    word: str
    stem: bool
    compound: bool = False
    part: bool = False


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """One thing a query asks for.

    `terms` are its spellings: its stems in the languages that were named. A document is asked for
    the spelling of its own language (`spelt`), so a stem never meets another language's word.
    `count` is how often the query says it. A `compound` repeats parts that are asked for as well.
    An `exact` one names one thing: an identifier, an address, a long number. Its forms in one token
    (`ppr-9087`, `ppr9087`) have the same `token`, and so have its parts.
    """

    terms: tuple[str, ...]
    count: int = 1
    compound: bool = False
    languages: tuple[frozenset[str], ...] = ()  # that spell it as each of `terms`
    exact: bool = False
    part: bool = False
    token: int = 0

    def spelt(self, language: str) -> str | None:
        """Its spelling in a language; None where that was not among those named."""
        for term, languages in zip(self.terms, self.languages, strict=True):
            if language in languages:
                return term
        return None


def analyse(text: str, language: str) -> list[str]:
    """The terms of a text in order, repeated as often as they occur.

    `language` is ISO 639-1; an unknown or empty one means no stemming. "The user's getUserName()"
    gives the, user, getusernam, get, user, name. Identifiers written with blanks come last, joined.
    """
    terms = list(chain.from_iterable(map(_terms(language).__getitem__, _tokens(text))))
    terms.extend(identifiers.spaced(_plain(text)))
    return terms


def analyse_query(text: str, languages: Sequence[str]) -> list[QueryTerm]:
    """What a query asks for, each thing once, in order of appearance.

    The first of `languages` is the query's own: its function words are left out, unless nothing
    else is asked for, and so is an adverb that asks ("how *soon*"). The others are those the index
    holds ("" for texts nobody stemmed): each adds its spelling.
    """
    spoken = list(dict.fromkeys(languages)) or [""]
    stop = STOPWORDS.get(spoken[0], frozenset())
    counts: dict[tuple[str, ...], QueryTerm] = {}
    spare: dict[tuple[str, ...], QueryTerm] = {}
    before = ""
    for number, (token, units) in enumerate(_asked(text)):
        word = token.casefold()
        asks = word in ASKING.get((spoken[0], before), ())
        before = word
        for unit in units:
            terms, speakers = _spellings(unit, spoken)
            target = spare if asks or unit.word in stop else counts
            known = target.get(terms)
            target[terms] = QueryTerm(
                terms,
                count=known.count + 1 if known else 1,
                compound=unit.compound and (known is None or known.compound),
                languages=speakers,
                exact=identifiers.is_exact(unit.word),
                part=unit.part and (known is None or known.part),
                token=known.token if known else number,
            )
    return list((counts or spare).values())


def _asked(text: str) -> Iterator[tuple[str, list[AnalysedWord]]]:
    """The tokens of a query with what each yields, then identifiers written with blanks."""
    for token in _tokens(text):
        yield token, _units(token)
    for word in identifiers.spaced(_plain(text), asked=True):
        # A guess where it is in small letters: it counts where it is found, and is never missed.
        yield word, [AnalysedWord(word, stem=False, compound=True, part=True)]


def _spellings(
    unit: AnalysedWord, languages: Sequence[str]
) -> tuple[tuple[str, ...], tuple[frozenset[str], ...]]:
    """The distinct spellings of a word, in order of the languages, and who spells it so."""
    speakers: dict[str, list[str]] = {}
    for language in languages:
        speakers.setdefault(_finish(unit, language), []).append(language)
    return tuple(speakers), tuple(map(frozenset, speakers.values()))


def _tokens(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_TOKENS.findall(text)
    return _TOKENS.findall(_plain(text))


def _plain(text: str) -> str:
    """The text without what nobody sees, in the one form of each character that is looked for."""
    if text.isascii():
        return text
    text = identifiers.NO_BREAK_GROUPS.sub(",", INVISIBLE.sub("", text))
    return unicodedata.normalize("NFKC", text)


class _Terms(dict[str, tuple[str, ...]]):
    """Terms of a token, remembered: a text's words repeat, so its stems are looked up.

    Filled by any thread; a lost race costs one stem.
    """

    def __init__(self, language: str) -> None:
        super().__init__()
        self._language = language

    def __missing__(self, token: str) -> tuple[str, ...]:
        terms = tuple(_finish(unit, self._language) for unit in _units(token))
        if len(token) > 2 and _STARTS_UNSPACED.match(token):
            return terms  # a clause rather than a word: seldom seen twice
        if len(self) >= CACHE_TOKENS:
            self.clear()
        self[token] = terms
        return terms


class _Stems:
    """A stemmer and the lock it needs: Snowball keeps its working space in the object."""

    def __init__(self, algorithm: str) -> None:
        self._stemmer = Stemmer.Stemmer(algorithm, 0)
        self._lock = threading.Lock()

    def stem(self, word: str) -> str:
        with self._lock:
            stem: str = self._stemmer.stemWord(word)
        return stem


@cache
def _terms(language: str) -> _Terms:
    return _Terms(language if language in _STEMMERS else "")


@cache
def _stems(algorithm: str) -> _Stems:
    return _Stems(algorithm)


def _finish(unit: AnalysedWord, language: str) -> str:
    word = unit.word
    if unit.stem and language in _STEMMERS:
        word = _stems(_STEMMERS[language]).stem(word) or word
    return _fold(word)[:MAX_TERM]


def _fold(word: str) -> str:
    """Without accents, vowel points and the Arabic stretch; ß and ligatures went with casefold."""
    if word.isascii():
        return word
    folded = _ACCENTS.sub("", unicodedata.normalize("NFKD", word)).translate(_LETTERS)
    return unicodedata.normalize("NFC", folded) or word


# Latin, Greek and Cyrillic accents, Hebrew and Arabic points. Indic vowel signs are letters: kept.
_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670]+")
_LETTERS = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "\u0131": "i",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
        "\u0649": "\u064a",  # alef maksura: yeh
        "\u0629": "\u0647",  # teh marbuta: heh
        "\u0671": "\u0627",  # alef wasla: alef
        "\u0640": None,  # the stretch
        "\u200c": None,  # zero-width non-joiner
    }
)


def _units(token: str) -> list[AnalysedWord]:
    """What one token yields: its whole where it is an identifier, and its parts."""
    if _STARTS_UNSPACED.match(token):
        return [
            AnalysedWord(gram, stem=False)
            for run in _SCRIPT_RUNS.findall(token)
            for gram in _bigrams(run)
        ]
    token = token.replace("\u2019", "'")
    pieces = [piece for piece in _SEGMENTS.split(token) if piece.strip("_")]
    units = [unit for piece in pieces for unit in _piece(piece)]
    if len(pieces) > 1:
        units = _whole(token, units)
    other = identifiers.plain_number(token) or identifiers.joined(token.strip("_"))
    if other and all(unit.word != other for unit in units):
        units = [AnalysedWord(other, stem=False, compound=True), *units]
    return units


def _whole(text: str, parts: Sequence[AnalysedWord]) -> list[AnalysedWord]:
    """A compound of several parts, and these."""
    whole = AnalysedWord(text.casefold(), stem=False, compound=True)
    return [whole, *(unit._replace(part=True) for unit in parts)]


def _piece(piece: str) -> list[AnalysedWord]:
    atoms = [atom for atom in _ATOMS.split(piece) if atom]
    units = [unit for atom in atoms for unit in _atom(atom)]
    hyphenated = all(atom.isalpha() for atom in atoms) and not set("._") & set(piece)
    if len(atoms) > 1 and not hyphenated:
        units = _whole(piece, units)
    return units


def _atom(atom: str) -> list[AnalysedWord]:
    word = atom.casefold()
    if "'" in word:
        word = _ELISION.sub("", word).removesuffix("'s").replace("'", "")
    whole = AnalysedWord(word, stem=True)
    if word.isalpha() and (atom.isupper() or atom[1:].islower() or len(atom) < 3):
        return [whole]
    if atom.isascii() and atom.isalpha():
        humps = _HUMPS.findall(atom)
        if len(humps) > 1:
            return [
                whole._replace(compound=True),
                *(AnalysedWord(h.casefold(), stem=True) for h in humps),
            ]
        return [whole]
    numbered = _NAME_AND_NUMBER.fullmatch(word)
    if numbered:
        name, number = numbered.groups()
        return [
            AnalysedWord(word, stem=False, compound=True),
            AnalysedWord(name, stem=True, part=True),
            AnalysedWord(number, stem=False, part=True),
        ]
    return [whole]


def _bigrams(run: str) -> list[str]:
    return [first + second for first, second in pairwise(run)] or [run]
