"""The secrets of one run: put in by adapters at the last moment, and taken out of all that is kept.

Parameters hold a marker in place of a secret, which nobody can guess, so a text from elsewhere that
says `{{secret.name}}` stays text. `reveal` replaces markers, only for the hosts a secret is bound to.
`mask` finds values again in what came back, also in base64, URL-encoded, escaped or in hexadecimal.
Pure.
"""

from __future__ import annotations

import base64
import fnmatch
import html
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

from engine.errors import InvalidInput
from engine.flow.graph import Graph
from engine.flow.references import find_references

MASKED_MIN = 6  # characters: a shorter value would be found in everything


@dataclass(frozen=True, slots=True)
class KnownSecret:
    """A value, and the hosts it may be sent to: names, or patterns such as `*.crm.example`."""

    value: str
    hosts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"KnownSecret(hosts={self.hosts!r})"


class RunSecrets:
    """The secrets that a workflow names, by name."""

    def __init__(self, known: Mapping[str, KnownSecret] | None = None) -> None:
        self._known = dict(known or {})
        nonce = secrets.token_hex(12)
        self.markers = {name: f"\u27e6secret:{nonce}:{name}\u27e7" for name in self._known}
        self._masks: list[tuple[str, str]] = []
        for name, secret in self._known.items():
            self.hide(name, secret.value)

    def __repr__(self) -> str:
        return f"RunSecrets({sorted(self._known)})"

    def reveal(self, text: str, *, host: str | None) -> str:
        """`text` with values in place of markers; `InvalidInput` where one may not go to `host`.

        `host` None: the value itself says where it goes, as the address of a database does.
        """
        for name, marker in self.markers.items():
            if marker not in text:
                continue
            secret = self._known[name]
            if host is not None and not _is_bound(secret, host):
                places = ", ".join(secret.hosts) or "no host"
                raise InvalidInput(
                    f"The secret {name!r} may be sent to {places}, not to {host}: ask"
                    " an admin to add this host to the secret.",
                    field="url",
                )
            text = text.replace(marker, secret.value)
        return text

    def hide(self, name: str, value: str) -> None:
        """Have `mask` find this too: a value, or what was made of one."""
        self._masks += [(form, f"[secret {name}]") for form in set(_forms(value))]
        self._masks.sort(key=lambda item: -len(item[0]))

    def mask(self, value: Any) -> Any:  # noqa: ANN401 (JSON)
        """`value` without any secret."""
        if isinstance(value, str):
            for form, shown in self._masks:
                if form in value:
                    value = value.replace(form, shown)
            for name, marker in self.markers.items():
                value = value.replace(marker, f"[secret {name}]")
            return value
        if isinstance(value, Mapping):
            return {self.mask(key): self.mask(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask(item) for item in value]
        return value

    def mask_error(self, error: BaseException) -> None:
        """Take secrets out of what an error, and those it came from, say."""
        seen: set[int] = set()
        left: list[BaseException | None] = [error]
        while left:
            one = left.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            one.args = tuple(
                self.mask(item) if isinstance(item, str) else item for item in one.args
            )
            left += [one.__cause__, one.__context__]


def secrets_of(graph: Graph) -> frozenset[str]:
    """The names of the secrets that a workflow uses, also in the flows inside its components."""
    found: set[str] = set()
    for node in graph.nodes.values():
        given = node.param.model_dump(mode="json", by_alias=True, exclude_unset=True)
        given = {key: value for key, value in given.items() if key not in node.component.literal}
        for reference in find_references(given):
            found |= {path.key for path in reference.paths if path.root == "secret"}
        if node.subgraph is not None:
            found |= secrets_of(node.subgraph)
    return frozenset(found)


def _is_bound(secret: KnownSecret, host: str) -> bool:
    return any(fnmatch.fnmatchcase(host.lower(), pattern.lower()) for pattern in secret.hosts)


def _forms(value: str) -> Iterator[str]:
    """How a value may be written in what is kept."""
    if len(value) < MASKED_MIN:
        return
    raw = value.encode()
    yield value
    yield from (
        quote(value, safe=""),
        quote(value),
        quote_plus(value),
        quote(value, safe="").lower(),
    )
    yield from (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    yield from (html.escape(value), raw.hex(), raw.hex().upper())
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).decode()
        yield encode(raw).decode().rstrip("=")
        for before in range(3):  # inside a longer text: what does not depend on its neighbours
            # A letter has 6 bits; those with a bit of a neighbour are left out.
            start, end = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
            yield encode(b"\0" * before + raw).decode()[start:end]
