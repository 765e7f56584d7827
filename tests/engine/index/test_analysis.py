from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.index import analysis
from engine.index.analysis import MAX_TERM, QueryTerm, analyse, analyse_query, detect_language


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
        ("ERR-1234", "", ["err-1234", "err", "1234"]),
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
    assert analyse(f"ERR{mark}-12{mark}34", "") == ["err-1234", "err", "1234"]
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
    assert analyse_query(long, ["en"]) == [QueryTerm(("x" * MAX_TERM,))]


def test_a_query_leaves_its_function_words_out_unless_there_is_nothing_else() -> None:
    assert analyse_query("What is the plan?", ["en"]) == [QueryTerm(("plan",))]
    assert analyse_query("the who", ["en"]) == [QueryTerm(("the",)), QueryTerm(("who",))]
    assert analyse_query("die hard", ["en"]) == [QueryTerm(("die",)), QueryTerm(("hard",))]
    assert analyse_query("", ["en"]) == []


def test_a_query_is_stemmed_in_every_language_of_the_index() -> None:
    assert analyse_query("Universitäten", ["de", "en"]) == [
        QueryTerm(("universitat", "universitaten"))
    ]
    assert analyse_query("plan", ["en", "de", "en"]) == [QueryTerm(("plan",))]
    assert analyse_query("plans", []) == [QueryTerm(("plans",))]


def test_a_query_counts_repetition_and_marks_wholes() -> None:
    assert analyse_query("fox foxes get_fox", ["en"]) == [
        QueryTerm(("fox",), count=3),
        QueryTerm(("get_fox",), compound=True),
        QueryTerm(("get",)),
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


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the policy for travel?", "en"),
        ("Wie lautet die Regel für Reisen?", "de"),
        ("¿Cuál es la política de viajes?", "es"),
        ("Quelle est la règle pour les voyages ?", "fr"),
        ("Qual è la regola per i viaggi?", "it"),
        ("Qual é a regra para as viagens?", "pt"),
        ("Wat is de regel voor het reizen?", "nl"),
        ("Какое правило для поездок?", "ru"),
        ("旅行的规定是什么", "zh"),
        ("旅行の規則は何ですか", "ja"),
        ("여행 규정은 무엇입니까", "ko"),
        ("ما هي قواعد السفر", "ar"),
        ("backup policy", ""),
        ("12345 !!", ""),
        ("", ""),
    ],
)
def test_languages_are_guessed(text: str, language: str) -> None:
    assert detect_language(text) == language
