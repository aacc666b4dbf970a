"""Never lost, never doubled: books kept by the publisher against everything the system left behind."""

from pathlib import Path

import pytest

from orchestrator import embedded
from tests.support import faults
from tests.support.ledger import Traffic
from tests.support.scene import Scene, scene

COMMANDS = 20_000
LONG_COMMANDS = 100_000


def run_all_faults(scene: Scene, *, rounds: int, commands: int, per_second: float) -> None:
    """The whole list of faults, with commands flowing all the while."""
    first, second = scene.worker("first").start(), scene.worker("second")
    first.wait_ready()
    with Traffic(scene.ledger, per_second=per_second) as traffic:
        for _ in range(rounds):
            faults.sigkill(scene, first)
            second.start().wait_ready()  # two workers rebalance
            faults.zombie(scene, second, first)
            faults.sigkill(scene, second)
            faults.restart(scene, scene.servers.postgres, brutally=False)
            faults.zombie(scene, first, second)
            faults.restart(scene, scene.servers.kafka, brutally=False)
            faults.lying_group(scene, [first, second], at_end=True)
            faults.restart(scene, scene.servers.postgres, brutally=True)
            faults.restart(scene, scene.servers.kafka, brutally=True)
            assert second.terminate() == 0  # it leaves in order, and the other takes over
        traffic.finish(at_least=commands)
    scene.await_done()


@pytest.mark.timeout(480)
def test_nothing_is_lost_or_doubled_whatever_fails(private_servers: embedded.Servers, tmp_path: Path) -> None:
    """Of 20,000 commands, a fifth repeated, each key is decided once though workers and servers die around them."""
    with scene(private_servers, tmp_path) as installation:
        run_all_faults(installation, rounds=1, commands=COMMANDS, per_second=200)
        assert installation.ledger.published >= COMMANDS
        assert installation.audit() == []


@pytest.mark.long
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("seed", [2])
def test_nothing_is_lost_or_doubled_for_long(
    private_servers: embedded.Servers, tmp_path: Path, seed: int
) -> None:
    """The same holds for 100,000 commands and every fault several times over."""
    with scene(private_servers, tmp_path, seed=seed, owners=2_000) as installation:
        run_all_faults(installation, rounds=4, commands=LONG_COMMANDS, per_second=400)
        assert installation.ledger.published >= LONG_COMMANDS
        assert installation.audit() == []
