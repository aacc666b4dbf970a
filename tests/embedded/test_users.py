"""The servers run for root and for normal users alike."""

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import psutil
import psycopg
import pytest

from orchestrator import embedded
from orchestrator.embedded import fetch
from orchestrator.embedded.layout import open_layout
from orchestrator.embedded.unprivileged import can_reach, may_pass
from tests.embedded.callers import REPOSITORY, processes_of

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
PROGRAM = """
import sys
from pathlib import Path
import psycopg
from orchestrator import embedded
with embedded.start(Path(sys.argv[1])) as servers, psycopg.connect(servers.dsn) as connection:
    print(connection.execute("SELECT 'ran'").fetchone()[0])
"""


def test_the_database_never_runs_as_root(servers: embedded.Servers) -> None:
    """As a normal user the database is ours; as root it runs as an unprivileged user without any capability."""
    postgres = psutil.Process(servers.postgres.pid)
    status = Path(f"/proc/{postgres.pid}/status").read_text()
    assert set(postgres.uids()) == {os.geteuid() or pwd.getpwnam("nobody").pw_uid}
    assert int(_row(status, "CapEff:")[0], 16) == 0


@needs_root
def test_root_may_keep_the_data_in_a_closed_folder(data_dir: Path) -> None:
    """Under a folder closed to others, as root's home is, the database runs with the one right to pass it."""
    data_dir.parent.chmod(0o700)
    with embedded.start(data_dir) as servers:
        servers.postgres.restart()
        status = Path(f"/proc/{servers.postgres.pid}/status").read_text()
        with psycopg.connect(servers.dsn) as connection:
            connection.execute("CREATE TABLE kept (word text)")
            connection.execute("CHECKPOINT")
        assert int(_row(status, "CapEff:")[0], 16) == 1 << 1
        assert {int(uid) for uid in _row(status, "Uid:")} == {pwd.getpwnam("nobody").pw_uid}
    assert not processes_of(data_dir)
    assert data_dir.parent.stat().st_mode & 0o777 == 0o700


@needs_root
def test_a_normal_user_runs_both_servers(data_dir: Path) -> None:
    """A normal user starts both servers on a folder of theirs; root may start it later without taking it away."""
    user = pwd.getpwnam("nobody")
    jars = fetch.kafka_jars(lambda _text: None).paths[0].parent
    python = _python_for(user)
    data_dir.mkdir()
    os.chown(data_dir, user.pw_uid, user.pw_gid)
    cache = data_dir / "jars"
    cache.mkdir(mode=0o755)
    for jar in jars.glob("*.jar"):
        (cache / jar.name).write_bytes(jar.read_bytes())
    done = _as_user(user, [python, "-c", PROGRAM, str(data_dir / "own")], cache)
    assert done.stdout == "ran\n", done.stderr
    with embedded.start(data_dir / "own") as servers:
        assert psutil.Process(servers.postgres.pid).uids().real == user.pw_uid


@needs_root
def test_a_folder_of_another_user_is_refused(data_dir: Path) -> None:
    """A normal user is told that the data folder belongs to somebody else."""
    user = pwd.getpwnam("nobody")
    python = _python_for(user)
    open_layout(data_dir)
    done = _as_user(user, [python, "-c", PROGRAM, str(data_dir)], data_dir)
    assert "EmbeddedError: no right to write while preparing the data folder" in done.stderr
    assert str(data_dir) in done.stderr


def test_reach_follows_the_mode_bits(tmp_path: Path) -> None:
    """A path is reachable for a user only if every folder on the way lets that user pass."""
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    owner = closed.stat().st_uid
    assert not can_reach(closed / "inner", owner + 1, closed.stat().st_gid + 1)
    for mode, passes in ((0o711, True), (0o710, False), (0o755, True)):
        closed.chmod(mode)
        assert may_pass(closed.stat(), owner + 1, closed.stat().st_gid + 1) is passes


def _as_user(user: pwd.struct_passwd, command: list[str], jars: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(REPOSITORY), sysconfig.get_path("purelib")))
    return subprocess.run(
        command,
        cwd="/",
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, "ORCHESTRATOR_KAFKA_JARS": str(jars)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _python_for(user: pwd.struct_passwd) -> str:
    """An interpreter of our version that the user may run, with our libraries within their reach."""
    libraries = Path(sysconfig.get_path("purelib"))
    system = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin")
    for python in filter(None, (sys.executable, system)):
        if all(
            can_reach(path, user.pw_uid, user.pw_gid)
            for path in (Path(python).resolve(), REPOSITORY, libraries)
        ):
            return python
    pytest.skip(f"this Python, its libraries or {REPOSITORY} lie in a folder closed to {user.pw_name}")


def _row(status: str, name: str) -> list[str]:
    return next(line.split()[1:] for line in status.splitlines() if line.startswith(name))
