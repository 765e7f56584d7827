"""Code and Template: what they do, and what nobody can make them do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError, FlowError, InvalidInput, TooLarge
from engine.workflows import sandbox as sandboxes
from engine.workflows.sandbox import CodeSandbox
from engine.workflows.templating import TemplateRenderer
from tests.engine.workflows.conftest import Desk
from tests.fakes.flow_components import flow

AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
CANARY = "canary-7f3a91"


@pytest.fixture
async def sandbox() -> AsyncIterator[CodeSandbox]:
    made = CodeSandbox(at=AT, seed="run")
    yield made
    await made.aclose()


@pytest.fixture
async def renderer() -> AsyncIterator[TemplateRenderer]:
    made = TemplateRenderer()
    yield made
    await made.aclose()


def code(source: str, outputs: dict[str, Any], **inputs: Any) -> tuple[str, dict[str, Any]]:
    return "Code", {"source": source, "outputs": outputs, "inputs": inputs}


async def run_code(desk: Desk, node: tuple[str, dict[str, Any]]) -> Any:
    await desk.publish("code", json.dumps(flow("b > c", b="Begin", c=node)))
    return await desk.run("code", {"query": "tea"})


async def test_code_reads_its_inputs_and_writes_its_outputs(desk: Desk) -> None:
    source = (
        "import json, re\n"
        "def main(arg1: str, rows: list) -> dict:\n"
        "    print('seen', len(rows))\n"
        "    return {'result': arg1.upper(), 'total': sum(r['n'] for r in rows)}\n"
    )
    outputs = {"result": {"type": "string"}, "total": {"type": "integer"}}
    run = await run_code(desk, code(source, outputs, arg1="{{b.query}}", rows=[{"n": 2}, {"n": 3}]))

    assert (run.state, run.error) == ("done", "")
    shown = {key: run.output[key] for key in ("result", "total", "printed")}
    assert shown == {"result": "TEA", "total": 5, "printed": "seen 2\n"}


async def test_code_without_a_main_gives_its_last_value(desk: Desk) -> None:
    run = await run_code(desk, code("x * 2", {"twice": {"type": "integer"}}, x=21))
    assert run.output["twice"] == 42


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def main(x):\n    return {'n': 'no'}", "`n` must be of type integer"),
        ("def main(x):\n    return {'m': 1}", "no input 'm'"),
        ("def main(x):\n    raise ValueError('bad row')", "line 2: ValueError: bad row"),
        ("def main(x:\n", "the code failed"),
        ("def main(x):\n    return {'n': float('nan')}", "not JSON"),
    ],
)
async def test_code_that_fails_says_where_and_why(desk: Desk, source: str, said: str) -> None:
    run = await run_code(desk, code(source, {"n": {"type": "integer"}}, x=1))
    assert run.state == "failed"
    assert said in run.error


async def test_the_same_run_gives_the_same_time_and_random_numbers() -> None:
    source = "import datetime, random\n[str(datetime.datetime.now()), random.random()]"
    found = []
    for _ in range(2):
        one = CodeSandbox(at=AT, seed="run")
        found.append((await one.run(source, {})).value)
        await one.aclose()
    assert found[0] == found[1]
    assert found[0][0].startswith("2026-11-30 12:00:00")


async def test_code_leaves_nothing_for_the_next(sandbox: CodeSandbox) -> None:
    await sandbox.run("kept = 1\nkept", {})
    with pytest.raises(InvalidInput, match="kept"):
        await sandbox.run("kept", {})


# Each is wrapped in `def main()`, and its outcome is judged: nothing may reach the outside.
# The first twenty are those tried when the sandbox was chosen, the others are our own.
ESCAPES = {
    "a file": "return open('{file}').read()",
    "the environment": "import os\nreturn dict(os.environ)",
    "a socket": "import socket\ns = socket.create_connection(('127.0.0.1', {port}))\nreturn 1",
    "urllib": "import urllib.request\nreturn urllib.request.urlopen('http://127.0.0.1:{port}').read()",
    "system": "import os\nreturn os.system('touch {made}')",
    "subprocess": "import subprocess\nreturn subprocess.run(['touch', '{made}'])",
    "fork": "import os\nreturn os.fork()",
    "kill": "import os\nos.kill({pid}, 0)\nreturn 1",
    "ctypes": "import ctypes\nreturn ctypes.CDLL(None).getpid()",
    "class walk": "return [c.__name__ for c in ().__class__.__base__.__subclasses__()]",
    "frames": "import sys\nreturn sys._getframe(1).f_globals",
    "write": "open('{made}', 'w').write('x')\nreturn 1",
    "endless loop": "while True:\n    pass",
    "swallowed interrupt": "while True:\n    try:\n        while True:\n            pass\n"
    "    except BaseException:\n        pass",
    "3 GB string": "return len('x' * 3_000_000_000)",
    "list bomb": "a = [0]\nwhile True:\n    a = a + a",
    "recursion": "def f(n):\n    return f(n + 1)\nreturn f(0)",
    "huge integer": "return len(str(9 ** 9 ** 9))",
    "regex bomb": "import re\nreturn bool(re.match('(a+)+$', 'a' * 4000 + 'b'))",
    "print flood": "while True:\n    print('x' * 10000)",
    "getattr": "return getattr(getattr((), '__class__'), '__bases__')",
    "code object": "def f():\n    return 1\nf.__code__ = f.__code__.replace(co_consts=(2,))\nreturn f()",
    "globals of a function": "def f():\n    return 1\nreturn list(f.__globals__)",
    "format attributes": "return '{0.__class__.__mro__}'.format(1)",
    "sys.modules": "import sys\nreturn list(sys.modules)",
    "builtins": "import builtins\nreturn builtins.open('{file}').read()",
    "eval": "return eval('__import__(\"os\").getpid()')",
    "exec": "exec('import os\\nos.system(\"touch {made}\")')\nreturn 1",
    "import function": "return __import__('os').listdir('/')",
    "importlib": "import importlib\nreturn importlib.import_module('subprocess').run(['id'])",
    "path": "import pathlib\nreturn pathlib.Path('{file}').read_text()",
    "listing": "import os\nreturn os.listdir('/')",
    "stat": "import os\nreturn os.stat('{file}').st_size",
    "pickle": "import pickle\nreturn pickle.loads(b\"cos\\nsystem\\n(S'touch {made}'\\ntR.\")",
    "threads": "import threading\nthreading.Thread(target=print).start()\nreturn 1",
    "refused opens": "n = 0\nwhile True:\n    try:\n        open('{file}')\n    except Exception:\n"
    "        n = n + 1",
    "long sleep": "import time\nwhile True:\n    time.sleep(1000)",
    "deep value": "v = []\nfor _ in range(100000):\n    v = [v]\nreturn v",
    "dict bomb": "d = {}\ni = 0\nwhile True:\n    d[i] = 'x' * 1000\n    i += 1",
    "async spin": "import asyncio\nasync def f():\n    while True:\n        await asyncio.sleep(0)\n"
    "asyncio.run(f())",
    "proc": "return open('/proc/self/environ').read()",
}


def test_there_are_twenty_escapes_and_twenty_of_our_own() -> None:
    assert len(ESCAPES) >= 40


@pytest.mark.parametrize("name", ESCAPES)
async def test_code_reaches_nothing_outside(
    name: str, sandbox: CodeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRUBJAY_TEST_CANARY", CANARY)
    file, made = tmp_path / "file", tmp_path / "made"
    file.write_text(CANARY)
    body = ESCAPES[name]
    for word, value in (("file", file), ("made", made), ("port", 9), ("pid", os.getpid())):
        body = body.replace(f"{{{word}}}", str(value))
    source = "def main():\n" + "\n".join(f"    {line}" for line in body.splitlines())

    began = time.process_time()
    try:
        result: Any = await sandbox.run(source, {})
    except EngineError as error:
        result = str(error)
    spent = time.process_time() - began

    assert CANARY not in repr(result)
    assert str(os.getpid()) not in repr(result)
    assert not made.exists()
    assert spent < 5  # of this process: what is costly happens in the sandbox's own
    assert len(repr(result)) < 2_000_000
    # What outlives it is whole: the next code runs.
    assert (await sandbox.run("1 + 1", {})).value == 2


@pytest.mark.parametrize("name", ["class walk", "getattr", "format attributes", "sys.modules"])
async def test_what_code_finds_of_its_own_world_is_not_this_process(
    name: str, sandbox: CodeSandbox
) -> None:
    source = "def main():\n" + "\n".join(f"    {line}" for line in ESCAPES[name].splitlines())
    try:
        found = repr((await sandbox.run(source, {})).value)
    except EngineError as error:
        found = str(error)
    assert "Popen" not in found
    assert "engine." not in found
    assert "/" not in found.replace("code.py", "")


async def test_code_needs_the_extra_and_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandboxes, "is_installed", lambda: False)
    node = code("1", {"n": {"type": "integer"}})
    with pytest.raises(FlowError, match=r"install scrubjay\[workflows\]"):
        desk.engine.workflows.load(json.dumps(flow("b > c", b="Begin", c=node)))


def test_neither_library_is_loaded_before_it_is_used() -> None:
    said = (
        "import sys, engine.workflows.workflows; "
        "print([m for m in ('pydantic_monty', 'minijinja') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Template


async def test_a_template_writes_from_its_values(desk: Desk) -> None:
    node = (
        "Template",
        {
            "template": "{% for row in rows %}{{ row.name|upper }}={{ row.n }};{% endfor %}{{ q }}",
            "values": {"rows": [{"name": "a", "n": 1}, {"name": "b", "n": 2}], "q": "{{b.query}}"},
        },
    )
    await desk.publish("write", json.dumps(flow("b > t", b="Begin", t=node)))
    run = await desk.run("write", {"query": "{{ rows }}"})
    assert run.output["text"] == "A=1;B=2;{{ rows }}"


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 10**8 }}",
        "{{ ['x'] * 10**8 }}",
        "{{ (['x'] * 10**8)|sort|length * 'x' }}",
        "{{ (rows * 10**7)|tojson }}",
        "{% for i in range(100000000) %}x{% endfor %}",
        "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}",
        "{% for i in range(9999) %}{{ big }}{% endfor %}",
        "{{ big|replace('y', big) }}",
        "{{ rows|join(big) }}",
        "{{ big.join(rows) }}",
        "{% set n=namespace(s=big) %}{% for i in range(40) %}{% set n.s=n.s~n.s %}{% endfor %}{{ n.s }}",
        "{% macro m(a) %}{{ m(a) }}{{ m(a) }}{% endmacro %}{{ m(1) }}",
        "{{ 2 ** 100000000 }}",
        "{{ 'a'|center(100000000) }}",
        "{{ 'x'|indent(100000000) }}",
        "{% for i in range(9999) %}" + "z" * 15_000 + "{% endfor %}",
        "{% set a %}{{ big }}{{ big }}{{ big }}{{ big }}{% endset %}{{ a }}{{ a }}{{ a }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os }}",
        "{{ ''.__class__.__mro__[1].__subclasses__()[0] }}",
        "{{ self.__init__.__globals__ }}",
        "{{ rows.append.__self__.__class__.__base__.x }}",
    ],
)
async def test_a_template_can_neither_reach_out_nor_grow(
    template: str, renderer: TemplateRenderer
) -> None:
    began = time.process_time()
    with pytest.raises((InvalidInput, TooLarge)):
        await renderer.render(template, {"big": "y" * 100_000, "rows": ["a"] * 20_000})
    assert time.process_time() - began < 2  # of this process
    assert await renderer.render("{{ a }}", {"a": 1}) == "1"


async def test_a_template_can_not_change_what_it_is_given(renderer: TemplateRenderer) -> None:
    values = {"rows": [1]}
    assert await renderer.render("{{ rows.append(2) }}{{ rows }}", values) == "None[1, 2]"
    assert values == {"rows": [1]}


async def test_attributes_of_python_are_nothing_to_a_template(renderer: TemplateRenderer) -> None:
    said = await renderer.render("[{{ ''.__class__ }} {{ rows.__class__ }}]", {"rows": [1]})
    assert said == "[None None]"
