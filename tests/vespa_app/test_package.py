"""The rendered package: whole, repeatable, and never with an override nobody asked for."""

from __future__ import annotations

import io
import os
import xml.etree.ElementTree as ET
import zipfile
from datetime import date
from pathlib import Path

import pytest

from vespa_app.package import Cluster, Tls, render, schemas_of
from vespa_app.tenancy import BaseSchema, Placement

ACME = Placement("id-1", "acme", "minilm", BaseSchema(384), "dedicated")
ZEBRA = Placement("id-2", "zebra", "minilm", BaseSchema(384), "dedicated")
POOLED = Placement("id-3", "small", "minilm", BaseSchema(384), "pooled")
TODAY = date(2026, 11, 26)
GOLDEN = Path(__file__).parents[1] / "golden" / "vespa_package"


def test_the_package_is_the_one_that_was_reviewed() -> None:
    """Every file, so that a review sees what a template's change does."""
    package = render([ACME, POOLED], Cluster(("vespa",)))
    if os.environ.get("SCRUBJAY_RECORD"):
        package.write(GOLDEN)
    recorded = {
        str(path.relative_to(GOLDEN)): path.read_text(encoding="utf-8")
        for path in GOLDEN.rglob("*")
        if path.is_file()
    }
    assert package.files == recorded, "run this with SCRUBJAY_RECORD=1, and look at what changed"


def test_the_order_of_tenants_changes_nothing() -> None:
    one, other = (
        render(order, Cluster()) for order in ([ACME, ZEBRA, POOLED], [POOLED, ZEBRA, ACME])
    )
    assert one.digest == other.digest
    assert one.to_zip() == other.to_zip()


def test_the_zip_holds_the_files() -> None:
    package = render([ACME], Cluster())
    with zipfile.ZipFile(io.BytesIO(package.to_zip())) as archive:
        read = {name: archive.read(name).decode() for name in archive.namelist()}
    assert read == package.files


def test_there_is_an_override_only_for_the_deploy_that_removes() -> None:
    assert "validation-overrides.xml" not in render([ACME], Cluster()).files
    removal = render([ACME], Cluster(), removed=[ZEBRA.schema.name], today=TODAY)
    [allow] = ET.fromstring(removal.files["validation-overrides.xml"])
    assert allow.text == "schema-removal"
    assert allow.get("until") == "2026-11-27"
    assert "t_zebra_minilm" in (allow.get("comment") or "")


def test_what_is_placed_is_not_removed() -> None:
    with pytest.raises(ValueError, match="still placed"):
        render([ACME], Cluster(), removed=[ACME.schema.name], today=TODAY)


def test_pooled_tenants_share_a_schema() -> None:
    other = Placement("id-4", "tiny", "minilm", BaseSchema(384), "pooled")
    assert schemas_of([POOLED, other]) == [POOLED.schema]


def test_one_space_of_two_dimensions_is_refused() -> None:
    other = Placement("id-4", "tiny", "minilm", BaseSchema(768), "pooled")
    with pytest.raises(ValueError, match="two embedding models"):
        render([POOLED, other], Cluster())


def test_writing_takes_away_what_an_older_package_had(tmp_path: Path) -> None:
    render([ACME, ZEBRA], Cluster()).write(tmp_path)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    package = render([ACME], Cluster())
    package.write(tmp_path)
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {*package.files, "notes.txt"}


@pytest.mark.parametrize("hosts", [(), ("a", "a"), ("a", "a", "b"), ("a b",), ("-a",), ('a"/>',)])
def test_hosts_that_can_not_be_are_refused(hosts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="host"):
        Cluster(hosts)


def test_two_copies_are_kept_where_there_are_hosts_for_them() -> None:
    one = render([], Cluster(("a",))).files["services.xml"]
    three = render([], Cluster(("a", "b", "c"))).files["services.xml"]
    assert "<min-redundancy>1<" in one
    assert "<min-redundancy>2<" in three
    five = ET.fromstring(render([], Cluster(tuple("abcde"))).files["services.xml"])
    assert len(five.findall("admin/configservers/configserver")) == 3
    assert len(five.findall("content/nodes/node")) == 5
    two = ET.fromstring(render([], Cluster(("a", "b"))).files["services.xml"])
    assert len(two.findall("admin/configservers/configserver")) == 1
    assert two.findtext("content/min-redundancy") == "2"


def test_copies_are_as_many_as_asked_for() -> None:
    three = render([], Cluster(("a", "b", "c"), copies=3)).files["services.xml"]
    assert "<min-redundancy>3<" in three
    for copies in (-1, 3):
        with pytest.raises(ValueError, match="copies"):
            Cluster(("a", "b"), copies=copies)


def test_a_path_of_a_key_is_a_path() -> None:
    with pytest.raises(ValueError, match="absolute path"):
        Tls("key.pem", "/c", "/ca")
    with pytest.raises(ValueError, match="absolute path"):
        Tls("/k</private-key-file>", "/c", "/ca")
