"""The application: only wiring. `app.main:app` is what servers load; `create_app()` is what tests build."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.api import docs, violations
from app.api.errors import install_error_handlers
from app.api.limiter import RequestLimiter
from app.api.members import Members
from app.api.openapi import COMMON_PROBLEMS, install_openapi
from app.api.shelves import Shelves
from app.api.stream import LookOut
from app.api.v1.endpoints import (
    account,
    auth,
    availability,
    bookings,
    books,
    branches,
    charges,
    copies,
    desk,
    health,
    imports,
    loans,
    mfa,
    policies,
    privacy,
    records,
    trail,
    uploads,
    users,
)
from app.books.models import CATALOGUE
from app.core import metrics, reporting, tracing
from app.core.cache import ResponseCache
from app.core.config import Settings, load_settings
from app.core.db import Database
from app.core.errors import SettingsError
from app.core.exchange import Application, Scope
from app.core.express import Express
from app.core.limits import Limits
from app.core.logging import configure_logging
from app.core.mail import Mailer
from app.core.middleware import Endpoints, Shell
from app.core.security import TokenSigner
from app.core.storage import Storage
from app.core.vault import Vault
from app.core.vitals import Vitals, watched
from app.jobs import scheduler
from app.web import errors as error_pages
from app.web import pages as web
from app.web.files import VersionedFiles

PROBES = frozenset({"/health", "/health/ready", "/health/startup", "/health/detailed", "/metrics"})


def create_app(
    settings: Settings, *, is_draining: Callable[[], bool] = lambda: False, api: FastAPI | None = None
) -> Shell:
    """The whole service, ready to be served; opens the database lazily and closes it at shutdown.

    `is_draining` says whether the process was told to stop: readiness fails from then on. `api` is what `build_api`
    has built before, if it has.
    """
    reporting.start(settings)
    api = api or build_api(settings)
    api.state.tracing = tracing.start(settings)
    api.state.database = Database(settings, tracing=api.state.tracing)
    api.state.signer = TokenSigner(settings)
    api.state.vault = Vault(settings)
    api.state.mailer = Mailer(settings)
    api.state.limits = Limits(settings)
    api.state.storage = Storage(settings)
    api.state.is_draining = is_draining
    api.state.look_out = LookOut(api.state.database, is_draining)
    api.state.vitals = Vitals()
    kinds = {re.compile(rf"{settings.api_v1_str}/books(/\d+)?"): CATALOGUE}
    api.state.cache = ResponseCache(settings, api.state.database, kinds=kinds, on_hit=_count_search)
    templates = (context.path for context in iter_route_contexts(api.routes))
    limiter = RequestLimiter(settings, api.state.limits)
    shell = Shell(
        api,
        settings=settings,
        endpoints=Endpoints(t for t in templates if t),
        probes=PROBES,
        limiter=limiter,
        members=Members(settings, api.state.database, api.state.signer),
        tracing=api.state.tracing,
        cache=api.state.cache,
        shortcut=Shelves(settings, api.state.database),
        error_page=error_pages.shell_page(settings),
    )
    shell.express = Express(
        cache=api.state.cache,
        allowance=limiter,
        proxies=shell.proxies,
        tracing=api.state.tracing,
        log=shell.note,
        common=shell.cross_origin.common,
    )
    return shell


def build_api(settings: Settings) -> FastAPI:
    """The routes and their document, without anything that opens or makes a file."""
    api = FastAPI(
        title=settings.project_name,
        version=settings.version,
        openapi_url="/openapi.json" if settings.docs_enabled else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    api.state.settings = settings
    api.state.has_started = False
    install_error_handlers(api, error_pages.answer)
    api.include_router(health.router)
    routers = (
        auth, account, mfa, desk, availability, imports, books, copies, bookings, loans, charges, branches, policies,
        records, users, trail, uploads, privacy,
    )  # fmt: skip
    for module in routers:
        api.include_router(module.router, prefix=settings.api_v1_str, responses=COMMON_PROBLEMS)
    if settings.docs_enabled:
        api.include_router(docs.router)
    api.include_router(violations.router)
    web.install(api)
    api.mount("/static", VersionedFiles(directory=docs.STATIC), name="static")
    install_openapi(api, settings)
    return api


def _count_search(scope: Scope) -> None:
    if b"q=" in scope["query_string"]:
        metrics.searches_total.inc()


@asynccontextmanager
async def _lifespan(api: FastAPI) -> AsyncIterator[None]:
    metrics.db_connections_limit.set(api.state.database.connections_limit)
    async with (
        watched(api.state.vitals, api.state.settings),
        scheduler.beside(api.state.database, api.state.settings),
    ):
        api.state.has_started = True
        yield
    await api.state.look_out.close()
    await api.state.mailer.close()
    await api.state.limits.close()
    await api.state.cache.close()
    await api.state.database.close()
    if api.state.tracing:
        await asyncio.to_thread(api.state.tracing.close)


def __getattr__(name: str) -> Any:
    """Build `app` when a server asks for it, not when a test or a command imports this module."""
    if name != "app":
        raise AttributeError(name)
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.exit(f"The settings can't be used:\n{error}")
    configure_logging(settings)
    application: Application = create_app(settings)
    globals()["app"] = application
    return application
