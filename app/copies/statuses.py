"""The statuses of copies, known also where there is no database."""

from enum import StrEnum


class CopyStatus(StrEnum):
    """Where a copy is in its life (product.md §2); `reserved` still stands on the shelf but is promised."""

    AVAILABLE = "available"
    RESERVED = "reserved"
    ON_HOLD_SHELF = "on_hold_shelf"
    IN_TRANSIT = "in_transit"
    ON_LOAN = "on_loan"
    LOST = "lost"
    IN_REPAIR = "in_repair"
    MISSING = "missing"
    WITHDRAWN = "withdrawn"
