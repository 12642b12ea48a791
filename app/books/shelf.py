"""All books in one order: the lists that are asked for most, through the database's driver alone."""

from types import NoneType
from typing import Any

from sqlalchemy import Integer, bindparam

from app.books.models import CATALOGUE, Book
from app.books.paging import ORDERS, Page, conditions, ordered, page_of, question, rows_in
from app.books.schemas import BookQuery, Sort
from app.core.db import Database
from app.core.pagination import Cursor, decode_cursor


class Shelf:
    """All books in one order, page by page, through the driver alone: the lists that are asked for most."""

    def __init__(self, database: Database, sort: Sort | None) -> None:
        query = BookQuery(sort=sort)
        column, key_type = ORDERS.get(sort or "newest", (None, NoneType))
        self._key_type: type = key_type
        key = bindparam("key", type_=column.type) if column is not None else None
        after: Any = Cursor(key, bindparam("after", type_=Book.id.type))  # type: ignore[arg-type]  # to be given later
        rows = rows_in(sort).where(*conditions(query))
        many = bindparam("many", type_=Integer())
        self._first, self._next = (
            database.compiled(ordered(rows, sort, cursor).limit(many)) for cursor in (None, after)
        )
        self._database = database
        self._question = question(query)

    async def page(self, cursor: str | None, limit: int) -> Page:
        """As `page` answers it.

        Raises:
            InvalidCursor, StaleCursor.
            NoAnswer: the database didn't answer.
        """
        since = decode_cursor(cursor, self._question, key=self._key_type)
        if since is None:
            found = await self._database.rows(self._first, kind=CATALOGUE, many=limit + 1)
        else:
            given = {"key": since.key, "after": since.id, "many": limit + 1}
            found = await self._database.rows(self._next, kind=CATALOGUE, **given)
        return page_of(found, limit, self._question)
