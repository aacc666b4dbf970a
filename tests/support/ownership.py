"""Short scenarios about who owns a lane and where it stands; each ends in an audit that must find nothing.

They run as they are, and once more with the bug planted that they are there to find.
"""

import psycopg
from psycopg import sql

from orchestrator.core.addresses import lane_of, parse_stream
from tests.support import faults
from tests.support.ledger import Traffic
from tests.support.scene import LANES, Scene, until
from tests.support.worker_process import WorkerProcess

_FOREIGN = "somebody.else.v1"


def offsets_ahead(scene: Scene) -> None:
    """Kafka's committed offsets stand behind messages that no lane has handled yet."""
    _with_lying_offsets(scene, at_end=True)


def offsets_behind(scene: Scene) -> None:
    """Kafka's committed offsets stand at the beginning, though the lanes are far ahead."""
    _with_lying_offsets(scene, at_end=False)


def _with_lying_offsets(scene: Scene, *, at_end: bool) -> None:
    worker = scene.worker("only").start()
    worker.wait_ready()
    scene.ledger.publish(500)
    scene.await_done()
    assert worker.terminate() == 0  # a dead member would keep the group from being altered
    scene.ledger.publish(500)
    faults.lie_about_offsets(scene, at_end=at_end)
    worker.start().wait_ready()
    scene.ledger.publish(500)
    scene.await_done(40)
    _nothing_wrong(scene)


def two_groups(scene: Scene) -> None:
    """Two workers of different groups own every lane at the same time, until one of them goes."""
    first = scene.worker("first").start()
    first.wait_ready()
    with Traffic(scene.ledger, per_second=200) as traffic:
        scene.await_progress(200)
        second = scene.worker("second", ORCHESTRATOR_CONSUMER_GROUP="another").start()
        until(lambda: bool(second.lanes()), "the other worker owns a lane as well", 60)
        scene.await_progress(400)
        assert second.terminate() == 0
        scene.await_progress(400, 30)
        traffic.finish(at_least=2_000)
    scene.await_done(40)
    assert fenced(first) + fenced(second) > 0, "neither was ever fenced: they didn't meet"
    _nothing_wrong(scene)


def fenced(worker: WorkerProcess) -> int:
    """How often one of its lanes found that another had written."""
    log = worker.log()
    return sum(
        log.count(word)
        for word in ("another owner writes this lane", "ProducerFenced", "InvalidProducerEpoch")
    )


def log_collision(scene: Scene) -> None:
    """A row that isn't the owner's stands where a journey's next event goes, for a while."""
    worker = scene.worker("only").start()
    worker.wait_ready()
    scene.ledger.publish(500)
    scene.await_done()
    stream = scene.ledger.entries[0].stream
    lane = lane_of(scene.ledger.entries[0].owner, LANES)
    with psycopg.connect(scene.dsn, autocommit=True) as connection:
        schema = sql.Identifier(f"lane_{lane:03d}")
        connection.execute(
            sql.SQL(
                "INSERT INTO {}.stored_events (originator_id, originator_version, topic, state, notification_id)"
                " SELECT originator_id, max(originator_version) + 1, %s, '', 1000000000"
                " FROM {}.stored_events WHERE originator_id = %s GROUP BY 1"
            ).format(schema, schema),
            (_FOREIGN, parse_stream(stream).id),
        )
        scene.ledger.publish_for(scene.ledger.entries[0].owner, 5)
        scene.ledger.publish(200)
        until(lambda: worker.readiness()[0] == 503, "the worker says that a lane can't go on", 30)
        connection.execute(
            sql.SQL("DELETE FROM {}.stored_events WHERE topic = %s").format(schema), (_FOREIGN,)
        )
    scene.await_done(40)
    _nothing_wrong(scene)


def _nothing_wrong(scene: Scene) -> None:
    found = scene.audit()
    assert found == [], found
