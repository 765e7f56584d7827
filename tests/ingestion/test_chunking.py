"""Where documents are cut: what must hold for any text, and what people would expect of theirs."""

from __future__ import annotations

import itertools
import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.chunking import Chunking, Marks, Span, Strategy, split
from ingestion.convert.document import Block, ConversionLimits, Converted
from ingestion.convert.markdown import from_text
from ingestion.convert.text import convert as convert_text

SMALL = Chunking(size=40, context=10, special=2)
OVERLAPPING = {"recursive", "sliding_window"}


def words(text: str) -> list[tuple[int, int]]:
    """Tokens as WordPiece makes them, but for its vocabulary: words of at most 8 letters, signs.

    A word over 100 letters is one unknown token.
    """
    offsets = []
    for word in re.finditer(r"[^\W_]+|[^\w\s]|_", text):
        start, end = word.span()
        step = 8 if end - start <= 100 else end - start
        offsets += [(at, min(at + step, end)) for at in range(start, end, step)]
    return offsets


def texts(document: Converted, spans: list[Span]) -> list[str]:
    return [document.text[span.start : span.end] for span in spans]


def markdown(text: str) -> Converted:
    return from_text(text, ConversionLimits())


LINES = st.sampled_from(
    [
        "", "", "# One", "## Two two", "### Three", "Some words stand here.", "More of them. And more!",
        "- item one", "  - nested", "1. first", "```", "~~~", "| a | b |", "| --- | --- |", "| 1 | 2 |",
        "> quoted", "    indented", "---", "<!-- hidden -->", "{% alert %}", "{% comment %} x {% endcomment %}",
        "x" * 130, "界" * 60, "これは文です。次の文です。", "word " * 60, "a" * 9 + " " + "b" * 9,
        "Sentence one is here. " * 12, "title: x", "\t", "***", "Setext", "=====",
    ]
)  # fmt: skip
DOCUMENTS = st.lists(LINES, max_size=40).map("\n".join)
SETTINGS = st.builds(
    Chunking,
    strategy=st.sampled_from(get_args(Strategy)),
    size=st.integers(40, 90),
    overlap=st.integers(0, 12),
    context=st.integers(0, 12),
    special=st.integers(0, 2),
    sections_apart=st.booleans(),
    rows_apart=st.booleans(),
)


@given(DOCUMENTS, SETTINGS)
def test_chunks_cover_all_content_in_order_and_within_size(text: str, settings: Chunking) -> None:
    document = markdown(text)
    spans = split(document, settings, words)

    covered = [False] * len(document.text)
    for span in spans:
        piece = document.text[span.start : span.end]
        assert piece == piece.strip()
        assert piece
        real = len(words(piece)) + len(words(span.context)) + settings.special
        assert span.tokens == real
        assert real <= settings.size
        covered[span.start : span.end] = [True] * (span.end - span.start)
    for block in document.blocks:
        for at in range(block.start, block.end):
            if not document.text[at].isspace():
                assert covered[at] is (block.kind != "hidden")
    starts = [span.start for span in spans]
    assert starts == sorted(set(starts))
    ends = [span.end for span in spans]
    assert ends == sorted(set(ends))
    if not (settings.overlap and settings.strategy in OVERLAPPING):
        assert all(a.end <= b.start for a, b in itertools.pairwise(spans))


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=400), SETTINGS)
def test_any_text_at_all_is_cut_without_loss(text: str, settings: Chunking) -> None:
    document = convert_text(("a" + text).encode(), ConversionLimits())
    spans = split(document, settings, words)
    kept = "".join(texts(document, spans)) if not settings.overlap else None
    if kept is not None:
        assert "".join(kept.split()) == "".join(document.text.split())


def test_a_section_keeps_its_heading_and_names_those_above() -> None:
    body = "Employees may carry over ten days. " * 4
    document = markdown(f"# Handbook\n\n## Leave\n\n{body}\n\n### Sick\n\n{body}\n")
    spans = split(document, Chunking(size=48, context=12), words)
    assert [(s.context, document.text[s.start : s.start + 9]) for s in spans] == [
        ("Handbook", "# Handboo"),
        ("Handbook > Leave", "### Sick\n"),
    ]


def test_small_sections_are_joined_with_their_siblings() -> None:
    document = markdown("## A\n\nOne.\n\n## B\n\nTwo.\n\n## C\n\nThree.\n")
    assert texts(document, split(document, SMALL, words)) == [document.text.strip()]


def test_large_sections_are_not_joined() -> None:
    body = "Ten words are in this sentence, if I count right. " * 2
    document = markdown(f"## A\n\n{body}\n\n## B\n\n{body}\n")
    assert len(split(document, Chunking(size=60, context=10), words)) == 2


def test_a_section_is_not_joined_with_one_elsewhere() -> None:
    document = Converted(
        text="a\n\nb",
        blocks=[
            Block("heading", 0, 1, 1, None, ("X", "Y")),
            Block("paragraph", 0, 1, 0, None, ("X", "Y")),
            Block("heading", 3, 4, 1, None, ("Z", "W")),
        ],
        mime="text/plain",
    )
    assert len(split(document, SMALL, words)) == 2


def test_a_table_too_long_is_cut_by_rows_and_carries_its_header() -> None:
    rows = "\n".join(f"| {n} | city {n} |" for n in range(12))
    document = markdown(f"# Places\n\n| No | Where |\n| --- | --- |\n{rows}\n")
    spans = split(document, SMALL, words)
    assert spans[0].context == "Places"
    assert {span.context for span in spans[1:]} == {"Places\n| No | Where |"}
    assert all(piece.endswith("|") for piece in texts(document, spans))
    assert {span.kind for span in spans} == {"table"}


def test_a_header_row_as_long_as_a_chunk_is_not_repeated() -> None:
    header = "| " + " | ".join(f"column {n}" for n in range(7)) + " |"
    document = markdown(f"{header}\n|{' --- |' * 7}\n" + f"|{' x |' * 7}\n" * 6)
    spans = split(document, SMALL, words)
    assert len(spans) > 1
    assert {span.context for span in spans} == {""}


def test_a_fence_that_fits_is_never_cut() -> None:
    code = "```\n" + "run it\n" * 12 + "```"
    document = markdown("Before it come words. " * 3 + f"\n\n{code}\n\nAfter it.\n")
    for strategy in ("document_aware", "recursive"):
        spans = split(document, Chunking(strategy=strategy, size=40, context=0), words)
        assert any(code in piece for piece in texts(document, spans))


def test_a_fence_longer_than_a_chunk_is_cut_at_lines() -> None:
    document = markdown("```\n" + "do one thing\n" * 40 + "```\n")
    pieces = texts(document, split(document, SMALL, words))
    assert all(piece.endswith(("thing", "```")) for piece in pieces)


@pytest.mark.parametrize("strategy", ["document_aware", "recursive", "semantic"])
@pytest.mark.parametrize("opening", ["```python", "~~~~ sql title=a", "```"])
def test_each_part_of_a_long_fence_is_code_of_its_language(
    strategy: Strategy, opening: str
) -> None:
    lines = [f"    row {n}: do one thing" for n in range(60)]
    code = "\n".join((opening, "def all():", *lines, opening[0] * 4 if "~" in opening else "```"))
    document = markdown(f"Words before it.\n\n{code}\n\nWords after it.\n")
    spans = split(document, Chunking(strategy=strategy, size=40, context=0), words)
    parts = [span for span in spans if span.kind == "code"]
    assert len(parts) > 5
    assert all(span.tokens <= 40 for span in spans)
    first, *rest = parts
    assert opening in document.text[first.start : first.end]
    assert {span.context for span in rest} == {opening}
    for span in rest:
        piece = document.text[span.start : span.end]
        assert piece.startswith("    row "), piece  # at a line, indented as it was
        assert piece.endswith(("thing", "```", "~~~~"))
    kept = "\n".join(document.text[span.start : span.end] for span in parts)
    assert kept.endswith(code[-60:])
    assert all(line in kept for line in lines)


def test_the_end_of_a_fence_is_no_part_by_itself() -> None:
    for count in range(30, 60):
        document = markdown("```sh\n" + "do one thing\n" * count + "```\n")
        pieces = texts(document, split(document, SMALL, words))
        assert "```" not in pieces, count


def test_an_opening_as_long_as_a_chunk_is_not_repeated() -> None:
    document = markdown("```sh " + "word " * 30 + "\n" + "do one thing\n" * 40 + "```\n")
    spans = split(document, SMALL, words)
    assert {span.context for span in spans} == {""}


def test_a_heading_goes_with_what_follows_it() -> None:
    body = "Seven words make up this sentence here. "
    document = markdown(f"{body * 3}\n\n{body * 3}\n\n## Next\n\n{body * 3}\n")
    settings = Chunking(strategy="recursive", size=60, context=10)
    pieces = texts(document, split(document, settings, words))
    assert not any(piece.endswith("## Next") for piece in pieces)
    assert any(piece.startswith("## Next\n\nSeven") for piece in pieces)


def test_overlap_repeats_whole_sentences() -> None:
    text = " ".join(f"Sentence number {n} is here." for n in range(20))
    document = markdown(text)
    settings = Chunking(strategy="recursive", size=40, context=0, overlap=8)
    spans = split(document, settings, words)
    assert len(spans) > 2
    for before, after in itertools.pairwise(spans):
        repeated = text[after.start : before.end]
        assert repeated.startswith("Sentence number")
        assert repeated.endswith(".")


def test_overlap_never_repeats_part_of_a_table_or_listing() -> None:
    code = "```\n" + "run it now\n" * 8 + "```"
    document = markdown(f"{code}\n\n{'Some words stand here now. ' * 5}")
    settings = Chunking(strategy="recursive", size=40, context=0, overlap=8)
    spans = split(document, settings, words)
    assert spans[1].start >= spans[0].end


def test_hidden_text_is_in_no_chunk() -> None:
    document = markdown(
        "---\ntitle: Leave\n---\nSeen.\n\n{% comment %}\nDraft.\n{% endcomment %}\n\nSeen too.\n"
    )
    spans = split(document, SMALL, words)
    assert texts(document, spans) == ["Seen.", "Seen too."]
    assert {span.context for span in spans} == {"Leave"}


def test_a_context_too_long_loses_its_middle_then_its_title_then_its_end() -> None:
    deep = Converted(
        "x", [Block("paragraph", 0, 1, 0, None, ("a b c", "d e f", "g h i"))], "", "T t"
    )
    contexts = {
        limit: split(deep, Chunking(size=60, context=limit), words)[0].context
        for limit in (20, 10, 6, 3, 2, 1, 0)
    }
    assert contexts == {
        20: "T t > a b c > d e f > g h i",
        10: "T t > d e f > g h i",
        6: "T t > g h i",
        3: "g h i",
        2: "g",
        1: "g",
        0: "",
    }


def test_one_word_longer_than_a_chunk_is_cut_by_measure() -> None:
    document = markdown("z" * 5000)
    spans = split(document, SMALL, words)
    assert "".join(texts(document, spans)) == "z" * 5000
    assert max(span.tokens for span in spans) <= SMALL.size


def test_a_letter_of_more_tokens_than_a_chunk_stands_alone() -> None:
    def bytes_of(text: str) -> list[tuple[int, int]]:
        return [(at, at + 1) for at, letter in enumerate(text) for _ in range(20 * (letter == "&"))]

    document = markdown("&&")
    spans = split(document, Chunking(size=12, context=0, special=2), bytes_of)
    assert texts(document, spans) == ["&", "&"]


def test_sentences_of_scripts_without_spaces_are_kept_whole() -> None:
    def letters(text: str) -> list[tuple[int, int]]:
        return [(at, at + 1) for at, letter in enumerate(text) if not letter.isspace()]

    document = markdown("休暇は二週間前に申請してください。" * 6)
    pieces = texts(document, split(document, Chunking(size=40, context=0), letters))
    assert len(pieces) == 3
    assert all(piece.endswith("。") for piece in pieces)


def test_settings_that_leave_no_room_are_refused() -> None:
    with pytest.raises(ValueError, match="leaves no room"):
        Chunking(size=50)
    with pytest.raises(ValueError, match="more than half"):
        Chunking(size=100, context=20, overlap=60)


def test_a_section_that_holds_what_stands_alone_is_not_joined() -> None:
    document = markdown(f"## A\n\nShort.\n\n## B\n\n{'z' * 900}\n\n## C\n\nShort.\n")
    pieces = texts(document, split(document, SMALL, words))
    assert [piece for piece in pieces if "z" not in piece] == [
        "## A\n\nShort.",
        "## B",
        "## C\n\nShort.",
    ]


def test_an_empty_document_has_no_chunks() -> None:
    assert split(markdown("---\ntitle: x\n---\n"), SMALL, words) == []
    assert split(Converted(" ", [Block("paragraph", 0, 1)], ""), SMALL, words) == []


def numbers(count: int) -> str:
    return " ".join(f"n{n:03}" for n in range(count))


def test_fixed_chunks_are_all_of_one_size_whatever_stands_where() -> None:
    document = markdown(f"# Title\n\n{numbers(30)}\n\n## More\n\n{numbers(33)}\n")
    settings = Chunking(strategy="fixed", size=32, context=10, special=2)
    spans = split(document, settings, words)
    counts = [len(words(piece)) for piece in texts(document, spans)]
    assert counts == [20, 20, 20, 8]
    assert "".join("".join(texts(document, spans)).split()) == "".join(document.text.split())


def test_windows_slide_by_size_less_overlap() -> None:
    document = markdown(numbers(50))
    settings = Chunking(strategy="sliding_window", size=32, context=10, special=2, overlap=5)
    spans = split(document, settings, words)
    pieces = [piece.split() for piece in texts(document, spans)]
    assert [len(piece) for piece in pieces] == [20, 20, 20]
    assert all(before[-5:] == after[:5] for before, after in itertools.pairwise(pieces))
    kept = [pieces[0], *(piece[5:] for piece in pieces[1:])]
    assert [word for piece in kept for word in piece] == document.text.split()


@given(DOCUMENTS, st.integers(0, 12))
def test_windows_less_their_overlap_are_the_text(text: str, overlap: int) -> None:
    document = markdown(text)
    settings = Chunking(strategy="sliding_window", size=50, context=8, overlap=overlap)
    at = 0
    kept: list[int] = []
    for span in split(document, settings, words):
        assert len(words(document.text[span.start : max(at, span.start)])) <= overlap
        kept += range(max(at, span.start), span.end)
        at = span.end
    content = {
        at
        for block in document.blocks
        if block.kind != "hidden"
        for at in range(block.start, block.end)
        if not document.text[at].isspace()
    }
    assert [at for at in kept if at in content] == sorted(content)


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_a_fence_and_a_table_that_fit_are_whole_in_every_strategy(strategy: Strategy) -> None:
    code = "```\n" + "run it\n" * 9 + "```"
    table = "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"
    document = markdown(f"{numbers(17)}\n\n{code}\n\n{numbers(13)}\n\n{table}\n\n{numbers(9)}\n")
    settings = Chunking(strategy=strategy, size=50, context=8, overlap=6)
    pieces = texts(document, split(document, settings, words))
    assert sum(code in piece for piece in pieces) == 1
    assert sum(table in piece for piece in pieces) == 1
    assert sum(piece.count("run it") for piece in pieces) == 9


def test_a_new_subject_begins_a_new_chunk() -> None:
    lakes = "Lakes hold water all year. " * 4
    bread = "Bread needs flour and salt. " * 4
    document = markdown(f"{lakes}{bread}\n\n## Rest\n\nIt rests.\n")
    at = document.text.index("Bread")
    settings = Chunking(strategy="semantic", size=72, context=10)
    marked = split(document, settings, words, Marks(breaks=[at]))
    assert texts(document, marked) == [lakes.strip(), document.text[at:].strip()]
    assert len(split(document, settings, words)) == 1


def test_a_break_that_leaves_too_little_is_passed_over() -> None:
    document = markdown("Yes. No, it is not so at all. It never was, and nobody said so.")
    settings = Chunking(strategy="semantic", size=64, context=10)
    assert len(split(document, settings, words, Marks(breaks=[5]))) == 1


LANGUAGES = st.lists(st.tuples(st.sampled_from(["en", "de", ""]), st.integers(1, 30)), max_size=12)


@given(LANGUAGES, st.sampled_from([0.0, 0.25, 0.5]), st.sampled_from(get_args(Strategy)))
def test_languages_share_a_chunk_only_below_the_threshold(
    paragraphs: list[tuple[str, int]], share: float, strategy: Strategy
) -> None:
    document = markdown("\n\n".join("word " * count for _, count in paragraphs))
    blocks = [block for block in document.blocks if block.kind == "paragraph"]
    stretches = [
        (block.start, block.end, language)
        for block, (language, _) in zip(blocks, paragraphs, strict=True)
        if language
    ]
    settings = Chunking(strategy=strategy, size=60, context=8, foreign_share=share)
    spans = split(document, settings, words, Marks(languages=stretches))
    for span in spans:
        letters = {"en": 0, "de": 0}
        for start, end, language in stretches:
            letters[language] += max(0, min(end, span.end) - max(start, span.start))
        assert max(letters.values()) >= (1 - share) * sum(letters.values())
    covered = sum(span.end - span.start for span in spans)
    assert covered >= sum(block.end - block.start for block in blocks) - len(blocks) * 2


def test_rows_apart_are_a_chunk_each_under_their_header() -> None:
    rows = [f"| How is {n} done? | Like {n}. |" for n in range(4)]
    document = markdown("# FAQ\n\n| Q | A |\n| --- | --- |\n" + "\n".join(rows) + "\n\nAsk more.\n")
    spans = split(document, Chunking(size=60, context=12, rows_apart=True), words)
    assert texts(document, spans) == [
        f"# FAQ\n\n| Q | A |\n| --- | --- |\n{rows[0]}",
        *rows[1:],
        "Ask more.",
    ]
    assert {span.context for span in spans[1:4]} == {"FAQ\n| Q | A |"}


def test_sections_apart_are_never_joined() -> None:
    document = markdown("## A\n\nOne.\n\n## B\n\nTwo.\n")
    apart = Chunking(size=40, context=10, sections_apart=True)
    assert texts(document, split(document, apart, words)) == ["## A\n\nOne.", "## B\n\nTwo."]
