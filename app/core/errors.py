"""The errors a caller can get: a number of the status class, a stable code, a sentence.

AppError
├── BadRequest 400 · Unauthorized 401 · Forbidden 403 · NotFound 404
├── Conflict 409 · Gone 410 · PreconditionFailed 412 · TooLarge 413
└── Unprocessable 422 · PreconditionRequired 428 · TooManyRequests 429 · Unavailable 503
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from app.core.i18n import refusals

PROBLEM_MEDIA_TYPE = "application/problem+json"


class SettingsError(Exception):
    """The configuration can't be used; the message says what to set."""


class AppError(Exception):
    """A refusal that the caller may read. `detail` may hold `{names}` that `facts` fill.

    `facts` also become members of the problem document; `headers` go out with it.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    detail: ClassVar[str] = "Something went wrong here. Try again; if it stays, tell the library the request id."
    is_for_crowds: ClassVar[bool] = False
    """Whether many are told it at once: then it has no facts, is kept ready, and not each gets a line in the log."""

    def __init__(self, *, headers: Mapping[str, str] | None = None, **facts: Any) -> None:
        super().__init__(self.detail.format_map(facts))
        self.facts = facts
        self.headers = dict(headers or {})

    def said(self, locale: str) -> str:
        """The sentence in a language; facts that are words of the library are said in it too."""
        words = refusals(locale)
        facts = {name: words.get(fact, fact) if isinstance(fact, str) else fact for name, fact in self.facts.items()}
        return words.get(self.detail, self.detail).format_map(facts)


class BadRequest(AppError):
    status, code, detail = 400, "bad_request", "The request can't be read."


class Unauthorized(AppError):
    status, code, detail = 401, "not_signed_in", "Sign in first."

    def __init__(self, *, headers: Mapping[str, str] | None = None, **facts: Any) -> None:
        super().__init__(headers={"WWW-Authenticate": "Bearer", **(headers or {})}, **facts)


class Forbidden(AppError):
    status, code, detail = 403, "forbidden", "Your account may not do this."


class NotFound(AppError):
    status, code, detail = 404, "not_found", "There is nothing here."


class Conflict(AppError):
    status, code, detail = 409, "conflict", "This contradicts what the library holds."


class Gone(AppError):
    status, code, detail = 410, "gone", "This was here and has been removed."


class PreconditionFailed(AppError):
    status, code, detail = 412, "version_changed", "Somebody changed this meanwhile; look at it and try again."


class TooLarge(AppError):
    status, code, detail = 413, "body_too_large", "The body is larger than {limit_bytes} bytes."


class Unprocessable(AppError):
    status, code, detail = 422, "unprocessable", "The request is understood but can't be done as it stands."


class PreconditionRequired(AppError):
    status, code, detail = (
        428,
        "if_match_required",
        'Send If-Match with the ETag that you read, such as "3", so that nobody\'s change is lost.',
    )


class TooManyRequests(AppError):
    status, code, detail = 429, "too_many_requests", "Too many requests; wait a little."


class Unavailable(AppError):
    status, code, detail = 503, "unavailable", "The library can't answer just now; try again shortly."

    def __init__(self, *, headers: Mapping[str, str] | None = None, **facts: Any) -> None:
        super().__init__(headers={"Retry-After": "1", **(headers or {})}, **facts)


def problem_document(status: int, code: str, detail: str, /, *, request_id: str, **members: Any) -> dict[str, Any]:
    """The body of an RFC 9457 problem; `type` is a stable URN of the code."""
    return {
        **members,
        "type": f"urn:library:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }


def encode_problem(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, default=str).encode()
