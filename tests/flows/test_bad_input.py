"""Files that can't be read: each ends `failed` with one sentence, and the others go on."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.documents.adding import NewDocument
from engine.errors import TooLarge
from tests.fakes.installations import Installation, open_installation

DOCS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "docs"
LIMIT = 200_000

# The head of an OLE container with the stream that Word puts an encrypted document in.
OLE = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504) + "EncryptedPackage".encode("utf-16-le")

ENCRYPTED_PDF = b"""%%PDF-1.4
1 0 obj
<< /Type /Catalog /Pages 2 0 R >>
endobj
2 0 obj
<< /Type /Pages /Kids [3 0 R] /Count 1 >>
endobj
3 0 obj
<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>
endobj
4 0 obj
<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>
endobj
trailer
<< /Root 1 0 R /Encrypt 4 0 R /ID [<00> <00>] /Size 5 >>
%%%%EOF
""" % (b"41" * 32, b"42" * 32)


def truncated_docx() -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("word/document.xml", "<w:document/>" * 100)
    return whole.getvalue()[:150]


BAD = {
    "empty.md": b"",
    "blank.txt": b" \n\t\n",
    "program.exe": b"MZ\x90\x00" + bytes(range(256)) * 20,
    "noise.dat": bytes(range(256)) * 20,
    "cut.docx": truncated_docx(),
    "locked.docx": OLE,
    "locked.pdf": ENCRYPTED_PDF,
    "cut.pdf": b"%PDF-1.7\n1 0 obj\n<< /Type /Cat",
}
GOOD = {
    "fine.md": b"# Fine\n\nA wombat is fine.\n",
    "really-text.pdf": b"This is not a PDF, only its name says so.\n",
    "latin.txt": "Käse und Brot, der Wombat frißt es.\n".encode("latin-1"),
}


@pytest.fixture
async def strict(home: Path) -> AsyncIterator[Installation]:
    """An installation with real parsing children and a small size limit."""
    async with open_installation(home, {"processing.max_file_size": str(LIMIT)}) as opened:
        yield opened


async def outcomes(notes: Installation, files: dict[str, bytes]) -> dict[str, tuple[str, str, str]]:
    """State, code and sentence of each file, once a worker has seen them all."""
    new = [NewDocument(data=data, filename=name, external_id=name) for name, data in files.items()]
    added = await notes.engine.documents.add_many(notes.owner, "notes", new)
    await notes.drain()
    found = {}
    for name, handle in zip(files, added, strict=True):
        info = await notes.get(handle)
        found[name] = (info.state, info.error_code, info.error)
    return found


def is_one_sentence(text: str) -> bool:
    return 20 < len(text) < 400 and "\n" not in text and "Traceback" not in text


async def test_a_file_over_the_limit_is_refused_with_all_that_came_with_it(strict):
    files = {"fine.md": b"# Fine\n\nA wombat.\n", "large.txt": b"x" * (LIMIT + 1)}
    with pytest.raises(TooLarge, match=r"large.txt has 200,001 bytes and the limit is 200,000"):
        await outcomes(strict, files)
    assert not (await strict.engine.documents.page(strict.owner)).documents
    states = await outcomes(strict, files | {"large.txt": b"x" * LIMIT})
    assert states["large.txt"][0] == "ready"


async def test_each_bad_file_fails_by_itself_and_says_what_to_do(strict):
    found = await outcomes(strict, BAD | GOOD)
    assert {name: found[name][0] for name in BAD} == dict.fromkeys(BAD, "failed")
    assert {name: found[name][0] for name in GOOD} == dict.fromkeys(GOOD, "ready")
    assert [name for name in BAD if not is_one_sentence(found[name][2])] == []
    codes = {name: code for name, (_, code, _) in found.items()}
    assert codes["empty.md"] == codes["blank.txt"] == "empty"
    assert codes["locked.docx"] == codes["locked.pdf"] == "encrypted"
    assert codes["program.exe"] == codes["noise.dat"] == "unknown_type"
    assert len(await strict.found("wombat")) == 2
    assert (await strict.engine.operations.reconcile(strict.owner, repair=False)).clean


@pytest.mark.skipif(not DOCS.exists(), reason="the collection of difficult files is not here")
async def test_difficult_files_of_others_fail_or_are_read_by_what_they_are(home):
    names = ["password.docx", "password.pdf", "really-a-pdf.docx", "random.bin", "truncated.docx"]
    async with open_installation(home) as notes:
        found = await outcomes(notes, {name: (DOCS / name).read_bytes() for name in names})
    states = {name: state for name, (state, _, _) in found.items()}
    assert states.pop("really-a-pdf.docx") == "ready"
    assert set(states.values()) == {"failed"}
    assert found["password.docx"][1] == found["password.pdf"][1] == "encrypted"
    assert [name for name in states if not is_one_sentence(found[name][2])] == []


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9/secret", "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/latest/"],
)
async def test_a_private_address_is_refused_with_what_to_do(notes, url):
    added = await notes.engine.documents.add(notes.owner, "notes", NewDocument(url=url))
    await notes.drain()
    info = await notes.get(added)
    assert info.state == "failed"
    assert is_one_sentence(info.error)
    assert "address" in info.error
