"""A PDF is named as its readers would name it, and passages tell documents alike from one another."""

from __future__ import annotations

import pytest

from ingestion.convert.formats import convert
from ingestion.convert.titles import looks_like_title
from ingestion.file_names import context_title, searched_title
from tests.fakes.files import odf, pdf, pptx, row, shape, xlsx, zipped

PAGE = [
    (50.0, 740.0, 12.0, "Garden works"),
    (50.0, 700.0, 24.0, "Quarterly report of the garden works"),
    (50.0, 660.0, 10.0, "The first line of a paragraph goes on"),
    (50.0, 648.0, 10.0, "in the second line of it, and in the third"),
    (50.0, 636.0, 10.0, "as lines of a paragraph do, one after the other."),
]


@pytest.mark.parametrize(
    "named",
    [
        "0001045810-23-000227",
        "nvda-20230730",
        "d468231d10q.htm",
        "https://www.example.com/reports/q2",
        "www.example.com",
        "example.com/report",
        "Microsoft Word - report_final_v2.doc",
        "Microsoft PowerPoint - Presentation1",
        "untitled",
        "Untitled-1",
        "PowerPoint Presentation",
        "Présentation PowerPoint",
        "無題",
        "Document1",
        "Slide 1",
        "report_final_v2",
        "C:\\Users\\ada\\report",
        "/home/ada/report/final",
        "ada@example.com",
        "2023",
        "---",
        "<Enter title here>",
        "Contents",
        "Table of Contents",
        "1. Introduction",
        "目次",
        "(anonymous)",
        "Annual report.indd",
        "",
    ],
)
def test_what_programs_call_a_pdf_loses_to_its_heading(named: str) -> None:
    document = convert(pdf(PAGE, info={"Title": named}), "a.pdf")
    assert document.title == "Quarterly report of the garden works"


@pytest.mark.parametrize(
    ("named", "title"),
    [
        ("Microsoft Word - Rules of the garden", "Rules of the garden"),
        ("Getting started with Node.js", "Getting started with Node.js"),
        ("Version 2.10", "Version 2.10"),
        ("COVID-19: what to do", "COVID-19: what to do"),
        ("2001: A Space Odyssey", "2001: A Space Odyssey"),
        ("年次報告書2023", "年次報告書2023"),
        ("Auto-Encoders", "Auto-Encoders"),
        ("Handbook", "Handbook"),
        ("Report on the state of gardens", "Report on the state of gardens"),
    ],
)
def test_a_title_somebody_gave_is_kept(named: str, title: str) -> None:
    assert convert(pdf(PAGE, info={"Title": named}), "a.pdf").title == title


@pytest.mark.parametrize("part", ["Contents", "Inhaltsverzeichnis", "1 Introduction", "Abstract"])
def test_a_part_of_the_document_is_no_title_where_a_heading_names_the_whole(part: str) -> None:
    page = [(50.0, 760.0, 34.0, part), *PAGE]
    assert convert(pdf(page), "a.pdf").title == "Quarterly report of the garden works"
    assert convert(pdf([page[0], *PAGE[2:]]), "a.pdf").title == part


def test_a_heading_that_is_a_number_is_no_title_where_another_is() -> None:
    page = [(50.0, 760.0, 30.0, "2023"), *PAGE]
    assert convert(pdf(page), "a.pdf").title == "Quarterly report of the garden works"
    assert not looks_like_title("2023")


@pytest.mark.parametrize(
    ("title", "filename", "context"),
    [
        ("Form 10-Q", "nvidia-2023-q2.pdf", "Form 10-Q (nvidia 2023 q2)"),
        ("Form 10-Q", "NVIDIA_10Q_2023Q2.pdf", "Form 10-Q (nvidia 2023q2)"),
        ("Annual leave", "annual-leave.md", "Annual leave"),
        ("Annual leave", "AnnualLeave (final) copy.pdf", "Annual leave"),
        ("Form 10-Q", "0001045810-23-000227.pdf", "Form 10-Q"),
        ("Form 10-Q", "3f2a9c1e-88b1-4e0f-9a1d-2f6c1b7e9d10.pdf", "Form 10-Q"),
        ("Form 10-Q", "IMG_20230412_1033.pdf", "Form 10-Q"),
        ("Form 10-Q", "https://example.com/annual/report", "Form 10-Q"),
        ("", "zebra-crossings_2024.txt", "zebra crossings 2024"),
        ("", "scan0001.txt", ""),
        ("", "text.txt", ""),
        ("Rapport", "売上_2023.pdf", "Rapport (売上 2023)"),
    ],
)
def test_a_passage_names_its_document_by_title_and_file(
    title: str, filename: str, context: str
) -> None:
    assert context_title(title, filename) == context


def test_a_long_file_name_adds_a_bounded_context() -> None:
    name = "-".join(f"garden{'abcdefghij'[n % 10]}x{'y' * (n // 10)}" for n in range(80)) + ".pdf"
    assert len(context_title("Report", name)) < 80
    assert len(context_title("", name)) <= 60


@pytest.mark.parametrize(
    ("title", "filename", "searched"),
    [
        ("Form 10-Q", "nvidia-2023-q2.pdf", "Form 10-Q nvidia-2023-q2"),
        ("Form 10-Q", "0001045810-23-000227.pdf", "Form 10-Q 0001045810-23-000227"),
        ("Annual leave", "hr/annual-leave.md", "Annual leave"),
        ("Get reimbursed", "travel-guide.md", "Get reimbursed travel guide"),
        ("Annual leaves", "leave-readme.md", "Annual leaves"),
        ("nvidia.pdf", "nvidia.pdf", "nvidia.pdf"),
        ("A page", "https://example.com/a", "A page"),
    ],
)
def test_a_file_name_is_searched_where_the_title_does_not_say_it(
    title: str, filename: str, searched: str
) -> None:
    assert searched_title(title, filename) == searched


CORE = '<coreProperties xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{}</dc:title></coreProperties>'


def docx(title: str, *paragraphs: tuple[str, str]) -> bytes:
    """A Word file: metadata's title, and paragraphs of a style each."""
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>'
        for style, text in paragraphs
    )
    named = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    return zipped(
        {
            "word/document.xml": f'<w:document xmlns:w="{named}"><w:body>{body}</w:body></w:document>',
            "word/styles.xml": f'<w:styles xmlns:w="{named}"><w:style w:styleId="1">'
            '<w:name w:val="heading 1"/></w:style></w:styles>',
            "docProps/core.xml": CORE.format(title),
        }
    )


RULES = (("1", "Rules of the canteen"), ("", "It closes at two."))


@pytest.mark.parametrize("named", ["", "Microsoft Word - Document1", "report_final_v2", "Contents"])
def test_a_word_file_is_named_by_the_heading_it_begins_with(named: str) -> None:
    assert convert(docx(named, *RULES), "a.docx").title == "Rules of the canteen"


def test_one_chapter_of_several_names_no_word_file() -> None:
    chapters = docx("", *RULES, ("1", "Rules of the garden"), ("", "It is open."))
    assert convert(chapters, "a.docx").title == ""
    late = docx("", *[("", f"Line {n}.") for n in range(5)], *RULES)
    assert convert(late, "a.docx").title == ""


def test_what_programs_call_a_workbook_or_slides_is_no_title() -> None:
    parts = {"docProps/core.xml": CORE.format("Book1")}
    assert convert(xlsx({"Stock": row(1, "Paint", 4)}, parts=parts), "a.xlsx").title == ""
    slides = pptx(
        shape("Plan for spring", role="ctrTitle"),
        parts={"docProps/core.xml": CORE.format("PowerPoint-Präsentation")},
    )
    assert convert(slides, "a.pptx").title == "Plan for spring"


def test_an_open_document_is_named_by_what_its_readers_see() -> None:
    body = '<text:h text:outline-level="1">Rules of the canteen</text:h><text:p>It closes.</text:p>'
    assert convert(odf("text", body), "a.odt").title == "Rules of the canteen"
