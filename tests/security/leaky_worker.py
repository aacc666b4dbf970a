"""The product's worker with a mistake in it: it tells its settings once. The canary test must find that out."""

import sys

import msgspec
import structlog

from orchestrator import logs, settings, worker_process

_configure = logs.configure


def telling(level: str = "INFO", form: str = "auto") -> None:
    """As the product configures its log, and one line too many."""
    _configure(level, form)
    structlog.get_logger("worker").info("settings", settings=msgspec.to_builtins(settings.load()))


if __name__ == "__main__":
    logs.configure = telling
    sys.exit(worker_process.main(sys.argv[1:]))
