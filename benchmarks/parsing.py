"""How fast files become text, by format, next to markitdown: `python -m benchmarks.parsing`.

Real files (the folder of shared documents beside the checkout) and larger ones made here. Each reader
has each file in a process of its own: one reading to load all it needs, then the best of three by
processor time, which a busy neighbour disturbs least; the peak is of that process, imports included.
markitdown comes with `uv sync --group readers`; without it only our half is measured anew.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.corpora import DATA
from benchmarks.results import write_results
from tests.fakes.files import odf, pdf, zipped

DOCS = DATA / "docs"
ROUNDS = 3
LONGEST_S = 300
REAL = (  # files both read; text PDFs first
    *("multicolumn.pdf", "four-pages.pdf", "outline.pdf", "wide-table.pdf", "with-attachment.pdf"),
    *("arabic.pdf", "report.docx", "comments.docx", "nested-tables.docx", "equations.docx"),
    *("slides.pptx", "sheets.xlsx", "sub-tables.xlsx", "outlook.msg", "chinese.msg"),
    *("winter-sports.epub", "notebook.ipynb", "shift-jis.csv", "cp1252.html"),
    *("script-and-hidden.html", "udhr-all-languages.txt"),
)
SENTENCE = (
    "The scrub jay remembers what it hid, where it hid it and when, and nobody else does so. "
)


def _pdf() -> bytes:
    lines = [(50.0, 780.0 - 14 * n, 10.0, f"{n} {SENTENCE}") for n in range(50)]
    return pdf(*([(50, 800, 18, f"Chapter {page}"), *lines] for page in range(200)))


def _pptx() -> bytes:
    from pptx import Presentation

    out = io.BytesIO()
    show = Presentation()
    for number in range(200):
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text = f"Slide {number}"
        slide.placeholders[1].text = f"{SENTENCE}\n{SENTENCE}"
    show.save(out)
    return out.getvalue()


def _xlsx() -> bytes:
    from openpyxl import Workbook

    out = io.BytesIO()
    book = Workbook()
    for number in range(10_000):
        book.active.append([number, f"jay {number}", SENTENCE])
    book.save(out)
    return out.getvalue()


def _docx() -> bytes:
    w = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = "".join(f"<w:p><w:r><w:t>{n} {SENTENCE * 4}</w:t></w:r></w:p>" for n in range(3000))
    types = (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default'
        ' Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-'
        'officedocument.wordprocessingml.document.main+xml"/></Types>'
    )
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    return zipped(
        {
            "[Content_Types].xml": types,
            "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
            f'relationships"><Relationship Id="r" Type="{office}" Target="word/document.xml"/>'
            "</Relationships>",
            "word/document.xml": f'<w:document xmlns:w="{w}"><w:body>{body}</w:body></w:document>',
        }
    )


def _html() -> bytes:
    body = "".join(
        f"<h2>Part {n}</h2><p>{SENTENCE} <a href='https://jay.example/{n}'>more</a></p><ul><li>a</li>"
        f"<li>b</li></ul><table><tr><th>k</th><th>v</th></tr><tr><td>{n}</td><td>x</td></tr></table>"
        for n in range(2000)
    )
    return f"<html><head><title>Jays</title></head><body>{body}</body></html>".encode()


def _ipynb() -> bytes:
    cells = [
        {"cell_type": kind, "metadata": {}, "source": [f"# {n}\n", SENTENCE * 6], "outputs": []}
        for n in range(500)
        for kind in ("markdown", "code")
    ]
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}).encode()


def _json() -> bytes:
    return json.dumps([{"id": n, "text": SENTENCE, "x": [1, 2]} for n in range(10_000)]).encode()


def _mail() -> bytes:
    return (
        b"From: a@jay.example\nTo: b@jay.example\nSubject: Jays\nContent-Type: text/html\n\n"
        + _html()
    )


MADE: dict[str, Callable[[], bytes]] = {  # larger ones, where the format itself costs time
    "made.pdf": _pdf,
    "made.docx": _docx,
    "made.html": _html,
    "made.ipynb": _ipynb,
    "made.json": _json,
    "made.csv": lambda: (
        b"id,name,text\n"
        + b"".join(b"%d,jay %d,%s\n" % (n, n, SENTENCE.encode()) for n in range(20_000))
    ),
    "made.txt": lambda: f"{SENTENCE * 5}\n\n".encode() * 5_000,
    "made.md": lambda: f"# Jays\n\n{SENTENCE * 5}\n\n- a\n- b\n\n".encode() * 4_000,
    "made.pptx": _pptx,
    "made.xlsx": _xlsx,
    "made.odt": lambda: odf("text", f"<text:p>{SENTENCE * 4}</text:p>" * 3_000),
    "made.rtf": lambda: b"{\\rtf1\\ansi " + f"{SENTENCE * 4}\\par\n".encode() * 4_000 + b"}",
    "made.eml": _mail,
    "made.xml": lambda: (
        b"<?xml version='1.0'?><r>"
        + f"<i><name>Jay</name><said>{SENTENCE}</said></i>".encode() * 10_000
        + b"</r>"
    ),
}


def read_ours(path: Path) -> tuple[Callable[[], int], Callable[[], int]]:
    """A reading that gives the letters found, and what counts pages."""
    from ingestion.convert.formats import convert
    from ingestion.parsing_child import GC_THRESHOLD

    data = path.read_bytes()
    pages = convert(data, path.name).page_count or 0
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)  # as in the children
    return lambda: len(convert(data, path.name).text), lambda: pages


def read_theirs(path: Path) -> tuple[Callable[[], int], Callable[[], int]]:
    from markitdown import MarkItDown

    reader = MarkItDown(enable_plugins=False)
    return lambda: len(reader.convert(str(path)).text_content), lambda: 0


def measure_one(reader: str, path: Path) -> dict[str, object]:
    read, pages = (read_ours if reader == "ours" else read_theirs)(path)
    letters = read()
    best = float("inf")
    began = time.monotonic()
    for _ in range(ROUNDS):
        start = time.process_time()
        read()
        best = min(best, time.process_time() - start)
        if time.monotonic() - began > LONGEST_S / 3:
            break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": best, "letters": letters, "pages": pages(), "peak_mb": round(peak)}


def measure(reader: str, path: Path) -> dict[str, object]:
    """What `measure_one` measured in a process of its own, or why it did not."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "benchmarks.parsing",
        "--one",
        reader,
        str(path),
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=LONGEST_S, check=True)
    except subprocess.TimeoutExpired:
        return {"error": f"more than {LONGEST_S} s"}
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        return {"error": lines[-1][:200] if lines else "no reason given"}
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def summary(files: dict[str, Any]) -> dict[str, object]:
    """How many times faster the slowest text PDF is, and the files markitdown reads faster."""
    times = {
        name: row["markitdown"]["seconds"] / row["ours"]["seconds"]
        for name, row in files.items()
        if is_compared(row)
    }
    pdfs = [times[name] for name in times if name.endswith(".pdf")]
    return {
        "text_pdfs_times_faster": round(min(pdfs), 1) if pdfs else None,
        "slower_than_markitdown": sorted(name for name, value in times.items() if value < 1),
    }


def is_compared(row: dict[str, Any]) -> bool:
    """Whether both read a file; markitdown hands back what it does not know as it is."""
    theirs = row.get("markitdown", {})
    return "seconds" in theirs and "seconds" in row["ours"] and not is_raw(row)


def is_raw(row: dict[str, Any]) -> bool:
    return row.get("markitdown", {}).get("letters") == row["bytes"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("READER", "FILE"))
    parser.add_argument("--files", nargs="*", help="only these")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_one(options.one[0], Path(options.one[1]))))
        return
    readers = ["ours", *(["markitdown"] if importlib.util.find_spec("markitdown") else [])]
    with tempfile.TemporaryDirectory() as folder:
        paths = [DOCS / name for name in REAL if (DOCS / name).exists()]
        for name, make in MADE.items():
            if not options.files or name in options.files:
                with contextlib.suppress(ImportError):  # made with the libraries of `readers`
                    data = make()
                    paths.append(Path(folder) / name)
                    paths[-1].write_bytes(data)
        files: dict[str, Any] = {}
        for path in paths:
            if options.files and path.name not in options.files:
                continue
            size = path.stat().st_size
            row_: dict[str, object] = {"bytes": size}
            for reader in readers:
                row_[reader] = measure(reader, path)
            files[path.name] = row_
            print(path.name, json.dumps(row_), flush=True)
    write_results("parsing", {"files": files, **summary(files)})


if __name__ == "__main__":
    main()
