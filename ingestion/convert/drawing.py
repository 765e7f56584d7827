"""What drawings of office files say: charts as tables, shapes and diagrams as lines.

Word, Excel and PowerPoint keep them alike (DrawingML); each has its own idea of where they stand.
"""

from __future__ import annotations

from lxml import etree

from ingestion.convert.document import cell
from ingestion.convert.office import local_name

_POINTS = 200  # of a chart's series


def read_chart(root: etree._Element) -> tuple[str, list[list[str]]]:
    """A chart's title, and its cached values as rows under a header; no rows where it has none."""
    title = next(root.iter("{*}title"), None)
    said = "" if title is None else " ".join(read_paragraphs(title))
    heads, columns = [""], list[list[str]]()
    categories: list[str] = []
    for series in root.iter("{*}ser"):
        values = {local_name(item): _points(item) for item in series}
        heads.append(cell(" ".join(values.get("tx", []))) or f"Series {len(heads)}")
        categories = categories or values.get("cat", []) or values.get("xVal", [])
        columns.append(values.get("val", []) or values.get("yVal", []))
    count = min(max(map(len, [categories, *columns]), default=0), _POINTS)
    rows = [
        [cell(column[at]) if at < len(column) else "" for column in (categories, *columns)]
        for at in range(count)
    ]
    return said, [heads, *rows] if rows else []


def read_paragraphs(element: etree._Element) -> list[str]:
    """The paragraphs of a shape, of a diagram's points, or of a chart's title."""
    said = []
    for paragraph in element.iter("{http://schemas.openxmlformats.org/drawingml/2006/main}p"):
        pieces = [
            (item.text or "") if local_name(item) == "t" else "\n"
            for item in paragraph.iter("{*}t", "{*}br")
        ]
        if text := " ".join("".join(pieces).split()):
            said.append(text)
    return said


def _points(element: etree._Element) -> list[str]:
    """The cached values of a chart's categories or series."""
    points = []
    for point in element.iter("{*}pt"):
        value = next((item.text or "" for item in point if local_name(item) == "v"), "")
        points.append(value)
    return points
