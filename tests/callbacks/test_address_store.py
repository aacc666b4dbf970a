"""The address book on a real PostgreSQL."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import psycopg
import pytest

from consumers.actions.address_book import OWNERS_MAX
from consumers.actions.references import Reference
from consumers.callbacks import PostgresAddressBook
from orchestrator.core.addresses import parse_stream
from orchestrator.customers.record import address_hash
from orchestrator.engine.database import Database
from orchestrator.engine.schema import SHARED_TABLES
from tests.providers.stage import new_key

NUMBER = "+4915112345678"
HASHED = address_hash("sms", NUMBER)
KEY = new_key()


def text_to(customer: str, effect: str = "e1-0", number: str = NUMBER, flow: str = "welcome") -> Reference:
    stream = parse_stream(f"acme/c/{customer}/flow:{flow}")
    return Reference(stream, effect, "reminder", "sms", "welcome_reminder", address_hash("sms", number))


@pytest.fixture
def opened(database: str) -> Iterator[tuple[Database, ThreadPoolExecutor]]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SHARED_TABLES.encode())
    found = Database(database)
    with ThreadPoolExecutor(2) as executor:
        yield found, executor
    found.close()


def rows(database: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database) as connection:
        return connection.execute("SELECT * FROM orchestrator.addresses").fetchall()


async def test_the_last_message_to_a_number_is_found(
    opened: tuple[Database, ThreadPoolExecutor], database: str
) -> None:
    """One row for each number and customer, holding the last message; the newest first."""
    book = PostgresAddressBook(*opened, KEY)
    for reference in (
        text_to("cus-1"),
        text_to("cus-2", "e5-0"),
        text_to("cus-1", "e9-0", flow="retention"),
        text_to("cus-1", "e9-1", "+4915100000000"),
    ):
        await book.remember(reference)
    expected = (text_to("cus-1", "e9-0", flow="retention"), text_to("cus-2", "e5-0"))
    assert await book.find("sms", HASHED) == expected
    assert await book.find("sms", address_hash("sms", "+4915199999999")) == ()
    assert await book.find("whatsapp", HASHED) == ()
    assert len(rows(database)) == 3


async def test_a_book_that_leaks_tells_no_number(
    opened: tuple[Database, ThreadPoolExecutor], database: str
) -> None:
    """Neither the number nor the hash that anybody could try all numbers against stands in the table."""
    await PostgresAddressBook(*opened, KEY).remember(text_to("cus-1"))
    shown = str(rows(database))
    assert NUMBER[1:] not in shown
    assert HASHED not in shown
    assert str(bytes.fromhex(HASHED))[2:-1] not in shown


async def test_keys_are_rotated(opened: tuple[Database, ThreadPoolExecutor]) -> None:
    """While keys change, rows under the old one are found, and a customer under both is one customer."""
    old, new = new_key(), new_key()
    await PostgresAddressBook(*opened, old).remember(text_to("cus-1"))
    both = PostgresAddressBook(*opened, f"{new} {old}")
    assert await both.find("sms", HASHED) == (text_to("cus-1"),)
    await both.remember(text_to("cus-1", "e2-0"))
    assert await both.find("sms", HASHED) == (text_to("cus-1", "e2-0"),)
    assert await PostgresAddressBook(*opened, new_key()).find("sms", HASHED) == ()


async def test_those_who_share_a_number_are_bounded(opened: tuple[Database, ThreadPoolExecutor]) -> None:
    """A number of a whole company is answered for its latest customers."""
    book = PostgresAddressBook(*opened, KEY)
    for n in range(OWNERS_MAX + 5):
        await book.remember(text_to(f"cus-{n}"))
    found = await book.find("sms", HASHED)
    assert len(found) == OWNERS_MAX
    assert found[0].owner.id == f"cus-{OWNERS_MAX + 4}"


async def test_a_message_without_an_address_leaves_no_row(
    opened: tuple[Database, ThreadPoolExecutor], database: str
) -> None:
    """What was sent to no single address can't be answered to."""
    nowhere = msgspec.structs.replace(text_to("cus-1"), address_hash="")
    await PostgresAddressBook(*opened, KEY).remember(nowhere)
    assert rows(database) == []


async def test_a_database_that_is_away_is_an_oserror(database: str) -> None:
    """Whatever PostgreSQL says, the book says one thing, after which nothing is sent or thanked for."""
    found = Database(database)  # without the table
    with ThreadPoolExecutor(1) as executor:
        book = PostgresAddressBook(found, executor, KEY)
        with pytest.raises(OSError, match="does not answer"):
            await book.remember(text_to("cus-1"))
        with pytest.raises(OSError, match="does not answer"):
            await book.find("sms", HASHED)
    found.close()
