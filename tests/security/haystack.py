"""Everything a running installation leaves behind, searched for words that must not be in it."""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from psycopg import sql

_READ_WITHIN_S = 30.0


class Haystack:
    """Texts and bytes by place. `needles` are words by name; they are found plain, as hex and inside base64."""

    def __init__(self, needles: Mapping[str, str]) -> None:
        self.places: dict[str, int] = {}
        """How many bytes of each place were searched."""
        self._found: dict[tuple[str, str], None] = {}
        self._patterns = {
            name: re.compile(b"|".join(map(re.escape, _forms(word)))) for name, word in needles.items()
        }

    def add(self, place: str, content: str | bytes) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.places[place] = self.places.get(place, 0) + len(data)
        for name, pattern in self._patterns.items():
            if (hit := pattern.search(data)) and (name, place) not in self._found:
                print(f"{name} in {place}: {data[max(0, hit.start() - 200) : hit.end() + 200]!r}")
                self._found[(name, place)] = None

    def found(self, *, but: Iterable[str] = (), names: str = "") -> list[tuple[str, str]]:
        """Needles and their places, without the places that may hold them; `names`: of needles that begin so."""
        return [(n, place) for n, place in self._found if n.startswith(names) and place not in set(but)]

    def add_files(self, place: str, folder: Path) -> None:
        """Every file under a folder; Parquet's columns too, uncompressed."""
        files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        assert files, f"{folder} is empty"
        for file in files:
            self.add(place, file.read_bytes())
            self.add(place, str(file))
            if file.suffix == ".parquet":
                self.add(place, repr(pq.read_table(file).to_pylist()))

    def add_tables(self, dsn: str) -> None:
        """Every column of every table that isn't PostgreSQL's own; bytes as hex and as they are."""
        with psycopg.connect(dsn) as connection:
            tables = connection.execute(
                "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()
            assert len(tables) > 10
            for schema, table in tables:
                rows = connection.execute(
                    sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))
                ).fetchall()
                for row in rows:
                    for value in row:
                        self.add(f"table {table}", value if isinstance(value, bytes) else str(value))

    def add_topics(self, bootstrap: str, prefix: str) -> None:
        """Every record of every topic with the prefix, keys and headers included, aborted ones too."""
        reader = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "haystack", "isolation.level": "read_uncommitted",
             "enable.auto.commit": False, "enable.partition.eof": True}
        )  # fmt: skip
        try:
            topics = reader.list_topics(timeout=_READ_WITHIN_S).topics
            names = [name for name in topics if name.startswith(prefix)]
            partitions = [TopicPartition(n, p, OFFSET_BEGINNING) for n in names for p in topics[n].partitions]
            reader.assign(partitions)
            left = len(partitions)
            while left:
                [message] = reader.consume(1, timeout=_READ_WITHIN_S) or [None]
                assert message is not None, "a topic can't be read to its end"
                if message.error():
                    left -= 1
                    continue
                place = f"topic {str(message.topic()).removeprefix(prefix)}"
                for part in (
                    message.key(),
                    message.value(),
                    *(p for header in message.headers() or () for p in header),
                ):
                    self.add(place, part or b"")
        finally:
            reader.close()


def _forms(word: str) -> list[bytes]:
    """A word as it looks plain, as hex, and in the base64 of whatever it stands in."""
    raw = word.encode()
    forms = [raw, raw.hex().encode()]
    for before in range(3):
        encoded = b64encode(b"\0" * before + raw).rstrip(b"=")
        forms.append(
            encoded[(before * 8 + 5) // 6 : len(encoded) - 1]
        )  # without what its neighbours have a share in
    return forms
