"""Small files of many formats, made from what a test wants in them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
P = "http://schemas.openxmlformats.org/presentationml/2006/main"
A = "http://schemas.openxmlformats.org/drawingml/2006/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
ODF = {
    name: f"urn:oasis:names:tc:opendocument:xmlns:{what}:1.0"
    for name, what in (
        *(("office", "office"), ("text", "text"), ("table", "table"), ("draw", "drawing")),
        *(("presentation", "presentation"), ("style", "style"), ("meta", "meta")),
    )
}


def zipped(parts: Mapping[str, str | bytes]) -> bytes:
    """A zip archive of the parts, in their order."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def relations(*targets: tuple[str, str, str]) -> str:
    """A part's relations from (id, kind, target); web addresses are external."""
    rows = "".join(
        f'<Relationship Id="{name}" Type="http://x/{kind}" Target="{target}"'
        f"{' TargetMode=' + chr(34) + 'External' + chr(34) if '://' in target else ''}/>"
        for name, kind, target in targets
    )
    return f"<Relationships>{rows}</Relationships>"


def xlsx(
    sheets: Mapping[str, str], *, parts: Mapping[str, str] | None = None, states: str = ""
) -> bytes:
    """A workbook from the rows of each sheet as XML."""
    listed = "".join(
        f'<sheet name="{escape(name)}" sheetId="{n}" r:id="r{n}"'
        f"{' state=' + chr(34) + 'hidden' + chr(34) if name == states else ''}/>"
        for n, name in enumerate(sheets, 1)
    )
    targets = [(f"r{n}", "worksheet", f"worksheets/s{n}.xml") for n in range(1, len(sheets) + 1)]
    return zipped(
        {
            "[Content_Types].xml": "<Types/>",
            "xl/workbook.xml": f'<workbook xmlns="{S}" xmlns:r="{R}"><sheets>{listed}</sheets></workbook>',
            "xl/_rels/workbook.xml.rels": relations(*targets),
            **{
                f"xl/worksheets/s{n}.xml": f'<worksheet xmlns="{S}" xmlns:r="{R}"><sheetData>{rows}'
                "</sheetData></worksheet>"
                for n, rows in enumerate(sheets.values(), 1)
            },
            **(parts or {}),
        }
    )


def row(number: int, *values: str | float) -> str:
    """A row of a sheet, from column A."""
    cells = "".join(
        f'<c r="{chr(65 + n)}{number}"><v>{value}</v></c>'
        if isinstance(value, int | float)
        else f'<c r="{chr(65 + n)}{number}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'
        for n, value in enumerate(values)
        if value != ""
    )
    return f'<row r="{number}">{cells}</row>'


def pptx(*slides: str, parts: Mapping[str, str] | None = None) -> bytes:
    """A presentation from the shapes of each slide as XML."""
    ids = "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in range(1, len(slides) + 1))
    targets = [(f"r{n}", "slide", f"slides/slide{n}.xml") for n in range(1, len(slides) + 1)]
    return zipped(
        {
            "[Content_Types].xml": "<Types/>",
            "ppt/presentation.xml": f'<p:presentation xmlns:p="{P}" xmlns:r="{R}"><p:sldIdLst>{ids}'
            "</p:sldIdLst></p:presentation>",
            "ppt/_rels/presentation.xml.rels": relations(*targets),
            **{
                f"ppt/slides/slide{n}.xml": f'<p:sld xmlns:p="{P}" xmlns:a="{A}" xmlns:r="{R}"><p:cSld>'
                f"<p:spTree>{shapes}</p:spTree></p:cSld></p:sld>"
                for n, shapes in enumerate(slides, 1)
            },
            **(parts or {}),
        }
    )


def shape(*paragraphs: str, role: str = "", top: int = 0, left: int = 0) -> str:
    """A shape of a slide; `role` makes it a placeholder."""
    place = f'<p:nvPr><p:ph type="{role}"/></p:nvPr>' if role else ""
    said = "".join(f"<a:p><a:r><a:t>{escape(text)}</a:t></a:r></a:p>" for text in paragraphs)
    return (
        f'<p:sp><p:nvSpPr>{place}</p:nvSpPr><p:spPr><a:xfrm><a:off x="{left}" y="{top}"/></a:xfrm>'
        f"</p:spPr><p:txBody>{said}</p:txBody></p:sp>"
    )


def odf(kind: str, body: str, *, styles: str = "", parts: Mapping[str, str] | None = None) -> bytes:
    """An OpenDocument file of `kind` (text, spreadsheet, presentation) from its body as XML."""
    spaces = " ".join(f'xmlns:{name}="{uri}"' for name, uri in ODF.items())
    spaces += (
        ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", f"application/vnd.oasis.opendocument.{kind}")
        archive.writestr(
            "content.xml",
            f"<office:document-content {spaces}><office:automatic-styles>{styles}"
            f"</office:automatic-styles><office:body><office:{kind}>{body}</office:{kind}>"
            "</office:body></office:document-content>",
        )
        for name, content in (parts or {}).items():
            archive.writestr(name, content)
    return out.getvalue()


def pdf(
    *pages: Sequence[tuple[float, float, float, str]],
    drawn: str = "",
    rotate: int = 0,
    info: Mapping[str, str] | None = None,
) -> bytes:
    """A PDF whose pages hold lines of (x, y, size, text), and below them what `drawn` draws.

    With `rotate` the same is seen on pages that are turned by so many degrees; `info` is what the
    file says of itself.
    """
    width, height = 600, 800
    turned = {0: "", 90: f"0 1 -1 0 {height} 0 cm", 180: f"-1 0 0 -1 {width} {height} cm",
              270: f"0 -1 1 0 0 {width} cm"}[rotate]  # fmt: skip
    if rotate in {90, 270}:
        width, height = height, width
    objects = ["<</Type/Catalog/Pages 2 0 R>>", ""]
    kids = []
    for lines in pages:
        ops = f"{turned} {drawn} "
        ops += " ".join(f"BT /F {size} Tf {x} {y} Td ({text}) Tj ET" for x, y, size, text in lines)
        objects.append(f"<</Length {len(ops)}>>stream\n{ops}\nendstream")
        font = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {width} {height}]/Rotate {rotate}"
            f"/Contents {len(objects)} 0 R/Resources<</Font<</F {font}>>>>>>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<</Type/Pages/Kids[{' '.join(kids)}]/Count {len(kids)}>>"
    if info:
        told = "".join(
            f"/{name}<feff{text.encode('utf-16-be').hex()}>" for name, text in info.items()
        )
        objects.append(f"<<{told}>>")
    parts = [b"%PDF-1.4\n"]
    places = []
    at = len(parts[0])
    for number, content in enumerate(objects, 1):
        places.append(at)
        parts.append(f"{number} 0 obj{content}\nendobj\n".encode())
        at += len(parts[-1])
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    count = len(objects) + 1
    parts.append(f"xref\n0 {count}\n0000000000 65535 f \n{table}".encode())
    about = f"/Info {len(objects)} 0 R" if info else ""
    parts.append(f"trailer<</Root 1 0 R{about}/Size {count}>>\nstartxref\n{at}\n%%EOF\n".encode())
    return b"".join(parts)


def words(text: str) -> list[tuple[int, int]]:
    """A tokenizer: a token a word."""
    found, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        found.append((at, at + len(word)))
        at += len(word)
    return found
