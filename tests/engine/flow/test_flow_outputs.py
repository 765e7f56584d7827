"""What components may hand on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidInput
from engine.flow.outputs import BlobRef, iter_blobs, normalise_output

HASH = "ab" * 32

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values))
def test_an_output_is_what_a_checkpoint_would_give_back(output: dict[str, object]) -> None:
    checked, size = normalise_output(output)

    assert json.loads(json.dumps(checked)) == checked
    assert size == len(json.dumps(output, separators=(",", ":")))


def test_an_output_is_detached_from_its_component() -> None:
    mine = {"list": [1]}
    checked, _ = normalise_output(mine)
    mine["list"].append(2)

    assert checked == {"list": [1]}


def test_blob_references_travel_as_json_and_are_found_again() -> None:
    checked, _ = normalise_output({"text": BlobRef(HASH), "more": [{"x": BlobRef(HASH)}]})

    assert checked == {"text": {"$blob": HASH}, "more": [{"x": {"$blob": HASH}}]}
    assert BlobRef.parse(checked["text"]) == BlobRef(HASH)
    assert list(iter_blobs(checked)) == [BlobRef(HASH), BlobRef(HASH)]


@pytest.mark.parametrize("bad", [None, HASH, {"$blob": 3}, {"$blob": HASH, "x": 1}, {"$blob": "Z"}])
def test_what_is_no_reference_is_refused(bad: object) -> None:
    with pytest.raises(InvalidInput):
        BlobRef.parse(bad)
