"""What a deploy over another one does, in the words of Vespa's own change validators."""

from __future__ import annotations

from dataclasses import replace

from tests.vespa_oracle.judge import Judge
from tests.vespa_oracle.packages import (
    ONE_HOST,
    THREE_HOSTS,
    TODAY,
    edited,
    package,
    placed,
    tenants,
)
from vespa_app.package import Hnsw, render
from vespa_app.tenancy import BaseSchema

BASE = "schemas/kb_bfloat16_384.sd"
QUIET = {"ok": True, "log": [], "actions": []}


def test_adding_tenants_needs_no_restart_and_no_feeding(judge: Judge) -> None:
    assert judge.validate(package(tenants(5)), previous=package(tenants(3))) == QUIET


def test_the_first_tenant_joins_an_empty_installation(judge: Judge) -> None:
    assert judge.validate(package(tenants(1)), previous=package([])) == QUIET


def test_a_second_space_is_added_beside_the_first(judge: Judge) -> None:
    old = tenants(2)
    new = [*old, replace(old[0], space="e5_large_1024", base=BaseSchema(1024))]
    assert judge.validate(package(new), previous=package(old)) == QUIET


def test_a_tenant_that_is_merely_missing_is_not_removed(judge: Judge) -> None:
    reason = judge.refuses("validate", package(tenants(2)), previous=package(tenants(3)))
    assert "schema-removal" in reason
    assert "t_tenant__2_minilm_l6_v2_fp32" in reason


def test_one_deploy_removes_the_tenant_it_names(judge: Judge) -> None:
    gone = tenants(3)[2].schema.name
    removal = render(tenants(2), ONE_HOST, removed=[gone], today=TODAY)
    assert judge.validate(removal, previous=package(tenants(3))) == QUIET


def test_the_permission_ends_with_the_next_day(judge: Judge) -> None:
    gone = tenants(3)[2].schema.name
    removal = render(tenants(2), ONE_HOST, removed=[gone], today=TODAY)
    late = judge.refuses(
        "validate", removal, previous=package(tenants(3)), now="2026-11-28T12:00:00Z"
    )
    assert "schema-removal" in late


def test_the_last_tenant_may_go(judge: Judge) -> None:
    gone = tenants(1)[0].schema.name
    removal = render([], ONE_HOST, removed=[gone], today=TODAY)
    assert judge.validate(removal, previous=package(tenants(1))) == QUIET


def test_a_pooled_tenant_comes_and_goes_without_a_deploy(judge: Judge) -> None:
    one = [*tenants(1), placed("small", kind="pooled")]
    two = [*one, placed("smaller", kind="pooled")]
    assert package(one).digest == package(two).digest
    assert judge.validate(package(one), previous=package(tenants(1))) == QUIET


def test_another_dimension_in_place_is_refused(judge: Judge) -> None:
    wider = package(tenants(1, BaseSchema(768)))
    reason = judge.refuses("validate", wider, previous=package(tenants(1)))
    assert "field-type-change" in reason
    assert "embeddings" in reason


def test_other_cells_in_place_are_refused(judge: Judge) -> None:
    finer = package(tenants(1, BaseSchema(384, "float")))
    reason = judge.refuses("validate", finer, previous=package(tenants(1)))
    assert "field-type-change" in reason


def test_a_new_field_is_added_live(judge: Judge) -> None:
    old = package(tenants(1))
    new = edited(
        old,
        BASE,
        "        # Bookkeeping.\n",
        "        field colour type string {\n            indexing: attribute\n        }\n",
    )
    assert judge.validate(new, previous=old) == QUIET


def test_a_rank_profile_changes_live(judge: Judge) -> None:
    old = package(tenants(1))
    path = "schemas/kb_bfloat16_384/hybrid_linear.profile"
    new = edited(old, path, "rerank-count: 200", "rerank-count: 500")
    assert judge.validate(new, previous=old) == QUIET


def test_a_filter_that_becomes_fast_wants_a_restart(judge: Judge) -> None:
    old = package(tenants(1))
    new = edited(
        old,
        BASE,
        "field part type int {\n            indexing: summary | attribute\n",
        "field part type int {\n            indexing: summary | attribute\n"
        "            attribute: fast-search\n",
    )
    [action] = judge.validate(new, previous=old)["actions"]
    assert action.startswith("restart")
    assert "part" in action


def test_other_analysis_is_refused_until_somebody_reindexes(judge: Judge) -> None:
    old = package(tenants(1))
    new = edited(old, BASE, "stemming: none", "stemming: shortest")
    assert "indexing-change" in judge.refuses("validate", new, previous=old)


def test_another_graph_is_refused(judge: Judge) -> None:
    denser = render(tenants(1), ONE_HOST, hnsw=Hnsw(max_links_per_node=32))
    reason = judge.refuses("validate", denser, previous=package(tenants(1)))
    assert "hnsw-settings-change" in reason


def test_another_content_cluster_is_refused(judge: Judge) -> None:
    old = package(tenants(1))
    new = edited(old, "services.xml", '<content id="kb"', '<content id="kb2"')
    assert "content-cluster-removal" in judge.refuses("validate", new, previous=old)


def test_one_host_grows_to_three(judge: Judge) -> None:
    grown = judge.validate(package(tenants(1), THREE_HOSTS), previous=package(tenants(1)))
    assert grown["ok"]
