"""Ending what runs beside the requests."""

import asyncio
from typing import Any, Final

REPEAT_SECONDS: Final = 2.0


async def end(*tasks: asyncio.Task[Any], repeat_seconds: float = REPEAT_SECONDS) -> None:
    """Cancel the tasks until they have ended, however they end.

    Once is not enough: before Python 3.12 `asyncio.wait_for`, which drivers use, loses a cancellation that comes in
    the moment in which what it waits for succeeds.
    """
    while waiting := {task for task in tasks if not task.done()}:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=repeat_seconds)
    await asyncio.gather(*tasks, return_exceptions=True)
