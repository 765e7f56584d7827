"""Compose, Kubernetes and the image agree with the settings, with one another, and leak nothing.

What no test here can do is run a container; docs/how-to/scale-out.md says what was validated how.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.config import load_settings
from engine.settings import Settings
from engine.settings.knowledge import VespaSettings
from engine.settings.section import SettingsSection

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
THREE_NODES = ROOT / "deploy" / "compose.three-nodes.yml"
KUBERNETES = ROOT / "deploy" / "kubernetes"
EXAMPLE_ENV = ROOT / "deploy" / "example.env"

SECRET = "s3cret-" * 6

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def load(path: Path) -> list[dict[str, Any]]:
    return [item for item in yaml.safe_load_all(path.read_text(encoding="utf-8")) if item]


def services(path: Path = COMPOSE) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(path)[0]["services"]
    return found


def filled(value: str) -> str:
    """A value as compose fills it in, every secret being the same."""
    assert not re.search(r"(?<!\$)\$(?![{$])", value), value

    def fill(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        assert kind is not None, f"{name} is neither required nor has a default"
        if kind == "-":
            return str(text)
        return "https://scrubjay.example.org" if name.endswith("URL") else SECRET

    return _VARIABLE.sub(fill, value)


def compose_environment(service: str) -> dict[str, str]:
    """What a container has where .env sets what it must: what is passed on has no value then."""
    given = services()[service]["environment"]
    return {name: filled(str(value)) for name, value in given.items() if value is not None}


# What compose decides by being compose.
FIXED_IN_COMPOSE = {"SCRUBJAY_SERVER__PORT": "the port inside the container, which it publishes"}


@pytest.mark.parametrize("service", ["server", "worker"])
def test_every_setting_is_set_by_compose_or_passed_on(service: str) -> None:
    given = services()[service]["environment"]
    known = {
        f"SCRUBJAY_{section}__{name}".upper()
        for section, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, SettingsSection)
        for name in field.annotation.model_fields
    }
    assert len(known) > 100
    assert known - given.keys() == FIXED_IN_COMPOSE.keys()
    assert given.keys() - known == {"SCRUBJAY_HOME"}
    passed_on = {name for name, value in given.items() if value is None}
    assert {"SCRUBJAY_LLM__API_KEY", "SCRUBJAY_SLACK__BOT_TOKEN"} <= passed_on


def test_a_first_deploy_that_still_works_is_not_ended() -> None:
    [server] = [item for item in load(KUBERNETES / "server.yaml") if item["kind"] == "Deployment"]
    [container] = server["spec"]["template"]["spec"]["containers"]
    probe = container["startupProbe"]
    assert "httpGet" not in probe  # it listens before it is ready, and only the latter takes long
    longest_s = VespaSettings.model_fields["deploy_timeout_s"].metadata[1].le
    assert probe["periodSeconds"] * probe["failureThreshold"] >= longest_s
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"


@pytest.mark.parametrize("service", ["server", "worker"])
def test_every_variable_of_compose_is_a_setting(tmp_path: Path, service: str) -> None:
    settings = load_settings(tmp_path, environ=compose_environment(service))
    assert settings.search.engine == "vespa"
    assert settings.storage.type == "s3"
    assert settings.database.url.startswith(f"postgresql+psycopg://scrubjay:{SECRET}@postgres:")
    assert settings.jobs.broker == f"redis://:{SECRET}@redis:6379/0"
    assert settings.system.secret_key.get_secret_value() == SECRET
    hosts = {settings.vespa.url, settings.vespa.config_url, settings.storage.endpoint}
    for address in hosts:
        assert re.match(r"http://(\w+):", address)[1] in services()  # type: ignore[index]


def test_the_three_nodes_are_the_ones_scrubjay_is_told_of(tmp_path: Path) -> None:
    override = services(THREE_NODES)
    for service in ("server", "worker"):
        environment = compose_environment(service) | override[service]["environment"]
        settings = load_settings(tmp_path, environ=environment)
        hosts = settings.vespa.hosts.split(",")
        assert len(hosts) == 3
        for host in hosts:
            node = services().get(host, {}) | override[host]
            assert node["hostname"] == host
            assert node["environment"]["VESPA_CONFIGSERVERS"] == settings.vespa.hosts
            assert node["healthcheck"]


def test_every_variable_of_kubernetes_is_a_setting(tmp_path: Path) -> None:
    config = load(KUBERNETES / "configmap.yaml")[0]["data"]
    secret = load(KUBERNETES / "secret.example.yaml")[0]["stringData"]
    assert set(secret.values()) == {""}
    given = {
        "SCRUBJAY_SYSTEM__SECRET_KEY": SECRET,
        "SCRUBJAY_DATABASE__URL": "postgresql://u:p@db/scrubjay",
        "SCRUBJAY_JOBS__BROKER": "redis://queue/0",
    }
    settings = load_settings(tmp_path, environ=config | secret | given)
    nodes = next(item for item in load(KUBERNETES / "vespa.yaml") if item["kind"] == "StatefulSet")
    container = nodes["spec"]["template"]["spec"]["containers"][0]
    hosts = {item["name"]: item["value"] for item in container["env"]}["VESPA_CONFIGSERVERS"]
    assert settings.vespa.hosts == hosts
    assert len(hosts.split(",")) == nodes["spec"]["replicas"] == 3
    names = {item["metadata"]["name"] for item in load(KUBERNETES / "vespa.yaml")}
    assert re.match(r"http://([\w-]+):8080", settings.vespa.url)[1] in names  # type: ignore[index]


def test_no_secret_has_a_default() -> None:
    text = COMPOSE.read_text(encoding="utf-8") + THREE_NODES.read_text(encoding="utf-8")
    optional = {name for name, kind, _ in _VARIABLE.findall(text) if kind == "-"}
    assert optional == {"SCRUBJAY_BIND", "SCRUBJAY_IMAGE"}
    required = {name for name, kind, _ in _VARIABLE.findall(text) if kind == "?"}
    example = EXAMPLE_ENV.read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == required
    mentioned = set(re.findall(r"^# (\w+)=", example, re.MULTILINE))
    assert mentioned - services()["server"]["environment"].keys() == optional


def pods() -> Iterator[dict[str, Any]]:
    for path in sorted(KUBERNETES.glob("*.yaml")):
        for item in load(path):
            if item["kind"] in {"Deployment", "StatefulSet"}:
                yield item["spec"]["template"]["spec"]


def test_every_image_is_pinned_and_vespa_is_the_one_tests_ask() -> None:
    images = {service["image"] for service in services().values()}
    images |= {s["image"] for s in services(THREE_NODES).values() if "image" in s}
    images |= {s["image"] for s in services(ROOT / "deploy" / "compose.smoke.yml").values()}
    images |= {container["image"] for pod in pods() for container in pod["containers"]}
    ours = {"scrubjay", "${SCRUBJAY_IMAGE:-scrubjay:0.1.0}"}
    for image in images - ours:
        assert re.search(r":[\w.-]*\d", image), f"{image} names no version"
        assert not image.endswith(":latest")
    vespa = {image for image in images if image.startswith("vespaengine/vespa:")}
    assert len(vespa) == 1
    pom = ROOT / "tests" / "vespa_oracle" / "pom.xml"
    asked = re.search(r"<vespa.version>(.+)</vespa.version>", pom.read_text(encoding="utf-8"))
    assert asked is not None
    assert vespa == {f"vespaengine/vespa:{asked[1]}"}
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    tag = load(KUBERNETES / "kustomization.yaml")[0]["images"][0]["newTag"]
    assert (tag, f"scrubjay:{version}" in str(images)) == (version, True)


def test_our_containers_run_as_nobody_and_write_nowhere_but_where_they_must() -> None:
    for name in ("server", "worker"):
        service = services()[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert {mount.split(":")[0] for mount in service["tmpfs"]} == {"/data", "/tmp"}
        assert service["deploy"]["resources"]["limits"]["memory"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    user = re.findall(r"^USER (\d+):", dockerfile, re.MULTILINE)
    assert user == ["10001"]
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]["cpu"]
            if container["image"] == "scrubjay":
                assert str(pod["securityContext"]["runAsUser"]) == user[0]
                assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_whatever_others_wait_for_says_when_it_is_ready() -> None:
    found = services()
    for service in found.values():
        for name, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert found[name]["healthcheck"]["test"]
            else:
                assert wanted["condition"] == "service_completed_successfully"
                assert "restart" not in found[name]


def test_the_image_holds_every_package_and_both_know_the_commands() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert re.findall(r"^COPY (\w+) \1$", dockerfile, re.MULTILINE) == packages
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for name in (*packages, "pyproject.toml", "uv.lock", "README.md", "LICENSE", "NOTICE"):
        assert f"!{name}" in ignored
        assert (ROOT / name).exists()
    from cli.main import app

    commands = {command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    asked = {
        service["command"][0]
        for name, service in services().items()
        if name in {"server", "worker"}
    }
    asked |= {c["args"][0] for pod in pods() for c in pod["containers"] if c["image"] == "scrubjay"}
    assert asked == {"serve", "worker"}
    assert asked <= commands
