import pytest

from tests.cli.calling import SHOP, call, environment

NOWHERE = "127.0.0.1:1"
DSN = "postgresql://somebody:canary-password@127.0.0.1:1/nothing"


def test_help_loads_nothing_heavy(tmp_path) -> None:
    """Help answers before any of the libraries that commands need is imported."""
    import subprocess
    import sys

    heavy = "aiokafka eventsourcing psycopg aiohttp pyarrow orjson msgspec structlog prometheus_client yaml cryptography"
    program = (
        "import sys; from orchestrator.cli import run; code = run(['journeys', 'list', '--help']);"
        f"print([name for name in {heavy.split()!r} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment()
    )
    assert ended.returncode == 0
    assert ended.stderr.splitlines()[-1] == "[]"
    assert "orchestrator journeys list --state CHECKOUT" in ended.stdout


def test_every_command_shows_examples() -> None:
    """Help of each command ends with command lines to copy."""
    from typer.main import get_command

    from orchestrator.cli.program import app

    def leaves(command, path=()):
        if hasattr(command, "commands"):
            for name, child in command.commands.items():
                yield from leaves(child, (*path, name))
        else:
            yield path, command

    missing = [path for path, command in leaves(get_command(app)) if "$[/dim] " not in (command.epilog or "")]
    assert missing == []


def test_a_wrong_option_ends_with_2() -> None:
    """Wrong usage is told apart from failure by its exit code."""
    assert call("journeys", "list", "--no-such-option").code == 2
    assert call("commands", "publish").code == 2
    assert call("no-such-noun").code == 2


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, "orchestrator up"),
        ({"KAFKA_BOOTSTRAP_SERVERS": NOWHERE}, "DATABASE_URL is not"),
        ({"DATABASE_URL": DSN}, "KAFKA_BOOTSTRAP_SERVERS is not"),
        ({"KAFKA_BOOTSTRAP_SERVERS": NOWHERE, "DATABASE_URL": "not a dsn"}, "DATABASE_URL"),
        (
            {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE, "DATABASE_URL": DSN, "POSTGRES_ENABLE_DB_FUNCTIONS": "y"},
            "Unset it",
        ),
        (
            {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE, "DATABASE_URL": DSN, "ORCHESTRATOR_LANES": "many"},
            "ORCHESTRATOR_LANES",
        ),
    ],
)
@pytest.mark.parametrize("command", [("journeys", "list"), ("worker",)])
def test_wrong_configuration_ends_with_78(tmp_path, changes, named, command) -> None:
    """Each configuration error is one line with its cure and exit code 78, without a traceback or a password."""
    ended = call(*command, "--data", tmp_path / "none", env=environment(**changes))
    assert ended.code == 78, ended.err
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert any(named in line for line in lines), ended.err
    assert "Traceback" not in ended.err
    assert "canary-password" not in ended.err
    assert ended.out == ""


def test_unreachable_servers_end_with_1() -> None:
    """A database that doesn't answer is one line with a cure, and the password isn't in it."""
    ended = call("journeys", "list", env=environment(KAFKA_BOOTSTRAP_SERVERS=NOWHERE, DATABASE_URL=DSN))
    assert ended.code == 1
    (line,) = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert "PostgreSQL" in line
    assert "DATABASE_URL" in line
    assert "Traceback" not in ended.err
    assert "canary-password" not in ended.err


def test_debug_shows_the_traceback() -> None:
    """LOG_LEVEL=DEBUG tells where an error was raised."""
    ended = call("definitions", "schema", "no-such-kind", env=environment(LOG_LEVEL="DEBUG"))
    assert ended.code == 1
    assert "Traceback" in ended.err


def test_a_broken_document_lists_every_problem(tmp_path) -> None:
    """Validation names file, line, place and cure of all problems, and ends with 1."""
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        SHOP.read_text()
        .replace("initial: ONBOARDING", "initial: NOWHERE")
        .replace("target: BROWSING", "target: GONE")
    )
    ended = call("definitions", "validate", broken, SHOP)
    assert ended.code == 1
    assert ended.out.count(f"{broken}:") >= 3
    assert f"{SHOP}: ok" in ended.out
    problems = call("definitions", "validate", broken, "-o", "json").json
    assert {"file", "line", "severity", "pointer", "message", "cure"} <= set(problems[0])


def test_the_schema_is_one_json_document() -> None:
    """The schema goes to editors as it comes."""
    assert call("definitions", "schema").json["title"] == "Journey definition"
    assert call("definitions", "schema", "no-such-kind").code == 1


def test_version_speaks_json() -> None:
    """The release can be read by a program."""
    from orchestrator import __version__

    assert call("version", "-o", "json").json["orchestrator"] == __version__
