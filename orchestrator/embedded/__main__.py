"""By hand: `python -m orchestrator.embedded fetch`, `… up --data DIR`, and for maintainers `… lock`."""

import argparse
import signal
import sys
import threading
from pathlib import Path

from orchestrator.embedded import EmbeddedError, KafkaSecurity, shared
from orchestrator.embedded.fetch import kafka_jars
from orchestrator.embedded.java import find_java
from orchestrator.embedded.pin import LOCK_FILE, write_lock
from orchestrator.embedded.servers import Progress


def main() -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 usage, 130 interrupted."""
    options = _parser().parse_args()
    try:
        match options.command:
            case "fetch":
                fetch(tell)
            case "up":
                _up(options.data, secure=options.secure)
            case _:
                print(f"{LOCK_FILE}: {write_lock()} jars")  # noqa: T201 - a command's answer
    except EmbeddedError as error:
        tell(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def fetch(progress: Progress) -> None:
    """Have everything at hand that a first start needs from outside: a Java and the broker's jars.

    Raises:
        EmbeddedError: there is no Java, or the jars can't be downloaded.
    """
    java = find_java()
    jars = kafka_jars(progress)
    progress(
        f"Java {java.major} at {java.launcher}; Kafka {jars.version}, {len(jars.paths)} jars in {jars.paths[0].parent}"
    )


def tell(text: str) -> None:
    """Progress goes to standard error: standard output is for answers."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a command's progress


def _up(data_dir: Path, *, secure: bool) -> None:
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: over.set())
    with shared(data_dir, kafka_security=KafkaSecurity() if secure else None, progress=tell) as servers:
        print(f"KAFKA_BOOTSTRAP_SERVERS={servers.bootstrap}\nDATABASE_URL={servers.dsn}", flush=True)  # noqa: T201
        if servers.secure is not None:
            listeners = f"# SSL {servers.secure.ssl_bootstrap}, SASL_SSL {servers.secure.sasl_bootstrap}"
            print(listeners, flush=True)  # noqa: T201
        tell("Ctrl-C stops them")
        over.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m orchestrator.embedded", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="download the broker's jars, once")
    up = commands.add_parser("up", help="run Kafka and PostgreSQL until Ctrl-C")
    up.add_argument("--data", type=Path, default=Path(".data"), help="the data folder (default: .data)")
    up.add_argument("--secure", action="store_true", help="with SSL and SASL_SSL listeners")
    commands.add_parser("lock", help="pin the broker's dependencies anew (for maintainers)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
