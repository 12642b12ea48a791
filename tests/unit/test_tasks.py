"""Ending background tasks, also when a cancellation gets lost on its way."""

import asyncio

import pytest

from app.core.tasks import end

pytestmark = pytest.mark.anyio


async def test_a_task_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    asked = 0

    async def deaf_once() -> None:
        nonlocal asked
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                asked += 1
                if asked > 1:
                    raise

    task = asyncio.create_task(deaf_once())
    await asyncio.sleep(0)
    await end(task, repeat_seconds=0.01)
    assert (task.cancelled(), asked) == (True, 2)


async def test_a_wait_that_succeeds_as_it_is_cancelled_does_not_keep_its_task_alive() -> None:
    """What `asyncio.wait_for` does before Python 3.12, and what a mail server's farewell ran into."""
    answer = asyncio.get_running_loop().create_future()

    async def say_farewell_and_go_on() -> None:
        await asyncio.wait_for(answer, 5)
        await asyncio.Event().wait()

    task = asyncio.create_task(say_farewell_and_go_on())
    await asyncio.sleep(0)
    answer.set_result("221 goodbye")
    await end(task, repeat_seconds=0.01)
    assert task.cancelled()


async def test_how_a_task_ended_is_nobodys_concern_any_more() -> None:
    async def fail() -> None:
        raise RuntimeError

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await end(task)
    await end()
