"""Who owns a lane and where it stands is PostgreSQL's to say: not Kafka's, not a worker's memory, not an error's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import embedded
from tests.support import ownership
from tests.support.scene import Scene, scene


@pytest.fixture
def installation(
    servers: embedded.Servers, database: str, topic_prefix: str, tmp_path: Path
) -> Iterator[Scene]:
    with scene(servers, tmp_path, dsn=database, topic_prefix=topic_prefix, owners=60) as made:
        yield made


def test_kafkas_committed_offset_ahead_of_the_lane_skips_nothing(installation: Scene) -> None:
    """Messages behind Kafka's committed offset are still decided when the lane's own position hasn't reached them."""
    ownership.offsets_ahead(installation)


def test_kafkas_committed_offset_behind_the_lane_repeats_nothing(installation: Scene) -> None:
    """A committed offset that went back makes no message be handled, or answered, a second time."""
    ownership.offsets_behind(installation)


def test_two_owners_at_once_decide_everything_once(installation: Scene) -> None:
    """Two workers that both believe to own all lanes fence each other without loss, and the one that stays goes on."""
    ownership.two_groups(installation)


def test_a_collision_in_the_log_is_not_read_as_done(installation: Scene) -> None:
    """A unique violation stops the lane visibly; once its cause is gone, everything is decided once."""
    ownership.log_collision(installation)
