"""The terms of our analysis are Vespa's terms: split at blanks, nothing added, nothing folded."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.index.analysis import analyse
from tests.vespa_oracle.judge import Judge
from tests.vespa_oracle.packages import package, tenants

PACKAGE = package(tenants(1))

TEXTS = [
    ("en", "The user's getUserName() failed with ERR_42 in /var/log/app-2.log"),
    ("de", "Die Straßenbahn fuhr über Österreichs Grüße"),
    ("zh", "搜索引擎如何工作"),
    ("ja", "検索エンジンのしくみ"),
    ("ko", "검색 엔진은 어떻게"),
    ("ar", "كيف تعمل محركات البحث"),
    ("th", "เครื่องมือค้นหา"),
    ("hi", "खोज इंजन कैसे काम करता है"),
    ("", "\u1e9e \u0130stanbul ﬁne ǅ \u00a0nbsp\u2003em\u3000wide ᏣᎳᎩ 👩‍👩‍👧"),
]


@pytest.mark.parametrize(("language", "text"), TEXTS, ids=[t[0] or "none" for t in TEXTS])
def test_terms_arrive_as_they_were_sent(judge: Judge, language: str, text: str) -> None:
    terms = analyse(text, language)
    sent = " ".join(terms)
    answer = judge.ask("terms", PACKAGE, text=sent, language=language or "und")
    assert answer["terms"] == terms


@given(
    text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=200),
    language=st.sampled_from(["en", "de", "zh", "ja", "ar", "tr", ""]),
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_terms_arrive_whatever_the_text(live: Judge, text: str, language: str) -> None:
    terms = analyse(text, language)
    answer = live.wonder("terms", PACKAGE, text=" ".join(terms), language=language or "und")
    assert answer["terms"] == terms
