"""What office files keep beside their body: text boxes, charts, diagrams, documents within."""

from __future__ import annotations

import base64

import pytest

from ingestion.convert.document import ConversionError
from ingestion.convert.formats import convert
from tests.fakes.files import A, R, relations, row, xlsx, zipped
from tests.ingestion.test_convert_office import W, p, word

MC = "http://schemas.openxmlformats.org/markup-compatibility/2006"
C = "http://schemas.openxmlformats.org/drawingml/2006/chart"
XDR = "http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing"
CHART = (
    f'<c:chartSpace xmlns:c="{C}" xmlns:a="{A}"><c:chart><c:title><c:tx><c:rich><a:p><a:r><a:t>Acorns'
    "</a:t></a:r></a:p></c:rich></c:tx></c:title><c:plotArea><c:barChart><c:ser><c:tx><c:strRef>"
    "<c:strCache><c:pt><c:v>Jays</c:v></c:pt></c:strCache></c:strRef></c:tx><c:cat><c:strRef><c:strCache>"
    "<c:pt><c:v>2024</c:v></c:pt><c:pt><c:v>2025</c:v></c:pt></c:strCache></c:strRef></c:cat><c:val>"
    "<c:numRef><c:numCache><c:pt><c:v>3</c:v></c:pt><c:pt><c:v>5</c:v></c:pt></c:numCache></c:numRef>"
    "</c:val></c:ser></c:barChart></c:plotArea></c:chart></c:chartSpace>"
)
TABLE = "|  | Jays |\n| --- | --- |\n| 2024 | 3 |\n| 2025 | 5 |"


def box(text: str) -> str:
    """A text box as Word 2010 writes one, with its twin for older programs."""
    inside = f"<w:txbxContent>{text}</w:txbxContent>"
    return (
        f'<w:p><w:r><mc:AlternateContent xmlns:mc="{MC}"><mc:Choice><w:drawing>{inside}</w:drawing>'
        f"</mc:Choice><mc:Fallback><w:pict>{inside}</w:pict></mc:Fallback></mc:AlternateContent></w:r></w:p>"
    )


def test_a_document_of_nothing_but_text_boxes_is_read() -> None:
    assert convert(word(box(p("In the box."))), "a.docx").text == "In the box."
    old = f"<w:p><w:r><w:pict><w:txbxContent>{p('Old box.')}</w:txbxContent></w:pict></w:r></w:p>"
    assert convert(word(old), "a.docx").text == "Old box."


def test_boxes_within_boxes_and_within_cells_are_read_once() -> None:
    assert convert(word(box(p("Outer.") + box(p("Inner.")))), "a.docx").text == "Outer.\n\nInner."
    cells = f"<w:tc>{p('one')}{box(p('Boxed.'))}</w:tc><w:tc>{p('two')}</w:tc>"
    document = convert(word(f"<w:tbl><w:tr>{cells}</w:tr></w:tbl>"), "a.docx")
    assert document.text.count("Boxed.") == 1
    assert [block.kind for block in document.blocks] == ["table", "paragraph"]


def test_a_chart_in_word_is_a_table_under_its_title() -> None:
    drawing = f'<w:p><w:r><w:drawing><c:chart xmlns:c="{C}" r:id="r1"/></w:drawing></w:r></w:p>'
    parts = {
        "word/_rels/document.xml.rels": relations(("r1", "chart", "charts/chart1.xml")),
        "word/charts/chart1.xml": CHART,
    }
    assert convert(word(drawing, parts), "a.docx").text == f"Acorns\n\n{TABLE}"


def test_a_diagram_in_word_is_a_list() -> None:
    dgm = "http://schemas.openxmlformats.org/drawingml/2006/diagram"
    drawing = f'<w:p><w:r><w:drawing><d:relIds xmlns:d="{dgm}" r:dm="r1"/></w:drawing></w:r></w:p>'
    points = "".join(f"<d:pt><d:t><a:p><a:r><a:t>{t}</a:t></a:r></a:p></d:t></d:pt>" for t in "AB")
    parts = {
        "word/_rels/document.xml.rels": relations(("r1", "diagramData", "diagrams/data1.xml")),
        "word/diagrams/data1.xml": f'<d:dataModel xmlns:d="{dgm}" xmlns:a="{A}">{points}</d:dataModel>',
    }
    assert convert(word(drawing, parts), "a.docx").text == "- A\n- B"


MHT = (
    b"MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=x\r\n\r\n--x\r\nContent-Type: text/html;"
    b" charset=utf-8\r\nContent-Location: file:///C:/a.htm\r\n\r\n<html><body><p>Chunk.</p></body></html>"
    b"\r\n--x--\r\n"
)


def with_chunk(name: str, chunk: bytes) -> bytes:
    """A document that holds another between two paragraphs."""
    body = f'{p("Before.")}<w:altChunk r:id="r1"/>{p("After.")}'
    parts = {
        "[Content_Types].xml": "<Types/>",
        "word/document.xml": f'<w:document xmlns:w="{W}" xmlns:r="{R}"><w:body>{body}</w:body></w:document>',
        "word/_rels/document.xml.rels": relations(("r1", "aFChunk", f"chunks/{name}")),
        f"word/chunks/{name}": chunk,
    }
    return zipped(parts)


@pytest.mark.parametrize(
    ("name", "chunk"),
    [
        ("a.html", b"<html><body><p>Chunk.</p></body></html>"),
        ("a.htm", b"<p>Chunk.</p>"),
        ("a.mht", MHT),
        ("a.txt", b"Chunk.\n"),
        ("a.rtf", b"{\\rtf1\\ansi Chunk.\\par}"),
        ("a.docx", word(p("Chunk."))),
    ],
)
def test_a_document_within_a_word_document_is_read_where_it_stands(name: str, chunk: bytes) -> None:
    assert convert(with_chunk(name, chunk), "a.docx").text == "Before.\n\nChunk.\n\nAfter."


def test_documents_within_documents_without_end_are_no_crash() -> None:
    data = word(p("Core."))
    for _ in range(12):
        parts = {
            "[Content_Types].xml": "<Types/>",
            "word/document.xml": f'<w:document xmlns:w="{W}" xmlns:r="{R}"><w:body>{p("Shell.")}'
            '<w:altChunk r:id="r1"/></w:body></w:document>',
            "word/_rels/document.xml.rels": relations(("r1", "aFChunk", "a.docx")),
            "word/a.docx": data,
        }
        data = zipped(parts)
    assert convert(data, "a.docx").text.startswith("Shell.")


def drawn(inside: str) -> dict[str, str]:
    """The parts of a first sheet with a drawing."""
    return {
        "xl/worksheets/_rels/s1.xml.rels": relations(("d1", "drawing", "../drawings/d1.xml")),
        "xl/drawings/d1.xml": f'<x:wsDr xmlns:x="{XDR}" xmlns:a="{A}" xmlns:r="{R}" xmlns:c="{C}">{inside}'
        "</x:wsDr>",
        "xl/drawings/_rels/d1.xml.rels": relations(("c1", "chart", "../charts/c1.xml")),
        "xl/charts/c1.xml": CHART,
    }


TEXT_BOX = "<x:sp><x:txBody><a:p><a:r><a:t>In the </a:t></a:r><a:r><a:t>box.</a:t></a:r></a:p></x:txBody></x:sp>"


def test_a_workbook_of_nothing_but_a_text_box_is_read() -> None:
    document = convert(xlsx({"Plan": ""}, parts=drawn(TEXT_BOX)), "a.xlsx")
    assert document.text == "# Plan\n\nIn the box."


def test_boxes_and_charts_follow_the_cells_of_their_sheet() -> None:
    chart = '<x:graphicFrame><c:chart r:id="c1"/></x:graphicFrame>'
    sheets = {"Sales": row(1, "Item", "Price") + row(2, "Acorn", 2), "Other": row(1, "a", "b")}
    document = convert(xlsx(sheets, parts=drawn(TEXT_BOX + chart)), "a.xlsx")
    under = [block for block in document.blocks if block.heading_path == ("Sales",)]
    said = [document.text[block.start : block.end] for block in under]
    assert said[-3:] == ["In the box.", "Acorns", TABLE]
    assert "| Acorn | 2 |" in document.text


WORD_2003 = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<?mso-application progid="Word.Document"?>
<w:wordDocument xmlns:w="http://schemas.microsoft.com/office/word/2003/wordml"
 xmlns:wx="http://schemas.microsoft.com/office/word/2003/auxHint"
 xmlns:aml="http://schemas.microsoft.com/aml/2001/core"
 xmlns:o="urn:schemas-microsoft-com:office:office">
<o:DocumentProperties><o:Title>Leave rules</o:Title><o:Author>Ann</o:Author>
<o:Created>2004-05-06T07:08:00Z</o:Created></o:DocumentProperties>
<w:lists><w:listDef w:listDefId="0"><w:lvl w:ilvl="0"><w:nfc w:val="23"/></w:lvl></w:listDef>
<w:list w:ilfo="1"><w:ilst w:val="0"/></w:list></w:lists>
<w:styles><w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/></w:style></w:styles>
<w:body><wx:sect><wx:sub-section>
<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Sick leave</w:t></w:r></w:p>
<w:p><w:r><w:t>Ask </w:t></w:r><w:hlink w:dest="https://a.example/b"><w:r><w:t>here</w:t></w:r></w:hlink>
<w:r><w:t>.</w:t><w:footnote><w:p><w:r><w:t>At once.</w:t></w:r></w:p></w:footnote></w:r>
<aml:annotation aml:id="1" w:type="Word.Comment"><aml:content><w:p><w:r><w:t>Remark.</w:t></w:r></w:p>
</aml:content></aml:annotation></w:p>
<w:p><w:pPr><w:listPr><w:ilvl w:val="0"/><w:ilfo w:val="1"/></w:listPr></w:pPr><w:r><w:t>one</w:t></w:r></w:p>
<w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc>
</w:tr></w:tbl><w:p><w:r><w:pict><w:binData w:name="x">QUJD</w:binData></w:pict></w:r></w:p>
</wx:sub-section></wx:sect></w:body></w:wordDocument>"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("name", ["a.xml", "a.doc"])
def test_word_2003_xml_is_a_document(encoding: str, name: str) -> None:
    data = WORD_2003.replace("UTF-8", encoding.upper()).encode(encoding)
    document = convert(data, name)
    assert document.text == (
        "# Sick leave\n\nAsk [here](https://a.example/b). (At once.)\n\n- one\n\n"
        "| a | b |\n| --- | --- |"
    )
    assert (document.title, document.author) == ("Leave rules", "Ann")
    assert document.created_at is not None


def test_a_package_laid_out_flat_is_the_document_it_holds() -> None:
    pkg = "http://schemas.microsoft.com/office/2006/xmlPackage"
    inner = f'<w:document xmlns:w="{W}"><w:body>{p("Flat.")}</w:body></w:document>'
    flat = (
        f'<?xml version="1.0"?><?mso-application progid="Word.Document"?><pkg:package xmlns:pkg="{pkg}">'
        f'<pkg:part pkg:name="/word/document.xml"><pkg:xmlData>{inner}</pkg:xmlData></pkg:part>'
        f'<pkg:part pkg:name="/word/media/a.png"><pkg:binaryData>{base64.b64encode(b"x").decode()}'
        "</pkg:binaryData></pkg:part></pkg:package>"
    )
    assert convert(flat.encode(), "a.xml").text == "Flat."


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504


@pytest.mark.parametrize(
    ("data", "name", "says"),
    [
        (zipped({"FixedDocumentSequence.fdseq": "<a/>", "Documents/1/a": ""}), "a.xps", "XPS"),
        (zipped({"FixedDocSeq.fdseq": "<a/>"}), "a.oxps", "XPS"),
        (OLE + "\x05HwpSummaryInformation".encode("utf-16-le"), "a.hwp", "Hangul"),
        (b"HWP Document File V3.00 \x1a\x01" + b"\0" * 100, "a.hwp", "Hangul"),
        (
            zipped({"mimetype": "application/hwp+zip", "Contents/section0.xml": ""}),
            "a.hwpx",
            "Hangul",
        ),
        (zipped({"Index/Document.iwa": "x"}), "a.pages", "Pages document"),
        (zipped({"Index/Document.iwa": "x"}), "a.numbers", "Numbers table"),
        (zipped({"Index/Document.iwa": "x"}), "a.key", "Keynote presentation"),
        (zipped({"Index/Document.iwa": "x"}), "a.zip", "Pages, Numbers or Keynote"),
        (zipped({"index.apxl": "x"}), "old", "Pages, Numbers or Keynote"),
        (b"\xffWPC" + b"\0" * 100, "a.wpd", "WordPerfect"),
    ],
)
def test_a_type_that_is_not_read_is_named(data: bytes, name: str, says: str) -> None:
    with pytest.raises(ConversionError, match=says) as caught:
        convert(data, name)
    assert caught.value.code == "unknown_type"
