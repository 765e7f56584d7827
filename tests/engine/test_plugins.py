"""Components others wrote: found, used, or refused with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from engine.flow.dsl import parse_flow
from engine.flow.registry import Registry
from engine.plugins import load_plugins
from tests.fakes.flow_components import COMPONENTS, flow

MODULE = """
from engine.flow.component import Component

class Shout(Component):
    type = "Shout"
"""


@pytest.fixture
def clean_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import sys

    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        if name.startswith("scrubjay_plugins_") or name == "shouting_package":
            del sys.modules[name]


def plugin(folder: Path, name: str, manifest: str, module: str = MODULE) -> None:
    (folder / name).mkdir()
    (folder / name / "plugin.toml").write_text(manifest, encoding="utf-8")
    (folder / name / "shout.py").write_text(module, encoding="utf-8")


GOOD = 'name = "shout"\nversion = "1"\ncomponents = ["shout:Shout"]\n'


def load(folder: Path | None = None, **options: object):
    options = {"app_version": "0.1.0", "distributions": [], **options}
    return load_plugins(Registry(COMPONENTS), folder=folder, **options)


def test_a_plugin_of_the_folder_is_used_by_its_type(tmp_path: Path, clean_modules: None) -> None:
    plugin(tmp_path, "shout", GOOD + 'requires = ">=0.1,<0.2"\ndependencies = ["pydantic>=2"]\n')

    plugins = load(tmp_path)

    assert plugins.refused == []
    assert [p.metadata.name for p in plugins.loaded] == ["shout"]
    assert parse_flow(flow(s="Shout"), plugins.registry).order == ("s",)


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ('requires = ">=2"', "shout 1 needs Scrubjay >=2, this is 0.1.0"),
        ('requires = "newest"', "its requirements can't be read"),
        ('dependencies = ["no-such-library"]', "it needs no-such-library, which is not installed"),
        ('dependencies = ["pydantic<1"]', "it needs pydantic<1, but pydantic"),
        ("colour = 1", "plugin.toml: colour: Extra inputs are not permitted"),
        ("colour = ", "plugin.toml can't be read"),
    ],
)
def test_a_plugin_that_does_not_fit_is_refused_before_its_code_runs(
    tmp_path: Path, clean_modules: None, extra: str, reason: str
) -> None:
    plugin(tmp_path, "shout", GOOD + extra, module="raise SystemExit('it ran')")

    plugins = load(tmp_path)

    assert plugins.loaded == []
    assert [r.name for r in plugins.refused] == ["shout"]
    assert reason in plugins.refused[0].reason
    assert "Shout" not in plugins.registry


@pytest.mark.parametrize(
    ("name", "module", "reason"),
    [
        ("broken", "raise RuntimeError('secret')", "loading it failed (RuntimeError)"),
        ("broken", "Shout = 3", "3 is not a subclass of `Component`"),
        ("broken", MODULE.replace('"Shout"', '"Note"'), "two components are of type 'Note'"),
        ("no-name", MODULE, "must be named with letters, digits and _ only"),
    ],
)
def test_a_plugin_that_breaks_is_refused_and_the_others_go_on(
    tmp_path: Path, clean_modules: None, name: str, module: str, reason: str
) -> None:
    plugin(tmp_path, name, GOOD, module)
    plugin(tmp_path, "shout", GOOD)

    plugins = load(tmp_path)

    assert reason in plugins.refused[0].reason
    assert "secret" not in plugins.refused[0].reason
    assert "Shout" in plugins.registry


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert load(tmp_path / "gone").refused[0].reason == "the plugin folder does not exist"


def distribution(folder: Path, requires: str) -> metadata.Distribution:
    info = folder / "shouting-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: shouting\nVersion: 1.2\nRequires-Dist: {requires}\n",
        encoding="utf-8",
    )
    (info / "entry_points.txt").write_text(
        "[scrubjay.components]\nShout = shouting_package:Shout\n", encoding="utf-8"
    )
    (folder / "shouting_package.py").write_text(MODULE, encoding="utf-8")
    return metadata.PathDistribution(info)


def test_an_installed_package_brings_its_components(
    tmp_path: Path, clean_modules: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))

    plugins = load(distributions=[distribution(tmp_path, "scrubjay>=0.1")])

    assert [(p.metadata.name, p.metadata.version) for p in plugins.loaded] == [("shouting", "1.2")]
    assert "Shout" in plugins.registry


def test_an_installed_package_for_another_version_is_refused(tmp_path: Path) -> None:
    plugins = load(distributions=[distribution(tmp_path, "scrubjay>=9")])

    assert "needs Scrubjay >=9, this is 0.1.0" in plugins.refused[0].reason
