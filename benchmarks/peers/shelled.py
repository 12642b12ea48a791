"""The bare route of the tutorial inside our shell, as the service puts it around its own routes."""

from pathlib import Path

from pydantic import SecretStr

from app.api.limiter import RequestLimiter
from app.core.config import Environment, Settings
from app.core.limits import Limits
from app.core.middleware import Endpoints, Shell
from benchmarks.peers import ours as _ours  # noqa: F401  # raises the limits
from benchmarks.peers.tutorial import app as bare

settings = Settings(
    _env_file=None,
    data_dir=Path("/nonexistent"),
    environment=Environment.DEVELOPMENT,
    secret_key=SecretStr("only-for-a-benchmark-without-any-data-0123456789"),
)
app = Shell(
    bare,
    settings=settings,
    endpoints=Endpoints(["/bare", "/books"]),
    probes=frozenset(),
    limiter=RequestLimiter(settings, Limits(settings)),
)
