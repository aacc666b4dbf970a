import re

from typer.main import get_command

from orchestrator.cli.options import Format
from orchestrator.cli.program import app
from tests.cli.calling import ROOT

CLI = (ROOT / "docs/cli.md").read_text()
README = (ROOT / "README.md").read_text()


def names() -> dict[str, list[str]]:
    """Commands by noun; those without one under an empty name."""
    found: dict[str, list[str]] = {"": []}
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            found[name] = list(command.commands)
        else:
            found[""].append(name)
    return found


def test_the_reference_names_every_command() -> None:
    """No command is left out of the documentation."""
    missing = [name for name in names()[""] if f"`{name}`" not in CLI and f"orchestrator {name}" not in CLI]
    missing += [
        f"{noun} {verb}"
        for noun, verbs in names().items()
        if noun
        for verb in verbs
        if f"orchestrator {noun} {verb}" not in CLI and f"`{noun} {verb}" not in CLI
    ]
    assert missing == []


def test_documents_show_only_commands_that_exist() -> None:
    """What is to be typed from the documents exists."""
    known = names()
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    wrong = []
    for document in documents:
        for words in re.findall(
            r"(?:`|^\$ |^|bin/)orchestrator ([a-z][a-z -]*)", document.read_text(), re.MULTILINE
        ):
            noun, *rest = words.split()
            if noun in known[""] or (noun in known and (not rest or rest[0] in known[noun])):
                continue
            wrong.append(f"{document.name}: orchestrator {words}")
    assert wrong == []


def test_documents_lead_somewhere() -> None:
    """Every file that README and the reference link to exists."""
    for text, folder in ((README, ROOT), (CLI, ROOT / "docs")):
        links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
        assert links
        assert [link for link in links if not (folder / link).exists()] == []


def test_every_command_that_answers_speaks_json() -> None:
    """`--output json` is there wherever something is told."""

    def leaves(command, path=()):  # type: ignore[no-untyped-def]
        for name, child in command.commands.items():
            yield from (
                leaves(child, (*path, name)) if hasattr(child, "commands") else [((*path, name), child)]
            )

    silent = {("worker",), ("fetch",), ("keys", "jwks")}  # the last one speaks nothing but JSON
    without = {
        path
        for path, command in leaves(get_command(app))
        if not any("--output" in p.opts for p in command.params)
    }
    assert without == silent
    assert {str(form) for form in Format} == {"table", "json"}
