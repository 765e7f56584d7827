"""What loads, what does not, and that every fault is told at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigurationError, FlowError
from engine.flow.component import Component
from engine.flow.dsl import parse_flow, render_flow
from engine.flow.registry import Registry
from tests.fakes.flow_components import COMPONENTS, Note, flow

REGISTRY = Registry(COMPONENTS)


def faults(dsl: Any) -> list[str]:
    with pytest.raises(FlowError) as caught:
        parse_flow(dsl, REGISTRY)
    return caught.value.faults


def test_text_and_dict_give_the_same_graph_and_the_text_is_kept_as_it_was() -> None:
    dsl = flow("w > u", w="Write", u=("Upper", {"suffix": "!"}))
    text = json.dumps(dsl, indent=7) + "\n "

    graph = parse_flow(text, REGISTRY)

    assert graph == parse_flow(dsl, REGISTRY)
    assert graph.text == text
    assert graph.order == ("w", "u")
    assert parse_flow(render_flow(graph), REGISTRY) == graph
    assert json.loads(render_flow(graph)) == dsl


def test_param_and_edges_may_be_left_out() -> None:
    assert parse_flow('{"components": [{"id": "a", "type": "Note"}]}', REGISTRY).order == ("a",)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"components": [\n  {"id": }]}', "not JSON: Expecting value at line 2, column 10"),
        ("[]", 'a flow is an object {"components": [...], "edges": [...]}'),
        ("{}", "the flow has no components"),
        (
            '{"components": [], "components": []}',
            "not JSON that can be read: key 'components' occurs twice in an object",
        ),
        ('{"components": NaN}', "not JSON that can be read: NaN is not JSON"),
        ("[" * 100_000, "not JSON that can be read: nested too deeply"),
        ('{"components": {}}', "`components` must be a list, not {}"),
        ('{"components": [3]}', "components[0] must be an object, not 3"),
        (
            '{"x": 1}',
            "the flow: unknown key 'x' (allowed: schema, name, description, inputs, components, edges, ui)",
        ),
        (" " * 1_000_001, "the flow is 1,000,001 characters long, at most 1,000,000 go"),
    ],
)
def test_what_is_no_flow_is_refused_with_the_place(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_a_dict_that_is_not_json_is_refused() -> None:
    assert "can't be written as JSON" in faults({"components": [{"id": object()}]})[0]


def test_all_faults_of_a_flow_are_told_at_once() -> None:
    dsl = {
        "components": [
            {"id": "a", "type": "Note", "colour": 1},
            {"id": "a", "type": "Note"},
            {"id": "b", "type": "Uper"},
            {"id": "c", "type": "Upper", "param": {"suffix": "long", "size": 3}},
            {"id": "d", "type": 3},
            {"id": "e", "type": "Note", "param": []},
            {"id": "no spaces", "type": "Note"},
            {"id": "f", "type": "Note", "param": {"timeout_s": 0}},
        ],
        "edges": [
            {"source": "a", "target": "nowhere"},
            {"source": "a", "target": "a"},
            {"source": "a", "target": "b"},
            {"source": "a", "target": "b"},
            {"source": "b", "target": "c"},
            {"source": "c", "target": "d"},
            {"source": "d", "target": "b"},
            {"source": 1, "target": "b"},
        ],
    }

    known = ", ".join(sorted(c.type for c in COMPONENTS))
    assert faults(dsl) == [
        "components[0]: unknown key 'colour' (allowed: id, type, param, retry, on_error, label, note)",
        'components[6]: `id` must be 1 to 100 letters, digits, _ . : or -, not "no spaces"',
        "component 'a': the id is used 2 times",
        f"component 'b': unknown type 'Uper', did you mean 'Upper'? (known: {known})",
        "component 'c': param `suffix`: String should have at most 3 characters",
        "component 'c': param `size` is not known (Upper takes: timeout_s, suffix, token)",
        "component 'd': `type` must be a text, not 3",
        "component 'e': `param` must be an object, not []",
        "component 'f': param `timeout_s`: Input should be greater than 0",
        "edge a → nowhere: there is no component 'nowhere'",
        "edge a → a: a component can't follow itself",
        "edges[7]: `source` and `target` must be ids of components",
        "edge a → b: given 2 times",
        "cycle: b → c → d → b",
    ]


def test_every_separate_cycle_is_named_in_order() -> None:
    dsl = flow(
        "start > c > b > a > c", "x > y > x", start="Note", a="Note", b="Note", c="Note",
        x="Note", y="Note", z="Note",
    )  # fmt: skip

    assert faults(dsl) == ["cycle: a → c → b → a", "cycle: x → y → x"]


def test_a_refused_parameter_is_not_repeated_in_the_message() -> None:
    dsl = flow("w > u", w="Write", u=("Upper", {"token": ["hunter2"], "suffix": "hunter2"}))

    assert "hunter2" not in str(faults(dsl))


def test_a_key_written_on_two_branches_is_ambiguous_for_who_reads_it() -> None:
    nodes: dict[str, Any] = {"a": "Write", "b": "Write", "u": "Upper"}

    assert faults(flow("a > u", "b > u", **nodes)) == [
        "component 'u': its input `text` is ambiguous, 'a' and 'b' both write it"
    ]


def test_a_later_writer_hides_an_earlier_one() -> None:
    assert parse_flow(flow("a > b > u", a="Write", b="Write", u="Upper"), REGISTRY)


def test_who_reads_by_id_may_meet_the_same_key_twice() -> None:
    assert parse_flow(flow("a > m", "b > m", a="Write", b="Write", m="ById"), REGISTRY)


def test_an_optional_key_may_be_ambiguous_no_more_than_a_needed_one() -> None:
    title = ("Write", {"key": "title"})
    dsl = flow("w > u", "a > u", "b > u", w="Write", a=title, b=title, u="Upper")

    assert faults(dsl) == [
        "component 'u': its input `title` is ambiguous, 'a' and 'b' both write it"
    ]


def test_a_key_that_nobody_writes_is_a_fault_unless_the_run_brings_it() -> None:
    dsl = flow(u="Upper")

    assert faults(dsl) == ["component 'u': it reads `text`, which nothing before it writes"]
    assert parse_flow(dsl, REGISTRY, inputs=["text"])


def test_faults_of_a_flow_inside_a_component_name_their_owner() -> None:
    body = flow("a > b > a", a="Note", b="Nothing")
    dsl = flow("w > l", w=("Write", {"key": "items"}), l=("Loop", {"body": body}))

    known = ", ".join(sorted(c.type for c in COMPONENTS))
    assert faults(dsl) == [
        f"component 'l': inside it, component 'b': unknown type 'Nothing' (known: {known})",
        "component 'l': inside it, cycle: a → b → a",
    ]


def test_flows_inside_flows_end_somewhere() -> None:
    body = flow(n="Note")
    for _ in range(12):
        body = flow(l=("Loop", {"body": body}))

    assert "at most 8 deep" in str(faults(body))


def test_two_components_of_one_type_are_refused() -> None:
    class Other(Component[None]):
        type = "Note"

    with pytest.raises(ConfigurationError, match="two components are of type 'Note'"):
        Registry([Note, Other])
    with pytest.raises(ConfigurationError, match="two components are of type 'Note'"):
        REGISTRY.extended([Other])


def test_a_class_that_is_no_component_is_refused() -> None:
    class Nameless(Component[None]):
        pass

    for bad, reason in [(Nameless, "needs a `type`"), (dict, "not a subclass of `Component`")]:
        with pytest.raises(ConfigurationError, match=reason):
            Registry([bad])  # type: ignore[list-item]


def test_the_registry_describes_each_type_for_people_and_forms() -> None:
    upper = next(d for d in REGISTRY.describe() if d["type"] == "Upper")

    assert upper["description"] == "Reads a text and writes it in capitals, in place."
    assert (upper["reads"], upper["optional"], upper["writes"]) == (["text"], ["title"], ["text"])
    assert upper["param"]["properties"]["suffix"]["maxLength"] == 3


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
near_flows = st.fixed_dictionaries(
    {},
    optional={
        "components": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "id": st.sampled_from(["a", "b", ""]) | json_values,
                    "type": st.sampled_from(["Note", "Loop", "Upper"]) | json_values,
                    "param": json_values,
                },
            )
            | json_values,
            max_size=4,
        )
        | json_values,
        "edges": st.lists(
            st.fixed_dictionaries(
                {"source": st.sampled_from("ab"), "target": st.sampled_from("ab")}
            )
            | json_values,
            max_size=4,
        )
        | json_values,
    },
)


@given(near_flows | json_values | st.text())
def test_anything_at_all_either_loads_or_is_a_flow_error(dsl: Any) -> None:
    text = dsl if isinstance(dsl, str) else json.dumps(dsl)
    told: list[str] | None = None
    try:
        graph = parse_flow(text, REGISTRY)
        assert parse_flow(render_flow(graph), REGISTRY) == graph
    except FlowError as error:
        told = error.faults
    assert told is None or (told and all(told))
