"""Probes of other services: registered by plugins and addresses, asked now and then, never in the way."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from engine.operations.integration_probes import HealthProbe, IntegrationProbes, open_probes
from engine.settings.section import parse_probes
from tests.fakes.tool_plugins import write_plugin

MODULE = """
from engine.operations.integration_probes import HealthProbe


class Printer(HealthProbe):
    name = "printer"

    def check(self) -> str:
        return "Out of paper: fill the tray."
"""
MANIFEST = 'name = "office"\nversion = "1"\nprobes = ["house:Printer"]\n'


class Counted(HealthProbe):
    """Says what it is told, and counts."""

    def __init__(self, name: str = "counted", said: object = "") -> None:
        self.name, self.said, self.times = name, said, 0

    def check(self) -> str:
        self.times += 1
        if isinstance(self.said, Exception):
            raise self.said
        return str(self.said)


class Hanging(Counted):
    timeout_s = 0.05

    def __init__(self) -> None:
        super().__init__("hanging")
        self.let_go = threading.Event()

    def check(self) -> str:
        self.let_go.wait(60)
        return ""


async def test_a_plugin_registers_a_probe(tmp_path: Path) -> None:
    write_plugin(tmp_path, manifest=MANIFEST, module=MODULE)
    probes = open_probes(folder=tmp_path, app_version="0.1.0", distributions=[])
    assert probes.refused == []
    assert await probes.faults() == {"printer": "Out of paper: fill the tray."}


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("Printer = 7", "is a subclass of"),
        (MODULE.replace("def check", "def look"), "Printer lacks check"),
        (MODULE.replace('"printer"', '"The Printer"'), "needs a name"),
        (MODULE.replace('"printer"', '"crm"'), "there is a probe 'crm' already"),
        ("1/0", "loading it failed (ZeroDivisionError)"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, module: str, reason: str) -> None:
    write_plugin(tmp_path, manifest=MANIFEST, module=module)
    probes = open_probes(
        "crm=https://crm.example.com", folder=tmp_path, app_version="0.1.0", distributions=[]
    )
    assert [probe.name for probe in probes.probes] == ["crm"]
    assert reason in probes.refused[0].reason


async def test_each_is_asked_once_in_its_time_and_its_fault_is_kept() -> None:
    well, ill, broken = (
        Counted("well"),
        Counted("ill", "Call Ada."),
        Counted("x", OSError("s3cret")),
    )
    probes = IntegrationProbes([well, ill, broken])
    for _ in range(3):
        said = await probes.faults()
    assert (said["well"], said["ill"]) == ("", "Call Ada.")
    assert said["x"] == "The probe failed (OSError); the log has the details."
    assert (well.times, ill.times, broken.times) == (1, 1, 1)
    ill.said, type(ill).every_s = "", 0.0
    try:
        await probes.faults()  # what it said last, while it is asked again
        await asyncio.gather(*(one.task for one in probes._asked.values() if one.task))
        assert (await probes.faults())["ill"] == ""
    finally:
        del type(ill).every_s
        await probes.aclose()


async def test_one_that_hangs_says_so_and_holds_nobody() -> None:
    hanging = Hanging()
    probes = IntegrationProbes([hanging])
    try:
        assert await probes.faults() == {"hanging": "It did not answer within 0.05 s."}
    finally:
        hanging.let_go.set()
        await probes.aclose()


async def test_addresses_are_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        probes = open_probes(f"queue=tcp://127.0.0.1:{port}", app_version="0.1.0", distributions=[])
        assert await probes.faults() == {"queue": ""}
    gone = open_probes(
        f"queue=tcp://127.0.0.1:{port}, crm=http://127.0.0.1:{port}/health",
        app_version="0.1.0",
        distributions=[],
    )
    said = await gone.faults()
    assert said["queue"].startswith(f"127.0.0.1:{port} does not answer")
    assert said["crm"].startswith(f"127.0.0.1:{port} does not answer")


@pytest.mark.parametrize(
    "text",
    ["crm", "CRM=https://a.example", "a=ftp://b.example", "a=tcp://b", "a=http://b, a=http://c"],
)
def test_addresses_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        parse_probes(text)
