"""Every reader in a real child, behind the real filter: it reads what it reads outside of it.

What a reader loads late can't be loaded there any more. A file of each format that uses all of its
reader tells; the pool's log tells what was tried even where the reader went on without.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest

from engine.errors import DocumentError
from ingestion.convert import formats
from ingestion.convert.document import ConversionError
from ingestion.convert.formats import FORMATS, convert
from ingestion.parsing import open_parsing_pool
from tests.fakes import files, outlook
from tests.ingestion import test_convert_drawn as drawn
from tests.ingestion import test_convert_mailbox as mailbox
from tests.ingestion import test_convert_office as office
from tests.ingestion import test_convert_slides as slides
from tests.ingestion import test_convert_text as texts
from tests.ingestion.test_encodings import CASES, TEXTS

ROOT = Path(__file__).resolve().parents[2]


def mail() -> bytes:
    """A message with text, page, a file, and a message within it."""
    inner = EmailMessage()
    inner["Subject"] = "Innerer Brief: Größe"
    inner["From"] = "Jörg <j@b.example>"
    inner.set_content("Das Öl fehlt ganz.\n")
    outer = EmailMessage()
    outer["Subject"] = "Äußerer Brief"
    outer["From"] = "Zoë <z@b.example>"
    outer["Date"] = "Mon, 2 Jan 2006 15:04:05 +0100"
    outer.set_content("Siehe Anhang, bitte.\n", charset="iso-8859-1")
    outer.add_alternative("<p>Siehe <b>Anhang</b>, bitte.</p>", subtype="html")
    outer.add_attachment(b"a;b\n1;2\n", maintype="text", subtype="csv", filename="ä.csv")
    outer.add_attachment(inner)
    return outer.as_bytes()


def outlook_message() -> bytes:
    inner = outlook.message("Innen: Größe", "Das Öl fehlt ganz.")
    outer = outlook.message("Außen", "Siehe Anhang.")
    return outlook.container(
        outer | outlook.attached(0, "a.csv", b"a;b\n1;2\n") | outlook.attached(1, "x", inner)
    )


CORPUS: dict[str, bytes] = {
    "a.docx": office.word(
        office.p("Title", '<w:pStyle w:val="Heading1"/>') + office.item("one", 1) + office.p("Text")
    ),
    "a.pptx": files.pptx(files.shape("Title", role="title") + files.shape("Body")),
    "a.xlsx": files.xlsx({"Sales": [files.row(1, "Item", "Price"), files.row(2, "Acorn", 2.5)]}),
    "a.odt": files.odf("text", slides.TEXT),
    "a.epub": files.zipped(slides.BOOK),
    "a.pdf": files.pdf([(72, 700, 20, "Title"), (72, 650, 11, "A line of text that is long.")]),
    "a.rtf": texts.RTF.encode("ascii"),
    "a.html": office.PAGE.encode(),
    "a.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><title>T</title><text>Label</text></svg>",
    "a.xml": texts.XML.encode("latin-1"),
    "a.json": b'[{"a": 1, "b": "x"}, {"a": 2.5, "b": null}]',
    "a.jsonl": b'{"a": 1}\n{"a": 2}\n',
    "a.ipynb": json.dumps(
        {"cells": [{"cell_type": "code", "source": "a = 1", "outputs": []}], "nbformat": 4}
    ).encode(),
    "a.csv": "Größe;Preis\n1;2,5\n3;4\n".encode("cp1252"),
    "a.md": b"---\ntitle: T\ndate: 2026-01-02\n---\n# H\n\n| a | b |\n| - | - |\n| 1 | 2 |\n",
    "a.rst": texts.RST.encode(),
    "a.py": texts.PYTHON.encode(),
    "a.log": b"2026-01-02 03:04:05 started\n",
    "a.eml": mail(),
    "a.msg": outlook_message(),
    "a.mbox": mailbox.mbox(mail(), mail()),
    "word-2003.xml": drawn.WORD_2003.encode(),
    "chunks.docx": drawn.with_chunk("a.mht", drawn.MHT),
    "boxes.xlsx": files.xlsx({"Plan": ""}, parts=drawn.drawn(drawn.TEXT_BOX)),
    **{
        f"{language}-{encoding}.txt": TEXTS[language].encode(encoding)
        for language, encoding in CASES
    },
}


async def test_every_reader_reads_in_the_sandbox_what_it_reads_outside(
    caplog: pytest.LogCaptureFixture,
) -> None:
    read = {formats.detect(data, Path(name).suffix).name for name, data in CORPUS.items()}
    assert read == {known.name for known in FORMATS} - {"picture"}
    wrong = []
    async with open_parsing_pool(timeout_s=20, ocr=False) as pool:
        for name, data in CORPUS.items():
            with caplog.at_level(logging.WARNING):
                if await pool.parse(data, name) != convert(data, name):
                    wrong.append(name)
    assert wrong == []
    assert caplog.messages == []


async def test_damaged_files_of_every_format_are_called_damaged_and_not_a_fault_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    blamed = []
    async with open_parsing_pool(timeout_s=20, ocr=False) as pool:
        for name, data in CORPUS.items():
            if name.endswith(".txt"):
                continue
            cut = data[: len(data) * 2 // 3]
            try:
                convert(cut, name)
            except ConversionError as error:
                with pytest.raises(DocumentError) as caught:
                    await pool.parse(cut, name)
                if caught.value.code != error.code:
                    blamed.append((name, caught.value.code))
            else:
                await pool.parse(cut, name)
    assert blamed == []
    assert not [text for text in caplog.messages if "sandbox" in text]


MASKED = "from ingestion.convert.archive import damaged\n    try:"
LATE = """
import sys
from ingestion.convert import text
def convert(data, limits):
    if data != b"hello there":  # warming up
        return text.convert(data, limits)
    %s
import ingestion.convert.formats as formats, dataclasses
formats.FORMATS = tuple(
    dataclasses.replace(f, convert=convert) if f.name == "plain text" else f for f in formats.FORMATS
)
from ingestion.parsing_child import main
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
@pytest.mark.parametrize(
    "late",
    [
        "import nturl2path",
        "open('/etc/hostname')",
        "import socket; socket.socket()",
        "import os; os.fork()",
        # as readers do that take any such fault for the file's
        f"{MASKED} import nturl2path\n    except Exception: raise damaged()",
        f"{MASKED} open('/etc/hostname')\n    except OSError: raise damaged()",
    ],
)
async def test_what_the_sandbox_refuses_a_reader_is_called_our_fault(
    late: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "child.py"
    script.write_text(LATE % late, encoding="utf-8")
    start = asyncio.create_subprocess_exec

    async def with_late_reader(*_: str, **more: object) -> object:
        return await start(sys.executable, str(script), **more)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", with_late_reader)
    async with open_parsing_pool(timeout_s=20, ocr=False) as pool:
        with pytest.raises(DocumentError, match="a fault of Scrubjay, not of the file") as caught:
            await pool.parse(b"hello there", "a.txt")
    assert caught.value.code == "sandbox"
