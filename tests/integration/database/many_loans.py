"""As many loans as a library has after years: returned, and nobody's any more."""

import asyncio
import time
from typing import Final

import asyncpg

FILL: Final = """
INSERT INTO loans (id, copy_id, book_id, branch_id, status, checked_out_at, due_at, returned_at, renewals, terms)
SELECT gen_random_uuid(), copy_id, book_id, branch_id, status, checked_out_at, due_at, returned_at, renewals, terms
FROM generate_series(1, {count}), (SELECT * FROM loans WHERE status = 'returned' LIMIT 1) AS one
"""
OTHER_INDEXES: Final = """
SELECT indexname, indexdef FROM pg_indexes
WHERE tablename = 'loans' AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""
EVENTS: Final = """
INSERT INTO events (change_id, kind, happened_at, book_id, copy_id, loan_id, branch_id, data)
SELECT gen_random_uuid(), 'loan_opened', checked_out_at, book_id, copy_id, id, branch_id, '{}'
FROM loans WHERE id NOT IN (SELECT loan_id FROM events WHERE kind = 'loan_opened')
"""
AT_ONCE: Final = 1_000_000


async def fill(url: str, count: int, *, with_events: bool = False) -> float:
    """Multiply the one returned loan, and the event of its opening too; gives the seconds.

    By the superuser: nothing is checked again, and the indexes are built afterwards, as whoever loads so many does.
    """
    began = time.monotonic()
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET session_replication_role = replica; SET maintenance_work_mem = '512MB'")
        indexes = await connection.fetch(OTHER_INDEXES)
        for name, _ in indexes:
            await connection.execute(f"DROP INDEX {name}")
        for start in range(0, count, AT_ONCE):
            await connection.execute(FILL.format(count=min(AT_ONCE, count - start)))
            await asyncio.sleep(0)
        for _, definition in indexes:
            await connection.execute(definition)
        if with_events:
            await connection.execute(EVENTS)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
    return time.monotonic() - began
