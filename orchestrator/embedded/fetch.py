"""The broker's jars: downloaded once into a cache, each checked against its pinned SHA-256, or used from a folder.

`ORCHESTRATOR_KAFKA_JARS` names a folder of jars used as they are; `ORCHESTRATOR_MAVEN_URL` a mirror with Maven's
layout; `ORCHESTRATOR_CACHE_DIR` the cache. The usual proxy variables (`HTTPS_PROXY`, `NO_PROXY`) and
`REQUESTS_CA_BUNDLE` are honoured.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit, urlunsplit

import platformdirs

from orchestrator.embedded.errors import EmbeddedError, from_os_error
from orchestrator.embedded.pin import PinnedJar, kafka_version, pinned_jars

Progress = Callable[[str], None]

TRIES = 3
RETRY_DELAY_S = 1.0
TIMEOUT_S = 30
PARALLEL = 4
LOCK_WAIT_S = 900.0
CURES = (
    "set HTTPS_PROXY if you are behind a proxy, ORCHESTRATOR_MAVEN_URL to a Maven mirror you can reach, "
    "or ORCHESTRATOR_KAFKA_JARS to a folder that holds the jars"
)


@dataclass(frozen=True, slots=True)
class KafkaJars:
    """The broker's class path, in order, and its version."""

    paths: tuple[Path, ...]
    version: str


def kafka_jars(progress: Progress) -> KafkaJars:
    """The broker's jars, downloaded if they aren't in the cache yet.

    Raises:
        EmbeddedError: the folder has no broker, the download failed, or a jar isn't the pinned one.
    """
    if folder := os.environ.get("ORCHESTRATOR_KAFKA_JARS"):
        return _from_folder(Path(folder).expanduser())
    pinned = pinned_jars()
    version = kafka_version(pinned)
    folder_ = cache_dir() / f"kafka-{version}"
    try:
        folder_.mkdir(parents=True, exist_ok=True)
        if missing := _missing(folder_, pinned):
            with _lock(folder_ / ".lock", progress):
                missing = _missing(folder_, pinned)  # another process may have fetched them meanwhile
                _download_all(missing, folder_, progress)
    except OSError as error:
        raise from_os_error(error, "keeping the broker's jars", folder_) from error
    return KafkaJars(tuple(folder_ / jar.file_name for jar in pinned), version)


def cache_dir() -> Path:
    """Where downloads are kept: `ORCHESTRATOR_CACHE_DIR`, else the user's cache folder."""
    chosen = os.environ.get("ORCHESTRATOR_CACHE_DIR")
    return (
        Path(chosen).expanduser().absolute() if chosen else Path(platformdirs.user_cache_dir("orchestrator"))
    )


def _from_folder(folder: Path) -> KafkaJars:
    jars = tuple(sorted(folder.glob("*.jar")))
    brokers = [jar for jar in jars if jar.name.startswith("kafka_2.")]
    if len(brokers) != 1:
        found = (
            f"{len(jars)} jars, {len(brokers)} of them named kafka_2.*.jar"
            if folder.is_dir()
            else "no such folder"
        )
        raise EmbeddedError(
            f"ORCHESTRATOR_KAFKA_JARS={folder} holds no usable Kafka ({found}): "
            "point it at the `libs` folder of an Apache Kafka distribution, or unset it"
        )
    return KafkaJars(jars, brokers[0].stem.rpartition("-")[2])


def _missing(folder: Path, pinned: tuple[PinnedJar, ...]) -> list[PinnedJar]:
    # A jar gets its final name only after its checksum held, so presence is proof enough for a quick start.
    return [jar for jar in pinned if not (folder / jar.file_name).is_file()]


def _download_all(jars: list[PinnedJar], folder: Path, progress: Progress) -> None:
    if not jars:
        return
    url = maven_url()
    progress(f"downloading Kafka: {len(jars)} jars from {without_secrets(url)} into {folder}")
    done_bytes, reported_s = 0, time.monotonic()
    with TemporaryDirectory(dir=folder, prefix=".staging-") as staging:
        pool = ThreadPoolExecutor(PARALLEL)
        try:
            waiting = [pool.submit(_download, jar, folder, Path(staging), url) for jar in jars]
            for done, future in enumerate(as_completed(waiting), start=1):
                done_bytes += future.result()
                if done == len(jars) or time.monotonic() - reported_s > 2:
                    reported_s = time.monotonic()
                    progress(f"downloading Kafka: {done}/{len(jars)} jars, {done_bytes / 1e6:.0f} MB")
        finally:
            pool.shutdown(cancel_futures=True)


def _download(jar: PinnedJar, folder: Path, staging: Path, url: str) -> int:
    """Download, verify, and move into place one jar; returns its size in bytes."""
    from jgo.maven import MavenContext  # noqa: PLC0415 - 0.2 s, and only the first start needs it
    from requests import RequestException  # noqa: PLC0415

    context = MavenContext(repo_cache=staging, remote_repos={"central": url}, timeout=TIMEOUT_S)
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    for attempt in range(1, TRIES + 1):
        try:
            fetched = artifact.resolve()
        except RequestException as error:
            if attempt == TRIES:
                raise _unreachable(
                    jar, url, type(error).__name__
                ) from None  # its text may hold the URL's password
            (staging / artifact.component.path_prefix / jar.file_name).unlink(missing_ok=True)
            time.sleep(RETRY_DELAY_S * attempt)
        except RuntimeError:  # what the resolver raises for any answer but 200
            raise _unreachable(jar, url, "the server doesn't have it, or refuses it") from None
        else:
            return _verify_and_keep(jar, fetched, folder, url)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _verify_and_keep(jar: PinnedJar, fetched: Path, folder: Path, url: str) -> int:
    with fetched.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != jar.sha256:
        raise EmbeddedError(
            f"{jar.file_name} from {without_secrets(url)} is not the pinned file "
            f"(SHA-256 {digest[:16]}…, expected {jar.sha256[:16]}…), so it was refused: "
            "the mirror or a proxy on the way alters or truncates files; clear the mirror's copy or use another one"
        )
    size_bytes = fetched.stat().st_size
    fetched.replace(folder / jar.file_name)
    return size_bytes


def _unreachable(jar: PinnedJar, url: str, why: str) -> EmbeddedError:
    return EmbeddedError(f"can't download {jar.file_name} from {without_secrets(url)} ({why}): {CURES}")


def maven_url() -> str:
    """The repository to download from: the mirror in `ORCHESTRATOR_MAVEN_URL`, else the resolver's default."""
    mirror = os.environ.get("ORCHESTRATOR_MAVEN_URL", "").strip().rstrip("/")
    if mirror:
        if urlsplit(mirror).scheme not in {"http", "https"}:
            raise EmbeddedError(
                "ORCHESTRATOR_MAVEN_URL must be an http:// or https:// URL of a Maven repository"
            )
        return mirror
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415

    return str(MAVEN_CENTRAL_URL)


def without_secrets(url: str) -> str:
    """The URL without its user name and password, for messages."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


@contextmanager
def _lock(path: Path, progress: Progress) -> Iterator[None]:
    """Let one process download at a time; the kernel frees the lock of a process that died."""
    with path.open("a") as handle:
        deadline_s = time.monotonic() + LOCK_WAIT_S
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise EmbeddedError(
                        f"another process has held {path} for {LOCK_WAIT_S:.0f} s: end it"
                    ) from None
                if not told:
                    progress("waiting for another process that downloads Kafka")
                    told = True
                time.sleep(0.2)
        yield
