"""What `library doctor` looks at: each check reads, changes nothing, and ends in a sentence."""

from app.commands.diagnosis import machine, servers
from app.commands.diagnosis.findings import Finding
from app.core.config import Settings


async def examine(settings: Settings) -> list[Finding]:
    """Run every check: this machine first, then what is asked over the network."""
    return [*machine.examine(settings), *await servers.examine(settings)]
