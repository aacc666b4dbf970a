"""`orchestrator flows estimate`: who would enter a document that isn't published yet."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Shop
from tests.flow.graphs import LOG, document

pytestmark = pytest.mark.xdist_group("bulk-shop")  # one installation for all


def written(folder: Path, tier: str) -> Path:
    when = {"and": [{"==": [{"var": "customer.tier"}, tier]}, {">": [{"var": "event.payload.total"}, 5]}]}
    flow = document({"act": LOG}, id="planned", entry=[{"event": "ORDER", "when": when}], events=["ORDER"])
    file = folder / "planned.yaml"
    file.write_text(yaml.safe_dump(flow))
    return file


def test_customers_of_a_tier_are_counted(shop: Shop, customers: list[str], tmp_path: Path, until) -> None:
    """What the record says is judged, what it can't say is named, and nothing is published."""
    tier = customers[0][:20]
    lines = [
        json.dumps(
            {
                "subject": f"default/c/{name}/customer:profile",
                "type": "identify",
                "id": name,
                "data": {"attributes": {"tier": tier if n else "other", "email": f"{name}@example.com"}},
            }
        )
        for n, name in enumerate(customers)
    ]
    assert {row["outcome"] for row in shop.publish(*lines)} == {"applied"}
    file = written(tmp_path, tier)
    until(lambda: shop.ask("flows", "estimate", file)["any"]["customers"] == 2)
    found = shop.ask("flows", "estimate", file)
    (entry,) = found["entries"]
    assert (entry["customers"], entry["at_least"], entry["at_most"]) == (2, 2, 2)
    assert entry["not_judged"] == ["to whom ORDER happens", "event.payload.total"]
    assert "planned" not in {row["flow"] for row in shop.ask("flows", "list")}
    sampled = shop.ask("flows", "estimate", file, "--sample", "1")
    assert sampled["looked_at"] == 1
    assert sampled["any"]["at_least"] <= 2 <= sampled["any"]["at_most"]
    told = shop.call("flows", "estimate", file)
    assert told.code == 0
    assert "event.payload.total" in told.out
    assert "@" not in told.out


def test_what_is_no_flow_is_refused(shop: Shop, tmp_path: Path) -> None:
    """A broken document lists its problems, one of another kind is a wrong argument."""
    file = tmp_path / "broken.yaml"
    file.write_text("kind: flow\nid: broken\n")
    broken = shop.call("flows", "estimate", file)
    assert (broken.code, "nodes" in broken.err) == (1, True)
    assert shop.call("flows", "estimate", "examples/customers/profile.yaml").code == 2
    assert shop.call("flows", "estimate", tmp_path / "lost.yaml").code == 2
