"""Presentations, OpenDocument texts and books made here."""

from __future__ import annotations

from ingestion.chunking import Chunking, split
from ingestion.convert.document import BlockPlace
from ingestion.convert.formats import convert
from tests.fakes.files import A, P, odf, pptx, relations, row, shape, words, xlsx, zipped

TABLE = (
    "<p:graphicFrame><a:graphic><a:graphicData><a:tbl><a:tr><a:tc><a:txBody><a:p><a:r><a:t>k</a:t></a:r>"
    "</a:p></a:txBody></a:tc><a:tc><a:txBody><a:p><a:r><a:t>v</a:t></a:r></a:p></a:txBody></a:tc></a:tr>"
    "</a:tbl></a:graphicData></a:graphic></p:graphicFrame>"
)
CHART = (
    '<c:chartSpace xmlns:c="http://c"><c:ser><c:tx><c:pt><c:v>Cost</c:v></c:pt></c:tx><c:cat><c:pt><c:v>May'
    "</c:v></c:pt></c:cat><c:val><c:pt><c:v>7</c:v></c:pt></c:val></c:ser></c:chartSpace>"
)


def test_a_presentation_is_read_slide_by_slide_in_the_order_of_eyes() -> None:
    first = (
        shape("below", role="body", top=900)
        + shape("Results", role="title", top=100)
        + shape("right", top=500, left=800)
        + shape("left", top=500, left=10)
        + shape("7", role="sldNum")
    )
    picture = '<p:pic><p:nvPicPr><p:cNvPr descr="A map of sites"/></p:nvPicPr></p:pic>'
    chart = '<p:graphicFrame><c:chart xmlns:c="http://c" r:id="c"/></p:graphicFrame>'
    second = shape("One", "Two", role="body") + TABLE + picture + chart
    notes = f'<p:notes xmlns:p="{P}" xmlns:a="{A}"><p:cSld><p:spTree>{shape("Say it slowly.", role="body")}</p:spTree></p:cSld></p:notes>'
    document = convert(
        pptx(
            first,
            second,
            parts={
                "ppt/slides/_rels/slide2.xml.rels": relations(
                    ("n", "notesSlide", "../notesSlides/n.xml"), ("c", "chart", "../charts/c.xml")
                ),
                "ppt/notesSlides/n.xml": notes,
                "ppt/charts/c.xml": CHART,
            },
        ),
        "a.pptx",
    )
    assert document.text == (
        "# Results\n\nleft\n\nright\n\nbelow\n\n# Slide 2\n\n- One\n- Two\n\n| k | v |\n| --- | --- |\n\n"
        "A map of sites\n\n|  | Cost |\n| --- | --- |\n| May | 7 |\n\nNotes: Say it slowly."
    )
    assert (document.title, document.page_count) == ("Results", 2)
    assert document.blocks[-1].place == BlockPlace("slide", 2, 2)
    assert document.blocks[-1].heading_path == ("Slide 2",)


def test_no_chunk_spans_two_slides_or_sheets() -> None:
    slides = pptx(*(shape(f"Title {n}", role="title") + shape(f"words {n}") for n in range(5)))
    sheets = xlsx({f"S{n}": row(1, "a", "b") + row(2, 1, 2) for n in range(5)})
    for data, places in (
        (slides, [f"slide {n}" for n in range(1, 6)]),
        (sheets, [f"S{n}!A1:B2" for n in range(5)]),
    ):
        document = convert(data, "a")
        for strategy in ("document_aware", "recursive"):
            spans = split(document, Chunking(strategy=strategy, context=16), words)
            assert [span.place for span in spans] == places


def test_a_link_on_a_slide_is_kept_where_it_leads_to_the_web() -> None:
    run = '<a:p><a:r><a:rPr><a:hlinkClick r:id="l"/></a:rPr><a:t>wiki</a:t></a:r></a:p>'
    slide = f"<p:sp><p:txBody>{run}</p:txBody></p:sp>"
    rels = relations(("l", "hyperlink", "https://wiki.example/"))
    data = pptx(slide, parts={"ppt/slides/_rels/slide1.xml.rels": rels})
    assert "[wiki](https://wiki.example/)" in convert(data, "a.pptx").text


def test_groups_nested_without_end_are_read_without_a_crash() -> None:
    deep = "<p:grpSp>" * 100 + shape("deep") + "</p:grpSp>" * 100
    assert convert(pptx(shape("top") + deep), "a.pptx").text == "# Slide 1\n\ntop"


TEXT = (
    "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes>"
    '<text:h text:outline-level="1">Leave</text:h>'
    '<text:p>Ask <text:span>early</text:span><text:s text:c="2"/>and <text:a xlink:href="https://w.example/">'
    "see</text:a><text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>Or late.</text:p>"
    "</text:note-body></text:note>.</text:p>"
    '<text:list text:style-name="N"><text:list-item><text:p>one</text:p><text:list><text:list-item>'
    "<text:p>inner</text:p></text:list-item></text:list></text:list-item></text:list>"
    "<table:table><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell><table:table-cell>"
    "<table:table><table:table-row><table:table-cell><text:p>x</text:p></table:table-cell></table:table-row>"
    "</table:table></table:table-cell></table:table-row></table:table>"
)
NUMBERED = (
    '<text:list-style style:name="N"><text:list-level-style-number text:level="1" style:num-format="1"/>'
    "</text:list-style>"
)


def test_an_opendocument_text_keeps_its_structure() -> None:
    document = convert(odf("text", TEXT, styles=NUMBERED), "a.odt")
    assert document.text == (
        "# Leave\n\nAsk early  and [see](https://w.example/)[^1].\n\n1. one\n  - inner\n\n| a | x |\n"
        "| --- | --- |\n\n[^1]: Or late."
    )
    assert document.title == "Leave"
    assert document.mime == "application/vnd.oasis.opendocument.text"


def test_an_opendocument_presentation_names_its_slides() -> None:
    page = (
        '<draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>Plan</text:p>'
        "</draw:text-box></draw:frame><draw:frame><draw:text-box><text:list><text:list-item><text:p>first"
        "</text:p></text:list-item></text:list></draw:text-box></draw:frame><presentation:notes><text:p>Hm"
        "</text:p></presentation:notes></draw:page>"
    )
    document = convert(odf("presentation", page + page), "a.odp")
    assert document.text.startswith("# Plan\n\n- first\n\nNotes: Hm\n\n# Plan")
    assert document.blocks[-1].place == BlockPlace("slide", 2, 2)


BOOK = {
    "mimetype": "application/epub+zip",
    "META-INF/container.xml": '<c><rootfile full-path="o/b.opf"/></c>',
    "o/b.opf": (
        '<package xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><dc:title>Birds</dc:title><dc:creator>'
        "Ada</dc:creator><dc:language>DE</dc:language></metadata><manifest>"
        '<item id="n" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>'
        '<item id="1" href="text/one.xhtml"/><item id="2" href="text/two.xhtml"/></manifest><spine>'
        '<itemref idref="2"/><itemref idref="1"/></spine></package>'
    ),
    "o/nav.xhtml": '<html><body><nav><a href="text/two.xhtml#x">The jay</a></nav></body></html>',
    "o/text/one.xhtml": "<html><body><h1>End</h1><p>Gone.</p></body></html>",
    "o/text/two.xhtml": '<html><body><p>It hides acorns. <a href="one.xhtml">On</a></p></body></html>',
}


def test_a_book_is_read_by_chapters_in_reading_order() -> None:
    document = convert(zipped(BOOK), "a.epub")
    assert document.text == "# The jay\n\nIt hides acorns. On\n\n# End\n\nGone."
    assert (document.title, document.author, document.language) == ("Birds", "Ada", "de")
