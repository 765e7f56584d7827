"""What `deploy/monitoring` asks for is what the product counts, and its alerts fire when they should."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from ingestion.services import CacheCounts
from tests.fakes.databases import service_url

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
QUESTION = {"question": "How many hours of advanced sick leave?"}


async def test_every_figure_of_the_dashboard_and_the_alerts_is_exposed(client) -> None:
    await client.post("/api/v1/search", json={"query": "hotels"})
    await client.post("/api/v1/ask", json=QUESTION)
    file = {"file": ("note.md", b"# Note\n\nTea is at four.")}
    await client.post("/api/v1/knowledge_bases/team/documents", files=file)  # a job that waits
    text = (await client.get("/metrics")).text
    exposed = set(re.findall(r"^(scrubjay_\w+)", text, re.MULTILINE))
    exposed |= {f"scrubjay_{name}" for name in CacheCounts().figures()}  # a worker's heartbeat
    asked = "".join((MONITORING / name).read_text() for name in ("alerts.yml", "grafana.json"))
    wanted = set(re.findall(r"scrubjay_\w+", asked))
    assert len(wanted) > 10
    assert wanted - exposed == set()


def test_each_alert_fires_when_it_should_and_a_healthy_hour_fires_none() -> None:
    promtool = service_url("SCRUBJAY_TEST_PROMTOOL")
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]):
        done = subprocess.run(
            [promtool, *command],
            check=False,
            cwd=MONITORING,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    tested = (MONITORING / "alerts.test.yml").read_text()
    for name in re.findall(r"alert: (\w+)", (MONITORING / "alerts.yml").read_text()):
        assert name in tested


def test_each_alert_says_what_to_do() -> None:
    alerts = (MONITORING / "alerts.yml").read_text().split("- alert: ")[1:]
    assert all("summary:" in alert and "action:" in alert for alert in alerts)
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    assert all(panel["title"] and panel["description"] for panel in dashboard["panels"])
