"""A channel that others than its workspace can see is answered from what they may read too."""

from __future__ import annotations

import pytest

from engine.chats.slack_messages import is_external, shared_with, to_person
from tests.fakes.slack import Fault
from tests.fakes.slack_rooms import said

SICK = "How many hours of advanced sick leave can I request?"
TEAM = "C2"  # public, with full members only


async def asked(room, channel: str = TEAM, user: str = "UBOB") -> str:
    """All that the bot says in a channel to a question about what the workspace may read."""
    return said(await room.say(user, f"{room.mention} {SICK}", channel=channel))


async def heard_of(room, event: dict) -> None:
    """Slack tells of something, and the bot does all that follows."""
    await room.event(event)
    await room.drain()


@pytest.mark.parametrize("how", ["external", "invited", "organisation"])
@pytest.mark.parametrize("channel", [TEAM, "P1"])
async def test_a_shared_channel_is_told_nothing_of_its_workspace(place, how, channel):
    place.slack.share(place.team, channel, "T9", how=how)
    assert "240 hours" not in await asked(place, channel)


async def test_a_channel_without_outsiders_is_told_what_its_workspace_may_read(place):
    assert "240 hours" in await asked(place)


async def test_an_admin_opens_a_shared_channel_by_granting_it(place):
    place.slack.share(place.team, TEAM, "T9")
    assert "240 hours" not in await asked(place)
    await place.command("UADA", "grant notes #team", channel=TEAM)
    assert "240 hours" in await asked(place)


async def test_a_channel_counts_its_outsiders_from_the_moment_it_is_shared(place):
    assert "240 hours" in await asked(place)
    event = place.slack.share(place.team, TEAM, "T9")
    place.slack.faults["conversations.info"] = [Fault("internal_error")] * 5
    await heard_of(place, event)
    assert "240 hours" not in await asked(place)
    place.slack.faults["conversations.info"] = []
    assert "240 hours" not in await asked(place)
    await heard_of(place, place.slack.unshare(place.team, TEAM))
    assert "240 hours" in await asked(place)


async def test_each_event_tells_of_a_share_that_was_missed(place):
    assert "240 hours" in await asked(place)
    place.slack.share(place.team, TEAM, "T9")  # no event of it arrives
    assert "240 hours" not in await asked(place)


async def test_an_author_from_another_organisation_is_enough(place):
    assert "240 hours" in await asked(place)
    place.slack.add_user(place.team, "UEVE", team_id="T9", is_stranger=True)
    await heard_of(place, place.slack.write(place.team, TEAM, "UEVE", "hello"))
    assert "240 hours" not in await asked(place)


async def test_a_stranger_reads_nothing_but_what_their_channel_is_given(place):
    place.slack.add_user(place.team, "UEVE", team_id="T9", is_stranger=True)
    place.team.channels["C1"]["members"].append("UEVE")
    place.slack.share(place.team, "C1", "T9")
    assert "240 hours" in await asked(place, "C1", "UEVE")  # #help is granted notes
    await place.command("UADA", "revoke notes #help")
    assert "240 hours" not in await asked(place, "C1", "UEVE")
    place.slack.add_channel(place.team, "DUEVE", "", "UEVE")
    assert "240 hours" not in said(await place.say("UEVE", SICK, channel="DUEVE"))


async def test_a_member_that_slack_does_not_show_is_an_outsider(place):
    place.team.channels[TEAM]["members"].append("UHIDDEN")
    assert "240 hours" not in await asked(place)
    channel = await place.notes.engine.chats.senders.find_channel(
        (await place.notes.engine.chats.senders.admin(place.notes.owner, "Acme")).sender, TEAM
    )
    assert channel.members_synced_at is not None


async def test_a_channel_that_gets_another_id_keeps_its_settings_and_is_asked_about(place):
    assert "240 hours" in await asked(place)
    await place.command("UADA", "mode off", channel=TEAM)
    place.slack.share(place.team, TEAM, "T9")
    await heard_of(place, place.slack.renumber(place.team, TEAM, "C22"))
    private = len(place.slack.ephemerals)
    assert "240 hours" not in await asked(place, "C22")
    assert "turned off" in said(place.slack.ephemerals[private:])
    await place.command("UADA", "mode mention", channel="C22")
    assert "240 hours" not in await asked(place, "C22")


@pytest.mark.parametrize(
    ("raw", "kinds"),
    [
        ({}, []),
        ({"is_shared": False, "connected_team_ids": [], "shared_team_ids": ["T1"]}, []),
        ({"is_ext_shared": True}, ["external"]),
        ({"connected_team_ids": ["T9"]}, ["external"]),
        ({"is_pending_ext_shared": True}, ["invited"]),
        ({"pending_shared": ["T9"]}, ["invited"]),
        ({"pending_connected_team_ids": ["T9"]}, ["invited"]),
        ({"is_org_shared": True}, ["organisation"]),
        ({"shared_team_ids": ["T1", "T2"]}, ["organisation"]),
        ({"is_global_shared": True}, ["organisation"]),
        ({"is_shared": True}, ["external"]),
        ({"is_ext_shared": True, "is_pending_ext_shared": True}, ["external", "invited"]),
        ({"connected_team_ids": None, "shared_team_ids": "T9"}, []),
    ],
)
def test_what_slack_says_of_a_channel_tells_whom_it_is_open_to(raw, kinds):
    assert shared_with(raw, "T1") == kinds


@pytest.mark.parametrize(
    ("raw", "external", "full"),
    [
        ({"team_id": "T1"}, False, True),
        ({"team_id": "T9"}, True, False),
        ({"team_id": "T1", "is_stranger": True}, True, False),
        ({"team_id": "T1", "is_restricted": True}, False, False),
        ({"team_id": "T1", "is_ultra_restricted": True}, False, False),
        ({"team_id": "T1", "deleted": True}, False, False),
        ({"team_id": "E1", "enterprise_user": {"teams": ["T1", "T2"]}}, False, True),
        ({"team_id": "E1", "enterprise_user": {"teams": ["T2"]}}, True, False),
        ({"team_id": "T2", "enterprise_user": {"teams": []}}, True, False),
    ],
)
def test_an_account_of_elsewhere_is_no_full_member(raw, external, full):
    assert is_external(raw, "T1") is external
    person = to_person({"id": "U1", **raw}, "T1")
    assert (person.is_external, person.is_full_member) == (external, full)
