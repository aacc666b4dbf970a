"""`orchestrator messages test-send`: the author sees the message as customers will."""

import asyncio
import json
from pathlib import Path

from tests.cli.calling import Ended, call, environment
from tests.providers.mail_server import Mailbox, mail_server

FILE = Path(__file__).parents[2] / "examples" / "templates" / "hello.yaml"
TEMPLATE = (
    "kind: template\nid: trial\nchannel: email\n"
    "email: {subject: 'Hi {{ name }}', text: 'For {{ name }}'}\nsample: {name: Ada}\n"
)


async def send(box: Mailbox | None, *arguments: str | Path) -> Ended:
    account = {"ORCHESTRATOR_SMTP_HOST": "127.0.0.1", "ORCHESTRATOR_SMTP_PORT": str(box.port)} if box else {}
    env = environment(
        **account, ORCHESTRATOR_SMTP_SECURITY="none", ORCHESTRATOR_SMTP_SENDER="Shop <news@example.com>"
    )
    return await asyncio.to_thread(call, "messages", "test-send", *arguments, env=env)


def written(folder: Path) -> Path:
    file = folder / "trial.yaml"
    file.write_text(TEMPLATE)
    return file


async def test_a_file_is_sent_with_its_sample_or_other_values(tmp_path: Path) -> None:
    """The mail arrives, and the answer names it; each call is a mail of its own."""
    file = written(tmp_path)
    values = tmp_path / "values.json"
    values.write_text('{"name": "Ben"}')
    async with mail_server() as box:
        first = await send(box, file, "--to", "author@example.com", "-o", "json")
        second = await send(box, file, "--to", "author@example.com", "--variables", f"@{values}")
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert [mail["Subject"] for mail in box.mails] == ["Hi Ada", "Hi Ben"]
    (told,) = json.loads(first.out)
    assert (told["status"], told["message_id"]) == ("taken over", box.mails[0]["Message-ID"])
    assert "taken over" in second.out


async def test_what_is_not_sent_ends_with_1(tmp_path: Path) -> None:
    """A missing variable, a provider without an account: the word is told, and nothing is sent."""
    file = written(tmp_path)
    async with mail_server() as box:
        missing = await send(box, file, "--to", "author@example.com", "--variables", "{}", "-o", "json")
    assert (missing.code, box.mails) == (1, [])
    (told,) = json.loads(missing.out)
    assert (told["status"], told["error"]) == ("failed", "missing_variable")
    nobody = await send(None, file, "--to", "author@example.com", "-o", "json")
    assert (nobody.code, json.loads(nobody.out)[0]["error"]) == (1, "not_configured")


async def test_wrong_arguments_are_said_before_anything_is_sent(tmp_path: Path) -> None:
    """An address of another channel, values that are no object, a file that is no template."""
    file = written(tmp_path)
    assert (await send(None, file, "--to", "+4915112345678")).code == 2
    assert (await send(None, file, "--to", "author@example.com", "--variables", "[1]")).code == 2
    assert (await send(None, file, "--to", "author@example.com", "--variables", "{")).code == 2
    assert (await send(None, tmp_path / "lost.yaml", "--to", "author@example.com")).code == 2
    flow = Path("examples/flow/welcome.yaml")
    wrong = await send(None, flow, "--to", "author@example.com")
    assert (wrong.code, "only templates" in wrong.err) == (1, True)
    file.write_text(TEMPLATE.replace("{{ name }}", "{{ name", 1))
    broken = await send(None, file, "--to", "author@example.com")
    assert (broken.code, "/email/subject" in broken.err) == (1, True)
