"""What the bot says, in the language of the person it says it to.

Phrases are written in English where they are used, as `t("More detail")`, and looked up in the
catalogues beside this module: `catalogues/de.po`, of gettext's format, read when first needed. What
has no translation stays English. Each job of a bot is a task of its own, and `speak` sets the
language for the rest of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import anyio.to_thread

from engine.index.detection import detect_language

LANGUAGES = ("de", "es", "fr", "it", "ja", "ko", "pt", "ru", "zh")
FOLDER = Path(__file__).parent / "catalogues"
WORDS_MIN = 4  # of an ASCII text that tells its language
_ENGLISH = "en"
_speaking: ContextVar[str] = ContextVar("speaking", default=_ENGLISH)


def speak(*wanted: str) -> None:
    """Speak the first of these languages that has a catalogue, else English.

    Codes with a region count without it: `pt-BR` is `pt`. An empty one leaves it to the next.
    """
    for code in wanted:
        language = code.replace("_", "-").partition("-")[0].lower()
        if language == _ENGLISH or language in LANGUAGES:
            _speaking.set(language)
            return
        if language:
            break
    _speaking.set(_ENGLISH)


async def language_of(text: str) -> str:
    """The language somebody writes in, by what they wrote; empty where that is unclear.

    Two or three Latin words say too little: many are of several languages.
    """
    if text.isascii() and len(text.split()) < WORDS_MIN:
        return ""
    return await anyio.to_thread.run_sync(detect_language, text)


def t(text: str, **values: object) -> str:
    """A phrase in the language spoken now, with its `{places}` filled."""
    phrase = catalogue(_speaking.get()).get(text, text)
    return phrase.format(**values) if values else phrase


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """The translations of a language by the English phrase; none for English."""
    if language not in LANGUAGES:
        return {}
    lines = (FOLDER / f"{language}.po").read_text(encoding="utf-8").splitlines()
    return {source: said for source, said in _entries(lines) if source and said}


def _entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    """The pairs of a catalogue: `msgid` and `msgstr`, each of one or several quoted lines."""
    source, said, into = "", "", ""
    for line in [*lines, 'msgid ""']:
        word, _, rest = line.strip().partition(" ")
        if word == "msgid":
            if into:
                yield source, said
            source, said, into = ast.literal_eval(rest), "", "source"
        elif word == "msgstr":
            said, into = ast.literal_eval(rest), "said"
        elif line.startswith('"'):
            more = ast.literal_eval(line)
            source, said = (source + more, said) if into == "source" else (source, said + more)
