"""Where browsers report what a page's policy stopped: a few are written down, and nothing that anybody chose freely."""

import re
from typing import Final

import structlog
from fastapi import APIRouter, Request, status
from pydantic import BaseModel, Field, ValidationError

from app.api.deps import CurrentLimits
from app.core.limits import Limit

log = structlog.get_logger()

PATH: Final = "/csp-reports"
# A page that is broken tells it by one report as well as by thousands.
WRITTEN_DOWN: Final = Limit("csp-reports", 10, 60)
# Names of directives and schemes, the host of an address, the first part of a path: no id, no query, no line break.
WORD: Final = re.compile(r"[a-z-]{1,40}")
SOURCE: Final = re.compile(r"https?://[A-Za-z0-9.:-]{1,100}|[a-z-]{1,40}")
PAGE: Final = re.compile(r"https?://[^/?#]{1,100}(/[a-z-]{0,40})")

router = APIRouter(include_in_schema=False)


class _Violation(BaseModel):
    page: str = Field(alias="document-uri")
    directive: str = Field(alias="violated-directive")
    blocked: str = Field(alias="blocked-uri")


class _Report(BaseModel):
    violation: _Violation = Field(alias="csp-report")


@router.post(PATH, status_code=status.HTTP_204_NO_CONTENT)
async def report(request: Request, limits: CurrentLimits) -> None:
    """Note that a page's policy stopped something. Whatever is sent, and however often, is answered alike."""
    if not limits.take_here(WRITTEN_DOWN, "all").is_allowed:
        return
    try:
        found = _Report.model_validate_json(await request.body()).violation
    except ValidationError:
        return
    page, directive, blocked = PAGE.match(found.page), WORD.match(found.directive), SOURCE.match(found.blocked)
    if page and directive and blocked:
        log.warning("policy_violated", page=page[1], directive=directive[0], blocked=blocked[0])
