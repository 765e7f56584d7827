"""Drafts and versions: nothing is overwritten, and what was published stays."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.domain import Principal, Role
from engine.errors import Conflict, Forbidden, InvalidInput, NotFound, StaleDraft
from tests.engine.workflows.conftest import Desk, member_of
from tests.fakes.flow_components import flow


def dsl(said: str = "hello", **more: Any) -> str:
    return json.dumps(flow(say=("Message", {"text": said})) | more)


async def test_a_draft_is_kept_byte_for_byte_and_never_run_before_it_is_published(
    desk: Desk,
) -> None:
    workflows = desk.engine.workflows
    written = dsl().replace(":", "  :\t")

    created = await workflows.create(desk.owner, "greet", written, description="Says hello.")

    assert (created.state, created.rev, created.dsl) == ("created", 1, written)
    with pytest.raises(NotFound, match="never published"):
        await workflows.start(desk.owner, "greet", {})
    assert (await workflows.publish(desk.owner, "greet")).number == 1
    assert (await workflows.get(desk.owner, "greet")).state == "published"
    assert (await desk.run("greet")).text == "hello"


async def test_the_second_of_two_tabs_is_told_and_overwrites_nothing(desk: Desk) -> None:
    workflows = desk.engine.workflows
    await workflows.create(desk.owner, "greet", dsl())
    await workflows.save(desk.owner, "greet", dsl("first tab"), rev=1)

    with pytest.raises(StaleDraft) as refused:
        await workflows.save(desk.owner, "greet", dsl("second tab"), rev=1)

    assert (refused.value.rev, refused.value.by) == (2, desk.owner.name)
    assert json.loads(refused.value.theirs) == json.loads(dsl("first tab"))
    assert "first tab" in (await workflows.get(desk.owner, "greet")).dsl


async def test_moving_boxes_makes_no_new_version(desk: Desk) -> None:
    workflows = desk.engine.workflows
    await workflows.create(desk.owner, "greet", dsl())
    first = await workflows.publish(desk.owner, "greet")
    await workflows.save(desk.owner, "greet", dsl(ui={"say": {"x": 9}}), rev=1)

    assert (await workflows.publish(desk.owner, "greet")).id == first.id
    await workflows.save(desk.owner, "greet", dsl("bye"), rev=2)
    assert (await workflows.publish(desk.owner, "greet", note="politer")).number == 2
    versions = await workflows.versions(desk.owner, "greet")
    assert [(v.number, v.note, v.is_current) for v in versions] == [
        (2, "politer", True),
        (1, "", False),
    ]


async def test_members_run_what_is_published_and_change_nothing(
    desk: Desk, member: Principal
) -> None:
    workflows = desk.engine.workflows
    await workflows.create(desk.owner, "draft", dsl())
    await desk.publish("greet", dsl())

    names = {info.name for info in await workflows.list_all(member)}
    assert {"greet", "cited-answer"} <= names
    assert "draft" not in names
    assert (await desk.run("greet", who=member)).text == "hello"
    for try_it in (
        workflows.create(member, "mine", dsl()),
        workflows.save(member, "greet", dsl(), rev=1),
        workflows.publish(member, "greet"),
        workflows.delete(member, "greet"),
        workflows.versions(member, "greet"),
        workflows.start(member, "greet", {}, version="draft"),
    ):
        with pytest.raises(Forbidden):
            await try_it


async def test_curators_edit(desk: Desk) -> None:
    curator = await member_of(desk.engine, desk.owner, "c@example.com", Role.CURATOR)

    await desk.engine.workflows.create(curator, "greet", dsl())
    await desk.engine.workflows.publish(curator, "greet")


async def test_names_are_unique_and_templates_are_nobodys(desk: Desk) -> None:
    workflows = desk.engine.workflows
    await workflows.create(desk.owner, "greet", dsl())

    with pytest.raises(Conflict):
        await workflows.create(desk.owner, "greet", dsl())
    with pytest.raises(InvalidInput):
        await workflows.create(desk.owner, "Not A Name", dsl())
    with pytest.raises(Conflict, match="template"):
        await workflows.save(desk.owner, "cited-answer", dsl(), rev=0)


async def test_a_workflow_with_open_runs_is_not_deleted_and_past_runs_stay(desk: Desk) -> None:
    workflows = desk.engine.workflows
    await desk.publish("greet", dsl())
    run_id = await workflows.start(desk.owner, "greet", {})

    with pytest.raises(Conflict, match="1 open run"):
        await workflows.delete(desk.owner, "greet")
    await desk.work()
    await workflows.delete(desk.owner, "greet")

    assert (await workflows.get_run(desk.owner, run_id)).text == "hello"
    with pytest.raises(NotFound):
        await workflows.get(desk.owner, "greet")
