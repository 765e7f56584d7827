"""Kinds of sources that installed packages bring: used where they fit, else refused with a reason."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest

from engine.errors import ConfigurationError
from engine.sources.contract import Connector, Offers
from ingestion.connectors.kinds import ENTRY_POINTS, SHIPPED, check_connector, load_kinds
from tests.fakes.source_worlds import WorldConnector, WorldSettings


class PluginConnector(WorldConnector):
    """One that fits."""

    kind: ClassVar[str] = "plugged"
    title: ClassVar[str] = "Plugged"

    def __init__(self) -> None:
        """It reads nothing."""


class SameKind(PluginConnector):
    """Would take the place of one that ships."""

    kind: ClassVar[str] = "web"


class NoFeed(Connector[WorldSettings]):
    """Says that it has a feed, and has none."""

    kind: ClassVar[str] = "nofeed"
    title: ClassVar[str] = "No feed"
    offers: ClassVar[Offers] = Offers(feed=True)
    settings = WorldSettings
    check = WorldConnector.check
    scopes = WorldConnector.scopes
    listing = WorldConnector.listing


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, ENTRY_POINTS)


def test_a_package_adds_a_kind_and_one_that_fails_stops_nothing():
    here = "tests.ingestion.test_source_plugins"
    found = load_kinds(
        entries=[
            entry("plugged", f"{here}:PluginConnector"),
            entry("same", f"{here}:SameKind"),
            entry("feedless", f"{here}:NoFeed"),
            entry("away", "there_is.no_module:Kind"),
            entry("none", "pathlib:Path"),
        ]
    )
    shipped = {one.kind for one in SHIPPED}
    assert set(found.connectors) == shipped | {"plugged"}
    assert {one.name: one.reason for one in found.refused} == {
        "same": "there is a kind 'web' already: rename it",
        "feedless": "it offers feed and lacks start",
        "away": "loading it failed (ModuleNotFoundError); the log has the details",
        "none": "it is no subclass of engine.sources.contract.Connector",
    }
    assert type(found.connectors["web"]) in SHIPPED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "upload"}, "a name of its own"),
        ({"kind": "Has Space"}, "a name of its own"),
        ({"settings": dict}, "KindSettings"),
        ({"title": None}, "title"),
    ],
)
def test_what_a_kind_must_have_is_named(changes, reason):
    with pytest.raises(ConfigurationError, match=reason):
        check_connector(type("Changed", (PluginConnector,), changes))


def test_a_kind_without_its_methods_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="check, listing, scopes"):
        check_connector(type("Empty", (Connector,), {"kind": "empty"}))
