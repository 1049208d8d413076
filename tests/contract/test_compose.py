"""infra/compose.yaml against the Compose specification, and against the rest of the repository."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.validators import validator_for

from flamebus.cli import VERBS
from flamebus.config import ENVIRONMENT_PREFIX, Settings
from infra.build import INFLUXDB_VERSION, KAFKA_VERSION, VERSITYGW_VERSION

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text())
    return content


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


def errors_of(content: dict[str, Any]) -> list[str]:
    schema = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text())
    return [f"{error.json_path}: {error.message}" for error in validator_for(schema)(schema).iter_errors(content)]


def test_it_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    assert not errors_of(compose)


def test_the_schema_notices_a_mistake(compose: dict[str, Any]) -> None:
    broken = {**compose, "services": {"agent": {"image": "flamebus", "privileged": {"no": "yes"}, "prots": []}}}
    assert len(errors_of(broken)) >= 1


def test_it_holds_the_whole_stack(services: dict[str, Any]) -> None:
    assert set(services) == {"kafka", "influxdb", "stream", "serve", "agent"}


def test_versions_are_those_that_tests_run(services: dict[str, Any]) -> None:
    assert services["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert services["influxdb"]["image"] == f"influxdb:{INFLUXDB_VERSION}"
    assert f"<version>{KAFKA_VERSION}<" in (ROOT / "infra/kafka/pom.xml").read_text()
    assert f"influxdb/v2 v{INFLUXDB_VERSION}\n" in (ROOT / "infra/influxdb/go.mod").read_text()
    assert f"versitygw@v{VERSITYGW_VERSION}\n" in (ROOT / "infra/s3/build.sh").read_text()


def test_what_services_refer_to_exists(compose: dict[str, Any], services: dict[str, Any]) -> None:
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        named = {volume.split(":")[0] for volume in service.get("volumes", []) if not volume.startswith("/")}
        assert named <= set(compose["volumes"])
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_a_service_waits_for_others_to_be_well_only_if_they_can_say_so(services: dict[str, Any]) -> None:
    for service in services.values():
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in services[needed]


def test_our_processes_are_given_settings_and_verbs_that_exist(services: dict[str, Any]) -> None:
    for name in ("stream", "serve", "agent"):
        for variable in services[name]["environment"]:
            assert variable.removeprefix(ENVIRONMENT_PREFIX).lower() in Settings.model_fields
        words = services[name].get("command") or re.findall(r"flamebus (\w+)", services[name]["entrypoint"][-1])
        assert words
        assert set(words) <= set(VERBS)


def test_nothing_listens_beyond_loopback(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        for variable, value in service["environment"].items():
            assert not variable.endswith("LISTEN") or value.startswith("127.0.0.1:")


def test_no_secret_is_written_down(services: dict[str, Any]) -> None:
    for service in services.values():
        for variable, value in service["environment"].items():
            if re.search("TOKEN|PASSWORD|SECRET", variable):
                assert value.startswith("${FLAMEBUS_INFLUX_TOKEN:?")


def test_the_agent_can_see_the_whole_host(services: dict[str, Any]) -> None:
    agent = services["agent"]
    assert agent["privileged"] is True
    assert agent["pid"] == "host"
    assert agent["cgroup"] == "host"


def test_the_image_has_every_package_of_the_wheel() -> None:
    dockerfile = (ROOT / "infra" / "Dockerfile").read_text()
    for package in ("flamebus", "bpf", "producers", "streams", "models", "dashboard", "infra"):
        assert re.search(rf"^COPY {package} {package}$", dockerfile, re.MULTILINE)
        assert f"\n!{package}\n" in (ROOT / "infra" / "Dockerfile.dockerignore").read_text()
