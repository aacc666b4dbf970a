"""Templates of a store: each version is read and compiled once, the newest is found again in time."""

from collections.abc import Mapping
from typing import Any

import pytest

from consumers.actions.templates import CachedTemplates, UnknownTemplate
from orchestrator.messages import SmsMessage, TemplateSyntax, render


class Store:
    """Versions in memory, and what was asked of them."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, int], Mapping[str, Any]] = {}
        self.asked: list[tuple[str, int | None]] = []
        self.now_ms = 0

    def publish(self, id: str, version: int, text: str) -> None:
        self.versions[id, version] = {"id": id, "channel": "sms", "sms": {"text": text}}

    async def fetch(self, id: str, version: int | None) -> tuple[int, Mapping[str, Any]] | None:
        self.asked.append((id, version))
        found = max((v for i, v in self.versions if i == id), default=0) if version is None else version
        document = self.versions.get((id, found))
        return None if document is None else (found, document)

    def templates(self, **options: Any) -> CachedTemplates:
        return CachedTemplates(self.fetch, now_ms=lambda: self.now_ms, **options)


@pytest.fixture
def store() -> Store:
    made = Store()
    made.publish("t", 1, "one")
    made.publish("t", 2, "two")
    return made


async def said(templates: CachedTemplates, id: str = "t", version: int | None = None) -> tuple[int, str]:
    number, compiled = await templates.get(id, version)
    message = render(compiled, {})
    assert isinstance(message, SmsMessage)
    return number, message.text


async def test_versions_are_what_was_asked_for(store: Store) -> None:
    """A named version stays that version; without one it is the newest."""
    templates = store.templates()
    assert await said(templates) == (2, "two")
    assert await said(templates, version=1) == (1, "one")
    assert await said(templates, version=2) == (2, "two")


async def test_a_version_is_read_once(store: Store) -> None:
    """Many messages of one template cost the store one question, and one more when it is time to look again."""
    templates = store.templates(fresh_ms=1_000)
    for _ in range(5):
        await said(templates)
        await said(templates, version=2)
    assert store.asked == [("t", None)]
    store.now_ms = 1_000
    await said(templates)
    assert store.asked == [("t", None)] * 2


async def test_a_new_version_is_found_in_time(store: Store) -> None:
    """A template published again is sent after a while, without a restart."""
    templates = store.templates(fresh_ms=1_000)
    assert await said(templates) == (2, "two")
    store.publish("t", 3, "three")
    store.now_ms = 999
    assert await said(templates) == (2, "two")
    store.now_ms = 1_000
    assert await said(templates) == (3, "three")


async def test_unknown_ones_are_asked_for_again(store: Store) -> None:
    """A template that isn't there yet is found as soon as it is published."""
    templates = store.templates()
    for id, version in (("u", None), ("t", 9)):
        with pytest.raises(UnknownTemplate):
            await templates.get(id, version)
    store.publish("u", 1, "here")
    assert await said(templates, "u") == (1, "here")


async def test_memory_is_bounded(store: Store) -> None:
    """However many templates there are, only so many are kept, and those in use stay."""
    for n in range(20):
        store.publish(f"t{n}", 1, "x")
    templates = store.templates(kept_max=3)
    await said(templates)
    for n in range(20):
        await said(templates, f"t{n}", 1)
        await said(templates, version=2)
    assert len(templates._compiled) == 3
    assert store.asked.count(("t", None)) + store.asked.count(("t", 2)) == 1


async def test_a_broken_document_is_no_template(store: Store) -> None:
    """What was stored without a check fails by name each time, and isn't kept."""
    store.publish("t", 3, "{{ broken")
    templates = store.templates()
    for _ in range(2):
        with pytest.raises(TemplateSyntax):
            await templates.get("t")
