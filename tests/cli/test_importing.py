import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.errors import ConfigurationError
from orchestrator.importing import BadLine, load_mapping, messages
from tests.cli.calling import ROOT

OTTO = ROOT / "examples/otto.toml"
LINE = {
    "session": 3,
    "events": [{"aid": 9, "ts": 1000, "type": "clicks"}, {"aid": 9, "ts": 1000, "type": "clicks"}],
}


@pytest.fixture
def mapping():
    return load_mapping(OTTO)


def written(tmp_path: Path, *lines: Any, name: str = "history.jsonl") -> Path:
    path = tmp_path / name
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def mapped(tmp_path, text):
    path = tmp_path / "map.toml"
    path.write_text(text)
    return load_mapping(path)


def test_nested_events_become_raw_backfill_events(tmp_path, mapping) -> None:
    """Each event of a line is keyed by its owner, marked as backfill, and carries its own time."""
    found = [item.message for item in messages(written(tmp_path, LINE), mapping, "unused")]
    assert len(found) == 2
    first = found[0]
    assert (first.topic, first.key) == ("raw", b"otto/c/session-3")
    assert dict(first.headers) == {"ce_organization": b"otto", "ce_backfill": b"true"}
    body = json.loads(first.value)
    assert body["userId"] == "session-3"
    assert (body["type"], body["timestamp"], body["payload"]) == ("PRODUCT_VIEWED", 1000, {"article": 9})
    assert first.command == ("user-interactions", "otto-3-0-clicks-9-1000")
    assert body["idempotencyKey"] == "otto-3-0-clicks-9-1000"


def test_alike_rows_have_ids_of_their_own_and_the_same_ones_again(tmp_path, mapping) -> None:
    """Two equal events of a session are two events, and a second reading names them as the first did."""
    path = written(tmp_path, LINE)
    once = [item.message.command for item in messages(path, mapping, "x")]
    assert len(set(once)) == 2
    assert once == [item.message.command for item in messages(path, mapping, "x")]


def test_compressed_files_read_the_same(tmp_path, mapping) -> None:
    """A .gz file needs no unpacking."""
    plain = [item.message for item in messages(written(tmp_path, LINE), mapping, "x")]
    assert plain == [
        item.message for item in messages(written(tmp_path, LINE, name="h.jsonl.gz"), mapping, "x")
    ]


def test_a_file_is_read_as_it_is_needed(tmp_path, mapping) -> None:
    """The first event comes when a small part of the file was read: memory doesn't grow with the file."""
    path = written(tmp_path, *([LINE] * 5_000), "not json")
    reader = messages(path, mapping, "x")
    assert next(reader).read_bytes < path.stat().st_size / 10
    with pytest.raises(BadLine, match="line 5001"):
        list(reader)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1]", "JSON object"),
        ("{", "line 1"),
        ({"session": 1, "events": 5}, "isn't a list"),
        ({"session": 1}, "no field 'events'"),
        ({"session": 1, "events": [{"aid": 1, "ts": 1, "type": "other"}]}, "doesn't map"),
        ({"session": 1, "events": [{"aid": 1, "ts": "soon", "type": "clicks"}]}, "no number of ms"),
        ({"session": 1, "events": [{"ts": 1, "type": "clicks"}]}, "no field 'aid'"),
        ({"session": "a@b", "events": [{"aid": 1, "ts": 1, "type": "clicks"}]}, "opaque"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path, mapping, line, said) -> None:
    """What is wrong with history is told by file and line, with what there is instead."""
    with pytest.raises(BadLine, match=r"history\.jsonl, line 1") as error:
        list(messages(written(tmp_path, line), mapping, "x"))
    assert said in str(error.value)


FLAT = """
customer = "{user.id}"
id = "{n}"
time = {{ field = "at", unit = "{unit}" }}
type = {{ field = "what" }}
{more}
"""


@pytest.mark.parametrize(
    ("unit", "value"),
    [("s", 1.5), ("ms", 1500), ("us", 1_500_000), ("ns", 1_500_000_000), ("iso", "1970-01-01T00:00:01.5Z")],
)
def test_times_come_in_many_units(tmp_path, unit, value) -> None:
    """Seconds to nanoseconds and ISO 8601 mean the same moment."""
    line = {"user": {"id": "u1"}, "n": 1, "at": value, "what": "clicked"}
    mapping = mapped(
        tmp_path,
        FLAT.replace("{user.id}", "{{user.id}}").replace('"{n}"', '"{{n}}"').format(unit=unit, more=""),
    )
    (item,) = messages(written(tmp_path, line), mapping, "acme")
    assert json.loads(item.message.value)["timestamp"] == 1500
    assert item.message.key == b"acme/c/u1"


def test_a_mapping_can_address_one_definition(tmp_path) -> None:
    """With a definition named, history reaches that journey alone, as commands with ids of their own source."""
    more = 'definition = "lifecycle:shop"\nsource = "archive"'
    text = FLAT.replace("{user.id}", "{{user.id}}").replace('"{n}"', '"{{n}}"').format(unit="ms", more="")
    mapping = mapped(tmp_path, more + text)
    line = {"user": {"id": "u 1"}, "n": 1, "at": 1500, "what": "clicked"}
    (item,) = messages(written(tmp_path, line), mapping, "acme")
    headers = dict(item.message.headers)
    assert item.message.topic == "commands"
    assert headers["ce_subject"] == b"acme/c/u%201/lifecycle:shop"
    assert (headers["ce_source"], headers["ce_time"], headers["ce_backfill"]) == (
        b"archive",
        b"1970-01-01T00:00:01.500Z",
        b"true",
    )


@pytest.mark.parametrize("text", ["", "customer = 1", "nonsense", 'customer = "a"\nid = "b"\nunknown = 1'])
def test_a_mapping_that_does_not_fit_is_a_configuration_error(tmp_path, text) -> None:
    """A mapping's mistakes are told before anything is published."""
    with pytest.raises(ConfigurationError, match=r"map\.toml"):
        mapped(tmp_path, text)


def test_the_example_covers_every_type_of_the_data_set(mapping) -> None:
    """The three kinds of rows of the data set become three events of the shop definition."""
    assert Counter(mapping.type.values.values()) == Counter(
        ["PRODUCT_VIEWED", "ITEM_ADDED_TO_CART", "ORDER_PLACED"]
    )
