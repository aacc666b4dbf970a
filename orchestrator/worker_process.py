"""What runs in each supervised worker process: `python -m orchestrator.worker_process [all|lanes|effects]`."""

import sys

from orchestrator import lifeline


def main(arguments: list[str]) -> int:
    """Work until asked to stop; returns the exit code: 0 stopped, 78 configuration, others by raising."""
    lifeline.hold()
    code = 0
    from orchestrator import logs, settings
    from orchestrator.core.errors import ConfigurationError

    try:
        found = settings.load()
        logs.configure(found.log_level, found.log_format)
        from orchestrator.app import run_worker

        run_worker(found, role=arguments[0] if arguments else "all")
    except* ConfigurationError as problems:
        error: BaseException = problems
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        sys.stderr.write(f"error: {error}\n")
        code = 78
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
