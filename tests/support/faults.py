"""Faults of a scene: what befalls workers, servers and Kafka's memory of the group."""

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from orchestrator.embedded import ServerControl
from tests.support.ledger import SILENT
from tests.support.scene import LANES, Scene, until
from tests.support.worker_process import WorkerProcess

ALL_LANES = set(range(LANES))
_MESSAGES = 200
_NOT_YET = (
    "UNKNOWN_MEMBER_ID", "NON_EMPTY_GROUP",  # dead members haven't timed out
    "UNKNOWN_LEADER_EPOCH", "FENCED_LEADER_EPOCH",  # the broker has just started again
)  # fmt: skip


def sigkill(scene: Scene, worker: WorkerProcess) -> None:
    """It dies under load and comes back."""
    scene.await_progress(_MESSAGES)
    worker.kill()
    worker.start().wait_ready()


def zombie(scene: Scene, sleeper: WorkerProcess, heir: WorkerProcess) -> None:
    """One is frozen past its session, loses its lanes to the other, wakes and still believes they are its own."""
    until(lambda: bool(sleeper.lanes()) and bool(heir.lanes()), "both own lanes", 60)
    scene.await_progress(_MESSAGES)
    sleeper.freeze()
    until(lambda: heir.lanes() == ALL_LANES, "the other took all lanes", 60)
    scene.await_progress(_MESSAGES)
    sleeper.wake()
    until(lambda: bool(sleeper.lanes()) and sleeper.lanes() | heir.lanes() == ALL_LANES, "shared again", 60)


def restart(scene: Scene, server: ServerControl, *, brutally: bool) -> None:
    """A server goes under load and comes back; the workers stay."""
    scene.await_progress(_MESSAGES)
    if brutally:
        server.kill()
    else:
        server.stop()
    server.start()
    scene.await_progress(_MESSAGES)


def lying_group(scene: Scene, workers: list[WorkerProcess], *, at_end: bool) -> None:
    """While nobody runs, Kafka's committed offsets are set to the ends or the beginnings of the logs."""
    for worker in workers:
        worker.kill()
    lie_about_offsets(scene, at_end=at_end)
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.wait_ready()


def admin_client(bootstrap: str) -> AdminClient:
    """An administrator who doesn't print when brokers come and go."""
    return AdminClient({"bootstrap.servers": bootstrap}, logger=SILENT)


def lie_about_offsets(scene: Scene, *, at_end: bool) -> None:
    """Set the group's committed offsets, once its dead members have timed out."""
    admin = admin_client(scene.servers.bootstrap)
    spec = OffsetSpec.latest() if at_end else OffsetSpec.earliest()
    asked = {
        TopicPartition(scene.topic_prefix + topic, lane): spec
        for topic in ("journeys.commands", "user-interactions")
        for lane in range(LANES)
    }

    def done() -> bool:
        try:
            ends = {p: answer.result(timeout=30).offset for p, answer in admin.list_offsets(asked).items()}
            lies = [TopicPartition(p.topic, p.partition, offset) for p, offset in ends.items()]
            request = ConsumerGroupTopicPartitions(scene.group, lies)
            answer = admin.alter_consumer_group_offsets([request])[scene.group].result(timeout=30)
        except KafkaException as error:
            if error.args[0].name() in _NOT_YET or error.args[0].retriable():
                return False
            raise
        return not any(p.error for p in answer.topic_partitions)

    until(done, "committed offsets altered", 60)
