"""What is wrong with the references, targets and variables of a flow's components. Pure.

`dsl.py` calls `wiring_faults` once ids and edges are sound. A reference must name a component that
comes before, and a key that it writes; a component that chooses where to go needs an edge there; a
variable must not be changed by two components that may run at the same time.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import combinations

from engine.flow.component import Assigns
from engine.flow.graph import Node
from engine.flow.handling import ERROR_KEYS
from engine.flow.references import ROOTS, Path, find_references

Roots = Mapping[str, frozenset[str] | None]  # what references may begin with; None: any key


def wiring_faults(
    nodes: Mapping[str, Node],
    ancestors: Mapping[str, frozenset[str]],
    downstream: Mapping[str, Collection[str]],
    roots: Roots,
) -> list[str]:
    """Every fault, each beginning with the component's id; nothing for flows without references."""
    users = [node for node in nodes.values() if node.component.takes_references]
    faults = [
        f"component {node.id!r}: the id is a word that references use; choose another one"
        for node in nodes.values()
        if users and node.id in ROOTS
    ]
    variables = frozenset(assigned.name for _, assigned in _assigning(nodes))
    known = {**roots, "var": variables} if variables else roots
    for node in users:
        faults += [
            f"component {node.id!r}: {fault}"
            for fault in _of_node(node, nodes, ancestors[node.id], known)
        ]
    for node in nodes.values():
        faults += _targets(node, downstream[node.id])
    return faults + _rivals(nodes, ancestors)


def _of_node(
    node: Node, nodes: Mapping[str, Node], before: frozenset[str], roots: Roots
) -> Iterator[str]:
    given = node.param.model_dump(mode="json", by_alias=True, exclude_unset=True)
    given = {name: value for name, value in given.items() if name not in node.component.literal}
    for reference in find_references(given):
        where = f"param `{reference.field}`: "
        if not reference.paths:
            yield (
                f"{where}`{{{{{reference.text}}}}}` is no reference: write {{{{component.key}}}}, "
                "or {{a.key|b.key}} for the first that ran"
            )
        for path in reference.paths:
            fault = _of_path(path, node, nodes, before, roots, reference.field)
            if fault:
                yield f"{where}{fault}"


def _of_path(
    path: Path,
    node: Node,
    nodes: Mapping[str, Node],
    before: frozenset[str],
    roots: Roots,
    field: str,
) -> str:
    if path.root == "secret":
        return _of_secret(path, node, field)
    if path.root in ROOTS:
        return _of_root(path, roots)
    if path.root not in nodes:
        return f"there is no component {path.root!r} to refer to{_near(path.root, nodes)}"
    if path.root not in before:
        return f"{path.root!r} does not come before it, so what it writes is not there yet"
    writes = written_by(nodes[path.root])
    if path.key in writes:
        return ""
    said = f"does not write {path.key!r}{_near(path.key, writes)}" if path.key else "is not enough"
    return f"`{path}`: {path.root!r} {said}: it writes {_listed(writes)}"


def _of_secret(path: Path, node: Node, field: str) -> str:
    if field.partition(".")[0] not in node.component.secret:
        places = _listed(node.component.secret)
        return f"a secret can't be used here (where it can in {node.component.type}: {places})"
    return "" if len(path.steps) == 1 else "a secret is named {{secret.NAME}}"


def written_by(node: Node) -> frozenset[str]:
    """The keys that may be read of a component, with what a handled failure adds."""
    writes = node.component.writes_of(node.param)
    return writes if node.on_error is None else writes | ERROR_KEYS


def _of_root(path: Path, roots: Roots) -> str:
    if path.root not in roots:
        return f"`{path.root}` is not known here{_available(roots)}"
    keys = roots[path.root]
    if keys is None or path.key in keys:
        return ""
    named = f"has no {path.key!r}" if path.key else "needs a key"
    return f"`{path.root}` {named}: there are {_listed(keys)}"


def _targets(node: Node, downstream: Collection[str]) -> Iterator[str]:
    targets = set(node.component.fires_of(node.param))
    if node.on_error is not None and node.on_error.branch is not None:
        targets.add(node.on_error.branch)
    for target in sorted(targets.difference(downstream)):
        yield f"component {node.id!r}: it goes to {target!r}, but no edge leads there"


def _assigning(nodes: Mapping[str, Node]) -> Iterator[tuple[str, Assigns]]:
    for node in nodes.values():
        assigns = node.component.assigns_of(node.param)
        if assigns is not None:
            yield node.id, assigns


def _rivals(nodes: Mapping[str, Node], ancestors: Mapping[str, frozenset[str]]) -> list[str]:
    return [
        f"component {one!r}: it and {other!r} may run at the same time and both set "
        f"`var.{first.name}`; put one after the other, or append or increment"
        for (one, first), (other, second) in combinations(_assigning(nodes), 2)
        if first.name == second.name
        and not (first.commutes and second.commutes)
        and one not in ancestors[other]
        and other not in ancestors[one]
    ]


def _available(roots: Roots) -> str:
    return f" (known: {', '.join(sorted(roots))})" if roots else ""


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
