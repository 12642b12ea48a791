"""Every route says who may call it, how it refuses, and what it is for."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import SecretStr

from app.api.deps import person, signed_in
from app.core.config import Environment, Settings
from app.core.errors import PROBLEM_MEDIA_TYPE
from app.core.middleware import Shell
from app.main import PROBES, create_app
from tests.conftest import SECRET

WRITING = {"POST", "PUT", "PATCH", "DELETE"}

# Reviewed: these must work for whoever is not signed in yet.
PUBLIC = {
    ("POST", "/api/v1/auth/register"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/token"),
    ("POST", "/api/v1/auth/refresh"),
    ("POST", "/api/v1/auth/forgot"),
    ("POST", "/api/v1/auth/reset"),
    ("POST", "/api/v1/auth/verify"),
    ("POST", "/api/v1/auth/mfa/login"),
    ("POST", "/api/v1/auth/passkeys/options"),
    ("POST", "/api/v1/auth/passkeys/login"),
    # The same on pages, and the choices of a device.
    ("POST", "/login"),
    ("POST", "/login/code"),
    ("POST", "/login/passkey/options"),
    ("POST", "/login/passkey"),
    ("POST", "/logout"),
    ("POST", "/register"),
    ("POST", "/forgot"),
    ("POST", "/reset"),
    ("POST", "/verify"),
    ("POST", "/language"),
    ("POST", "/light"),
    ("POST", "/csp-reports"),
}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path_factory.mktemp("routes"),
        secret_key=SecretStr(SECRET),
        environment=Environment.DEVELOPMENT,
    )
    return create_app(settings)


@pytest.fixture(scope="module")
def api(shell: Shell) -> FastAPI:
    assert isinstance(shell.app, FastAPI)
    return shell.app


@pytest.fixture(scope="module")
def operations(api: FastAPI) -> dict[str, dict[str, Any]]:
    """OpenAPI's operations by `METHOD /path`."""
    paths: dict[str, dict[str, Any]] = api.openapi()["paths"]
    return {f"{method.upper()} {path}": found for path, item in paths.items() for method, found in item.items()}


def routes(api: FastAPI) -> Iterator[RouteContext]:
    for context in iter_route_contexts(api.routes):
        if isinstance(context.original_route, APIRoute):
            yield context


def dependencies(dependant: Dependant) -> Iterator[Dependant]:
    for needed in dependant.dependencies:
        yield needed
        yield from dependencies(needed)


def test_every_writing_route_names_who_may_call_it(api: FastAPI) -> None:
    unguarded = {
        (method, context.path)
        for context in routes(api)
        for method in WRITING & (context.methods or set())
        if not any(
            hasattr(d.call, "permission") or d.call in {signed_in, person} for d in dependencies(context.dependant)
        )
    }
    assert unguarded <= PUBLIC, f"{unguarded - PUBLIC}: depend on may(Permission…) or SignedIn (app/api/deps.py)"
    assert unguarded == PUBLIC, f"{PUBLIC - unguarded} are not public any more: take them off the list"


def test_every_session_ends_before_the_answer_leaves(api: FastAPI) -> None:
    late = {
        f"{context.path}: {needed.name}"
        for context in routes(api)
        for needed in dependencies(context.dependant)
        if inspect.isasyncgenfunction(needed.call) and needed.scope != "function"
    }
    assert not late, f'{late}: give Depends(…, scope="function"), or it commits after the answer has left'


def test_the_shell_is_the_only_layer_around_the_application(shell: Shell, api: FastAPI) -> None:
    assert type(shell) is Shell
    assert type(shell.app) is FastAPI
    assert api.user_middleware == []


def test_every_declared_error_is_a_problem(operations: dict[str, dict[str, Any]]) -> None:
    plain = [
        f"{name} {status}"
        for name, operation in operations.items()
        if name.partition(" ")[2] not in PROBES
        for status, response in operation["responses"].items()
        if status[0] in "45d" and list(response.get("content", {})) != [PROBLEM_MEDIA_TYPE]
    ]
    assert not plain, f"{plain}: declare errors with problems(…) (app/api/errors.py)"


def test_every_operation_declares_how_it_refuses(operations: dict[str, dict[str, Any]]) -> None:
    silent = [
        name
        for name, operation in operations.items()
        if name.partition(" ")[2] not in PROBES and not any(status[0] == "4" for status in operation["responses"])
    ]
    assert not silent, f"{silent} declare no 4xx: pass responses=problems(…)"


def test_every_operation_says_what_it_is_for(operations: dict[str, dict[str, Any]]) -> None:
    silent = [name for name, operation in operations.items() if not operation.get("description")]
    assert not silent, f"{silent}: give the endpoint a docstring"


def test_operation_ids_are_unique_names(operations: dict[str, dict[str, Any]]) -> None:
    ids = [operation["operationId"] for operation in operations.values()]
    assert sorted(ids) == sorted(set(ids))
    assert all(name.isidentifier() for name in ids)


def test_every_route_answers_with_a_declared_shape(api: FastAPI) -> None:
    """A plain dict costs more than a model, and tells a generated client nothing."""
    shapeless = [
        f"{context.methods} {context.path}"
        for context in routes(api)
        if getattr(context, "include_in_schema", True)
        and context.path not in PROBES
        and context.response_model is None
        and context.status_code != 204
        and context.response_class is not StreamingResponse
    ]
    assert not shapeless, f"{shapeless}: return a read schema, or name one with response_model"
