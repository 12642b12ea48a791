"""Whose records a library's own are: the source under which it exports the books that were made in it."""

import hashlib
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from app.branches import service as branches

PREFIX: Final = "own-"


async def own_source(session: AsyncSession) -> str:
    """A name that no other library has and that stays, also after a restore: by the moment its first branch was made.

    A file that was exported here, edited and imported again so finds the books it came from; imported elsewhere its
    numbers mean nothing.
    """
    [first, *_] = await branches.all_open(session)
    return PREFIX + hashlib.blake2b(first.created_at.isoformat().encode(), digest_size=6).hexdigest()
