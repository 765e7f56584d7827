"""Names of schemas, and where a tenant goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vespa_app.tenancy import (
    BaseSchema,
    Placement,
    choose_kind,
    dedicated_name,
    parse_dedicated_name,
    pooled_name,
)

keys = st.from_regex(r"[a-z0-9_]{1,40}", fullmatch=True)
spaces = st.from_regex(r"[a-z0-9][a-z0-9_]{0,39}", fullmatch=True)


@given(key=keys, space=spaces)
def test_a_schemas_name_tells_its_tenant_and_space(key: str, space: str) -> None:
    assert parse_dedicated_name(dedicated_name(key, space)) == (key, space)


@given(first=st.tuples(keys, spaces), second=st.tuples(keys, spaces))
def test_no_two_spaces_share_a_schema(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert (dedicated_name(*first) == dedicated_name(*second)) == (first == second)


def test_names_are_readable() -> None:
    assert dedicated_name("acme", "minilm_l6_v2_fp32") == "t_acme_minilm_l6_v2_fp32"
    assert dedicated_name("acme_inc", "e5") == "t_acme__inc_e5"
    assert pooled_name("e5", BaseSchema(1024, "float")) == "pool_float_e5"
    assert parse_dedicated_name("pool_float_e5") is None
    assert parse_dedicated_name("placeholder") is None


@pytest.mark.parametrize(
    "key", ["", "Acme", "a-b", "a b", "ä", "a" * 41, "a\n", "a}", "../x", "a.b"]
)
def test_a_key_outside_the_alphabet_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="tenant key"):
        Placement("id", key, "space", BaseSchema(4), "dedicated")


@pytest.mark.parametrize("space", ["", "_a", "A", "a-b", "a" * 41, "a\n", 'a"'])
def test_a_space_outside_the_alphabet_is_refused(space: str) -> None:
    with pytest.raises(ValueError, match="name of a space"):
        Placement("id", "acme", space, BaseSchema(4), "dedicated")


@pytest.mark.parametrize("tenant_id", ["", "a b", "a'", "a,b", "a\n", "x" * 65])
def test_a_tenant_id_outside_the_alphabet_is_refused(tenant_id: str) -> None:
    with pytest.raises(ValueError, match="tenant id"):
        Placement(tenant_id, "acme", "space", BaseSchema(4), "dedicated")


@pytest.mark.parametrize(("dimension", "cells"), [(0, "float"), (8193, "float"), (4, "int8")])
def test_a_vector_vespa_does_not_take_is_refused(dimension: int, cells: str) -> None:
    with pytest.raises(ValueError, match=r"dimension|cells"):
        BaseSchema(dimension, cells)  # type: ignore[arg-type]


def test_spaces_are_dedicated_while_there_are_few() -> None:
    assert choose_kind(dedicated=49, max_dedicated=50) == "dedicated"
    assert choose_kind(dedicated=50, max_dedicated=50) == "pooled"
    assert choose_kind(dedicated=0, max_dedicated=50, policy="pooled") == "pooled"
    assert choose_kind(dedicated=0, max_dedicated=0) == "pooled"


def test_who_wants_no_pool_is_told_when_it_is_full() -> None:
    assert choose_kind(dedicated=1, max_dedicated=2, policy="dedicated") == "dedicated"
    with pytest.raises(ValueError, match="max_dedicated"):
        choose_kind(dedicated=2, max_dedicated=2, policy="dedicated")
