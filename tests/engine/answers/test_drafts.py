"""What is shown of a draft: nothing that no source carries, and nearly all that one does."""

import random

from engine.answers.answer import NO_SOURCE, DraftReader, check_answer
from engine.answers.support import CitableSource
from engine.domain import Answered, Delta, Hit, Passage, ScoreParts
from engine.models.llm import open_language_model
from tests.fakes.drafts import DOCUMENTS, draft, written
from tests.fakes.library import Library
from tests.fakes.openai_server import KEY, Text, open_server

DRAFTS = 500
OVER_HTTP = 40
SCORES = ScoreParts(0.0, 5.0, 5.0, None, 0.9, 0.9)


def _sources() -> list[CitableSource]:
    found = []
    for n, (title, text) in enumerate(DOCUMENTS.items(), start=1):
        passage = Passage(f"{n:032x}.0", 0, text, title, 0, len(text))
        hit = Hit(
            passage.id, f"d{n}", f"{n:032x}", "kb", "Handbook", title, "", 0.9, 0.8, SCORES, (passage,)
        )  # fmt: skip
        found.append(CitableSource(n, hit, passage))
    return found


SOURCES = _sources()
NUMBERS = {source.hit.title: source.n for source in SOURCES}


def streamed(text: str, pick: random.Random) -> tuple[str, str]:
    """What is shown while the text comes in pieces of any size, and at its end."""
    reader = DraftReader(SOURCES)
    shown, position = "", 0
    while position < len(text):
        size = pick.randint(1, 40)
        shown += reader.feed(text[position : position + size])
        position += size
    shown += reader.settle()
    return shown, reader.finish().text


def test_nothing_invented_is_shown_of_500_drafts_and_nearly_all_that_is_true():
    leaked, true, kept = [], 0, 0
    for seed in range(DRAFTS):
        sentences = draft(seed, NUMBERS.__getitem__)
        shown, final = streamed(written(sentences), random.Random(seed))
        for sentence in sentences:
            if sentence.poison and (sentence.poison in shown or sentence.poison in final):
                leaked.append((seed, sentence.text))
            elif not sentence.poison:
                true += 1
                kept += sentence.text.split(" [")[0].rstrip(".")[:30] in final
    assert leaked == []
    assert kept / true > 0.97


def test_what_is_streamed_is_what_is_answered():
    for seed in range(DRAFTS):
        text = written(draft(seed, NUMBERS.__getitem__))
        shown, final = streamed(text, random.Random(seed))
        if final:
            assert shown.strip() == final == check_answer(text, SOURCES).text


async def test_nothing_invented_comes_through_a_model_behind_http(database, tmp_path):
    library = await Library.create(database, tmp_path)
    kb = await library.add_kb("handbook")
    for title, text in DOCUMENTS.items():
        await library.add(kb, title, text)
    async with open_server() as server:
        model = open_language_model("openai:scripted", base_url=server.base_url, api_key=KEY)
        asker, reader = library.asker(model), library.reader(kb)
        for seed in range(OVER_HTTP):
            sentences = draft(seed, NUMBERS.__getitem__)
            server.enqueue(Text(written(sentences), pieces=1 + seed % 9))
            question = "What do sick leave, travel vouchers, the key and the plans say?"
            shown, answer = "", None
            async for event in asker.ask(*reader, question):
                if isinstance(event, Delta):
                    shown += event.text
                if isinstance(event, Answered):
                    answer = event.answer
            assert answer is not None
            for sentence in sentences:
                assert not sentence.poison or sentence.poison not in shown + answer.text
            assert answer.outcome != "not_found" or not answer.citations
        await model.aclose()
    await library.index.aclose()


def test_when_nothing_is_left_nothing_is_claimed():
    checked = check_answer("The moon is made of cheese [1]. It weighs 12 grams [2].", SOURCES)
    assert (checked.text, checked.grounded, list(checked.citations)) == ("", False, [])
    assert checked.left_out == 2


def test_marking_shows_what_is_unsupported_and_says_so():
    text = "Ask your supervisor first [1]. The moon is made of green cheese [1]."
    checked = check_answer(text, SOURCES, unsupported="mark")
    assert checked.text == (
        f"Ask your supervisor first [1]. The moon is made of green cheese.{NO_SOURCE}"
    )
    assert not checked.grounded


def test_a_list_keeps_its_shape_when_an_item_is_left_out():
    text = (
        "## Rotating a key\n\nTo rotate a key:\n\n- Rotate the signing key every 90 days [3].\n"
        "- Dance around the server twice [3].\n- Restart the gateway [3].\n\n## Dancing servers\n\n"
        "Servers love to dance [3]."
    )
    assert check_answer(text, SOURCES).text == (
        "## Rotating a key\n\nTo rotate a key:\n\n- Rotate the signing key every 90 days [1].\n"
        "- Restart the gateway [2]."
    )


def test_a_table_keeps_its_header_and_the_rows_that_hold():
    text = "| Plan | Price |\n|---|---|\n| Gold | $99 |\n| Team | $12 [4] |\n| Business | $30 [4] |"
    assert check_answer(text, SOURCES).text == (
        "| Plan | Price |\n|---|---|\n| Team | $12 [1] |\n| Business | $30 [2] |"
    )


def test_what_the_sources_lack_may_be_said_in_the_askers_words_alone():
    text = "Ask your supervisor first [1]. The documents do not mention {}."
    said = check_answer(text.format("parking"), SOURCES, question="What about parking?")
    assert "parking" in said.text
    assert not said.grounded
    assert "Bob" not in check_answer(text.format("that Bob parks"), SOURCES).text


def test_a_translation_is_shown_only_with_an_anchor_and_never_claimed():
    text = "Puede solicitar hasta 240 horas de licencia por enfermedad adelantada con permiso [1]."
    checked = check_answer(text, SOURCES)
    assert (checked.text[:20], checked.grounded) == ("Puede solicitar hast", False)
    invented = "El alcalde baila con las llamas detrás del acuario durante los eclipses [1]."
    assert check_answer(invented, SOURCES).text == ""
    number = (
        "Puede solicitar hasta 999 horas de licencia por enfermedad adelantada con permiso [1]."
    )
    assert check_answer(number, SOURCES).text == ""
