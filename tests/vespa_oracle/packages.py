"""The packages that are judged."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from vespa_app.package import Cluster, Package, render
from vespa_app.tenancy import BaseSchema, Kind, Placement

TODAY = date(2026, 11, 26)
SPACE = "minilm_l6_v2_fp32"
ONE_HOST = Cluster(("vespa",))
TWO_HOSTS = Cluster(("vespa1.example", "vespa2.example"))
THREE_HOSTS = Cluster(("vespa1.example", "vespa2.example", "vespa3.example"))


def placed(
    key: str, space: str = SPACE, base: BaseSchema | None = None, kind: Kind = "dedicated"
) -> Placement:
    """Where one tenant is."""
    return Placement(f"id-{key.replace('_', '-')}", key, space, base or BaseSchema(384), kind)


def tenants(count: int, base: BaseSchema | None = None) -> list[Placement]:
    """So many tenants, each with a schema of its own."""
    return [placed(f"tenant_{number}", base=base) for number in range(count)]


def package(placements: Sequence[Placement], cluster: Cluster = ONE_HOST) -> Package:
    """Their package."""
    return render(placements, cluster)


def edited(package: Package, path: str, old: str, new: str) -> Package:
    """The package with a change in one file, as a later version of Scrubjay might make it."""
    assert old in package.files[path]
    files = {**package.files, path: package.files[path].replace(old, new)}
    return Package(files, package.schemas)
