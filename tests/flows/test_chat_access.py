"""Who finds what is said in channels: every person, on every surface, whatever the memberships.

Each channel says one thing nobody else says. What a search, an answer, a citation, a page, a list
or a count may show of it is worked out here by the rules, slowly, and compared. Nothing is indexed
anew between the worlds: membership decides when somebody asks.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import update

from engine import clock
from engine.access import gate
from engine.chats import accounts, channels, places
from engine.chats.accounts import NewPerson
from engine.chats.channels import NewChannel
from engine.chats.places import NewWorkspace, Place
from engine.db.tables import Identity
from engine.domain import Audience, Principal
from engine.engine import Engine
from engine.errors import NotFound
from tests.fakes.chats import say
from tests.fakes.installations import Installation

PLACES = ("general", "help", "staff", "board")
SAID = {
    "general": "The zebra budget of the garden is 40 million rupees.",
    "help": "The walrus budget of the kitchen is 41 million rupees.",
    "staff": "The ostrich budget of the cellar is 42 million rupees.",
    "board": "The panther budget of the tower is 43 million rupees.",
}
WORDS = {"general": "zebra", "help": "walrus", "staff": "ostrich", "board": "panther"}
QUESTION = "What is the budget of the garden, kitchen, cellar and tower?"
PEOPLE = ("owner", "ada", "bob", "gus", "ext")  # owner is linked to the installation's owner
WORLDS = int(os.environ.get("SCRUBJAY_TEST_WORLDS", "25"))


@dataclass
class Scene:
    """The installation, its workspace, and how its people and channels stand at the moment."""

    engine: Engine
    place: Place
    kb_id: str
    full: set[str] = field(default_factory=set)
    public: set[str] = field(default_factory=set)
    stale: set[str] = field(default_factory=set)
    members: dict[str, set[str]] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)  # by channel

    async def arrange(
        self,
        *,
        full: set[str],
        public: set[str],
        members: Mapping[str, set[str]],
        stale: set[str] = frozenset(),  # type: ignore[assignment]
    ) -> None:
        """Let the platform say so."""
        self.full, self.public, self.stale = full, public, stale
        self.members = {channel: set(members.get(channel, ())) for channel in PLACES}
        history = self.engine.chats.history
        people = [NewPerson(person, person, is_full_member=person in full) for person in PEOPLE]
        await history.put_people(self.place, people)
        await history.put_channels(
            self.place, [NewChannel(c, c, is_public=c in public) for c in PLACES]
        )
        for channel in PLACES:
            inside = [person for person in people if person.subject in self.members[channel]]
            at = clock.now() - (timedelta(hours=27) if channel in stale else timedelta())
            await history.set_members(self.place, channel, inside, at=at)

    async def principal(self, person: str) -> Principal:
        async with self.engine.db.read() as session:
            identity_id = await accounts.identity_id_of(session, self.place, person)
            assert identity_id is not None
            return await gate.principal_of_identity(session, self.place.tenant_id, identity_id)

    async def audience(self, channel: str) -> Audience:
        async with self.engine.db.read() as session:
            channel_id = await channels.channel_id_of(session, self.place, channel)
            return await gate.audience_of_channel(session, self.place.tenant_id, channel_id)

    # The rules, once more and slowly

    def may_read(self, person: str) -> set[str]:
        """Channels whose talk somebody may read."""
        return {
            channel
            for channel in PLACES
            if channel not in self.stale
            and (
                person in self.members[channel] or (channel in self.public and person in self.full)
            )
        }

    def may_be_shown_in(self, channel: str) -> set[str]:
        """Channels whose talk everyone who sees a message in this one may read."""
        if channel in self.stale:
            return {channel}  # unknown audience
        present = self.members[channel]
        everyone = [self.may_read(item) for item in present]
        if channel in self.public:
            shared = {item for item in self.public if item not in self.stale}
            outsiders = [item for item in present if item not in self.full]
            everyone = [shared, *(self.joined(outsider) for outsider in outsiders)]
        else:
            everyone = [
                self.may_read(item) if item in self.full else self.joined(item) for item in present
            ]
        if not everyone:
            return {channel}
        return set.intersection(*everyone)

    def joined(self, person: str) -> set[str]:
        return {c for c in PLACES if person in self.members[c] and c not in self.stale}


@pytest.fixture
async def scene(notes: Installation) -> Scene:
    engine, owner = notes.engine, notes.owner
    kb = await engine.knowledge_bases.get(owner, "notes")
    async with engine.db.write() as session:
        place = await places.put_workspace(
            session,
            owner.tenant_id,
            NewWorkspace("slack", "T1", "Acme", url="https://acme.slack.com"),
        )
    made = Scene(engine, place, kb.id)
    everyone = set(PEOPLE)
    await made.arrange(full=everyone, public=set(), members=dict.fromkeys(PLACES, everyone))
    async with engine.db.write() as session:
        await session.execute(
            update(Identity)
            .where(Identity.provider == "slack", Identity.subject == "owner")
            .values(user_id=owner.user_id)
        )
    owner = await engine.people.owner()
    for number, channel in enumerate(PLACES):
        await engine.chats.history.add(owner, channel, kb.id)
        await engine.chats.history.store(place, channel, [say(number * 60, SAID[channel], "ada")])
    await notes.drain()
    listed = await engine.documents.page(owner)
    made.documents = {
        channel: document.id
        for document in listed.documents
        for channel in PLACES
        if WORDS[channel] in document.title
    }
    assert set(made.documents) == set(PLACES)
    return made


def told_of(text: str) -> set[str]:
    """Channels whose secret a text tells, in words or in figures."""
    return {
        channel
        for channel in PLACES
        if WORDS[channel] in text.lower() or SAID[channel].split(" is ")[1][:2] in text
    }


async def check_person(scene: Scene, person: str) -> None:
    """Nothing but what they may read, on every surface that only they see; and all of that."""
    who = await scene.principal(person)
    allowed = scene.may_read(person)
    found = await scene.engine.search.find(who, "budget rupees", limit=10, mode="keyword")
    assert {told for hit in found.hits for told in told_of(hit.text + hit.title)} == allowed
    assert {hit.metadata["channel"] for hit in found.hits} == allowed
    assert found.searched_documents == len(allowed)
    answer = await scene.engine.answers.answer(who, QUESTION)
    assert told_of(answer.text) <= allowed
    assert {
        told for citation in answer.citations for told in told_of(citation.quote + citation.title)
    } <= allowed
    assert {
        c for citation in answer.citations for c in PLACES if f"/{c}/" in citation.url
    } <= allowed
    listed = await scene.engine.documents.page(who)
    assert {document.id for document in listed.documents} == {scene.documents[c] for c in allowed}
    for kb in await scene.engine.knowledge_bases.list_readable(who):
        assert kb.document_count == len(allowed)
    for channel, document_id in scene.documents.items():
        if channel in allowed:
            page = await scene.engine.search.fetch(who, document_id)
            assert told_of(page.text) == {channel}
            continue
        for id_ in (document_id, "0" * 32):  # absent and forbidden look the same
            with pytest.raises(NotFound) as refused:
                await scene.engine.search.fetch(who, id_)
            assert str(refused.value).replace(id_, "") == ("Nothing '' that you may read.")


async def check_channel(scene: Scene, person: str, channel: str) -> None:
    """An answer posted in a channel uses only what the asker and everyone there may read."""
    who = await scene.principal(person)
    audience = await scene.audience(channel)
    allowed = scene.may_read(person) & scene.may_be_shown_in(channel)
    found = await scene.engine.search.find(
        who, "budget", limit=10, mode="keyword", audience=audience
    )
    assert {told for hit in found.hits for told in told_of(hit.text)} == allowed
    async for event in scene.engine.answers.ask(who, audience, QUESTION, door="slack"):
        if event.kind == "answered":
            answer = event.answer
            assert told_of(answer.text) <= allowed
            assert {t for citation in answer.citations for t in told_of(citation.quote)} <= allowed
            assert {t for hit in answer.hits for t in told_of(hit.text)} <= allowed
        elif event.kind == "delta":
            assert told_of(event.text) <= allowed


async def check_everything(scene: Scene) -> None:
    for person in PEOPLE:
        await check_person(scene, person)
        for channel in PLACES:
            await check_channel(scene, person, channel)


async def test_the_matrix_of_people_channels_and_surfaces(scene):
    await scene.arrange(
        full={"owner", "ada", "bob"},
        public={"general", "help"},
        members={
            "general": {"owner", "ada", "bob"},
            "help": {"ada", "gus", "ext"},
            "staff": {"ada", "bob"},
            "board": {"ada", "gus"},
        },
    )
    assert scene.may_read("bob") == {"general", "help", "staff"}
    assert scene.may_read("ext") == {"help"}
    assert scene.may_be_shown_in("general") == {"general", "help"}
    assert scene.may_be_shown_in("help") == {"help"}  # a guest and an external person are there
    assert scene.may_be_shown_in("board") == {"help", "board"}
    await check_everything(scene)


async def test_stale_membership_is_unknown_membership(scene):
    everyone = set(PEOPLE)
    await scene.arrange(
        full=everyone,
        public={"general"},
        members=dict.fromkeys(PLACES, everyone),
        stale={"general", "staff"},
    )
    assert scene.may_read("ada") == {"help", "board"}
    await check_everything(scene)


async def test_the_channel_a_message_just_came_from_is_known_to_its_author(scene):
    await scene.arrange(full=set(PEOPLE), public=set(), members={}, stale=set(PLACES))
    async with scene.engine.db.read() as session:
        channel_id = await channels.channel_id_of(session, scene.place, "staff")
        identity_id = await accounts.identity_id_of(session, scene.place, "ada")
        who = await gate.principal_of_identity(
            session, scene.place.tenant_id, identity_id, seen_in=channel_id
        )
    found = await scene.engine.search.find(who, "budget", mode="keyword")
    assert {told for hit in found.hits for told in told_of(hit.text)} == {"staff"}


async def test_somebody_who_leaves_reads_nothing_more_from_that_instant(scene):
    await scene.arrange(full={"ada", "bob"}, public=set(), members={"staff": {"ada", "bob"}})
    await check_person(scene, "bob")
    await scene.engine.chats.history.left(scene.place, "staff", "bob")
    scene.members["staff"].remove("bob")
    await check_person(scene, "bob")
    await check_person(scene, "ada")


async def test_a_channel_made_private_or_lost_is_hidden_from_that_instant(scene):
    await scene.arrange(
        full={"ada", "bob"}, public={"general"}, members={"general": {"ada"}, "staff": {"ada"}}
    )
    await check_person(scene, "bob")
    await scene.engine.chats.history.made_private(scene.place, "general")
    scene.public.discard("general")
    await check_person(scene, "bob")
    await scene.engine.chats.history.lost(scene.place, "staff")
    scene.stale = {"staff"}
    await check_everything(scene)


async def test_coverage_of_a_private_channel_is_for_its_members(scene):
    await scene.arrange(
        full=set(PEOPLE), public={"general"}, members={"staff": {"owner"}, "board": {"ada"}}
    )
    owner = await scene.engine.people.owner()
    reports = await scene.engine.chats.history.coverage(owner)
    assert sorted(report.channel for report in reports) == ["general", "staff"]


@pytest.mark.slow
async def test_no_world_of_memberships_leaks(scene):
    chance = random.Random(20260301)
    for _ in range(WORLDS):

        def some(values, share=0.5):
            return {value for value in values if chance.random() < share}

        await scene.arrange(
            full=some(PEOPLE, 0.6),
            public=some(PLACES),
            members={channel: some(PEOPLE) for channel in PLACES},
            stale=some(PLACES, 0.15),
        )
        for person in chance.sample(PEOPLE, 2):
            await check_person(scene, person)
            await check_channel(scene, person, chance.choice(PLACES))


async def test_another_tenant_finds_nothing_of_it(scene):
    owner = await scene.engine.people.owner()
    await scene.engine.people.create_tenant(owner, "bolt")
    async with scene.engine.db.read() as session:
        tenants_ = await scene.engine.people.list_tenants(owner)
        other = next(tenant for tenant in tenants_ if tenant.key == "bolt")
        stranger = await gate.principal_of_user(session, other.id, owner.user_id)
    found = await scene.engine.search.find(stranger, "budget", mode="keyword")
    assert list(found.hits) == []
    for document_id in scene.documents.values():
        with pytest.raises(NotFound):
            await scene.engine.search.fetch(stranger, document_id)
