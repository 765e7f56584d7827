"""GitHub as a source: issues, pull requests and discussions, for those who may read them there."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import update

from engine import clock
from engine.db.tables import User
from engine.errors import InvalidInput
from engine.sources.reports import SourceInfo
from engine.sources.sources import NewSource
from ingestion.connectors import github
from ingestion.connectors.github import GitHubConnector
from tests.contracts.sources import Rig, agrees
from tests.fakes.api_server import ApiServer, Asked, open_api
from tests.fakes.github import GitHubRepository, GitHubWorld
from tests.fakes.installations import parse_inline
from tests.fakes.sources import SourceInstallation, open_sources, settled

PEOPLE = ["ada", "bob", "cyd"]


@pytest.fixture
def world() -> GitHubWorld:
    made = GitHubWorld({name: f"{name}@example.com" for name in PEOPLE})
    garden = made.repository("team/garden", collaborators={"ada", "bob"})
    made.post(garden, "Apples are late", "Said here: the apples ripen in October.")
    pull = made.post(garden, "Prune the pears", "Said here: pears are pruned.", kind="pull")
    made.comment(pull, "Please use the short shears.")
    talk = made.post(garden, "Which plums", "Said here: which plums?", kind="discussion")
    made.comment(talk, "The blue ones.")
    return made


@pytest.fixture
async def server(world: GitHubWorld) -> AsyncIterator[ApiServer]:
    async with open_api(world.answer) as opened:
        yield opened


@pytest.fixture
async def notes(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SourceInstallation]:
    parse_inline(monkeypatch)
    monkeypatch.setattr(GitHubConnector, "rate_per_s", 0.0)
    monkeypatch.setattr("engine.jobs.endings.FIRST_RETRY_S", 0.01)
    monkeypatch.setattr("engine.sources.fetching.FIRST_RETRY_S", 0.01)
    async with open_sources(home) as opened:
        for name in PEOPLE:
            await opened.engine.people.add_member(opened.owner, f"{name}@example.com")
        async with opened.engine.db.write() as session:
            await session.execute(
                update(User).where(User.email.is_not(None)).values(email_verified_at=clock.now())
            )
        await opened.engine.knowledge_bases.revoke(opened.owner, "notes", "tenant")
        yield opened


async def rig_of(
    notes: SourceInstallation, server: ApiServer, world: GitHubWorld, **more: object
) -> tuple[Rig, SourceInfo]:
    names = [one.name for one in world.repositories.values()]
    given = {"repositories": names, "api": server.url, **more}
    await notes.connect("github", "it", domains=["example.com"], **given)
    rig = Rig(notes, dict.fromkeys(PEOPLE, notes.owner), world.titles, world.can_read)
    await rig.refresh()
    return rig, await notes.source("it")


def garden(world: GitHubWorld) -> GitHubRepository:
    return world.repositories[1000]


async def seen(rig: Rig) -> set[str]:
    await rig.refresh()
    return await rig.readable("ada")


async def said(rig: Rig, words: str) -> list[str]:
    found = await rig.notes.engine.search.find(rig.people["ada"], words, mode="keyword")
    return [hit.title for hit in found.hits]


async def test_all_that_was_said_is_found_by_those_who_may_read_it(notes, server, world):
    world.page = 2
    pull = garden(world).issues[2]
    pull.reviews.append(world.comment(pull, "Approved with hesitation."))
    pull.remarks.append(world.comment(pull, "This branch is rotten."))
    talk = garden(world).discussions[3]
    for number in range(5):
        world.comment(talk, f"Answer {number}.").replies.append(
            world.comment(talk, f"Reply {number} about mirabelles.")
        )
    rig, info = await rig_of(notes, server, world)
    assert info.last_run.state == "ok", info
    await agrees(rig)
    assert await seen(rig) == {"Apples are late", "Prune the pears", "Which plums"}
    for words, title in (
        ("ripen in October", "Apples are late"),
        ("short shears", "Prune the pears"),
        ("hesitation", "Prune the pears"),
        ("rotten", "Prune the pears"),
        ("mirabelles", "Which plums"),
    ):
        assert await said(rig, words) == [title], words


async def test_changes_are_few_requests_and_deletions_are_found(notes, server, world):
    rig, _ = await rig_of(notes, server, world)
    server.asked.clear()
    await rig.sync()
    assert len([one for one in server.asked if "/issues/" in one]) == 0
    assert len(server.asked) <= 8
    world.edit(garden(world).issues[1], "Said here: the apples froze.")
    world.comment(garden(world).discussions[3], "Or the golden ones.")
    world.post(garden(world), "Figs", "Said here: figs.")
    await rig.sync()
    assert await said(rig, "froze") == ["Apples are late"]
    assert await said(rig, "golden") == ["Which plums"]
    assert "Figs" in await seen(rig)
    del garden(world).issues[1]
    del garden(world).discussions[3]
    await notes.sync("it", whole=True)
    assert await seen(rig) == {"Prune the pears", "Figs"}


async def test_a_comment_that_was_deleted_is_no_longer_found(notes, server, world):
    rig, _ = await rig_of(notes, server, world)
    garden(world).issues[2].comments.clear()  # which does not count as a change there
    garden(world).discussions[3].comments.clear()
    await notes.sync("it", whole=True)
    assert await said(rig, "shears") == []
    assert await said(rig, "blue") == []


async def test_what_changes_while_it_is_listed_is_not_lost(notes, server, world, monkeypatch):
    monkeypatch.setattr(github, "PAGE", 3)
    world.page = 3
    for number in range(10):
        world.post(garden(world), f"Note {number}", f"Said here: note {number}.")
    calls = 0

    def meddle(asked: Asked) -> None:
        nonlocal calls
        if asked.path.endswith("/issues") and asked.query.get("direction") == "asc":
            calls += 1
            if calls == 2:
                del garden(world).issues[1]  # on a page that was read
            if calls == 3:
                world.edit(garden(world).issues[4], "Said here: rewritten meanwhile.")

    server.before = meddle
    rig, info = await rig_of(notes, server, world)
    assert info.last_run.state == "ok"
    assert await seen(rig) >= {f"Note {number}" for number in range(10)}
    assert await said(rig, "rewritten") == ["Note 0"]


async def test_many_that_changed_in_one_second_are_all_read(notes, server, world, monkeypatch):
    monkeypatch.setattr(github, "PAGE", 3)
    world.page = 3
    for number in range(10):
        world.post(garden(world), f"Note {number}", f"Said here: note {number}.")
    for one in garden(world).issues.values():
        one.updated = world.clock
    rig, info = await rig_of(notes, server, world)
    assert info.last_run.state == "ok"
    assert len(await seen(rig)) == 13


async def test_permissions_hold_through_random_changes(notes, server, world):
    chance = random.Random(5)
    orchard = world.repository("team/orchard", collaborators={"cyd"})
    world.post(orchard, "Grafting", "Said here: grafting.")
    world.post(orchard, "Wasps", "Said here: wasps.", kind="discussion")
    rig, _ = await rig_of(notes, server, world)
    await agrees(rig, "at first")
    for _ in range(8):
        one = chance.choice(list(world.repositories.values()))
        match chance.randrange(4):
            case 0:
                one.collaborators = {name for name in PEOPLE if chance.random() < 0.5}
            case 1:
                one.private = not one.private
            case 2:
                one.knows_people = not one.knows_people
            case _:
                issue = chance.choice(list(one.issues.values()))
                world.edit(issue, f"Said here: {chance.random()}.")
        await rig.sync()
        await agrees(rig, f"{one}")


@pytest.mark.parametrize("fault", ["429", "429 by date", "limit", "500", "cut"])
async def test_a_storm_of_faults_loses_nothing(notes, server, world, fault):
    names = [one.name for one in world.repositories.values()]
    settings = {"repositories": names, "api": server.url}
    new = NewSource("github", "it", "notes", settings, every_s=0, domains=["example.com"])
    await notes.engine.sources.add(notes.owner, new)
    server.before = lambda _: server.faults.append(fault) if len(server.asked) % 7 == 5 else None
    info = await settled(notes, "it")
    assert info.last_run.state == "ok", info
    rig = Rig(notes, dict.fromkeys(PEOPLE, notes.owner), world.titles, world.can_read)
    await rig.refresh()
    await agrees(rig, fault)


@pytest.mark.parametrize("fault", ["login", "403"])
async def test_an_answer_that_is_no_list_removes_nothing(notes, server, world, fault):
    rig, _ = await rig_of(notes, server, world)
    server.before = lambda asked: server.faults.append(
        fault if asked.path.endswith("/issues") else ""
    )
    info = await notes.sync("it", whole=True)
    assert info.last_run.state in {"partial", "failed"}
    server.before = None
    assert await seen(rig) == {"Apples are late", "Prune the pears", "Which plums"}
    garden(world).has_issues = False
    info = await notes.sync("it", whole=True)
    assert any("turned off" in scope.error for scope in info.scopes)
    assert len(await seen(rig)) == 3


async def test_an_issue_that_was_transferred_is_not_taken_from_where_it_went(notes, server, world):
    rig, _ = await rig_of(notes, server, world)
    other = world.repository("secret/cellar")
    moved = garden(world).issues[2]
    answer = world.answer

    def redirected(asked: Asked):
        if asked.path == "/repos/team/garden/issues/2":
            shown = answer(asked).data
            shown["repository_url"] = f"https://api.github.com/repos/{other.name}"
            return type(answer(asked))(shown)
        return answer(asked)

    server.answer = redirected
    world.edit(moved, "Said here: it is in the cellar now.")
    await rig.sync()
    assert await said(rig, "cellar") == []
    assert "Prune the pears" not in await seen(rig)


async def test_a_source_whose_readers_can_not_be_read_is_not_connected(notes, server, world):
    garden(world).knows_people = False
    with pytest.raises(InvalidInput, match="Who may read team/garden"):
        await rig_of(notes, server, world)
    with pytest.raises(InvalidInput, match="team/nothing"):
        await notes.connect("github", repositories=["team/nothing"], api=server.url)
    with pytest.raises(InvalidInput, match="owner/name"):
        await notes.connect("github", repositories=["https://evil.example/"], api=server.url)


async def test_an_app_signs_in_with_its_key_and_gets_a_token_for_an_hour(notes, server, world):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    world.app_key = (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    world.token = "nobody has it"
    secret = {"app_id": "12", "installation_id": "34", "private_key": pem}
    await notes.engine.credentials.add(
        notes.owner, kind="github", name="app", method="app", secret=secret
    )
    settings = {"repositories": ["team/garden"], "api": server.url}
    new = NewSource("github", "it", "notes", settings, every_s=0, credential="app")
    await notes.engine.sources.add(notes.owner, new)
    await notes.drain()
    info = await notes.source("it")
    assert (info.last_run.state, world.given) == ("ok", 1)
    world.token = "revoked"  # a token that ends early is replaced within the sync
    info = await notes.sync("it")
    assert (info.last_run.state, world.given) == ("ok", 2)
    world.app_key = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    world.token = "revoked again"
    info = await notes.sync("it")
    assert (info.state, "credential" in info.error) == ("needs_login", True)
