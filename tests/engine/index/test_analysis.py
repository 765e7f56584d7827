from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.index import analysis
from engine.index.analysis import MAX_TERM, analyse, analyse_query


def asked(text: str, languages: list[str]) -> list[tuple[tuple[str, ...], int, bool]]:
    """What a query asks for: spellings, how often, and whether it repeats its parts."""
    return [(item.terms, item.count, item.compound) for item in analyse_query(text, languages)]


def once(*spellings: str) -> tuple[tuple[str, ...], int, bool]:
    return spellings, 1, False


@pytest.mark.parametrize(
    ("text", "language", "terms"),
    [
        ("The user's services don't", "en", ["the", "user", "servic", "dont"]),
        ("l\u2019homme d'État", "fr", ["homm", "etat"]),
        ("Straße, Häuser", "de", ["strass", "haus"]),
        ("CAFÉ café cafe\u0301", "", ["cafe", "cafe", "cafe"]),
        ("ﬁle №5", "", ["file", "no5"]),
        ("boundary-layer", "en", ["boundari", "layer"]),
        ("snake_case", "", ["snake_case", "snake", "case"]),
        ("HTTPServer", "", ["httpserver", "http", "server"]),
        ("iPhone", "", ["iphone", "i", "phone"]),
        ("ERR-1234", "", ["err1234", "err-1234", "err", "1234"]),
        ("v1.2", "", ["v1.2", "v1", "2"]),
        ("python3", "", ["python3", "python", "3"]),
        ("0x80070005", "", ["0x80070005"]),
        ("/etc/a.conf", "", ["etc/a.conf", "etc", "a.conf", "a", "conf"]),
        ("__init__ ___", "", ["init"]),
        ("東京都の天気", "ja", ["東京", "京都", "都の", "の天", "天気"]),
        ("Python程序", "zh", ["python", "程序"]),
        ("山", "zh", ["山"]),
        ("ｶﾀｶﾅ", "ja", ["カタ", "タカ", "カナ"]),
        ("한국어", "ko", ["한국", "국어"]),
        ("हिन्दी", "", ["हिन्दी"]),
        ("Й ё", "ru", ["\u0438", "\u0435"]),
        ("…!?", "en", []),
        ("", "en", []),
    ],
)
def test_terms(text: str, language: str, terms: list[str]) -> None:
    assert analyse(text, language) == terms


@pytest.mark.parametrize(
    "mark",
    [
        *("\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u180e", "\u034f", "\u200e"),
        *(
            "\u200f",
            "\u202a",
            "\u202c",
            "\u2066",
            "\u2069",
            "\u061c",
            "\ufe0f",
            "\u2063",
            "\U000e0041",
        ),
        *("\u00ad\n", "\u00ad\r\n  ", "\u200b\u00ad\u200b"),
    ],
)
def test_what_nobody_sees_parts_no_word(mark: str) -> None:
    plain = analyse("the database passwords", "en")
    assert analyse(f"the data{mark}base pass{mark}words", "en") == plain
    assert analyse(f"ERR{mark}-12{mark}34", "") == analyse("ERR-1234", "")
    assert analyse(f"東京{mark}都の", "ja") == ["東京", "京都", "都の"]
    found = analyse_query(f"Daten{mark}bank", ["de"])
    assert [item.terms for item in found] == [("datenbank",)]


def test_a_persian_stem_still_ends_at_its_joiner() -> None:
    book = "\u06a9\u062a\u0627\u0628"
    assert analyse(f"{book}\u200c\u0647\u0627", "fa") == [book]


def test_an_invisible_mark_by_itself_is_no_word_and_joins_no_sentence() -> None:
    assert analyse("one \u200b two\u00a0three \ufeff", "en") == ["one", "two", "three"]


def test_arabic_spellings_meet() -> None:
    assert analyse("مَدْرَسَة", "ar") == analyse("مدرسة", "ar")
    assert analyse("إدارة", "ar") == analyse("ادارة", "ar")


def test_a_term_is_cut_alike_on_both_sides() -> None:
    long = "x" * 500
    assert analyse(long, "en") == ["x" * MAX_TERM]
    assert asked(long, ["en"]) == [once("x" * MAX_TERM)]


def test_a_query_leaves_its_function_words_out_unless_there_is_nothing_else() -> None:
    assert asked("What is the plan?", ["en"]) == [once("plan")]
    assert asked("the who", ["en"]) == [once("the"), once("who")]
    assert asked("die hard", ["en"]) == [once("die"), once("hard")]
    assert asked("", ["en"]) == []


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("How soon is the visa granted?", "en", ["visa", "grant"]),
        ("How often do we back up keys?", "en", ["back", "key"]),
        ("how far is Paris", "en", ["pari"]),
        ("How fast does it charge?", "en", ["charg"]),
        ("Reply as early as possible", "en", ["repli", "possibl"]),
        ("Wie oft wird gesichert?", "de", ["gesichert"]),
        ("fast charging", "en", ["fast", "charg"]),
        ("early access and far corners", "en", ["earli", "access", "far", "corner"]),
        ("How soon?", "en", ["how", "soon"]),
    ],
)
def test_an_adverb_that_asks_is_no_content(text: str, language: str, words: list[str]) -> None:
    assert [item.terms[0] for item in analyse_query(text, [language])] == words


def test_a_query_is_spelt_by_every_language_of_the_index() -> None:
    assert asked("Universitäten", ["de", "en"]) == [once("universitat", "universitaten")]
    assert asked("plan", ["en", "de", "en"]) == [once("plan")]
    assert asked("plans", []) == [once("plans")]
    [term] = analyse_query("cars", ["en", "de", "", "it"])
    assert [term.spelt(language) for language in ("en", "", "de", "it", "fr")] == [
        "car",
        "cars",
        "car",
        "cars",
        None,
    ]


def test_a_query_counts_repetition_and_marks_wholes() -> None:
    assert asked("fox foxes get_fox", ["en"]) == [
        (("fox",), 3, False),
        (("get_fox",), 1, True),
        once("get"),
    ]


@given(st.text(max_size=200), st.sampled_from(["en", "de", "ar", "zh", "tr", "", "xx"]))
def test_any_text_is_found_by_itself(text: str, language: str) -> None:
    terms = analyse(text, language)
    assert all(terms)
    assert set(terms) >= {term for asked in analyse_query(text, [language]) for term in asked.terms}


def test_threads_share_stems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "CACHE_TOKENS", 50)  # so that threads also forget
    words = [f"running{n} foxes{n} houses" for n in range(300)]
    expected = [analyse(word, "en") for word in words]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            assert list(pool.map(lambda word: analyse(word, "en"), words)) == expected
