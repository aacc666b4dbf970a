"""The compose file: valid, consistent in itself, safe on a machine of one's own."""

import os
import re
import subprocess
import sys

import pytest

from tests.deploy.deployment import ROOT, container_ports, example_environment, filled_in, service, variables

SERVICES = ("kafka", "postgres", "init", "worker", "prometheus", "grafana")


def test_compose_follows_the_compose_specification() -> None:
    """docker-compose.yml holds no key and no type that the compose specification doesn't know."""
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            "docker-compose.yml",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched(name: str) -> None:
    """Each service has a health check of its own, the image's, or ends by itself."""
    health = service(name).get("healthcheck")
    if name == "init":
        assert health == {"disable": True}
    elif name == "worker":
        assert health is None, "the image's own check applies"
        assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()
    else:
        assert health is not None
        assert health["test"]


def test_workers_start_after_init_and_init_after_the_servers() -> None:
    """No worker meets a database without tables or a broker without topics."""
    assert service("worker")["depends_on"]["init"]["condition"] == "service_completed_successfully"
    assert {name: rule["condition"] for name, rule in service("init")["depends_on"].items()} == {
        "kafka": "service_healthy",
        "postgres": "service_healthy",
    }


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    """Nothing that compose starts can be reached from another machine."""
    for port in service(name).get("ports", []):
        assert filled_in(port).startswith("127.0.0.1:"), port


def test_kafka_is_reachable_from_inside_and_from_the_host() -> None:
    """The name a client is told to come back to is the one it can resolve, in a container and on the host."""
    kafka = service("kafka")["environment"]
    listeners = dict(entry.split("://") for entry in kafka["KAFKA_LISTENERS"].split(","))
    advertised = dict(
        entry.split("://") for entry in filled_in(kafka["KAFKA_ADVERTISED_LISTENERS"]).split(",")
    )
    protocols = dict(entry.split(":") for entry in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))

    assert advertised["INSIDE"] == "kafka" + listeners["INSIDE"]
    assert service("worker")["environment"]["KAFKA_BOOTSTRAP_SERVERS"] == advertised["INSIDE"]
    host_port, container_port = filled_in(service("kafka")["ports"][0]).split(":")[1:]
    assert advertised["HOST"] == f"localhost:{host_port}"
    assert listeners["HOST"] == f":{container_port}"
    assert set(protocols) == set(listeners)


def test_the_database_url_names_the_database_that_is_made() -> None:
    """User, password, name and port in DATABASE_URL are the ones the database container is given."""
    database = {key: filled_in(value) for key, value in service("postgres")["environment"].items()}
    url = filled_in(service("worker")["environment"]["DATABASE_URL"])
    assert url == (
        f"postgresql://{database['POSTGRES_USER']}:{database['POSTGRES_PASSWORD']}@postgres:"
        f"{container_ports('postgres')[0]}/{database['POSTGRES_DB']}"
    )


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_stands_in_the_file(name: str) -> None:
    """Each password comes from a variable; the file holds only what is good for one machine's loopback."""
    for key, value in service(name).get("environment", {}).items():
        if re.search("PASSWORD|SECRET|TOKEN", key):
            assert re.fullmatch(r"\$\{\w+:-for-local-use-only\}", str(value)), f"{name}: {key}"


def test_every_variable_has_one_default() -> None:
    """Compose starts without any variable set, and a variable means the same wherever it is used."""
    for name, defaults in variables().items():
        assert None not in defaults, f"{name} has no default"
        assert len(defaults) == 1, f"{name} has several defaults: {defaults}"


def test_the_example_environment_is_true() -> None:
    """.env.example shows variables that compose reads, with the values it uses without them."""
    read = variables()
    for name, value in example_environment().items():
        assert read.get(name) == {value}, name


def test_data_outlives_the_containers() -> None:
    """Each server's data is on a named volume."""
    for name in ("kafka", "postgres", "worker", "prometheus", "grafana"):
        mounts = [volume.split(":")[0] for volume in service(name)["volumes"]]
        assert any(re.fullmatch(r"[a-z]+-data", mount) for mount in mounts), name
