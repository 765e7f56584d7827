"""The filterable fields of a segment's documents, and the test of a `Filter` against them.

Values repeat (one ACL for a whole channel), so each column stores a code a document and each
distinct value once. Testing a filter costs one look per distinct value, then one per document,
whatever the number of tokens. `FILTERS.md` says what each field means.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.index.arrays import Array, open_arrays, write_arrays
from engine.index.port import FieldUpdate, Filter, IndexDocument, StoredFields

Mask = NDArray[np.bool_]
Rows = NDArray[np.int32]
Features = tuple[tuple[str, float], ...]
T = TypeVar("T", bound=Hashable)


class Column(Generic[T]):
    """A code a row, and the distinct values that the codes mean."""

    def __init__(self, codes: Rows, values: Sequence[T]) -> None:
        self.codes = codes
        self.values = values

    @classmethod
    def of(cls, rows: Sequence[T]) -> Column[T]:
        """A column of the values of each row."""
        known: dict[T, int] = {}
        codes = [known.setdefault(value, len(known)) for value in rows]
        return cls(np.array(codes, np.int32), list(known))

    @classmethod
    def concat(cls, parts: Sequence[tuple[Column[T], Rows]]) -> Column[T]:
        """The chosen rows of several columns, one after the other."""
        known: dict[T, int] = {}
        codes = []
        for column, rows in parts:
            chosen = column.codes[rows]
            recoded = np.full(len(column.values), -1, np.int32)
            for code in np.unique(chosen).tolist():
                recoded[code] = known.setdefault(column.values[code], len(known))
            codes.append(recoded[chosen])
        return cls(np.concatenate(codes) if codes else np.zeros(0, np.int32), list(known))

    def changed(self, values: Mapping[int, T]) -> Column[T]:
        """The same column with new values in some rows."""
        if not values:
            return self
        known = {value: code for code, value in enumerate(self.values)}
        codes = self.codes.copy()
        for row, value in values.items():
            codes[row] = known.setdefault(value, len(known))
        return Column.concat([(Column(codes, list(known)), np.arange(len(codes), dtype=np.int32))])

    def __getitem__(self, row: int) -> T:
        return self.values[int(self.codes[row])]

    def among(self, wanted: frozenset[T]) -> Mask:
        """Which rows have one of the wanted values."""
        passes = np.fromiter((value in wanted for value in self.values), bool, len(self.values))
        return passes[self.codes]


class SetColumn(Column[tuple[str, ...]]):
    """A column whose values are sets of words, such as ACL tokens."""

    @cached_property
    def _words(self) -> dict[str, int]:
        words: dict[str, int] = {}
        for value in self.values:
            for word in value:
                words.setdefault(word, len(words))
        return words

    @cached_property
    def _flat(self) -> tuple[Rows, Rows]:
        """Every word of every value, and which value it belongs to."""
        sizes = np.fromiter(map(len, self.values), np.int64, len(self.values))
        words = self._words
        members = [words[word] for value in self.values for word in value]
        owners = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        return np.array(members, np.int32), owners

    def any_of(self, held: frozenset[str]) -> Mask:
        """Which rows have at least one word that is held."""
        members, owners = self._flat
        passes = np.zeros(len(self.values), bool)
        passes[owners[self._is_held(held)[members]]] = True
        return passes[self.codes]

    def all_of(self, held: frozenset[str]) -> Mask:
        """Which rows have no word that is not held."""
        members, owners = self._flat
        passes = np.ones(len(self.values), bool)
        passes[owners[~self._is_held(held)[members]]] = False
        return passes[self.codes]

    def _is_held(self, held: frozenset[str]) -> Mask:
        words = self._words
        is_held = np.zeros(len(words), bool)
        if len(held) < len(words):
            is_held[[place for word in held if (place := words.get(word)) is not None]] = True
        else:
            is_held[[place for word, place in words.items() if word in held]] = True
        return is_held


@dataclass(frozen=True)
class Fields:
    """All fields of a segment's documents, row by row."""

    kb: Column[str]
    language: Column[str]
    analysed: Column[str]  # the language whose stems were indexed: `language`, or guessed
    source: Column[str]
    features: Column[Features]
    acl: SetColumn
    acl_all: SetColumn
    branches: SetColumn
    tags: SetColumn
    hidden: Mask
    updated: NDArray[np.float64]  # seconds since 1970, NaN where the source gives no date

    @staticmethod
    def of(documents: Sequence[IndexDocument], analysed: Sequence[str]) -> Fields:
        """The fields of documents, one a row; `analysed` are the languages of their stems."""
        return Fields(
            kb=Column.of([document.kb_id for document in documents]),
            language=Column.of([document.language for document in documents]),
            analysed=Column.of(analysed),
            source=Column.of([document.source for document in documents]),
            features=Column.of([_features(document.features) for document in documents]),
            acl=_sets(document.acl for document in documents),
            acl_all=_sets(document.acl_all for document in documents),
            branches=_sets(document.branches for document in documents),
            tags=_sets(document.tags for document in documents),
            hidden=np.array([document.hidden for document in documents], bool),
            updated=np.array([_seconds(document) for document in documents], np.float64),
        )

    @staticmethod
    def concat(parts: Sequence[tuple[Fields, Rows]]) -> Fields:
        """The chosen rows of several segments, one after the other."""

        def column(name: str) -> Column[Any]:
            columns = [(getattr(fields, name), rows) for fields, rows in parts]
            joined: Column[Any] = Column.concat(columns)
            return SetColumn(joined.codes, joined.values) if name in _SETS else joined

        columns: dict[str, Any] = {name: column(name) for name in (*_SCALARS, *_SETS)}
        return Fields(
            **columns,
            hidden=np.concatenate([fields.hidden[rows] for fields, rows in parts]),
            updated=np.concatenate([fields.updated[rows] for fields, rows in parts]),
        )

    def changed(self, updates: Mapping[int, FieldUpdate]) -> Fields:
        """The same fields after updates of some rows."""
        new: dict[str, Any] = {}
        for name in _SETS:
            values = {
                row: _word_set(value)
                for row, update in updates.items()
                if (value := getattr(update, name)) is not None
            }
            column = getattr(self, name).changed(values)
            new[name] = SetColumn(column.codes, column.values)
        features = {
            row: _features(update.features)
            for row, update in updates.items()
            if update.features is not None
        }
        hidden = self.hidden.copy()
        for row, update in updates.items():
            if update.hidden is not None:
                hidden[row] = update.hidden
        return replace(self, **new, features=self.features.changed(features), hidden=hidden)

    def mask(self, where: Filter) -> Mask:
        """Which documents pass the filter, `document_ids` aside."""
        passes = self.acl.any_of(where.tokens)
        passes &= self.acl_all.all_of(where.tokens)
        passes &= self.kb.among(where.kb_ids)
        passes &= self.branches.any_of(frozenset({where.branch}))
        if not where.include_hidden:
            passes &= ~self.hidden
        if where.languages is not None:
            passes &= self.language.among(where.languages)
        if where.sources is not None:
            passes &= self.source.among(where.sources)
        if where.tags is not None:
            passes &= self.tags.any_of(where.tags)
        if where.updated_from is not None:  # a comparison with NaN, no date, is never true
            passes &= self.updated >= where.updated_from.timestamp()
        if where.updated_before is not None:
            passes &= self.updated < where.updated_before.timestamp()
        return passes

    def stored(self, row: int) -> StoredFields:
        """What a row holds of what may change."""
        return StoredFields(
            acl=self.acl[row],
            tags=self.tags[row],
            features=self.features[row],
            hidden=bool(self.hidden[row]),
        )

    def save(self, path: Path, *, sync: bool) -> int:
        """Write the fields to a new file; returns its size in bytes."""
        arrays: dict[str, Array] = {"hidden": self.hidden, "updated": self.updated}
        values: dict[str, Any] = {}
        for name in (*_SCALARS, *_SETS):
            arrays[name] = getattr(self, name).codes
            values[name] = list(getattr(self, name).values)
        return write_arrays(path, arrays, values, sync=sync)

    @staticmethod
    def load(path: Path) -> Fields:
        """What `save` wrote."""
        file = open_arrays(path)
        new: dict[str, Any] = {}
        for name in ("kb", "language", "analysed", "source"):
            new[name] = Column(file.arrays[name], file.meta[name])
        features = [
            tuple((key, weight) for key, weight in pairs) for pairs in file.meta["features"]
        ]
        new["features"] = Column(file.arrays["features"], features)
        for name in _SETS:
            new[name] = SetColumn(file.arrays[name], [tuple(words) for words in file.meta[name]])
        return Fields(**new, hidden=file.arrays["hidden"], updated=file.arrays["updated"])


_SCALARS = ("kb", "language", "analysed", "source", "features")
_SETS = ("acl", "acl_all", "branches", "tags")


def _word_set(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(words)))


def _sets(rows: Iterable[Iterable[str]]) -> SetColumn:
    column = Column.of([_word_set(words) for words in rows])
    return SetColumn(column.codes, column.values)


def _features(features: Mapping[str, float]) -> Features:
    return tuple(sorted((name, float(value)) for name, value in features.items()))


def _seconds(document: IndexDocument) -> float:
    return document.updated_at.timestamp() if document.updated_at else float("nan")
