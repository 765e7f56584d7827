"""What quality control finds wrong with a chunk."""

from __future__ import annotations

import time

import pytest

from ingestion.quality import Checks, code_faults


def fenced(language: str, code: str) -> str:
    return f"Before.\n\n```{language}\n{code}\n```\n\nAfter."


def test_lengths_are_told_with_their_numbers() -> None:
    checks = Checks(min_length=5, max_length=8)
    assert checks.reasons("abc") == ["3 characters, fewer than 5"]
    assert checks.reasons("abcdefghi") == ["9 characters, more than 8"]
    assert checks.reasons("abcdef") == []


@pytest.mark.parametrize(
    ("language", "code", "fault"),
    [
        ("python", "def f(x):\n    return x", ""),
        ("python", "def f(x:\n    return", "python code: '(' was never closed, line 1"),
        ("py", "  x = 1\n  y = 2", ""),
        ("json", '{"a": [1, 2]}', ""),
        ("json", '{"a": }', "json code: Expecting value, line 1"),
        ("js", "f('(', `]`); // (\n/* { */ g([1])", ""),
        ("java", "class A { void f() { }", "java code: a '{' is not closed"),
        ("go", "f())", "go code: a ')' closes nothing"),
        ("", "not ( code", ""),
        ("brainfuck", "[[[", ""),
    ],
)
def test_code_is_checked_by_its_language(language: str, code: str, fault: str) -> None:
    assert code_faults(fenced(language, code)) == ([fault] if fault else [])


@pytest.mark.parametrize(
    "code",
    ["(" * 9000, "-" * 9000 + "1", "a" + ".b" * 9000, "x = " + "[" * 300, "not " * 9000 + "x"],
)
def test_hostile_code_is_a_fault_and_no_more(code: str) -> None:
    assert len(code_faults(fenced("python", code))) <= 1


def test_deep_json_is_a_fault_and_no_more() -> None:
    assert len(code_faults(fenced("json", "[" * 40_000))) == 1


def test_a_cut_fence_is_not_judged() -> None:
    assert code_faults("```python\ndef f(") == []


def test_technical_terms_are_whole_words_in_any_case() -> None:
    checks = Checks(technical_terms=["Kubernetes", "C++"])
    assert checks.reasons("We run kubernetes.") == []
    assert checks.reasons("Written in C++ mostly") == []
    assert checks.reasons("We run kubernetesque things") == ["names none of the technical terms"]


@pytest.mark.parametrize(
    "text",
    [
        "```\n" * 40_000,
        "`" * 60_000 + "\n" + "`" * 60_000,
        "```js\n" + "/*" * 20_000 + "\n```",
        "```js\n" + '"\\\\' * 15_000 + "\n```",
        "~~~go\n" + "'a" * 20_000 + "\n~~~",
    ],
)
def test_text_made_to_be_slow_is_checked_in_one_pass(text: str) -> None:
    begun = time.thread_time()
    code_faults(text)
    assert time.thread_time() - begun < 5  # backtracking would take minutes


def test_many_terms_are_looked_for_one_by_one() -> None:
    checks = Checks(technical_terms=[f"term{number}" for number in range(10_000)])
    assert checks.reasons("some words " * 500) == ["names none of the technical terms"]
    assert checks.reasons("some words and Term9999.") == []
