"""Which of the old encodings bytes are in, told by the letters they would be.

Called by `encoding.py` where nothing is declared. Each table is tried and what it reads is weighed:
how common the letters are in the languages written with it, and whether capitals, accents and
signs stand where words have them. The best reading wins; one that is no language's is no reading.
"""

# ruff: noqa: RUF001 (letters of many alphabets are what this is about)

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache

SAMPLE = 64 * 1024  # bytes from the beginning that are looked at
PLAUSIBLE = -6.3  # bits a letter: text in the right table has -4 to -5.5, in a wrong one -7 to -14
_SURE = -5.2  # Korean read as Cyrillic can have -5.7
_MANY = 60  # letters beyond ASCII settle it
_LEAD = 6.0  # bits in all that the best reading must be ahead of the next
_SIGN = -6.0  # a quotation mark, a dash, a degree sign
_WRONG = -14.0  # a letter of another script, a box, a control character
_MISPLACED = 9.0  # taken off for a capital after a small letter, or a sign within a word
_SIGNS = frozenset("«»„“”‘’‚‹›–—…№§©®°•·€£\xa0±µ¿¡²³½¼¾´`¨")

# Letters from the most to the least common. Zipf's law gives their weights well enough.
_LETTERS = {
    "cyrillic": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфіъєїёґўјљњћђџќѓѕѐѝ",
    "greek": "αοιετσνηυρπκμλςάόίέγδωχθφήύβξώζψϊϋΐΰ",
    "hebrew": "יוהלארתבמשנםעקדפחטכגסזןצךףץ",
    "arabic": "الينمتروبدةعسكفهحقجشىصطخأءإضثذغزظئؤآپچگژکی",
    "thai": "านรกอเ่งมยลวดท้สตีัิปคบหแจพชขใไ็ะุโำูผญซถธืภศณษฟฉ์ฐฤฮึฆฌฎฏฑฒฬๆฯ๐๑๒๓๔๕๖๗๘๙",
    "german": "üäößé",
    "french": "éèàêçœùâôîûëïæÿ",
    "spanish": "óíñáéúü¿¡",
    "portuguese": "ãçáéóíõêúâàô",
    "italian": "àèìòùé",
    "nordic": "äöåøæéüõ",
    "icelandic": "áíðéóþöúýæ",
    "polish": "łąężśćóńź",
    "czech": "íáéěřčžýšůúňóťď",
    "slovak": "áíéčžýšúľťňóäôďĺŕ",
    "hungarian": "áéöőóíüúű",
    "romanian": "ăîâţşșț",
    "croatian": "čžšćđ",
    "turkish": "ıüşöğçîâ",
    "lithuanian": "ėšųžįąčūę",
    "latvian": "āīēšūņļčžģķ",
}
_TABLES: tuple[tuple[str, str], ...] = (  # an encoding and an alphabet; of equals the first wins
    ("cp1251", "cyrillic"),
    ("koi8_r", "cyrillic"),
    ("koi8_u", "cyrillic"),
    ("cp866", "cyrillic"),
    ("iso8859_5", "cyrillic"),
    ("mac_cyrillic", "cyrillic"),
    ("cp1253", "greek"),
    ("iso8859_7", "greek"),
    ("cp737", "greek"),
    ("cp1255", "hebrew"),
    ("cp862", "hebrew"),
    ("cp1256", "arabic"),
    ("iso8859_6", "arabic"),
    ("cp720", "arabic"),
    ("cp874", "thai"),
    *(
        (name, language)
        for name in ("cp1252", "cp850", "cp437", "mac_roman")
        for language in (
            *("german", "french", "spanish", "portuguese", "italian", "nordic", "icelandic"),
        )
    ),
    *(
        (name, language)
        for name in ("cp1250", "iso8859_2", "cp852", "mac_latin2")
        for language in ("polish", "czech", "slovak", "hungarian", "romanian", "croatian")
    ),
    ("iso8859_16", "romanian"),
    ("cp1254", "turkish"),
    ("cp857", "turkish"),
    ("cp1257", "lithuanian"),
    ("cp1257", "latvian"),
    ("cp775", "lithuanian"),
    ("cp775", "latvian"),
)
# How much likelier an encoding of Latin letters is than another, in bits: few accents tell little.
_PRIOR = {
    "cp1252": 1.0,
    "cp1250": 0.4,
    "cp1254": 0.4,
    "cp1257": 0.3,
    "iso8859_2": 0.2,
    "mac_latin2": -0.3,
}
_LATIN = frozenset(_LETTERS) - {"cyrillic", "greek", "hebrew", "arabic", "thai"}

_HIGH_WORDS = re.compile(rb"[^\x00-\x20]*[\x80-\xff][^\x00-\x20]*")
_HIGH_RUNS = re.compile(rb"[\x80-\xff]+")
_ASCII_LETTERS = re.compile(rb"[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Guess:
    """An encoding, the alphabet it was read by, and how well that went: bits a letter."""

    encoding: str
    alphabet: str
    score: float
    lead: float = math.inf  # bits a letter ahead of the next that reads something else
    letters: int = 0  # beyond ASCII

    @property
    def is_certain(self) -> bool:
        """Whether no other table reads the letters about as well, or there are many of them."""
        return self.letters >= _MANY or self.lead * self.letters >= _LEAD

    @property
    def is_plausible(self) -> bool:
        return self.score >= PLAUSIBLE

    @property
    def is_sure(self) -> bool:
        """Whether no encoding of two bytes a letter comes into question."""
        return self.score >= (PLAUSIBLE if self.alphabet in _LATIN else _SURE)


def guess_table(data: bytes) -> Guess:
    """The best of the tables of one byte a letter; its score says whether it is any good."""
    words = _HIGH_WORDS.findall(data[:SAMPLE])
    sample = b" ".join(words)[:8000]
    latin = not _is_foreign(data[:SAMPLE])
    best = Guess("cp1252", "german", -math.inf)
    scores: list[tuple[float, str]] = []
    for encoding, alphabet in _TABLES:
        if (alphabet in _LATIN) != latin:
            continue
        score = _score(sample, encoding, alphabet)
        scores.append((score, encoding))
        if score > best.score + 0.01:
            best = Guess(encoding, alphabet, score)
    read = sample.decode(best.encoding, "replace")
    others = (s for s, name in scores if sample.decode(name, "replace") != read)
    letters = sum(map("\x80".__le__, read))
    return replace(best, lead=best.score - max(others, default=-math.inf), letters=letters)


def _is_foreign(sample: bytes) -> bool:
    """Whether words are made of high bytes, rather than holding one here and there."""
    runs = _HIGH_RUNS.findall(sample)
    high = sum(map(len, runs))
    longer = sum(len(run) for run in runs if len(run) > 2)
    latin = len(_ASCII_LETTERS.findall(b" ".join(_HIGH_WORDS.findall(sample))))
    return longer * 2 > high > latin


def _score(sample: bytes, encoding: str, alphabet: str) -> float:
    """Bits a letter beyond ASCII."""
    text = sample.decode(encoding, "replace")
    weights = _weights(alphabet)
    counts = Counter(text.lower())
    total = 0
    bits = 0.0
    for letter, count in counts.items():
        if letter < "\x80":
            continue
        total += count
        bits += count * weights.get(letter, _SIGN if letter in _SIGNS else _WRONG)
    if not total:
        return -math.inf
    score = (bits - _MISPLACED * len(_misplaced(alphabet).findall(text))) / total
    return score + _PRIOR.get(encoding, 0.0) if alphabet in _LATIN else score


@cache
def _weights(alphabet: str) -> dict[str, float]:
    letters = _LETTERS[alphabet]
    # One scale for all Latin alphabets: that of a language with few accents is no likelier for it.
    whole = 6.0 if alphabet in _LATIN else sum(1 / (rank + 2) for rank in range(len(letters)))
    return {letter: math.log2(1 / (rank + 2) / whole) for rank, letter in enumerate(letters)}


# A vowel sign or a tone mark without a letter to stand on; a leading vowel that leads nothing.
_NOT_THAI = re.compile(
    "(?<![\u0e01-\u0e2e\u0e31\u0e33-\u0e3a\u0e47-\u0e4e])[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]"
    "|[\u0e40-\u0e44](?![\u0e01-\u0e2e])"
)


@cache
def _misplaced(alphabet: str) -> re.Pattern[str]:
    """Capitals after small letters, and signs between letters, as no language has them."""
    small = "".join(filter(str.isalpha, _LETTERS[alphabet])) + ("a-z" if alphabet in _LATIN else "")
    capital = "".join(c for c in _LETTERS[alphabet].upper() if c.isupper() and not c.isascii())
    letter = f"[{small}{capital}{'A-Z' if alphabet in _LATIN else ''}]"
    signs = "[^\\x00-\\x7f\\w’‘´·\xad]"
    inner = f"(?<={letter}){signs}(?={letter})"
    if alphabet == "thai":
        return _NOT_THAI
    if alphabet in {"hebrew", "arabic"}:
        return re.compile(inner)
    if alphabet not in _LATIN:
        return re.compile(f"(?<=[{small}])[{capital}]|{inner}")
    own = small.replace("a-z", "").replace("ß", "")
    among = (
        f"(?<=[A-Z{capital}])[{capital}](?=[{small}])|(?<=[A-Z])[{own}](?=[A-Z])|(?<=[{own}])[A-Z]"
    )
    money = f"[£¥¤¦¼½¾¹²³](?={letter})|(?<={letter})[£¥¤¦¼½¾]"  # as no word has them
    marks = f"[®¬ˇ](?={letter})|©(?=[{small}])"  # which follow a name, or stand before a capital
    return re.compile(f"(?<=[{small}])[{capital}]|{among}|{money}|{marks}|{inner}")


def is_ebcdic(data: bytes) -> bool:
    """Whether this is a mainframe's text: blanks are @, letters high bytes in three rows of nine."""
    sample = data[:4096]
    blanks, letters = sample.count(0x40), len(_EBCDIC.findall(sample))
    return (
        len(sample) >= 8
        and blanks * 50 > len(sample)
        and sample.count(0x20) * 10 < blanks
        and letters * 3 > (len(sample) - blanks) * 2
    )


_EBCDIC = re.compile(rb"[\x81-\x89\x91-\x99\xa2-\xa9\xc1-\xc9\xd1-\xd9\xe2-\xe9\xf0-\xf9]")

_ESCAPES = re.compile(rb"\x1b\$[@B]|\x1b\$\([CD]|\x1b\(J|\x1b\$\)C|~\{[\x21-\x7e]{2,}~\}")


def guess_shifting(data: bytes) -> str:
    """The encoding of seven bits that shifts between alphabets (ISO-2022, HZ), or nothing."""
    if _ESCAPES.search(data) is None or not data.isascii():
        return ""
    for name in ("iso2022_jp_ext", "iso2022_jp_2", "iso2022_kr", "hz"):
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        if not text.isascii() and "\x1b" not in text:
            return "iso2022_jp" if name.startswith("iso2022_jp") else name
    return ""


# Of each encoding of two bytes a letter: its leading bytes of common letters, and of signs and kana.
_WIDE: tuple[tuple[str, str, range, range], ...] = (
    ("euc_jp", "euc_jp", range(0xB0, 0xD0), range(0xA1, 0xA9)),
    ("cp932", "cp932", range(0x88, 0x98), range(0x81, 0x85)),
    ("cp949", "euc_kr", range(0xB0, 0xC9), range(0xA1, 0xAD)),
    ("gb18030", "gb2312", range(0xB0, 0xD8), range(0xA1, 0xAA)),
    ("big5", "big5", range(0xA4, 0xC7), range(0xA1, 0xA4)),
)
_KANA = re.compile("[\u3041-\u30ff]")
COMMON = 0.95  # of the letters of a text in the right encoding are common ones


def guess_wide(data: bytes) -> tuple[str, float]:
    """The encoding of two bytes a letter that reads best, and its share of common letters."""
    best, most = "", 0.0
    for encoding, narrow, common, signs in _WIDE:
        text = data[:SAMPLE].decode(encoding, "replace")
        letters = [letter for letter in text if letter > "\x7f"][:4000]
        if not letters:
            return "", 0.0
        if text[:-1].count("\ufffd") * 500 > len(letters):
            continue
        if encoding in {"euc_jp", "cp932"}:
            kana = len(_KANA.findall("".join(letters)))
            if kana * 8 < len(letters):
                continue  # Japanese without kana is Chinese
        leads = [pair[0] for letter in letters if len(pair := letter.encode(narrow, "ignore")) == 2]
        share = sum(lead in common or lead in signs for lead in leads) / len(letters)
        if share > most + 0.01:
            best, most = encoding, share
    return best, most


_UTF8_SEQUENCE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)


def is_spoiled_utf8(data: bytes) -> bool:
    """Whether this is UTF-8 but for a few bytes, as where texts were joined."""
    sample = data[:SAMPLE]
    whole = _UTF8_SEQUENCE.findall(sample)
    stray = len(re.findall(rb"[\x80-\xff]", sample)) - sum(map(len, whole))
    return len(whole) >= 4 and len(whole) > 4 * stray
