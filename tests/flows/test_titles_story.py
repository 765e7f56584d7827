"""Documents of one title are told apart by their file names: shown, searched, and in each passage."""

from __future__ import annotations

from engine.documents.revisions import load_chunks
from tests.fakes.files import pdf
from tests.fakes.installations import Installation


def filing(profit: str, named: str) -> bytes:
    page = [
        (50.0, 740.0, 20.0, "Form 10-Q"),
        (50.0, 700.0, 10.0, "The quarterly profit of the company from all that"),
        (50.0, 688.0, 10.0, f"it sells, before taxes and fees, was {profit} in the quarter."),
    ]
    return pdf(page, info={"Title": named})


async def test_alike_filings_are_told_apart_by_their_file_names(notes: Installation) -> None:
    first = await notes.add(filing("seven", "0001045810-23-000227"), "wombat-2023-q2.pdf")
    await notes.drain()  # one after the other: pdfium is for one thread, and here none parts them
    other = await notes.add(filing("nine", "0000320193-23-000077"), "numbat-2023-q3.pdf")
    plain = await notes.add("It was eleven.", "quokka-budget.txt")
    await notes.drain()

    infos = {added.document_id: await notes.get(added) for added in (first, other, plain)}
    assert [(info.title, info.details.get("filename", "")) for info in infos.values()] == [
        ("Form 10-Q", "wombat-2023-q2.pdf"),
        ("Form 10-Q", "numbat-2023-q3.pdf"),
        ("quokka-budget.txt", ""),
    ]
    async with notes.engine.db.read() as session:
        contexts = [
            (await load_chunks(session, added.revision_id))[0].context
            for added in (first, other, plain)
        ]
    assert contexts == [
        "Form 10-Q (wombat 2023 q2)",
        "Form 10-Q (numbat 2023 q3)",
        "quokka budget",
    ]
    for query, found in (
        ("numbat quarterly profit", other),
        ("wombat quarterly profit", first),
        ("numbat-2023-q3.pdf", other),
        ("quokka", plain),
    ):
        result = await notes.engine.search.find(notes.owner, query, mode="keyword")
        assert result.hits[0].document_id == found.document_id, query


async def test_a_title_somebody_gave_is_shown_and_the_file_name_beside_it(
    notes: Installation,
) -> None:
    added = await notes.add("# Rules\n\nDig.", "burrows-2024.md", title="How to dig")
    await notes.drain()
    info = await notes.get(added)
    assert (info.title, info.details["filename"]) == ("How to dig", "burrows-2024.md")
    async with notes.engine.db.read() as session:
        [chunk] = await load_chunks(session, added.revision_id)
    assert chunk.context == "How to dig (burrows 2024)"
