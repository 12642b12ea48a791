"""The OpenAPI document: complete enough that a generated client works unedited."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from app.api.deps import ScopeTooNarrow, SecondFactorRequired
from app.api.errors import (
    DatabaseUnavailable,
    MalformedBody,
    MalformedJson,
    Problem,
    ValidationFailed,
    ValidationProblem,
    problems,
)
from app.core.config import Settings
from app.core.errors import AppError, TooLarge, TooManyRequests, Unauthorized
from app.core.exchange import MalformedLength, SlowBody
from app.core.lanes import Overloaded
from app.core.middleware import DeadlineExceeded, HeadersTooLarge, MalformedUrl, UnknownHost, UrlTooLong
from app.core.security import InvalidToken

COMMON_PROBLEMS: Final = problems(
    MalformedUrl,
    MalformedLength,
    UnknownHost,
    MalformedJson,
    MalformedBody,
    Unauthorized,
    InvalidToken,
    ScopeTooNarrow,
    SecondFactorRequired,
    SlowBody,
    TooLarge,
    UrlTooLong,
    ValidationFailed,
    HeadersTooLarge,
    AppError,
    TooManyRequests,
    DatabaseUnavailable,
    Overloaded,
    DeadlineExceeded,
)


def install_openapi(api: FastAPI, settings: Settings) -> None:
    def document() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = build(api, settings)
        return api.openapi_schema

    api.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def build(api: FastAPI, settings: Settings) -> dict[str, Any]:
    document = get_openapi(
        title=api.title,
        version=api.version,
        summary="A library service: catalogue, readers, bookings and loans",
        license_info={"name": "MIT", "identifier": "MIT"},
        servers=[{"url": settings.address}],
        routes=api.routes,
    )
    _, definitions = models_json_schema(
        [(Problem, "serialization"), (ValidationProblem, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    schemas = document["components"]["schemas"]
    schemas.update(definitions["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document
