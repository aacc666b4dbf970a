"""The Grafana dashboards ask only for what the workers measure."""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.registry import CollectorRegistry

from consumers.effects.metrics import EffectMetrics
from orchestrator import metrics
from tests.deploy.deployment import ROOT, service

GRAFANA = ROOT / "deploy/grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
DATASOURCE = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"][
    0
]
PROVIDER = yaml.safe_load((GRAFANA / "provisioning/dashboards/files.yml").read_text())["providers"][0]


def _panels() -> list[Any]:
    return [
        pytest.param(panel, id=f"{path.stem}: {panel['title']}")
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
        if panel["type"] != "row"
    ]


def _nodes(node: Any) -> Iterator[Any]:
    """A PromQL expression's node and every node below it."""
    yield node
    children = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "vector_selector")]
    for child in [*children, *(getattr(node, "args", None) or [])]:
        if child is not None:
            yield from _nodes(child)


def _measured() -> dict[str, set[str]]:
    """Series name to label names, as a scrape of a worker would show them."""
    series: dict[str, set[str]] = {}
    effects = EffectMetrics(CollectorRegistry())
    for metric in [*vars(metrics).values(), *vars(effects).values()]:
        if isinstance(metric, type | CollectorRegistry) or not hasattr(metric, "collect"):
            continue
        labels = set(getattr(metric, "_labelnames", ()))
        for family in metric.collect():
            ending = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}[
                family.type
            ]
            for suffix in ending:
                series[family.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return series


def test_there_are_dashboards_and_measurements() -> None:
    """The comparison below compares something: one dashboard at least, and metrics that are registered."""
    assert DASHBOARDS
    assert len(_measured()) > 10
    assert any(family.name == "journey_commands" for family in REGISTRY.collect())


@pytest.mark.parametrize("panel", _panels())
def test_each_panel_shows_something_measured(panel: dict[str, Any]) -> None:
    """Each expression is valid PromQL and asks for a series, and for labels, that a worker exposes."""
    measured = _measured()
    for target in panel["targets"]:
        text = target["expr"].replace("$__rate_interval", "1m")
        nodes = list(_nodes(promql_parser.parse(text)))
        series = {str(node.name) for node in nodes if isinstance(node, promql_parser.VectorSelector)}
        assert series, text
        assert series <= set(measured), f"not measured: {series - set(measured)}"
        grouped = {
            label
            for node in nodes
            if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None
            for label in node.modifier.labels
        }
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        known = {label for name in series for label in measured[name]}
        assert grouped <= known, f"{text}: no label {grouped - known}"
        assert shown <= grouped, f"{text}: {shown - grouped} is lost in the aggregation"


def test_dashboards_are_provisioned_where_compose_mounts_them() -> None:
    """Grafana finds the dashboards, and each panel its datasource, without a click."""
    mounts = dict(volume.split(":")[:2] for volume in service("grafana")["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == PROVIDER["options"]["path"]
    home = service("grafana")["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.removeprefix(PROVIDER["options"]["path"] + "/") in {path.name for path in DASHBOARDS}
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            if panel["type"] != "row":
                assert panel["datasource"]["uid"] == DATASOURCE["uid"], panel["title"]
