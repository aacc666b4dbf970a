import json

import pytest

from orchestrator.cli import output
from orchestrator.cli.letters import dump
from orchestrator.cli.options import Format


def test_text_from_outside_cannot_steer_the_terminal() -> None:
    """Control characters and escapes of data are written out, readable and without effect."""
    assert output.safe("\x1b[31mred\x07\x9b\u202e") == "\\x1b[31mred\\x07\\x9b\\u202e"
    assert output.safe("Müller\nzweite Zeile") == "Müller\nzweite Zeile"
    assert "\x1b" not in output.cell({"name": "\x1b]0;title"})


def test_cells_show_times_and_numbers_for_people() -> None:
    """Milliseconds become times in UTC, thousands are grouped, nothing stays empty."""
    assert output.cell(1_772_366_400_123, "at_ms") == "2026-03-01T12:00:00.123Z"
    assert output.cell(12_345) == "12,345"
    assert output.cell(None) == ""
    assert output.cell(True) == "yes"


@pytest.mark.parametrize("rows", [[], [{"a": 1, "b": {"c": b"\xff"}}]])
def test_json_is_one_document_and_nothing_else(capsys, rows) -> None:
    """Programs read standard output whole, also when there is nothing to tell."""
    output.rows(("a",), rows, Format.JSON, title="a title", empty="nothing here")
    assert len(json.loads(capsys.readouterr().out)) == len(rows)


def test_tables_elsewhere_than_a_terminal_are_not_cut(capsys) -> None:
    """Grep finds a long value whole, without colours."""
    long = "x" * 150
    output.rows(("a", "b"), [{"a": long, "b": 1}], Format.TABLE)
    shown = capsys.readouterr().out
    assert long in shown
    assert "\x1b" not in shown


def test_progress_is_quiet_elsewhere_than_at_a_terminal(capsys) -> None:
    """Logs and pipes get no progress bar."""
    with output.progress("working", 10) as advance:
        advance(5, "half")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_binary_is_dumped_with_offsets() -> None:
    """Bytes that are no text are shown in hexadecimal beside what is printable."""
    assert dump(b"\xff\xfe\x00ok\x1b") == "00000000  ff fe 00 6f 6b 1b" + " " * 31 + " ...ok."
