"""The command line. Nothing heavy is imported before a command runs, so that `--help` answers at once."""

import sys


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code: 0 done, 1 failed, 2 usage, 78 configuration, 130 interrupted."""
    from orchestrator.cli.failures import report
    from orchestrator.cli.program import app

    try:
        app(arguments, prog_name="orchestrator")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:  # noqa: BLE001  every end becomes one line and an exit code
        return report(error)
    return 0
