from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.commands import runner
from engine.commands.arguments import quoted
from engine.commands.table import (
    COMMANDS,
    Effect,
    Permission,
    UnknownCommand,
    parse,
    parse_values,
)
from engine.errors import InvalidInput


@pytest.mark.parametrize(
    ("line", "name", "values"),
    [
        ("", "help", {}),
        ("  ask how are you?  ", "ask", {"question": "how are you?"}),
        ("ask it's a \"test", "ask", {"question": 'it\'s a "test'}),
        ('bind <#C12|gen eral> "my kb"', "bind", {"channel": "C12", "kb": "my kb"}),
        ("bind #help handbook", "bind", {"channel": "#help", "kb": "handbook"}),
        ("MODE Auto", "mode", {"mode": "auto", "place": ""}),
        ("mode off workspace", "mode", {"mode": "off", "place": "workspace"}),
        ("create “hand book” all of it", "create", {"name": "hand book", "description": "all of it"}),
        ("respond-to <@U1|ada>, <@U2>", "respond-to", {"people": ("U1", "U2")}),
        ("respond-to everyone", "respond-to", {"people": ()}),
        ("limits", "limits", {}),
        ("limits set user 4", "limits set", {"limit": "user", "number": 4}),
        ("usage", "usage", {"days": 7}),
        ("usage 3", "usage", {"days": 3}),
        ("usage searches", "usage searches", {"days": 7}),
        ("usage searches 30", "usage searches", {"days": 30}),
        ("usage storage", "usage storage", {}),
        ("source add <https://a.example/b|a.example>", "source add", {"url": "https://a.example/b", "kb": ""}),
        ("roles give <@U1> curator", "roles give", {"person": "U1", "role": "curator"}),
        ("escalate-to <!subteam^S1|@g>", "escalate-to", {"group": "<!subteam^S1|@g>", "place": ""}),
    ],
)  # fmt: skip
def test_a_line_parses_into_a_command_with_typed_values(line, name, values):
    parsed = parse(line)
    assert (parsed.command.name, dict(parsed.values)) == (name, values)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bind #x", "“kb” is missing: a knowledge base, by name. It goes: `bind <#channel> <kb>`."),
        (
            "threshold 101",
            "“percent” is a whole number from 0 to 100, not “101”. It goes: `threshold <percent> [place]`.",
        ),
        (
            "mode loud",
            "“mode” can't be “loud” (mention, auto, off). It goes: `mode <mention|auto|off> [place]`.",
        ),
        ("show a b", "“b” is one word too many. It goes: `show [#channel]`."),
        (
            "source add ftp://x",
            "“url” begins with https:// or http://. It goes: `source add <url> [kb]`.",
        ),
    ],
)
def test_a_mistake_is_named_with_the_usage(line, said):
    with pytest.raises(InvalidInput) as error:
        parse(line)
    assert str(error.value) == said


@given(st.text(max_size=200))
def test_any_line_is_a_command_or_a_clear_refusal(line):
    try:
        assert parse(line).command in COMMANDS
    except InvalidInput as refused:
        message = str(refused)
    else:
        return
    assert message.endswith((".", "?"))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_runs_and_parses_from_its_example(command):
    if command.name != "ask":
        assert command.name in runner.RUNS
    if command.example:
        assert parse(command.example).command is command
    if command.effect is Effect.DESTROYS:
        assert command.permission is Permission.ADMIN


def test_the_table_runs_nothing_it_does_not_name():
    assert set(runner.RUNS) == {c.name for c in COMMANDS} - {"ask"}


def test_an_unknown_command_knows_its_neighbour():
    with pytest.raises(UnknownCommand) as error:
        parse("searc x")
    assert len(error.value.nearest) == 3
    assert error.value.nearest[0].name == "search"


@pytest.mark.parametrize(
    "name", ['a "b" c', "back\\slash", "two words", "plain", "it's", 'say "', "“x”"]
)
def test_a_quoted_name_is_read_as_it_was(name):
    said = name.replace("“", '"').replace("”", '"')
    assert parse(f"create {quoted(said)}").values["name"] == said


@pytest.mark.parametrize("open_", ['"', "“", "„", "«", "「"])
def test_a_quotation_mark_that_is_not_closed_is_said_so(open_):
    with pytest.raises(InvalidInput, match="is not closed"):
        parse(f"bind #help {open_}my base")


@pytest.mark.parametrize(
    ("name", "given", "line"),
    [
        ("mode", {"mode": "auto", "place": "#help"}, "mode auto #help"),
        ("limits set", {"limit": "user", "number": 4}, "limits set user 4"),
        ("respond-to", {"people": ["<@U1|ada>", "<@U2>"]}, "respond-to <@U1|ada> <@U2>"),
        ("retention", {"age": "1y"}, "retention 1y"),
        ("create", {"name": "hand book", "description": "all"}, 'create "hand book" all'),
    ],
)
def test_parameters_by_name_mean_what_the_line_means(name, given, line):
    assert parse_values(name, given) == parse(line)


@pytest.mark.parametrize(
    ("name", "given", "field"),
    [
        ("mode", {}, "mode"),
        ("mode", {"mode": "loud"}, "mode"),
        ("mode", {"mode": "auto", "colour": "red"}, "parameters.colour"),
        ("usage searches", {"days": 91}, "days"),
        ("modes", {}, "command"),
    ],
)
def test_a_wrong_parameter_by_name_is_named(name, given, field):
    with pytest.raises(InvalidInput) as error:
        parse_values(name, given)
    assert error.value.field == field
