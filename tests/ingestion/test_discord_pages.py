"""DiscordChatExporter's HTML gives what its JSON of the same chat gives."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from engine.errors import InvalidInput
from ingestion.sources import exports
from ingestion.sources.exports import Export, ExportedChannel, is_export, open_export
from tests.fakes import discord_pages as chat

NAME = f"Radio - Work - firmware [{chat.CHANNEL}].html"


def page(folder: Path, text: str, name: str = NAME) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def told(folder: Path) -> Path:
    path = folder / "firmware.json"
    path.write_text(json.dumps(chat.as_json()), encoding="utf-8")
    return path


def zipped(folder: Path, **members: str) -> Path:
    path = folder / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def only(export: Export) -> ExportedChannel:
    [channel] = export.channels
    return channel


def test_a_page_gives_the_records_that_json_of_the_same_chat_gives(tmp_path):
    html, as_json = open_export(page(tmp_path, chat.as_html())), open_export(told(tmp_path))
    assert html.workspace == as_json.workspace
    assert html.people == as_json.people
    assert html.warnings == []
    assert only(html) == only(as_json)


def test_markup_without_quotes_and_ends_reads_the_same(tmp_path):
    text = chat.as_html().replace('class="chatlog__message-group"', "class=chatlog__message-group")
    text = text.replace('class="preamble"', "class=preamble").replace("</body></html>", "")
    path = page(tmp_path, text.replace('class="chatlog"', "class=chatlog"))
    assert is_export(path)
    assert len(only(open_export(path)).messages) == 5


def test_older_pages_tell_the_author_once_before_the_messages_of_a_group(tmp_path):
    group = (
        '<div class="chatlog__reference"><span class="chatlog__reference-name">Ada</span>'
        '<a class="chatlog__reference-link" href="#" '
        'onclick="scrollToMessage(event, &#39;830444328627077120&#39;)">Which?</a></div>'
        '<div class="chatlog__messages"><span class="chatlog__author-name" title="brook#1" '
        'data-user-id="42">Brook</span><span class="chatlog__bot-label">BOT</span>'
        f'<div class="chatlog__message" id="message-{chat.FIRST}" data-message-id="{chat.FIRST}">'
        '<div class="chatlog__content"><div class="markdown"><span class="preserve-whitespace">'
        "One.<br>Two.</span></div></div></div>"
        f'<div class="chatlog__message" data-message-id="{chat.SECOND}">'
        '<div class="chatlog__content"><span class="preserve-whitespace">Three.</span></div></div>'
        "</div>"
    )
    messages = only(open_export(page(tmp_path, chat.as_html([group], told="2")))).messages
    assert [(one.text, one.author, one.kind, one.reply_to) for one in messages] == [
        ("One.\nTwo.", "42", "bot", "830444328627077120"),
        ("Three.", "42", "bot", ""),
    ]


def test_partitions_are_one_channel(tmp_path):
    groups = chat.groups()
    names = [NAME.replace(".html", f"{part}.html") for part in ("", " [part 2]")]
    texts = [chat.as_html(groups[:1], told="2"), chat.as_html(groups[1:], told="3")]
    export = open_export(zipped(tmp_path, **dict(zip(names, texts, strict=True))))
    assert export.warnings == []
    assert [one.external_id for one in only(export).messages] == [
        raw["id"] for raw in chat.as_json()["messages"]
    ]
    alone = only(open_export(page(tmp_path, texts[1], names[1])))
    assert alone.channel.external_id == chat.CHANNEL
    assert len(alone.messages) == 3


def test_json_beside_a_page_tells_the_server_and_counts_first(tmp_path):
    whole = chat.as_json()
    whole["messages"] = [whole["messages"][0] | {"timestampEdited": "2026-06-01T12:00:00+00:00"}]
    whole["channel"]["type"] = "GuildPrivateThread"
    pages = chat.as_html(icon="assets/icon.png")
    export = open_export(zipped(tmp_path, **{NAME: pages, "firmware.json": json.dumps(whole)}))
    assert export.workspace.external_id == chat.GUILD
    channel = only(export)
    assert not channel.channel.is_public
    assert len(channel.messages) == len({one.external_id for one in channel.messages}) == 5
    assert channel.messages[0].edited_at is not None


def test_a_page_whose_name_tells_no_channel_is_refused_with_what_to_do(tmp_path):
    path = page(tmp_path, chat.as_html(), "firmware.html")
    assert is_export(path)
    with pytest.raises(InvalidInput, match=r"rename it to end in the id .* or export .* as JSON"):
        open_export(path)


def test_a_page_that_tells_no_server_is_refused_unless_its_name_does(tmp_path):
    text = chat.as_html(icon="assets/icon.png")
    with pytest.raises(InvalidInput, match=r"the id of the server 'Radio': put the id in square"):
        open_export(page(tmp_path, text))
    named = page(tmp_path, text, f"[{chat.GUILD}] firmware [{chat.CHANNEL}].html")
    assert open_export(named).workspace.external_id == chat.GUILD


def test_pages_of_direct_messages_are_never_imported(tmp_path):
    text = chat.as_html(guild="Direct Messages")
    for name in (NAME, "ada.html"):
        with pytest.raises(InvalidInput, match="never imported"):
            open_export(page(tmp_path, text, name))


@pytest.mark.parametrize(
    ("count", "said"),
    [("1,234", "holds 1,234 messages; 5 were found"), (None, "ends early"), ("5", "")],
)
def test_messages_that_are_missing_are_told(tmp_path, count, said):
    export = open_export(page(tmp_path, chat.as_html(told=count)))
    assert len(only(export).messages) == 5
    assert said in "".join(export.warnings)
    assert bool(export.warnings) is bool(said)


def test_a_page_cut_in_the_middle_gives_what_is_whole_before(tmp_path):
    text = chat.as_html()
    export = open_export(page(tmp_path, text[: text.index("Build 7")]))
    assert [one.external_id for one in only(export).messages][:3] == [
        chat.FIRST,
        chat.SECOND,
        chat.THIRD,
    ]
    assert "ends early" in export.warnings[0]


def test_other_web_pages_are_documents(tmp_path):
    other = page(tmp_path, "<html><body><p>About chatlog and preamble.</p></body></html>", "a.html")
    empty = page(tmp_path, "", "b.html")
    assert not is_export(other)
    assert not is_export(empty)
    assert not is_export(zipped(tmp_path, **{"a.html": "<p>Hello</p>"}))


def words(text: str) -> str:
    """The markup of what a message says."""
    return (
        '<div class="chatlog__content"><span class="chatlog__markdown-preserve">'
        f"{text}</span></div>"
    )


def test_a_message_in_a_message_is_none_of_its_own(tmp_path):
    parts = [chat.message(chat.FIRST, words("Said." + chat.message(chat.SECOND, "forged")))]
    [found] = only(open_export(page(tmp_path, chat.as_html(parts, told="1")))).messages
    assert found.external_id == chat.FIRST


def test_text_deep_in_elements_keeps_its_words(tmp_path):
    parts = [chat.message(chat.FIRST, words("<em>" * 150 + "deep" + "</em>" * 150))]
    [found] = only(open_export(page(tmp_path, chat.as_html(parts, told="1")))).messages
    assert "deep" in found.text


@pytest.mark.parametrize("text", ["<em>" * 5_000, "<div>" * 200_000, "x" * 20_000_000])
def test_a_page_made_to_be_endless_is_told_as_cut(tmp_path, text):
    parts = [chat.message(chat.FIRST, words("Whole.")), chat.message(chat.SECOND, words(text))]
    export = open_export(page(tmp_path, chat.as_html(parts, told="2")))
    assert only(export).messages[0].text == "Whole."
    assert "ends early" in export.warnings[0]
    with pytest.raises(InvalidInput, match="damaged"):
        open_export(page(tmp_path, chat.as_html(parts[1:], told="1")))


def test_a_page_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "FILE_MAX_BYTES", 100)
    with pytest.raises(InvalidInput, match="export it in partitions"):
        open_export(page(tmp_path, chat.as_html()))
