"""Deploying: what was asked, all of it, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date

import httpx2
import pytest

from tests.fakes.config_server import ConfigServer
from vespa_app import deploy as module
from vespa_app.deploy import Deployer, DeployRefused, DeployUnavailable
from vespa_app.package import Cluster
from vespa_app.tenancy import BaseSchema, Placement

TODAY = date(2026, 11, 26)


def placed(key: str, dimension: int = 4) -> Placement:
    return Placement(f"id-{key}", key, "space", BaseSchema(dimension), "dedicated")


ACME, ZEBRA, OTHER = placed("acme"), placed("zebra"), placed("other")


@pytest.fixture
def server() -> ConfigServer:
    return ConfigServer()


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.0)


@pytest.fixture
async def deployer(server: ConfigServer) -> AsyncIterator[Deployer]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=server.app)) as http:
        yield build(http)


def build(http: httpx2.AsyncClient, timeout_s: float = 5.0) -> Deployer:
    return Deployer(
        http,
        config_url="http://config:19071",
        url="http://vespa:8080",
        cluster=Cluster(("vespa",)),
        today=lambda: TODAY,
        timeout_s=timeout_s,
    )


async def test_the_first_deploy_brings_everything(deployer: Deployer, server: ConfigServer) -> None:
    plan = await deployer.deploy([ACME, ZEBRA])
    assert plan.first
    assert plan.added == ["t_acme_space", "t_zebra_space"]
    assert server.types == {"placeholder", "t_acme_space", "t_zebra_space"}
    assert "validation-overrides.xml" not in server.files


async def test_many_new_tenants_are_one_deploy(deployer: Deployer, server: ConfigServer) -> None:
    await deployer.deploy([ACME])
    await deployer.deploy([ACME, *(placed(f"tenant{number}") for number in range(20))])
    assert server.deploys == 2
    assert len(server.types) == 22


async def test_the_same_again_changes_nothing(deployer: Deployer) -> None:
    await deployer.deploy([ACME])
    plan = await deployer.plan([ACME])
    assert plan.changes_nothing
    assert plan.is_safe


async def test_a_plan_changes_nothing(deployer: Deployer, server: ConfigServer) -> None:
    await deployer.deploy([ACME])
    before = dict(server.files)
    plan = await deployer.plan([ACME, ZEBRA])
    assert plan.added == ["t_zebra_space"]
    assert plan.changed == ["services.xml"]
    assert (server.files, server.deploys) == (before, 1)


async def test_a_missing_tenant_is_never_removed(deployer: Deployer, server: ConfigServer) -> None:
    await deployer.deploy([ACME, ZEBRA])
    with pytest.raises(DeployRefused, match="t_zebra_space"):
        await deployer.deploy([ACME])
    assert (await deployer.plan([ACME])).unasked == ["t_zebra_space"]
    assert server.types == {"placeholder", "t_acme_space", "t_zebra_space"}
    assert sum(call.startswith("POST") and "session" in call for call in server.log) == 1


async def test_no_tenants_at_all_remove_none(deployer: Deployer, server: ConfigServer) -> None:
    """An empty database beside a full cluster: the wrong one, or one restored too early."""
    await deployer.deploy([ACME, ZEBRA])
    with pytest.raises(DeployRefused, match="no removal was requested"):
        await deployer.deploy([])
    assert len(server.types) == 3


async def test_exactly_the_named_tenant_goes(deployer: Deployer, server: ConfigServer) -> None:
    await deployer.deploy([ACME, ZEBRA, OTHER])
    plan = await deployer.deploy([ACME, OTHER], removed=["t_zebra_space"])
    assert plan.removed == ["t_zebra_space"]
    assert server.types == {"placeholder", "t_acme_space", "t_other_space"}
    assert "t_zebra_space" in server.files["validation-overrides.xml"]


async def test_the_override_is_gone_with_the_next_deploy(
    deployer: Deployer, server: ConfigServer
) -> None:
    await deployer.deploy([ACME, ZEBRA])
    await deployer.deploy([ACME], removed=["t_zebra_space"])
    await deployer.deploy([ACME, OTHER])
    assert "validation-overrides.xml" not in server.files


async def test_one_may_go_and_another_still_not(deployer: Deployer) -> None:
    await deployer.deploy([ACME, ZEBRA, OTHER])
    with pytest.raises(DeployRefused, match="t_other_space"):
        await deployer.deploy([ACME], removed=["t_zebra_space"])


async def test_removing_again_needs_no_override(deployer: Deployer, server: ConfigServer) -> None:
    await deployer.deploy([ACME, ZEBRA])
    await deployer.deploy([ACME], removed=["t_zebra_space"])
    plan = await deployer.deploy([ACME], removed=["t_zebra_space"])
    assert plan.removed == []
    assert "validation-overrides.xml" not in server.files


async def test_what_still_has_tenants_does_not_go(deployer: Deployer) -> None:
    await deployer.deploy([ACME])
    with pytest.raises(DeployRefused, match="still placed"):
        await deployer.deploy([ACME], removed=["t_acme_space"])


async def test_a_faster_deploy_is_followed_by_ours(
    deployer: Deployer, server: ConfigServer
) -> None:
    server.conflicts = 2
    await deployer.deploy([ACME])
    assert server.deploys == 1
    assert "t_acme_space" in server.types


async def test_conflicts_without_end_are_an_error(deployer: Deployer, server: ConfigServer) -> None:
    server.conflicts = 99
    with pytest.raises(DeployUnavailable, match="Another deploy came first"):
        await deployer.deploy([ACME])


async def test_a_reindex_waits_for_consent(deployer: Deployer, server: ConfigServer) -> None:
    server.actions = {
        "reindex": [{"documentType": "t_acme_space", "messages": ["Field 'x' changed"]}],
        "restart": [],
    }
    with pytest.raises(DeployRefused, match=r"--accept reindex"):
        await deployer.deploy([ACME])
    assert not server.generation
    plan = await deployer.deploy([ACME], accept=["reindex"])
    assert [action.kind for action in plan.actions] == ["reindex"]
    assert server.generation


async def test_the_config_servers_reason_is_told(deployer: Deployer, server: ConfigServer) -> None:
    server.refuses = "field-type-change: Field 'embeddings'"
    assert "field-type-change" in (await deployer.plan([ACME])).refusal
    with pytest.raises(DeployRefused, match="field-type-change"):
        await deployer.deploy([ACME])
    assert not server.generation


async def test_warnings_are_passed_on(deployer: Deployer, server: ConfigServer) -> None:
    server.warnings = ["a hint"]
    assert (await deployer.deploy([ACME])).warnings == ["a hint"]


async def test_a_deploy_ends_when_all_is_in_use(deployer: Deployer, server: ConfigServer) -> None:
    server.looks_until_converged = 3
    server.looks_until_canary = 2
    await deployer.deploy([ACME])
    assert server.looks_until_converged == server.looks_until_canary == 0
    looks = [call.rpartition("/")[2] for call in server.log]
    assert looks.count("serviceconverge") == 4
    assert "GET /document/v1/scrubjay/t_acme_space/docid/canary" in server.log


async def test_what_is_not_in_use_in_time_is_an_error(server: ConfigServer) -> None:
    server.looks_until_converged = 10**9
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=server.app)) as http:
        with pytest.raises(DeployUnavailable, match=r"not in use yet.*searchnode"):
            async with asyncio.timeout(60):
                await build(http, timeout_s=0.05).deploy([ACME])


async def test_a_config_server_that_is_down_is_named() -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("no", request=request)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(refuse)) as http:
        with pytest.raises(DeployUnavailable, match="http://config:19071 does not answer"):
            await build(http).deploy([ACME])


@pytest.mark.parametrize("status", [500, 503, 403])
async def test_an_answer_of_something_else_is_told_without_its_body(status: int) -> None:
    answer = httpx2.MockTransport(lambda _: httpx2.Response(status, text="<html>secret</html>"))
    async with httpx2.AsyncClient(transport=answer) as http:
        with pytest.raises(DeployUnavailable) as told:
            await build(http).deploy([ACME])
    assert str(status) in str(told.value)
    assert "secret" not in str(told.value)


async def test_status_names_schemas_and_generation(
    deployer: Deployer, server: ConfigServer
) -> None:
    assert await deployer.status() == (None, None)
    await deployer.deploy([ACME])
    schemas, convergence = await deployer.status()
    assert schemas == ["t_acme_space"]
    assert convergence is not None
    assert convergence.converged
    assert convergence.wanted == server.generation
