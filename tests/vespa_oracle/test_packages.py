"""Every package we render is one that Vespa's model builder and validators take, without a word."""

from __future__ import annotations

import pytest

from tests.vespa_oracle.judge import Judge
from tests.vespa_oracle.packages import (
    ONE_HOST,
    THREE_HOSTS,
    TWO_HOSTS,
    edited,
    package,
    placed,
    tenants,
)
from vespa_app.package import Cluster, Hnsw, Tls, render
from vespa_app.tenancy import BaseSchema, Cells

TLS = Tls("/etc/vespa/tls/key.pem", "/etc/vespa/tls/cert.pem", "/etc/vespa/tls/ca.pem")


@pytest.mark.parametrize("count", [0, 1, 3, 60])
@pytest.mark.parametrize("cluster", [ONE_HOST, TWO_HOSTS, THREE_HOSTS], ids=["one", "two", "three"])
def test_any_number_of_tenants_is_valid(judge: Judge, count: int, cluster: Cluster) -> None:
    assert judge.validate(package(tenants(count), cluster)) == {
        "ok": True,
        "log": [],
        "actions": [],
    }


@pytest.mark.parametrize("dimension", [1, 384, 768, 1024, 1536, 3072])
@pytest.mark.parametrize("cells", ["bfloat16", "float"])
def test_any_vector_is_valid(judge: Judge, dimension: int, cells: Cells) -> None:
    assert judge.validate(package(tenants(1, BaseSchema(dimension, cells))))["log"] == []


def test_dedicated_pooled_and_several_spaces_are_valid_together(judge: Judge) -> None:
    mixed = [
        placed("acme"),
        placed("acme", "e5_large_1024", BaseSchema(1024)),
        placed("small", kind="pooled"),
        placed("smaller", kind="pooled"),
        placed("smaller", "e5_large_1024", BaseSchema(1024, "float"), "pooled"),
    ]
    assert judge.validate(package(mixed, THREE_HOSTS))["log"] == []


def test_the_longest_names_are_valid(judge: Judge) -> None:
    assert judge.validate(package([placed("_" * 40, "a" * 40), placed("z" * 40, "9" * 40)]))["ok"]


def test_tls_another_port_and_another_graph_are_valid(judge: Judge) -> None:
    guarded = render(tenants(1), Cluster(("vespa",), 8443, TLS), hnsw=Hnsw(32, 500))
    assert judge.validate(guarded)["log"] == []


@pytest.mark.parametrize(
    ("path", "old", "new", "reason"),
    [
        ("schemas/kb_bfloat16_384.sd", "type string", "type strung", "strung"),
        ("schemas/kb_bfloat16_384/base.profile", "query(alpha) double: 0.7", "", "alpha"),
        ("schemas/kb_bfloat16_384.sd", "by: passages", "by: best", "best"),
        ("services.xml", "<search/>", "<find/>", "find"),
    ],
    ids=["type", "input", "selection", "element"],
)
def test_the_judge_sees_what_is_wrong(
    judge: Judge, path: str, old: str, new: str, reason: str
) -> None:
    assert reason in judge.refuses("validate", edited(package(tenants(1)), path, old, new))
