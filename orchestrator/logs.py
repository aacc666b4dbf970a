"""Log lines: JSON for machines, columns for people; one configuration for every process."""

import logging
import sys
from typing import Any

import structlog


def configure(level: str = "INFO", form: str = "auto") -> None:
    """`form` is json, console or auto (console at a terminal). Lines go to stderr."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ends: list[Any] = (
        [
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        ]  # no values of variables
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *ends],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        stream=sys.stderr, level=logging.ERROR, format="%(levelname)s %(name)s %(message)s", force=True
    )
    logging.getLogger("aiokafka").setLevel(
        logging.CRITICAL
    )  # its reconnect chatter; our own lines say what is down
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
