import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import embedded
from orchestrator.embedded import fetch
from orchestrator.embedded.pin import kafka_version, pinned_jars
from tests.embedded.callers import REPOSITORY
from tests.embedded.mirror import Mirror, maven_path, serve

JARS = pinned_jars()
VICTIM = JARS[1]


@pytest.fixture(scope="module")
def jars_at_hand() -> dict[str, Path]:
    """The real jars, by their path in a Maven repository."""
    paths = fetch.kafka_jars(lambda _text: None).paths
    return {maven_path(jar): path for jar, path in zip(JARS, paths, strict=True)}


@pytest.fixture
def mirror(
    jars_at_hand: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Mirror]:
    """A mirror in use, with an empty cache and no patience between tries."""
    with serve(Mirror(jars_at_hand)) as running:
        monkeypatch.setenv("ORCHESTRATOR_MAVEN_URL", running.url + "/")
        monkeypatch.setenv("ORCHESTRATOR_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.delenv("ORCHESTRATOR_KAFKA_JARS", raising=False)
        monkeypatch.setattr(fetch, "RETRY_DELAY_S", 0.0)
        yield running


def test_a_mirror_serves_everything_once(mirror: Mirror, tmp_path: Path) -> None:
    """All jars come from the mirror named by the variable, with progress told; the next start downloads nothing."""
    told: list[str] = []
    jars = fetch.kafka_jars(told.append)
    assert jars.version == kafka_version(JARS)
    assert [path.name for path in jars.paths] == [jar.file_name for jar in JARS]
    assert all(path.is_relative_to(tmp_path / "cache") and path.is_file() for path in jars.paths)
    assert told[0].startswith(f"downloading Kafka: {len(JARS)} jars from {mirror.url}")
    assert told[-1].startswith(f"downloading Kafka: {len(JARS)}/{len(JARS)} jars")
    asked = len(mirror.asked)
    assert fetch.kafka_jars(told.append) == jars
    assert len(mirror.asked) == asked


def test_an_altered_jar_is_refused_and_fetched_again_later(mirror: Mirror) -> None:
    """A jar whose bytes differ from the pinned ones is never kept; the good ones needn't be downloaded again."""
    mirror.altered = {VICTIM.file_name}
    with pytest.raises(embedded.EmbeddedError, match="not the pinned file") as refused:
        fetch.kafka_jars(lambda _text: None)
    assert VICTIM.file_name in str(refused.value)
    assert "use another one" in str(refused.value)
    kept = {path.name for path in fetch.cache_dir().glob("*/*.jar")}
    assert VICTIM.file_name not in kept
    mirror.altered = set()
    mirror.asked.clear()
    assert all(path.is_file() for path in fetch.kafka_jars(lambda _text: None).paths)
    assert not kept & {Path(path).name for path in mirror.asked}
    assert not list(fetch.cache_dir().glob("*/.staging-*"))


@pytest.mark.parametrize("fault", ["cut", "absent"])
def test_a_mirror_that_fails_is_named_with_the_cures(mirror: Mirror, fault: str) -> None:
    """A download that ends early or a missing file stops the start with the place and three ways out."""
    setattr(mirror, fault, {VICTIM.file_name})
    with pytest.raises(embedded.EmbeddedError) as failed:
        fetch.kafka_jars(lambda _text: None)
    for part in (
        VICTIM.file_name,
        mirror.url,
        "HTTPS_PROXY",
        "ORCHESTRATOR_MAVEN_URL",
        "ORCHESTRATOR_KAFKA_JARS",
    ):
        assert part in str(failed.value)


def test_an_unreachable_mirror_is_named_without_its_password(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message for a mirror that is down names the host and the cures, never the credentials in its URL."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("ORCHESTRATOR_MAVEN_URL", f"http://reader:s3cret@127.0.0.1:{port}/maven2")
    told: list[str] = []
    with pytest.raises(embedded.EmbeddedError) as failed:
        fetch.kafka_jars(told.append)
    said = " ".join([str(failed.value), *told])
    assert f"http://127.0.0.1:{port}/maven2" in said
    assert "ORCHESTRATOR_KAFKA_JARS" in said
    assert "s3cret" not in said
    assert "s3cret" not in repr(failed.value.__cause__)


def test_a_mirror_that_is_no_url_is_refused(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror variable that isn't an http(s) URL is told apart from a mirror that is down."""
    monkeypatch.setenv("ORCHESTRATOR_MAVEN_URL", "mirror.example")
    with pytest.raises(embedded.EmbeddedError, match="ORCHESTRATOR_MAVEN_URL must be an http"):
        fetch.kafka_jars(lambda _text: None)


def test_fetchers_at_the_same_time_download_once(mirror: Mirror) -> None:
    """Two processes that need the jars at once don't download them twice."""
    threads = [threading.Thread(target=fetch.kafka_jars, args=(lambda _text: None,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    jars = [path for path in mirror.asked if path.endswith(".jar")]
    assert sorted(jars) == sorted(maven_path(jar) for jar in JARS)


def test_a_folder_of_jars_is_used_as_it_is(
    mirror: Mirror, jars_at_hand: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a folder of jars nothing is downloaded; a folder without a broker is refused."""
    folder = tmp_path / "libs"
    folder.mkdir()
    monkeypatch.setenv("ORCHESTRATOR_KAFKA_JARS", str(folder))
    with pytest.raises(embedded.EmbeddedError, match="holds no usable Kafka"):
        fetch.kafka_jars(lambda _text: None)
    for path in jars_at_hand.values():
        shutil.copy(path, folder)
    jars = fetch.kafka_jars(lambda _text: None)
    assert (jars.version, len(jars.paths)) == (kafka_version(JARS), len(JARS))
    assert {path.parent for path in jars.paths} == {folder}
    assert not mirror.asked


def test_the_proxy_variables_are_honoured(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a proxy variable the requests go to the proxy, as whole URLs."""
    monkeypatch.setenv("ORCHESTRATOR_MAVEN_URL", "http://repository.invalid/maven2")
    monkeypatch.setenv("http_proxy", mirror.url.removesuffix("/maven2"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    mirror.jars = {f"http://repository.invalid{path}": file for path, file in mirror.jars.items()}
    assert all(path.is_file() for path in fetch.kafka_jars(lambda _text: None).paths)
    assert all(path.startswith("http://repository.invalid/maven2/") for path in mirror.asked)


def test_the_fetch_command_prepares_a_start(mirror: Mirror) -> None:
    """`python -m orchestrator.embedded fetch` downloads what is missing, tells it on stderr, and exits 0 or 1."""
    command = [sys.executable, "-m", "orchestrator.embedded", "fetch"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert f"Kafka {kafka_version(JARS)}" in done.stderr
    mirror.absent = {VICTIM.file_name}
    shutil.rmtree(fetch.cache_dir())
    failed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert failed.returncode == 1
    assert f"error: can't download {VICTIM.file_name}" in failed.stderr
    assert "Traceback" not in failed.stderr
