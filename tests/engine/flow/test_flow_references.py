"""References between components: what loads, what they come to, and how branches merge."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import FlowError, InvalidInput
from engine.flow.dsl import parse_flow, render_flow
from engine.flow.references import ABSENT, find_references, resolve, walk
from engine.flow.registry import Registry
from engine.flow.store import RunState
from tests.engine.flow.conftest import Run
from tests.fakes.flow_components import Desk, flow

VALUES = {"a": {"text": "hello", "list": [1, {"b": None}], "braces": "{{a.text}}"}}


def look_up(path: Any) -> Any:
    return walk(VALUES.get(path.root, ABSENT), path.steps)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("{{a.text}}", "hello"),
        ("{{ a.list }}", [1, {"b": None}]),
        ("{{a.list.0}}", 1),
        ("{{a.list.1.b}}", None),
        ("{{a.list.7}}", None),
        ("{{a.none|a.text}}", "hello"),
        ("{{b.text|a.text}}", "hello"),
        ("say {{a.text}}: {{a.list}}!", 'say hello: [1,{"b":null}]!'),
        ("[{{a.none}}]", "[]"),
        ({"deep": ["{{a.text}}"]}, {"deep": ["hello"]}),
        (7, 7),
    ],
)
def test_a_reference_alone_keeps_its_type_and_inside_a_text_is_written_out(written, value) -> None:
    assert resolve(written, look_up) == value


def test_a_value_with_braces_is_never_read_again() -> None:
    assert resolve("<{{a.braces}}>", look_up) == "<{{a.text}}>"


@given(st.recursive(st.text() | st.integers(), st.lists, max_leaves=5))
def test_any_value_resolves_and_any_text_is_scanned(value) -> None:
    list(find_references(value))
    resolve(value, look_up)


def faults(registry: Registry, dsl: Any, **options: Any) -> list[str]:
    with pytest.raises(FlowError) as refused:
        parse_flow(dsl, registry, **options)
    return refused.value.faults


def test_every_wrong_reference_is_told_with_the_component_and_the_parameter(
    registry: Registry,
) -> None:
    dsl = flow(
        "a > b > c",
        a=("Say", {"text": "{{b.text}}", "auth": "{{secret.key}}"}),
        b=("Say", {"text": "{{a.txt}} {{sya.query}} {{nobody.text}} {{a.text | }} {{a}}"}),
        c=("Say", {"text": ["{{secret.key}}", "{{sys.query}}", "{{sys.nothing}}", "{{item}}"]}),
    )

    assert faults(registry, dsl, roots={"sys": frozenset({"query"})}) == [
        (
            "component 'a': param `text`: 'b' does not come before it, so what it writes is not there "
            "yet"
        ),
        (
            "component 'b': param `text`: `a.txt`: 'a' does not write 'txt', did you mean 'text'?: it "
            "writes number, text"
        ),
        "component 'b': param `text`: there is no component 'sya' to refer to",
        "component 'b': param `text`: there is no component 'nobody' to refer to",
        (
            "component 'b': param `text`: `{{a.text |}}` is no reference: write {{component.key}}, or "
            "{{a.key|b.key}} for the first that ran"
        ),
        "component 'b': param `text`: `a`: 'a' is not enough: it writes number, text",
        "component 'c': param `text.0`: a secret can't be used here (where it can in Say: auth)",
        "component 'c': param `text.2`: `sys` has no 'nothing': there are query",
        "component 'c': param `text.3`: `item` is not known here (known: sys)",
    ]


def test_literal_parameters_may_hold_braces(registry: Registry) -> None:
    parse_flow(flow(a=("Say", {"source": "{{ not mine }}"})), registry)


def test_going_where_no_edge_leads_is_a_fault(registry: Registry) -> None:
    dsl = flow("a > b", a=("Choose", {"to": "b", "others": ["c"]}), b="Note", c="Note")

    assert faults(registry, dsl) == ["component 'a': it goes to 'c', but no edge leads there"]


def test_two_at_once_may_not_set_one_variable_but_may_both_add_to_it(registry: Registry) -> None:
    def both(**param: Any) -> dict[str, Any]:
        keep = ("Keep", {"name": "n", **param})
        return flow("s > a > e", "s > b > e", s="Note", a=keep, b=keep, e="Note")

    assert faults(registry, both()) == [
        (
            "component 'a': it and 'b' may run at the same time and both set `var.n`; put one after "
            "the other, or append or increment"
        )
    ]
    parse_flow(both(add=True), registry)


async def test_exclusive_branches_merge_into_one_component(run: Run, desk: Desk) -> None:
    for way, said in (("yes", "it is yes"), ("no", "it is no")):
        dsl = flow(
            "choose > yes > end",
            "choose > no > end",
            choose=("Choose", {"to": way, "others": ["yes", "no"]}),
            yes=("Say", {"text": "yes"}),
            no=("Say", {"text": "no"}),
            end=("Say", {"text": "it is {{yes.text|no.text}}", "number": "{{yes.number}}"}),
        )
        if way == "no":
            dsl["components"][-1]["param"].pop("number")
        assert (await run(dsl)).output["text"] == said


async def test_a_value_of_the_wrong_kind_names_the_parameter(run: Run) -> None:
    dsl = flow("a > b", a=("Say", {"text": [1]}), b=("Say", {"number": "{{a.text}}"}))

    result = await run(dsl)

    assert isinstance(result.error, InvalidInput)
    assert "param `number" in result.message


async def test_variables_of_a_run_survive_its_resumption(run: Run, desk: Desk) -> None:
    from tests.fakes.run_store import MemoryRunStore

    store = MemoryRunStore()
    dsl = flow(
        "set > add > f > say",
        set=("Keep", {"name": "n", "value": 2}),
        add=("Keep", {"name": "n", "add": True, "value": 3}),
        f="Fragile",
        say=("Say", {"text": "{{var.n}}"}),
    )
    desk.broken.add("f")
    assert (await run(dsl, store=store)).state is RunState.FAILED
    desk.broken.clear()

    assert (await run(dsl, store=store)).output["text"] == 5


def test_editor_data_is_kept_and_changes_nothing(registry: Registry) -> None:
    plain = flow(a="Note")
    drawn = {
        "schema": 1,
        "name": "drawn",
        "inputs": {"type": "object"},
        **plain,
        "ui": {"a": {"x": 1}, "zoom": 2},
    }
    drawn["components"] = [{**plain["components"][0], "label": "A note", "note": "for later"}]

    graph = parse_flow(drawn, registry)

    assert graph.name == "drawn"
    assert graph.nodes == parse_flow(plain, registry).nodes
    assert parse_flow(render_flow(graph), registry) == graph
    assert faults(registry, {**drawn, "schema": 2, "ui": []}) == [
        "`schema` is 2; this version reads 1",
        "`ui` must be an object, not []",
    ]
