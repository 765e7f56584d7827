"""What a message had attached: documents of their own that come, change and go with it."""

from __future__ import annotations

from email.message import EmailMessage
from functools import partial

from sqlalchemy import select

from engine.db.tables import Document
from engine.documents.documents import DocumentInfo
from ingestion import host
from ingestion.convert.document import ConversionLimits
from tests.fakes.installations import Installation


def mail(body: str, *files: tuple[str, bytes], inner: EmailMessage | None = None) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "ada@example.org", "ben@example.org"
    message["Subject"] = "Delivery"
    message["Date"] = "Mon, 02 Mar 2026 10:30:00 +0100"
    message.set_content(body)
    for name, data in files:
        message.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    if inner is not None:
        message.add_attachment(inner)
    return message


async def listed(notes: Installation) -> dict[str, DocumentInfo]:
    page = await notes.engine.documents.page(notes.owner, kb="notes")
    return {document.title: document for document in page.documents}


PRICES = b"item,price\nwombat,12\n"


async def test_attachments_become_documents_that_go_with_their_message(notes):
    inner = mail("The platypus comes on Friday.")
    message = mail("See the list.", ("prices.csv", PRICES), ("bad.bin", bytes(100)), inner=inner)
    added = await notes.add(message.as_bytes(), "a.eml")
    await notes.drain()
    documents = await listed(notes)
    assert {title: info.state for title, info in documents.items()} == {
        "Delivery": "ready",
        "prices.csv (Delivery)": "ready",
        "bad.bin (Delivery)": "failed",
        "Delivery.eml (Delivery)": "ready",
    }
    assert documents["prices.csv (Delivery)"].details["attachment_of"] == added.document_id
    assert (await notes.found("wombat")) == ["| item | price |\n| --- | --- |\n| wombat | 12 |"]
    assert "platypus" in (await notes.found("platypus"))[0]

    await notes.engine.documents.delete(notes.owner, added.document_id)
    assert await notes.found("wombat") == []
    assert await notes.found("platypus") == []
    assert await listed(notes) == {}


async def test_the_same_message_again_makes_no_work_and_a_changed_one_takes_back_what_it_lost(
    notes,
):
    first = mail("One.", ("prices.csv", PRICES), ("rules.txt", b"Koalas sleep at noon."))
    await notes.add(first.as_bytes(), "a.eml")
    await notes.drain()
    before = (await listed(notes))["prices.csv (Delivery)"]
    await notes.add(mail("Two.", ("prices.csv", PRICES)).as_bytes(), "a.eml")
    texts = notes.embedder.texts
    await notes.drain()
    assert notes.embedder.texts == texts + 1, "the message alone"
    after = await listed(notes)
    assert set(after) == {"Delivery", "prices.csv (Delivery)"}
    assert after["prices.csv (Delivery)"].id == before.id
    assert await notes.found("koalas") == []
    assert await notes.found("wombat") != []


async def test_an_attachment_has_the_readers_of_its_message_from_that_instant(notes):
    message = mail("For ada.", ("prices.csv", PRICES)).as_bytes()
    await notes.add(message, "a.eml")
    await notes.drain()
    assert await notes.found("wombat") != []
    added = await notes.add(message, "a.eml", acl=["u:ada"])
    assert await notes.found("wombat") == []
    await notes.drain()
    assert await notes.found("wombat") == []
    async with notes.engine.db.read() as session:
        rows = list(await session.scalars(select(Document)))
    assert len(rows) == 2
    assert len({row.acl_id for row in rows}) == 1
    assert added.document_id in {row.id for row in rows if row.deleted_at is None}


async def test_messages_within_messages_end_at_a_depth(notes):
    message = mail("deepest wombat")
    for level in range(4):
        message = mail(f"level {level}", inner=message)
    await notes.add(message.as_bytes(), "a.eml")
    await notes.drain()
    assert len(await listed(notes)) == 3
    assert await notes.found("deepest") == []


async def test_a_sheet_cut_at_the_limit_says_so_on_the_document(notes, monkeypatch):
    monkeypatch.setattr(host, "ConversionLimits", partial(ConversionLimits, rows=100))
    rows = "".join(f"{n},wombat\n" for n in range(200))
    added = await notes.add(f"id,animal\n{rows}", "long.csv")
    await notes.drain()
    said = "Only the first 100 rows were read; split the file to get all of it."
    assert (await notes.get(added)).message.endswith(f"chunks. {said}")
    assert (await notes.why(added)).endswith(said)
