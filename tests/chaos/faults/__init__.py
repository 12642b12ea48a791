"""The faults, by what they harm; each module puts its own among `tests.chaos.fault.ALL`."""

from tests.chaos.faults import processes

__all__ = ["processes"]
