"""How far a reader is, told page by page: in this process, and through a child's pipe."""

from __future__ import annotations

from ingestion.convert.document import ConversionLimits
from ingestion.convert.formats import convert
from ingestion.convert.progress import tell_pages, told_to
from ingestion.parsing import open_parsing_pool
from tests.fakes.pdfs import pdf_of


def test_a_pdf_tells_each_page_to_who_listens() -> None:
    told: list[tuple[int, int]] = []
    with told_to(lambda done, total: told.append((done, total))):
        convert(pdf_of(["One.", "Two.", "Three."]), "three.pdf", ConversionLimits())
    assert told == [(0, 3), (1, 3), (2, 3)]
    tell_pages(1, 2)  # nobody listens: nothing happens
    assert len(told) == 3


async def test_pages_come_through_the_pipe_ahead_of_the_answer() -> None:
    told: list[tuple[int, int]] = []
    lines = [f"Page {number} says something of its own." for number in range(3000)]
    async with open_parsing_pool() as pool:
        document = await pool.parse(
            pdf_of(lines), "long.pdf", report=lambda done, total: told.append((done, total))
        )
    assert document.page_count == 3000
    assert told
    assert told == sorted(told)
    assert {total for _, total in told} == {3000}
