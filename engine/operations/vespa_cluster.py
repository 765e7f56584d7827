"""A Vespa cluster put together from settings: its client, its deployer, where spaces live.

`runtime.py` opens the index here, and the `scrubjay vespa` commands what they need. What the
deployer raises becomes an error of ours here, and only here.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import httpx2

from engine import clock
from engine.db.session import Database
from engine.errors import ConfigurationError, EngineError, Unavailable
from engine.index.port import SearchIndex
from engine.index.vespa import VespaIndex
from engine.index.vespa_http import VespaHttp
from engine.limits import SqlLimits
from engine.net.http import is_loopback
from engine.operations.placements import Deploy, SqlPlaces
from engine.settings import Settings
from vespa_app.deploy import Deployer, DeployRefused, DeployUnavailable
from vespa_app.package import Cluster, Tls
from vespa_app.tenancy import Placement

log = logging.getLogger(__name__)


def build_places(settings: Settings, db: Database, deploy: Deploy | None = None) -> SqlPlaces:
    """Where spaces live, deploying by the settings when one is made or dropped."""

    async def by_settings(placements: Sequence[Placement], *, removed: Sequence[str]) -> None:
        async with open_deployer(settings) as deployer:
            with deploy_faults():
                await deployer.deploy(placements, removed=removed)

    chosen = settings.vespa
    return SqlPlaces(
        db,
        SqlLimits(db),
        deploy or by_settings,
        cells=chosen.cells,
        policy=chosen.placement,
        max_dedicated=chosen.max_dedicated,
        wait_s=2 * chosen.deploy_timeout_s,
    )


def build_index(settings: Settings, db: Database) -> VespaIndex:
    """The search index on the cluster; opens no connection yet."""
    chosen = settings.vespa
    http = VespaHttp(
        chosen.url,
        query_timeout_s=chosen.query_timeout_s,
        feed_timeout_s=chosen.feed_timeout_s,
        http2=chosen.http2,
        tls=tls_context(settings),
    )
    return VespaIndex(http, build_places(settings, db))


async def deploy_first(settings: Settings, db: Database, index: SearchIndex) -> None:
    """Deploy where the cluster answers nothing yet, as one does that was just started.

    A cluster that is away is not waited for: a process that needs it says so.
    """
    if not await index.health():
        return
    try:
        await build_places(settings, db).deploy()
    except EngineError as error:
        log.warning("the Vespa application could not be deployed: %s", error)


@asynccontextmanager
async def open_deployer(settings: Settings) -> AsyncIterator[Deployer]:
    """A deployer for the cluster of the settings."""
    chosen = settings.vespa
    cluster = build_cluster(settings)
    local = is_loopback(httpx2.URL(chosen.config_url).host)
    tls = tls_context(settings) or True
    async with httpx2.AsyncClient(verify=tls, trust_env=not local) as http:
        yield Deployer(
            http,
            config_url=chosen.config_url,
            url=chosen.url,
            cluster=cluster,
            today=lambda: clock.now().date(),
            timeout_s=chosen.deploy_timeout_s,
        )


def build_cluster(settings: Settings) -> Cluster:
    """The hosts of the settings, and how they are used."""
    chosen = settings.vespa
    folder = chosen.tls_folder
    tls = Tls(f"{folder}/key.pem", f"{folder}/cert.pem", f"{folder}/ca.pem") if folder else None
    try:
        return Cluster(
            hosts=[host.strip() for host in chosen.hosts.split(",")],
            port=8443 if tls else 8080,
            tls=tls,
            copies=chosen.copies,
        )
    except ValueError as error:
        raise ConfigurationError(f"vespa.hosts: {error}.") from None


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What Vespa's nodes are checked with and shown; None where the system's own will do."""
    chosen = settings.vespa
    if not (chosen.ca_file or chosen.certificate_file):
        return None
    try:
        context = ssl.create_default_context(cafile=chosen.ca_file or None)
        if chosen.certificate_file:
            context.load_cert_chain(chosen.certificate_file, chosen.key_file or None)
    except OSError as error:  # an SSLError is one, too
        raise ConfigurationError(
            "vespa.ca_file, certificate_file or key_file can't be used"
            f" ({error.strerror or type(error).__name__}): name PEM files this process may read."
        ) from None
    return context


@contextmanager
def deploy_faults() -> Iterator[None]:
    """What a deployer raises, as ours."""
    try:
        yield
    except DeployRefused as error:
        raise ConfigurationError(str(error)) from None
    except DeployUnavailable as error:
        raise Unavailable(str(error)) from None
