"""The limit: an ASGI application that sends bytes it has, and one that sends what PostgreSQL made JSON of."""

import os
from pathlib import Path
from typing import Any

import asyncpg

BODY = Path(os.environ["BENCH_BODY"]).read_bytes()
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
PAGE = """
    SELECT json_build_object('items', json_agg(item.document ORDER BY item.id DESC))::text
    FROM (SELECT id, document::json AS document FROM books
          WHERE deleted_at IS NULL AND NOT suppressed ORDER BY id DESC LIMIT 20) AS item
"""
_pool: asyncpg.Pool | None = None


async def ready(scope: Any, _receive: Any, send: Any) -> None:
    """Send the bytes, whatever was asked."""
    if scope["type"] == "lifespan":
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


async def aggregated(scope: Any, _receive: Any, send: Any) -> None:
    """Let PostgreSQL build the page."""
    global _pool  # noqa: PLW0603  # the whole program is this function
    if scope["type"] == "lifespan":
        return
    if _pool is None:
        _pool = await asyncpg.create_pool(os.environ["BENCH_DATABASE"], min_size=8, max_size=8)
    body = (await _pool.fetchval(PAGE)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
