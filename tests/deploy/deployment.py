"""What the deploy files say, read once for the tests beside this file."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())

_VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")


def service(name: str) -> dict[str, Any]:
    """One compose service, its YAML anchors merged."""
    found: dict[str, Any] = COMPOSE["services"][name]
    return found


def filled_in(text: object) -> str:
    """A compose value as it reads when no variable is set outside."""
    return _VARIABLE.sub(lambda match: match["default"] or "", str(text))


def variables() -> dict[str, set[str | None]]:
    """Every variable compose takes from outside, with the defaults it is given (None: it has none)."""
    found: dict[str, set[str | None]] = {}
    for match in _VARIABLE.finditer(COMPOSE_TEXT):
        found.setdefault(match["name"], set()).add(match["default"])
    return found


def example_environment() -> dict[str, str]:
    """The assignments in .env.example."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def dockerfile_environment() -> dict[str, str]:
    """The variables the image sets for its processes."""
    block = DOCKERFILE.rsplit("\nENV ", 1)[1].split("\nUSER", 1)[0]
    return dict(re.findall(r"(\w+)=(\S+)", block))


def container_ports(name: str) -> list[int]:
    """The ports a service publishes, as seen inside its container."""
    return [int(filled_in(port).rsplit(":", 1)[1]) for port in service(name).get("ports", [])]
