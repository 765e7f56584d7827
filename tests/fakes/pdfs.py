"""PDFs of a line a page, the least a reader takes."""

from __future__ import annotations

from collections.abc import Sequence


def one_page_pdf(text: str) -> bytes:
    """A PDF of one line."""
    return pdf_of([text])


def pdf_of(lines: Sequence[str]) -> bytes:
    """A PDF of a line a page."""
    pages = [2 * number + 5 for number in range(len(lines))]  # ids; each page's text follows it
    kids = " ".join(f"{page} 0 R" for page in pages)
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(lines)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        "<< /Font << /F1 3 0 R >> >>",
    ]
    for page, line in zip(pages, lines, strict=True):
        content = f"BT /F1 24 Tf 72 700 Td ({line}) Tj ET"
        size = "/MediaBox [0 0 612 792] /Resources 4 0 R"
        objects += [
            f"<< /Type /Page /Parent 2 0 R {size} /Contents {page + 1} 0 R >>",
            f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        ]
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    at = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    end = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{at}\n%%EOF"
    return bytes(out + end.encode())
