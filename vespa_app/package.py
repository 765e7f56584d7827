"""The application package: every file of it, rendered from placements and the cluster's hosts.

Pure but for `write`. The same placements give the same bytes, so that a deploy without a change can
be distinguished from one with a change, and two versions can be compared file by file.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import jinja2

from vespa_app.tenancy import BaseSchema, Placement, Schema

PLACEHOLDER = "placeholder"  # always there: a cluster needs a type, also without tenants
_OVERRIDE_LASTS = timedelta(days=1)
_ZIP_DATE = (2020, 1, 1, 0, 0, 0)  # the same files give the same bytes

_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*")
_FILE = re.compile(r"/[A-Za-z0-9._/-]{1,400}")


@dataclass(frozen=True, slots=True)
class Tls:
    """Files on every Vespa host; the container then asks each caller for a certificate."""

    private_key_file: str
    certificate_file: str
    ca_certificates_file: str

    def __post_init__(self) -> None:
        for path in (self.private_key_file, self.certificate_file, self.ca_certificates_file):
            if not _FILE.fullmatch(path):
                raise ValueError(f"{path!r}: name the absolute path of a file on the Vespa hosts")


@dataclass(frozen=True, slots=True)
class Hnsw:
    """The vector graph: more links find more, but need more memory and time to feed."""

    max_links_per_node: int = 16
    neighbors_to_explore_at_insert: int = 200


@dataclass(frozen=True, slots=True)
class Cluster:
    """The machines, by their hostnames, and how they are used.

    The first is a config server, of three and more the first three: two could not agree when one
    is lost. `copies` of each document are kept, on different hosts; 0: two, if there are two hosts.
    Raises ValueError for no host, a duplicate, an invalid hostname, or more copies than hosts.
    """

    hosts: Sequence[str] = ("vespa",)
    port: int = 8080
    tls: Tls | None = None
    copies: int = 0

    def __post_init__(self) -> None:
        if not self.hosts:
            raise ValueError("name at least one Vespa host")
        if not 0 <= self.copies <= len(self.hosts):
            raise ValueError(f"{self.copies} copies of each document need as many Vespa hosts")
        if len(set(self.hosts)) < len(self.hosts):
            raise ValueError("a Vespa host is named twice")
        for host in self.hosts:
            if not _HOST.fullmatch(host):
                raise ValueError(f"{host!r} is not a hostname")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"{self.port} is not a port")


@dataclass(frozen=True, slots=True)
class Package:
    """A rendered package: the text of each file by its path, and the schemas it deploys."""

    files: Mapping[str, str]
    schemas: Sequence[Schema]

    @property
    def digest(self) -> str:
        """A hash of every path and text: equal for equal packages."""
        whole = hashlib.sha256()
        for path in sorted(self.files):
            whole.update(f"{path}\0{self.files[path]}\0".encode())
        return whole.hexdigest()

    def to_zip(self) -> bytes:
        """The package for a config server; equal for equal packages."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(self.files):
                entry = zipfile.ZipInfo(path, _ZIP_DATE)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, self.files[path])
        return buffer.getvalue()

    def write(self, folder: Path) -> None:
        """Write every file below a folder, creating it; files of an older package are removed."""
        for old in sorted(folder.glob("schemas/**/*"), reverse=True):
            if old.is_file():
                old.unlink()
            else:
                old.rmdir()
        (folder / "validation-overrides.xml").unlink(missing_ok=True)
        for path, text in self.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")


def schemas_of(placements: Iterable[Placement]) -> list[Schema]:
    """Each schema that placements need, once, by name.

    Raises ValueError where two would share a name and differ: that would mix their documents.
    """
    found: dict[str, Schema] = {}
    for placement in placements:
        schema = placement.schema
        known = found.setdefault(schema.name, schema)
        if known != schema:
            raise ValueError(
                f"The schema {schema.name} would contain vectors of {known.base.name} and of "
                f"{schema.base.name}: two embedding models can't share the name of a space."
            )
    return [found[name] for name in sorted(found)]


def render(
    placements: Iterable[Placement],
    cluster: Cluster,
    *,
    hnsw: Hnsw | None = None,
    removed: Sequence[str] = (),
    today: date | None = None,
) -> Package:
    """The whole package of these placements.

    `removed` names the schemas this one deploy may remove, with `today` for how long it may: only
    then is there a `validation-overrides.xml`.
    """
    schemas = schemas_of(placements)
    kept = sorted({schema.name for schema in schemas} & set(removed))
    if kept:
        raise ValueError(f"{', '.join(kept)}: still placed, and can't be removed")
    files = {
        "services.xml": _services(schemas, cluster),
        "hosts.xml": _text("hosts.xml.jinja", cluster=cluster, nodes=_nodes(cluster)),
        "search/query-profiles/default.xml": _text("search/query-profiles/default.xml"),
        f"schemas/{PLACEHOLDER}.sd": _text(f"schemas/{PLACEHOLDER}.sd"),
    }
    for base in sorted({schema.base for schema in schemas}):
        files |= _base_files(base, hnsw or Hnsw())
    for schema in schemas:
        files[f"schemas/{schema.name}.sd"] = _text("schemas/tenant.sd.jinja", schema=schema)
    if removed:
        if today is None:
            raise ValueError("a removal needs the date of today")
        files["validation-overrides.xml"] = _text(
            "validation-overrides.xml.jinja",
            removed=sorted(removed),
            until=(today + _OVERRIDE_LASTS).isoformat(),
        )
    return Package(files, schemas)


def _services(schemas: Sequence[Schema], cluster: Cluster) -> str:
    nodes = _nodes(cluster)
    return _text(
        "services.xml.jinja",
        cluster=cluster,
        nodes=nodes,
        controllers=nodes[:3] if len(nodes) >= 3 else nodes[:1],
        copies=cluster.copies or min(2, len(nodes)),
        schemas=schemas,
    )


def _nodes(cluster: Cluster) -> list[str]:
    return [f"node{number}" for number, _ in enumerate(cluster.hosts, 1)]


def _base_files(base: BaseSchema, hnsw: Hnsw) -> dict[str, str]:
    """The abstract schema of a base, and its rank profiles, a file each."""
    files = {f"schemas/{base.name}.sd": _text("schemas/kb.sd.jinja", base=base, hnsw=hnsw)}
    for name in sorted(entry.name for entry in (_app() / "schemas" / "profiles").iterdir()):
        target = f"schemas/{base.name}/{name.removesuffix('.jinja')}"
        files[target] = _text(f"schemas/profiles/{name}", base=base)
    return files


def _text(template: str, **values: object) -> str:
    if template.endswith(".jinja"):
        return _templates().get_template(template).render(**values)
    return _app().joinpath(template).read_text(encoding="utf-8")


def _app() -> Traversable:
    return files("vespa_app") / "app"


@cache
def _templates() -> jinja2.Environment:
    def load(name: str) -> str:
        return _app().joinpath(name).read_text(encoding="utf-8")

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        # Every value that is filled in has passed an alphabet that holds no markup.
        autoescape=False,  # noqa: S701
    )
