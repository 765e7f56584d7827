"""Vespa's own Java code as a judge, and what it said last time for machines that have none.

A question goes to `Oracle.java` where Java and its libraries are there (`make oracle` fetches them),
and its answer must then be the one in `tests/golden/vespa/`; elsewhere the recorded answer is given.
A question nobody has asked the oracle yet, because a package or a query changed, has no recorded
answer: such a test fails without Java and says to record it, `SCRUBJAY_RECORD=1 make test`.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from vespa_app.package import Package

ROOT = Path(__file__).parents[2]
JARS = ROOT / ".vespa-oracle"
GOLDEN = ROOT / "tests" / "golden" / "vespa"
NOW = "2026-11-26T12:00:00Z"
SILENCE_S = 90  # building sixty tenants takes about ten

Answer = dict[str, Any]


class Oracle:
    """One Java process that answers a line with a line."""

    def __init__(self) -> None:
        source = Path(__file__).with_name("Oracle.java")
        self._process = subprocess.Popen(
            ["java", "-Xmx2g", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*", str(source)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )

    def ask(self, question: Mapping[str, object]) -> Answer:
        """Its answer, whatever it is; raises RuntimeError if the process ends or is silent."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        readable, _, _ = select.select([self._process.stdout], [], [], SILENCE_S)
        if not readable:
            self._process.kill()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"Oracle.java has ended with {self._process.wait()}")
        answer: Answer = json.loads(line)
        return answer

    def close(self) -> None:
        """End it, by ending what it reads."""
        with self._process:  # closes its pipes and waits
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()


def why_not() -> str:
    """What is missing to run the oracle, or an empty text."""
    if shutil.which("java") is None:
        return "no java: install a JDK of version 17 or newer"
    if not any(JARS.glob("config-model-*.jar")):
        return "Vespa's libraries are not here: run `make oracle`"
    return ""


class Judge:
    """Asks the oracle, or its recorded answers; `file` is where those of one test module are."""

    def __init__(self, oracle: Oracle | None, file: Path, folder: Path) -> None:
        self._oracle = oracle
        self._file = file
        self._folder = folder
        self._recorded: dict[str, Answer] = {}
        self._asked: dict[str, tuple[str, Answer]] = {}
        if file.exists():
            lines = file.read_text(encoding="utf-8").splitlines()
            self._recorded = {entry["key"]: entry["answer"] for entry in map(json.loads, lines)}

    @property
    def is_live(self) -> bool:
        """Whether questions nobody asked before can be answered."""
        return self._oracle is not None

    def ask(self, op: str, package: Package, **question: object) -> Answer:
        """The verdict on a question about a package; recorded under what both hold."""
        return self._ask(op, package, question, record=True)

    def wonder(self, op: str, package: Package, **question: object) -> Answer:
        """The same without a record: for questions made up at random."""
        return self._ask(op, package, question, record=False)

    def validate(
        self, package: Package, *, previous: Package | None = None, now: str = NOW
    ) -> Answer:
        """Whether a config server would take the package, after `previous` where there is one.

        `now` is the config server's, since overrides are for a time.
        """
        before = {"previous": previous} if previous else {}
        return self.ask("validate", package, now=now, **before)

    def refuses(self, op: str, package: Package, **question: object) -> str:
        """The reasons of a refusal, in one line; fails where there is none."""
        if op == "validate":
            question = {"now": NOW, **question}
        answer = self.ask(op, package, **question)
        assert not answer["ok"], answer
        return " | ".join(answer["error"])

    def record(self) -> None:
        """Write down what was asked, for machines without Java."""
        GOLDEN.mkdir(parents=True, exist_ok=True)
        entries = sorted((label, key, answer) for key, (label, answer) in self._asked.items())
        lines = [
            json.dumps({"asks": label, "key": key, "answer": answer}, ensure_ascii=False)
            for label, key, answer in entries
        ]
        self._file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _ask(
        self, op: str, package: Package, question: Mapping[str, object], *, record: bool
    ) -> Answer:
        key = _key(op, package, question)
        if self._oracle is None:
            answer = self._recorded.get(key)
            if answer is None:
                pytest.fail(
                    f"Nobody has asked Vespa this yet ({op}). {why_not()}, then record its answer:"
                    " SCRUBJAY_RECORD=1 .venv/bin/pytest tests/vespa_oracle"
                )
            return answer
        answer = self._lasting(self._oracle.ask(self._spelt(op, package, question)))
        if record:
            self._asked[key] = (
                os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].split(" ")[0],
                answer,
            )
            if not os.environ.get("SCRUBJAY_RECORD"):
                assert self._recorded.get(key) == answer, "the record in tests/golden/vespa differs"
        return answer

    def _spelt(
        self, op: str, package: Package, question: Mapping[str, object]
    ) -> dict[str, object]:
        """The question as the oracle takes it: packages are folders, known ones validated."""
        spelt: dict[str, object] = {"op": op, "package": self._write(package)}
        for name, value in question.items():
            spelt[name] = self._write(value) if isinstance(value, Package) else value
        if op != "validate":
            self._know(package)
        elif isinstance(previous := question.get("previous"), Package):
            self._know(previous)
        return spelt

    def _know(self, package: Package) -> None:
        """The oracle answers about packages it has validated."""
        mark = self._folder / f"{package.digest}.known"
        if not mark.exists():
            assert self._oracle is not None
            question = {"op": "validate", "package": self._write(package), "now": NOW}
            verdict = self._oracle.ask(question)
            assert verdict["ok"], verdict["error"]
            mark.touch()

    def _lasting(self, answer: Answer) -> Answer:
        """The answer without what differs from run to run and machine to machine."""
        text = json.dumps(answer, ensure_ascii=False).replace(str(self._folder), "")
        lasting: Answer = json.loads(text)
        lasting.pop("seconds", None)
        if "log" in lasting:
            passing = ("FINE:", "Unable to lookup IP", "Unable to execute 'vespa-verify-ranksetup")
            lasting["log"] = [
                line for line in lasting["log"] if not any(words in line for words in passing)
            ]
        return lasting

    def _write(self, package: Package) -> str:
        folder = self._folder / package.digest
        if not folder.exists():
            package.write(folder)
        return str(folder)


def _key(op: str, package: Package, question: Mapping[str, object]) -> str:
    values = {
        name: value.digest if isinstance(value, Package) else value
        for name, value in question.items()
    }
    whole = json.dumps([op, package.digest, values], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:24]
