"""Loans: lending, returning, renewing, losing, and taking a wrong scan back."""

from app.loans.service.give_back import CopyOutOfUse, Returned, ScanAgain, give_back
from app.loans.service.lend import (
    AlreadyOnLoan,
    CopyNotLendable,
    CopyOnLoan,
    Lent,
    LoanLimitReached,
    Override,
    PromisedToAnother,
    UnknownRule,
    lend,
)
from app.loans.service.merge import merge
from app.loans.service.prolong import (
    LoanClosed,
    LoanNotFound,
    LoanRecalled,
    NoRenewalsLeft,
    NothingToRecall,
    OthersWaiting,
    Owner,
    claim_returned,
    mark_lost,
    recall,
    renew,
)
from app.loans.service.restate import StatusNotAllowed, restate
from app.loans.service.undo import ScanNotFound, ScanOvertaken, ScanTooOld, undo

__all__ = [
    "AlreadyOnLoan",
    "CopyNotLendable",
    "CopyOnLoan",
    "CopyOutOfUse",
    "Lent",
    "LoanClosed",
    "LoanLimitReached",
    "LoanNotFound",
    "LoanRecalled",
    "NoRenewalsLeft",
    "NothingToRecall",
    "OthersWaiting",
    "Override",
    "Owner",
    "PromisedToAnother",
    "Returned",
    "ScanAgain",
    "ScanNotFound",
    "ScanOvertaken",
    "ScanTooOld",
    "StatusNotAllowed",
    "UnknownRule",
    "claim_returned",
    "give_back",
    "lend",
    "mark_lost",
    "merge",
    "recall",
    "renew",
    "restate",
    "undo",
]
