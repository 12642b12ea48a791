"""All pages, in the order in which their addresses are tried."""

from fastapi import APIRouter, FastAPI

from app.web.errors import done_already
from app.web.once import DoneAlready
from app.web.pages import (
    account,
    administration,
    branches,
    catalogue,
    cataloguing,
    copies,
    data,
    desk,
    imports,
    own,
    policies,
    readers,
    security,
    shelf,
    sign_in,
    statistics,
)


def install(api: FastAPI) -> None:
    """Add the pages to the application."""
    api.add_exception_handler(DoneAlready, done_already)
    router = APIRouter(include_in_schema=False)
    for module in (
        sign_in, account, security, own, data, desk, shelf, imports, cataloguing, copies, readers, policies, branches,
        administration, statistics, catalogue,
    ):  # fmt: skip
        router.include_router(module.router)
    api.include_router(router)
