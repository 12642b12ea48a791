"""Check-outs over HTTP beside pgbench with the same SQL (P6, P8), and a hot book beside SELECT FOR UPDATE (P7)."""

import asyncio
import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import httpx2

from app.core.config import Settings
from app.core.db import Database
from app.users.models import Role, User
from benchmarks.judging import Figure, at_least, at_most
from benchmarks.parts import recorded
from benchmarks.parts.lendable import PEOPLE, lendable
from benchmarks.stage import Stage
from benchmarks.wrk import Round, Server
from tests.tokens import sign_in

CLIENTS: Final = 16
COPIES: Final = 64
HOT: Final = 1_000_000
# So many copies to a book, in the order in which readers come to book them; the first of these books is the recorded.
HEAT: Final = f"""
    INSERT INTO books (id, version, title, title_key, document, search_terms, suppressed, created_at, updated_at)
    SELECT {HOT} + n, version, title, title_key, document, search_terms, suppressed, created_at, updated_at
    FROM books CROSS JOIN generate_series(0, {PEOPLE // COPIES}) AS n WHERE id = 1;
    UPDATE copies SET book_id = {HOT} + place / {COPIES}
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM copies WHERE status = 'available') AS free
    WHERE copies.id = free.id;
    UPDATE turns SET book_id = {HOT} + n / {COPIES};
    ANALYZE
"""
LOCK_AND_UPDATE: Final = (
    (
        "SELECT id AS taken_id FROM copies WHERE book_id = :book_id AND status = 'available' AND deleted_at IS NULL"
        " ORDER BY id LIMIT 1 FOR UPDATE \\gset"
    ),
    "UPDATE copies SET status = 'reserved' WHERE id = :taken_id;",
)
LEFT: Final = """
    SELECT sum(pg_total_relation_size(name)) / (SELECT count(*) FROM loans)
    FROM unnest(ARRAY['loans', 'events', 'audit_entries', 'scans', 'notices']::regclass[]) AS name
"""
TOOK: Final = "UPDATE copies SET status="
TAKE_TURN: Final = (
    "SELECT copy_id, book_id, barcode, reader_id, card_number, now()::text AS now{ids}"
    " FROM turns WHERE n = (SELECT nextval('turn')) \\gset"
)


@dataclass
class Desk:
    """A library to lend in: one server with a process a core, a librarian's token, and who comes next."""

    stage: Stage
    settings: Settings
    server: Server
    token: str
    turn: int = 10

    def lend(self, turn: int) -> httpx2.Response:
        sent = {"copy_barcode": f"b-{turn}", "card_number": f"c-{turn}"}
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx2.post(f"{self.server.address}/api/v1/loans", json=sent, headers=headers).raise_for_status()

    def round(self, seconds: int) -> Round:
        """Different people borrow different books, `CLIENTS` at a time."""
        file = self.stage.folder / "lend.lua"
        file.write_text(
            f"local turn = {self.turn}\nrequest = function()\n  turn = turn + 1\n"
            '  local body = \'{"copy_barcode":"b-\' .. turn .. \'","card_number":"c-\' .. turn .. \'"}\'\n'
            f"  return wrk.format('POST', '/api/v1/loans', {_headers(self.token)}, body)\nend\n"
        )
        taken = self.server.load("/", seconds=seconds, headers={}, script=file, connections=CLIENTS, cores="0,1")
        self.turn += taken.requests + 2 * CLIENTS
        return taken


def measure(stage: Stage) -> list[Figure]:
    seconds, rounds, each = (3, 2, 100) if stage.quick else (6, 3, 300)
    with ExitStack() as stack:
        desk = _desk(stage, stack)
        lines = _check_out(stage, desk)
        desk.round(seconds)  # every connection learns the statements
        http, sql = [], []
        for _ in range(rounds):
            http.append(desk.round(seconds))
            _next_turn(stage, desk)
            sql.append(recorded.pgbench(stage, "lending", lines, clients=CLIENTS, each=each))
            desk.turn += CLIENTS * each
        per_second = statistics.median(each.per_second for each in http)
        tail = statistics.median(each.p99_ms / each.p50_ms for each in http)
        cpu = statistics.median(each.cpu_us for each in http)
        size = stage.ask(LEFT, database="lending")
        locking = _hot(stage, desk, each=each // 2, rounds=rounds)
    pgbench = statistics.median(sql)
    return [
        at_least("P6", "check-outs over HTTP, of pgbench with the same SQL", per_second / pgbench, 0.75,
                 f"{pgbench:.0f} a second to {per_second:.0f}; {cpu / 1000:.1f} ms of Python each"),
        at_most("P8", "check-out, p99 over p50", tail, 4),
        locking,
        Figure("P6", "bytes that a loan leaves behind, with indexes", float(size)),
    ]  # fmt: skip


def _desk(stage: Stage, stack: ExitStack) -> Desk:
    library = lendable(stage, "lending")
    server = stage.serve(stack, library.settings, cores="0,1", WEB_CONCURRENCY="2")
    return Desk(stage, library.settings, server, library.tokens(Role.LIBRARIAN, 1)[0])


def _check_out(stage: Stage, desk: Desk) -> list[str]:
    """What pgbench runs for one check-out; recorded when both processes know their statements."""
    for turn in range(2, 8):
        desk.lend(turn)
    heard = recorded.recorded(stage, lambda: desk.lend(8))
    lines, ids = recorded.script(heard, _names(stage, 8))
    return [TAKE_TURN.format(ids=_ids(ids)), *lines]


def _hot(stage: Stage, desk: Desk, *, each: int, rounds: int) -> Figure:
    """Everybody books the same book, and the next when its copies are gone: our claim by turns with lock and update."""
    for statement in HEAT.split(";"):
        stage.administer(statement, database="lending")
    desk.turn = COPIES  # who has borrowed may book
    reader = _one(stage, "SELECT id::text FROM users WHERE card_number = 'c-9'")
    token = asyncio.run(_token_of(desk.settings, reader))

    def book() -> None:
        sent = {"book_id": HOT, "pickup_branch": "main"}
        headers = {"Authorization": f"Bearer {token}"}
        httpx2.post(f"{desk.server.address}/api/v1/bookings", json=sent, headers=headers).raise_for_status()

    heard = recorded.recorded(stage, book)
    taken = _one(stage, f"SELECT copy_id::text FROM bookings WHERE book_id = {HOT}")
    lines, ids = recorded.script(heard, {reader: "reader_id", taken: "taken_id", str(HOT): "book_id"})
    place = next(place for place, line in enumerate(lines) if line.startswith(TOOK))
    before, after = [TAKE_TURN.format(ids=_ids(ids)), *lines[:place]], lines[place + 1 :]
    ours = f"{lines[place].partition(' RETURNING')[0]} RETURNING copies.id AS taken_id \\gset"
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        for name, claim in (("ours", [ours]), ("theirs", LOCK_AND_UPDATE)):
            _next_turn(stage, desk)
            lines = [*before, *claim, *after]
            rates[name].append(recorded.pgbench(stage, "lending", lines, clients=CLIENTS, each=each))
            desk.turn += CLIENTS * each
    skipping, locking = statistics.median(rates["ours"]), statistics.median(rates["theirs"])
    detail = f"{locking:.0f} bookings a second to {skipping:.0f}, {CLIENTS} clients"
    return at_least("P7", "booking a hot book, times SELECT FOR UPDATE", skipping / locking, 5, detail)


def _names(stage: Stage, turn: int) -> dict[str, str]:
    columns = ("copy_id", "book_id", "barcode", "reader_id", "card_number")
    return {_one(stage, f"SELECT {name}::text FROM turns WHERE n = {turn}"): name for name in columns}


def _ids(count: int) -> str:
    return "".join(f", gen_random_uuid() AS u{number}" for number in range(count))


def _next_turn(stage: Stage, desk: Desk) -> None:
    stage.administer(f"ALTER SEQUENCE turn RESTART WITH {desk.turn + 1}", database="lending")


def _one(stage: Stage, question: str) -> str:
    return str(stage.ask(question, database="lending"))


async def _token_of(settings: Settings, reader_id: str) -> str:
    database = Database(settings)
    async with database.reading() as session:
        reader = await session.get_one(User, UUID(reader_id))
    [token] = await sign_in(database, settings, [reader])
    await database.close()
    return token


def _headers(token: str) -> str:
    return f"{{['Content-Type'] = 'application/json', ['Authorization'] = 'Bearer {token}'}}"
