"""The parsing children: what they survive, what they may do, and when they leave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from engine.errors import DocumentError, Unavailable
from ingestion import parsing
from ingestion.chunking import Chunking, split
from ingestion.convert.document import ConversionLimits
from ingestion.convert.formats import convert
from ingestion.convert.ocr import is_installed
from ingestion.parsing import ParsingPool, open_parsing_pool
from ingestion.parsing_frames import Frame, read_frame, write_frame

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT.parent / "shared" / "data" / "docs"
CHILD = [sys.executable, "-m", "ingestion.parsing_child"]


@pytest.fixture
async def pool() -> AsyncIterator[ParsingPool]:
    async with open_parsing_pool(timeout_s=60) as opened:
        yield opened


def pids(pool: ParsingPool) -> list[int]:
    return [child._process.pid for child in pool._children]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (the pool announces nothing)
            await asyncio.sleep(0.005)


async def test_a_document_comes_back_as_the_converter_made_it(pool: ParsingPool) -> None:
    data = "---\ntitle: Leave\ndate: 2026-03-01\ntags: [a, b]\n---\n# Süß\n\nTen days.\n".encode()
    assert await pool.parse(data, "leave.md") == convert(data, "leave.md")


async def test_a_refusal_keeps_its_code_and_sentence(pool: ParsingPool, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pdf"
    empty.write_bytes(b"")
    with pytest.raises(DocumentError, match="the file is empty") as caught:
        await pool.parse(empty, "empty.pdf")
    assert (caught.value.code, caught.value.retry) == ("empty", False)


async def test_children_stay_warm(pool: ParsingPool) -> None:
    await pool.parse(b"one", "a.txt")
    first = pids(pool)
    await pool.parse(b"two", "b.txt")
    assert pids(pool) == first


async def test_a_file_over_the_limit_never_reaches_a_child(tmp_path: Path) -> None:
    large = tmp_path / "large.txt"
    large.write_bytes(b"x" * 2000)
    async with open_parsing_pool(limits=ConversionLimits(size_bytes=1000)) as pool:
        with pytest.raises(DocumentError, match="larger than 1,000 bytes"):
            await pool.parse(large, "large.txt")
        assert pids(pool) == []


async def test_a_child_that_dies_costs_one_document(pool: ParsingPool) -> None:
    await pool.parse(b"warm", "a.txt")
    (child,) = pids(pool)
    reading = asyncio.create_task(pool.parse(b"# a\n\nb\n" * 500_000, "long.md"))
    await until(pool._words.slots.locked)
    os.kill(child, signal.SIGSEGV)
    with pytest.raises(DocumentError) as caught:
        await reading
    assert caught.value.code == "unreadable"
    assert (await pool.parse(b"next", "b.txt")).text == "next"
    assert pids(pool) != [child]


async def test_a_child_that_died_idle_is_replaced(pool: ParsingPool) -> None:
    await pool.parse(b"warm", "a.txt")
    (child,) = pool._children
    child.kill()
    await child.wait()
    assert (await pool.parse(b"next", "b.txt")).text == "next"


async def test_a_file_that_takes_too_long_ends_and_the_next_goes_on() -> None:
    async with open_parsing_pool(timeout_s=0.05) as pool:
        with contextlib.suppress(DocumentError):
            await pool.parse(b"warm", "a.txt")
        with pytest.raises(DocumentError) as caught:
            await pool.parse(b"# a\n\nb\n" * 500_000, "long.md")
        assert caught.value.code == "timeout"
        pool._timeout_s = 60
        assert (await pool.parse(b"next", "b.txt")).text == "next"


async def test_a_file_that_hangs_does_not_hold_up_the_next(monkeypatch) -> None:
    monkeypatch.setattr(parsing, "LONG_S", 0.05)
    async with asyncio.timeout(240), open_parsing_pool(size=1, timeout_s=200) as pool:
        hanging = asyncio.create_task(pool.parse(b"# First", "a.md"))
        while not pool._children:  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0)  # at once, before the child has read the file
        (child,) = pool._children
        os.kill(child._process.pid, signal.SIGSTOP)
        for name in ("b.md", "c.md"):  # what stands in is there for all that wait
            assert (await pool.parse(b"# Next", name)).text == "# Next"
        assert not hanging.done()
        os.kill(child._process.pid, signal.SIGCONT)
        assert (await hanging).text == "# First"
        assert (await pool.parse(b"# Last", "d.md")).text == "# Last"
        assert pool._words.slots._value == 1


async def test_a_file_that_takes_too_much_memory_ends_and_the_next_goes_on() -> None:
    async with open_parsing_pool(timeout_s=60, memory_bytes=64 * 1024 * 1024) as pool:
        with pytest.raises(DocumentError) as caught:
            await pool.parse(b"# a\n\nb\n" * 1_500_000, "long.md")
        assert caught.value.code == "too_large"
        assert (await pool.parse(b"next", "b.txt")).text == "next"


async def test_an_answer_over_the_limit_is_not_taken() -> None:
    async with open_parsing_pool(output_bytes=1000) as pool:
        with pytest.raises(DocumentError):
            await pool.parse(b"word " * 1000, "a.txt")
        assert (await pool.parse(b"next", "b.txt")).text == "next"


async def test_cancelling_frees_the_slot(pool: ParsingPool) -> None:
    reading = asyncio.create_task(pool.parse(b"# a\n\nb\n" * 500_000, "long.md"))
    await until(lambda: bool(pids(pool)))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (await pool.parse(b"next", "b.txt")).text == "next"


async def test_idle_children_leave() -> None:
    async with open_parsing_pool(idle_s=0) as pool:
        await pool.parse(b"one", "a.txt")
        await until(lambda: pids(pool) == [])


async def test_a_closed_pool_reads_nothing() -> None:
    async with open_parsing_pool() as pool:
        pass
    with pytest.raises(Unavailable):
        await pool.parse(b"x", "a.txt")


async def test_splitting_in_a_child_equals_splitting_here(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))

    def offsets(text: str) -> list[tuple[int, int]]:
        return list(tokenizer.encode(text, add_special_tokens=False).offsets)

    document = convert(b"# A\n\n" + b"Some words, and more of them. " * 4_000, "a.md")
    settings = Chunking(size=64, context=8)
    expected = split(document, settings, offsets)
    async with open_parsing_pool(tokenizer=path.read_bytes) as pool:
        assert await pool.split(document, settings, offsets) == expected
        assert len(pids(pool)) == 1
    async with open_parsing_pool() as pool:
        assert await pool.split(document, settings, offsets) == expected
        assert pids(pool) == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[[1,2]]", b'[[5,4,"",null,[],1,"list",""]]', b'[[0,99,"",null,[],1,"list",""]]'],
)
def test_nonsense_from_a_child_is_an_error_of_the_document(body: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        parsing._decode_spans(body, length=10)


def test_a_child_imports_nothing_of_the_engine() -> None:
    code = (
        "import sys, ingestion.parsing_child; print(sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    loaded = set(json.loads(done.stdout.decode().replace("'", '"')))
    assert not loaded & {"engine", "sqlalchemy", "anyio", "httpx2", "pydantic", "dramatiq", "numpy"}


def test_a_child_leaves_within_a_second_when_its_pipe_closes_even_amid_work() -> None:
    child = subprocess.Popen(
        CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    assert child.stdin
    assert child.stdout
    with child:
        write_frame(child.stdin, Frame({"memory_bytes": 1 << 30}))
        ready = read_frame(child.stdout)
        assert ready is not None
        assert ready.head["ready"] is True
        request = {"op": "convert", "filename": "a.md", "limits": {}}
        write_frame(child.stdin, Frame(request, b"# a\n\nb\n" * 2_000_000))
        child.stdin.close()
        assert child.wait(60) == 0
        said = list(iter(lambda: read_frame(child.stdout), None))
        assert not [frame for frame in said if frame.body]  # it ended amid work, which takes longer


SANDBOXED = """
import threading
waits, early = threading.Event(), []
def before():
    waits.wait()
    early.append(refused(tries["socket"]))
started = threading.Thread(target=before)
started.start()
import errno, os, socket, subprocess, sys, threading
from ingestion.sandbox import deny_system_calls
missing = deny_system_calls()
if missing:
    print(missing); sys.exit(77)
def refused(what):
    try:
        what()
    except OSError as error:
        return error.errno in (errno.EPERM, errno.EACCES)
    return False
tries = {
    "socket": lambda: socket.socket(),
    "socketpair": lambda: socket.socketpair(),
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "spawn": lambda: subprocess.run(["/bin/true"]),
    "read": lambda: open("/etc/passwd"),
    "write": lambda: open("/tmp/scrubjay-sandbox", "w"),
    "unlink": lambda: os.unlink("/tmp/scrubjay-nothing"),
    "mkdir": lambda: os.mkdir("/tmp/scrubjay-sandbox"),
    "kill": lambda: os.kill(os.getppid(), 0),
}
failed = [name for name, what in tries.items() if not refused(what)]
ran = []
thread = threading.Thread(target=lambda: ran.append(refused(tries["socket"])))
thread.start(); thread.join()
waits.set(); started.join()
print(failed, ran, early)
sys.exit(0 if not failed and ran == early == [True] else 1)
"""

AUDITED = SANDBOXED.replace("import deny_system_calls", "import deny_by_audit_hook").replace(
    "missing = deny_system_calls()", "missing = deny_by_audit_hook()"
)


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
def test_a_child_can_open_no_socket_file_or_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SANDBOXED], cwd=ROOT, capture_output=True, check=False
    )
    if done.returncode == 77:
        pytest.skip(done.stdout.decode())
    assert done.returncode == 0, (done.stdout, done.stderr)


def test_without_a_filter_an_audit_hook_refuses_the_same_to_python() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AUDITED], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, (done.stdout, done.stderr)


REFUSED = {  # everything else is read
    "password.docx": "encrypted",
    "password.pdf": "encrypted",
    "empty.pdf": "empty",
    "random.bin": "unknown_type",
    "no-unicode-map.pdf": "no_text",
    "scan-two-columns.pdf": "no_text",
    "typewriter.png": "no_text",
    "chinese-image.jpeg": "no_text",
    "truncated.docx": "unreadable",
    "truncated.pdf": "unreadable",
    "broken-fuzzed.pdf": "unreadable",
    "broken-header-only.pdf": "unreadable",
    "broken-no-xref.pdf": "unreadable",
    "xxe.xml": "unreadable",
    "entities.svg": "unreadable",
}


@pytest.mark.skipif(not DOCS.is_dir(), reason="the shared documents are not here")
async def test_every_shared_document_ends_in_text_or_one_clear_error() -> None:
    read, refused = {}, {}
    names = [
        json.loads(line)["file"] for line in (DOCS / "manifest.jsonl").read_bytes().splitlines()
    ]
    async with open_parsing_pool(timeout_s=60, ocr=False) as pool:
        for name in names:
            try:
                read[name] = await pool.parse(DOCS / name, name)
            except DocumentError as error:
                refused[name] = error
    assert {name: error.code for name, error in refused.items()} == REFUSED
    for error in refused.values():
        assert str(error).count(". ") == 0, "one sentence"
        assert ":" in str(error), "what is wrong: what to do"

    assert "حَبيبي" in read["arabic.pdf"].text
    assert read["japanese-legacy-cmap.pdf"].text == "あいうえお"
    assert read["latin1.md"].text == "## können\n\nkönnen\n\näöüß\n"
    assert "| 髙橋淳 | 35 | 名古屋 |" in read["shift-jis.csv"].text
    assert "Die schöne Frau" in read["cp1252.html"].text
    assert "15,50 €" in read["cp1252.html"].text
    assert read["really-a-pdf.docx"].metadata["read_as"] == "PDF"
    assert {block.page for block in read["four-pages.pdf"].blocks} == {1, 2, 3, 4}
    assert "| Alabama | 18,870 | 23,022 |" in read["wide-table.pdf"].text
    assert "Ignore all" not in read["script-and-hidden.html"].text
    assert "scripted" not in read["script-and-hidden.html"].text
    assert "javascript" not in read["script-and-hidden.html"].text
    headings = [b.heading_path[-1] for b in read["outline.pdf"].blocks if b.kind == "heading"]
    assert headings[1:4] == ["1 Foo", "2 Bar", "3 Baz"]
    columns = read["multicolumn.pdf"].text
    assert columns.index("Lorem ipsum dolor") < columns.index("Nam arcu libero")


@pytest.mark.skipif(not DOCS.is_dir(), reason="the shared documents are not here")
async def test_every_shared_document_says_what_its_manifest_expects(pool: ParsingPool) -> None:
    async def text(name: str) -> str:
        return (await pool.parse(DOCS / name, name)).text

    report = await pool.parse(DOCS / "report.docx", "report.docx")
    assert {"heading", "table"} <= {block.kind for block in report.blocks}
    cells = await text("nested-tables.docx")
    assert all(cells.count(word) == 1 for word in ("Lorem ipsum", "e; f g&t; h"))
    slides = await pool.parse(DOCS / "slides.pptx", "slides.pptx")
    assert {block.page for block in slides.blocks} == set(range(1, (slides.page_count or 0) + 1))
    assert "1b92870d-e3b5-4e65-8153-919f4ff45592" in slides.text
    assert (await text("malformed.pptx")).startswith("# Test Slide")
    sheets = await pool.parse(DOCS / "sheets.xlsx", "sheets.xlsx")
    assert sheets.metadata["sheets"] == ["Sheet1", "09060124-b5e7-4717-9d07-3c046eb"]
    assert "6ff4173b-42a5-4784-9b19-f49caff4d93d" in sheets.text
    tables = await pool.parse(DOCS / "sub-tables.xlsx", "sub-tables.xlsx")
    assert sum(block.kind == "table" for block in tables.blocks) > 5
    outlook = await text("outlook.msg")
    assert "test.sender@example.com" in outlook
    assert outlook.startswith("# Test Email Message")
    assert "This is the body of the test email message" in outlook
    assert "中文測試" in await text("chinese.msg")
    mail = await pool.parse(DOCS / "attachment.eml", "attachment.eml")
    assert [attachment.name for attachment in mail.attachments] == ["fake-attachment.txt"]
    assert "text/html" not in await text("html-and-plain.eml")
    book = await pool.parse(DOCS / "winter-sports.epub", "winter-sports.epub")
    assert sum(block.kind == "heading" for block in book.blocks) > 10
    notebook = await text("notebook.ipynb")
    assert 'print("markitdown")' in notebook
    assert '"cell_type"' not in notebook
    assert "| Maple Leafs | TOR | 13 |" in await text("utf16.csv")
    assert '=HYPERLINK("http://example.org","click")' in await text("formula.csv")
    assert "ゾルゲと尾崎" in await text("japanese.rtf")
    assert "| Color | Blue | Red | Green |" in await text("text.odt")
    rst = await pool.parse(DOCS / "readme.rst", "readme.rst")
    assert [b.heading_path[-1] for b in rst.blocks if b.kind == "heading"] == [
        "Example Docs",
        "XBRL 10-K",
    ]


@pytest.mark.skipif(not DOCS.is_dir(), reason="the shared documents are not here")
@pytest.mark.skipif(not is_installed(), reason="needs the ocr extra")
@pytest.mark.slow
async def test_scans_and_pictures_are_read_with_the_ocr_extra() -> None:
    async with open_parsing_pool(timeout_s=240) as pool:
        scan = await pool.parse(DOCS / "scan-two-columns.pdf", "scan-two-columns.pdf")
        assert "composition and performance tool for the professional musician" in scan.text
        assert {block.page for block in scan.blocks} == {1}
        assert scan.metadata["pages_recognised"] == 1
        typed = await pool.parse(DOCS / "typewriter.png", "typewriter.png")
        assert "Linzensoep" in typed.text
        chinese = await pool.parse(DOCS / "chinese-image.jpeg", "chinese-image.jpeg")
        assert "适用人群" in chinese.text
        unmapped = await pool.parse(DOCS / "no-unicode-map.pdf", "no-unicode-map.pdf")
        assert unmapped.text == "Phone"
