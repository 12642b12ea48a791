"""The faults, by what they harm; each module puts its own among `tests.chaos.fault.ALL`."""

from tests.chaos.faults import clients, clock, database, helpers, network, operations, processes, storage

__all__ = ["clients", "clock", "database", "helpers", "network", "operations", "processes", "storage"]
