"""Tokens found word by word stand where the tokenizer itself finds them."""

import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from engine.models.hashing import HashingEmbedder
from engine.models.weights import find_model
from ingestion.word_tokens import open_token_offsets


@cache
def minilm() -> bytes:
    files = find_model(Path("no-folder"))
    assert files is not None
    return files.tokenizer.read_bytes()


@cache
def both(described: bytes):
    tokenizer = Tokenizer.from_buffer(described)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return open_token_offsets(described), lambda text: list(
        tokenizer.encode(text, add_special_tokens=False).offsets
    )


SPACE = st.sampled_from(
    [" ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u2003", "\x1f", "\x0b", "\u200b"]
)
WORD = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["[SEP]", "a[MASK]b", "é", "e\u0301", "中文字", "x" * 120, "don't", "\x00\x07"]
    ),
)
TEXT = st.lists(st.one_of(SPACE, WORD), max_size=20).map("".join)


@given(TEXT)
def test_minilms_tokens_stand_where_the_tokenizer_finds_them(text):
    ours, whole = both(minilm())
    assert ours(text) == whole(text)


@given(TEXT)
def test_words_without_a_normalizer_stand_where_the_tokenizer_finds_them(text):
    ours, whole = both(HashingEmbedder().tokenizer_json() or b"")
    assert ours(text) == whole(text)


def test_a_tokenizer_that_does_not_cut_at_space_is_asked_for_the_whole_text():
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern=",", behavior="removed")
    assert open_token_offsets(tokenizer.to_str().encode())("a b,c d") == [(0, 3), (4, 7)]


def test_an_added_token_that_holds_a_space_is_found():
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_tokens(["two words"])
    assert open_token_offsets(tokenizer.to_str().encode())("two words") == [(0, 9)]


@pytest.mark.parametrize("normalizer", [normalizers.Replace("a b", "ab"), normalizers.Lowercase()])
def test_a_normalizer_of_another_kind_sees_the_whole_text(normalizer):
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.normalizer = normalizer
    ours, whole = both(tokenizer.to_str().encode())
    assert ours("x a b y") == whole("x a b y")


def test_forgetting_words_changes_nothing(monkeypatch):
    monkeypatch.setattr("ingestion.word_tokens._LETTERS_KEPT", 3)
    ours, whole = open_token_offsets(minilm()), both(minilm())[1]
    texts = ["one two three", "four five", "one six"]
    assert [ours(text) for text in texts] == [whole(text) for text in texts]


def test_tokenizers_are_known_by_what_they_say_of_themselves():
    described = json.loads(minilm())
    assert described["pre_tokenizer"]["type"] == "BertPreTokenizer"
    assert described["normalizer"]["type"] == "BertNormalizer"
