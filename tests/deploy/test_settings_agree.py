"""The deploy files and orchestrator/settings.py say the same about variables and ports."""

import re

import msgspec

from orchestrator.settings import ENVIRONMENT, Settings
from tests.deploy.deployment import (
    DOCKERFILE,
    PROMETHEUS,
    ROOT,
    container_ports,
    dockerfile_environment,
    example_environment,
    service,
)

_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Settings)}
_NOT_OURS = re.compile(r"PATH|PYTHON\w+|POSTGRES_\w+|GRAFANA_\w+|\w+_HOST_PORTS?")
METRICS_PORT = _DEFAULTS[ENVIRONMENT["ORCHESTRATOR_METRICS_PORT"]]


def test_every_variable_of_the_deploy_files_is_a_setting() -> None:
    """No deploy file sets a variable that the product would silently ignore."""
    used = {
        **dockerfile_environment(),
        **service("worker")["environment"],
        **service("init")["environment"],
        **example_environment(),
    }
    unknown = [name for name in used if name not in ENVIRONMENT and not _NOT_OURS.fullmatch(name)]
    assert unknown == []


def test_every_setting_of_the_table_is_a_field() -> None:
    """Each variable of the settings table leads to a field that exists."""
    assert set(ENVIRONMENT.values()) <= set(_DEFAULTS)


def test_the_metrics_port_is_the_same_everywhere() -> None:
    """Image, compose and Prometheus use the port that a worker listens on by default."""
    assert dockerfile_environment()["ORCHESTRATOR_METRICS_PORT"] == str(METRICS_PORT)
    assert re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE) == [str(METRICS_PORT)]
    assert service("worker")["environment"]["ORCHESTRATOR_METRICS_PORT"] == METRICS_PORT
    assert container_ports("worker") == [METRICS_PORT]
    jobs = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}
    assert [found["port"] for found in jobs["orchestrator"]["dns_sd_configs"]] == [METRICS_PORT]
    assert [found["names"] for found in jobs["orchestrator"]["dns_sd_configs"]] == [["worker"]]


def test_prometheus_and_grafana_meet() -> None:
    """Grafana's datasource is the port that Prometheus publishes and scrapes itself on."""
    port = container_ports("prometheus")[0]
    assert (
        f"http://prometheus:{port}"
        in (ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text()
    )
    jobs = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}
    assert jobs["prometheus"]["static_configs"] == [{"targets": [f"127.0.0.1:{port}"]}]
