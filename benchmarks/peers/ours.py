"""The service as it ships, but for limits that one client at full speed doesn't reach."""

from app import cli
from app.api import limiter
from app.auth.service import gate
from app.core.config import load_settings
from app.core.exchange import Application
from app.core.limits import Limit
from app.core.logging import configure_logging
from app.main import create_app


def create() -> Application:
    """For a server other than the service's own."""
    settings = load_settings()
    configure_logging(settings)
    return create_app(settings)


# Limits stay on, and count as they do elsewhere. Here, because each worker of several imports this module anew.
for _module, _names in (
    (limiter, ("ADDRESS", "READS", "WRITES", "SIGN_IN")),
    (gate, ("ACCOUNT_AND_ADDRESS", "NETWORK", "ACCOUNT", "OVERALL")),
):
    for _name in _names:
        setattr(_module, _name, Limit(_name.lower(), 10**9, 10))

if __name__ == "__main__":
    cli.app()
