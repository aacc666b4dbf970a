"""The address book in PostgreSQL: one row for each number and customer, the number as a keyed hash."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Final

from consumers.actions.address_book import OWNERS_MAX, pseudonyms
from consumers.actions.references import Reference
from orchestrator.core.addresses import parse_stream
from orchestrator.core.errors import Malformed
from orchestrator.engine.database import Database, PersistenceError

_REMEMBER: Final = (
    "INSERT INTO orchestrator.addresses (pseudonym, owner, channel, stream, effect, action, template)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (pseudonym, owner) DO UPDATE SET stream = excluded.stream, effect = excluded.effect,"
    " action = excluded.action, template = excluded.template, sent = now()"
)
_FIND: Final = (
    "SELECT stream, effect, action, template FROM orchestrator.addresses"
    " WHERE pseudonym = ANY(%s) ORDER BY sent DESC LIMIT %s"
)


class PostgresAddressBook:
    """Asked in a thread. `keys` are those of the links; while they are rotated both are looked for."""

    def __init__(self, database: Database, executor: Executor, keys: str) -> None:
        self._database = database
        self._executor = executor
        self._keys = keys

    async def remember(self, reference: Reference) -> None:
        """See AddressBook."""
        if not reference.address_hash:
            return
        pseudonym = pseudonyms(reference.channel, reference.address_hash, self._keys)[0]
        stream, owner = reference.stream.text, reference.owner.text
        row = (
            *(pseudonym, owner, reference.channel),
            *(stream, reference.effect, reference.action, reference.template),
        )
        await self._asked(lambda: self._write(row))

    async def find(self, channel: str, address_hash: str) -> Sequence[Reference]:
        """See AddressBook. A customer known under an old and a new key is one."""
        wanted = pseudonyms(channel, address_hash, self._keys)
        rows = await self._asked(lambda: self._database.rows(_FIND, (wanted, OWNERS_MAX)))
        found: dict[str, Reference] = {}
        for row in rows:
            try:
                stream = parse_stream(row["stream"])
            except Malformed:
                continue
            reference = Reference(
                stream, row["effect"], row["action"], channel, row["template"], address_hash
            )
            found.setdefault(stream.owner.text, reference)
        return tuple(found.values())

    def _write(self, row: tuple[Any, ...]) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(_REMEMBER, row)

    async def _asked(self, question: Callable[[], Any]) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, question)
        except PersistenceError as error:
            raise OSError("the address book does not answer") from error
