"""What `make` and `.ci/run` do on a new machine, with Python and pip replaced where they would need a network."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.deployment import ROOT

_OLD = f"""#!/bin/sh
case "$1" in --version) echo "Python 3.10.13"; exit;; esac
exec {sys.executable} -c 'import sys; sys.version_info = (3, 10, 13); exec(sys.argv[1])' "$2"
"""
_WITHOUT_VENV = f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"\n'
_MAKES_NO_VENV = f'#!/bin/sh\ncase "$*" in "-m venv"*) exit 1;; esac\nexec {sys.executable} "$@"\n'
_PIP = """
import pathlib, sys
top = pathlib.Path(sys.prefix).parent
if "install" in sys.argv:
    with (top / "pip.log").open("a") as log:
        print(*sys.argv[1:], file=log)
    script = top / ".venv/bin/orchestrator"
    script.touch()
    script.chmod(0o755)
"""
_REPORT = '<testsuites><testsuite name="pytest" tests="{tests}" skipped="{skipped}"/></testsuites>'


def _script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def _run(*argv: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


def _copied(top: Path) -> Path:
    """What `tools/venv.sh` reads, in a checkout of its own."""
    for name in ("tools/venv.sh", "requirements.lock", "pyproject.toml"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, top / name)
    return top


def test_an_old_python_is_refused_with_the_cure(tmp_path: Path) -> None:
    """Before anything is made, `make` says which Python it found, which it needs and how to name another."""
    python = _script(tmp_path / "python3", _OLD)
    made = _run(ROOT / "tools/venv.sh", PYTHON=str(python))
    assert made.returncode == 1
    assert "3.11 or newer" in made.stderr
    assert "Python 3.10.13" in made.stderr
    assert "make PYTHON=" in made.stderr


def test_a_python_without_venv_is_refused_with_the_cure(tmp_path: Path) -> None:
    """Debian keeps venv apart from Python: `make` names the package instead of showing a traceback."""
    python = _script(tmp_path / "python3", _WITHOUT_VENV)
    made = _run(ROOT / "tools/venv.sh", PYTHON=str(python))
    assert made.returncode == 1
    assert "apt-get install python3-venv" in made.stderr
    assert "Traceback" not in made.stderr


@pytest.mark.parametrize(
    ("system", "chosen"),
    [("recent", "system"), ("old", "PATH"), ("without venv", "PATH"), ("missing", "PATH")],
)
def test_the_distributions_python_is_preferred_where_it_will_do(
    tmp_path: Path, system: str, chosen: str
) -> None:
    """Without a name, the quicker build of the distribution is taken; one that is too old or lacks venv is passed over."""
    named = tmp_path / "system/python3"
    if system != "missing":
        _script(named, {"recent": _MAKES_NO_VENV, "old": _OLD, "without venv": _WITHOUT_VENV}[system])
    _script(tmp_path / "PATH/python3", _MAKES_NO_VENV)
    setup = _copied(tmp_path.resolve() / "checkout") / "tools/venv.sh"
    path = f"{tmp_path / 'PATH'}:{os.environ['PATH']}"
    made = _run(setup, PYTHON="", SYSTEM_PYTHON=str(named), PATH=path)
    assert f"Making .venv with {tmp_path / chosen / 'python3'} " in made.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose venv has a pip that only writes down what it was asked for."""
    top = _copied(tmp_path.resolve() / "checkout")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", top / ".venv"], check=True)
    _script(next((top / ".venv/lib").glob("python3*")) / "site-packages/pip/__main__.py", _PIP)
    return top


def _installs(checkout: Path) -> list[str]:
    log = checkout / "pip.log"
    made = _run(checkout / "tools/venv.sh", PYTHON=sys.executable)
    assert made.returncode == 0, made.stderr
    found = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return found


def test_setup_installs_the_lock_once(checkout: Path) -> None:
    """The first setup installs exactly the locked packages, checked by hash; the second finds nothing to do."""
    packages, project = _installs(checkout)
    assert "--require-hashes" in packages
    assert packages.endswith("-r requirements.lock")
    assert {"--no-deps", "--no-index", "-e"} <= set(project.split())
    assert _installs(checkout) == []


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_lock_or_project_is_installed(checkout: Path, name: str) -> None:
    """After a pull that changes what is needed, the next `make` brings .venv up to date."""
    _installs(checkout)
    with (checkout / name).open("a") as file:
        file.write("# changed\n")
    assert len(_installs(checkout)) == 2


def test_an_interrupted_setup_is_repeated(checkout: Path) -> None:
    """A setup that ended half-way isn't taken for a finished one."""
    pip = next((checkout / ".venv/lib").glob("python3*")) / "site-packages/pip/__main__.py"
    pip.write_text("import sys\nsys.exit('install' in sys.argv)")
    assert _run(checkout / "tools/venv.sh", PYTHON=sys.executable).returncode == 1
    pip.write_text(_PIP)
    assert len(_installs(checkout)) == 2


@pytest.mark.parametrize(
    ("tests", "skipped", "succeeds"),
    [(0, 0, False), (7, 7, False), (7, 6, True)],
    ids=["none", "all skipped", "one"],
)
def test_ci_wants_a_test_that_ran(tmp_path: Path, tests: int, skipped: int, *, succeeds: bool) -> None:
    """A green `make test` in which no test ran fails the CI run."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    report = _REPORT.format(tests=tests, skipped=skipped)
    _script(tmp_path / "bin/make", f"#!/bin/sh\nmkdir -p build\nprintf '%s' '{report}' >build/tests.xml\n")
    _script(tmp_path / ".venv/bin/python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    ended = _run(tmp_path / ".ci/run", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert (ended.returncode == 0) is succeeds, ended.stdout + ended.stderr


def test_ci_fails_with_the_tests(tmp_path: Path) -> None:
    """A failing `make test` fails the CI run, however many tests ran."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    report = _REPORT.format(tests=7, skipped=0)
    _script(
        tmp_path / "bin/make", f"#!/bin/sh\nmkdir -p build\nprintf '%s' '{report}' >build/tests.xml\nexit 2\n"
    )
    _script(tmp_path / ".venv/bin/python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    ended = _run(tmp_path / ".ci/run", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert ended.returncode != 0
