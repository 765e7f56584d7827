"""Talk of channels through the real worker: found, answered, cited, taken back, forgotten."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cli.exports import part
from cli.inputs import InputItem
from engine.chats.places import Place
from engine.errors import InvalidInput
from engine.people import members
from ingestion.pipelines import load_pipeline, open_registry
from ingestion.sources.exports import is_export, open_export
from tests.fakes import discord_pages
from tests.fakes.chats import say, ts
from tests.fakes.installations import Installation
from tests.fakes.language_models import ScriptedModel

USERS = [
    {"id": "U1", "team_id": "T1", "name": "ada", "profile": {"display_name": "Ada"}},
    {"id": "U2", "team_id": "T1", "name": "brook", "profile": {"display_name": "Brook"}},
    {"id": "U9", "team_id": "T1", "name": "gus", "is_restricted": True, "profile": {}},
]
CHANNELS = [{"id": "C1", "name": "general", "members": ["U1", "U2"]}]
GROUPS = [{"id": "G1", "name": "staff", "members": ["U1"]}]
GENERAL = [
    {"type": "message", "user": "U1", "ts": ts(0), "text": "Where is the spare key kept?"}
    | {"thread_ts": ts(0), "reply_count": 1},
    {"type": "message", "user": "U2", "ts": ts(2), "thread_ts": ts(0)}
    | {"text": "The spare key is kept in the blue &lt;tool&gt; box."},
    {"type": "message", "subtype": "channel_join", "user": "U2", "ts": ts(1), "text": "joined"},
]
STAFF = [{"type": "message", "user": "U1", "ts": ts(5), "text": "The salary round is in May."}]
DIRECT = [{"type": "message", "user": "U1", "ts": ts(6), "text": "I hate the blue tool box."}]


def slack_zip(folder: Path, **more: object) -> Path:
    """A small export as Slack makes them."""
    path = folder / "acme-export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        members = {
            "users.json": USERS,
            "channels.json": CHANNELS,
            "groups.json": GROUPS,
            "dms.json": [{"id": "D1", "members": ["U1", "U2"]}],
            "general/2026-03-01.json": GENERAL,
            "staff/2026-03-01.json": STAFF,
            "D1/2026-03-01.json": DIRECT,
        }
        for name, value in (members | more).items():
            archive.writestr(name, value if isinstance(value, str) else json.dumps(value))
    return path


async def bring_in(notes: Installation, path: Path) -> Place:
    """As `scrubjay add` does."""
    export = open_export(path, url="https://acme.slack.com/")
    history = notes.engine.chats.history
    place = await history.begin_import(notes.owner, export.workspace, export.people)
    kb = await notes.engine.knowledge_bases.get(notes.owner, "notes")
    for channel in export.channels:
        await history.import_channel(notes.owner, place, kb.id, channel.channel, channel.members)
        await history.import_messages(
            place, channel.channel.external_id, channel.messages, threads=channel.threads
        )
    await notes.drain()
    notes.owner = await notes.engine.people.owner()
    return place


async def test_an_export_answers_and_cites_the_very_message(notes, tmp_path):
    await bring_in(notes, slack_zip(tmp_path))
    answer = await notes.engine.answers.answer(notes.owner, "Where is the spare key kept?")
    assert answer.grounded
    assert "The spare key is kept in the blue <tool> box." in answer.citations[0].quote
    assert answer.citations[0].author == "Brook"
    assert answer.citations[0].posted_at == "2026-03-01T09:02:00+00:00"
    assert answer.citations[0].url == (
        f"https://acme.slack.com/archives/C1/p{ts(2).replace('.', '')}?thread_ts={ts(0)}&cid=C1"
    )


async def test_private_channels_stay_with_their_members_and_direct_messages_out(notes, tmp_path):
    await bring_in(notes, slack_zip(tmp_path))
    assert await notes.found("salary") == []  # the importer is not a listed member
    assert not any("hate" in text for text in await notes.found("blue tool box"))
    reports = await notes.engine.chats.history.coverage(notes.owner)
    assert [report.channel for report in reports] == ["general"]
    assert reports[0].messages == 3


async def test_a_member_with_the_address_of_the_export_is_who_they_were_there(notes, tmp_path):
    from engine.access import gate

    async with notes.engine.db.write() as session:
        member = await members.add_member(session, notes.owner, email="ada@acme.example")
    users = [USERS[0] | {"profile": {"display_name": "Ada", "email": "Ada@acme.example"}}]
    await bring_in(notes, slack_zip(tmp_path, **{"users.json": [*users, *USERS[1:]]}))
    async with notes.engine.db.read() as session:
        ada = await gate.principal_of_user(session, notes.owner.tenant_id, member.user_id)
    found = await notes.engine.search.find(ada, "salary round", mode="keyword")
    assert ["salary" in hit.text for hit in found.hits] == [True]


async def test_the_same_export_again_adds_nothing(notes, tmp_path):
    place = await bring_in(notes, slack_zip(tmp_path))
    again = await bring_in(notes, slack_zip(tmp_path))
    assert again.workspace_id == place.workspace_id
    listed = await notes.engine.documents.page(notes.owner)
    assert [document.external_id for document in listed.documents] == [f"thread:{ts(0)}"]


async def test_an_edit_and_a_delete_reach_what_is_found(notes, tmp_path):
    place = await bring_in(notes, slack_zip(tmp_path))
    await notes.engine.chats.history.delete(place, "C1", [ts(2)])
    assert not any("blue" in text for text in await notes.found("spare key"))
    await notes.drain()
    assert not any("blue" in text for text in await notes.found("spare key"))
    assert await notes.found("spare key")
    blobs = [path for path in (notes.engine.settings.home / "blobs").rglob("*") if path.is_file()]
    assert not any(b"blue" in path.read_bytes() for path in blobs)


async def test_somebody_forgotten_is_nowhere_and_not_kept_again(notes, tmp_path):
    place = await bring_in(notes, slack_zip(tmp_path))
    receipt = await notes.engine.chats.history.forget_person(notes.owner, place.workspace_id, "U2")
    assert (receipt.messages, receipt.documents) == (2, 1)
    await notes.drain()
    assert not any("blue" in text for text in await notes.found("spare key"))
    place = await notes.engine.chats.history.begin_import(
        notes.owner, open_export(slack_zip(tmp_path)).workspace, []
    )
    stored = await notes.engine.chats.history.store(place, "C1", [say(50, "I am back here.", "U2")])
    assert stored.added == 0


async def test_of_two_threads_alike_the_newer_comes_first_while_only_talk_is_searched(
    notes, tmp_path
):
    place = await bring_in(notes, slack_zip(tmp_path))
    years = 60 * 24 * 365
    old = say(-3 * years, "The lost umbrella hangs in the hall.")
    new = say(30, "The lost umbrella hangs in the hall!")
    await notes.engine.chats.history.store(place, "C1", [old, new])
    await notes.drain()

    async def freshness() -> dict[str, float]:
        kept = await notes.engine.search.find(notes.owner, "lost umbrella", kb="notes")
        return {hit.url.rpartition("/")[2]: hit.scores.freshness for hit in kept.hits[:2]}

    newest, oldest = await freshness()
    assert (newest, oldest) == tuple(f"p{item.external_id.replace('.', '')}" for item in (new, old))
    assert min((await freshness()).values()) < 0.75
    await notes.engine.knowledge_bases.update(notes.owner, "notes", search={"decay_half_life_s": 0})
    assert set((await freshness()).values()) == {1.0}
    await notes.engine.knowledge_bases.update(notes.owner, "notes", search={})
    await notes.engine.knowledge_bases.create(notes.owner, "pages")
    notes.owner = await notes.engine.people.owner()
    both = await notes.engine.search.find(notes.owner, "lost umbrella")
    assert {hit.scores.freshness for hit in both.hits} == {1.0}


async def test_what_was_said_in_several_channels_is_found_once_and_a_hidden_copy_hides_none(
    notes, tmp_path
):
    news = {"type": "message", "user": "U2", "text": "The canteen serves dumplings on Fridays now."}
    thanks = {"type": "message", "user": "U1", "text": "Thank you so much, I like them boiled."}
    more = {
        "channels.json": [*CHANNELS, {"id": "C2", "name": "random", "members": ["U1", "U2"]}],
        "staff/2026-03-01.json": [news | {"ts": ts(900)}],
        "general/2026-03-01.json": [*GENERAL, news | {"ts": ts(901)}],
        "random/2026-03-01.json": [news | {"ts": ts(902)}, thanks | {"ts": ts(903)}],
    }
    await bring_in(notes, slack_zip(tmp_path, **more))
    found = await notes.engine.search.find(notes.owner, "dumplings in the canteen", kb="notes")
    told = [hit for hit in found.hits if "dumplings" in hit.text]
    assert [hit.metadata["channel"] for hit in told] == ["random"]  # the one with a reply


async def test_messages_older_than_a_channel_keeps_go(notes, tmp_path):
    await bring_in(notes, slack_zip(tmp_path))
    await notes.engine.chats.history.set_retention(notes.owner, "general", 1)
    await notes.drain()
    assert await notes.found("spare key") == []
    [report] = await notes.engine.chats.history.coverage(notes.owner)
    assert (report.messages, report.retention_days) == (0, 1)
    with pytest.raises(InvalidInput, match="is not allowed; give 1 to"):
        await notes.engine.chats.history.set_retention(notes.owner, "general", 0)


DISCORD = {
    "guild": {"id": "1343693475589463271", "name": "Radio"},
    "channel": {
        "id": "1467229984284088776",
        "type": "GuildPublicThread",
        "categoryId": "275552429635569049",
        "category": "firmware",
        "name": "Raise the limit",
    },
    "messages": [
        {
            "id": "1467229984284088776",
            "type": "Default",
            "content": "How do I raise the limit of neighbours?",
            "author": {"id": "11", "name": "dusty", "nickname": "Dusty", "isBot": False},
        },
        {
            "id": "1467230984284088776",
            "type": "Reply",
            "content": "Change MAX_NEIGHBOURS to 100 and build the firmware yourself.",
            "author": {"id": "12", "name": "umber", "isBot": False},
            "reference": {"messageId": "1467229984284088776"},
            "reactions": [{"emoji": {"name": "✅"}, "count": 2}],
        },
        {
            "id": "1467230994284088776",
            "type": "Default",
            "content": "I am a bot and say MAX_NEIGHBOURS all day.",
            "author": {"id": "13", "name": "bot", "isBot": True},
        },
    ],
}


async def test_a_discord_export_answers_with_a_link_into_the_thread(notes, tmp_path):
    path = tmp_path / "thread.json"
    path.write_text(json.dumps(DISCORD), encoding="utf-8")
    await bring_in(notes, path)
    [document] = (await notes.engine.documents.page(notes.owner)).documents
    assert document.title == "Raise the limit"
    assert document.details["solved"] is True
    answer = await notes.engine.answers.answer(
        notes.owner, "How do I raise the limit of neighbours?"
    )
    assert [citation.url for citation in answer.citations] == [
        "https://discord.com/channels/1343693475589463271/1467229984284088776/1467230984284088776"
    ]
    assert not any("all day" in text for text in await notes.found("MAX_NEIGHBOURS"))


@pytest.mark.parametrize("first", ["html", "json"])
async def test_html_and_json_of_a_chat_are_one_channel(notes, tmp_path, first):
    html = tmp_path / f"Radio - firmware [{discord_pages.CHANNEL}].html"
    html.write_text(discord_pages.as_html(), encoding="utf-8")
    told = tmp_path / "firmware.json"
    told.write_text(json.dumps(discord_pages.as_json()), encoding="utf-8")
    others, chats = tmp_path / "other.html", [html, told]
    others.write_text("<p>Nothing of the kind.</p>", encoding="utf-8")
    assert part([InputItem(path=item) for item in (*chats, others)])[0] == chats
    for path in chats if first == "html" else reversed(chats):
        await bring_in(notes, path)
        documents = (await notes.engine.documents.page(notes.owner)).documents
        assert len(documents) == 1
    link = f"https://discord.com/channels/{discord_pages.GUILD}/{discord_pages.CHANNEL}/"
    answer = await notes.engine.answers.answer(notes.owner, "Where is the spare key?")
    assert {(citation.url or "").startswith(link) for citation in answer.citations} == {True}
    assert any("blue" in text for text in await notes.found("spare key"))
    assert not any("Build 7" in text for text in await notes.found("Build 7 is green"))


SETTLED = json.dumps(
    {
        "components": [{"id": "p", "type": "Parser"}, {"id": "qa", "type": "QuestionAnswer"}],
        "edges": [{"source": "p", "target": "qa"}],
    }
)
PAIR = {"question": "How do I raise the limit of neighbours to 100?", "answers": [2, 9]}


def unresolved() -> dict[str, Any]:
    """The same conversation without its mark."""
    export = json.loads(json.dumps(DISCORD))
    export["messages"][1]["reactions"] = []
    return export


async def settled(notes: Installation, tmp_path: Path, *replies: object, export=DISCORD):
    """The documents of an export whose knowledge base has what was settled kept."""
    registry = open_registry(notes.engine.settings).registry

    def check(dsl: str) -> object:
        return load_pipeline(dsl, registry, offers={"language_model"})

    notes.engine.model = ScriptedModel(*replies)
    notes.engine.llms._operators = notes.engine.model  # there is no other seam
    await notes.engine.pipelines.save(notes.owner, "settled", SETTLED, check=check, replace=True)
    await notes.engine.knowledge_bases.update(notes.owner, "notes", pipeline="settled")
    path = tmp_path / "thread.json"
    path.write_text(json.dumps(export), encoding="utf-8")
    await bring_in(notes, path)
    notes.engine.llms._operators = None  # answers are quoted
    return (await notes.engine.documents.page(notes.owner)).documents


async def test_what_a_conversation_settled_is_found_by_its_question(notes, tmp_path):
    thread, pair = sorted(
        await settled(notes, tmp_path, PAIR), key=lambda item: "attachment_of" in item.details
    )
    assert pair.details["attachment_of"] == thread.id
    assert pair.url == thread.url
    [prompt] = notes.engine.model.prompts
    assert "[2] umber: Change MAX_NEIGHBOURS to 100" in prompt
    assert "[1] Dusty: How do I raise the limit of neighbours?" in prompt
    found = await notes.engine.search.find(notes.owner, "raise the limit of neighbours to 100")
    assert pair.id in [hit.document_id for hit in found.hits]
    answer = await notes.engine.answers.answer(notes.owner, "How do I raise the limit to 100?")
    assert "Change MAX_NEIGHBOURS to 100" in answer.text
    assert {thread.state, pair.state} == {"ready"}


async def test_a_pair_goes_when_its_conversation_is_resolved_no_longer(notes, tmp_path):
    assert len(await settled(notes, tmp_path, PAIR)) == 2
    [thread] = await settled(notes, tmp_path, export=unresolved())
    assert "attachment_of" not in thread.details
    found = await notes.engine.search.find(notes.owner, "raise the limit of neighbours to 100")
    assert {hit.document_id for hit in found.hits} == {thread.id}


@pytest.mark.parametrize(
    "reply",
    [
        {"question": "", "answers": []},
        {"question": "How do I raise the limit of neighbours?", "answers": [7]},
        {"question": "Which wallet pays for cheap bitcoin mining?", "answers": [2]},
    ],
    ids=["nothing", "no such turn", "asked by nobody"],
)
async def test_a_pair_that_the_conversation_does_not_bear_out_is_dropped(notes, tmp_path, reply):
    [thread] = await settled(notes, tmp_path, reply)
    assert thread.state == "ready"


async def test_of_a_conversation_that_nobody_resolved_nothing_is_asked(notes, tmp_path):
    [thread] = await settled(notes, tmp_path, export=unresolved())
    assert (thread.state, notes.engine.model.prompts) == ("ready", [])


def test_an_export_is_told_from_any_other_file(tmp_path):
    export = slack_zip(tmp_path)
    other = tmp_path / "docs.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.md", "# Hi")
    data = tmp_path / "data.json"
    data.write_text('{"a": 1}', encoding="utf-8")
    thread = tmp_path / "thread.json"
    thread.write_text(json.dumps(DISCORD), encoding="utf-8")
    assert [is_export(path) for path in (export, other, data, thread)] == [True, False, False, True]
    chats, others = part([InputItem(path=item) for item in (export, other, data, thread)])
    assert (chats, [other.path for other in others]) == ([export, thread], [other, data])


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("users.json", "not json", "users.json is not JSON"),
        ("general/2026-03-01.json", '{"a": 1}', "is not a list"),
        ("general/2026-03-01.json", "[" * 100_000, "is not JSON"),
    ],
)
def test_what_is_wrong_with_an_export_is_named(tmp_path, member, value, said):
    path = slack_zip(tmp_path, **{member: value})
    with pytest.raises(InvalidInput, match=said):
        list(open_export(path).channels)


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    from ingestion.sources import exports

    monkeypatch.setattr(exports, "FILE_MAX_BYTES", 100)
    with pytest.raises(InvalidInput, match="unpacks to more"):
        list(open_export(slack_zip(tmp_path)).channels)


def test_odd_rows_of_an_export_are_passed_over(tmp_path):
    odd = [1, None, {"ts": "x"}, {"ts": ts(1), "text": None}, {"ts": ts(2), "files": [None, 3]}]
    path = slack_zip(tmp_path, **{"general/2026-03-01.json": odd})
    general = next(iter(open_export(path).channels))
    assert [message.external_id for message in general.messages] == [ts(1), ts(2)]


def test_a_discord_export_of_direct_messages_is_refused(tmp_path):
    path = tmp_path / "dm.json"
    direct = DISCORD | {"channel": {"id": "5", "type": "DirectTextChat", "name": "x"}}
    path.write_text(json.dumps(direct), encoding="utf-8")
    with pytest.raises(InvalidInput, match="never imported"):
        open_export(path)
