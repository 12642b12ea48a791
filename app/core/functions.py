"""SQL that PostgreSQL and SQLite write differently: the clock, the numbers of transactions, lists as one parameter."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, BindParameter, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from app.core.db import UtcDateTime

_ID: Final = BigInteger()


class transaction_number(FunctionElement[int]):  # noqa: N801  # used like an SQL function
    """The number of the transaction that writes a row; with `is_settled` it orders readers behind writers."""

    inherit_cache = True


class is_settled(FunctionElement[bool]):  # noqa: N801  # used like an SQL function
    """Whether no transaction with this number or a lower one can still commit.

    Rows get their ids before they commit, so on PostgreSQL a higher id may be seen before a lower one; whoever reads
    rows in order of id must stop before the oldest transaction that is under way. SQLite has one writer at a time.
    """

    inherit_cache = True


class database_clock(FunctionElement[datetime]):  # noqa: N801  # used like an SQL function
    """What time the database's machine has: one clock for all processes, however far theirs are apart."""

    inherit_cache = True
    type = UtcDateTime()


class among(FunctionElement[bool]):  # noqa: N801  # used like an SQL function
    """Whether the first is in the second, a parameter of type `list_of(...)`: one statement for lists of any length."""

    inherit_cache = True


def list_of(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type of a parameter that is a list of numbers or words."""
    return JSON().with_variant(ARRAY(kind), "postgresql")


def listed(values: Collection[int] | Collection[str], kind: TypeEngine[Any] = _ID) -> BindParameter[Any]:
    """Some values, ids unless said, as such a parameter."""
    return bindparam(None, list(values), type_=list_of(kind))


@compiles(database_clock, "postgresql")
def _clock_on_postgres(_element: database_clock, _compiler: SQLCompiler, **_options: Any) -> str:
    return "clock_timestamp()"


@compiles(database_clock)
def _clock_elsewhere(_element: database_clock, _compiler: SQLCompiler, **_options: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(transaction_number, "postgresql")
def _number_on_postgres(_element: transaction_number, _compiler: SQLCompiler, **_options: Any) -> str:
    return "(pg_current_xact_id()::text::bigint)"


@compiles(transaction_number)
def _number_elsewhere(_element: transaction_number, _compiler: SQLCompiler, **_options: Any) -> str:
    return "0"


@compiles(is_settled, "postgresql")
def _settled_on_postgres(element: is_settled, compiler: SQLCompiler, **options: Any) -> str:
    column = compiler.process(element.clauses, **options)
    return f"{column} < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


@compiles(is_settled)
def _settled_elsewhere(_element: is_settled, _compiler: SQLCompiler, **_options: Any) -> str:
    return "1 = 1"


@compiles(among, "postgresql")
def _among_on_postgres(element: among, compiler: SQLCompiler, **options: Any) -> str:
    value, those = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{value} = ANY ({those})"


@compiles(among)
def _among_elsewhere(element: among, compiler: SQLCompiler, **options: Any) -> str:
    value, those = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{value} IN (SELECT value FROM json_each({those}))"  # noqa: S608  # made by the compiler
