"""The tests of ownership can fail: with the bug planted that each is there for, it finds it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import embedded
from tests.support import ownership
from tests.support.scene import Scene, scene

PLANTED = [
    ("kafka_offset_trusted", ownership.offsets_ahead, "never decided: lost"),
    ("kafka_offset_trusted", ownership.offsets_behind, "outcomes not one a message"),
    ("integrity_error_ignored", ownership.log_collision, "never decided: lost|everything dealt with"),
]


@pytest.mark.parametrize(("bug", "scenario", "finding"), PLANTED)
def test_a_planted_bug_is_found(
    servers: embedded.Servers,
    database: str,
    topic_prefix: str,
    tmp_path: Path,
    bug: str,
    scenario: Callable[[Scene], None],
    finding: str,
) -> None:
    """A worker with this mistake in it doesn't pass the audit."""
    with (
        scene(servers, tmp_path, dsn=database, topic_prefix=topic_prefix, owners=60, bug=bug) as installation,
        pytest.raises(AssertionError, match=finding),
    ):
        scenario(installation)
