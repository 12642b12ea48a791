"""A catalogue several times as large as one of real records, as a larger one would be.

Each book comes again so many times. In every other round its rare words are new ones: a catalogue ten times as large
has about five times as many different words (Heaps' law), so some rare words stay rare and common ones grow common.
"""

import asyncio
import re
from collections.abc import Iterator
from typing import Final

import asyncpg

TABLES: Final = ("books", "book_terms", "access_points")
RARE: Final = 20
STEP: Final = 10_000_000
WORD: Final = re.compile(r"[^\W\d_]{4,}")
COPIED: Final = (
    "version, title, {title_key}, year, document, {search_terms}, suppressed, popularity, created_at, updated_at"
)
BOOKS: Final = "INSERT INTO books (id, " + COPIED.format(title_key="title_key", search_terms="search_terms") + ")"


def multiply(url: str, times: int) -> None:
    """Make the library so many times as large; indexes are built anew at the end, and the planner told."""
    asyncio.run(_multiply(url, times))


async def _multiply(url: str, times: int) -> None:
    connection = await asyncpg.connect(url)
    indexes = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY($1) AND indexname NOT LIKE 'pk_%'", TABLES
    )
    rare = await _rare(connection)
    await connection.execute(
        "CREATE UNLOGGED TABLE renamed (book_id bigint PRIMARY KEY, title_key text, search_terms text, vector text)"
    )
    for index in indexes:
        await connection.execute(f"DROP INDEX IF EXISTS {index['indexname']}")
    for turn in range(1, times):
        await _once_more(connection, turn, rare)
    for index in indexes:
        await connection.execute(index["indexdef"].replace(" INDEX ", " INDEX IF NOT EXISTS ", 1))
    await connection.execute("DROP TABLE renamed")
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def _rare(connection: asyncpg.Connection) -> set[str]:
    found = await connection.fetch(
        "SELECT word FROM ts_stat('SELECT vector FROM book_terms') WHERE ndoc <= $1 AND word ~ '^[[:alpha:]]{4,}$'",
        RARE,
    )
    return {row["word"] for row in found}


async def _once_more(connection: asyncpg.Connection, turn: int, rare: set[str]) -> None:
    far = turn * STEP
    base = f"books.id < {STEP} AND books.deleted_at IS NULL"
    if turn % 2:
        await connection.execute("TRUNCATE renamed")
        rows = await connection.fetch(
            f"SELECT id, title_key, search_terms, vector::text FROM books JOIN book_terms ON book_id = id WHERE {base}"
        )
        await connection.copy_records_to_table("renamed", records=_renamed(rows, rare, "q" + chr(ord("a") + turn)))
        columns = COPIED.format(title_key="renamed.title_key", search_terms="renamed.search_terms")
        await connection.execute(
            f"{BOOKS} SELECT id + {far}, {columns} FROM books JOIN renamed ON book_id = id WHERE {base}"
        )
        await connection.execute(
            f"INSERT INTO book_terms (book_id, vector) SELECT book_id + {far}, vector::tsvector FROM renamed"
        )
        await _learn(connection, rare, "q" + chr(ord("a") + turn))
    else:
        await connection.execute(
            f"{BOOKS} SELECT id + {far}, {COPIED.format(title_key='title_key', search_terms='search_terms')}"
            f" FROM books WHERE {base}"
        )
        await connection.execute(
            f"INSERT INTO book_terms (book_id, vector) SELECT book_id + {far}, vector FROM book_terms"
            f" JOIN books ON books.id = book_id WHERE {base}"
        )
    await connection.execute(
        f"INSERT INTO access_points (kind, key, book_id, label) SELECT kind, key, book_id + {far}, label"
        f" FROM access_points JOIN books ON books.id = book_id WHERE {base}"
    )


async def _learn(connection: asyncpg.Connection, rare: set[str], ending: str) -> None:
    words = [word + ending for word in rare if len(word) + len(ending) <= 24]  # noqa: PLR2004  # as the service learns
    await connection.execute("INSERT INTO search_words SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", words)


def _renamed(rows: list[asyncpg.Record], rare: set[str], ending: str) -> Iterator[tuple[int, str, str, str]]:
    def renamed(text: str) -> str:
        return WORD.sub(lambda word: word[0] + ending if word[0] in rare else word[0], text)

    for row in rows:
        yield row["id"], renamed(row["title_key"]), renamed(row["search_terms"]), renamed(row["vector"])
