"""Errors as problem documents (RFC 9457): the one place where an exception becomes an answer."""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from app.books.service import BookMerged
from app.core.driver import NoAnswer
from app.core.errors import (
    PROBLEM_MEDIA_TYPE,
    AppError,
    BadRequest,
    Forbidden,
    NotFound,
    Unauthorized,
    Unavailable,
    Unprocessable,
    encode_problem,
    problem_document,
)
from app.core.i18n import LANGUAGE_COOKIE, chosen

log = structlog.get_logger()

# SQLSTATE classes and codes that say "not now": connection (08), resources (53), shutdown (57P), statement and lock
# timeouts, deadlock, serialisation. Source: PostgreSQL manual, appendix A.
_TRANSIENT_CLASSES: Final = ("08", "53", "57P")
_TRANSIENT_CODES: Final = frozenset({"57014", "55P03", "40P01", "40001", "25006"})
_SQLITE_TRANSIENT: Final = frozenset(
    {"SQLITE_BUSY", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY"}
)


class MalformedJson(BadRequest):
    code, detail = "malformed_json", "The body is not valid JSON: {reason}."


class MalformedBody(BadRequest):
    code, detail = "malformed_body", "The body can't be read as what its Content-Type says."


class ValidationFailed(Unprocessable):
    code, detail = "validation_failed", "Some values can't be accepted; `errors` says which and why."


class MethodNotAllowed(AppError):
    status, code, detail = 405, "method_not_allowed", "This address doesn't take that method."


class DatabaseUnavailable(Unavailable):
    code, detail = "database_unavailable", "The library's database can't answer just now; nothing was changed."


class Problem(BaseModel):
    """What every refusal looks like; some carry more members, such as `current` or `in_use`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class ValidationIssue(BaseModel):
    """One value that can't be accepted."""

    where: Literal["body", "query", "path", "header", "cookie"]
    pointer: str
    detail: str
    code: str


class ValidationProblem(Problem):
    errors: list[ValidationIssue]


def problems(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's answers for the errors that a route can give."""
    by_status: dict[int, list[type[AppError]]] = {}
    for error in errors:
        by_status.setdefault(error.status, []).append(error)
    return {status: _response(status, found) for status, found in by_status.items()}


def _response(status: int, errors: Sequence[type[AppError]]) -> dict[str, Any]:
    names = ("Problem", "ValidationProblem") if status == ValidationFailed.status else ("Problem",)
    schemas = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    lines = [f"`{error.code}`: {error.detail}" for error in errors]
    return {
        "description": "\n\n".join(dict.fromkeys(lines)),
        "content": {PROBLEM_MEDIA_TYPE: {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}},
    }


ErrorPage = Callable[[Request, AppError], Awaitable[Response | None]]


def install_error_handlers(app: FastAPI, error_page: ErrorPage) -> None:
    """Answer refusals; `error_page` gives the page for a person who opened one, None for everybody else."""
    app.state.error_page = error_page
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(BookMerged, _merged)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(PoolTimeoutError, _no_connection)
    app.add_exception_handler(NoAnswer, _no_connection)
    app.add_exception_handler(OSError, _no_connection)
    app.add_exception_handler(Exception, _unexpected)


async def _app_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)
    if error.status in {Unauthorized.status, Forbidden.status}:
        log.info("refused", code=error.code, address=request.client.host if request.client else None)
    return await _answer(request, error)


async def _merged(request: Request, error: Exception) -> Response:
    """The old address of a merged book leads to the new one, whatever hangs on it."""
    assert isinstance(error, BookMerged)
    old = request.path_params.get("book_id")
    if old is None:
        return await _answer(request, error)
    path = request.url.path.replace(f"/books/{old}", f"/books/{error.facts['into']}", 1)
    query = f"?{request.url.query}" if request.url.query else ""
    return Response(status_code=308, headers={"Location": path + query})


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    for item in found:
        if item["type"] == "json_invalid":
            return await _answer(request, MalformedJson(reason=str(item.get("ctx", {}).get("error", "syntax error"))))
    return await _answer(request, ValidationFailed(), errors=[_issue(item) for item in found])


def _issue(item: Mapping[str, Any]) -> dict[str, str]:
    where, *path = [str(part) for part in item["loc"]]
    escaped = [part.replace("~", "~0").replace("/", "~1") for part in path]
    message = str(item["msg"]).removeprefix("Value error, ")
    return {"where": where, "pointer": "".join(f"/{part}" for part in escaped), "detail": message, "code": item["type"]}


async def _http(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: no route, a method the route lacks, an unreadable body."""
    assert isinstance(error, HTTPException)
    known: dict[int, type[AppError]] = {400: MalformedBody, 404: NotFound, 405: MethodNotAllowed}
    if error.status_code not in known:
        return await _unexpected(request, error)
    return await _answer(request, known[error.status_code](headers=error.headers))


async def _database(request: Request, error: Exception) -> Response:
    assert isinstance(error, DBAPIError)
    if not _is_transient(error):
        return await _unexpected(request, error)
    log.warning("database_unavailable", reason=type(error.orig).__name__)
    return await _answer(request, DatabaseUnavailable())


def _is_transient(error: DBAPIError) -> bool:
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    if isinstance(error.orig, sqlite3.Error):
        name = getattr(error.orig, "sqlite_errorname", "")
        return isinstance(error, OperationalError) and name.startswith(tuple(_SQLITE_TRANSIENT))
    state = str(getattr(error.orig, "sqlstate", "") or "")
    return state in _TRANSIENT_CODES or state.startswith(_TRANSIENT_CLASSES)


async def _no_connection(request: Request, error: Exception) -> Response:
    log.warning("database_unavailable", reason=type(error).__name__)
    return await _answer(request, DatabaseUnavailable())


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("unhandled_exception", exc_info=error)
    return await _answer(request, AppError())


def language_of(request: Request) -> str:
    """The signed-in person's setting, then the cookie, then Accept-Language."""
    own: str | None = getattr(request.state, "locale", None)
    return own or chosen(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))


async def _answer(request: Request, error: AppError, **members: Any) -> Response:
    """The refusal as a problem; as a page for whoever opened one."""
    if (page := await request.app.state.error_page(request, error)) is not None:
        answered: Response = page
        return answered
    locale = language_of(request)
    document = problem_document(
        error.status,
        error.code,
        error.said(locale),
        request_id=request.scope.get("state", {}).get("request_id", ""),
        **{**error.facts, **members},
    )
    headers = {**error.headers, "Content-Language": locale}
    return Response(encode_problem(document), error.status, headers, PROBLEM_MEDIA_TYPE)
