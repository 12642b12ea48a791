"""PostgreSQL's connections that are lost between two statements, or whose server hangs in the middle of one."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import InterfaceError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database
from app.core.direct import Direct
from app.core.driver import NoAnswer

pytestmark = pytest.mark.anyio

PID = Direct(select(func.pg_backend_pid().label("pid")))
END = text("SELECT pg_terminate_backend(:pid)")
PATIENCE_SECONDS = 0.3
SOON_SECONDS = 1.8  # a polite leave takes two

Ask = Callable[[AsyncSession], Awaitable[int]]


async def directly(session: AsyncSession) -> int:
    return int((await PID.one(session)).pid)


async def by_the_session(session: AsyncSession) -> int:
    return int((await session.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def end(database: Database, pid: int) -> None:
    async with database.reading() as session:
        await session.execute(END, {"pid": pid})


async def ask_twice_and_be_ended_in_between(database: Database, ask: Ask) -> None:
    async with database.transaction() as session:
        await end(database, await ask(session))
        await ask(session)


async def ask_whoever_hangs(database: Database, stopped: list[int]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS), database.transaction() as session:
        stopped.append(await directly(session))
        os.kill(stopped[0], signal.SIGSTOP)
        await directly(session)


@pytest.mark.parametrize("ask", [directly, by_the_session])
async def test_what_was_ended_between_two_statements_is_lost_and_no_fault_of_ours(database: Database, ask: Ask) -> None:
    if database.is_sqlite:
        return  # no server, and nobody who ends a connection
    with pytest.raises(InterfaceError):
        await ask_twice_and_be_ended_in_between(database, ask)
    async with database.transaction() as session:
        assert await ask(session)


async def test_what_was_ended_while_nobody_used_it_is_at_most_one_answer_that_is_missing(database: Database) -> None:
    if database.is_sqlite:
        return
    [row] = await database.ask(PID)
    await end(database, row.pid)
    with suppress(NoAnswer):  # unless the pool has heard of it
        await database.ask(PID)
    [other] = await database.ask(PID)
    assert other.pid != row.pid


async def test_who_gives_up_on_a_server_that_hangs_is_let_go(database: Database) -> None:
    if database.is_sqlite:
        return
    stopped: list[int] = []
    began = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            await ask_whoever_hangs(database, stopped)
        assert time.monotonic() - began < SOON_SECONDS
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
