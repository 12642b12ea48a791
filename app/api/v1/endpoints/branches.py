"""Branches over HTTP."""

from fastapi import APIRouter, Request, Response, status

from app.api.deps import BranchEditor, CalendarEditor, CurrentSettings, Now, Reading, RequiredIfMatch, Writing
from app.api.errors import problems
from app.api.idempotency import IdempotentRoute
from app.api.responses import tagged, versioned
from app.auth import service as auth
from app.branches import service as branches
from app.branches.schemas import BranchCreate, BranchPage, BranchRead, BranchUpdate, CalendarRead, CalendarWrite
from app.copies import queries as copy_queries
from app.core.errors import AppError, Forbidden, PreconditionRequired, Unauthorized
from app.core.schemas import Code
from app.core.versioning import VersionChanged, etag

router = APIRouter(prefix="/branches", tags=["branches"], route_class=IdempotentRoute)

_MISSING: tuple[type[AppError], ...] = (branches.BranchNotFound, branches.BranchGone)
_CHANGE: tuple[type[AppError], ...] = (Unauthorized, Forbidden, *_MISSING, PreconditionRequired, VersionChanged)


@router.get("", response_model=BranchPage)
async def list_branches(request: Request, session: Reading) -> Response:
    """Every open branch; a library has few, so they come on one page."""
    found = [BranchRead.model_validate(branch) for branch in await branches.all_open(session)]
    return tagged(request, BranchPage(items=found, next=None))


@router.post(
    "", status_code=status.HTTP_201_CREATED, responses=problems(Unauthorized, Forbidden, branches.BranchExists)
)
async def create_branch(
    data: BranchCreate, session: Writing, who: BranchEditor, response: Response, now: Now
) -> BranchRead:
    """Open a branch."""
    del who
    branch = await branches.open_branch(session, data=data, now=now)
    response.headers["Location"] = f"branches/{branch.id}"
    response.headers["ETag"] = etag(branch.version)
    return BranchRead.model_validate(branch)


@router.get("/{branch_id}", response_model=BranchRead, responses=problems(*_MISSING))
async def get_branch(request: Request, branch_id: Code, session: Reading) -> Response:
    """One branch; its ETag is its version."""
    branch = await branches.get(session, branch_id)
    return versioned(request, BranchRead.model_validate(branch), branch.version)


@router.patch("/{branch_id}", responses=problems(*_CHANGE))
async def update_branch(
    branch_id: Code,
    data: BranchUpdate,
    session: Writing,
    who: BranchEditor,
    if_match: RequiredIfMatch,
    response: Response,
) -> BranchRead:
    """Rename a branch or move its time zone; its id never changes."""
    del who
    changes = data.model_dump(exclude_unset=True)
    branch = await branches.change(session, branch_id=branch_id, changes=changes, if_match=if_match)
    response.headers["ETag"] = etag(branch.version)
    return BranchRead.model_validate(branch)


@router.get("/{branch_id}/calendar", response_model=CalendarRead, responses=problems(*_MISSING))
async def get_calendar(request: Request, branch_id: Code, session: Reading, settings: CurrentSettings) -> Response:
    """When a branch opens; the ETag is the branch's version."""
    branch = await branches.get(session, branch_id)
    return versioned(request, branches.read_calendar(branch, settings.timezone), branch.version)


@router.put("/{branch_id}/calendar", responses=problems(*_CHANGE, auth.NotYourBranch))
async def put_calendar(
    branch_id: Code,
    data: CalendarWrite,
    session: Writing,
    who: CalendarEditor,
    if_match: RequiredIfMatch,
    settings: CurrentSettings,
    response: Response,
) -> CalendarRead:
    """Say when a branch opens, whole; due dates that were given already stay."""
    await auth.check_branch(session, identity=who, branch_id=branch_id)
    branch = await branches.set_calendar(
        session, branch_id=branch_id, data=data, if_match=if_match, default_zone=settings.timezone
    )
    response.headers["ETag"] = etag(branch.version)
    return branches.read_calendar(branch, settings.timezone)


@router.delete(
    "/{branch_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problems(*_CHANGE, branches.BranchInUse)
)
async def close_branch(
    branch_id: Code, session: Writing, who: BranchEditor, if_match: RequiredIfMatch, now: Now
) -> None:
    """Close a branch that has no copies."""
    del who
    in_use = ["copies"] if await copy_queries.any_of(session, branch_id=branch_id) else []
    await branches.close(session, branch_id=branch_id, if_match=if_match, in_use=in_use, now=now)
