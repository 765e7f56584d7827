"""Who finds what is said on a Discord server: every person, in every channel, on every surface.

Each channel says one thing nobody else says. Who may read it is asked of the fake's permissions;
what is found, cited, listed and counted has to agree, and what is posted in a channel may rest only
on what all of its readers may read.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator

import pytest

from engine.domain import Principal
from engine.errors import NotFound
from tests.fakes.discord import PRIVATE_THREAD, open_discord
from tests.fakes.discord_scene import CONNECT, GUILD, READS, Scene, open_scene
from tests.fakes.discord_world import HISTORY, USUAL, VIEW, VOICE
from tests.fakes.installations import parse_inline

HALL, CREW, BOARD, STAGE_, HELP = "7100", "7200", "7300", "7400", "7500"
WORDS = {HALL: "zebra", CREW: "walrus", BOARD: "ostrich", STAGE_: "panther", HELP: "lizard"}
PLACES = {HALL: "garden", CREW: "kitchen", BOARD: "cellar", STAGE_: "tower", HELP: "stable"}
NAMES = {HALL: "hall", CREW: "crew", BOARD: "board", STAGE_: "lounge", HELP: "help"}
QUESTION = "What is the budget of the garden, kitchen, cellar, tower, stable and attic?"
ADA, BROOK, CLEO, DOE = "11", "12", "13", "14"
PEOPLE = (ADA, BROOK, CLEO, DOE)
STAFF, LEADS = "50", "51"
THREAD = "thread"
WORLDS = int(os.environ.get("SCRUBJAY_TEST_WORLDS", "6"))


class Server:
    """The scene with the documents of its channels; `thread` is the private one."""

    def __init__(self, scene: Scene, thread: str) -> None:
        self.scene = scene
        self.words = {**WORDS, thread: "monkey"}
        self.thread = thread
        self.documents: dict[str, str] = {}

    def told_of(self, text: str) -> set[str]:
        """Channels whose secret a text tells."""
        return {channel for channel, word in self.words.items() if word in text.lower()}

    def may_read(self, person: str) -> set[str]:
        return {word for word in self.words if self.scene.reads(person, word)}

    def public(self) -> set[str]:
        """Channels that everyone reads, whatever roles they have or get."""
        guild = self.scene.guild
        found = set()
        for id_, channel in guild.channels.items():
            needed = READS | (CONNECT if channel["type"] == VOICE else 0)
            bits, denied = int(guild.roles[GUILD]["permissions"]), 0
            for item in channel["permission_overwrites"]:
                if item["id"] == GUILD:
                    bits = bits & ~int(item["deny"]) | int(item["allow"])
                else:
                    denied |= int(item["deny"])
            if bits & needed == needed and not denied & needed:
                found.add(id_)
        return found

    def may_be_shown_in(self, channel: str) -> set[str]:
        """Channels whose talk each reader of this one may read; {it} where nobody is known."""
        if channel in self.public():
            return self.public()
        everyone = [self.may_read(reader) for reader in self.scene.readers(channel)]
        return set.intersection(*everyone) if everyone else {channel}


@pytest.fixture
async def server(home, monkeypatch) -> AsyncIterator[Server]:
    parse_inline(monkeypatch)
    async with open_discord() as discord:
        guild = discord.add_guild(GUILD)
        guild.roles[GUILD]["permissions"] = str(USUAL | CONNECT)
        everything = {discord.bot_id: READS | CONNECT | 1 << 34}
        discord.add_role(guild, "60", "bot", READS | CONNECT)
        guild.members[discord.bot_id]["roles"] = ["60"]
        discord.add_role(guild, STAFF, "staff")
        discord.add_role(guild, LEADS, "leads")
        for person, name in zip(PEOPLE, ("Ada", "Brook", "Cleo", "Doe"), strict=True):
            discord.add_person(guild, person, name)
        for id_ in (HALL, CREW, BOARD):
            discord.add_channel(guild, id_, NAMES[id_], allow=everything)
        discord.add_channel(guild, STAGE_, NAMES[STAGE_], VOICE, allow=everything)
        discord.add_forum(guild, HELP, NAMES[HELP])
        discord.talk.overwrite(HELP, allow=everything)
        async with open_scene(home, discord) as scene:
            thread = discord.talk.start_thread(HALL, ADA, "hideout", PRIVATE_THREAD)["id"]
            for item in (discord.bot_id, *PEOPLE):
                discord.talk.add_to_thread(thread, item)
            await scene.settle()
            await scene.link_owner(ADA)
            made = Server(scene, thread)
            for id_, word in made.words.items():
                text = f"The {word} budget of the {PLACES.get(id_, 'attic')} is forty rupees."
                if id_ == HELP:
                    discord.talk.post(HELP, ADA, f"The {word} question", text)
                else:
                    discord.talk.say(id_, ADA, text)
            await scene.keep(*NAMES.values(), "hideout")
            for document in (await scene.engine.documents.page(scene.notes.owner)).documents:
                [channel] = made.told_of(document.title)
                made.documents[channel] = document.id
            assert made.documents.keys() == made.words.keys()
            yield made


async def check_person(server: Server, person: str) -> None:
    """Nothing but what they may read, on every surface that only they see; and all of that."""
    engine = server.scene.engine
    who, allowed = await server.scene.principal(person), server.may_read(person)
    found = await engine.search.find(who, "budget rupees", limit=10, mode="keyword")
    assert {item for hit in found.hits for item in server.told_of(hit.text)} == allowed
    assert found.searched_documents == len(allowed)
    answer = await engine.answers.answer(who, QUESTION)
    assert server.told_of(answer.text) <= allowed
    for cited in answer.citations:
        assert server.told_of(cited.quote + cited.title) <= allowed
        assert any(f"/{item}" in cited.url or item == HELP for item in allowed)
    listed = await engine.documents.page(who)
    assert {document.id for document in listed.documents} == {
        server.documents[item] for item in allowed
    }
    for kb in await engine.knowledge_bases.list_readable(who):
        assert kb.document_count == len(allowed)
    for channel, document_id in server.documents.items():
        if channel in allowed:
            assert server.told_of((await engine.search.fetch(who, document_id)).text) == {channel}
        else:
            with pytest.raises(NotFound):
                await engine.search.fetch(who, document_id)


async def check_channel(server: Server, who: Principal, person: str, channel: str) -> None:
    """An answer posted in a channel uses only what the asker and everyone there may read."""
    engine, audience = server.scene.engine, await server.scene.audience(channel)
    allowed = server.may_read(person) & server.may_be_shown_in(channel)
    found = await engine.search.find(
        who, "budget rupees", limit=10, mode="keyword", audience=audience
    )
    assert {item for hit in found.hits for item in server.told_of(hit.text)} == allowed
    for reader in server.scene.readers(channel):
        assert allowed <= server.may_read(reader)
    async for event in engine.answers.ask(who, audience, QUESTION, door="discord"):
        if event.kind == "answered":
            answer = event.answer
            assert server.told_of(answer.text) <= allowed
            assert {
                t for citation in answer.citations for t in server.told_of(citation.quote)
            } <= allowed
            assert {t for hit in answer.hits for t in server.told_of(hit.text)} <= allowed
        elif event.kind == "delta":
            assert server.told_of(event.text) <= allowed


async def check_everything(server: Server) -> None:
    for person in PEOPLE:
        await check_person(server, person)
        who = await server.scene.principal(person)
        for channel in sorted(server.may_read(person)):
            await check_channel(server, who, person, channel)


async def test_the_matrix_of_people_channels_and_surfaces(server):
    talk, bot = server.scene.talk, {server.scene.discord.bot_id: READS | CONNECT}
    talk.change_member(GUILD, ADA, roles=[STAFF, LEADS])
    talk.change_member(GUILD, BROOK, roles=[STAFF])
    talk.overwrite(CREW, deny={GUILD: VIEW}, allow={STAFF: VIEW} | bot)
    talk.overwrite(BOARD, deny={GUILD: HISTORY}, allow={LEADS: HISTORY, CLEO: HISTORY} | bot)
    talk.overwrite(STAGE_, deny={GUILD: CONNECT}, allow={STAFF: CONNECT} | bot)
    talk.remove_from_thread(server.thread, BROOK)
    talk.remove_from_thread(server.thread, DOE)
    await server.scene.settle()
    assert server.may_read(BROOK) == {HALL, HELP, CREW, STAGE_}
    assert server.may_read(CLEO) == {HALL, HELP, BOARD, server.thread}
    assert server.may_be_shown_in(HALL) == {HALL, HELP}
    assert server.may_be_shown_in(BOARD) == {HALL, HELP, BOARD, server.thread}
    await check_everything(server)


async def test_an_event_tightens_before_anything_is_asked(server):
    talk, bot = server.scene.talk, {server.scene.discord.bot_id: READS | CONNECT}
    talk.overwrite(CREW, deny={GUILD: VIEW}, allow={STAFF: VIEW} | bot)
    talk.change_member(GUILD, BROOK, roles=[STAFF])
    talk.remove_from_thread(server.thread, BROOK)
    await server.scene.deliver()  # the worker has learnt nothing yet
    for person in PEOPLE:
        who = await server.scene.principal(person)
        found = await server.scene.engine.search.find(
            who, "budget rupees", limit=10, mode="keyword"
        )
        told = {item for hit in found.hits for item in server.told_of(hit.text)}
        assert told <= server.may_read(person)
        assert told >= {HALL, HELP}
    await server.scene.settle()
    await check_everything(server)


@pytest.mark.slow
async def test_no_world_of_roles_and_overwrites_leaks(server):
    chance = random.Random(20260302)
    talk, bot = server.scene.talk, server.scene.discord.bot_id
    bits = (VIEW, HISTORY, CONNECT)

    def some() -> int:
        return sum(bit for bit in bits if chance.random() < 0.3)

    for _ in range(WORLDS):
        for person in PEOPLE:
            roles = [item for item in (STAFF, LEADS) if chance.random() < 0.4]
            talk.change_member(GUILD, person, roles=roles)
            act = talk.add_to_thread if chance.random() < 0.6 else talk.remove_from_thread
            act(server.thread, person)
        for channel in NAMES:
            ids = [person for person in (GUILD, STAFF, LEADS, *PEOPLE) if chance.random() < 0.3]
            talk.overwrite(
                channel,
                deny={id_: some() for id_ in ids},
                allow={id_: some() for id_ in ids} | {bot: READS | CONNECT},
            )
        await server.scene.settle()
        for person in chance.sample(PEOPLE, 2):
            await check_person(server, person)
            who = await server.scene.principal(person)
            for channel in sorted(server.may_read(person))[:2]:
                await check_channel(server, who, person, channel)
