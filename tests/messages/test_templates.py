"""Template documents: every problem at once, placed, with a cure; and the examples are good."""

import copy
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from consumers.actions.mail import named_address
from orchestrator import definitions
from orchestrator.messages import (
    TEMPLATE,
    EmailMessage,
    MissingVariable,
    PushMessage,
    SmsMessage,
    check,
    compile_document,
    prepared,
    render,
)

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "templates"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
VALIDATOR = jsonschema_rs.Draft202012Validator(dict(TEMPLATE.schema))
EMAIL: dict[str, Any] = {
    "kind": "template",
    "id": "welcome_email",
    "channel": "email",
    "email": {"subject": "Hi {{ name }}", "html": "<p>{{ name }}</p>", "text": "{{ name }}"},
    "sample": {"name": "Anna"},
}


def document(**changes: Any) -> dict[str, Any]:
    """The good email with parts changed; None removes one."""
    made = copy.deepcopy(EMAIL)
    made["email"].update(changes)
    made["email"] = {name: value for name, value in made["email"].items() if value is not None}
    return made


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_good(path: Path) -> None:
    """Each example fits the schema, has no problem, and renders with its own sample."""
    found = definitions.read(path.read_bytes()).value
    assert VALIDATOR.is_valid(found)
    assert check(found) == []
    assert found["id"] == path.stem
    render(compile_document(found), found["sample"])


MESSAGE_ACTIONS = {"send_email": "email", "send_sms": "sms", "send_push": "push"}


def actions_of_flows() -> list[tuple[str, dict[str, Any]]]:
    """Each message action of the example flows, with its flow's name."""
    found = []
    for path in sorted((ROOT / "examples" / "flow").glob("*.yaml")):
        flow = definitions.read(path.read_bytes()).value
        actions = (*flow.get("actions", {}).values(), *flow["nodes"].values())
        found += [(path.stem, action) for action in actions if action.get("type") in MESSAGE_ACTIONS]
    return found


def test_the_example_flows_find_their_templates() -> None:
    """Each template an example flow names is there, for its channel, and renders with the variables the flow gives."""
    assert len(actions_of_flows()) >= 3
    for flow, action in actions_of_flows():
        params = action["params"]
        document = definitions.read((FOLDER / f"{params['template']}.yaml").read_bytes()).value
        assert document["channel"] == MESSAGE_ACTIONS[action["type"]], flow
        given = {name: 7 if "points" in name else "Anna" for name in params.get("variables", {})}
        assert render(compile_document(document), given)


def test_there_are_examples_for_every_channel() -> None:
    """A newcomer finds one to copy for each channel."""
    channels = {definitions.read(path.read_bytes()).value["channel"] for path in EXAMPLES}
    assert channels == {"email", "sms", "push"}


@pytest.mark.parametrize(
    "change",
    [
        {"channel": "fax"},
        {"id": "Bad Id"},
        {"colour": 1},
        {"email": {"html": "x"}},
        {"email": {"subject": "x", "text": 3}},
        {"email": {"subject": "", "text": "x"}},
        {"email": {"subject": "x", "text": "x", "from": "a@example.com\r\nBcc: b@example.com"}},
        {"channel": "sms"},
        {"channel": "push", "push": {"title": "x", "body": "x", "data": {"a b": "x"}}},
    ],
)
def test_the_shape_is_the_schemas(change: dict[str, Any]) -> None:
    """Wrong channels, parts, names and types are refused by the schema, which editors know too."""
    assert VALIDATOR.is_valid(EMAIL)
    assert not VALIDATOR.is_valid({**EMAIL, **change})


def test_parts_of_other_channels_are_refused() -> None:
    """A template is for one channel; what would never be sent is said so."""
    (problem,) = check({**EMAIL, "sms": {"text": "x"}})
    assert (problem.pointer, problem.severity) == ("/sms", "error")
    assert "email" in problem.message


def test_a_mail_needs_more_than_a_subject() -> None:
    """One of HTML, MJML and plain text is needed."""
    problems = check(document(html=None, text=None))
    assert ("/email", "the mail has a subject and nothing else") in {(p.pointer, p.message) for p in problems}


def test_all_problems_at_once() -> None:
    """A document with several mistakes hears of each, with its place and what to do."""
    problems = check(
        document(subject="{{ name | upcas }}", html="{% foo %}\n{% bar %}", text="{{ name", reply_to="nobody")
    )
    found = {(problem.pointer, problem.message.split(";")[0]) for problem in problems}
    assert found == {
        ("/email/subject", "line 1, column 11: unknown filter upcas"),
        ("/email/html", "line 1, column 4: unknown tag foo"),
        ("/email/html", "line 2, column 4: unknown tag bar"),
        ("/email/text", "line 1, column 1: expected '}}', found end of file"),
        ("/email/reply_to", "'nobody' is no address"),
    }
    assert all(problem.cure and problem.severity == "error" for problem in problems)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({}, "no name"),
        ({"name": None}, "no name"),
        ({"name": {}}, "name is no text"),
        (None, "the template reads name"),
    ],
)
def test_the_sample_must_render(sample: dict[str, Any] | None, message: str) -> None:
    """A template that doesn't render with its own sample isn't published."""
    made = {**EMAIL, "sample": sample}
    if sample is None:
        del made["sample"]
    (problem,) = check(made)
    assert problem.pointer == "/sample"
    assert message in problem.message


def test_the_unsubscribe_link_needs_no_sample() -> None:
    """Its variable is the sender's to give."""
    assert check(document(text="{{ name }}: {{ unsubscribe_url }}")) == []


def test_a_mail_without_a_plain_part_is_warned_about() -> None:
    """It can be published, but its author is told."""
    (problem,) = check(document(text=None))
    assert (problem.severity, problem.pointer) == ("warning", "/email")


@pytest.mark.parametrize(
    "address",
    [
        "news@example.com",
        "Shop <news@example.com>",
        '"Shop, Ltd." <news@example.com>',
        "Zoës Café <a+b@example.com>",
    ],
)
def test_addresses_of_senders(address: str) -> None:
    """A bare address and one with a name are both fine."""
    assert check(document(**{"from": address})) == []
    assert named_address(address).addr_spec == address.rpartition("<")[2].removesuffix(">")


@pytest.mark.parametrize(
    "address",
    [
        "news",
        "news@",
        "a@example.com, b@example.com",
        "Shop <news@example.com",
        "@x",
        "Shop, Ltd <a@example.com>",
        "a..b@example.com",
        "a@example.com>",
        "Shop <a@example.com> x",
        "<<a@example.com>>",
    ],
)
def test_what_is_no_address(address: str) -> None:
    """Lists, halves and open brackets are no sender."""
    assert [problem.pointer for problem in check(document(**{"from": address}))] == ["/email/from"]


@pytest.mark.parametrize("name", ["from", "google.sent", "gcm", "message_type", "aps"])
def test_reserved_names_of_data(name: str) -> None:
    """Names that a push service keeps for itself are refused before it refuses the notification."""
    made = {
        "kind": "template",
        "id": "x",
        "channel": "push",
        "push": {"title": "a", "body": "b", "data": {name: "c"}},
    }
    assert [problem.pointer for problem in check(made)] == [f"/push/data/{name}"]


def test_each_channel_renders_to_its_message() -> None:
    """A template's parts arrive where its channel has them."""
    mail = render(
        compile_document(document(list_unsubscribe=True, reply_to="help@example.com")), {"name": "<A>"}
    )
    assert mail == EmailMessage(
        "Hi <A>", "<p>&lt;A&gt;</p>", "<A>", "", "help@example.com", list_unsubscribe=True
    )
    sms = render(compile_document({"channel": "sms", "sms": {"text": "Hi {{ n }}\n"}}), {"n": 1})
    assert sms == SmsMessage("Hi 1")
    push = {"title": "a", "body": "{{ n }}", "data": {"link": "/o/{{ n }}"}}
    found = render(compile_document({"channel": "push", "push": push}), {"n": 1})
    assert found == PushMessage("a", "1", {"link": "/o/1"})


def test_rendering_twice_gives_the_same() -> None:
    """A retry sends what the first attempt would have sent."""
    found = definitions.read(EXAMPLES[-1].read_bytes()).value
    assert render(compile_document(found), found["sample"]) == render(
        compile_document(found), found["sample"]
    )


MJML = "<mjml><mj-body><mj-section><mj-column><mj-text>Hi {{ name }}</mj-text></mj-column></mj-section></mj-body></mjml>"


def test_mjml_becomes_html_once() -> None:
    """Publishing stores the HTML, so that a later library can't change a published version; Liquid in it still works."""
    pytest.importorskip("mjml")
    source = document(html=None, mjml=MJML)
    assert check(source) == []
    stored = prepared(source)
    assert "{{ name }}" in stored["email"]["html"]
    assert stored["email"]["mjml"] == MJML
    assert prepared(stored) == stored
    message = render(compile_document(stored), {"name": "<b>"})
    assert isinstance(message, EmailMessage)
    assert message.html is not None
    assert "Hi &lt;b&gt;" in message.html
    with pytest.raises(MissingVariable):
        render(compile_document(stored), {})


@pytest.mark.parametrize(
    ("mjml", "message"),
    [
        ("<mjml><mj-body>", "unexpected end"),
        ("plain", "unable to parse"),
        (MJML.replace("mj-text", "mj-txt"), "mj-txt is no MJML component"),
        (MJML.replace("Hi", "<mj-include path='/etc/hostname'/>"), "mj-include reads other files"),
    ],
)
def test_broken_mjml_is_placed(mjml: str, message: str) -> None:
    """MJML that isn't well formed, or reads files, is refused at publish."""
    pytest.importorskip("mjml")
    (problem,) = check(document(html=None, mjml=mjml))
    assert problem.pointer == "/email/mjml"
    assert message in problem.message


def test_without_the_library_mjml_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without mjml-python refuses MJML with the cure, and sends what is published."""
    import sys

    monkeypatch.setitem(sys.modules, "mjml", None)
    (problem,) = check(document(html=None, mjml=MJML))
    assert "install it, or write `html`" in problem.message
