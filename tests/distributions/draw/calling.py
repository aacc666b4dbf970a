"""`orchestrator draws` as a person runs it, on a log of the test's own."""

from pathlib import Path

from typer.testing import CliRunner, Result

from orchestrator.cli import draws
from orchestrator.engine.codec import Codec
from orchestrator.engine.envelope import Envelope
from tests.support.room import NOW_MS, RoomTest


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(draws.app, [*map(str, arguments)])


def verify(*arguments: str | Path) -> Result:
    return run("verify", *arguments)


class Stored:
    """An installation whose log holds one draw's events, as the engine stores them."""

    def __init__(self, draw: RoomTest) -> None:
        codec = Codec(draw.kind.events)
        self.rows = []
        for version, event in enumerate(draw.events, 1):
            envelope = Envelope(draw.stream.text, "operators", f"c{version}", "", NOW_MS, event)
            self.rows.append((version, event.NAME, codec.encode(envelope, lambda _: bytes(32))))

    def __call__(self, *_: object) -> "Stored":
        return self

    def lane_of(self, _: object) -> int:
        return 0

    def store(self, _: int) -> "Stored":
        return self

    def stream_page(self, _: object, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        return self.rows[after : after + min(limit, 7)]
