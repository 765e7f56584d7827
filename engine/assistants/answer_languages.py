"""The languages a place can have its answers in: `/kb language`, by code or by English name.

A language is an instruction to the model that writes the answer. What is quoted stays in the
language of its source; what the bot says besides is in `bots/phrases.py`. A sentence is checked by
its words, so one in another language than its source is shown only where figures or names tie it to
the source, and is never claimed as an answer: set the language that the documents are in.
"""

from __future__ import annotations

from engine.errors import InvalidInput

NAMES = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "nb": "Norwegian",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sr": "Serbian",
    "sv": "Swedish",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
OF_THE_QUESTION = "auto"


def parse_language(said: str) -> str:
    """The code of a language; empty for that of the question."""
    word = said.strip().lower()
    if word in {OF_THE_QUESTION, "question"}:
        return ""
    for code, name in NAMES.items():
        if word in {code, name.lower()}:
            return code
    raise InvalidInput(
        f"Unknown language “{said[:40]}”: say its English name or its code, like `German` or "
        f"`de`, or `{OF_THE_QUESTION}` for that of each question.",
        field="language",
    )


def name_of(code: str) -> str:
    """The English name of a language; empty for none."""
    return NAMES.get(code, "")
