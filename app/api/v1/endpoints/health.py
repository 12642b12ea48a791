"""Health and metrics: what probes, the load balancer and Prometheus ask. No redirects, GET and HEAD, no host list."""

import asyncio
import hmac
import ipaddress
import os
import shutil
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import Any, Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.deps import CurrentSettings, Who
from app.auth.permissions import Permission
from app.core import job_runs, metrics
from app.core.config import Settings
from app.core.errors import Forbidden, NotFound
from app.core.figures import Build, Jobs, Machine
from app.core.job_runs import JobRun
from app.core.revision import is_pending

router = APIRouter(tags=["health"])

State = Literal["healthy", "warning", "critical", "unhealthy"]
_ORDER: Final[tuple[State, ...]] = ("healthy", "warning", "critical", "unhealthy")
PROBE_TIMEOUT_SECONDS: Final = 2.0
SCRAPE_TIMEOUT_SECONDS: Final = 1.0
DISK_WARNING_FREE: Final = 0.15
DISK_CRITICAL_FREE: Final = 0.05
MEMORY_WARNING_FREE: Final = 0.10
# Private networks (RFC 1918, RFC 4193); `is_private` of the standard library counts more than those.
_PRIVATE: Final = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]
_FORWARDED: Final = frozenset({b"x-forwarded-for", b"forwarded", b"x-real-ip", b"x-forwarded-host"})


class Health(BaseModel):
    status: Literal["healthy"]
    timestamp: datetime
    service: str
    version: str


class Check(BaseModel):
    status: State
    detail: str


class DetailedHealth(BaseModel):
    status: State
    timestamp: datetime
    checks: dict[str, Check]


@router.get("/health")
async def health(settings: CurrentSettings) -> Health:
    """Liveness: the process answers. Depends on nothing else."""
    return Health(
        status="healthy", timestamp=datetime.now(UTC), service=settings.project_name, version=settings.version
    )


@router.get("/health/ready")
async def ready(request: Request, response: Response) -> dict[str, Any]:
    """Whether to send requests here: not while draining, without a database, or before its migrations."""
    errors = ["draining"] if request.app.state.is_draining() else await _database_errors(request)
    if errors:
        response.status_code = 503
        return {"status": "not ready", "errors": errors}
    return {"status": "ready"}


@router.get("/health/startup")
async def startup(request: Request, response: Response) -> dict[str, Any]:
    """Whether the process has finished starting."""
    if not request.app.state.has_started:
        response.status_code = 503
        return {"status": "starting"}
    return {"status": "started"}


@router.get("/health/detailed")
async def detailed(request: Request, settings: CurrentSettings, who: Who) -> DetailedHealth:
    """Each part's state, the worst on top; for staff, loopback or METRICS_TOKEN."""
    may_see = who is not None and who.may(Permission.SEE_OPERATIONS)
    if not may_see and not _is_operator(request, settings, private=False):
        raise Forbidden
    errors = await _database_errors(request)
    checks = {
        "api": Check(status="healthy", detail=f"version {settings.version}"),
        "database": Check(status="unhealthy" if errors else "healthy", detail=", ".join(errors) or "answers"),
        "cache": Check(status="healthy", detail="in this process"),
        "disk": _disk(settings),
        "memory": _memory(),
    }
    worst = max((check.status for check in checks.values()), key=_ORDER.index)
    return DetailedHealth(status=worst, timestamp=datetime.now(UTC), checks=checks)


@router.get("/metrics", include_in_schema=False)
async def prometheus(request: Request, settings: CurrentSettings) -> Response:
    """Prometheus' text format, for scrapers on this machine or its private network, or with METRICS_TOKEN."""
    if not settings.metrics_enabled or not _is_operator(request, settings, private=True):
        raise NotFound
    figures = (Jobs(await _job_runs(request)), Machine(request.app.state.vitals), Build(settings))
    return Response(metrics.exposition(figures), media_type=metrics.MEDIA_TYPE)


async def _job_runs(request: Request) -> Collection[JobRun] | None:
    """None without the database: the metrics of the process itself still count."""
    try:
        async with asyncio.timeout(SCRAPE_TIMEOUT_SECONDS), request.app.state.database.reading() as session:
            return (await job_runs.last_runs(session)).values()
    except Exception:  # noqa: BLE001  # whatever a database throws
        return None


async def _database_errors(request: Request) -> list[str]:
    checks: list[tuple[str, Callable[[], Awaitable[bool]]]] = [
        ("database_unavailable", lambda: _answers(request)),
        ("migrations_pending", lambda: _is_migrated(request)),
    ]
    for code, check in checks:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                passed = await check()
        except Exception:  # noqa: BLE001  # whatever a database throws, the answer is the same 503
            passed = False
        if not passed:
            return [code]
    return []


async def _answers(request: Request) -> bool:
    await request.app.state.database.ping()
    return True


async def _is_migrated(request: Request) -> bool:
    return not await is_pending(request.app.state.database)


def _is_operator(request: Request, settings: Settings, *, private: bool) -> bool:
    """A direct neighbour without a forwarded header, or the bearer of METRICS_TOKEN."""
    authorization = request.headers.get("authorization", "")
    token = settings.metrics_token.get_secret_value() if settings.metrics_token else None
    if token and hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
        return True
    if any(name in _FORWARDED for name, _ in request.scope["headers"]) or request.client is None:
        return False
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:
        return False
    return address.is_loopback or (private and any(address in network for network in _PRIVATE))


def _disk(settings: Settings) -> Check:
    usage = shutil.disk_usage(settings.data_dir if settings.data_dir.exists() else ".")
    free = usage.free / usage.total
    state: State = "critical" if free < DISK_CRITICAL_FREE else "warning" if free < DISK_WARNING_FREE else "healthy"
    return Check(status=state, detail=f"{free:.0%} free")


def _memory() -> Check:
    free = os.sysconf("SC_AVPHYS_PAGES") / os.sysconf("SC_PHYS_PAGES")
    return Check(status="warning" if free < MEMORY_WARNING_FREE else "healthy", detail=f"{free:.0%} unused")
