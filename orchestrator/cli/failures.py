"""Errors as people see them: one line that names the place and the cure, and an exit code."""

import os
import sys
import traceback

from orchestrator.core.errors import ConfigurationError, OrchestratorError

FAILED, CONFIGURATION, INTERRUPTED = 1, 78, 130
_DEPENDENCIES = {  # by the library's module, so that no library is loaded only to compare types
    "aiokafka": "Kafka does not answer as expected: {}. Check KAFKA_BOOTSTRAP_SERVERS; `orchestrator doctor` tells more",
    "eventsourcing": "PostgreSQL does not answer as expected: {}. Check DATABASE_URL; `orchestrator doctor` tells more",
    "psycopg": "PostgreSQL does not answer as expected: {}. Check DATABASE_URL; `orchestrator doctor` tells more",
    "psycopg_pool": "PostgreSQL can't be reached: {}. Check DATABASE_URL; `orchestrator doctor` tells more",
}


def report(error: BaseException) -> int:
    """Say what went wrong on standard error; returns the exit code. LOG_LEVEL=DEBUG adds the traceback."""
    error = innermost(error)
    if isinstance(error, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if os.environ.get("LOG_LEVEL", "").upper() == "DEBUG":
        traceback.print_exception(error)
    sys.stderr.write(f"error: {message_of(error)}\n")
    return CONFIGURATION if isinstance(error, ConfigurationError) else FAILED


def message_of(error: BaseException) -> str:
    """One line for people."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OrchestratorError):
        return text
    library = dependency_of(error)
    if library is not None:
        return _DEPENDENCIES[library].format(text.rstrip("."))
    if isinstance(error, OSError | TimeoutError):
        return text
    return f"{type(error).__name__}: {text} (unexpected; LOG_LEVEL=DEBUG shows where)"


def dependency_of(error: BaseException) -> str | None:
    """The library behind which Kafka or PostgreSQL failed; None for any other error."""
    for kind in type(error).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in _DEPENDENCIES:
            return library
    return None


def innermost(error: BaseException) -> BaseException:
    """The first error of nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
